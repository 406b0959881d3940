package store

import (
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// This file holds what is particular about the database: how it is opened and how it
// says that it cannot go on.

func (s *Store) openDB(obsolete pebble.Cleaner) error {
	cache := pebble.NewCache(s.opts.CacheBytes)
	defer cache.Unref()
	po := &pebble.Options{
		FS:                          orderedFS{s.opts.FS},
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
		},
		DiskSlow: func(i pebble.DiskSlowInfo) {
			s.opts.Logger.Warn("store: slow disk", "path", i.Path, "took", i.Duration)
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			s.opts.Logger.Warn("store: writes stall", "reason", i.Reason)
		},
	}
	db, err := s.early.open(s.opts.Dir, po)
	if err != nil {
		if isLockError(err) {
			return fmt.Errorf("open store %s: %w (%v)", s.opts.Dir, ErrLocked, err)
		}
		return fmt.Errorf("open store %s: %w", s.opts.Dir, err)
	}
	s.db = db
	return nil
}

// early is the time in which the database opens. At a failing disk it panics, or
// calls Fatalf and goes on, or tries to flush its log again and again without end;
// here each of these ends in an error. The database may then keep files and a
// goroutine: the process has no use for it and will end.
type early struct {
	mu      sync.Mutex
	over    bool
	refused chan error
}

// open opens the database.
func (e *early) open(dir string, o *pebble.Options) (*pebble.DB, error) {
	type result struct {
		db  *pebble.DB
		err error
	}
	e.refused = make(chan error, 1)
	opened := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("the database panicked: %v", p)
			}
			opened <- r
		}()
		r.db, r.err = pebble.Open(dir, o)
	}()
	select {
	case err := <-e.refused:
		return nil, err
	case r := <-opened:
		e.mu.Lock()
		defer e.mu.Unlock()
		e.over = true
		select {
		case err := <-e.refused:
			return nil, err
		default:
			return r.db, r.err
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
