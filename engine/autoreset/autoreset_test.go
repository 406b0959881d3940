package autoreset

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

const day = 24 * time.Hour

var alice = kbsig.UIDOf("alice")

// scene is a store with one account in it, which has two devices.
type scene struct {
	*Service
	t     *testing.T
	store *store.Store
	clock *clock.Fake
}

func newScene(t *testing.T) *scene {
	s := &scene{t: t, clock: clock.NewFake(time.Unix(1_800_000_000, 0))}
	rng := rand.NewChaCha8([32]byte{1})
	var err error
	s.store, err = store.Open(store.Options{
		Dir: "data", FS: vfs.NewMem(), Rand: rng, Clock: s.clock.Now, CacheBytes: 1 << 20,
		Fatal: func(err error) { t.Errorf("unexpected fatal: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	s.Service, err = New(t.Context(), Options{
		Store: s.store, Rand: rng, Delay: 7 * day, DelayOne: 5 * day, Verify: 3 * day,
		Texts: true, Site: func() string { return "https://keys.example.org" },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.must(func(tx *store.Tx) error {
		accounts.SetActive(tx, alice, kbsig.DeviceID{1}, kbsig.KID{})
		accounts.SetActive(tx, alice, kbsig.DeviceID{2}, kbsig.KID{})
		if err := accounts.Create(tx, &accounts.Account{UID: alice, Name: "alice"}); err != nil {
			return err
		}
		return accounts.AddMail(tx, alice, "alice@example.org", accounts.Private)
	})
	return s
}

func (s *scene) do(fn func(*store.Tx) error) error { return s.store.Update(s.t.Context(), fn) }

func (s *scene) must(fn func(*store.Tx) error) {
	s.t.Helper()
	if err := s.do(fn); err != nil {
		s.t.Fatal(err)
	}
}

// at is the waiting reset, which must have come to an event.
func (s *scene) at(e Event) *Reset {
	s.t.Helper()
	v := s.store.View()
	defer v.Close()
	r, err := Get(v, alice)
	if err != nil || r.Event != e {
		s.t.Fatalf("%+v, %v; want event %d", r, err, e)
	}
	if n, err := jobs.Count(v, Kind, alice.String(), 10); n != 1 || err != nil {
		s.t.Fatalf("%d jobs, %v", n, err)
	}
	return r
}

// none: nothing waits, and nothing is left of what did.
func (s *scene) none() {
	s.t.Helper()
	v := s.store.View()
	defer v.Close()
	if r, err := Get(v, alice); !errors.Is(err, ErrNone) {
		s.t.Fatalf("%+v, %v", r, err)
	}
	if n, err := jobs.Count(v, Kind, "", 10); n != 0 || err != nil {
		s.t.Fatalf("%d jobs, %v", n, err)
	}
}

// pass lets time pass as far as the next moment at which something is to be done.
func (s *scene) pass(d time.Duration) {
	s.t.Helper()
	s.clock.Advance(d)
	s.must(func(tx *store.Tx) error { return s.Move(tx, alice) })
}

// mails counts the mails that wait to leave.
func (s *scene) mails() int {
	s.t.Helper()
	v := s.store.View()
	defer v.Close()
	n, err := jobs.Count(v, "mail", "", 100)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// TestWait proves that a reset asked for with the password waits its whole time, warns
// once, is ready then, can be done once, and is forgotten when nobody does it.
func TestWait(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	take := func(tx *store.Tx) error { return s.Take(tx, alice) }
	if err := s.do(take); !errors.Is(err, ErrNone) {
		t.Fatal(err)
	}
	s.must(func(tx *store.Tx) error { return s.Enter(tx, alice, true) })
	if r := s.at(EventVerify); time.Duration(r.Delay)*time.Second != 7*day {
		t.Fatalf("waits %d s", r.Delay)
	}
	s.pass(3 * day)
	s.must(func(tx *store.Tx) error { return s.Enter(tx, alice, true) }) // asking again begins nothing anew
	s.must(func(tx *store.Tx) error { return s.Enter(tx, alice, false) })
	if s.at(EventVerify).Warned {
		t.Fatal("warned too early")
	}
	s.pass(3 * day)
	s.pass(0)
	if !s.at(EventVerify).Warned {
		t.Fatal("not warned")
	}
	s.pass(day - time.Second)
	if err := s.do(take); !errors.Is(err, ErrNotReady) {
		t.Fatalf("a second too early: %v", err)
	}
	s.clock.Advance(time.Second)
	s.must(func(tx *store.Tx) error { return s.Take(tx, alice) }) // though the job is late
	s.none()

	s.must(func(tx *store.Tx) error { return s.Enter(tx, alice, true) })
	s.must(func(tx *store.Tx) error { return s.Travel(tx, alice, 7*day) })
	s.pass(0)
	s.at(EventReady)
	s.pass(readyLifetime - time.Second)
	s.at(EventReady)
	s.pass(time.Second)
	s.none()
}

// TestByName proves that by name alone nothing begins before the link in the mail is
// opened, that mails are not made for the asking, and that the password does as well.
func TestByName(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	enter := func(self bool) {
		t.Helper()
		s.must(func(tx *store.Tx) error { return s.Enter(tx, alice, self) })
	}
	enter(false)
	enter(false)
	if n := s.mails(); n != 1 {
		t.Fatalf("%d mails", n)
	}
	s.pass(3*day - time.Second)
	s.at(EventStart)
	s.pass(time.Second)
	s.none()

	enter(false)
	s.must(func(tx *store.Tx) error { return s.Verify(tx, alice) })
	s.must(func(tx *store.Tx) error { return s.Verify(tx, alice) })
	s.at(EventVerify)
	s.must(func(tx *store.Tx) error { return s.Cancel(tx, alice) })
	s.none()

	s.must(func(tx *store.Tx) error { accounts.SetInactive(tx, alice, kbsig.DeviceID{1}); return nil })
	enter(false)
	enter(true)
	if r := s.at(EventVerify); time.Duration(r.Delay)*time.Second != 5*day {
		t.Fatalf("with one device it waits %d s", r.Delay)
	}
	s.must(func(tx *store.Tx) error { return Drop(tx, alice) })
	s.must(func(tx *store.Tx) error { return Drop(tx, alice) })
	s.none()
}

// TestByText proves that who has no verified mail address, but a telephone number that
// they have verified, gets each word of a reset as a text message that a network carries
// whole, with a link that leads there; and that a number which somebody else has verified
// since gets none.
func TestByText(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	const number = "+15550123456"
	verify := func(u kbsig.UID) {
		t.Helper()
		s.must(func(tx *store.Tx) error {
			code, err := accounts.AddPhone(tx, rand.NewChaCha8([32]byte{9}), u, number, accounts.Private)
			if err != nil {
				return err
			}
			refused, err := accounts.TryPhoneCode(tx, u, number, code)
			return errors.Join(refused, err)
		})
	}
	texts := func() (out []string) {
		t.Helper()
		s.must(func(tx *store.Tx) error {
			out = nil
			lo := keys.Jobs()
			return tx.Scan(lo, keys.End(lo), func(k, v []byte) error {
				if _, key, ok := keys.JobOf(k); ok && strings.Contains(string(v), number) {
					out = append(out, string(v))
					return jobs.Drop(tx, "sms", key)
				}
				return nil
			})
		})
		return out
	}
	sent := func(want string) {
		t.Helper()
		got := texts()
		if want == "" && len(got) == 0 {
			return
		}
		if want == "" || len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("sent %q, want one with %q", got, want)
		}
	}
	s.must(func(tx *store.Tx) error { return s.Enter(tx, alice, false) })
	sent("")
	s.must(func(tx *store.Tx) error { return Drop(tx, alice) })
	verify(alice)
	s.must(func(tx *store.Tx) error { return s.Enter(tx, alice, false) })
	sent("https://keys.example.org" + s.Link(s.at(EventStart), LinkVerify))
	s.must(func(tx *store.Tx) error { return s.Verify(tx, alice) })
	sent(s.Link(s.at(EventVerify), LinkCancel))
	s.pass(6 * day)
	sent(s.Link(s.at(EventVerify), LinkCancel))
	s.pass(day)
	sent(s.Link(s.at(EventReady), LinkFinish))
	s.must(func(tx *store.Tx) error { return s.Take(tx, alice) })
	sent("was reset")
	s.must(func(tx *store.Tx) error { return s.Enter(tx, alice, true) })
	texts()
	s.must(func(tx *store.Tx) error { return s.Cancel(tx, alice) })
	sent("was cancelled")

	s.must(func(tx *store.Tx) error {
		return accounts.Create(tx, &accounts.Account{UID: kbsig.UIDOf("bobby"), Name: "bobby"})
	})
	verify(kbsig.UIDOf("bobby"))
	s.must(func(tx *store.Tx) error { return s.Enter(tx, alice, true) })
	sent("")
	s.must(func(tx *store.Tx) error { return accounts.VerifyMail(tx, alice, "alice@example.org") })
	s.must(func(tx *store.Tx) error { return s.Cancel(tx, alice) })
	sent("")
}

// TestLinks proves that a link opens its reset for its purpose, that nothing like it
// opens anything, and that it is over with the reset.
func TestLinks(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.must(func(tx *store.Tx) error { return s.Enter(tx, alice, true) })
	r := s.at(EventVerify)
	open := func(path string) (p Purpose, err error) {
		v := s.store.View()
		defer v.Close()
		_, p, err = s.Open(v, path)
		return p, err
	}
	cancel := s.Link(r, LinkCancel)
	if p, err := open(cancel); p != LinkCancel || err != nil {
		t.Fatal(p, err)
	}
	for _, bad := range []string{
		"", "/", PathPrefix, cancel[1:], cancel + "/", cancel + "00", cancel[:len(cancel)-2],
		strings.Replace(cancel, "cancel", "finish", 1), strings.Replace(cancel, "cancel", "verify", 1),
		strings.Replace(cancel, "cancel", "Cancel", 1), strings.Replace(cancel, alice.String(), kbsig.UIDOf("bob").String(), 1),
		strings.Replace(cancel, alice.String(), "x", 1), PathPrefix + "cancel/" + alice.String() + "/",
	} {
		if p, err := open(bad); !errors.Is(err, ErrBadLink) {
			t.Errorf("%q opens %q, %v", bad, p, err)
		}
	}
	for i := range 2 * linkBytes {
		at := len(cancel) - 1 - i
		flipped := cancel[:at] + string("0123456789abcdef"[(strings.IndexByte("0123456789abcdef", cancel[at])+1)%16]) + cancel[at+1:]
		if _, err := open(flipped); !errors.Is(err, ErrBadLink) {
			t.Errorf("%q opens something", flipped)
		}
	}
	s.must(func(tx *store.Tx) error { return s.Cancel(tx, alice) })
	s.must(func(tx *store.Tx) error { return s.Enter(tx, alice, true) })
	if _, err := open(cancel); !errors.Is(err, ErrBadLink) {
		t.Error("the link of a reset that is over opens the next one")
	}
	v := s.store.View()
	defer v.Close()
	if known, err := store.Has(v, keys.Autoreset(alice)); !known || err != nil {
		t.Fatal(known, err)
	}
}
