package accounts

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

func (s *scene) session(u kbsig.UID) SessionTokens {
	s.t.Helper()
	var t SessionTokens
	s.must(func(tx *store.Tx) (err error) {
		if known, err := store.Has(tx, keys.Account(u)); err == nil && !known {
			Put(tx, &Account{UID: u})
		}
		t, err = NewSession(tx, s.rand, u)
		return err
	})
	return t
}

func (s *scene) findSession(t SessionTokens) (u kbsig.UID, err error) {
	err = s.read(func(r store.Reader) error {
		found, err := FindSession(r, t, s.clock.Now())
		if err == nil {
			u = found.UID
		}
		return err
	})
	return u, err
}

// TestSessions proves that a session is its user's with both halves of its token and
// not otherwise, to the last second of its life and not beyond.
func TestSessions(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a, a2, b := s.session(alice), s.session(alice), s.session(bobby)
	if a == a2 || a.Session == a.CSRF || len(a.Session) != 2*sessionBytes || len(a.CSRF) != 2*sessionBytes {
		t.Errorf("tokens %+v and %+v", a, a2)
	}
	for _, c := range []struct {
		tokens SessionTokens
		want   kbsig.UID
	}{{a, alice}, {a2, alice}, {b, bobby}} {
		if u, err := s.findSession(c.tokens); u != c.want || err != nil {
			t.Errorf("session of %s is %s's, %v", c.want, u, err)
		}
	}
	for what, bad := range map[string]SessionTokens{
		"nothing":                     {},
		"no CSRF token":               {Session: a.Session},
		"another session's CSRF":      {Session: a.Session, CSRF: a2.CSRF},
		"another user's CSRF":         {Session: a.Session, CSRF: b.CSRF},
		"the halves exchanged":        {Session: a.CSRF, CSRF: a.Session},
		"no session token":            {CSRF: a.CSRF},
		"a session token in capitals": {Session: strings.ToUpper(a.Session), CSRF: a.CSRF},
		"a session token cut short":   {Session: a.Session[1:], CSRF: a.CSRF},
		"a stranger's tokens":         {Session: strings.Repeat("0", 48), CSRF: strings.Repeat("0", 48)},
	} {
		if u, err := s.findSession(bad); !errors.Is(err, ErrNoSession) {
			t.Errorf("with %s: %s, %v", what, u, err)
		}
	}
	s.clock.Advance(sessionLifetime - time.Second)
	if _, err := s.findSession(a); err != nil {
		t.Errorf("in its last second: %v", err)
	}
	s.clock.Advance(time.Second)
	if _, err := s.findSession(a); !errors.Is(err, ErrNoSession) {
		t.Errorf("after its life: %v", err)
	}
	err := s.do(func(tx *store.Tx) error {
		_, err := NewSession(tx, bytes.NewReader(make([]byte, 40)), alice)
		return err
	})
	if err == nil {
		t.Error("made a session of too little randomness")
	}
}

// TestSessionsEndWithTheIncarnation proves that a reset ends every session but the one
// that goes on, that another user's do not matter to it, and that devices are forgotten.
func TestSessionsEndWithTheIncarnation(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a, kept, b := s.session(alice), s.session(alice), s.session(bobby)
	end := func(keep *SessionTokens) error {
		return s.do(func(tx *store.Tx) error {
			SetActive(tx, alice, kbsig.DeviceID{1}, kbsig.KID{})
			acct, err := Get(tx, alice)
			if err != nil {
				return err
			}
			if err := EndIncarnation(tx, acct, keep); err != nil {
				return err
			}
			Put(tx, acct)
			if n, err := ActiveDevices(tx, alice); n != 0 || err != nil {
				return fmt.Errorf("%d devices left: %w", n, err)
			}
			return nil
		})
	}
	for name, bad := range map[string]SessionTokens{"another's": b, "none": {}} {
		if err := end(&bad); !errors.Is(err, ErrNoSession) {
			t.Errorf("kept %s session: %v", name, err)
		}
	}
	if err := end(&kept); err != nil {
		t.Fatal(err)
	}
	holds := func(want ...bool) {
		t.Helper()
		for i, tokens := range []SessionTokens{a, kept, b} {
			if _, err := s.findSession(tokens); (err == nil) != want[i] {
				t.Errorf("session %d: %v", i, err)
			}
		}
	}
	holds(false, true, true)
	if err := end(&a); !errors.Is(err, ErrNoSession) {
		t.Errorf("a session that is over was kept: %v", err)
	}
	if err := end(nil); err != nil {
		t.Fatal(err)
	}
	holds(false, false, true)
}

// TestTokensAreNotStored proves that a copy of the store opens no session: neither
// half of a token is in it.
func TestTokensAreNotStored(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.session(alice)
	all := s.dump()
	for _, half := range []string{a.Session, a.CSRF, a.Session[:16], a.CSRF[:16]} {
		if strings.Contains(all, half) {
			t.Errorf("the store holds %s", half)
		}
	}
}

func hashOf(n int) (h [19]byte) {
	copy(h[:], fmt.Sprintf("hash %d", n))
	return h
}

func (s *scene) accept(h [19]byte, u kbsig.UID, d kbsig.DeviceID, life time.Duration, old [19]byte) {
	s.t.Helper()
	s.must(func(tx *store.Tx) error {
		return AcceptNIST(tx, h, Accepted{
			UID: u, DeviceID: d, KID: kbsig.NewKID(kbsig.KIDTypeEdDSA, [32]byte{u[0], d[0]}), Expires: tx.Now().Add(life).Unix(),
		}, old)
	})
}

func (s *scene) findNIST(h [19]byte) (a *Accepted, err error) {
	err = s.read(func(r store.Reader) error { a, err = FindNIST(r, h, s.clock.Now()); return err })
	return a, err
}

