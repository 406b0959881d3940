package store

import (
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// This file holds what is particular about the database: how it is opened and how it
// says that it cannot go on.

// watchDisk puts a watch on the time that the file system takes. Pebble has a listener
// for that, but nobody to tell it unless it is given such a file system.
func (s *Store) watchDisk() {
	s.fs, s.watch = vfs.WithDiskHealthChecks(s.opts.FS, diskSlowAfter, nil, func(i vfs.DiskSlowInfo) {
		s.opts.Logger.Warn("store: slow disk", "path", i.Path, "op", i.OpType.String(), "took", i.Duration)
	})
}

// openDB opens the database; obsolete deletes its old files.
func (s *Store) openDB(obsolete pebble.Cleaner) error {
	cache := pebble.NewCache(s.opts.CacheBytes)
	defer cache.Unref()
	po := &pebble.Options{
		FS:                          disk{s.fs, s.diskFailed, s.early.refuse},
		Cache:                       cache,
		Cleaner:                     obsolete,
		FormatMajorVersion:          formatVersion,
		Logger:                      pebbleLogger{s},
		MemTableSize:                64 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		ReadOnly:                    s.opts.ReadOnly,
	}
	po.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) {
			s.opts.Logger.Error("store: background error", "err", err)
			s.early.refuse(err)
		},
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			s.opts.Logger.Error("store: corrupt file", "path", i.Path, "err", i.Details)
			s.corrupt.CompareAndSwap(nil, &i.Path)
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			s.opts.Logger.Warn("store: writes stall", "reason", i.Reason)
		},
	}
	var err error
	if s.db, err = pebble.Open(s.opts.Dir, po); err != nil && isLockError(err) {
		return fmt.Errorf("%w (%v)", ErrLocked, err)
	}
	return err
}

// diskFailed is told of writes and syncs that failed, before the database is. What
// fails while closing was not promised to anybody.
func (s *Store) diskFailed(err error) {
	s.early.refuse(err)
	if !s.gone.Load() {
		s.fail(err)
	}
}

// early is the time in which a store opens. At a failing disk the database panics, or
// calls Fatalf and goes on, or tries to flush its log again and again without end;
// when it gives up by itself, it closes what its compactions still work with, and they
// panic. Here each of these ends in an error. What was opened by then stays open and
// stands still: the process has no use for it and will end.
type early struct {
	mu      sync.Mutex
	over    bool
	refused chan error // of one
}

// run opens the store, unless it is refused meanwhile.
func (e *early) run(open func() error) error {
	opened := make(chan error, 1)
	go func() {
		var err error
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("the database panicked: %v", r)
			}
			opened <- err
		}()
		err = open()
	}()
	select {
	case err := <-e.refused:
		return err
	case err := <-opened:
		e.mu.Lock()
		defer e.mu.Unlock()
		e.over = true
		select {
		case err := <-e.refused:
			return err
		default:
			return err
		}
	}
}

// refuse ends the opening with an error, and never returns then; afterwards it
// does nothing.
func (e *early) refuse(err error) {
	e.mu.Lock()
	if e.over {
		e.mu.Unlock()
		return
	}
	select {
	case e.refused <- err:
	default:
	}
	e.mu.Unlock()
	select {}
}

// pebbleLogger turns Pebble's messages into ours. Pebble calls Fatalf when it can
// no longer keep its promises.
type pebbleLogger struct{ s *Store }

func (l pebbleLogger) Infof(format string, args ...any) {
	l.s.opts.Logger.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.s.opts.Logger.Error("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("pebble: "+format, args...)
	l.s.early.refuse(err)
	l.s.fail(err)
}
