package sigchain

import (
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
)

// pgpVersionsMax bounds the versions of PGP keys in one chain: each is served with the
// user for ever.
const pgpVersionsMax = 256

// PGPVersion is one version of a PGP key, as a link brought it. The newest of a key
// counts, as long as the key is active.
type PGPVersion struct {
	KID         kbsig.KID
	Hash        pgp.Hash
	Fingerprint pgp.Fingerprint
	Seqno       kbsig.Seqno // of the link, in whose record it is
}

// PGPVersion is the version of a PGP key that counts, or that counted when the key was
// last active.
func (s *State) PGPVersion(kid kbsig.KID) (PGPVersion, bool) {
	for i := len(s.PGP) - 1; i >= 0; i-- {
		if s.PGP[i].KID == kid {
			return s.PGP[i], true
		}
	}
	return PGPVersion{}, false
}

// ActivePGP lists the versions that count now, oldest key first.
func (s *State) ActivePGP() []PGPVersion {
	var out []PGPVersion
	for _, k := range s.Keys {
		if v, ok := s.PGPVersion(k.KID); ok && s.KeyActive(k) {
			out = append(out, v)
		}
	}
	return out
}

// addPGP adds a PGP key, without a device. Unlike device keys, one that was revoked or
// that counted before a reset may come back, and two accounts may have the same: its
// signature says that whoever adds it has it. client: go/libkb/keyfamily.go:Delegate
func (s *State) addPGP(l *Link, role Role) error {
	if k, ok := s.Key(l.Key); ok && s.KeyActive(k) {
		return refuse(KindSibkeyExists, "PGP key %s is active", l.Key)
	}
	if len(s.Keys) >= keysMax {
		return refuse(KindTooMany, "account with %d keys", len(s.Keys))
	}
	if err := s.addPGPVersion(l); err != nil {
		return err
	}
	s.addKey(l, role, kbsig.DeviceID{})
	return nil
}

func (s *State) addPGPVersion(l *Link) error {
	if len(s.PGP) >= pgpVersionsMax {
		return refuse(KindTooMany, "account with %d versions of PGP keys", len(s.PGP))
	}
	s.PGP = append(s.PGP, PGPVersion{
		KID: l.Key, Hash: l.bundle.Hash, Fingerprint: l.bundle.Fingerprint, Seqno: l.Seqno,
	})
	return nil
}

// updatePGP replaces the version of an active key. Clients take the version that was
// there before for an answer of its own.
// client: go/libkb/sig_chain.go:verifySubchain, go/engine/pgp_update.go
func (s *State) updatePGP(l *Link, _ Env) error {
	k, ok := s.Key(l.Key)
	if !ok || !s.live(k.Incarnation) {
		return refuse(KindKeyNotFound, "updates %s, which is no key of the account", l.Key)
	}
	if k.RevokedAt != 0 {
		return refuse(KindKeyRevoked, "%s was revoked by link %d", l.Key, k.RevokedAt)
	}
	v, ok := s.PGPVersion(l.Key)
	switch {
	case !ok:
		return refuse(KindKeyNotFound, "updates %s, which is no PGP key", l.Key)
	case v.Hash == l.bundle.Hash:
		return refuse(KindSameVersion, "%s is in this version already", l.Key)
	}
	return s.addPGPVersion(l)
}

// revokePGP takes back PGP keys, which have no device; that they are active, revoke has
// checked. client: go/engine/revoke.go:RevokeEngine.run
func (s *State) revokePGP(l *Link) error {
	for _, kid := range l.Revoke.KIDs {
		if !pgp.IsKID(kid) {
			return refuse(KindDeviceOther, "revokes keys without their device")
		}
		s.endKey(kid, l)
	}
	return nil
}

// endKey marks the key as revoked by l.
func (s *State) endKey(kid kbsig.KID, l *Link) {
	for i := range s.Keys {
		if k := &s.Keys[i]; k.KID == kid && s.KeyActive(*k) {
			k.RevokedAt, k.RevokedBy = l.Seqno, l.KID
		}
	}
}

// revokePGPSig takes back an active PGP key by the signature that added it; false if
// the signature did nothing of the kind. client: go/libkb/keyfamily.go:RevokeSig
func (s *State) revokePGPSig(id kbsig.SigIDBase, l *Link) bool {
	at := slices.IndexFunc(s.Keys, func(k Key) bool {
		return k.AddedSig == id && pgp.IsKID(k.KID) && s.KeyActive(k)
	})
	if at < 0 {
		return false
	}
	s.endKey(s.Keys[at].KID, l)
	return true
}

func (v *PGPVersion) encode(w *writer) {
	w.raw(v.KID[:])
	w.raw(v.Hash[:])
	w.raw(v.Fingerprint[:])
	w.seqno(int64(v.Seqno))
}

func (v *PGPVersion) decode(r *reader) {
	r.raw(v.KID[:], "PGP key")
	r.raw(v.Hash[:], "PGP version")
	r.raw(v.Fingerprint[:], "PGP fingerprint")
	v.Seqno = kbsig.Seqno(r.int("PGP seqno"))
}
