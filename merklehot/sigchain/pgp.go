package sigchain

import (
	"bytes"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
)

// pgpLink is what a link has to do with PGP: it may be signed with a PGP key, and it may
// bring one, as a sibkey, as the eldest key or as a new version of a key.
type pgpLink struct {
	message  *pgp.Message // what signs, if a PGP key does
	signer   pgpNames     // what the link says of the PGP key that signs, if it says more than its id
	bundle   *pgp.Key     // what the link brings
	verified pgp.Hash     // the version of the signer with which message verifies
}

// pgpNames are the names of a PGP key in sections about keys.
// client: go/libkb/kbsig.go:KeySection.ToJSON
type pgpNames struct {
	fingerprint pgp.Fingerprint
	hash        pgp.Hash // zero: not said
}

// Bundle is the PGP key that the link brings; nil if it brings none.
func (l *Link) Bundle() *pgp.Key { return l.bundle }

// openPGPLink decodes a PGP message that signs a link. Clients take no others than v1
// links from PGP. client: go/libkb/chain_link_parse_2.go:ImportLinkFromServer
func openPGPLink(packet, inner []byte) (*Link, error) {
	m, err := pgp.ParseMessage(string(packet))
	if err != nil {
		return nil, refuse(KindSignature, "%w", err)
	}
	if len(inner) != 0 || m.Payload[0] != '{' {
		return nil, refuse(KindInput, "v2 link signed with PGP")
	}
	l := &Link{Version: 1, ID: kbsig.LinkIDOf(m.Payload), SigID: m.ID, packet: packet, inner: m.Payload}
	l.message = m
	return l, nil
}

// readBundle reads the PGP key that was sent with the link.
func (l *Link) readBundle(bundle string) (err error) {
	if bundle == "" {
		return nil
	}
	if l.bundle, err = pgp.ParseKey(bundle); err != nil {
		return refuse(KindBadKey, "%w", err)
	}
	return nil
}

// readPGPNames reads the members that sections about PGP keys have besides the key id.
func readPGPNames(s *kbsig.JSONSection) (n pgpNames) {
	n.fingerprint = kbsig.Parsed(s, "fingerprint", pgp.ParseFingerprint)
	s.Const("key_id", n.fingerprint.KeyID())
	if s.Has("full_hash") {
		n.hash = kbsig.Parsed(s, "full_hash", pgp.ParseHash)
	}
	return n
}

// checkNewPGP: the key that came with the link is the one that the link adds, in the
// version that it names. Clients look for just that version ever after.
// client: go/libkb/keyfamily.go:FindKeyWithKIDUnsafe
func (l *Link) checkNewPGP(body *kbsig.JSONSection, n pgpNames) error {
	if err := body.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	switch {
	case body.Has("device"):
		return refuse(KindDeviceOther, "PGP key with a device")
	case l.bundle == nil:
		return refuse(KindMismatch, "the PGP key itself is missing")
	case l.bundle.KID != l.Key:
		return refuse(KindMismatch, "PGP key %s sent for %s", l.bundle.KID, l.Key)
	case l.bundle.Fingerprint != n.fingerprint:
		return refuse(KindMismatch, "PGP key of another fingerprint")
	case l.bundle.Hash != n.hash:
		return refuse(KindMismatch, "PGP key in another version than was signed")
	}
	return nil
}

// client: go/libkb/id_table.go:ParsePGPUpdateChainLink
func (l *Link) readPGPUpdate(body *kbsig.JSONSection) error {
	s := body.Object("pgp_update")
	l.Key = kbsig.Parsed(&s, "kid", kbsig.ParseKID)
	names := readPGPNames(&s)
	s.End()
	if err := s.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	if !pgp.IsKID(l.Key) {
		return refuse(KindInput, "update of %s, which is no PGP key", l.Key)
	}
	return l.checkNewPGP(body, names)
}

// checkPGPReverseSig verifies that the key that the link brings signed want.
func (l *Link) checkPGPReverseSig(armored string, want []byte) error {
	m, err := pgp.ParseMessage(armored)
	if err != nil {
		return refuse(KindSignature, "reverse signature: %w", err)
	}
	if !bytes.Equal(m.Payload, want) {
		return refuse(KindSignature, "reverse signature over another statement")
	}
	if err := m.Verify(l.bundle); err != nil {
		return refuse(KindSignature, "reverse signature: %w", err)
	}
	return nil
}

