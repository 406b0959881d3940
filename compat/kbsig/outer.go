package kbsig

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
)

// outerBytesMax bounds an encoded outer link, in bytes; the longest form has 9
// elements with three hashes.
const outerBytesMax = 192

// ErrOuter reports bytes that are no outer link of a user's chain.
var ErrOuter = errors.New("malformed outer link")

// LinkType is the number of a link type in v2 outer links.
// client: go/libkb/chain_link_v2.go:SigchainV2Type
type LinkType int

// Link types of user chains.
const (
	LinkNone                    LinkType = 0
	LinkEldest                  LinkType = 1
	LinkWebServiceBinding       LinkType = 2
	LinkTrack                   LinkType = 3
	LinkUntrack                 LinkType = 4
	LinkRevoke                  LinkType = 5
	LinkCryptocurrency          LinkType = 6
	LinkAnnouncement            LinkType = 7
	LinkDevice                  LinkType = 8
	LinkWebServiceBindingRevoke LinkType = 9
	LinkCryptocurrencyRevoke    LinkType = 10
	LinkSibkey                  LinkType = 11
	LinkSubkey                  LinkType = 12
	LinkPGPUpdate               LinkType = 13
	LinkPerUserKey              LinkType = 14
	LinkWalletStellar           LinkType = 15
	LinkWotVouch                LinkType = 16
	LinkWotVouchRevoke          LinkType = 17
	LinkWotReact                LinkType = 18
)

// linkTypes pairs numbers with the body.type of the inner link; a revoking twin
// is the number used when the inner link also has a revoke section.
// client: go/libkb/chain_link_v2.go:SigchainV2TypeFromV1TypeAndRevocations
var linkTypes = []struct {
	number, revoking LinkType
	name             string
	high             bool // counts for high_skip
	stubbable        bool
}{
	{LinkEldest, LinkEldest, "eldest", true, false},
	{LinkWebServiceBinding, LinkWebServiceBindingRevoke, "web_service_binding", false, false},
	{LinkTrack, LinkNone, "track", false, true},
	{LinkUntrack, LinkNone, "untrack", false, true},
	{LinkRevoke, LinkRevoke, "revoke", true, false},
	{LinkCryptocurrency, LinkCryptocurrencyRevoke, "cryptocurrency", false, false},
	{LinkAnnouncement, LinkNone, "announcement", false, true},
	{LinkDevice, LinkDevice, "device", false, false},
	{LinkSibkey, LinkSibkey, "sibkey", true, false},
	{LinkSubkey, LinkSubkey, "subkey", false, false},
	{LinkPGPUpdate, LinkPGPUpdate, "pgp_update", true, false},
	{LinkPerUserKey, LinkPerUserKey, "per_user_key", false, false},
	{LinkWalletStellar, LinkWalletStellar, "wallet.stellar", false, false},
	{LinkWotVouch, LinkWotVouchRevoke, "wot.vouch", false, true},
	{LinkWotReact, LinkNone, "wot.react", false, true},
}

// LinkTypeOf is the number for an inner body.type and the presence of a revoke
// section; LinkNone if clients know no such link.
func LinkTypeOf(name string, revokes bool) LinkType {
	for _, t := range linkTypes {
		if t.name == name {
			if revokes {
				return t.revoking
			}
			return t.number
		}
	}
	return LinkNone
}

// String is the inner body.type, "none" for numbers outside user chains.
func (t LinkType) String() string {
	for _, row := range linkTypes {
		if t != LinkNone && (row.number == t || row.revoking == t) {
			return row.name
		}
	}
	return "none"
}

// Stubbable reports that clients take the outer link alone for this type.
// client: go/libkb/chain_link_v2.go:AllowStubbing
func (t LinkType) Stubbable() bool {
	for _, row := range linkTypes {
		if row.number == t {
			return row.stubbable
		}
	}
	return false
}

// High reports that the next link's high_skip points at a link of this type.
// client: go/libkb/chain_link.go:IsHighUserLink
func (t LinkType) High() bool {
	switch t {
	case LinkWebServiceBindingRevoke, LinkCryptocurrencyRevoke, LinkWotVouchRevoke:
		return true
	}
	for _, row := range linkTypes {
		if row.number == t {
			return row.high
		}
	}
	return false
}

// SeqTypePublic is the seq_type of user chains, and what its absence means.
const SeqTypePublic = 1

// HighSkip points at the newest link that matters for keys, or nowhere (seqno 0
// and no hash) before the first link. client: go/libkb/kbsig.go:HighSkip
type HighSkip struct {
	Seqno Seqno
	Hash  LinkID // zero: null
}

