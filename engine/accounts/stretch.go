package accounts

import (
	"crypto/ed25519"
	"fmt"

	triplesec "github.com/keybase/go-triplesec"

	"github.com/keystead/keystead/compat/kbsig"
)

// Login is what the server keeps of a password.
type Login struct{ PDPKA4, PDPKA5 kbsig.KID }

// Stretch derives a login from a password as clients do, which takes a tenth of a second
// and 32 MiB on purpose. The server does so only for passwords that it makes itself.
// client: go/libkb/passphrase_stream.go:PassphraseStream
func Stretch(password string, salt [16]byte) (Login, error) {
	const version, streamBytes = 3, 128
	c, err := triplesec.NewCipher([]byte(password), salt[:], version)
	if err != nil {
		return Login{}, fmt.Errorf("stretch a password: %w", err)
	}
	_, stream, err := c.DeriveKey(streamBytes)
	if err != nil {
		return Login{}, fmt.Errorf("stretch a password: %w", err)
	}
	return Login{
		PDPKA4: kbsig.KIDOfPrivate(ed25519.NewKeyFromSeed(stream[:32])),
		PDPKA5: kbsig.KIDOfPrivate(ed25519.NewKeyFromSeed(stream[32:64])),
	}, nil
}

// SetLogin gives an account without devices another password. With devices their local
// keys have to follow; see ChangePassphrase.
func (a *Account) SetLogin(l Login) {
	a.PDPKA4, a.PDPKA5 = l.PDPKA4, l.PDPKA5
	a.Generation++
	a.RandomPW = false
}
