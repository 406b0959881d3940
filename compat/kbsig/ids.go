// Package kbsig is the vocabulary of Keybase identities and signatures: user,
// device, key, link and signature identifiers, the Keybase packet, NIST tokens,
// the JSON and msgpack shapes that are signed, and the rules by which stock
// clients accept them.
//
// It decides how things are spelled, not what is true: whether a well-formed
// link may stand in a chain is the business of merklehot/sigchain. The package
// is a leaf: it imports the standard library, x/crypto and the Keybase codec.
// Everything here is pure; nothing reads a clock, a disk or the network.
package kbsig

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Sizes of identifiers in bytes.
const (
	uidBytes      = 16
	deviceIDBytes = 16
	kidBytes      = 35
	hashBytes     = 32
)

// Suffix bytes that tell identifiers apart.
const (
	uidSuffix      = 0x19 // hash-derived user
	uidSuffixAlt   = 0x00 // user of the early days
	deviceIDSuffix = 0x18
	sigIDSuffix    = 0x0f // a signature in a user's chain
)

// ErrBadID reports an identifier that does not parse; it is wrapped with the
// kind of identifier and never with more than its length.
var ErrBadID = errors.New("malformed identifier")

// UID names a user: 15 bytes of SHA-256 of the lower-case name and 0x19.
// client: go/libkb/uid.go:UsernameToUID
type UID [uidBytes]byte

// DeviceID names a device: random bytes, the last one 0x18.
type DeviceID [deviceIDBytes]byte

// KID names a public key: 0x01, key type, 32 bytes, 0x0a. For the NaCl types the
// 32 bytes are the key itself. client: go/kbcrypto/nacl_signing_key.go
type KID [kidBytes]byte

// LinkID is SHA-256 over what a chain link signs: the inner JSON of a v1 link,
// the outer msgpack of a v2 link. client: go/libkb/chain_link.go:ChainLinkUnpacked
type LinkID [hashBytes]byte

// SigIDBase is SHA-256 over a decoded signature packet.
// client: go/protocol/keybase1/extras.go:SigIDBase
type SigIDBase [hashBytes]byte

// HashMeta is SHA-256 over a Merkle root's signed payload.
type HashMeta [hashBytes]byte

// NodeHash is SHA-512 over a Merkle node's JSON.
type NodeHash [64]byte

// Seqno numbers links in a chain and roots of the tree; the first link is 1.
type Seqno int64

// Username is a normalised (lower-case) user name that passed ParseUsername.
type Username string

// KID types that the server tells apart.
const (
	KIDTypeEdDSA byte = 0x20
	KIDTypeDH    byte = 0x21
)

func parseHex(kind, s string, dst []byte) error {
	if len(s) != 2*len(dst) {
		return fmt.Errorf("%s of %d characters, not %d: %w", kind, len(s), 2*len(dst), ErrBadID)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("%s that is not lower-case hex: %w", kind, ErrBadID)
		}
	}
	_, err := hex.Decode(dst, []byte(s))
	if err != nil {
		return fmt.Errorf("%s: %w", kind, ErrBadID)
	}
	return nil
}

// ParseUID parses 32 lower-case hex characters with a user's suffix byte.
func ParseUID(s string) (UID, error) {
	var u UID
	if err := parseHex("user id", s, u[:]); err != nil {
		return UID{}, err
	}
	if u[uidBytes-1] != uidSuffix && u[uidBytes-1] != uidSuffixAlt {
		return UID{}, fmt.Errorf("user id with a foreign suffix: %w", ErrBadID)
	}
	return u, nil
}

// UIDOf derives a user's id from the name, as clients do.
func UIDOf(name Username) UID {
	h := sha256.Sum256([]byte(strings.ToLower(string(name))))
	var u UID
	copy(u[:], h[:uidBytes-1])
	u[uidBytes-1] = uidSuffix
	return u
}

func (u UID) String() string { return hex.EncodeToString(u[:]) }

// IsZero reports the zero value, which names nobody.
func (u UID) IsZero() bool { return u == UID{} }

// ParseDeviceID parses 32 lower-case hex characters with the device suffix.
func ParseDeviceID(s string) (DeviceID, error) {
	var d DeviceID
	if err := parseHex("device id", s, d[:]); err != nil {
		return DeviceID{}, err
	}
	if d[deviceIDBytes-1] != deviceIDSuffix {
		return DeviceID{}, fmt.Errorf("device id with a foreign suffix: %w", ErrBadID)
	}
	return d, nil
}

func (d DeviceID) String() string { return hex.EncodeToString(d[:]) }

// IsZero reports the zero value, which names no device.
func (d DeviceID) IsZero() bool { return d == DeviceID{} }

