package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/engine/faultfs"
	"github.com/keystead/keystead/engine/store"
)

// Each write operation of a store's life, one after the other, is made to fail:
// without effect, half done or in spite of it, once or for good. The store either lives through
// it or stops; it never acknowledges what it does not hold, and after a stop nothing
// succeeds.
func TestEveryWriteFails(t *testing.T) {
	t.Parallel()
	for _, kind := range faultfs.Kinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			n := 0
			for ; ; n++ {
				if !testFault(t, n, kind) {
					break
				}
			}
			if n < 40 {
				t.Errorf("only %d operations were tried", n)
			}
		})
	}
}

// testFault runs a short life of a store, failing write operation n, and reports
// whether there was an operation n.
func testFault(t *testing.T, n int, kind faultfs.Kind) bool {
	mem := vfs.NewCrashableMem()
	l := newLedger("payload")
	var at string
	var stopped atomic.Bool
	ended := make(chan string, 10)   // how the process ended, or would have
	var after []faultfs.Crash[known] // the disks that it may have left
	cut := func() {
		now := l.known()
		for _, percent := range []int{0, 100} {
			after = append(after, faultfs.Crash[known]{Known: now, FS: faultfs.Clone(mem, percent, testRNG(n))})
		}
	}
	d := &faultfs.Disk{
		FS: mem, FailAt: n, Kind: kind,
		Failed: func(op faultfs.Op) { at = op.String() },
		// When it cannot sync a folder Pebble panics, on a goroutine of its own: that is
		// the end of the process, and what is left of it here stands still.
		Fatal: func(op faultfs.Op) bool {
			if op.What == faultfs.SyncFolder {
				ended <- "panic"
			}
			return op.What == faultfs.SyncFolder
		},
	}
	o := memOptions(t, d)
	var once sync.Once
	o.Fatal = func(error) {
		once.Do(cut)
		stopped.Store(true)
		ended <- "Fatal"
	}
	lived := make(chan error, 1)
	go func() {
		err := faultyLife(l, o)
		if err == nil && !stopped.Load() {
			err = faultyLife(l, o) // flushes the log of the first life
		}
		lived <- err
	}()
	var err error
	for alive, fatals := true, 0; alive; {
		select {
		case err = <-lived:
			alive = false
		case how := <-ended:
			if alive = how != "panic"; alive {
				fatals++
			}
			if fatals > 1 {
				err = errors.New("Fatal was called again")
				alive = false
			}
		}
	}
	once.Do(func() {})
	cut()
	for i, c := range after {
		err = errors.Join(err, prefix(fmt.Sprintf("disk %d of %d", i, len(after)), c.Known.check(c.FS)))
	}
	if err != nil {
		t.Errorf("%s: %s: %v", kind, at, err)
	}
	return d.HasFailed()
}

func prefix(what string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
	}
	return err
}

// faultyLife opens a store, writes and closes it, as far as the disk lets it.
func faultyLife(l *ledger, o store.Options) error {
	stopped := make(chan struct{})
	fatal := o.Fatal
	o.Fatal = func(err error) { fatal(err); close(stopped) }
	s, err := store.Open(o)
	if err != nil {
		return nil // refused to start: nothing was promised
	}
	for range 6 {
		after := false
		select {
		case <-stopped:
			after = true
		default:
		}
		switch err := l.write(s); {
		case err == nil && after:
			return errors.New("a transaction succeeded after the stop")
		case errors.Is(err, store.ErrStopped):
			<-stopped // a stop without Fatal hangs here
		case err != nil:
			return fmt.Errorf("a transaction failed without a stop: %w", err)
		}
		if err := l.look(s); err != nil {
			return fmt.Errorf("look: %w", err)
		}
	}
	_ = s.Close() // may fail: the disk does
	return nil
}
