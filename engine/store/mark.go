package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/engine/keys"
)

// A database that finds a damaged record at the end of its log or of its manifest
// takes it for a write that a crash cut short, and opens with less than was
// acknowledged. Pebble's log names in each record how far the log was synced, but
// replay looks for that promise only in later blocks of 32 KiB, and only if the
// first block of a batch is damaged; its manifest makes no promise at all.
//
// So groups are numbered. Each batch deletes the number of the group before it and
// writes its own: a database that holds two numbers has lost what lies between, be it
// a table that a damaged manifest no longer names, or a whole log. And the mark, a
// small file beside the database, names the newest group that was synced: a database
// that ends before the mark has lost its end. The mark itself is not synced for each
// group, which would double the price of a write: it is exact after an orderly stop
// and after the death of the process, and lags by the kernel's write-back time after a
// power cut. It never runs ahead of what is durable. Losing the mark costs the check,
// not data: it is made anew.

// ErrShorter says that the database has lost groups that had been acknowledged.
var ErrShorter = errors.New("the store lacks what was acknowledged")

// Layout of the mark; integers are big endian.
//
//	0   store id, 16 bytes
//	16  group number, 8 bytes
//	24  CRC-32C of the above, 4 bytes
const (
	markName  = "synced"
	markBytes = 28
)

// groupPrefix is before a group's number in the name of a fact about the store, as 16
// hex digits. Exactly one such fact is true.
const groupPrefix = "group-"

func groupKey(n uint64) []byte { return keys.Meta(fmt.Sprintf("%s%016x", groupPrefix, n)) }

// number adds to a batch that it is group n. Each number is written and deleted at
// most once, so that both go when the memory is flushed.
func number(b *pebble.Batch, n uint64) error {
	if n > 0 {
		if err := b.SingleDelete(groupKey(n-1), nil); err != nil {
			return err
		}
	}
	return b.Set(groupKey(n), nil, nil)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type mark struct {
	file vfs.File
	id   [16]byte
}

func encodeMark(id [16]byte, group uint64) []byte {
	b := make([]byte, 0, markBytes)
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint64(b, group)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeMark reads a mark; one that a power cut tore makes no claim.
func decodeMark(b []byte) (id [16]byte, group uint64, ok bool) {
	if len(b) != markBytes || crc32.Checksum(b[:24], castagnoli) != binary.BigEndian.Uint32(b[24:]) {
		return id, 0, false
	}
	return [16]byte(b[:16]), binary.BigEndian.Uint64(b[16:]), true
}

func (m *mark) set(group uint64) error {
	_, err := m.file.WriteAt(encodeMark(m.id, group), 0)
	return err
}

// checkMark compares the newest group of the database with the mark. A database of
// another store is as lost as one that ends too early: Pebble makes a new one where
// it finds none.
func (s *Store) checkMark() error {
	var err error
	if s.group, err = s.storedGroup(); err != nil {
		return err
	}
	b, err := readMark(s.opts.FS, s.markPath())
	if err != nil {
		return fmt.Errorf("read the mark: %w", err)
	}
	switch id, synced, ok := decodeMark(b); {
	case !ok && len(b) > 0:
		s.opts.Logger.Warn("store: the mark of the newest synced group is unreadable and is made anew")
	case ok && id != s.id:
		return fmt.Errorf("the folder was that of store %x, the database is of %x: %w", id, s.id, ErrShorter)
	case ok && synced > s.group:
		return fmt.Errorf("group %d was synced, but the database ends with %d: %w", synced, s.group, ErrShorter)
	}
	return nil
}

// openMark makes the mark say what the database holds, and keeps it open.
func (s *Store) openMark() error {
	f, err := s.opts.FS.OpenReadWrite(s.markPath(), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("open the mark: %w", err)
	}
	s.mark = &mark{file: f, id: s.id}
	if err := s.mark.set(s.group); err != nil {
		return errors.Join(fmt.Errorf("write the mark: %w", err), f.Close())
	}
	return nil
}

// storedGroup reads the number of the newest group.
func (s *Store) storedGroup() (uint64, error) {
	var found []uint64
	lo := keys.Meta(groupPrefix)
	err := reader{s.db}.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		n, err := strconv.ParseUint(string(k[len(lo):]), 16, 64)
		found = append(found, n)
		return err
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("the newest group's number: %w", err)
	case len(found) == 0:
		return 0, fmt.Errorf("the newest group has no number: %w", ErrShorter)
	case len(found) > 1:
		return 0, fmt.Errorf("nothing between groups %d and %d: %w", found[0], found[1], ErrShorter)
	}
	return found[0], nil
}

func (s *Store) markPath() string { return s.opts.FS.PathJoin(s.opts.Dir, markName) }

// readMark returns what there is, at most a mark's length; nothing if there is no file.
func readMark(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, markBytes))
	return b, errors.Join(err, f.Close())
}

// cleaner deletes the database's obsolete files, but not before the mark has been
// checked: while opening, a database with a damaged manifest takes its own newest
// tables for obsolete, and they are the evidence.
//
// T is Pebble's type for the kinds of files, which has no exported name; it is
// inferred from Pebble's own cleaner.
type cleaner[T any] struct {
	clean func(fs vfs.FS, kind T, path string) error
	mu    sync.Mutex
	free  bool
	held  []func() error
}

func hold[T any](clean func(vfs.FS, T, string) error) *cleaner[T] { return &cleaner[T]{clean: clean} }

// Clean implements pebble.Cleaner.
func (c *cleaner[T]) Clean(fs vfs.FS, kind T, path string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.free {
		c.held = append(c.held, func() error { return c.clean(fs, kind, path) })
		return nil
	}
	return c.clean(fs, kind, path)
}

// String names the cleaner in Pebble's OPTIONS file, which knows this name.
func (c *cleaner[T]) String() string { return "delete" }

// release deletes what was held back. A file that stays is found again by the next
// start.
func (c *cleaner[T]) release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free = true
	var errs []error
	for _, remove := range c.held {
		if err := remove(); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	c.held = nil
	return errors.Join(errs...)
}