// ParseKID parses 70 lower-case hex characters framed by 01 and 0a.
func ParseKID(s string) (KID, error) {
	var k KID
	if err := parseHex("key id", s, k[:]); err != nil {
		return KID{}, err
	}
	return k, k.check()
}

// KIDFromBytes takes 35 raw bytes, as packets carry them.
func KIDFromBytes(b []byte) (KID, error) {
	var k KID
	if len(b) != kidBytes {
		return KID{}, fmt.Errorf("key id of %d bytes, not %d: %w", len(b), kidBytes, ErrBadID)
	}
	copy(k[:], b)
	return k, k.check()
}

func (k KID) check() error {
	if k[0] != 0x01 || k[kidBytes-1] != 0x0a {
		return fmt.Errorf("key id without its frame: %w", ErrBadID)
	}
	return nil
}

// NewKID frames a raw 32-byte NaCl public key.
func NewKID(typ byte, raw [32]byte) KID {
	var k KID
	k[0], k[1], k[kidBytes-1] = 0x01, typ, 0x0a
	copy(k[2:], raw[:])
	return k
}

func (k KID) String() string { return hex.EncodeToString(k[:]) }

// IsZero reports the zero value, which names no key.
func (k KID) IsZero() bool { return k == KID{} }

// Type is the key's type byte.
func (k KID) Type() byte { return k[1] }

// IsSigning reports an EdDSA key.
func (k KID) IsSigning() bool { return k[1] == KIDTypeEdDSA }

// IsEncryption reports a Curve25519 key.
func (k KID) IsEncryption() bool { return k[1] == KIDTypeDH }

// PublicKey is the Ed25519 key inside a signing KID.
func (k KID) PublicKey() ed25519.PublicKey { return ed25519.PublicKey(bytes.Clone(k[2:34])) }

// ParseLinkID parses 64 lower-case hex characters.
func ParseLinkID(s string) (LinkID, error) {
	var l LinkID
	return l, parseHex("link id", s, l[:])
}

func (l LinkID) String() string { return hex.EncodeToString(l[:]) }

// IsZero reports the zero value: the prev of a chain's first link.
func (l LinkID) IsZero() bool { return l == LinkID{} }

// ParseSigIDBase parses 64 lower-case hex characters.
func ParseSigIDBase(s string) (SigIDBase, error) {
	var b SigIDBase
	return b, parseHex("signature id", s, b[:])
}

func (b SigIDBase) String() string { return hex.EncodeToString(b[:]) }

// SigID is the 66-character id of a signature in a user's chain.
func (b SigIDBase) SigID() string { return b.String() + fmt.Sprintf("%02x", sigIDSuffix) }

// Short is sig_id_short: base64url of the first 27 bytes, 36 characters.
func (b SigIDBase) Short() string { return base64.RawURLEncoding.EncodeToString(b[:27]) }

// Medium is base64url of all 32 bytes, 43 characters.
func (b SigIDBase) Medium() string { return base64.RawURLEncoding.EncodeToString(b[:]) }

// ParseSigID parses a 66-character user-chain signature id into its base. Clients give
// signatures of wallet links, and outer links that they only know as stubs, the other
// suffix, and compare without it.
// client: go/protocol/keybase1/extras.go:SigIDSuffixParameters
func ParseSigID(s string) (SigIDBase, error) {
	if len(s) != 66 || s[64:] != "0f" && s[64:] != "22" {
		return SigIDBase{}, fmt.Errorf("signature id: %w", ErrBadID)
	}
	return ParseSigIDBase(s[:64])
}

// ParseHashMeta parses 64 lower-case hex characters.
func ParseHashMeta(s string) (HashMeta, error) {
	var h HashMeta
	return h, parseHex("root hash", s, h[:])
}

func (h HashMeta) String() string { return hex.EncodeToString(h[:]) }

// ParseNodeHash parses 128 lower-case hex characters.
func ParseNodeHash(s string) (NodeHash, error) {
	var h NodeHash
	return h, parseHex("node hash", s, h[:])
}

func (h NodeHash) String() string { return hex.EncodeToString(h[:]) }

// usernameMin and usernameMax bound a name, in characters.
const (
	usernameMin = 2
	usernameMax = 16
)

// ParseUsername checks a name as clients do and returns it in lower case:
// groups of letters and digits joined by single underscores, 2 to 16 characters.
// client: go/kbun/username.go:CheckUsername
func ParseUsername(s string) (Username, error) {
	if len(s) < usernameMin || len(s) > usernameMax {
		return "", fmt.Errorf("user name of %d characters, not %d to %d: %w", len(s), usernameMin, usernameMax, ErrBadID)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '_' && i > 0 && s[i-1] != '_':
		default:
			return "", fmt.Errorf("user name with a character that is not allowed: %w", ErrBadID)
		}
	}
	return Username(strings.ToLower(s)), nil
}
