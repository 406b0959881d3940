// Package highwater keeps, outside the store, the number and hash of the newest
// Merkle root that may have been shown to anybody.
//
// Clients never forget a root: a server that comes back with an older store would
// sign other roots under the same numbers and lose every client for ever. The store
// cannot notice that it was rolled back; this record can. It is moved after a
// root's fsync and before anybody sees the root, so at start the store must hold
// the recorded root with the recorded hash and may be ahead of it, never behind.
//
// The record is one small file of two slots that are overwritten in turn and
// fsynced, so that a torn write leaves the older slot. It is bound to the store's
// id and, where the file system has such numbers, to the file's own inode and that
// of the data folder: a copied or restored folder does not match and is refused
// until the operator says that the original will never run again (Options.Create).
// The file stays locked while the server runs. A copy of a whole disk or machine has
// the same inodes: against that there is only the operator.
package highwater

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/blake3"

	"github.com/keystead/keystead/compat/kbsig"
)

// Mark is the newest root that may have been seen.
type Mark struct {
	Seqno    kbsig.Seqno
	HashMeta kbsig.HashMeta
}

// Errors by which a start is refused.
var (
	// ErrMissing: the store is not new but its record is not there.
	ErrMissing = errors.New("the high-water record is missing")
	// ErrForeign: the record belongs to another store.
	ErrForeign = errors.New("the high-water record belongs to another store")
	// ErrCopied: folder or record are not the ones that the server made.
	ErrCopied = errors.New("the data folder or its high-water record has been copied or restored")
	// ErrDamaged: no slot of the record is readable.
	ErrDamaged = errors.New("the high-water record is damaged")
	// ErrLocked: another process has the record open.
	ErrLocked = errors.New("the high-water record is in use by another process")
	// ErrMoved: the record is not what the caller took it for.
	ErrMoved = errors.New("the high-water record has been moved by somebody else")
	// ErrFailed: a write or sync has failed before, and nobody knows what the disk
	// holds; only opening the record anew tells.
	ErrFailed = errors.New("the high-water record could not be written")
)

// Layout of a slot; integers are big endian.
//
//	0   magic, 8 bytes
//	8   store id, 16 bytes
//	24  counter, 8 bytes: the slot with the higher one counts
//	32  inode of the data folder, 8 bytes; 0 unknown
//	40  inode of the record, 8 bytes; 0 unknown
//	48  seqno, 8 bytes
//	56  hash meta, 32 bytes
//	88  BLAKE3 of the above, 32 bytes
const (
	magic     = "ksthw\x00\x00\x01"
	slotBytes = 120
	slotGap   = 4096 // slots lie in different pages, so that one write tears one slot
)

// Record is an open, locked high-water record. It is not safe for concurrent use:
// only the store's durability goroutine moves it.
type Record struct {
	file    vfs.File
	lock    io.Closer
	id      [16]byte
	folder  uint64
	inode   uint64
	counter uint64
	mark    Mark
	failed  error
}

// DefaultPath is where the record of a data folder lies unless configured: beside
// the folder, so that restoring or copying the folder leaves the record behind.
func DefaultPath(dataDir string) string { return filepath.Clean(dataDir) + ".highwater" }

// Options names a record and what it is bound to.
type Options struct {
	FS      vfs.FS
	Path    string
	StoreID [16]byte
	DataDir string // its inode is recorded
	// Create allows a record to be made: the store is new, or the operator adopts
	// a copy of it.
	Create bool
	// Judge, if set, is asked before an existing record is bound anew; its error
	// leaves the record as it was, still bound to the folder that it knew.
	Judge func(Mark) error
}

// Open locks and reads the record, or makes it if o.Create is set and it is missing.
func Open(o Options) (*Record, error) {
	lock, err := o.FS.Lock(o.Path + ".lock")
	if err != nil {
		if isLockError(err) {
			err = fmt.Errorf("%w (%v)", ErrLocked, err)
		}
		return nil, fmt.Errorf("lock %s: %w", o.Path, err)
	}
	r := &Record{lock: lock, id: o.StoreID, folder: inodeOf(o.FS, o.DataDir)}
	if err := r.open(o); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", o.Path, err), r.Close())
	}
	return r, nil
}

func (r *Record) open(o Options) error {
	_, err := o.FS.Stat(o.Path)
	switch {
	case errors.Is(err, os.ErrNotExist) && o.Create:
		return r.create(o)
	case errors.Is(err, os.ErrNotExist):
		return ErrMissing
	case err != nil:
		return err
	}
	if r.file, err = o.FS.OpenReadWrite(o.Path, vfs.WriteCategoryUnspecified); err != nil {
		return err
	}
	newest, err := readSlots(r.file)
	if err != nil {
		return err
	}
	if newest.id != r.id {
		return ErrForeign
	}
	r.inode = inodeOf(o.FS, o.Path)
	r.counter, r.mark = newest.counter, newest.mark
	if o.Create {
		if o.Judge != nil {
			if err := o.Judge(r.mark); err != nil {
				return err
			}
		}
		return r.adopt()
	}
	if differ(newest.folder, r.folder) || differ(newest.inode, r.inode) {
		return ErrCopied
	}
	return nil
}

