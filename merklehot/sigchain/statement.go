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
	p := &PassphraseStatement{}
	var err error
	p.link, err = parseStatement(armored, signingKID, "update_passphrase_hash", func(up *kbsig.JSONSection) {
		p.Hash = up.String("hash")
		p.PDPKA5 = kbsig.Parsed(up, "pdpka5_kid", kbsig.ParseKID)
		p.Generation = up.Int("passphrase_generation", 1, passphraseGenerationMax)
		up.Int("version", 3, 3)
	})
	return p, err
}

// SettingsStatement is a device's word for another mail address: shaped like the next
// link of the chain, and never appended to it.
// client: go/libkb/kbsig.go:UpdateEmailProof
type SettingsStatement struct {
	Email string

	link *Link
}

// settingsEmailMax bounds the mail address in a statement, in bytes.
const settingsEmailMax = 256

// ParseSettingsStatement reads and verifies an armoured statement that signingKID is
// said to have signed. Whether the address is one is for its owner to say.
func ParseSettingsStatement(armored string, signingKID kbsig.KID) (*SettingsStatement, error) {
	p := &SettingsStatement{}
	var err error
	p.link, err = parseStatement(armored, signingKID, "update_settings", func(up *kbsig.JSONSection) {
		if p.Email = up.String("email"); len(p.Email) > settingsEmailMax {
			up.Fail("email of %d bytes", len(p.Email))
		}
	})
	return p, err
}

// parseStatement reads a statement whose section is named after its type.
func parseStatement(armored string, signingKID kbsig.KID, typ string, read func(*kbsig.JSONSection)) (*Link, error) {
	sig, err := kbsig.OpenSignature(armored)
	if err != nil {
		return nil, refuse(KindSignature, "%w", err)
	}
	doc, err := kbsig.ParseSignedJSON(sig.Payload, true)
	if err != nil {
		return nil, refuse(KindInput, "%w", err)
	}
	l := &Link{Version: 1, ID: kbsig.LinkIDOf(sig.Payload), SigID: sig.ID(), sig: sig, packet: sig.Packet, inner: sig.Payload}
	root := doc.Root()
	body := root.Object("body")
	l.readFrame(&root, &body)
	body.Const("type", typ)
	section := body.Object(typ)
	read(&section)
	section.End()
	body.End()
	if err := root.Err(); err != nil {
		return nil, refuse(KindInput, "%w", err)
	}
	if err := checkClient(&root); err != nil {
		return nil, err
	}
	root.End()
	if err := root.Err(); err != nil {
		return nil, refuse(KindInput, "%w", err)
	}
	if l.KID != sig.KID || sig.KID != signingKID {
		return nil, refuse(KindWrongKey, "not signed by the key that is named")
	}
	return l, nil
}

// JudgePassphrase judges the statement as the next link of the chain would be.
func (s *State) JudgePassphrase(p *PassphraseStatement, env Env) error { return s.judge(p.link, env) }

// JudgeSettings judges the statement as the next link of the chain would be.
func (s *State) JudgeSettings(p *SettingsStatement, env Env) error { return s.judge(p.link, env) }

func (s *State) judge(l *Link, env Env) error {
	if l.ignorable {
		return refuse(KindMismatch, "ignore_if_unsupported in a statement that is no link")
	}
	if err := s.checkPlace(l); err != nil {
		return err
	}
	if err := s.checkSigner(l); err != nil {
		return err
	}
	if err := checkTime(l, env); err != nil {
		return err
	}
	return checkArrival(l, env)
}
