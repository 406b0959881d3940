package sigchain

import (
	"github.com/keystead/keystead/compat/kbsig"
)

// stateVersion leads every encoded state. Version 1 ended with the follows, version 2
// had no resets, version 3 no PGP keys.
const stateVersion = 4

// Encode writes a state. Equal states have equal bytes.
func (s *State) Encode() []byte {
	w := &writer{b: make([]byte, 0, 256+len(s.Keys)*240+len(s.Devices)*160+len(s.Tracks)*72)}
	w.version(stateVersion)
	w.raw(s.UID[:])
	w.string(string(s.Username))
	w.seqno(int64(s.Tail))
	w.raw(s.TailLink[:])
	w.raw(s.TailSig[:])
	w.seqno(int64(s.HighSkip.Seqno))
	w.raw(s.HighSkip.Hash[:])
	w.raw(s.Eldest[:])
	w.seqno(int64(s.EldestSeqno))
	w.int(int64(s.Incarnation))
	w.uint(uint64(len(s.Keys)))
	for i := range s.Keys {
		s.Keys[i].encode(w)
	}
	w.uint(uint64(len(s.Devices)))
	for i := range s.Devices {
		s.Devices[i].encode(w)
	}
	w.uint(uint64(len(s.PUKs)))
	for i := range s.PUKs {
		s.PUKs[i].encode(w)
	}
	w.uint(uint64(len(s.Tracks)))
	for i := range s.Tracks {
		s.Tracks[i].encode(w)
	}
	s.encodeStatements(w)
	s.encodeResets(w)
	w.uint(uint64(len(s.PGP)))
	for i := range s.PGP {
		s.PGP[i].encode(w)
	}
	return w.b
}

// DecodeState reads what Encode wrote.
func DecodeState(b []byte) (*State, error) {
	r := &reader{b: b}
	version := r.uint("state")
	if r.err == nil && (version < 1 || version > stateVersion) {
		return nil, refuse(KindCorrupt, "state of version %d", version)
	}
	s := &State{}
	r.raw(s.UID[:], "uid")
	s.Username = kbsig.Username(r.bytes("username"))
	s.Tail = kbsig.Seqno(r.int("tail"))
	r.raw(s.TailLink[:], "tail")
	r.raw(s.TailSig[:], "tail")
	s.HighSkip.Seqno = kbsig.Seqno(r.int("high skip"))
	r.raw(s.HighSkip.Hash[:], "high skip")
	r.raw(s.Eldest[:], "eldest")
	s.EldestSeqno = kbsig.Seqno(r.int("eldest"))
	s.Incarnation = int(r.int("incarnation"))
	s.Keys = readList(r, (*Key).decode)
	s.Devices = readList(r, (*Device).decode)
	s.PUKs = readList(r, (*PUK).decode)
	s.Tracks = readList(r, (*Track).decode)
	if version > 1 {
		s.decodeStatements(r)
	}
	if version > 2 {
		s.decodeResets(r)
	}
	if version > 3 {
		s.PGP = readList(r, (*PGPVersion).decode)
	}
	return s, r.end("state")
}

// encodeResets writes how often the account was reset, and whether it is deleted.
func (s *State) encodeResets(w *writer) {
	w.seqno(int64(s.Resets.Seqno))
	if s.Resets.Seqno == 0 {
		return
	}
	w.raw(s.Resets.Hash[:])
	deleted := int64(0)
	if s.Deleted {
		deleted = 1
	}
	w.int(deleted)
}

func (s *State) decodeResets(r *reader) {
	if s.Resets.Seqno = kbsig.Seqno(r.int("resets")); s.Resets.Seqno == 0 {
		return
	}
	r.raw(s.Resets.Hash[:], "resets")
	deleted := r.int("deletion")
	if deleted > 1 {
		r.fail("deletion")
	}
	s.Deleted = deleted == 1
}

func readList[T any](r *reader, decode func(*T, *reader)) []T {
	n := r.count("list")
	if r.err != nil || n == 0 {
		return nil
	}
	var out []T
	for i := 0; i < n && r.err == nil; i++ {
		var t T
		decode(&t, r)
		out = append(out, t)
	}
	return out
}

func (k *Key) encode(w *writer) {
	w.raw(k.KID[:])
	w.int(int64(k.Role))
	w.int(int64(k.Incarnation))
	w.raw(k.Device[:])
	w.raw(k.Parent[:])
	w.raw(k.AddedBy[:])
	w.seqno(int64(k.AddedAt))
	w.raw(k.AddedSig[:])
	w.int(k.AddedCtime)
	w.seqno(int64(k.RevokedAt))
	w.raw(k.RevokedBy[:])
}

func (k *Key) decode(r *reader) {
	r.raw(k.KID[:], "key")
	role := r.int("key role")
	if role > int64(RoleSubkey) {
		r.fail("key role")
	}
	k.Role = Role(role)
	k.Incarnation = int(r.int("key incarnation"))
	r.raw(k.Device[:], "key device")
	r.raw(k.Parent[:], "key parent")
	r.raw(k.AddedBy[:], "key signer")
	k.AddedAt = kbsig.Seqno(r.int("key seqno"))
	r.raw(k.AddedSig[:], "key signature")
	k.AddedCtime = r.int("key ctime")
	k.RevokedAt = kbsig.Seqno(r.int("key revocation"))
	r.raw(k.RevokedBy[:], "key revoker")
}

func (d *Device) encode(w *writer) {
	w.raw(d.ID[:])
	w.int(int64(d.Incarnation))
	w.string(d.Name)
	w.string(string(d.Type))
	w.int(int64(d.Status))
	w.raw(d.Sibkey[:])
	w.raw(d.Subkey[:])
	w.seqno(int64(d.AddedAt))
	w.int(d.AddedCtime)
	w.seqno(int64(d.RevokedAt))
}

func (d *Device) decode(r *reader) {
	r.raw(d.ID[:], "device")
	d.Incarnation = int(r.int("device incarnation"))
	d.Name = string(r.bytes("device name"))
	d.Type = DeviceType(r.bytes("device type"))
	d.Status = int(r.int("device status"))
	r.raw(d.Sibkey[:], "device sibkey")
	r.raw(d.Subkey[:], "device subkey")
	d.AddedAt = kbsig.Seqno(r.int("device seqno"))
	d.AddedCtime = r.int("device ctime")
	d.RevokedAt = kbsig.Seqno(r.int("device revocation"))
}

func (p *PUK) encode(w *writer) {
	w.int(p.Generation)
	w.int(int64(p.Incarnation))
	w.raw(p.Signing[:])
	w.raw(p.Encryption[:])
	w.raw(p.SignedBy[:])
	w.seqno(int64(p.AddedAt))
}

func (p *PUK) decode(r *reader) {
	p.Generation = r.int("puk generation")
	p.Incarnation = int(r.int("puk incarnation"))
	r.raw(p.Signing[:], "puk signing key")
	r.raw(p.Encryption[:], "puk encryption key")
	r.raw(p.SignedBy[:], "puk signer")
	p.AddedAt = kbsig.Seqno(r.int("puk seqno"))
}

func (t *Track) encode(w *writer) {
	w.raw(t.UID[:])
	w.string(string(t.Username))
	w.seqno(int64(t.Seqno))
	w.raw(t.SigID[:])
}

func (t *Track) decode(r *reader) {
	r.raw(t.UID[:], "track")
	t.Username = kbsig.Username(r.bytes("track name"))
	t.Seqno = kbsig.Seqno(r.int("track seqno"))
	r.raw(t.SigID[:], "track signature")
}
