package store_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/keystead/keystead/engine/store"
)

// seal is what tally returns: the sum of all notes so far.
type seal struct{ sum, seals int }

// tally is a sealer that keeps, in the same batch, a record of what it summed up.
type tally struct {
	last       *seal
	failSeal   error
	failAfter  error
	durable    func(*seal)
	sealNotes  [][]any
	durableSum []int
}

func (y *tally) Seal(tx *store.Tx, notes []any) (any, error) {
	y.sealNotes = append(y.sealNotes, notes)
	if y.failSeal != nil {
		tx.Set(key("half"), nil)
		return nil, y.failSeal
	}
	if len(notes) == 0 {
		return y.last, nil
	}
	next := &seal{sum: y.last.sum, seals: y.last.seals + 1}
	for _, n := range notes {
		next.sum += n.(int)
	}
	tx.Set(key("sum"), fmt.Append(nil, next.sum))
	y.last = next
	return next, nil
}

func (y *tally) Durable(sealed any) error {
	y.durableSum = append(y.durableSum, sealed.(*seal).sum)
	if y.durable != nil {
		y.durable(sealed.(*seal))
	}
	return y.failAfter
}

func note(n int) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		tx.Set(key(fmt.Sprintf("note %d", n)), nil)
		tx.Note(n)
		return nil
	}
}

// together runs transactions that wait for each other, so that they share a group
// as far as the scheduler lets them.
func together(s *store.Store, fns ...func(*store.Tx) error) []error {
	hold := make(chan struct{})
	errs := make([]error, len(fns))
	var wg, queued sync.WaitGroup
	wg.Add(1)
	queued.Add(1)
	go func() {
		defer wg.Done()
		_ = s.Update(ctx, func(*store.Tx) error { queued.Done(); <-hold; return nil })
	}()
	queued.Wait()
	for i, fn := range fns {
		wg.Add(1)
		go func() { defer wg.Done(); errs[i] = s.Update(ctx, fn) }()
	}
	close(hold)
	wg.Wait()
	return errs
}

// The sealer sees the notes of accepted transactions only, each once, in the order
// in which they ran; its writes are in the batch of their group, and what it
// returned is on the views of just that state.
func TestSealEachGroupOnce(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s := open(t, memOptions(t, fs))
	y := &tally{last: &seal{}}
	s.SetSealer(y, y.last)
	want := 0
	for round := range 20 {
		var fns []func(*store.Tx) error
		for i := range 10 {
			n := round*10 + i
			switch i {
			case 3:
				fns = append(fns, func(tx *store.Tx) error { tx.Note(1 << 20); return errRefused })
			case 6:
				fns = append(fns, func(tx *store.Tx) error { tx.Note(1 << 20); panic("as asked") })
			default:
				fns = append(fns, note(n))
				want += n
			}
		}
		for i, err := range together(s, fns...) {
			if (err != nil) != (i == 3 || i == 6) {
				t.Fatalf("transaction %d: %v", i, err)
			}
		}
		v := s.View()
		got := mustContents(t, v)
		if sealed := v.Sealed().(*seal); sealed.sum != want || got["sum"] != fmt.Sprint(want) {
			t.Fatalf("after round %d: sealed %d, stored %s, not %d", round, sealed.sum, got["sum"], want)
		}
		v.Close()
	}
	update(t, s, set("no note", ""))
	closeStore(t, s)

	seen := make(map[any]bool)
	for _, group := range y.sealNotes {
		for _, n := range group {
			if seen[n] || n.(int) >= 1<<20 {
				t.Errorf("note %v was sealed twice or refused", n)
			}
			seen[n] = true
		}
	}
	if len(seen) != 20*8 {
		t.Errorf("%d notes were sealed", len(seen))
	}
	if !slices.IsSorted(y.durableSum) || len(slices.Compact(slices.Clone(y.durableSum))) != len(y.durableSum) {
		t.Errorf("durable sums do not grow: %v", y.durableSum)
	}
	if len(y.durableSum) != y.last.seals {
		t.Errorf("%d seals, %d of them durable", y.last.seals, len(y.durableSum))
	}
}

// What the sealer returned for a group is durable before Durable hears of it, and
// published only afterwards; nobody is answered before that.
func TestDurableStandsBetweenFsyncAndPublication(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	s := open(t, memOptions(t, fs))
	y := &tally{last: &seal{}}
	s.SetSealer(y, y.last)
	answered := false
	y.durable = func(next *seal) {
		if shown := viewContents(t, s)["sum"]; shown == fmt.Sprint(next.sum) {
			t.Errorf("sum %d was published before Durable", next.sum)
		}
		if answered {
			t.Error("the caller was answered before Durable")
		}
		// The power goes now, and takes all that was not synced.
		crashed := open(t, memOptions(t, fs.CrashClone(vfs.CrashCloneCfg{})))
		defer closeStore(t, crashed)
		if got := viewContents(t, crashed)["sum"]; got != fmt.Sprint(next.sum) {
			t.Errorf("Durable was told of sum %d, but the disk has %q", next.sum, got)
		}
	}
	for n := 1; n <= 10; n++ {
		answered = false
		update(t, s, note(n))
		answered = true
	}
	if y.last.sum != 55 || len(y.durableSum) != 10 {
		t.Errorf("sum %d, told %v", y.last.sum, y.durableSum)
	}
	closeStore(t, s)
}

