package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Constants of non-interactive session tokens. client: go/libkb/nist.go
const (
	nistVersion     = 34
	nistModeSig     = 1
	nistModeHash    = 2
	nistLifetime    = 52 * time.Hour
	nistRenewBefore = 26 * time.Hour
	nistHashBytes   = 19
	nistPrefix      = "Keybase-Auth-NIST-1"
	canonicalHost   = "keybase.io"
)

// NIST is one token in its two forms. Fields may be changed before Sign to make
// tokens that a server must refuse.
type NIST struct {
	Version   int64
	Host      string // signed, not sent
	UID       UID
	Device    DeviceID
	Generated int64 // unix seconds
	Lifetime  int64 // seconds
	SessionID [16]byte
	OldHash   []byte // 19 bytes of the token this one replaces, or nil

	Long  []byte // set by Sign
	Short []byte // set by Sign
}

// NewNIST fills a token that a server must accept once it is signed by the
// device's signing key.
func NewNIST(uid UID, device DeviceID, now time.Time, random io.Reader) (*NIST, error) {
	n := &NIST{
		Version: nistVersion, Host: canonicalHost, UID: uid, Device: device,
		Generated: now.Unix(), Lifetime: int64(nistLifetime / time.Second),
	}
	if _, err := io.ReadFull(random, n.SessionID[:]); err != nil {
		return nil, fmt.Errorf("draw a session id: %w", err)
	}
	return n, nil
}

// signedBytes is what the device signs: prefix, zero, msgpack of nine fields.
// client: go/libkb/nist.go:nistPayload
func (n *NIST) signedBytes(kid KID) []byte {
	w := packer(append([]byte(nistPrefix), 0))
	w.array(9)
	w.int(n.Version)
	w.int(nistModeSig)
	w.str(n.Host)
	w.bin(n.UID[:])
	w.bin(n.Device[:])
	w.bin(kid[:])
	w.int(n.Generated)
	w.int(n.Lifetime)
	w.bin(n.SessionID[:])
	return w
}

// Sign fills Long and Short. client: go/libkb/nist.go:generate
func (n *NIST) Sign(key *SigningKey) { n.assemble(key.Sign(n.signedBytes(key.KID()))) }

func (n *NIST) assemble(sig []byte) {
	var long packer
	long.array(4)
	long.int(n.Version)
	long.int(nistModeSig)
	long.bin(sig)
	long.array(6)
	long.bin(n.UID[:])
	long.bin(n.Device[:])
	long.int(n.Generated)
	long.int(n.Lifetime)
	long.bin(n.SessionID[:])
	long.binOrNull(n.OldHash)
	sum := sha256.Sum256(long)
	var short packer
	short.array(3)
	short.int(n.Version)
	short.int(nistModeHash)
	short.bin(sum[:nistHashBytes])
	n.Long, n.Short = long, short
}

// NISTCredential authenticates as one device. It sends the long form until the
// server says "verified", then the short form, and makes a new token when the
// server says "failed" or when the old one is in its last half.
// client: go/libkb/nist.go:NISTFactory, go/libkb/api.go:consumeHeaders
type NISTCredential struct {
	uid    UID
	device DeviceID
	key    *SigningKey
	now    func() time.Time
	random io.Reader

	mu       sync.Mutex
	current  *NIST
	verified bool
	lastGood []byte // hash of the last token that the server verified
}

// NewNISTCredential makes a credential for a device's signing key.
func (s *Server) NewNISTCredential(uid UID, device DeviceID, key *SigningKey) *NISTCredential {
	return &NISTCredential{uid: uid, device: device, key: key, now: s.Now, random: s.Random}
}

// token is the form to send next.
func (c *NISTCredential) token() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.current == nil || now.Add(nistRenewBefore).Unix() > c.current.Generated+c.current.Lifetime {
		n, err := NewNIST(c.uid, c.device, now, c.random)
		if err != nil {
			return nil, err
		}
		n.OldHash = c.lastGood
		n.Sign(c.key)
		c.current, c.verified = n, false
	}
	if c.verified {
		return c.current.Short, nil
	}
	return c.current.Long, nil
}

// IsShort reports whether the next request carries the short form.
func (c *NISTCredential) IsShort() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.verified
}

func (c *NISTCredential) apply(h http.Header) error {
	b, err := c.token()
	if err != nil {
		return err
	}
	h.Set("X-Keybase-Session", base64.StdEncoding.EncodeToString(b))
	h.Set("X-Keybase-Device-ID", c.device.String())
	return nil
}

func (c *NISTCredential) observe(sent, received http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return
	}
	token, err := base64.StdEncoding.DecodeString(sent.Get("X-Keybase-Session"))
	if err != nil || (!bytes.Equal(token, c.current.Long) && !bytes.Equal(token, c.current.Short)) {
		return // an answer to an older token
	}
	switch received.Get("X-Keybase-Auth-NIST") {
	case "verified":
		c.verified = true
		sum := sha256.Sum256(c.current.Long)
		c.lastGood = sum[:nistHashBytes]
	case "failed":
		c.current, c.verified = nil, false
	}
}