// checkMessage checks what can be said of a link that PGP signs before its chain is
// known.
func (l *Link) checkMessage() error {
	if !pgp.IsKID(l.KID) {
		return refuse(KindWrongKey, "signed with PGP, not by %s as the link says", l.KID)
	}
	if l.bundle == nil || l.bundle.KID != l.KID {
		return nil
	}
	return l.VerifyPGP(l.bundle)
}

// VerifyPGP verifies the link's own signature with one version of the key that made it.
// Doing so before Apply takes the work out of the transaction.
func (l *Link) VerifyPGP(k *pgp.Key) error {
	if l.message == nil || l.verified == k.Hash {
		return nil
	}
	named := l.signer.fingerprint != pgp.Fingerprint{}
	if k.KID != l.KID || named && k.Fingerprint != l.signer.fingerprint {
		return refuse(KindWrongKey, "signed by another PGP key than the link says")
	}
	if err := l.message.Verify(k); err != nil {
		return refuse(KindSignature, "%w", err)
	}
	l.verified = k.Hash
	return nil
}

// SignedWithPGP says in which version of s the key that signed a link is to be found: at
// which link. It is zero if no PGP key signed, or if the link brings the key itself.
func (s *State) SignedWithPGP(l *Link) kbsig.Seqno {
	if l.message == nil || l.bringsSigner() {
		return 0
	}
	v, _ := s.PGPVersion(l.KID)
	return v.Seqno
}

// bringsSigner: an eldest key signs itself, and clients look at an update before they
// verify who signed it. client: go/libkb/sig_chain.go:verifySubchain
func (l *Link) bringsSigner() bool { return l.bundle != nil && l.bundle.KID == l.KID }

// checkPGPSigner verifies a PGP signature with the version of the key that counts at
// this link. client: go/libkb/chain_link.go:VerifySigWithKeyFamily
func (s *State) checkPGPSigner(l *Link, env Env) error {
	if l.message == nil {
		return nil
	}
	if l.bringsSigner() {
		if l.Type == kbsig.LinkSibkey {
			return refuse(KindWrongKey, "key %s adds itself", l.KID)
		}
		return l.VerifyPGP(l.bundle)
	}
	v, ok := s.PGPVersion(l.KID)
	if !ok {
		return refuse(KindWrongKey, "%s is no PGP key of the account", l.KID)
	}
	if l.verified == v.Hash {
		return nil
	}
	bundle, err := env.Bundle(s.UID, v.Seqno)
	if err != nil {
		return fmt.Errorf("PGP key %s: %w", l.KID, err)
	}
	k, err := pgp.ParseKey(bundle)
	if err != nil {
		return refuse(KindCorrupt, "%w", err)
	}
	if k.Hash != v.Hash {
		return refuse(KindCorrupt, "PGP key %s is kept in another version", l.KID)
	}
	return l.VerifyPGP(k)
}

// pgpAlone: a new key that comes alone is a PGP key, and PGP keys come alone.
func pgpAlone(links []*Link) bool {
	added := links[0].Type == kbsig.LinkEldest || links[0].Type == kbsig.LinkSibkey
	return !added || (links[0].bundle != nil) == (len(links) == 1)
}

// pgpEntry is Entry for links that PGP signs: clients are told who signed.
func (r Record) pgpEntry() (kbsig.WireEntry, error) {
	l, err := openPGPLink(r.Packet, nil)
	if err != nil {
		return kbsig.WireEntry{}, refuse(KindCorrupt, "record: %w", err)
	}
	doc, err := kbsig.ParseSignedJSON(l.inner, true)
	if err != nil {
		return kbsig.WireEntry{}, refuse(KindCorrupt, "record: %w", err)
	}
	root := doc.Root()
	body := root.Object("body")
	key := body.Object("key")
	kid := kbsig.Parsed(&key, "kid", kbsig.ParseKID)
	if err := root.Err(); err != nil {
		return kbsig.WireEntry{}, refuse(KindCorrupt, "record: %w", err)
	}
	return kbsig.EntryPGP(string(r.Packet), kid), nil
}

// replayEnv finds the keys of a chain in the records that are played.
type replayEnv struct {
	Env
	records []Record
}

// Bundle implements Env.
func (e replayEnv) Bundle(_ kbsig.UID, n kbsig.Seqno) (string, error) {
	if n < 1 || int(n) > len(e.records) {
		return "", refuse(KindCorrupt, "no link %d", n)
	}
	return string(e.records[n-1].Bundle), nil
}
