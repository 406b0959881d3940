package client

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	triplesec "github.com/keybase/go-triplesec"
	"golang.org/x/crypto/scrypt"
)

// passphraseVersion is the TripleSec version of new passwords.
const passphraseVersion = 3

// authExpireSeconds is the life a login proof claims for itself.
const authExpireSeconds = 24 * 60 * 60

// Stream is what a passphrase or a paper key is stretched to:
// password hash, EdDSA seed, DH seed, LKS client half, 32 bytes each.
// client: go/libkb/passphrase_stream.go
type Stream [128]byte

// StretchPassword derives a password's stream; slow on purpose.
func StretchPassword(password string, salt []byte) (*Stream, error) {
	c, err := triplesec.NewCipher([]byte(password), salt, passphraseVersion)
	if err != nil {
		return nil, fmt.Errorf("stretch password: %w", err)
	}
	_, extra, err := c.DeriveKey(len(Stream{}))
	if err != nil {
		return nil, fmt.Errorf("stretch password: %w", err)
	}
	s := Stream(extra)
	return &s, nil
}

// CheapStream is a stream without the slow derivation, for load: the server
// cannot tell it from a stretched password.
func CheapStream(seed []byte) *Stream {
	var s Stream
	for i := range 4 {
		mac := hmac.New(sha256.New, seed)
		mac.Write([]byte{byte(i)})
		copy(s[32*i:], mac.Sum(nil))
	}
	return &s
}

// StretchPaperKey derives a paper key's stream; slow on purpose.
// client: go/engine/paperkey_gen.go:Run
func StretchPaperKey(phrase string) (*Stream, error) {
	phrase = strings.Join(strings.Fields(strings.ToLower(phrase)), " ")
	b, err := scrypt.Key([]byte(phrase), nil, 32768, 8, 1, len(Stream{}))
	if err != nil {
		return nil, fmt.Errorf("stretch paper key: %w", err)
	}
	s := Stream(b)
	return &s, nil
}

// PasswordHash is pwh, the seed of the old login key.
func (s *Stream) PasswordHash() []byte { return s[0:32] }

// EdDSASeed is the seed of the login key, or of a paper key's signing key.
func (s *Stream) EdDSASeed() Seed { return Seed(s[32:64]) }

// DHSeed is the seed of a paper key's encryption key.
func (s *Stream) DHSeed() Seed { return Seed(s[64:96]) }

// ClientHalf is the client's half of the local key security secret.
func (s *Stream) ClientHalf() []byte { return s[96:128] }

// LoginKID is pdpka5_kid.
func (s *Stream) LoginKID() KID { return NewSigningKey(s.EdDSASeed()).KID() }

// LoginProof is the statement that a password holder signs. Fields may be
// changed before Sign to make proofs that a server must refuse.
// client: go/libkb/pdpka.go:authPayload
type LoginProof struct {
	Nonce    [16]byte
	Session  string // login_session as issued, base64
	Host     string
	Username string
	Type     string
	Ctime    int64
	ExpireIn int64
}

// NewLoginProof fills a proof that a server must accept.
func NewLoginProof(username, session string, now time.Time, random io.Reader) (*LoginProof, error) {
	p := &LoginProof{Session: session, Host: canonicalHost, Username: username, Type: "auth", Ctime: now.Unix(), ExpireIn: authExpireSeconds}
	if _, err := io.ReadFull(random, p.Nonce[:]); err != nil {
		return nil, fmt.Errorf("draw a nonce: %w", err)
	}
	return p, nil
}

// Sign makes the armoured packet that login takes as pdpka4 or pdpka5.
func (p *LoginProof) Sign(seed Seed) (string, error) {
	key := NewSigningKey(seed)
	payload, err := json.Marshal(map[string]any{
		"body": map[string]any{
			"auth":    map[string]any{"nonce": hex.EncodeToString(p.Nonce[:]), "session": p.Session},
			"key":     map[string]any{"host": p.Host, "kid": key.KID().String(), "username": p.Username},
			"type":    p.Type,
			"version": 1,
		},
		"ctime": p.Ctime, "expire_in": p.ExpireIn, "tag": "signature",
	})
	if err != nil {
		return "", fmt.Errorf("login proof: %w", err)
	}
	return SignPacket(key, payload).Armor(), nil
}

// newPaperPhrase draws thirteen pronounceable words whose last one carries the
// version mark of today's paper keys. The server sees the first two only, as the
// device's name. client: go/libkb/paperkey_phrase.go:wordVersion
func newPaperPhrase(random io.Reader) (string, error) {
	const consonants, vowels = "bdfgklmnprstvz", "aeio"
	word := func() (string, error) {
		var b [8]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return "", fmt.Errorf("draw a word: %w", err)
		}
		x := binary.BigEndian.Uint64(b[:])
		var w []byte
		for range 3 {
			w = append(w, consonants[x%14], vowels[x/14%4])
			x /= 56
		}
		return string(w), nil
	}
	words := make([]string, 0, 13)
	for len(words) < 13 {
		w, err := word()
		if err != nil {
			return "", err
		}
		if len(words) == 12 {
			if h := sha256.Sum256([]byte(w)); h[31]&0x0f != 0 {
				continue
			}
		}
		words = append(words, w)
	}
	return strings.Join(words, " "), nil
}

// entropy hides stubbed links from guessing: base64 of 18 random bytes.
// client: go/libkb/kbsig.go:LinkEntropy
func entropy(random io.Reader) (string, error) {
	var b [18]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("draw entropy: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b[:]), nil
}
