package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var alice = kbsig.UIDOf("alice")

func device(n byte) kbsig.DeviceID {
	d := kbsig.DeviceID{n}
	d[15] = 0x18
	return d
}

type fill byte

func (f fill) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(f)
	}
	return len(b), nil
}

// world is a store, a courier that says what it is told to say, and who is awake.
type world struct {
	t     *testing.T
	st    *store.Store
	clk   *clock.Fake
	run   *jobs.Runner
	s     *Service
	says  error
	got   []string
	awake kbsig.DeviceID
}

func (w *world) Deliver(_ context.Context, t Token, n Notification) error {
	w.got = append(w.got, fmt.Sprintf("%s:%s %s %v", t.Token, n.Type, n.Text, n.Data["username"]))
	return w.says
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, clk: clock.NewFake(time.UnixMilli(1_700_000_000_000))}
	var err error
	w.st, err = store.Open(store.Options{Dir: "d", FS: vfs.NewMem(), Rand: fill(1), Clock: w.clk.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.st.Close() })
	w.run = jobs.NewRunner(jobs.Options{Store: w.st, Clock: w.clk.Now, Logger: slog.New(slog.DiscardHandler)})
	w.s = New(Options{
		Store: w.st, Clock: w.clk.Now, Couriers: map[Way]Courier{UnifiedPush: w},
		Awake: func(_ kbsig.UID, d kbsig.DeviceID) bool { return d == w.awake },
	})
	w.s.Handle(w.run)
	return w
}

func (w *world) update(fn func(tx *store.Tx) error) error {
	return w.st.Update(context.Background(), fn)
}

func (w *world) save(n byte, way Way, token string) {
	w.t.Helper()
	if err := w.update(func(tx *store.Tx) error {
		return Save(tx, alice, Token{Device: device(n), Way: way, Token: token})
	}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) tokens() (out []string) {
	v := w.st.View()
	defer v.Close()
	all, err := Tokens(v, alice)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, t := range all {
		out = append(out, t.Token)
	}
	return out
}

// carried lets the jobs run and returns what was carried.
func (w *world) carried() string {
	w.t.Helper()
	w.got = nil
	if _, err := w.run.RunDue(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprint(w.got)
}

// A device has one token, the newest; a wrong one is refused; dropping names the way.
func TestTokens(t *testing.T) {
	w := newWorld(t)
	w.save(1, Apple, "one")
	w.save(1, UnifiedPush, "two")
	w.save(2, Android, "three")
	if got := fmt.Sprint(w.tokens()); got != "[two three]" {
		t.Errorf("kept %s", got)
	}
	for _, bad := range []Token{{Way: "pigeon", Token: "x"}, {Way: Apple}, {Way: Apple, Token: string(make([]byte, tokenBytesMax+1))}} {
		bad.Device = device(3)
		if err := w.update(func(tx *store.Tx) error { return Save(tx, alice, bad) }); !errors.Is(err, ErrToken) {
			t.Errorf("%q of %d bytes: %v", bad.Way, len(bad.Token), err)
		}
	}
	err := w.update(func(tx *store.Tx) error {
		return errors.Join(Drop(tx, alice, device(1), Apple), Drop(tx, alice, device(2), Android), Drop(tx, alice, device(9), ""))
	})
	if got := fmt.Sprint(w.tokens()); err != nil || got != "[two]" {
		t.Errorf("%v: kept %s", err, got)
	}
	for i := range tokensMax + 3 {
		w.clk.Advance(time.Second)
		w.save(byte(10+i), Apple, fmt.Sprint(i))
	}
	if got := w.tokens(); len(got) != tokensMax || got[0] != "3" {
		t.Errorf("kept %d from %s on", len(got), got[0])
	}
}

// News that people should hear of wakes their devices, except one that is connected,
// has no courier, or did it itself; other news wakes nobody. Told twice while it waits,
// it is carried once.
func TestNewsWakes(t *testing.T) {
	w := newWorld(t)
	w.save(1, UnifiedPush, "desk")
	w.save(2, UnifiedPush, "phone")
	w.save(3, Apple, "nobody carries")
	w.save(4, UnifiedPush, "awake")
	w.awake = device(4)
	es := []events.Entry{
		{ID: [16]byte{1}, News: events.News{To: alice, Category: "follow", Body: []byte(`{"username":"bob"}`)}},
		{ID: [16]byte{2}, News: events.News{To: alice, Category: "follow", Body: []byte(`{"username":""}`)}},
		{ID: [16]byte{3}, News: events.News{To: alice, Category: "follow", Replace: true}},
		{ID: [16]byte{4}, News: events.News{To: alice, Category: "user.key_change", Body: []byte(`{}`)}},
		{ID: [16]byte{5}, News: events.News{To: alice, Category: "device.new", Body: []byte(`{}`), Skip: device(2)}},
	}
	for range 2 {
		if err := w.s.HearNews(t.Context(), es); err != nil {
			t.Fatal(err)
		}
	}
	const want = "[desk:follow bob follows you bob desk:device.new A device was added to your account  phone:follow bob follows you bob]"
	if got := w.carried(); len(w.got) != 3 || got != want {
		t.Errorf("carried %s", got)
	}
	if got := w.carried(); got != "[]" {
		t.Errorf("carried again %s", got)
	}
}

// "Not now" is tried again, "gone" forgets the token unless it was replaced meanwhile,
// "refused" ends it, and what is too old wakes nobody.
func TestVerdicts(t *testing.T) {
	w := newWorld(t)
	w.save(1, UnifiedPush, "desk")
	send := func(id byte) {
		t.Helper()
		err := w.update(func(tx *store.Tx) error {
			return Send(tx, alice, Notification{ID: [16]byte{id}, Type: "x"}, kbsig.DeviceID{})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	send(1)
	w.says = errors.New("not now")
	if w.carried(); len(w.got) != 1 {
		t.Errorf("carried %s", w.got)
	}
	w.clk.Advance(time.Minute)
	w.says = nil
	if w.carried(); len(w.got) != 1 {
		t.Errorf("not tried again: %s", w.got)
	}
	send(2)
	w.says = fmt.Errorf("never: %w", ErrRefused)
	w.carried()
	w.clk.Advance(time.Hour)
	if w.carried() != "[]" || len(w.tokens()) != 1 {
		t.Errorf("carried %s, %d tokens", w.got, len(w.tokens()))
	}
	send(3)
	w.clk.Advance(tooOld + time.Second)
	w.says = nil
	if got := w.carried(); got != "[]" {
		t.Errorf("carried what is too old: %s", got)
	}
	send(4)
	w.says = fmt.Errorf("no such: %w", ErrGone)
	if w.carried(); len(w.got) != 1 || len(w.tokens()) != 0 {
		t.Errorf("carried %s, %d tokens", w.got, len(w.tokens()))
	}
	w.save(1, UnifiedPush, "another")
	if err := w.s.forget(t.Context(), alice, Token{Device: device(1), Way: UnifiedPush, Token: "desk"}); err != nil || len(w.tokens()) != 1 {
		t.Errorf("%v: a token was forgotten for its predecessor", err)
	}
	err := w.update(func(tx *store.Tx) error {
		return Send(tx, alice, Notification{Type: "x", Text: string(make([]byte, bodyBytesMax))}, kbsig.DeviceID{})
	})
	if !errors.Is(err, ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
}
