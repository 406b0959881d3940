package faultfs

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Crash is a disk as a power cut leaves it, with what was known before: K is the test's
// own book of what it had been told by then.
type Crash[K any] struct {
	Known K
	FS    *vfs.MemFS
	What  string // which operation the power went before
}

// Cutter cuts the power before some of the write operations of a disk. The fields are
// set before the first use.
type Cutter[K any] struct {
	Mem     *vfs.MemFS // crashable
	RNG     *rand.Rand // the cutter's alone
	Percent int        // of what was not synced that survives
	OneIn   int        // the power is cut before each operation with this chance
	Max     int        // of crashes; 0: no limit
	// Known is read before the disk is, so that the disk can only be newer.
	Known func() K

	mu     sync.Mutex
	found  []Crash[K]
	paused bool
}

// Before is to be a Disk's Before.
func (c *Cutter[K]) Before(op Op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused || (c.Max > 0 && len(c.found) >= c.Max) || c.RNG.IntN(c.OneIn) > 0 {
		return
	}
	c.cut("before " + op.String())
}

// Cut cuts the power now.
func (c *Cutter[K]) Cut(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut(what)
}

func (c *Cutter[K]) cut(what string) {
	known := c.Known()
	c.found = append(c.found, Crash[K]{
		Known: known,
		FS:    Clone(c.Mem, c.Percent, c.RNG),
		What:  fmt.Sprintf("power cut %d, %d%% kept, %s", len(c.found), c.Percent, what),
	})
}

// Full reports that Max is reached.
func (c *Cutter[K]) Full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Max > 0 && len(c.found) >= c.Max
}

// Found ends the cutting and returns what was cut until then.
func (c *Cutter[K]) Found() []Crash[K] {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = true
	return c.found
}

// Clone is the disk after a power cut that spares percent of what was not synced. 100
// is also the disk after the process died and the machine went on.
func Clone(mem *vfs.MemFS, percent int, rng *rand.Rand) *vfs.MemFS {
	return mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
}

// Flip changes bits of one byte of a file, as a failing disk does.
func Flip(fs vfs.FS, path string, off int64, mask byte) (err error) {
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("flip a byte: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("flip a byte: %w", err)
	}
	b[0] ^= mask
	if _, err := f.WriteAt(b, off); err != nil {
		return fmt.Errorf("flip a byte: %w", err)
	}
	return f.Sync()
}
