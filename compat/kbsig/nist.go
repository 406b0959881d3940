package kbsig

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Limits of session tokens that clients sign themselves.
const (
	// nistHeaderCharsMax bounds the header value; a long token has 200 characters.
	nistHeaderCharsMax = 512
	// NISTLifetimeMax is what clients ask for. client: go/libkb/nist.go:nistLifetime
	NISTLifetimeMax = 52 * time.Hour
	// NISTWebLifetimeMax is the same for the website's tokens.
	NISTWebLifetimeMax = 24 * time.Hour
	// NISTAheadMax is how far a client's clock may run ahead of ours.
	NISTAheadMax = 24 * time.Hour
	// nistTimeMax bounds a Unix time (year 9999), so that sums do not overflow.
	nistTimeMax = 253402300799

	nistSessionBytes = 16
	nistHashBytes    = 19
	nistHost         = "keybase.io"
)

// Versions and modes. client: go/libkb/nist.go:nistVersion, nistModeSignature
const (
	nistVersion       = 34
	nistVersionWeb    = 35
	nistModeSignature = 1
	nistModeHash      = 2
)

// NISTFault is why a token is not taken; Code is the client's status code.
// client: go/protocol/keybase1/constants.go:StatusCode_SCNISTWrongSize
type NISTFault struct {
	Code int
	Name string
}

func (f *NISTFault) Error() string { return f.Name }

// The reasons this package finds; those that need state (revoked, not found)
// are the caller's.
var (
	NISTWrongSize       = &NISTFault{3201, "NIST_WRONG_SIZE"}
	NISTBadMode         = &NISTFault{3202, "NIST_BAD_MODE"}
	NISTHashWrongSize   = &NISTFault{3203, "NIST_HASH_WRONG_SIZE"}
	NISTSigWrongSize    = &NISTFault{3204, "NIST_SIG_WRONG_SIZE"}
	NISTSigBadInput     = &NISTFault{3205, "NIST_SIG_BAD_INPUT"}
	NISTBadUID          = &NISTFault{3206, "NIST_SIG_BAD_UID"}
	NISTBadDeviceID     = &NISTFault{3207, "NIST_SIG_BAD_DEVICE_ID"}
	NISTBadNonce        = &NISTFault{3208, "NIST_SIG_BAD_NONCE"}
	NISTNoSigOrHash     = &NISTFault{3209, "NIST_NO_SIG_OR_HASH"}
	NISTExpired         = &NISTFault{3210, "NIST_EXPIRED"}
	NISTSigRevoked      = &NISTFault{3211, "NIST_SIG_REVOKED"}
	NISTKeyRevoked      = &NISTFault{3212, "NIST_KEY_REVOKED"}
	NISTUserDeleted     = &NISTFault{3213, "NIST_USER_DELETED"}
	NISTNoDevice        = &NISTFault{3214, "NIST_NO_DEVICE"}
	NISTSigCannotVerify = &NISTFault{3215, "NIST_SIG_CANNOT_VERIFY"}
	NISTReplay          = &NISTFault{3216, "NIST_REPLAY"}
	NISTBadLifetime     = &NISTFault{3217, "NIST_SIG_BAD_LIFETIME"}
	NISTNotFound        = &NISTFault{3218, "NIST_NOT_FOUND"}
	NISTBadClock        = &NISTFault{3219, "NIST_BAD_CLOCK"}
	NISTBadCtime        = &NISTFault{3220, "NIST_SIG_BAD_CTIME"}
)

// ErrNotNIST reports a header value that is no NIST at all: a password session.
var ErrNotNIST = errors.New("not a NIST")

// NISTHash stands for a long token in short ones: 19 bytes of its SHA-256.
type NISTHash [nistHashBytes]byte

// NIST is a decoded session token. Long is nil for a short one.
// client: go/libkb/nist.go:NIST
type NIST struct {
	Web  bool     // the website's kind, version 35
	Hash NISTHash // of the long token, whichever form was sent
	Long *NISTLong
}

