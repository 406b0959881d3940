package accounts

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// TestSessionsAreListedAndEnded proves that a user's sessions, and nobody else's, are
// listed, found by a short name, ended one by one and all together, and forgotten when
// they expire, index entry and all.
func TestSessionsAreListedAndEnded(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	device := kbsig.DeviceID{15: 0x18}
	for _, name := range []string{"alice", "bobby"} {
		if err := s.signUp(name, ""); err != nil {
			t.Fatal(err)
		}
	}
	var tokens []SessionTokens
	s.must(func(tx *store.Tx) error {
		for i := range 4 {
			by := kbsig.DeviceID{}
			if i == 3 {
				by = device
			}
			st, err := NewDeviceSession(tx, s.rand, alice, by)
			if err != nil {
				return err
			}
			tokens = append(tokens, st)
		}
		st, err := NewSession(tx, s.rand, bobby)
		tokens = append(tokens, st)
		return err
	})
	list := func(u kbsig.UID) (ids []SessionID) {
		t.Helper()
		v := s.store.View()
		defer v.Close()
		all, err := Sessions(v, u, s.clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			if x.Vouched() != (x.ID == tokens[3].ID()) {
				t.Errorf("session %s: vouched %v", x.ID, x.Vouched())
			}
			ids = append(ids, x.ID)
		}
		return ids
	}
	if got := list(alice); len(got) != 4 || slices.Contains(got, tokens[4].ID()) {
		t.Fatalf("alice has %v", got)
	}
	v := s.store.View()
	id, err := FindSessionID(v, alice, tokens[0].ID().String(), s.clock.Now())
	if err != nil || id != tokens[0].ID() {
		t.Errorf("found %s, %v", id, err)
	}
	for _, name := range []string{tokens[4].ID().String(), "", "xyz", "00000000"} {
		if _, err := FindSessionID(v, alice, name, s.clock.Now()); !errors.Is(err, ErrNoSession) {
			t.Errorf("%q: %v", name, err)
		}
	}
	v.Close()
	s.must(func(tx *store.Tx) error {
		if err := EndSession(tx, alice, tokens[4].ID()); !errors.Is(err, ErrNoSession) {
			t.Errorf("alice ends the session of bobby: %v", err)
		}
		return EndSession(tx, alice, tokens[0].ID())
	})
	if got := list(alice); len(got) != 3 || slices.Contains(got, tokens[0].ID()) {
		t.Errorf("after one has ended: %v", got)
	}
	s.must(func(tx *store.Tx) error {
		n, err := EndSessions(tx, alice, func(x ListedSession) bool { return !x.Vouched() })
		if n != 2 {
			t.Errorf("%d ended, not 2", n)
		}
		return err
	})
	if got := list(alice); len(got) != 1 || got[0] != tokens[3].ID() {
		t.Errorf("after those of the password have ended: %v", got)
	}
	s.clock.Advance(sessionLifetime + time.Second)
	if got := list(alice); len(got) != 0 {
		t.Errorf("expired, and listed: %v", got)
	}
	s.must(func(tx *store.Tx) error { _, err := SweepExpired(tx, 10); return err })
	v = s.store.View()
	defer v.Close()
	for _, tok := range tokens {
		for _, u := range []kbsig.UID{alice, bobby} {
			if known, err := store.Has(v, keys.UserSession(u, tok.ID())); known || err != nil {
				t.Errorf("an index entry is left: %v", err)
			}
		}
	}
}

// TestLockdownHistory proves that lockdown mode is what was set last, that setting it
// again changes nothing, and that its history is bounded and keeps the newest.
func TestLockdownHistory(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for i := range lockdownHistoryMax + 10 {
		s.clock.Advance(time.Second)
		for range 2 {
			s.must(func(tx *store.Tx) error {
				return SetLockdown(tx, alice, i%2 == 0, kbsig.DeviceID{0: byte(i), 15: 0x18})
			})
		}
	}
	v := s.store.View()
	defer v.Close()
	l, err := GetLockdown(v, alice)
	if err != nil || l.Enabled || len(l.History) != lockdownHistoryMax {
		t.Fatalf("%v after %d changes: %v", l.Enabled, len(l.History), err)
	}
	for i, h := range l.History {
		n := i + 10
		if h.Enabled != (n%2 == 0) || h.Device[0] != byte(n) || i > 0 && h.Time != l.History[i-1].Time+1000 {
			t.Fatalf("change %d is %+v", n, h)
		}
	}
	if other, err := GetLockdown(v, bobby); err != nil || other.Enabled || len(other.History) != 0 {
		t.Errorf("bobby has %+v, %v", other, err)
	}
}
