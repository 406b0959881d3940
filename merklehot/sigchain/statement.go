package sigchain

import (
	"github.com/keystead/keystead/compat/kbsig"
)

// PassphraseStatement is a device's word for a new passphrase: shaped like the next
// link of the chain, and never appended to it.
// client: go/libkb/kbsig.go:UpdatePassphraseProof
type PassphraseStatement struct {
	Hash       string    // the password hash as sent beside, hex
	PDPKA5     kbsig.KID // the new login key
	Generation int64     // that the change makes

	link *Link
}

// passphraseGenerationMax bounds passphrase generations; one a change.
const passphraseGenerationMax = 1 << 20

// ParsePassphraseStatement reads and verifies an armoured statement that signingKID
// is said to have signed.
func ParsePassphraseStatement(armored string, signingKID kbsig.KID) (*PassphraseStatement, error) {
	sig, err := kbsig.OpenSignature(armored)
	if err != nil {
		return nil, refuse(KindSignature, "%w", err)
	}
	doc, err := kbsig.ParseSignedJSON(sig.Payload, true)
	if err != nil {
		return nil, refuse(KindInput, "%w", err)
	}
	p := &PassphraseStatement{link: &Link{Version: 1, ID: kbsig.LinkIDOf(sig.Payload), SigID: sig.ID(), sig: sig, inner: sig.Payload}}
	root := doc.Root()
	body := root.Object("body")
	p.link.readFrame(&root, &body)
	body.Const("type", "update_passphrase_hash")
	up := body.Object("update_passphrase_hash")
	p.Hash = up.String("hash")
	p.PDPKA5 = kbsig.Parsed(&up, "pdpka5_kid", kbsig.ParseKID)
	p.Generation = up.Int("passphrase_generation", 1, passphraseGenerationMax)
	up.Int("version", 3, 3)
	up.End()
	body.End()
	if err := root.Err(); err != nil {
		return nil, refuse(KindInput, "%w", err)
	}
	if err := checkClient(&root); err != nil {
		return nil, err
	}
	if p.link.KID != sig.KID || sig.KID != signingKID {
		return nil, refuse(KindWrongKey, "not signed by the key that is named")
	}
	return p, nil
}

// JudgePassphrase judges the statement as the next link of the chain would be.
func (s *State) JudgePassphrase(p *PassphraseStatement, env Env) error {
	if err := s.checkPlace(p.link); err != nil {
		return err
	}
	if err := s.checkSigner(p.link); err != nil {
		return err
	}
	if err := checkTime(p.link, env); err != nil {
		return err
	}
	return checkArrival(p.link, env)
}
