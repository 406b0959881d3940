package gregor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	alice = kbsig.UIDOf("alice")
	bob   = kbsig.UIDOf("bob")
	start = time.UnixMilli(1_700_000_000_000)
)

// testLog keeps rows in memory and can fail in the two ways that a log can.
type testLog struct {
	mu     sync.Mutex
	rows   map[string][]byte
	fail   error // the next Commit's error
	happen bool  // whether it happened all the same
	wakes  []Wake
}

func (l *testLog) View(context.Context) (View, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return moment(maps.Clone(l.rows)), nil
}

func (l *testLog) Commit(_ context.Context, u kbsig.UID, c Change) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.fail
	l.fail = nil
	if err != nil && !l.happen {
		return err
	}
	if err := c.fits(book{moment(l.rows), u}); err != nil {
		return err
	}
	if l.rows == nil {
		l.rows = make(map[string][]byte)
	}
	for _, r := range c.rows(u) {
		if r.value == nil {
			delete(l.rows, string(r.key))
		} else {
			l.rows[string(r.key)] = r.value
		}
	}
	l.wakes = append(l.wakes, c.Wake...)
	return err
}

// records are those of a user.
func (l *testLog) records(t failer, u kbsig.UID) []Record {
	v, _ := l.View(context.Background())
	rs, err := book{v, u}.all()
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// moment is a View of rows in memory.
type moment map[string][]byte

func (m moment) Close() {}

func (m moment) Get(key []byte) ([]byte, error) {
	v, ok := m[string(key)]
	if !ok {
		return nil, store.ErrNotFound
	}
	return bytes.Clone(v), nil
}

func (m moment) Scan(lo, hi []byte, fn func(k, v []byte) error) error {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if k < string(lo) || hi != nil && k >= string(hi) {
			continue
		}
		if err := fn([]byte(k), m[k]); errors.Is(err, store.ErrStop) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (m moment) ScanReverse([]byte, []byte, func(k, v []byte) error) error {
	return errors.New("nobody reads backwards")
}

// hashes is an endless source of distinct bytes.
type hashes struct{ sum [32]byte }

func (h *hashes) Read(b []byte) (int, error) {
	h.sum = sha256.Sum256(h.sum[:])
	return copy(b, h.sum[:]), nil
}

func newService(l Log) (*Service, *clock.Fake) {
	c := clock.NewFake(start)
	return New(Options{Log: l, Clock: c.Now, Rand: &hashes{}}), c
}

// ears is a sink that remembers.
type ears struct {
	mu      sync.Mutex
	heard   []*gregor1.Message
	dropped string
}

func (e *ears) Deliver(m *gregor1.Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, m)
}

func (e *ears) Drop(reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropped = reason
}

func (e *ears) take() []*gregor1.Message {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.heard
	e.heard = nil
	return h
}

func creation(id, category, body string) gregor1.Message {
	return gregor1.Message{InBand: &gregor1.InBandMessage{StateUpdate: &gregor1.StateUpdateMessage{
		Metadata: gregor1.Metadata{MsgID: []byte(id), InBandMsgType: gregor1.InBandUpdate},
		Creation: &gregor1.Item{Category: category, Body: []byte(body)},
	}}}
}

// What was acknowledged is there after the store was closed and opened again, as the
// same state with the same hash.
func TestStoreLogSurvivesReopening(t *testing.T) {
	dir := t.TempDir()
	open := func() (*store.Store, *Service) {
		st, err := store.Open(store.Options{Dir: dir, Rand: &hashes{}})
		if err != nil {
			t.Fatal(err)
		}
		s, _ := newService(StoreLog(st))
		return st, s
	}
	st, s := open()
	for _, m := range []gregor1.Message{creation("1", "a", "x"), creation("2", "b", ""), creation("3", "a", "y")} {
		if err := s.Consume(t.Context(), alice, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Consume(t.Context(), bob, creation("1", "b", "other")); err != nil {
		t.Fatal(err)
	}
	if err := s.Dismiss(t.Context(), alice, [][]byte{[]byte("1")}); err != nil {
		t.Fatal(err)
	}
	before, err := s.Since(t.Context(), alice, kbsig.DeviceID{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}

	st, s = open()
	defer st.Close()
	after, err := s.Since(t.Context(), alice, kbsig.DeviceID{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	state, err := s.State(t.Context(), alice, kbsig.DeviceID{}, gregor1.TimeOrOffset{}, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(state.Items) != 2 || string(before.Hash) != string(after.Hash) || len(after.Msgs) != len(before.Msgs) {
		t.Errorf("%d items, %d messages before and %d after", len(state.Items), len(before.Msgs), len(after.Msgs))
	}
	for _, it := range state.Items {
		if it.Item.Body == nil {
			t.Errorf("item %s has no body: clients crash on it", it.Metadata.MsgID)
		}
	}
}

// A message whose commit failed is told to nobody; sent again it takes place once,
// whether or not the first attempt did.
func TestCommitFaults(t *testing.T) {
	broken := errors.New("disk")
	for _, happened := range []bool{false, true} {
		l := &testLog{}
		s, _ := newService(l)
		e := &ears{}
		_, sub, err := s.Subscribe(t.Context(), alice, kbsig.DeviceID{}, e)
		if err != nil {
			t.Fatal(err)
		}
		l.fail, l.happen = broken, happened
		if err := s.Consume(t.Context(), alice, creation("1", "a", "x")); !errors.Is(err, broken) {
			t.Fatalf("happened %v: %v", happened, err)
		}
		if h := e.take(); len(h) != 0 {
			t.Fatalf("happened %v: %d messages told before they were kept", happened, len(h))
		}
		for range 2 {
			if err := s.Consume(t.Context(), alice, creation("1", "a", "x")); err != nil {
				t.Fatal(err)
			}
		}
		st, err := s.State(t.Context(), alice, kbsig.DeviceID{}, gregor1.TimeOrOffset{}, "")
		if err != nil || len(st.Items) != 1 {
			t.Fatalf("happened %v: %d items, %v", happened, len(st.Items), err)
		}
		if h := e.take(); len(h) > 1 {
			t.Fatalf("happened %v: told %d times", happened, len(h))
		}
		sub.Cancel()
	}
}