// Outer is the signed part of a v2 link. client: go/libkb/chain_link_v2.go:OuterLinkV2
type Outer struct {
	Fields              int // elements of the array: 5, 6, 7 or 9
	Seqno               Seqno
	Prev                LinkID // zero: nil, for the first link
	Curr                LinkID // SHA-256 of the inner JSON
	Type                LinkType
	IgnoreIfUnsupported bool
	HighSkip            *HighSkip // with 9 elements
}

// DecodeOuter decodes an outer link of a user's chain. Less is taken than clients
// take: version 2, public seq_type, one encoding.
func DecodeOuter(raw []byte) (*Outer, error) {
	if len(raw) > outerBytesMax {
		return nil, fmt.Errorf("outer link of %d bytes: %w", len(raw), ErrOuter)
	}
	r := &msgpackReader{buf: raw}
	o := &Outer{Fields: int(r.peek() &^ mpFixArr)}
	switch o.Fields {
	case 5, 6, 7, 9:
	default:
		return nil, fmt.Errorf("outer link that is no array of 5, 6, 7 or 9: %w", ErrOuter)
	}
	r.arrayOf(o.Fields, "outer link")
	version := r.uint(255, "version")
	o.Seqno = Seqno(r.uint(innerIntMax, "seqno"))
	o.Prev = readHashOrNil(r, "prev")
	copy(o.Curr[:], r.binOf(hashBytes, "curr"))
	o.Type = LinkType(r.uint(255, "type"))
	seqType := uint64(SeqTypePublic)
	if o.Fields >= 6 {
		seqType = r.uint(255, "seq_type")
	}
	if o.Fields >= 7 {
		o.IgnoreIfUnsupported = r.bool("ignore_if_unsupported")
	}
	if o.Fields == 9 {
		o.HighSkip = &HighSkip{Seqno: Seqno(r.uint(innerIntMax, "high_skip seqno"))}
		o.HighSkip.Hash = readHashOrNil(r, "high_skip hash")
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOuter, err)
	}
	if version != 2 || seqType != SeqTypePublic || o.Seqno < 1 {
		return nil, fmt.Errorf("outer link of version %d, seq_type %d, seqno %d: %w", version, seqType, o.Seqno, ErrOuter)
	}
	return o, nil
}

// readHashOrNil reads 32 bytes or nil; 32 zero bytes have no meaning and are
// refused, because zero stands for nil here.
func readHashOrNil(r *msgpackReader, what string) LinkID {
	var l LinkID
	if r.peek() == mpNil && r.off < len(r.buf) {
		r.fixed(mpNil, what)
		return l
	}
	copy(l[:], r.binOf(hashBytes, what))
	if r.err == nil && l.IsZero() {
		r.fail(what + " of zeroes")
	}
	return l
}

// Encode is the inverse of DecodeOuter.
func (o *Outer) Encode() []byte { return o.encode(o.Seqno, o.Prev, &o.Curr) }

func (o *Outer) encode(seqno Seqno, prev LinkID, curr *LinkID) []byte {
	b := appendUint([]byte{mpFixArr | byte(o.Fields)}, 2)
	b = appendUint(b, uint64(seqno))
	b = appendHashOrNil(b, prev)
	if curr == nil {
		b = append(b, mpNil)
	} else {
		b = appendBin(b, curr[:])
	}
	b = appendUint(b, uint64(o.Type))
	if o.Fields >= 6 {
		b = appendUint(b, SeqTypePublic)
	}
	if o.Fields >= 7 {
		b = appendBool(b, o.IgnoreIfUnsupported)
	}
	if o.Fields == 9 && o.HighSkip != nil {
		b = appendUint(b, uint64(o.HighSkip.Seqno))
		b = appendHashOrNil(b, o.HighSkip.Hash)
	}
	return b
}

func appendHashOrNil(b []byte, l LinkID) []byte {
	if l.IsZero() {
		return append(b, mpNil)
	}
	return appendBin(b, l[:])
}

// LinkIDOf hashes what a link signs.
func LinkIDOf(signed []byte) LinkID { return sha256.Sum256(signed) }

// WireEntry is one element of "sigs" in a sig/get reply.
// client: go/libkb/chain_link_parse_2.go:ImportLinkFromServer
type WireEntry struct {
	SigVersion  int    // 1 or 2; 0 for a stub
	SI1         string // v1: base64 of the bare signature
	SI2         string // v2: base64 of [signature, abbreviated outer link, fields]
	S2          string // stub: base64 of the outer link
	PayloadJSON string // the inner JSON, unless a stub or a PGP message
	Sig         string // v1 signed with PGP: the armoured message
	KID         KID    // of who made it
}