// A group in which everything is refused is no group: nothing is sealed. A seal that
// changes without a write of its own is published all the same.
func TestSealOfNothing(t *testing.T) {
	t.Parallel()
	s := openMem(t)
	y := &tally{last: &seal{}}
	s.SetSealer(y, y.last)
	if err := s.Update(ctx, func(*store.Tx) error { return errRefused }); err != errRefused {
		t.Errorf("refusal: %v", err)
	}
	if len(y.sealNotes) != 0 {
		t.Errorf("sealed %v", y.sealNotes)
	}
	bare := sealFunc(func(*store.Tx, []any) (any, error) { return &seal{sum: 7}, nil })
	s2 := openMem(t)
	s2.SetSealer(bare, (*seal)(nil))
	update(t, s2, func(tx *store.Tx) error { tx.Note("only"); return nil })
	v := s2.View()
	defer v.Close()
	if got := v.Sealed().(*seal); got == nil || got.sum != 7 {
		t.Errorf("published with %v", got)
	}
}

type sealFunc func(*store.Tx, []any) (any, error)

func (f sealFunc) Seal(tx *store.Tx, notes []any) (any, error) { return f(tx, notes) }
func (sealFunc) Durable(any) error                             { return nil }

// When the seal, the step after the fsync or the fsync itself fails, the store stops:
// Fatal is called once, nothing later succeeds or is published, and what was
// acknowledged before is still there.
func TestFailuresStopTheStore(t *testing.T) {
	t.Parallel()
	fault := errors.New("fault")
	for name, spoil := range map[string]func(y *tally, disk *errorfs.Toggle){
		"seal":    func(y *tally, _ *errorfs.Toggle) { y.failSeal = fault },
		"durable": func(y *tally, _ *errorfs.Toggle) { y.failAfter = fault },
		"fsync":   func(_ *tally, disk *errorfs.Toggle) { disk.On() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
				if strings.HasSuffix(op.Path, ".log") && isSync(op.Kind) {
					return fault
				}
				return nil
			})}
			mem := vfs.NewCrashableMem()
			o := memOptions(t, errorfs.Wrap(mem, disk))
			fatals := make(chan error, 10)
			o.Fatal = func(err error) { fatals <- err }
			s := open(t, o)
			y := &tally{last: &seal{}}
			s.SetSealer(y, y.last)
			update(t, s, note(1))
			before := s.View()

			update(t, s, set("before", ""))
			spoil(y, disk)
			for i, err := range together(s, note(2), note(3), func(*store.Tx) error { return errRefused }) {
				if !errors.Is(err, store.ErrStopped) {
					t.Errorf("transaction %d in or after the failed group: %v", i, err)
				}
			}
			disk.Off() // healthy again, but the store cannot know what it lost
			y.failSeal, y.failAfter = nil, nil
			for range 3 {
				if err := s.Update(ctx, note(4)); !errors.Is(err, store.ErrStopped) {
					t.Errorf("later: %v", err)
				}
			}
			if err := <-fatals; !errors.Is(err, fault) {
				t.Errorf("Fatal was told %v", err)
			}
			want := map[string]string{"note 1": "", "sum": "1", "before": ""}
			if got := viewContents(t, s); !maps.Equal(got, want) {
				t.Errorf("the view moved to %v", got)
			}
			before.Close()
			if err := s.Close(); !errors.Is(err, store.ErrStopped) {
				t.Errorf("Close of a stopped store: %v", err)
			}
			select {
			case err := <-fatals:
				t.Errorf("Fatal was called again with %v", err)
			default:
			}

			if name == "seal" { // then the group was not even written
				all := vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: testRNG(0)}
				s := open(t, memOptions(t, mem.CrashClone(all)))
				if got := viewContents(t, s); !maps.Equal(got, want) {
					t.Errorf("a group without a seal left %v", got)
				}
				closeStore(t, s)
			}
			s = open(t, memOptions(t, mem.CrashClone(vfs.CrashCloneCfg{})))
			got := viewContents(t, s)
			if _, ok := got["before"]; !ok || got["sum"] == "" {
				t.Errorf("acknowledged records are gone: %v", got)
			}
			if _, ok := got["half"]; ok {
				t.Error("a failed seal left a write")
			}
			closeStore(t, s)
		})
	}
}

func isSync(k errorfs.OpKind) bool {
	return k == errorfs.OpFileSync || k == errorfs.OpFileSyncData || k == errorfs.OpFileSyncTo
}