// NISTLong is the signed form. Host and key are not in it: the verifier adds them.
type NISTLong struct {
	UID       UID
	DeviceID  DeviceID
	Generated int64 // Unix seconds by the client's clock
	Lifetime  int64 // seconds
	SessionID [nistSessionBytes]byte
	OldHash   *NISTHash // the token that this one replaces
	Sig       [signatureBytes]byte

	web bool
}

// DecodeNIST decodes the value of X-Keybase-Session, or of an RPC session
// argument. ErrNotNIST means that it is some other kind of session; every other
// error wraps a *NISTFault.
func DecodeNIST(header string) (*NIST, error) {
	if len(header) > nistHeaderCharsMax {
		return nil, fmt.Errorf("token of %d characters: %w", len(header), NISTWrongSize)
	}
	raw, web, err := nistBytes(header)
	if err != nil {
		return nil, err
	}
	r := &msgpackReader{buf: raw}
	version := uint64(nistVersion)
	if web {
		version = nistVersionWeb
	}
	long := r.peek() == mpFixArr|4
	n := 3
	if long {
		n = 4
	}
	r.arrayOf(n, "token")
	if v := r.uint(255, "version"); r.err == nil && v != version {
		r.fail("version")
	}
	mode := r.uint(255, "mode")
	if r.err != nil {
		return nil, fmt.Errorf("%w: %w", NISTSigBadInput, r.err)
	}
	switch {
	case mode == nistModeHash && !long:
		return decodeNISTShort(r, web)
	case mode == nistModeSignature && long:
		return decodeNISTLong(r, raw, web)
	case mode == nistModeHash || mode == nistModeSignature:
		return nil, fmt.Errorf("mode %d with %d elements: %w", mode, n, NISTNoSigOrHash)
	}
	return nil, fmt.Errorf("mode %d: %w", mode, NISTBadMode)
}

// nistBytes tells the three kinds of session apart by their first bytes: both
// token kinds are a msgpack array of 3 or 4 that begins with their version.
func nistBytes(header string) (raw []byte, web bool, err error) {
	looks := func(b []byte, version byte) bool {
		return len(b) >= 2 && (b[0] == mpFixArr|3 || b[0] == mpFixArr|4) && b[1] == version
	}
	if b, err := base64.StdEncoding.DecodeString(header); err == nil && looks(b, nistVersion) {
		if base64.StdEncoding.EncodeToString(b) != header {
			return nil, false, fmt.Errorf("armour: %w", NISTSigBadInput)
		}
		return b, false, nil
	}
	if b, err := base64.RawURLEncoding.DecodeString(header); err == nil && looks(b, nistVersionWeb) {
		if base64.RawURLEncoding.EncodeToString(b) != header || strings.ContainsAny(header, "\r\n") {
			return nil, false, fmt.Errorf("armour: %w", NISTSigBadInput)
		}
		return b, true, nil
	}
	return nil, false, ErrNotNIST
}

func decodeNISTShort(r *msgpackReader, web bool) (*NIST, error) {
	h := r.bin(64, "hash")
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("%w: %w", NISTSigBadInput, err)
	}
	if len(h) != nistHashBytes {
		return nil, fmt.Errorf("hash of %d bytes: %w", len(h), NISTHashWrongSize)
	}
	return &NIST{Web: web, Hash: NISTHash(h)}, nil
}

func decodeNISTLong(r *msgpackReader, raw []byte, web bool) (*NIST, error) {
	sig := r.bin(128, "signature")
	r.arrayOf(6, "statement")
	uid := r.bin(64, "uid")
	device := r.bin(64, "device id")
	generated := r.uint(1<<62, "generated")
	lifetime := r.uint(1<<62, "lifetime")
	session := r.bin(64, "session id")
	var old []byte
	if r.peek() == mpNil {
		r.fixed(mpNil, "old hash")
	} else {
		old = r.bin(64, "old hash")
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("%w: %w", NISTSigBadInput, err)
	}
	l := &NISTLong{Generated: int64(generated), Lifetime: int64(lifetime), web: web}
	switch {
	case len(sig) != signatureBytes:
		return nil, NISTSigWrongSize
	case len(uid) != uidBytes || (uid[uidBytes-1] != uidSuffix && uid[uidBytes-1] != uidSuffixAlt):
		return nil, NISTBadUID
	case len(device) != deviceIDBytes || device[deviceIDBytes-1] != deviceIDSuffix:
		return nil, NISTBadDeviceID
	case len(session) != nistSessionBytes:
		return nil, NISTBadNonce
	case generated > nistTimeMax:
		return nil, NISTBadCtime
	case lifetime == 0 || lifetime > nistTimeMax:
		return nil, NISTBadLifetime
	case old != nil && len(old) != nistHashBytes:
		return nil, NISTHashWrongSize
	}
	copy(l.Sig[:], sig)
	copy(l.UID[:], uid)
	copy(l.DeviceID[:], device)
	copy(l.SessionID[:], session)
	if old != nil {
		h := NISTHash(old)
		l.OldHash = &h
	}
	sum := sha256.Sum256(raw)
	return &NIST{Web: web, Hash: NISTHash(sum[:nistHashBytes]), Long: l}, nil
}

