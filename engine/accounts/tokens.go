package accounts

import (
	"bytes"
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
	Epoch   int       `codec:"ep,omitempty"`
	Made    int64     `codec:"m,omitempty"`
	Expires int64     `codec:"e"` // unix seconds, as Made
	// Device is the device that asked for the session, for another one that it helps;
	// zero where the password stands behind it.
	Device kbsig.DeviceID `codec:"d"`
}

// Vouched reports whether a device of the user stands behind the session.
func (s *Session) Vouched() bool { return s.Device != kbsig.DeviceID{} }

// SessionTokens are the two halves of a session, as the client holds them.
type SessionTokens struct {
	Session, CSRF string
}

// NewSession makes a session for u, who has shown the password. rand must be
// cryptographic.
func NewSession(tx *store.Tx, rand io.Reader, u kbsig.UID) (SessionTokens, error) {
	return NewDeviceSession(tx, rand, u, kbsig.DeviceID{})
}

// NewDeviceSession makes a session for u that u's device by asked for.
func NewDeviceSession(tx *store.Tx, rand io.Reader, u kbsig.UID, by kbsig.DeviceID) (SessionTokens, error) {
	a, err := Get(tx, u)
	if err != nil {
		return SessionTokens{}, err
	}
	var raw [2 * sessionBytes]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return SessionTokens{}, fmt.Errorf("make a session: %w", err)
	}
	t := SessionTokens{
		Session: hex.EncodeToString(raw[:sessionBytes]),
		CSRF:    hex.EncodeToString(raw[sessionBytes:]),
	}
	h := t.hash()
	store.Save(tx, keys.Session(h), Session{
		UID:     u,
		Epoch:   a.Epoch,
		CSRF:    sha256.Sum256([]byte(t.CSRF)),
		Made:    tx.Now().Unix(),
		Expires: tx.Now().Add(sessionLifetime).Unix(),
		Device:  by,
	})
	tx.Set(keys.UserSession(u, h), nil)
	return t, nil
}

// hash is the name under which a session is stored.
func (t SessionTokens) hash() SessionID { return sha256.Sum256([]byte(t.Session)) }

// FindSession returns the session of a token pair, or ErrNoSession. Looking the
// token up by its hash keeps the comparison from telling how much of it was right.
func FindSession(r store.Reader, t SessionTokens, now time.Time) (*Session, error) {
	s, err := store.Load[Session](r, keys.Session(t.hash()))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoSession
	}
	if err != nil {
		return nil, fmt.Errorf("load session: %w", err)
	}
	if sha256.Sum256([]byte(t.CSRF)) != s.CSRF || now.Unix() >= s.Expires {
		return nil, ErrNoSession
	}
	a, err := owner(r, s.UID, "session")
	if err != nil {
		return nil, err
	}
	if a.Epoch != s.Epoch {
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

// SweepExpired deletes up to max expired sessions and tokens and reports how many. It
// reads all of them: with many, look for them in a view with Expired first, which
// keeps nobody waiting, and delete them with DropExpired.
func SweepExpired(tx *store.Tx, max int) (int, error) {
	old, err := Expired(tx, tx.Now(), max)
	if err != nil {
		return 0, err
	}
	return DropExpired(tx, old)
}

// Expired lists the keys of up to max sessions and tokens that have expired.
func Expired(r store.Reader, now time.Time, max int) ([][]byte, error) {
	var old [][]byte
	for _, prefix := range [][]byte{keys.Sessions(), keys.NISTs()} {
		err := r.Scan(prefix, keys.End(prefix), func(k, v []byte) error {
			if len(old) >= max {
				return store.ErrStop
			}
			expires, err := expiry(k, v)
			if err == nil && expires <= now.Unix() {
				old = append(old, append([]byte(nil), k...))
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return old, nil
}

// DropExpired deletes those of the listed sessions and tokens that are still there
// and still expired, and reports how many.
func DropExpired(tx *store.Tx, old [][]byte) (int, error) {
	n := 0
	for _, k := range old {
		v, err := tx.Get(k)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return n, err
		}
		expires, err := expiry(k, v)
		if err != nil {
			return n, err
		}
		if expires > tx.Now().Unix() {
			continue
		}
		if h, ok := keys.SessionOf(k); ok {
			s, err := store.Decode[Session](v)
			if err != nil {
				return n, err
			}
			tx.Delete(keys.UserSession(s.UID, h))
		}
		tx.Delete(k)
		n++
	}
	return n, nil
}

// expiry reads when a session or token ends, in unix seconds.
func expiry(k, v []byte) (int64, error) {
	if bytes.HasPrefix(k, keys.Sessions()) {
		s, err := store.Decode[Session](v)
		return s.Expires, err
	}
	a, err := store.Decode[Accepted](v)
	return a.Expires, err
}
