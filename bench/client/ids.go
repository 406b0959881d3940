package client

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// UID names a user: 15 bytes of SHA-256 of the lower-case name and 0x19.
// client: go/libkb/uid.go:UsernameToUID
type UID [16]byte

// DeviceID names a device: random bytes, the last one 0x18.
// client: go/libkb/device.go:NewDeviceID
type DeviceID [16]byte

// KID names a public key: 0x01, type, 32 bytes, 0x0a; NaCl keys are the 32 bytes.
// client: go/kbcrypto/nacl_signing_key.go:GetBinaryKID
type KID [35]byte

// LinkID is SHA-256 over what a link signs.
// client: go/libkb/chain_link.go:ComputeLinkID
type LinkID [32]byte

// SigIDBase is SHA-256 over a decoded signature packet.
// client: go/kbcrypto/sig.go:ComputeSigIDFromSigBody
type SigIDBase [32]byte

// HashMeta is SHA-256 over a root's payload.
type HashMeta [32]byte

// NodeHash is SHA-512 over a Merkle node.
type NodeHash [64]byte

// Seqno numbers links of a chain and roots of the tree; the first link is 1.
type Seqno int64

// Types of KIDs that carry the key itself.
const (
	KIDEdDSA byte = 0x20
	KIDDH    byte = 0x21
)

func unhex(kind, s string, dst []byte) error {
	if len(s) != 2*len(dst) {
		return fmt.Errorf("%s of %d characters, not %d", kind, len(s), 2*len(dst))
	}
	if s != strings.ToLower(s) {
		return fmt.Errorf("%s is not lower-case hex", kind)
	}
	if _, err := hex.Decode(dst, []byte(s)); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}

// ParseUID parses 32 lower-case hex characters.
func ParseUID(s string) (u UID, err error) {
	if err = unhex("user id", s, u[:]); err == nil && u[15] != 0x19 && u[15] != 0x00 {
		err = fmt.Errorf("user id with suffix %02x", u[15])
	}
	return u, err
}

// UIDOf derives the id that belongs to a name.
func UIDOf(username string) UID {
	h := sha256.Sum256([]byte(strings.ToLower(username)))
	var u UID
	copy(u[:], h[:15])
	u[15] = 0x19
	return u
}

func (u UID) String() string { return hex.EncodeToString(u[:]) }

// ParseDeviceID parses 32 lower-case hex characters that end in 18.
func ParseDeviceID(s string) (d DeviceID, err error) {
	if err = unhex("device id", s, d[:]); err == nil && d[15] != 0x18 {
		err = fmt.Errorf("device id with suffix %02x", d[15])
	}
	return d, err
}

func (d DeviceID) String() string { return hex.EncodeToString(d[:]) }

// ParseKID parses 70 lower-case hex characters.
func ParseKID(s string) (k KID, err error) {
	if err = unhex("key id", s, k[:]); err != nil {
		return k, err
	}
	return k, k.check()
}

func kidFromBytes(b []byte) (k KID, err error) {
	if len(b) != len(k) {
		return k, fmt.Errorf("key id of %d bytes, not %d", len(b), len(k))
	}
	copy(k[:], b)
	return k, k.check()
}

func (k KID) check() error {
	if k[0] != 1 || k[34] != 0x0a {
		return fmt.Errorf("key id without its frame")
	}
	switch k[1] {
	case KIDEdDSA, KIDDH, 0x01, 0x10, 0x11, 0x12, 0x13, 0x16:
		return nil
	}
	return fmt.Errorf("key id of unknown type %02x", k[1])
}

// NewKID frames a raw 32-byte key.
func NewKID(typ byte, raw []byte) (k KID) {
	k[0], k[1], k[34] = 1, typ, 0x0a
	copy(k[2:34], raw)
	return k
}

func (k KID) String() string { return hex.EncodeToString(k[:]) }

// IsZero reports the value that names no key.
func (k KID) IsZero() bool { return k == KID{} }

// IsSigning reports an EdDSA key.
func (k KID) IsSigning() bool { return k[1] == KIDEdDSA }

// IsDH reports an encryption key.
func (k KID) IsDH() bool { return k[1] == KIDDH }

// IsPGP reports a key that is only a hash of a PGP packet.
func (k KID) IsPGP() bool { return !k.IsSigning() && !k.IsDH() }

func (k KID) public() ed25519.PublicKey { return ed25519.PublicKey(k[2:34]) }

// ParseLinkID parses 64 lower-case hex characters.
func ParseLinkID(s string) (l LinkID, err error) { return l, unhex("link id", s, l[:]) }

func linkIDOf(b []byte) LinkID { return sha256.Sum256(b) }

func (l LinkID) String() string { return hex.EncodeToString(l[:]) }

// IsZero reports the prev of a chain's first link.
func (l LinkID) IsZero() bool { return l == LinkID{} }

func (b SigIDBase) String() string { return hex.EncodeToString(b[:]) }

// SigID is the id of a user-chain signature, 66 characters.
// client: go/protocol/keybase1/extras.go:ToSigID
func (b SigIDBase) SigID() string { return b.String() + "0f" }

// WalletSigID is the id of a v2 wallet signature, 66 characters.
func (b SigIDBase) WalletSigID() string { return b.String() + "22" }

// Short is sig_id_short: base64url of 27 bytes, 36 characters.
func (b SigIDBase) Short() string { return base64.RawURLEncoding.EncodeToString(b[:27]) }

// ParseHashMeta parses 64 lower-case hex characters.
func ParseHashMeta(s string) (h HashMeta, err error) { return h, unhex("root hash", s, h[:]) }

func hashMetaOf(payload string) HashMeta { return sha256.Sum256([]byte(payload)) }

func (h HashMeta) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports a dummy: the hash of a root that does not exist.
func (h HashMeta) IsZero() bool { return h == HashMeta{} }

// ParseNodeHash parses 128 lower-case hex characters.
func ParseNodeHash(s string) (h NodeHash, err error) { return h, unhex("node hash", s, h[:]) }

func nodeHashOf(node string) NodeHash { return sha512.Sum512([]byte(node)) }

func (h NodeHash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText makes ids readable in ledgers and dumps, as map keys too.
func (u UID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (u *UID) UnmarshalText(b []byte) (err error) { *u, err = ParseUID(string(b)); return err }

// MarshalText is the id in hex.
func (l LinkID) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *LinkID) UnmarshalText(b []byte) (err error) { *l, err = ParseLinkID(string(b)); return err }

// MarshalText is the hash in hex.
func (h HashMeta) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *HashMeta) UnmarshalText(b []byte) (err error) {
	*h, err = ParseHashMeta(string(b))
	return err
}

// MarshalText is the hash in hex.
func (h NodeHash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *NodeHash) UnmarshalText(b []byte) (err error) {
	*h, err = ParseNodeHash(string(b))
	return err
}

var usernameShape = regexp.MustCompile(`^(?:[a-z0-9]+_?)+$`)

// checkUsername accepts a normalised (lower-case) name.
// client: go/kbun/username.go:CheckUsername
func checkUsername(s string) error {
	if len(s) < 2 || len(s) > 16 || !usernameShape.MatchString(s) {
		return fmt.Errorf("%q is not a normalised user name", s)
	}
	return nil
}