// EntryPGP is the reply entry of a v1 link that is a signed PGP message.
// client: go/libkb/chain_link_parse_2.go:importLinkFromServerPGP
func EntryPGP(armored string, by KID) WireEntry {
	return WireEntry{SigVersion: 1, Sig: armored, KID: by}
}

// EntryV1 is the reply entry of a v1 link.
func EntryV1(s *Signature) WireEntry {
	return WireEntry{SigVersion: 1, SI1: Armor(s.Sig[:]), PayloadJSON: string(s.Payload)}
}

// EntryV2 is the reply entry of a v2 link in full. The parts of the outer link
// that clients take from the inner one are left out.
func EntryV2(s *Signature, o *Outer, inner []byte) WireEntry {
	b := appendBin([]byte{mpFixArr | 3}, s.Sig[:])
	b = append(b, o.encode(0, LinkID{}, nil)...)
	b = appendUint(b, uint64(o.Fields))
	return WireEntry{SigVersion: 2, SI2: Armor(b), PayloadJSON: string(inner)}
}

// EntryStub is the reply entry of a v2 link whose inner part is withheld.
func EntryStub(s *Signature) WireEntry { return WireEntry{S2: Armor(s.Payload)} }

// Rebuild makes the packet that a client makes of a full entry: from the bare
// signature, the key that the inner link names, and the payload.
// client: go/libkb/chain_link_parse_2.go:importLinkFromServerV2Unstubbed
func (e WireEntry) Rebuild(kid KID, seqno Seqno, prev LinkID) ([]byte, error) {
	var sig [signatureBytes]byte
	if e.SigVersion == 1 {
		b, err := DecodeArmored(e.SI1, signatureBytes)
		if err != nil || copy(sig[:], b) != signatureBytes {
			return nil, fmt.Errorf("si1: %w", ErrPacket)
		}
		return EncodeSignature(kid, []byte(e.PayloadJSON), sig), nil
	}
	b, err := DecodeArmored(e.SI2, outerBytesMax+signatureBytes+8)
	if err != nil {
		return nil, fmt.Errorf("si2: %w", err)
	}
	r := &msgpackReader{buf: b}
	r.arrayOf(3, "si2")
	copy(sig[:], r.binOf(signatureBytes, "si2 signature"))
	start := r.off
	fields := int(r.peek() &^ mpFixArr)
	r.arrayOf(fields, "si2 outer link")
	r.uint(255, "version")
	r.uint(0, "seqno")
	r.fixed(mpNil, "prev")
	r.fixed(mpNil, "curr")
	if r.err != nil {
		return nil, r.err
	}
	rest := b[r.off : len(b)-1]
	if int(b[len(b)-1]) != fields {
		return nil, fmt.Errorf("si2 field count: %w", ErrPacket)
	}
	curr := LinkIDOf([]byte(e.PayloadJSON))
	outer := appendUint(bytes.Clone(b[start:start+2]), uint64(seqno))
	outer = appendBin(appendHashOrNil(outer, prev), curr[:])
	return EncodeSignature(kid, append(outer, rest...), sig), nil
}

// AppendJSON writes the entry as a JSON object whose strings are also Go string
// literals, which is how clients unquote payload_json: raw UTF-8, no \/, no
// surrogate escapes. client: go/libkb/chain_link_parse_2.go:getPayloadJSONFromServerLink
func (e WireEntry) AppendJSON(dst []byte) []byte {
	if e.S2 != "" {
		return append(appendQuoted(append(dst, `{"s2":`...), e.S2), '}')
	}
	dst = append(dst, `{"sig_version":`...)
	dst = append(dst, byte('0'+e.SigVersion))
	if e.Sig != "" {
		dst = appendQuoted(append(dst, `,"kid":`...), e.KID.String())
		return append(appendQuoted(append(dst, `,"sig":`...), e.Sig), '}')
	}
	dst = append(dst, `,"payload_json":`...)
	dst = appendQuoted(dst, e.PayloadJSON)
	if e.SigVersion == 1 {
		dst = appendQuoted(append(dst, `,"si1":`...), e.SI1)
	} else {
		dst = appendQuoted(append(dst, `,"si2":`...), e.SI2)
	}
	return append(dst, '}')
}

// appendQuoted quotes text that signed statements and armour are made of: valid
// UTF-8 without control characters but space.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
