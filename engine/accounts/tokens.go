package accounts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Lifetimes of tokens.
const (
	// sessionLifetime bounds a password session. Flows need minutes; somebody at a
	// prompt may need longer.
	sessionLifetime = 24 * time.Hour
	// sessionBytes is the length of a session token before hex.
	sessionBytes = 24
)

// Session is a password session, as handed out by sign-up, login and new_session.
type Session struct {
	UID     kbsig.UID `codec:"u"`
	CSRF    [32]byte  `codec:"c"` // sha256
	Expires int64     `codec:"e"` // unix seconds
}

// SessionTokens are the two halves of a session, as the client holds them.
type SessionTokens struct {
	Session, CSRF string
}

// NewSession makes a session for u. rand must be cryptographic.
func NewSession(tx *store.Tx, rand io.Reader, u kbsig.UID) (SessionTokens, error) {
	var raw [2 * sessionBytes]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return SessionTokens{}, fmt.Errorf("make a session: %w", err)
	}
	t := SessionTokens{
		Session: hex.EncodeToString(raw[:sessionBytes]),
		CSRF:    hex.EncodeToString(raw[sessionBytes:]),
	}
	store.Save(tx, keys.Session(sha256.Sum256([]byte(t.Session))), Session{
		UID:     u,
		CSRF:    sha256.Sum256([]byte(t.CSRF)),
		Expires: tx.Now().Add(sessionLifetime).Unix(),
	})
	return t, nil
}

// FindSession returns the session of a token pair, or ErrNoSession. Looking the
// token up by its hash keeps the comparison from telling how much of it was right.
func FindSession(r store.Reader, t SessionTokens, now time.Time) (*Session, error) {
	s, err := store.Load[Session](r, keys.Session(sha256.Sum256([]byte(t.Session))))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoSession
	}
	if err != nil {
		return nil, fmt.Errorf("load session: %w", err)
	}
	if sha256.Sum256([]byte(t.CSRF)) != s.CSRF || now.Unix() >= s.Expires {
		return nil, ErrNoSession
	}
	return &s, nil
}

// Accepted is a NIST whose signature has been checked once.
type Accepted struct {
	UID      kbsig.UID      `codec:"u"`
	DeviceID kbsig.DeviceID `codec:"d"`
	KID      kbsig.KID      `codec:"k"`
	Expires  int64          `codec:"e"` // unix seconds
}

// FindNIST returns an accepted, unexpired token by its short hash, or ErrNoToken.
func FindNIST(r store.Reader, h [19]byte, now time.Time) (*Accepted, error) {
	a, err := store.Load[Accepted](r, keys.NIST(h))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoToken
	}
	if err != nil {
		return nil, fmt.Errorf("load token: %w", err)
	}
	if now.Unix() >= a.Expires {
		return nil, ErrNoToken
	}
	return &a, nil
}

// AcceptNIST remembers a checked token, so that its short form is known after a
// restart too, and drops the one that it replaces.
func AcceptNIST(tx *store.Tx, h [19]byte, a Accepted, old [19]byte) error {
	store.Save(tx, keys.NIST(h), a)
	if old != ([19]byte{}) && old != h {
		prev, err := store.Load[Accepted](tx, keys.NIST(old))
		if err == nil && prev.UID == a.UID && prev.DeviceID == a.DeviceID {
			tx.Delete(keys.NIST(old))
		} else if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return UpdateDevice(tx, a.UID, a.DeviceID, func(d *Device) { d.LastUsed = tx.Now().Unix() })
}

// SweepExpired deletes up to max expired sessions and tokens and reports how many.
func SweepExpired(tx *store.Tx, max int) (int, error) {
	n := 0
	now := tx.Now().Unix()
	drop := func(k []byte, expires int64) error {
		if expires <= now {
			tx.Delete(append([]byte(nil), k...))
			n++
		}
		if n >= max {
			return store.ErrStop
		}
		return nil
	}
	err := tx.Scan(keys.Sessions(), keys.End(keys.Sessions()), func(k, v []byte) error {
		s, err := store.Decode[Session](v)
		if err != nil {
			return err
		}
		return drop(k, s.Expires)
	})
	if err != nil || n >= max {
		return n, err
	}
	err = tx.Scan(keys.NISTs(), keys.End(keys.NISTs()), func(k, v []byte) error {
		a, err := store.Decode[Accepted](v)
		if err != nil {
			return err
		}
		return drop(k, a.Expires)
	})
	return n, err
}
