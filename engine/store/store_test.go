package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

var ctx = context.Background()

// testRand is a reproducible random source for store ids.
func testRand(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// memOptions are the options of a small store in memory whose Fatal fails the test.
func memOptions(t testing.TB, fs vfs.FS) store.Options {
	return store.Options{
		Dir: "data", FS: fs, Rand: testRand(1), CacheBytes: 1 << 20,
		Clock: clock.NewFake(time.Unix(1_800_000_000, 0)).Now,
		Fatal: func(err error) { t.Errorf("unexpected fatal: %v", err) },
	}
}

func open(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// openMem opens a new store in memory that the test's end closes.
func openMem(t testing.TB) *store.Store {
	t.Helper()
	s := open(t, memOptions(t, vfs.NewMem()))
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

// key is a key of the test's own family, which no room uses.
func key(s string) []byte { return append([]byte{'~'}, s...) }

var allKeys, allKeysEnd = key(""), keys.End(key(""))

// contents reads all of the test's records.
func contents(r store.Reader) (map[string]string, error) {
	m := make(map[string]string)
	err := r.Scan(allKeys, allKeysEnd, func(k, v []byte) error {
		m[string(k[1:])] = string(v)
		return nil
	})
	return m, err
}

func mustContents(t testing.TB, r store.Reader) map[string]string {
	t.Helper()
	m, err := contents(r)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func viewContents(t testing.TB, s *store.Store) map[string]string {
	t.Helper()
	v := s.View()
	defer v.Close()
	return mustContents(t, v)
}

func set(k, v string) func(*store.Tx) error {
	return func(tx *store.Tx) error { tx.Set(key(k), []byte(v)); return nil }
}

func update(t testing.TB, s *store.Store, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.Update(ctx, fn); err != nil {
		t.Fatal(err)
	}
}

// A refused transaction returns its own error and leaves nothing, and one that
// panics takes nobody with it.
func TestRefusalAndPanicLeaveNothing(t *testing.T) {
	t.Parallel()
	s := openMem(t)
	refusal := errors.New("the name is taken")
	// Held back, so that the others gather behind it and share a group.
	hold := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		update(t, s, func(*store.Tx) error { <-hold; return nil })
	}()
	errs := make([]error, 5)
	for i := range errs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = s.Update(ctx, func(tx *store.Tx) error {
				tx.Set(key(fmt.Sprint(i)), []byte("x"))
				switch i {
				case 1:
					return refusal
				case 3:
					panic("a bug")
				}
				return nil
			})
		}()
	}
	close(hold)
	wg.Wait()
	for i, err := range errs {
		switch {
		case i == 1 && !errors.Is(err, refusal):
			t.Errorf("the refusal came back as %v", err)
		case i == 3 && err == nil:
			t.Error("a panic counted as success")
		case i != 1 && i != 3 && err != nil:
			t.Errorf("transaction %d failed with its neighbour: %v", i, err)
		}
	}
	want := map[string]string{"0": "x", "2": "x", "4": "x"}
	if got := viewContents(t, s); !maps.Equal(got, want) {
		t.Errorf("the store holds %v, not %v", got, want)
	}
}

// A transaction reads its own writes, and nobody else does before it ends.
func TestOwnWrites(t *testing.T) {
	t.Parallel()
	s := openMem(t)
	update(t, s, set("kept", "old"))
	update(t, s, set("gone", "old"))
	before := s.View()
	defer before.Close()
	update(t, s, func(tx *store.Tx) error {
		tx.Set(key("kept"), []byte("new"))
		tx.Set(key("empty"), nil)
		tx.Delete(key("gone"))
		tx.Delete(key("never"))
		if v, err := tx.Get(key("kept")); err != nil || string(v) != "new" {
			t.Errorf("own write read as %q, %v", v, err)
		}
		if v, err := tx.Get(key("empty")); err != nil || v == nil || len(v) != 0 {
			t.Errorf("own empty value read as %v, %v", v, err)
		}
		for _, k := range []string{"gone", "never"} {
			if _, err := tx.Get(key(k)); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("own deletion of %s read as %v", k, err)
			}
		}
		if got := viewContents(t, s); got["kept"] != "old" {
			t.Error("a view shows a running transaction")
		}
		return nil
	})
	want := map[string]string{"kept": "new", "empty": ""}
	if got := viewContents(t, s); !maps.Equal(got, want) {
		t.Errorf("after: %v, not %v", got, want)
	}
	if got := mustContents(t, before); !maps.Equal(got, map[string]string{"kept": "old", "gone": "old"}) {
		t.Errorf("a view changed to %v", got)
	}
}