// TestAcceptedTokens proves that a token once checked is known by its hash until it
// expires, that using it is noted at the device, and that a new token replaces the
// one it names, but only of its own device.
func TestAcceptedTokens(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	none := [19]byte{}
	known := func(what string, want ...int) {
		t.Helper()
		var got []int
		for n := range 10 {
			switch _, err := s.findNIST(hashOf(n)); {
			case err == nil:
				got = append(got, n)
			case !errors.Is(err, ErrNoToken):
				t.Errorf("%s: token %d: %v", what, n, err)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: known are %v, not %v", what, got, want)
		}
	}
	known("before")
	s.accept(hashOf(1), alice, phone, time.Hour, none)
	s.clock.Advance(time.Minute)
	s.accept(hashOf(2), alice, disk, time.Hour, none)
	s.accept(hashOf(3), bobby, phone, time.Hour, none)
	known("first tokens", 1, 2, 3)
	a, err := s.findNIST(hashOf(2))
	if err != nil || a.UID != alice || a.DeviceID != disk || a.KID != kbsig.NewKID(kbsig.KIDTypeEdDSA, [32]byte{alice[0], disk[0]}) {
		t.Errorf("token 2 is %+v, %v", a, err)
	}
	err = s.read(func(r store.Reader) error {
		d, err := GetDevice(r, alice, disk)
		if err == nil && d.LastUsed != s.clock.Now().Unix() {
			t.Errorf("last used %d, now %d", d.LastUsed, s.clock.Now().Unix())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}

	s.accept(hashOf(4), alice, phone, time.Hour, hashOf(2))
	known("naming another device's", 1, 2, 3, 4)
	s.accept(hashOf(5), alice, phone, time.Hour, hashOf(3))
	known("naming another user's", 1, 2, 3, 4, 5)
	s.accept(hashOf(6), alice, phone, time.Hour, hashOf(9))
	known("naming an unknown one", 1, 2, 3, 4, 5, 6)
	s.accept(hashOf(6), alice, phone, time.Hour, hashOf(6))
	known("naming itself, again", 1, 2, 3, 4, 5, 6)
	s.accept(hashOf(7), alice, phone, 2*time.Hour, hashOf(1))
	known("naming the one before", 2, 3, 4, 5, 6, 7)

	s.clock.Advance(time.Hour - time.Second)
	known("in the last second", 2, 3, 4, 5, 6, 7)
	s.clock.Advance(time.Second)
	known("an hour later", 7)
	s.clock.Advance(2 * time.Hour)
	known("three hours later")
}

// TestSweep proves that a sweep deletes what has expired, no more than it was asked to
// and nothing that lives, however often it runs and whatever else there is; and that
// what was found in a view and has been renewed since is left alone.
func TestSweep(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	rapid.Check(t, func(t *rapid.T) {
		now := s.clock.Now()
		s.must(func(tx *store.Tx) error { // from the run before
			for _, p := range [][]byte{keys.Sessions(), keys.NISTs()} {
				if err := tx.Scan(p, keys.End(p), func(k, _ []byte) error { tx.Delete(bytes.Clone(k)); return nil }); err != nil {
					return err
				}
			}
			return nil
		})
		lives := rapid.SliceOfN(rapid.IntRange(-3, 3), 0, 30).Draw(t, "lives in seconds")
		dead := 0
		s.must(func(tx *store.Tx) error {
			for i, life := range lives {
				expires := now.Unix() + int64(life)
				if life <= 0 {
					dead++
				}
				if i%2 == 0 {
					store.Save(tx, keys.Session([32]byte{byte(i)}), Session{Expires: expires})
				} else {
					store.Save(tx, keys.NIST([19]byte{byte(i)}), Accepted{Expires: expires})
				}
			}
			return nil
		})
		living := s.count()
		most := rapid.IntRange(0, 8).Draw(t, "most")
		for left := dead; left > 0 && most > 0; {
			n := 0
			s.must(func(tx *store.Tx) (err error) { n, err = SweepExpired(tx, most); return err })
			if n != min(most, left) {
				t.Fatalf("%d swept of %d, at most %d", n, left, most)
			}
			left -= n
		}
		if most == 0 {
			dead = 0
		}
		if got := s.count(); len(got) != len(living)-dead {
			t.Fatalf("%d left of %d, %d dead", len(got), len(living), dead)
		}
	})

	s.accept(hashOf(1), alice, phone, time.Second, [19]byte{})
	s.accept(hashOf(2), alice, phone, time.Second, [19]byte{})
	s.clock.Advance(time.Second)
	var old [][]byte
	err := s.read(func(r store.Reader) (err error) { old, err = Expired(r, s.clock.Now(), 1000); return err })
	if err != nil {
		t.Fatal(err)
	}
	s.accept(hashOf(1), alice, phone, time.Hour, [19]byte{}) // renewed meanwhile
	for _, want := range []int{len(old) - 1, 0} {
		n := 0
		s.must(func(tx *store.Tx) (err error) { n, err = DropExpired(tx, old); return err })
		if n != want {
			t.Errorf("dropped %d of %d, not %d", n, len(old), want)
		}
	}
	if _, err := s.findNIST(hashOf(1)); err != nil {
		t.Errorf("the renewed token: %v", err)
	}
}

// count is all sessions and tokens that are stored.
func (s *scene) count() map[string]bool {
	s.t.Helper()
	out := make(map[string]bool)
	err := s.read(func(r store.Reader) error {
		for _, p := range [][]byte{keys.Sessions(), keys.NISTs()} {
			if err := r.Scan(p, keys.End(p), func(k, _ []byte) error { out[string(k)] = true; return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}
