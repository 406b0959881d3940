package kbsig

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Limits of login proofs.
const (
	// loginProofCharsMax bounds an armoured proof; a real one has some 700.
	loginProofCharsMax = 4 << 10
	// loginNonceChars is the length of the proof's nonce: 16 bytes in hex.
	loginNonceChars = 32
	// loginExpireMax bounds the proof's own lifetime, in seconds; clients ask a day.
	loginExpireMax = 7 * 24 * 3600
)

// ErrLoginProof reports a login proof that is not taken.
var ErrLoginProof = errors.New("login proof refused")

// LoginProof is what a password login signs: pdpka4 with a key derived from the
// password hash, pdpka5 with one that the server cannot derive.
// client: go/libkb/pdpka.go:computePDPKA
type LoginProof struct {
	KID     KID
	Session string // the login_session as the server issued it
	Nonce   string
	// Exactly one of the three is set: how the user named the account.
	Username string // as typed, not normalised
	Email    string
	UID      string
	Ctime    int64 // Unix seconds by the client's clock
	ExpireIn int64 // seconds
}

// OpenLoginProof decodes and verifies a proof: packet, signature, shape and
// times. The caller compares KID, Session and the name with what it holds.
// tolerance is how far the two clocks may be apart beyond the proof's own life.
func OpenLoginProof(armored string, now time.Time, tolerance time.Duration) (*LoginProof, error) {
	if len(armored) > loginProofCharsMax {
		return nil, fmt.Errorf("proof of %d characters: %w", len(armored), ErrLoginProof)
	}
	sig, err := OpenSignature(armored)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLoginProof, err)
	}
	p, err := parseLoginProof(sig.Payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLoginProof, err)
	}
	if p.KID != sig.KID {
		return nil, fmt.Errorf("signed by another key than it names: %w", ErrLoginProof)
	}
	t, slack := now.Unix(), int64(tolerance/time.Second)
	if p.Ctime > t+slack || p.Ctime+p.ExpireIn+slack < t {
		return nil, fmt.Errorf("made %d s before now: %w", t-p.Ctime, ErrLoginProof)
	}
	return p, nil
}

func parseLoginProof(payload []byte) (*LoginProof, error) {
	doc, err := ParseSignedJSON(payload, true)
	if err != nil {
		return nil, err
	}
	p := &LoginProof{}
	root := doc.Root()
	body := root.Object("body")
	auth := body.Object("auth")
	p.Nonce = auth.String("nonce")
	p.Session = auth.String("session")
	auth.End()
	key := body.Object("key")
	key.Const("host", nistHost)
	p.KID = Parsed(&key, "kid", ParseKID)
	names := 0
	for name, dst := range map[string]*string{"username": &p.Username, "email": &p.Email, "uid": &p.UID} {
		if key.Has(name) {
			*dst = key.String(name)
			names++
		}
	}
	if names != 1 {
		key.Fail("%d names, not one", names)
	}
	key.End()
	body.Const("type", "auth")
	body.Int("version", 1, 1)
	body.End()
	p.Ctime = root.Int("ctime", 1, nistTimeMax)
	p.ExpireIn = root.Int("expire_in", 1, loginExpireMax)
	root.Const("tag", "signature")
	root.End()
	if err := root.Err(); err != nil {
		return nil, err
	}
	if len(p.Nonce) != loginNonceChars || strings.Trim(p.Nonce, "0123456789abcdef") != "" {
		return nil, fmt.Errorf("nonce: %w", ErrJSON)
	}
	return p, nil
}
