package courier

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/keystead/keystead/chatlog/push"
)

// recordSize is the length of the one record of an encrypted message, in bytes.
const recordSize = 4096

// Sizes of what a device gives and a message begins with, in bytes.
const (
	pointBytes = 65 // of an uncompressed point on P-256
	authBytes  = 16
	saltBytes  = 16
)

// seal encrypts body for the holder of a device's keys, which come as base64url.
// spec: RFC 8291 section 3.4, RFC 8188 section 2
func seal(random io.Reader, p256dh, auth string, body []byte) ([]byte, error) {
	point, err := decode(p256dh, pointBytes)
	if err != nil {
		return nil, fmt.Errorf("p256dh: %w", err)
	}
	secret, err := decode(auth, authBytes)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	to, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return nil, fmt.Errorf("p256dh: %v: %w", err, push.ErrGone)
	}
	own, err := ephemeral(random)
	if err != nil {
		return nil, err
	}
	salt := make([]byte, saltBytes)
	if _, err := io.ReadFull(random, salt); err != nil {
		return nil, fmt.Errorf("draw a salt: %w", err)
	}
	return sealWith(own, salt, to, secret, body)
}

// ephemeral draws a key; not by GenerateKey, which takes its randomness where it likes.
func ephemeral(random io.Reader) (*ecdh.PrivateKey, error) {
	for range 16 {
		b := make([]byte, 32)
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, fmt.Errorf("draw a key: %w", err)
		}
		if k, err := ecdh.P256().NewPrivateKey(b); err == nil {
			return k, nil
		}
	}
	return nil, fmt.Errorf("the random source gives no key")
}

func sealWith(own *ecdh.PrivateKey, salt []byte, to *ecdh.PublicKey, auth, body []byte) ([]byte, error) {
	shared, err := own.ECDH(to)
	if err != nil {
		return nil, fmt.Errorf("agree on a key: %v: %w", err, push.ErrGone)
	}
	info := "WebPush: info\x00" + string(to.Bytes()) + string(own.PublicKey().Bytes())
	ikm, err := hkdf.Key(sha256.New, shared, auth, info, 32)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	out := append([]byte(nil), salt...)
	out = binary.BigEndian.AppendUint32(out, recordSize)
	out = append(append(out, pointBytes), own.PublicKey().Bytes()...)
	// The byte behind the body says that this is the last record.
	return gcm.Seal(out, nonce, append(append([]byte(nil), body...), 2), nil), nil
}

func decode(s string, size int) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil || len(b) != size {
		return nil, fmt.Errorf("not %d bytes of base64url: %w", size, push.ErrGone)
	}
	return b, nil
}
