package store_test

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/engine/store"
)

var errDisk = errors.New("the disk failed")

// faultyDisk fails one write operation, or that and all later ones. An operation
// fails without having happened or, if late is set, after it has happened.
type faultyDisk struct {
	vfs.FS
	late, stays bool

	mu       sync.Mutex
	left     int // operations until the fault; negative: never
	failed   bool
	onFailed func(op string)
	onDeath  func()
	count    int
}

// fault is called around each write operation.
func (d *faultyDisk) fault(op string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	if d.failed {
		if d.stays {
			return errDisk
		}
		return nil
	}
	if d.left < 0 {
		return nil
	}
	if d.left--; d.left >= 0 {
		return nil
	}
	d.failed = true
	d.onFailed(op)
	return errDisk
}

// do runs one write operation with its fault.
func (d *faultyDisk) do(op string, f func() error) error {
	if d.late {
		return errors.Join(f(), d.fault(op))
	}
	if err := d.fault(op); err != nil {
		return err
	}
	return f()
}

func (d *faultyDisk) file(op string, open func() (vfs.File, error)) (f vfs.File, err error) {
	if err = d.do(op, func() error { f, err = open(); return err }); err != nil {
		return nil, err
	}
	return faultyFile{f, d}, nil
}

func (d *faultyDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.file("create "+name, func() (vfs.File, error) { return d.FS.Create(name, c) })
}

func (d *faultyDisk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.file("open "+name, func() (vfs.File, error) { return d.FS.OpenReadWrite(name, c, opts...) })
}

func (d *faultyDisk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.file("reuse "+from, func() (vfs.File, error) { return d.FS.ReuseForWrite(from, to, c) })
}

func (d *faultyDisk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return faultyDir{f, d}, nil
}

func (d *faultyDisk) Remove(name string) error {
	return d.do("remove "+name, func() error { return d.FS.Remove(name) })
}

func (d *faultyDisk) Rename(from, to string) error {
	return d.do("rename "+from, func() error { return d.FS.Rename(from, to) })
}

func (d *faultyDisk) Link(from, to string) error {
	return d.do("link "+from, func() error { return d.FS.Link(from, to) })
}

func (d *faultyDisk) Lock(name string) (l io.Closer, err error) {
	err = d.do("lock "+name, func() error { l, err = d.FS.Lock(name); return err })
	return l, err
}

func (d *faultyDisk) Unwrap() vfs.FS { return d.FS }

type faultyFile struct {
	vfs.File
	d *faultyDisk
}

func (f faultyFile) Write(b []byte) (n int, err error) {
	err = f.d.do("write", func() error { n, err = f.File.Write(b); return err })
	return n, err
}

func (f faultyFile) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.d.do("write at", func() error { n, err = f.File.WriteAt(b, off); return err })
	return n, err
}

func (f faultyFile) Sync() error     { return f.d.do("sync", f.File.Sync) }
func (f faultyFile) SyncData() error { return f.d.do("sync data", f.File.SyncData) }

func (f faultyFile) SyncTo(n int64) (full bool, err error) {
	err = f.d.do("sync to", func() error { full, err = f.File.SyncTo(n); return err })
	return full, err
}

// faultyDir is a folder. When its sync fails Pebble panics, on a goroutine of its
// own: that is the end of the process, and what is left of it here stands still.
type faultyDir struct {
	vfs.File
	d *faultyDisk
}

func (f faultyDir) Sync() error {
	if err := f.d.do("sync folder", f.File.Sync); err != nil {
		f.d.onDeath()
		select {}
	}
	return nil
}

// Each write operation of a store's life, one after the other, is made to fail:
// without effect or in spite of it, once or for good. The store either lives through
// it or stops; it never acknowledges what it does not hold, and after a stop nothing
// succeeds.
func TestEveryWriteFails(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		for _, stays := range []bool{false, true} {
			t.Run(fmt.Sprintf("late=%v,stays=%v", late, stays), func(t *testing.T) {
				t.Parallel()
				n := 0
				for ; ; n++ {
					if !testFault(t, n, late, stays) {
						break
					}
				}
				if n < 40 {
					t.Errorf("only %d operations were tried", n)
				}
			})
		}
	}
}

// testFault runs a short life of a store, failing write operation n, and reports
// whether there was an operation n.
func testFault(t *testing.T, n int, late, stays bool) bool {
	mem := vfs.NewCrashableMem()
	l := newLedger("payload")
	var at string
	var stopped atomic.Bool
	ended := make(chan string, 10) // how the process ended, or would have
	var after []crash              // the disks that it may have left
	cut := func() {
		known := l.known()
		for _, percent := range []int{0, 100} {
			after = append(after, crash{known: known, fs: mem.CrashClone(vfs.CrashCloneCfg{
				UnsyncedDataPercent: percent, RNG: testRNG(n),
			})})
		}
	}
	d := &faultyDisk{
		FS: mem, late: late, stays: stays, left: n,
		onFailed: func(op string) { at = op },
		onDeath:  func() { ended <- "panic" },
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
		err = errors.Join(err, prefix(fmt.Sprintf("disk %d of %d", i, len(after)), c.check(c.fs)))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		t.Errorf("operation %d (%s): %v", n, at, err)
	}
	return d.failed
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