// adopt keeps the mark of an existing record of this store and binds it anew: both
// slots, so that neither says any more that the folder is a copy.
func (r *Record) adopt() error {
	for range 2 {
		if err := r.write(r.mark); err != nil {
			return err
		}
	}
	return nil
}

// create makes the record beside its place and then moves it there, so that a crash
// leaves a whole one or none.
func (r *Record) create(o Options) error {
	made := o.Path + ".new"
	f, err := o.FS.Create(made, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	r.file = f
	r.inode = inodeOf(o.FS, made) // it keeps the number when it moves
	// Both slots, so that later overwrites never grow the file: a grown length
	// would need more than an fdatasync.
	for range 2 {
		if err := r.write(Mark{}); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := o.FS.Rename(made, o.Path); err != nil {
		return err
	}
	dir, err := o.FS.OpenDir(o.FS.PathDir(o.Path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// differ reports two known, unequal inode numbers.
func differ(a, b uint64) bool { return a != 0 && b != 0 && a != b }

// Mark is what the record says; the zero Mark of a new record precedes every root.
func (r *Record) Mark() Mark { return r.mark }

// Advance moves the record from old to next and returns once that is on stable
// storage. It fails with ErrMoved if the record is not at old, or next is not newer;
// after any other failure the record may have moved or not, and does not move again.
func (r *Record) Advance(old, next Mark) error {
	if r.failed != nil {
		return fmt.Errorf("%w: %w", ErrFailed, r.failed)
	}
	if r.mark != old || next.Seqno <= old.Seqno {
		return fmt.Errorf("from %d to %d, but it is at %d: %w", old.Seqno, next.Seqno, r.mark.Seqno, ErrMoved)
	}
	return r.write(next)
}

func (r *Record) write(m Mark) error {
	slot := slot{id: r.id, counter: r.counter + 1, folder: r.folder, inode: r.inode, mark: m}
	if _, err := r.file.WriteAt(slot.encode(), slot.place()); err != nil {
		r.failed = fmt.Errorf("write the high-water record: %w", err)
		return r.failed
	}
	if err := r.file.SyncData(); err != nil {
		r.failed = fmt.Errorf("fsync the high-water record: %w", err)
		return r.failed
	}
	r.counter, r.mark = slot.counter, m
	return nil
}

// Close unlocks the record.
func (r *Record) Close() error {
	var err error
	if r.file != nil {
		err = r.file.Close()
	}
	return errors.Join(err, r.lock.Close())
}

type slot struct {
	id            [16]byte
	counter       uint64
	folder, inode uint64
	mark          Mark
}

func (s slot) encode() []byte {
	b := make([]byte, 0, slotBytes)
	b = append(b, magic...)
	b = append(b, s.id[:]...)
	b = binary.BigEndian.AppendUint64(b, s.counter)
	b = binary.BigEndian.AppendUint64(b, s.folder)
	b = binary.BigEndian.AppendUint64(b, s.inode)
	b = binary.BigEndian.AppendUint64(b, uint64(s.mark.Seqno))
	b = append(b, s.mark.HashMeta[:]...)
	sum := blake3.Sum256(b)
	return append(b, sum[:]...)
}

func decodeSlot(b []byte) (s slot, ok bool) {
	if len(b) != slotBytes || string(b[:8]) != magic {
		return s, false
	}
	if sum := blake3.Sum256(b[:88]); string(sum[:]) != string(b[88:]) {
		return s, false
	}
	copy(s.id[:], b[8:])
	s.counter = binary.BigEndian.Uint64(b[24:])
	s.folder = binary.BigEndian.Uint64(b[32:])
	s.inode = binary.BigEndian.Uint64(b[40:])
	s.mark.Seqno = kbsig.Seqno(binary.BigEndian.Uint64(b[48:]))
	copy(s.mark.HashMeta[:], b[56:88])
	return s, true
}

// place is where in the file the slot lies: the two take turns.
func (s slot) place() int64 { return int64(s.counter%2) * slotGap }

// readSlots returns the newer of the readable slots. One unreadable slot is a torn
// write and harmless; two are damage. A disk that fails to read is an error: the slot
// that it keeps back may be the newer one.
func readSlots(f io.ReaderAt) (slot, error) {
	var best slot
	found := false
	for i := range int64(2) {
		b := make([]byte, slotBytes)
		if n, err := f.ReadAt(b, i*slotGap); n < slotBytes {
			if !errors.Is(err, io.EOF) {
				return slot{}, fmt.Errorf("read the high-water record: %w", err)
			}
			continue // shorter than it should be: nothing readable
		}
		if s, ok := decodeSlot(b); ok && s.place() == i*slotGap && (!found || s.counter > best.counter) {
			best, found = s, true
		}
	}
	if !found {
		return slot{}, ErrDamaged
	}
	return best, nil
}

// isLockError tells "somebody else has it" from other failures to lock: a lock that
// is held is a bare error number or a word of the own process; a missing folder or
// permission comes with a path.
func isLockError(err error) bool {
	path := (*fs.PathError)(nil)
	return !errors.As(err, &path)
}
