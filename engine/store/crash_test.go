package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/engine/faultfs"
	"github.com/keystead/keystead/engine/store"
)

// ledger is what the outside world knows of a store: which transactions were
// acknowledged, which were shown by a view.
type ledger struct {
	mu      sync.Mutex
	serial  int // of the newest transaction that ran; committer only
	acked   map[int]bool
	shown   int // every transaction up to this one has been seen
	payload string
}

func newLedger(payload string) *ledger {
	return &ledger{acked: map[int]bool{}, payload: payload}
}

// known is a ledger at one moment.
type known struct {
	acked []int
	shown int
}

func (l *ledger) known() known {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := known{shown: l.shown}
	for n := range l.acked {
		k.acked = append(k.acked, n)
	}
	return k
}

// write runs one transaction of two keys, which carry its serial number.
func (l *ledger) write(s *store.Store) error {
	var n int
	err := s.Update(ctx, func(tx *store.Tx) error {
		l.serial++
		n = l.serial
		tx.Set(key(fmt.Sprintf("left/%06d", n)), []byte(l.payload))
		tx.Set(key(fmt.Sprintf("right/%06d", n)), []byte(l.payload))
		return nil
	})
	if err == nil {
		l.mu.Lock()
		l.acked[n] = true
		l.mu.Unlock()
	}
	return err
}

// refuse runs a transaction that must leave nothing.
func (l *ledger) refuse(s *store.Store) error {
	err := s.Update(ctx, func(tx *store.Tx) error {
		tx.Set(key(fmt.Sprintf("left/refused after %06d", l.serial)), nil)
		return errRefused
	})
	if errors.Is(err, errRefused) {
		return nil
	}
	return err
}

// look notes what a view shows.
func (l *ledger) look(s *store.Store) error {
	v := s.View()
	defer v.Close()
	n, err := whole(v)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown = max(l.shown, n)
	return err
}

// whole checks that a store holds the transactions 1 to n and no half of any other,
// and returns n.
func whole(r store.Reader) (int, error) {
	got, err := contents(r)
	if err != nil {
		return 0, err
	}
	n := len(got) / 2
	for i := 1; i <= n; i++ {
		_, left := got[fmt.Sprintf("left/%06d", i)]
		_, right := got[fmt.Sprintf("right/%06d", i)]
		if !left || !right {
			return n, fmt.Errorf("%d records, of transaction %d left: %v, right: %v", len(got), i, left, right)
		}
	}
	if len(got) != 2*n {
		return n, fmt.Errorf("%d records: some are of nobody", len(got))
	}
	return n, nil
}

// check opens what a crash left and compares it with what was known before.
func (k known) check(fs vfs.FS) error {
	var fatal error
	s, err := store.Open(store.Options{
		Dir: "data", FS: fs, Rand: testRand(2), CacheBytes: 1 << 20,
		Fatal: func(err error) { fatal = err },
	})
	if err != nil {
		return fmt.Errorf("open after the crash: %w", err)
	}
	v := s.View()
	n, err := whole(v)
	v.Close()
	if err == nil {
		for _, a := range k.acked {
			if a > n {
				err = fmt.Errorf("transaction %d was acknowledged, the store ends with %d", a, n)
			}
		}
		if k.shown > n {
			err = fmt.Errorf("transaction %d was shown, the store ends with %d", k.shown, n)
		}
	}
	// And it goes on from there.
	if err == nil {
		err = s.Update(ctx, func(tx *store.Tx) error { tx.Set([]byte("\x7fagain"), nil); return nil })
	}
	return errors.Join(err, fatal, s.Close())
}

// The power may go before any write to the disk, and take none, some or all of what
// was not synced: everything that was acknowledged or shown is there afterwards, no
// transaction is half there, and what is there is an unbroken history. It may go
// again while the store recovers.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	for _, percent := range []int{0, 10, 50, 100} {
		for _, size := range []int{10, 1500} { // within and across blocks of the log
			t.Run(fmt.Sprintf("%d percent kept, %d bytes", percent, size), func(t *testing.T) {
				t.Parallel()
				testPowerLoss(t, percent, size)
			})
		}
	}
}

func testPowerLoss(t *testing.T, percent, size int) {
	const writers, txPerWriter = 4, 60
	rng := rand.New(rand.NewPCG(uint64(percent), uint64(size)))
	l := newLedger(string(make([]byte, size)))
	c := &faultfs.Cutter[known]{Mem: vfs.NewCrashableMem(), RNG: rng, Percent: percent, OneIn: 6, Known: l.known}
	s := open(t, memOptions(t, &faultfs.Disk{FS: c.Mem, FailAt: -1, Before: c.Before}))
	var wg sync.WaitGroup
	for range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range txPerWriter {
				if err := errors.Join(l.write(s), l.look(s)); err != nil {
					t.Error(err)
				}
				if i%7 == 0 {
					if err := l.refuse(s); err != nil {
						t.Error(err)
					}
				}
			}
		}()
	}
	wg.Wait()
	c.Cut("at the end")
	found := c.Found()
	closeStore(t, s)
	if n := len(l.known().acked); n != writers*txPerWriter || len(found) < 50 {
		t.Fatalf("only %d transactions and %d crashes", n, len(found))
	}
	for i, first := range found {
		again := []faultfs.Crash[known]{first}
		if i%10 == 0 {
			second := &faultfs.Cutter[known]{
				Mem: first.FS, RNG: rng, Percent: percent, OneIn: 4, Known: func() known { return first.Known },
			}
			if err := first.Known.check(&faultfs.Disk{FS: first.FS, FailAt: -1, Before: second.Before}); err != nil {
				t.Errorf("%s: %v", first.What, err)
			}
			again = second.Found()
		}
		for _, c := range again {
			if err := c.Known.check(c.FS); err != nil {
				t.Errorf("%s; %s, %d acknowledged, %d shown: %v", first.What, c.What, len(c.Known.acked), c.Known.shown, err)
			}
		}
	}
}

func testRNG(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 0)) }
