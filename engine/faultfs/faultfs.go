// Package faultfs is for tests: a file system in memory whose writes can be made to
// fail and whose power can be cut.
//
// Disk counts the write operations that pass it, one after the other from 0: creating,
// opening to write, renaming, linking, removing, locking, writing and syncing. A test
// runs the same scenario again and again and lets operation 0, 1, 2 ... fail, until the
// scenario has fewer operations than that. An operation fails without having happened,
// half done, or after it has happened; the last is what people forget.
//
// Cutter takes crash clones: what the disk would hold if the power went at that
// moment, with a chosen share of what was not synced.
//
// The package promises only what its vfs.MemFS does; it reads neither clock nor
// randomness by itself. Nothing but tests imports it.
package faultfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrDisk is what an operation fails with.
var ErrDisk = errors.New("the disk failed")

// Kind says how an operation fails.
type Kind int

const (
	// Lost: it did not happen.
	Lost Kind = iota
	// Done: it did happen, and failed all the same.
	Done
	// Torn: half of what was to be written was; everything but a write is lost.
	Torn
	// Dead: it did not happen, and neither does any later one.
	Dead
	// Last: it did happen, and no later one does.
	Last
)

// Kinds are all of them.
var Kinds = []Kind{Lost, Done, Torn, Dead, Last}

func (k Kind) String() string { return [...]string{"lost", "done", "torn", "dead", "last"}[k] }

// SyncFolder is what the sync of a folder is called.
const SyncFolder = "sync folder"

// Op is one write operation.
type Op struct {
	N    int // its number, from 0
	What string
	Path string
}

func (o Op) String() string { return fmt.Sprintf("operation %d (%s %s)", o.N, o.What, o.Path) }

// Disk is a file system between a program and another file system. Its fields are set
// before the first use.
type Disk struct {
	vfs.FS
	// FailAt is the number of the operation that fails; negative: none does.
	FailAt int
	Kind   Kind
	// Before sees each operation before it happens.
	Before func(Op)
	// Failed is told of the operation that fails, before the program is.
	Failed func(Op)
	// Fatal says that the program would not survive the failure of an operation: it
	// panics where nothing can recover it. The goroutine then stands still for ever,
	// as if the process had ended, instead of being told.
	Fatal func(Op) bool

	mu     sync.Mutex
	count  int
	failed bool
}

// Count is how many operations there were.
func (d *Disk) Count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// Arm lets the n-th operation from now fail, counted from 0, instead of FailAt.
func (d *Disk) Arm(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.FailAt = d.count + n
}

// HasFailed reports whether operation FailAt has come.
func (d *Disk) HasFailed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// next numbers an operation and says whether and how it fails.
func (d *Disk) next(what, path string) (op Op, fails, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	op = Op{d.count, what, path}
	d.count++
	if d.failed {
		return op, d.Kind >= Dead, false
	}
	d.failed = d.FailAt >= 0 && op.N == d.FailAt
	return op, d.failed, d.failed
}

// do runs one operation; half, if there is one, does a part of it.
func (d *Disk) do(what, path string, whole func() error, half func()) error {
	op, fails, first := d.next(what, path)
	if d.Before != nil {
		d.Before(op)
	}
	if !fails {
		return whole()
	}
	err := fmt.Errorf("%s: %w", op, ErrDisk)
	switch {
	case d.Kind == Done, first && d.Kind == Last:
		err = errors.Join(err, whole())
	case d.Kind == Torn && half != nil:
		half()
	}
	if first && d.Failed != nil {
		d.Failed(op)
	}
	if d.Fatal != nil && d.Fatal(op) {
		select {}
	}
	return err
}

func (d *Disk) file(what, path string, open func() (vfs.File, error)) (f vfs.File, err error) {
	if err = d.do(what, path, func() error { f, err = open(); return err }, nil); err != nil {
		return nil, err
	}
	return &file{f, d, path, "sync"}, nil
}

// Create implements vfs.FS.
func (d *Disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.file("create", name, func() (vfs.File, error) { return d.FS.Create(name, c) })
}

// OpenReadWrite implements vfs.FS.
func (d *Disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.file("open", name, func() (vfs.File, error) { return d.FS.OpenReadWrite(name, c, opts...) })
}

// ReuseForWrite implements vfs.FS.
func (d *Disk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.file("reuse as", to, func() (vfs.File, error) { return d.FS.ReuseForWrite(from, to, c) })
}

// OpenDir implements vfs.FS. Opening a folder changes nothing; syncing it does.
func (d *Disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &file{f, d, name, SyncFolder}, nil
}

// Remove implements vfs.FS.
func (d *Disk) Remove(name string) error {
	return d.do("remove", name, func() error { return d.FS.Remove(name) }, nil)
}

// RemoveAll implements vfs.FS.
func (d *Disk) RemoveAll(name string) error {
	return d.do("remove all", name, func() error { return d.FS.RemoveAll(name) }, nil)
}

// Rename implements vfs.FS.
func (d *Disk) Rename(from, to string) error {
	return d.do("rename to", to, func() error { return d.FS.Rename(from, to) }, nil)
}

// Link implements vfs.FS.
func (d *Disk) Link(from, to string) error {
	return d.do("link to", to, func() error { return d.FS.Link(from, to) }, nil)
}

// MkdirAll implements vfs.FS.
func (d *Disk) MkdirAll(name string, perm os.FileMode) error {
	return d.do("make folder", name, func() error { return d.FS.MkdirAll(name, perm) }, nil)
}

// Lock implements vfs.FS.
func (d *Disk) Lock(name string) (l io.Closer, err error) {
	err = d.do("lock", name, func() error { l, err = d.FS.Lock(name); return err }, nil)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Unwrap implements vfs.FS.
func (d *Disk) Unwrap() vfs.FS { return d.FS }

// file is a file or a folder of a Disk.
type file struct {
	vfs.File
	d    *Disk
	path string
	sync string // what its syncs are called
}

// Write implements vfs.File.
func (f *file) Write(b []byte) (n int, err error) {
	err = f.d.do("write", f.path,
		func() error { n, err = f.File.Write(b); return err },
		func() { n, _ = f.File.Write(b[:len(b)/2]) })
	return n, err
}

// WriteAt implements vfs.File.
func (f *file) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.d.do("write", f.path,
		func() error { n, err = f.File.WriteAt(b, off); return err },
		func() { n, _ = f.File.WriteAt(b[:len(b)/2], off) })
	return n, err
}

// Sync implements vfs.File.
func (f *file) Sync() error { return f.d.do(f.sync, f.path, f.File.Sync, nil) }

// SyncData implements vfs.File.
func (f *file) SyncData() error { return f.d.do(f.sync, f.path, f.File.SyncData, nil) }

// SyncTo implements vfs.File.
func (f *file) SyncTo(n int64) (full bool, err error) {
	err = f.d.do(f.sync, f.path, func() error { full, err = f.File.SyncTo(n); return err }, nil)
	return full, err
}
