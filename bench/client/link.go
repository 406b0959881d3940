package client

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// payloadBytesMax bounds a link's inner JSON, in bytes.
const payloadBytesMax = 1 << 20

// Link is one link that holds together by itself: shape, JSON, hashes, signature
// and reverse signature are good. Whether it may stand where it stands is decided
// by chain.go and family.go.
type Link struct {
	Seqno   Seqno
	ID      LinkID
	Prev    LinkID // zero for the first
	Version int    // 1 or 2
	TypeNum int64
	Stubbed bool // nothing below is known then

	SigID    SigIDBase
	Type     string
	Payload  string // inner JSON
	Signer   KID
	Eldest   KID // body.key.eldest_kid, zero when absent
	UID      UID
	Username string
	Ctime    int64 // unix seconds
	ExpireIn int64
	Ignore   bool // ignore_if_unsupported
	Merkle   rootRef

	node      NodeHash // body.merkle_root.hash
	highSkip  *highSkip
	body      object
	revokes   revocation
	delegated KID    // eldest, sibkey, subkey: the key that the link introduces
	pgp       []byte // the message that signs, if a PGP key does
}

// highSkip names the last "high" link before this one.
type highSkip struct {
	seqno Seqno
	hash  LinkID // zero for none
}

func (l *Link) subject() string { return fmt.Sprintf("link %d of %s", l.Seqno, l.UID) }

// parseEntry reads one element of sig/get's array.
// client: go/libkb/chain_link_parse_2.go:ImportLinkFromServer
func parseEntry(subject string, raw json.RawMessage) (*Link, error) {
	e, err := rawFields(raw)
	if err != nil {
		return nil, violated(RuleLinkShape, subject, "%v", err)
	}
	if s2, ok := e["s2"]; ok {
		if len(e) != 1 {
			return nil, violated(RuleLinkShape, subject, "a stub with more than s2")
		}
		return parseStub(subject, s2)
	}
	version, err := strconv.Atoi(string(e["sig_version"]))
	if err != nil {
		return nil, violated(RuleLinkShape, subject, "sig_version %s", e["sig_version"])
	}
	var sig string
	if raw, ok := e["sig"]; ok && json.Unmarshal(raw, &sig) == nil && strings.HasPrefix(sig, pgpMessage) {
		return parsePGPEntry(subject, sig, e)
	}
	payload, err := unquoteGo(e["payload_json"])
	if err != nil {
		return nil, violated(RuleQuoting, subject, "payload_json: %v", err)
	}
	if len(payload) > payloadBytesMax {
		return nil, violated(RuleLinkJSON, subject, "payload of %d bytes", len(payload))
	}
	l := &Link{Version: version, Payload: payload}
	if err := l.readPayload(subject); err != nil {
		return nil, err
	}
	switch version {
	case 1:
		err = l.openV1(subject, e["si1"])
	case 2:
		err = l.openV2(subject, e["si2"])
	default:
		err = violated(RuleLinkShape, subject, "sig_version %d", version)
	}
	if err != nil {
		return nil, err
	}
	return l, l.checkReverseSigs(subject)
}

func parseStub(subject string, raw json.RawMessage) (*Link, error) {
	var armored string
	if err := json.Unmarshal(raw, &armored); err != nil {
		return nil, violated(RuleLinkShape, subject, "s2: %v", err)
	}
	b, err := unbase64(armored)
	if err != nil {
		return nil, violated(RuleLinkShape, subject, "s2: %v", err)
	}
	v, err := unpack(b)
	if err != nil {
		return nil, violated(RuleLinkShape, subject, "s2: %v", err)
	}
	o, err := outerFrom(v)
	if err != nil {
		return nil, violated(RuleLinkShape, subject, "s2: %v", err)
	}
	switch {
	case !bytes.Equal(o.Encode(), b):
		return nil, violated(RuleLinkShape, subject, "s2 is not canonical")
	case o.Version != 2 || o.SeqType != seqTypePublic || o.Curr == nil:
		return nil, violated(RuleOuter, subject, "stub of version %d, seq type %d", o.Version, o.SeqType)
	case !stubbableType(o.Type):
		return nil, violated(RuleStub, subject, "type %d may not be stubbed", o.Type)
	case !supportedType(o.Type) && !o.Ignore:
		return nil, violated(RuleStub, subject, "stub of the unknown type %d that may not be ignored", o.Type)
	}
	l := &Link{Seqno: Seqno(o.Seqno), ID: linkIDOf(b), Version: 2, TypeNum: o.Type, Stubbed: true, Ignore: o.Ignore}
	copy(l.Prev[:], o.Prev)
	if o.HighSkipSeqno != nil {
		l.highSkip = &highSkip{seqno: Seqno(*o.HighSkipSeqno)}
		copy(l.highSkip.hash[:], o.HighSkipHash)
	}
	return l, nil
}

// openV1 verifies a link whose inner JSON is what was signed.
// client: go/libkb/chain_link_parse_2.go:importLinkFromServerV1NaCl
func (l *Link) openV1(subject string, si1 json.RawMessage) error {
	var armored string
	if err := json.Unmarshal(si1, &armored); err != nil {
		return violated(RuleLinkShape, subject, "si1: %v", err)
	}
	sig, err := unbase64(armored)
	if err != nil || len(sig) != ed25519.SignatureSize {
		return violated(RuleLinkShape, subject, "si1 is not base64 of 64 bytes")
	}
	if l.Type == "wallet.stellar" {
		return violated(RuleLinkJSON, subject, "a wallet link of version 1")
	}
	l.ID = linkIDOf([]byte(l.Payload))
	l.TypeNum = typeNumber(l.Type, l.revokes.any())
	return l.verify(subject, []byte(l.Payload), sig, l.ancientClient())
}

