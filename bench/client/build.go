package client

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// expireInSeconds is what the stock client writes everywhere: 16 years.
// client: go/libkb/constants.go:SigExpireIn
const expireInSeconds = 24 * 60 * 60 * 365 * 16

// LinkSpec describes a link to build. The hooks at the end, each optional, change
// the link at one stage of its making, so that tests can build every kind of
// wrong link; everything made later (hashes, signatures, ids) fits the change.
type LinkSpec struct {
	Type     string
	Version  int // 1 or 2
	UID      UID
	Username string
	Signer   *SigningKey
	Eldest   KID // zero: leave eldest_kid out
	Seqno    Seqno
	Prev     LinkID // zero: null
	Ctime    int64  // unix seconds
	ExpireIn int64
	Root     *Root          // quoted as merkle_root; nil leaves it out
	Body     map[string]any // sections beside key, merkle_root, type and version
	Ignore   bool           // ignore_if_unsupported
	// Number and SeqType are those of a team's link; zero: a link of a user.
	Number, SeqType int64

	// ReverseSigner signs with the reverse_sig in Body[ReverseSection] null.
	// ReverseSection is a path, its parts separated by dots.
	ReverseSigner  *SigningKey
	ReverseSection string
	// ReverseSign does so instead if a PGP key is added; it returns armour.
	ReverseSign func(payload []byte) (string, error)

	EditPayload    func(payload map[string]any) // before the reverse signature
	EditReversed   func(payload map[string]any) // after it
	EditJSON       func(inner []byte) []byte    // the encoded inner link
	EditOuter      func(*Outer)                 // v2 only
	EditOuterBytes func(outer []byte) []byte    // v2 only
	EditPacket     func(*Packet)                // signed, not yet encoded
	EditPacketRaw  func(packet []byte) []byte
}

// SignedLink is a built link in all forms that posting and serving need.
type SignedLink struct {
	Spec   *LinkSpec
	Inner  []byte // inner JSON
	Outer  []byte // v2: the outer array; v1: nil
	Sig    []byte // bare 64-byte signature
	Packet []byte
	ID     LinkID
	SigID  SigIDBase
}

// BuildLink makes and signs a link the way the stock client does.
// client: go/libkb/kbsig.go:ToJSON2, MakeSig
func BuildLink(s *LinkSpec) (*SignedLink, error) {
	payload := s.payload()
	if s.EditPayload != nil {
		s.EditPayload(payload)
	}
	if err := s.reverse(payload); err != nil {
		return nil, fmt.Errorf("build %s: %w", s.Type, err)
	}
	if s.EditReversed != nil {
		s.EditReversed(payload)
	}
	inner, err := canonical(payload)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", s.Type, err)
	}
	if s.EditJSON != nil {
		inner = s.EditJSON(inner)
	}
	out := &SignedLink{Spec: s, Inner: inner}
	signed := inner
	if s.Version == 2 {
		out.Outer = s.outer(inner)
		signed = out.Outer
	}
	p := SignPacket(s.Signer, signed)
	if s.EditPacket != nil {
		s.EditPacket(p)
	}
	out.Packet, out.Sig = p.Encode(), p.Sig
	if s.EditPacketRaw != nil {
		out.Packet = s.EditPacketRaw(out.Packet)
	}
	out.ID, out.SigID = linkIDOf(signed), SigIDBaseOf(out.Packet)
	return out, nil
}

func (s *LinkSpec) payload() map[string]any {
	key := map[string]any{
		"host": canonicalHost, "kid": s.Signer.KID().String(), "uid": s.UID.String(), "username": s.Username,
	}
	if !s.Eldest.IsZero() {
		key["eldest_kid"] = s.Eldest.String()
	}
	body := map[string]any{"key": key, "type": s.Type, "version": s.Version}
	for k, v := range s.Body {
		body[k] = v
	}
	if r := s.Root; r != nil {
		body["merkle_root"] = map[string]any{
			"ctime": r.Ctime, "hash": r.Node.String(), "hash_meta": r.HashMeta.String(), "seqno": r.Seqno,
		}
	}
	expire := s.ExpireIn
	if expire == 0 {
		expire = expireInSeconds
	}
	payload := map[string]any{
		"body": body, "client": map[string]any{"name": "keybase.io go client", "version": "6.3.0"},
		"ctime": s.Ctime, "expire_in": expire, "prev": nil, "seqno": s.Seqno, "tag": "signature",
	}
	if !s.Prev.IsZero() {
		payload["prev"] = s.Prev.String()
	}
	if s.Ignore {
		payload["ignore_if_unsupported"] = true
	}
	if s.SeqType != 0 {
		payload["seq_type"] = s.SeqType
	}
	return payload
}

