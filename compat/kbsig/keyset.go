package kbsig

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
)

const (
	// KeysetCharsMax bounds the old keys of a folder that a team adopts, as text.
	KeysetCharsMax = 128 << 10
	// keysetSealedMin is the authenticator of a sealed list of keys.
	keysetSealedMin = 16
)

// ErrKeyset reports adopted keys that are not as clients seal them.
var ErrKeyset = errors.New("malformed keys of a folder")

// CheckKeyset says what is wrong with the old keys of a folder, sealed under a team's key.
// Members who cannot decode them cannot load the team at all.
// client: go/protocol/keybase1/teams.go:TeamEncryptedKBFSKeyset, go/teams/loader2.go:TeamLoader.unboxKBFSCryptKeys
func CheckKeyset(text string) error {
	if len(text) > KeysetCharsMax {
		return fmt.Errorf("%d characters, more than %d: %w", len(text), KeysetCharsMax, ErrKeyset)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return fmt.Errorf("no base64: %w", ErrKeyset)
	}
	r := msgpackReader{buf: raw}
	seen := map[string]bool{}
	r.mapOf(3, "keyset")
	for range 3 {
		name := r.str(1, "field")
		switch name {
		case "v":
			if v := r.uint(math.MaxInt32, "version"); r.err == nil && v != 1 {
				r.fail("version")
			}
		case "n":
			r.binOf(24, "nonce")
		case "e":
			if b := r.bin(KeysetCharsMax, "sealed keys"); r.err == nil && len(b) <= keysetSealedMin {
				r.fail("sealed keys")
			}
		default:
			r.fail("field")
		}
		seen[name] = true
	}
	if err := r.end(); err != nil || len(seen) != 3 {
		return errors.Join(fmt.Errorf("not a sealed list: %w", ErrKeyset), err)
	}
	return nil
}