// Who still reads when the store is closed reads to the end.
func TestCloseWaitsForReaders(t *testing.T) {
	t.Parallel()
	s := openMem(t)
	update(t, s, set("a", "value"))
	v := s.View()
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	for { // until closing has come so far that nobody new may read
		late := s.View()
		_, err := late.Get(key("a"))
		late.Close()
		if errors.Is(err, store.ErrStopped) {
			break
		}
		runtime.Gosched()
	}
	if got := mustContents(t, v); !maps.Equal(got, map[string]string{"a": "value"}) {
		t.Errorf("read %v while it was closed", got)
	}
	v.Close()
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
}

// Who never stops reading does not keep the store from ending, and reads on unharmed.
func TestCloseGivesUpOnReaders(t *testing.T) {
	t.Parallel()
	s := open(t, memOptions(t, vfs.NewMem()))
	update(t, s, set("a", "value"))
	v := s.View()
	defer v.Close()
	if err := s.Close(); !errors.Is(err, store.ErrInUse) {
		t.Errorf("close: %v", err)
	}
	if got := mustContents(t, v); !maps.Equal(got, map[string]string{"a": "value"}) {
		t.Errorf("read %v afterwards", got)
	}
}

// What Get returns belongs to the caller: changing it changes nothing in the store.
func TestGetReturnsACopy(t *testing.T) {
	t.Parallel()
	s := openMem(t)
	update(t, s, func(tx *store.Tx) error {
		tx.Set(key("a"), []byte("value"))
		v, err := tx.Get(key("a"))
		if err != nil {
			return err
		}
		v[0] = 'X'
		return nil
	})
	v := s.View()
	defer v.Close()
	for range 2 {
		b, err := v.Get(key("a"))
		if err != nil || string(b) != "value" {
			t.Fatalf("read %q, %v", b, err)
		}
		b[0] = 'X'
	}
}

// A scan may write and delete what it is shown: it still shows each record once.
func TestScanThatDeletes(t *testing.T) {
	t.Parallel()
	s := openMem(t)
	update(t, s, set("b", "stored"))
	update(t, s, func(tx *store.Tx) error {
		for _, k := range []string{"a", "c"} {
			tx.Set(key(k), []byte("own"))
		}
		var seen []string
		err := tx.Scan(allKeys, allKeysEnd, func(k, _ []byte) error {
			seen = append(seen, string(k[1:]))
			tx.Delete(bytes.Clone(k))
			return nil
		})
		if want := []string{"a", "b", "c"}; err != nil || !slices.Equal(seen, want) {
			t.Errorf("saw %v, %v", seen, err)
		}
		return err
	})
	if got := viewContents(t, s); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

// All transactions of a group share one time, and times follow the store's clock.
func TestTransactionTime(t *testing.T) {
	t.Parallel()
	fake := clock.NewFake(time.Unix(1000, 0))
	o := memOptions(t, vfs.NewMem())
	o.Clock = fake.Now
	s := open(t, o)
	defer closeStore(t, s)
	for _, want := range []int64{1000, 1007} {
		update(t, s, func(tx *store.Tx) error {
			if tx.Now().Unix() != want || s.Now().Unix() != want {
				t.Errorf("at %d the transaction says %d", want, tx.Now().Unix())
			}
			return nil
		})
		fake.Advance(7 * time.Second)
	}
}

// A caller whose context ends while the queue is full leaves without its
// transaction; one that is queued stays until the outcome is known.
func TestUpdateContext(t *testing.T) {
	t.Parallel()
	const queue, tooMany = 8192, 50
	s := openMem(t)
	hold, running := make(chan struct{}), make(chan struct{})
	cancelled, cancel := context.WithCancel(ctx)
	done := make(chan error)
	go func() {
		done <- s.Update(cancelled, func(tx *store.Tx) error {
			close(running)
			<-hold
			return set("first", "")(tx)
		})
	}()
	<-running
	for i := range queue + tooMany {
		go func() { done <- s.Update(cancelled, set(fmt.Sprint(i), "")) }()
	}
	cancel()
	left := 0
	for ; left < tooMany; left++ {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatalf("before anything could run: %v", err)
		}
	}
	close(hold)
	for range queue + 1 {
		if err := <-done; errors.Is(err, context.Canceled) {
			left++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if got := viewContents(t, s); len(got) != 1+queue+tooMany-left {
		t.Errorf("%d records, though %d of %d left", len(got), left, 1+queue+tooMany)
	}
}

// Close finishes what was queued; afterwards updates fail and views read nothing,
// and nothing hangs or is left running.
func TestCloseWhileWriting(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	fs := vfs.NewMem()
	s := open(t, memOptions(t, fs))
	var mu sync.Mutex
	acked := make(map[string]string)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				k := fmt.Sprintf("%d/%d", w, i)
				if err := s.Update(ctx, set(k, k)); err != nil {
					if !errors.Is(err, store.ErrStopped) {
						t.Errorf("after Close: %v", err)
					}
					return
				}
				mu.Lock()
				acked[k] = k
				mu.Unlock()
			}
		}()
	}
	for len(viewContents(t, s)) < 100 {
	}
	closeStore(t, s)
	wg.Wait()
	closeStore(t, s) // again: nothing happens
	if err := s.Update(ctx, set("late", "")); !errors.Is(err, store.ErrStopped) {
		t.Errorf("update after Close: %v", err)
	}
	v := s.View()
	if _, err := v.Get(key("0/0")); !errors.Is(err, store.ErrStopped) {
		t.Errorf("read after Close: %v", err)
	}
	if _, err := contents(v); !errors.Is(err, store.ErrStopped) {
		t.Errorf("scan after Close: %v", err)
	}
	v.Close()

	s = open(t, memOptions(t, fs))
	got := viewContents(t, s)
	for k := range acked {
		if got[k] != k {
			t.Fatalf("%s was acknowledged and is gone", k)
		}
	}
	if len(got) != len(acked) {
		t.Errorf("%d records of %d acknowledged transactions", len(got), len(acked))
	}
	closeStore(t, s)
	goleak.VerifyNone(t, ignore)
}