// Expires is when the token ends by its own word.
func (l *NISTLong) Expires() time.Time { return time.Unix(l.Generated+l.Lifetime, 0) }

// Verify checks times and signature under kid, the active signing key of the
// token's device. Errors wrap a *NISTFault.
func (l *NISTLong) Verify(kid KID, now time.Time) error {
	lifetimeMax := NISTLifetimeMax
	prefix := "Keybase-Auth-NIST-1\x00"
	version := uint64(nistVersion)
	if l.web {
		lifetimeMax, version = NISTWebLifetimeMax, nistVersionWeb
		prefix = "Keybase-Auth-NIST-Web-Token-1\x00"
	}
	switch {
	case l.Lifetime <= 0 || l.Lifetime > int64(lifetimeMax/time.Second):
		return fmt.Errorf("lifetime of %d s: %w", l.Lifetime, NISTBadLifetime)
	case l.Generated > now.Add(NISTAheadMax).Unix():
		return fmt.Errorf("made %d s from now: %w", l.Generated-now.Unix(), NISTBadClock)
	case !now.Before(l.Expires()):
		return fmt.Errorf("expired: %w", NISTExpired)
	}
	msg := append([]byte(prefix), l.statement(version, kid)...)
	if !verifyEdDSA(kid, msg, l.Sig[:]) {
		return fmt.Errorf("under %s: %w", kid, NISTSigCannotVerify)
	}
	return nil
}

// statement is what the device signed. client: go/libkb/nist.go:nistPayload
func (l *NISTLong) statement(version uint64, kid KID) []byte {
	p := appendUint([]byte{mpFixArr | 9}, version)
	p = appendUint(p, nistModeSignature)
	p = appendText(p, nistHost)
	p = appendBin(p, l.UID[:])
	p = appendBin(p, l.DeviceID[:])
	p = appendBin(p, kid[:])
	p = appendUint(p, uint64(l.Generated))
	p = appendUint(p, uint64(l.Lifetime))
	return appendBin(p, l.SessionID[:])
}

// MintNIST makes the long and the short header value of a token as a device does;
// the server's own client and tests use it.
func MintNIST(priv ed25519.PrivateKey, l NISTLong) (long, short string) {
	msg := append([]byte("Keybase-Auth-NIST-1\x00"), l.statement(nistVersion, KIDOfPrivate(priv))...)
	b := appendUint([]byte{mpFixArr | 4}, nistVersion)
	b = appendUint(b, nistModeSignature)
	b = appendBin(b, ed25519.Sign(priv, msg))
	b = append(b, mpFixArr|6)
	b = appendBin(b, l.UID[:])
	b = appendBin(b, l.DeviceID[:])
	b = appendUint(b, uint64(l.Generated))
	b = appendUint(b, uint64(l.Lifetime))
	b = appendBin(b, l.SessionID[:])
	if l.OldHash == nil {
		b = append(b, mpNil)
	} else {
		b = appendBin(b, l.OldHash[:])
	}
	h := sha256.Sum256(b)
	s := appendUint(appendUint([]byte{mpFixArr | 3}, nistVersion), nistModeHash)
	s = appendBin(s, bytes.Clone(h[:nistHashBytes]))
	return Armor(b), Armor(s)
}