// reverse fills Body[ReverseSection].reverse_sig.
// client: go/libkb/kbsig.go:PerUserKeyProofReverseSigned
func (s *LinkSpec) reverse(payload map[string]any) error {
	if s.ReverseSigner == nil && s.ReverseSign == nil {
		return nil
	}
	section, _ := payload["body"].(map[string]any)
	for _, part := range strings.Split(s.ReverseSection, ".") {
		inner, ok := section[part].(map[string]any)
		if !ok {
			return fmt.Errorf("no section %q to put a reverse signature into", s.ReverseSection)
		}
		section = inner
	}
	section["reverse_sig"] = nil
	b, err := canonical(payload)
	if err != nil {
		return err
	}
	if s.ReverseSign != nil {
		section["reverse_sig"], err = s.ReverseSign(b)
		return err
	}
	section["reverse_sig"] = SignPacket(s.ReverseSigner, b).Armor()
	return nil
}

func (s *LinkSpec) outer(inner []byte) []byte {
	curr := sha256.Sum256(inner)
	revoke, _ := s.Body["revoke"].(map[string]any)
	o := &Outer{
		Fields: 7, Version: 2, Seqno: int64(s.Seqno), Curr: curr[:],
		Type: typeNumber(s.Type, len(revoke) > 0), SeqType: seqTypePublic, Ignore: s.Ignore,
	}
	if s.Number != 0 {
		o.Type, o.SeqType = s.Number, s.SeqType
	}
	if !s.Prev.IsZero() {
		o.Prev = s.Prev[:]
	}
	if s.EditOuter != nil {
		s.EditOuter(o)
	}
	b := o.Encode()
	if s.EditOuterBytes != nil {
		b = s.EditOuterBytes(b)
	}
	return b
}

// Sections of links.

// EldestBody is the device section of a first link.
func EldestBody(d *Device) map[string]any {
	return map[string]any{"device": d.section()}
}

// SibkeyBody announces a device's signing key; its reverse signature is filled by
// BuildLink.
func SibkeyBody(d *Device) map[string]any {
	return map[string]any{
		"device": d.section(),
		"sibkey": map[string]any{"kid": d.Sig.KID().String(), "reverse_sig": nil},
	}
}

// SubkeyBody announces a device's encryption key.
func SubkeyBody(d *Device) map[string]any {
	return map[string]any{
		"device": map[string]any{"id": d.ID.String(), "kid": d.Enc.KID().String(), "status": statusActive},
		"subkey": map[string]any{"kid": d.Enc.KID().String(), "parent_kid": d.Sig.KID().String()},
	}
}

// PUKBody announces a generation of the per-user key.
func PUKBody(p *PUK, generation int) map[string]any {
	return map[string]any{"per_user_key": map[string]any{
		"encryption_kid": p.Enc.KID().String(), "generation": generation,
		"reverse_sig": nil, "signing_kid": p.Sig.KID().String(),
	}}
}

// RevokeDeviceBody ends a device and its keys.
func RevokeDeviceBody(d *DeviceInfo, kids []KID) map[string]any {
	list := make([]string, len(kids))
	for i, k := range kids {
		list[i] = k.String()
	}
	return map[string]any{
		"device": map[string]any{"id": d.ID.String(), "status": statusDefunct, "type": d.Type},
		"revoke": map[string]any{"kids": list},
	}
}

// RevokeSigsBody ends signatures by their 66-character ids.
func RevokeSigsBody(sigIDs []string) map[string]any {
	return map[string]any{"revoke": map[string]any{"sig_ids": sigIDs}}
}

// TrackBody states what the follower saw. client: go/libkb/kbsig.go:ToTrackingStatement
func TrackBody(them *User, entropy string) map[string]any {
	t := map[string]any{
		"basics": map[string]any{
			"id_version": them.IDVersion, "last_id_change": them.LastIDChange, "username": them.Username,
		},
		"entropy": entropy, "id": them.UID.String(), "remote_proofs": []any{}, "seq_tail": nil,
	}
	if f := them.Family; f != nil {
		t["key"] = map[string]any{"kid": f.Eldest.String()}
	}
	if tail := them.Tail(); tail != nil {
		t["seq_tail"] = map[string]any{
			"payload_hash": tail.LinkID.String(), "seqno": tail.Seqno, "sig_id": tail.SigID.SigID(),
		}
	}
	return map[string]any{"track": t}
}

// UntrackBody ends a track.
func UntrackBody(them *User, entropy string) map[string]any {
	return map[string]any{"untrack": map[string]any{
		"basics": map[string]any{"username": them.Username}, "entropy": entropy, "id": them.UID.String(),
	}}
}

// Entry is the link as sig/get serves it; hook-free servers of tests use it.
func (l *SignedLink) Entry() map[string]any {
	if l.Outer == nil {
		return map[string]any{"sig_version": 1, "payload_json": string(l.Inner), "si1": b64(l.Sig)}
	}
	v, err := unpack(l.Outer)
	fields := int64(7)
	var w packer
	w.array(3)
	w.bin(l.Sig)
	if o, err2 := outerFrom(v); err == nil && err2 == nil {
		fields = int64(o.Fields)
		o.encodeTo(&w)
	} else {
		w = append(w, l.Outer...)
	}
	w.int(fields)
	return map[string]any{"sig_version": 2, "payload_json": string(l.Inner), "si2": b64(w)}
}