// Records decode to what was encoded, equal records have equal bytes, and a record
// written before a field existed reads with that field's zero value.
func TestRecords(t *testing.T) {
	t.Parallel()
	type old struct {
		A int               `codec:"a"`
		M map[string]string `codec:"m"`
	}
	type newer struct {
		A int               `codec:"a"`
		M map[string]string `codec:"m"`
		B [4]byte           `codec:"b"`
	}
	in := old{A: -7, M: map[string]string{"x": "1", "y": "2", "z": "3"}}
	b := store.Encode(in)
	for range 20 {
		if again := store.Encode(old{A: -7, M: maps.Clone(in.M)}); !bytes.Equal(b, again) {
			t.Fatal("equal records with different bytes")
		}
	}
	got, err := store.Decode[newer](b)
	if err != nil || got.A != in.A || !maps.Equal(got.M, in.M) || got.B != [4]byte{} {
		t.Errorf("decoded %+v, %v", got, err)
	}
	back, err := store.Decode[old](store.Encode(newer{A: 1, B: [4]byte{1, 2, 3, 4}}))
	if err != nil || back.A != 1 {
		t.Errorf("an older reader got %+v, %v", back, err)
	}
	if _, err := store.Decode[old]([]byte{0xc1, 0xff}); err == nil {
		t.Error("decoded rubbish")
	}
	s := openMem(t)
	update(t, s, func(tx *store.Tx) error { store.Save(tx, key("r"), in); return nil })
	v := s.View()
	defer v.Close()
	if got, err := store.Load[old](v, key("r")); err != nil || got.A != in.A {
		t.Errorf("loaded %+v, %v", got, err)
	}
	if _, err := store.Load[old](v, key("none")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("loading nothing: %v", err)
	}
	for k, want := range map[string]bool{"r": true, "none": false} {
		if got, err := store.Has(v, key(k)); err != nil || got != want {
			t.Errorf("has %s: %v, %v", k, got, err)
		}
	}
}

// slowDisk holds its next sync until it is let go.
type slowDisk struct {
	vfs.FS
	hold chan struct{}
}

func (d slowDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return slowFile{f, d.hold}, err
}

type slowFile struct {
	vfs.File
	hold chan struct{}
}

func (f slowFile) SyncData() error {
	<-f.hold
	return f.File.SyncData()
}

// A disk that takes long is named in the log while it still does, and the transaction
// that waits for it succeeds in the end.
func TestSlowDiskIsLogged(t *testing.T) {
	t.Parallel()
	d := slowDisk{vfs.NewMem(), make(chan struct{}, 1000)}
	for range cap(d.hold) {
		d.hold <- struct{}{}
	}
	slow := make(chan string, 10)
	o := memOptions(t, d)
	o.Logger = slog.New(slowHandler{slow})
	s := open(t, o)
	for len(d.hold) > 0 {
		<-d.hold
	}
	done := make(chan error, 1)
	go func() { done <- s.Update(ctx, set("a", "1")) }()
	if got := <-slow; !strings.Contains(got, "slow disk") { // a second or more of waiting
		t.Errorf("logged %q", got)
	}
	select {
	case err := <-done:
		t.Errorf("the transaction did not wait: %v", err)
	default:
	}
	close(d.hold)
	if err := <-done; err != nil {
		t.Error(err)
	}
	closeStore(t, s)
}

// slowHandler passes warnings on.
type slowHandler struct{ said chan string }

func (slowHandler) Enabled(_ context.Context, l slog.Level) bool { return l == slog.LevelWarn }
func (h slowHandler) Handle(_ context.Context, r slog.Record) error {
	select {
	case h.said <- r.Message:
	default:
	}
	return nil
}
func (h slowHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h slowHandler) WithGroup(string) slog.Handler      { return h }
