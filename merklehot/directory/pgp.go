package directory

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Limits of looking PGP keys up by the end of a fingerprint.
const (
	// pgpEndMin is the least that may be asked for, in hex characters; clients ask
	// for as little. client: go/libkb/assertion.go:AssertionFingerprint.ToLookup
	pgpEndMin = 4
	// pgpFoundMax bounds what one look-up finds.
	pgpFoundMax = 100
)

// PGPFound is a PGP key that a user has added, active or not, by the fingerprint of
// itself or of a subkey.
type PGPFound struct {
	Fingerprint pgp.Fingerprint
	KID         kbsig.KID
	UID         kbsig.UID
}

// NotePGP makes a key that u has added known by its fingerprints, for ever.
func NotePGP(tx *store.Tx, u kbsig.UID, k *pgp.Key) {
	for _, f := range k.All() {
		store.Save(tx, keys.PGPFinger(f.Reversed(), k.KID, u), true)
	}
}

// FindPGP finds keys whose fingerprint ends in these hex characters: all 40, the 16 of a
// key id, or at least 4. More than pgpFoundMax are cut off.
func FindPGP(r store.Reader, end string) ([]PGPFound, error) {
	end = strings.ToLower(end)
	if len(end) < pgpEndMin || len(end) > 40 {
		return nil, nil
	}
	whole, err := hex.DecodeString(end[len(end)%2:])
	if err != nil || strings.Trim(end, "0123456789abcdef") != "" {
		return nil, nil
	}
	slices.Reverse(whole)
	var out []PGPFound
	lo := keys.PGPFingers(whole)
	err = r.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		back, kid, u, ok := keys.PGPFingerOf(k)
		if !ok {
			return fmt.Errorf("malformed PGP index key")
		}
		f := pgp.Fingerprint(back).Reversed()
		if strings.HasSuffix(f.String(), end) {
			out = append(out, PGPFound{f, kid, u})
		}
		if len(out) >= pgpFoundMax {
			return store.ErrStop
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find PGP key: %w", err)
	}
	return out, nil
}
