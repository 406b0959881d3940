package client

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/curve25519"
	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/nacl/secretbox"
)

// Reasons that derive keys from a per-user seed or an ephemeral seed.
// client: go/libkb/constants.go:DeriveReason
const (
	reasonPUKSigning    = "Derived-User-NaCl-EdDSA-1"
	reasonPUKEncryption = "Derived-User-NaCl-DH-1"
	reasonPUKPrev       = "Derived-User-NaCl-SecretBox-1"
	reasonDeviceEK      = "Derived-Ephemeral-Device-NaCl-DH-1"
	reasonUserEK        = "Derived-Ephemeral-User-NaCl-DH-1"
)

// Seed is 32 secret bytes from which a key is made.
type Seed [32]byte

func newSeed(random io.Reader) (s Seed, err error) {
	if _, err = io.ReadFull(random, s[:]); err != nil {
		err = fmt.Errorf("draw a seed: %w", err)
	}
	return s, err
}

// derive is HMAC-SHA256 with the seed as key.
// client: go/libkb/naclwrap.go:DeriveFromSecret
func (s Seed) derive(reason string) (out Seed) {
	mac := hmac.New(sha256.New, s[:])
	mac.Write([]byte(reason))
	mac.Sum(out[:0])
	return out
}

// SigningKey is an EdDSA key pair.
type SigningKey struct {
	priv ed25519.PrivateKey
	kid  KID
}

// NewSigningKey makes the key pair that belongs to a seed.
func NewSigningKey(seed Seed) *SigningKey {
	priv := ed25519.NewKeyFromSeed(seed[:])
	return &SigningKey{priv, NewKID(KIDEdDSA, priv[32:])}
}

// KID is the public half.
func (k *SigningKey) KID() KID { return k.kid }

// Sign is a bare 64-byte Ed25519 signature.
func (k *SigningKey) Sign(msg []byte) []byte { return ed25519.Sign(k.priv, msg) }

// DHKey is a Curve25519 key pair.
type DHKey struct {
	priv [32]byte
	kid  KID
}

// NewDHKey makes the key pair whose secret scalar is the seed.
func NewDHKey(seed Seed) *DHKey {
	pub, err := curve25519.X25519(seed[:], curve25519.Basepoint)
	if err != nil { // only for a zero result, which the base point never gives
		panic(err)
	}
	return &DHKey{seed, NewKID(KIDDH, pub)}
}

// KID is the public half.
func (k *DHKey) KID() KID { return k.kid }

// Seal encrypts msg to a DH KID. client: go/libkb/naclwrap.go:Encrypt
func (k *DHKey) Seal(random io.Reader, msg []byte, to KID) (*Sealed, error) {
	if !to.IsDH() {
		return nil, fmt.Errorf("seal to %s: not an encryption key", to)
	}
	s := &Sealed{Receiver: to, Sender: k.kid}
	if _, err := io.ReadFull(random, s.Nonce[:]); err != nil {
		return nil, fmt.Errorf("draw a nonce: %w", err)
	}
	pub := [32]byte(to[2:34])
	s.Ciphertext = box.Seal(nil, msg, &s.Nonce, &pub, &k.priv)
	return s, nil
}

// SealAnonymous encrypts from a key that is thrown away.
func SealAnonymous(random io.Reader, msg []byte, to KID) (*Sealed, error) {
	seed, err := newSeed(random)
	if err != nil {
		return nil, err
	}
	return NewDHKey(seed).Seal(random, msg, to)
}

// Open decrypts an armoured packet and returns the sender with the plaintext.
// client: go/libkb/naclwrap.go:Decrypt
func (k *DHKey) Open(armored string) ([]byte, KID, error) {
	s, err := ParseSealed(armored)
	if err != nil {
		return nil, KID{}, err
	}
	if s.Receiver != k.kid {
		return nil, KID{}, fmt.Errorf("box for %s, not for %s", s.Receiver, k.kid)
	}
	if !s.Sender.IsDH() {
		return nil, KID{}, fmt.Errorf("box from %s, which is not an encryption key", s.Sender)
	}
	pub := [32]byte(s.Sender[2:34])
	msg, ok := box.Open(nil, s.Ciphertext, &s.Nonce, &pub, &k.priv)
	if !ok {
		return nil, KID{}, errors.New("box does not open")
	}
	return msg, s.Sender, nil
}

// PUK is one generation of a per-user key. client: go/libkb/per_user_key.go
type PUK struct {
	Seed Seed
	Sig  *SigningKey
	Enc  *DHKey
}

// NewPUK expands a seed.
func NewPUK(seed Seed) *PUK {
	return &PUK{
		Seed: seed,
		Sig:  NewSigningKey(seed.derive(reasonPUKSigning)),
		Enc:  NewDHKey(seed.derive(reasonPUKEncryption)),
	}
}

// SealPrev is base64 of msgpack [1, nonce, sealed]: an older seed under this key.
// client: go/libkb/per_user_key.go:newPerUserKeyPrev
func (p *PUK) SealPrev(random io.Reader, older Seed) (string, error) {
	var nonce [24]byte
	if _, err := io.ReadFull(random, nonce[:]); err != nil {
		return "", fmt.Errorf("draw a nonce: %w", err)
	}
	key := [32]byte(p.Seed.derive(reasonPUKPrev))
	var w packer
	w.array(3)
	w.int(1)
	w.bin(nonce[:])
	w.bin(secretbox.Seal(nil, older[:], &nonce, &key))
	return base64.StdEncoding.EncodeToString(w), nil
}

// OpenPrev opens what SealPrev made. client: go/libkb/per_user_key.go:openPerUserKeyPrev
func (p *PUK) OpenPrev(prev string) (s Seed, err error) {
	b, err := unbase64(prev)
	if err != nil {
		return s, err
	}
	v, err := unpack(b)
	if err != nil {
		return s, err
	}
	parts, err := as[[]any](v)
	if err != nil || len(parts) != 3 || parts[0] != any(int64(1)) {
		return s, errors.New("prev is not [1, nonce, sealed]")
	}
	nonce, err1 := as[[]byte](parts[1])
	sealed, err2 := as[[]byte](parts[2])
	if err1 != nil || err2 != nil || len(nonce) != 24 {
		return s, errors.New("prev with odd parts")
	}
	key := [32]byte(p.Seed.derive(reasonPUKPrev))
	out, ok := secretbox.Open(nil, sealed, (*[24]byte)(nonce), &key)
	if !ok || len(out) != len(s) {
		return s, errors.New("prev does not open to a seed")
	}
	return Seed(out), nil
}
