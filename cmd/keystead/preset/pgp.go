package preset

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/keybase/go-crypto/openpgp"
	"github.com/keybase/go-crypto/openpgp/armor"
	"github.com/keybase/go-crypto/openpgp/packet"

	"github.com/keystead/keystead/compat/kbsig/pgp"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// encrypts is a PGP key. Nobody has its secret half: it is made from the machine's
// randomness, for the library takes no other, and forgotten.
type encrypts struct{ mail string }

func (encrypts) links() int64 { return 1 }

// pgpKeyBits is the size of the keys.
const pgpKeyBits = 2048

// pgpKey adds a PGP key, on the word of the first device.
// client: go/libkb/delegatekey.go:Delegator.Run
func (b *batch) pgpKey(rand io.Reader, d encrypts) error {
	first, err := firstDevice(b.who)
	if err != nil {
		return err
	}
	now := func() time.Time { return time.Unix(b.ctime, 0) }
	config := &packet.Config{Rand: rand, Time: now, RSABits: pgpKeyBits}
	entity, err := openpgp.NewEntity(string(b.who.name), "", d.mail, config)
	if err != nil {
		return fmt.Errorf("make a PGP key: %w", err)
	}
	for _, id := range entity.Identities { // the library signs them when it writes the secret key
		if err := id.SelfSignature.SignUserId(id.UserId.Id, entity.PrimaryKey, entity.PrivateKey, config); err != nil {
			return fmt.Errorf("sign a user id: %w", err)
		}
	}
	for _, s := range entity.Subkeys {
		if err := s.Sig.SignKey(s.PublicKey, entity.PrivateKey, config); err != nil {
			return fmt.Errorf("sign a subkey: %w", err)
		}
	}
	bundle, err := armored("PGP PUBLIC KEY BLOCK", entity.Serialize)
	if err != nil {
		return err
	}
	key, err := pgp.ParseKey(bundle)
	if err != nil {
		return err
	}
	section := map[string]any{
		"fingerprint": key.Fingerprint.String(), "full_hash": key.Hash.String(), "key_id": key.Fingerprint.KeyID(),
		"kid": key.KID.String(),
	}
	sign := func(payload []byte) (string, error) {
		return armored("PGP MESSAGE", func(w io.Writer) error {
			in, err := openpgp.AttachedSign(keepOpen{w}, *entity, nil, config)
			if err != nil {
				return err
			}
			if _, err := in.Write(payload); err != nil {
				return err
			}
			return in.Close()
		})
	}
	return b.delegateTo("sibkey", first.sign, map[string]any{"sibkey": section}, sign,
		sigchain.Posted{PublicKey: bundle, EldestKID: b.eldest.String()})
}

// keepOpen is a writer that those who are done with it may close.
type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }

func armored(kind string, write func(io.Writer) error) (string, error) {
	var out bytes.Buffer
	w, err := armor.Encode(&out, kind, nil)
	if err != nil {
		return "", fmt.Errorf("armour: %w", err)
	}
	if err := write(w); err != nil {
		return "", fmt.Errorf("write %s: %w", kind, err)
	}
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("armour: %w", err)
	}
	return out.String(), nil
}
