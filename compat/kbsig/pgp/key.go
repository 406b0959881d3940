package pgp

import (
	"bytes"
	//lint:ignore SA1019 clients take DSA keys of long ago
	"crypto/dsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/keybase/go-crypto/openpgp"
	"github.com/keybase/go-crypto/openpgp/armor"
	"github.com/keybase/go-crypto/openpgp/packet"

	"github.com/keystead/keystead/compat/kbsig"
)

// Key is one version of somebody's public key.
// client: go/libkb/pgp_key.go:PGPKeyBundle
type Key struct {
	KID         kbsig.KID
	Fingerprint Fingerprint
	Hash        Hash
	Bundle      string // armoured, as posted
	// Subkeys are the fingerprints of the subkeys that are bound, revoked ones too.
	Subkeys []Fingerprint

	entity *openpgp.Entity
}

// ParseKey reads an armoured public key. It refuses secret keys, several keys in one
// bundle, and keys that clients would read one way today and another tomorrow.
// client: go/libkb/pgp_key.go:ReadOneKeyFromString
func ParseKey(bundle string) (key *Key, err error) {
	defer guard(&err, ErrKey)
	clean, err := dearm(bundle, "PUBLIC KEY BLOCK", BundleBytesMax)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	block, err := armor.Decode(strings.NewReader(clean))
	if err != nil {
		return nil, fmt.Errorf("%w: armour: %w", ErrKey, err)
	}
	raw, err := io.ReadAll(block.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: armour: %w", ErrKey, err)
	}
	if key, err = parseRaw(raw); err != nil {
		return nil, err
	}
	key.Bundle, key.Hash = bundle, HashOf(bundle)
	return key, nil
}

// KIDOfPublic is the key id of a public key that is not armoured, as secret-key
// packets hold it. client: go/libkb/skb.go:SKB.RawUnlockedKey
func KIDOfPublic(raw []byte) (kid kbsig.KID, err error) {
	defer guard(&err, ErrKey)
	if len(raw) > BundleBytesMax {
		return kid, fmt.Errorf("%d bytes: %w", len(raw), ErrKey)
	}
	k, err := parseRaw(raw)
	if err != nil {
		return kid, err
	}
	return k.KID, nil
}

func parseRaw(raw []byte) (*Key, error) {
	if err := weigh(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	ring, err := openpgp.ReadKeyRing(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if len(ring) != 1 {
		return nil, fmt.Errorf("%w: %d keys in one bundle", ErrKey, len(ring))
	}
	k := &Key{entity: ring[0], Fingerprint: Fingerprint(ring[0].PrimaryKey.Fingerprint)}
	if k.entity.PrivateKey != nil {
		return nil, fmt.Errorf("%w: a secret key", ErrKey)
	}
	for name, id := range k.entity.Identities {
		if id.SelfSignature == nil || id.SelfSignature.RevocationReason != nil {
			// Clients pick one of the identities by chance, and would take the key
			// or not depending on which.
			return nil, fmt.Errorf("%w: user id of %d bytes is signed and revoked at once", ErrKey, len(name))
		}
	}
	for _, s := range k.entity.Subkeys {
		k.Subkeys = append(k.Subkeys, Fingerprint(s.PublicKey.Fingerprint))
	}
	k.KID, err = kidOf(k.entity.PrimaryKey)
	return k, err
}

// kidOf is the key id: SHA-256 over the primary key's material, without its header and
// its time. The rule for the header's length is the client's, for keys of 193 bytes too.
// client: go/libkb/pgp_key.go:PGPKeyBundle.GetBinaryKID
func kidOf(primary *packet.PublicKey) (kbsig.KID, error) {
	var buf bytes.Buffer
	if err := primary.Serialize(&buf); err != nil {
		return kbsig.KID{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	header := 8
	if buf.Len() >= 193 {
		header = 9
	}
	if buf.Len() <= header {
		return kbsig.KID{}, fmt.Errorf("%w: empty key", ErrKey)
	}
	kid := kbsig.NewKID(byte(primary.PubKeyAlgo), sha256.Sum256(buf.Bytes()[header:]))
	if !IsKID(kid) {
		return kbsig.KID{}, fmt.Errorf("%w: algorithm %d", ErrKey, primary.PubKeyAlgo)
	}
	return kid, nil
}

// weigh reads the packets without checking a signature, and refuses what would cost
// too much to check.
func weigh(raw []byte) error {
	r := packet.NewReader(bytes.NewReader(raw))
	var primary *packet.PublicKey
	var users, subkeys, own int
	for n := 0; ; n++ {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if n >= packetsMax {
			return fmt.Errorf("more than %d packets", packetsMax)
		}
		switch p := p.(type) {
		case *packet.PrivateKey:
			return errors.New("a secret key")
		case *packet.PublicKey:
			if err := weighKey(p); err != nil {
				return err
			}
			if !p.IsSubkey && primary != nil {
				return errors.New("several keys in one bundle")
			} else if !p.IsSubkey {
				primary = p
			} else {
				subkeys++
			}
		case *packet.UserId:
			users++
		case *packet.Signature:
			if primary != nil && (p.IssuerKeyId == nil || *p.IssuerKeyId == primary.KeyId) {
				own++
			}
		case *packet.Compressed, *packet.SymmetricallyEncrypted, *packet.EncryptedKey, *packet.LiteralData:
			return errors.New("a message, not a key")
		}
		// Packets that cannot be read are the library's to judge: it skips some.
	}
	switch {
	case primary == nil:
		return errors.New("no key")
	case users > userIDsMax:
		return fmt.Errorf("%d user ids, more than %d", users, userIDsMax)
	case subkeys > subkeysMax:
		return fmt.Errorf("%d subkeys, more than %d", subkeys, subkeysMax)
	case own > selfSignaturesMax:
		return fmt.Errorf("%d signatures by the key itself, more than %d", own, selfSignaturesMax)
	}
	return nil
}

func weighKey(p *packet.PublicKey) error {
	switch p.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly, packet.PubKeyAlgoRSAEncryptOnly,
		packet.PubKeyAlgoDSA, packet.PubKeyAlgoElGamal, packet.PubKeyAlgoBadElGamal:
		if n, err := p.BitLength(); err != nil || n > keyBitsMax {
			return fmt.Errorf("key of %d bits", n)
		}
	}
	if d, ok := p.PublicKey.(*dsa.PublicKey); ok {
		if d.Q.BitLen() > subgroupBitsMax || d.Y.BitLen() > keyBitsMax || d.G.BitLen() > keyBitsMax {
			return errors.New("DSA key out of proportion")
		}
	}
	return nil
}

// Armored reports that text begins as a PGP key does where a key id may stand too.
// client: go/libkb/generickey.go:isPGPBundle
func Armored(text string) bool { return strings.HasPrefix(text, "-----BEGIN PGP") }

// All lists the fingerprints of the key and of its subkeys, each once.
func (k *Key) All() []Fingerprint {
	out := []Fingerprint{k.Fingerprint}
	for _, f := range k.Subkeys {
		if !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}