// openV2 rebuilds the outer link from its compressed form and the inner link and
// verifies it. client: go/libkb/chain_link_parse_2.go:importLinkFromServerV2Unstubbed
func (l *Link) openV2(subject string, si2 json.RawMessage) error {
	sig, o, err := implodedV2(si2)
	if err != nil {
		return violated(RuleLinkShape, subject, "si2: %v", err)
	}
	inner := sha256.Sum256([]byte(l.Payload))
	var prev []byte
	if !l.Prev.IsZero() {
		prev = l.Prev[:]
	}
	if (o.Seqno != 0 && o.Seqno != int64(l.Seqno)) || (o.Prev != nil && !bytes.Equal(o.Prev, prev)) ||
		(o.Curr != nil && !bytes.Equal(o.Curr, inner[:])) {
		return violated(RuleOuter, subject, "seqno, prev or curr differ from the inner link")
	}
	o.Seqno, o.Prev, o.Curr = int64(l.Seqno), prev, inner[:]
	if err := l.matchOuter(o); err != nil {
		return violated(RuleOuter, subject, "%v", err)
	}
	b := o.Encode()
	l.ID, l.TypeNum = linkIDOf(b), o.Type
	return l.verify(subject, b, sig, false)
}

// implodedV2 reads msgpack [signature, outer, number of outer fields].
func implodedV2(raw json.RawMessage) (sig []byte, o *Outer, err error) {
	var armored string
	if err := json.Unmarshal(raw, &armored); err != nil {
		return nil, nil, err
	}
	b, err := unbase64(armored)
	if err != nil {
		return nil, nil, err
	}
	v, err := unpack(b)
	if err != nil {
		return nil, nil, err
	}
	a, err := as[[]any](v)
	if err != nil || len(a) != 3 {
		return nil, nil, errors.New("not [signature, outer, fields]")
	}
	if sig, err = as[[]byte](a[0]); err != nil || len(sig) != ed25519.SignatureSize {
		return nil, nil, errors.New("signature is not 64 bytes")
	}
	if o, err = outerFrom(a[1]); err != nil {
		return nil, nil, err
	}
	n, err := as[int64](a[2])
	if err != nil || (n != 5 && n != 6 && n != 7 && n != 9) {
		return nil, nil, fmt.Errorf("number of fields %v", a[2])
	}
	var w packer
	w.array(3)
	w.bin(sig)
	o.encodeTo(&w)
	w.int(n)
	if !bytes.Equal(w, b) {
		return nil, nil, errors.New("not canonical msgpack")
	}
	o.Fields = int(n)
	return sig, o, nil
}

// matchOuter compares the outer link with the inner one, including the fields
// that the stock client compares with themselves on import.
// client: go/libkb/chain_link_v2.go:AssertFields
func (l *Link) matchOuter(o *Outer) error {
	seqType := int64(seqTypePublic)
	if v, ok := l.body.at("seq_type"); ok {
		var err error
		if seqType, err = number(v, "seq_type"); err != nil {
			return err
		}
	}
	num := typeNumber(l.Type, l.revokes.any())
	switch {
	case o.Version != 2:
		return fmt.Errorf("version %d", o.Version)
	case seqType != seqTypePublic || o.SeqType != seqType:
		return fmt.Errorf("seq type %d outside, %d inside", o.SeqType, seqType)
	case o.Ignore != l.Ignore:
		return fmt.Errorf("ignore_if_unsupported %v outside, %v inside", o.Ignore, l.Ignore)
	case num != 0 && o.Type != num:
		return fmt.Errorf("type %d outside, %s (%d) inside", o.Type, l.Type, num)
	case num == 0 && (!o.Ignore || supportedType(o.Type)):
		return fmt.Errorf("unknown type %s as %d", l.Type, o.Type)
	case l.revokes.any() && stubbableType(o.Type):
		return fmt.Errorf("type %s with a revocation", l.Type)
	case (o.HighSkipSeqno != nil) != (l.highSkip != nil):
		return errors.New("high skip on one side only")
	}
	if l.highSkip != nil {
		var hash LinkID
		copy(hash[:], o.HighSkipHash)
		if *o.HighSkipSeqno != int64(l.highSkip.seqno) || hash != l.highSkip.hash {
			return errors.New("high skips differ")
		}
	}
	return nil
}

// verify checks the signature by the key that the inner link names.
func (l *Link) verify(subject string, signed, sig []byte, noHash bool) error {
	if l.Signer.IsPGP() {
		return violated(RuleLinkSig, subject, "a packet by the PGP key %s", l.Signer)
	}
	p := &Packet{
		Key: l.Signer[:], Payload: signed, Sig: sig, NoHash: noHash,
		Detached: true, HashType: hashSHA512, SigType: sigEdDSA, Tag: tagSignature, Version: packetVersion,
	}
	if _, err := p.Verify(); err != nil {
		return violated(RuleLinkSig, subject, "%v", err)
	}
	l.SigID = SigIDBaseOf(p.Encode())
	return nil
}

// ancientClient reports links of clients before 1.0.16, whose packets had no hash.
// client: go/sigid/sigid.go:isModernSigIDMaker
func (l *Link) ancientClient() bool {
	name, _ := l.body.str("client", "name")
	version, _ := l.body.str("client", "version")
	if name != "keybase.io go client" {
		return false
	}
	var n [3]int
	parts := strings.Split(version, ".")
	if len(parts) != 3 {
		return false
	}
	for i, p := range parts {
		x, err := strconv.Atoi(p)
		if err != nil {
			return false
		}
		n[i] = x
	}
	return n[0] < 1 || (n[0] == 1 && n[1] == 0 && n[2] < 16)
}
