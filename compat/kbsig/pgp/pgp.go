// Package pgp is the vocabulary of OpenPGP in Keybase identities: public key bundles
// as users post them and clients load them, signed messages that stand where a packet
// stands otherwise, fingerprints, and full hashes.
//
// It accepts what stock clients accept, by the library that they use, and less where
// that library is lax: one key in a bundle, one signature in a message, everything
// bounded before it costs anything. What it accepts once it accepts always: nothing
// here depends on the time, so an expired key verifies as it did on its first day.
// client: go/libkb/pgp_key.go, go/libkb/sig.go, github.com/keybase/go-crypto/openpgp
package pgp

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	// Digests that signatures may be made with; clients have just these linked in.
	_ "crypto/md5"
	_ "crypto/sha1"
	_ "crypto/sha512"

	//lint:ignore SA1019 clients take its signatures, so old keys that were made with it must be taken
	_ "golang.org/x/crypto/ripemd160"

	"github.com/keystead/keystead/compat/kbsig"
)

var (
	// ErrKey reports a bundle that is not one public key which every client loads.
	ErrKey = errors.New("malformed PGP key")
	// ErrMessage reports text that is not one signed PGP message.
	ErrMessage = errors.New("malformed PGP message")
)

// Limits of what is decoded.
const (
	// BundleBytesMax bounds a public key as posted: a few KiB is usual, photos and
	// other people's signatures make some large.
	BundleBytesMax = 256 << 10
	// MessageBytesMax bounds an armoured signed message.
	MessageBytesMax = 2*kbsig.PayloadBytesMax + 4096
	// packetsMax bounds the packets of a bundle.
	packetsMax = 8192
	// userIDsMax, subkeysMax and selfSignaturesMax bound what costs a signature
	// check each.
	userIDsMax        = 128
	subkeysMax        = 64
	selfSignaturesMax = 256
	// keyBitsMax bounds moduli of RSA, DSA and ElGamal keys.
	keyBitsMax = 16384
	// subgroupBitsMax bounds the exponents of DSA keys.
	subgroupBitsMax = 512
	// layersMax bounds compression in messages; gpg compresses once.
	layersMax = 2
)

// Fingerprint names a PGP key: SHA-1 over its packet.
type Fingerprint [20]byte

// ParseFingerprint parses 40 lower-case hex characters.
func ParseFingerprint(s string) (Fingerprint, error) {
	var f Fingerprint
	if len(s) != 2*len(f) {
		return f, fmt.Errorf("fingerprint of %d characters, not %d: %w", len(s), 2*len(f), kbsig.ErrBadID)
	}
	if _, err := hex.Decode(f[:], []byte(s)); err != nil || f.String() != s {
		return Fingerprint{}, fmt.Errorf("fingerprint that is not lower-case hex: %w", kbsig.ErrBadID)
	}
	return f, nil
}

func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// KeyID is the fingerprint's last 8 bytes as links spell them.
// client: go/libkb/pgp_key.go:PGPFingerprint.ToKeyID
func (f Fingerprint) KeyID() string { return strings.ToUpper(hex.EncodeToString(f[12:])) }

// Reversed has the bytes in backward order, for looking up by the end.
func (f Fingerprint) Reversed() Fingerprint {
	slices.Reverse(f[:])
	return f
}

// Hash is SHA-256 over a bundle as posted, without space at its ends: it names one
// version of a key. client: go/libkb/pgp_key.go:PGPKeyBundle.FullHash
type Hash [32]byte

// HashOf hashes a bundle.
func HashOf(bundle string) Hash { return sha256.Sum256([]byte(strings.TrimSpace(bundle))) }

// ParseHash parses 64 lower-case hex characters.
func ParseHash(s string) (Hash, error) {
	h, err := kbsig.ParseLinkID(s)
	if err != nil {
		return Hash{}, fmt.Errorf("full hash: %w", kbsig.ErrBadID)
	}
	return Hash(h), nil
}

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports the zero value, which names nothing.
func (h Hash) IsZero() bool { return h == Hash{} }

// IsKID reports a key id of a PGP key that can sign.
// client: go/kbcrypto/algotype.go, go/libkb/pgp_key.go:IsPGPAlgo
func IsKID(k kbsig.KID) bool {
	switch k.Type() {
	case algoRSA, algoDSA, algoECDSA, algoEdDSA:
		return !k.IsZero()
	}
	return false
}

// Algorithms of keys that can sign, which are the types of their key ids too.
const (
	algoRSA   = 1
	algoDSA   = 17
	algoECDSA = 19
	algoEdDSA = 22
)

// lineEnd is a line's end with the space around it, which clients take away before
// they read armour. client: go/libkb/pgp_key.go:cleanPGPInput
var lineEnd = regexp.MustCompile(`[ \t\r]*\n[ \t\r]*`)

// dearm checks an armour's frame and returns it as clients clean it. Clients skip what
// stands around the first block; we want the block alone, so that there is no other.
func dearm(text, kind string, max int) (string, error) {
	begin, end := "-----BEGIN PGP "+kind+"-----\n", "\n-----END PGP "+kind+"-----"
	if len(text) > max {
		return "", fmt.Errorf("%d bytes, more than %d", len(text), max)
	}
	if !utf8.ValidString(text) {
		return "", errors.New("not UTF-8")
	}
	for i := 0; i < len(text); i++ {
		if c := text[i]; c == 0x7f || c < 0x20 && c != '\n' && c != '\r' && c != '\t' {
			return "", errors.New("control character")
		}
	}
	if !strings.HasPrefix(text, "-----BEGIN PGP "+kind+"-----") {
		return "", fmt.Errorf("no PGP %s", strings.ToLower(kind))
	}
	clean := strings.Join(lineEnd.Split(strings.TrimSpace(text), -1), "\n")
	if !strings.HasPrefix(clean, begin) || !strings.HasSuffix(clean, end) ||
		strings.Count(clean, "-----BEGIN") != 1 || strings.Count(clean, "-----END") != 1 {
		return "", errors.New("not one whole block")
	}
	return clean, nil
}

// guard turns a panic of the library on hostile input into an error.
func guard(err *error, kind error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the library fails on it: %w", kind)
	}
}
