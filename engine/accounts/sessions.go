package accounts

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// SessionID names a session without giving it away: the hash of its token.
type SessionID [32]byte

// sessionIDShown is how much of a SessionID people see and type, in bytes.
const sessionIDShown = 6

// String is the short form.
func (id SessionID) String() string { return hex.EncodeToString(id[:sessionIDShown]) }

// ID is the name of the session of these tokens.
func (t SessionTokens) ID() SessionID { return t.hash() }

// ListedSession is a session with its name.
type ListedSession struct {
	ID SessionID
	Session
}

// Sessions lists the password sessions of a user that hold, the newest first.
func Sessions(r store.Reader, u kbsig.UID, now time.Time) ([]ListedSession, error) {
	a, err := Get(r, u)
	if err != nil {
		return nil, err
	}
	var out []ListedSession
	lo := keys.UserSessions(u)
	err = r.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		h, ok := keys.UserSessionOf(k)
		if !ok {
			return fmt.Errorf("malformed key in the sessions of %s", u)
		}
		s, err := store.Load[Session](r, keys.Session(h))
		if err != nil {
			return fmt.Errorf("session %s of %s: %w", SessionID(h), u, err)
		}
		if s.Expires > now.Unix() && s.Epoch == a.Epoch {
			out = append(out, ListedSession{SessionID(h), s})
		}
		return nil
	})
	slices.SortStableFunc(out, func(a, b ListedSession) int { return cmp.Compare(b.Made, a.Made) })
	return out, err
}

// EndSession ends one session of a user; the error is ErrNoSession if it is none.
func EndSession(tx *store.Tx, u kbsig.UID, id SessionID) error {
	known, err := store.Has(tx, keys.UserSession(u, id))
	if err != nil {
		return err
	}
	if !known {
		return ErrNoSession
	}
	tx.Delete(keys.UserSession(u, id))
	tx.Delete(keys.Session(id))
	return nil
}

// EndSessions ends the sessions of a user of which end says so, nil meaning all, and
// reports how many.
func EndSessions(tx *store.Tx, u kbsig.UID, end func(ListedSession) bool) (int, error) {
	all, err := Sessions(tx, u, time.Time{})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, s := range all {
		if end != nil && !end(s) {
			continue
		}
		if err := EndSession(tx, u, s.ID); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// ErrAmbiguous says that a short name fits several.
var ErrAmbiguous = errors.New("several sessions begin like this")

// FindSessionID finds the session of a user that its short name, or more of it, names.
func FindSessionID(r store.Reader, u kbsig.UID, name string, now time.Time) (SessionID, error) {
	var found SessionID
	start, err := hex.DecodeString(name)
	if err != nil || len(start) == 0 {
		return found, ErrNoSession
	}
	all, err := Sessions(r, u, now)
	if err != nil {
		return found, err
	}
	n := 0
	for _, s := range all {
		if len(start) <= len(s.ID) && string(s.ID[:len(start)]) == string(start) {
			found, n = s.ID, n+1
		}
	}
	switch n {
	case 0:
		return found, ErrNoSession
	case 1:
		return found, nil
	}
	return found, ErrAmbiguous
}
