// Package store opens Pebble and owns the one seam through which everything is
// written: Update.
//
// Contract:
//   - A transaction given to Update runs alone, after all earlier ones and seeing
//     their writes. Its writes are kept whole or dropped whole.
//   - Update returns only after the group that the transaction ran in is on stable
//     storage and published; a refusal too, since it may rest on a neighbour.
//   - The sealer adds, once per group and in the same batch, what the group as a
//     whole needs (the Merkle root). What it returns belongs to the group's View.
//   - A View shows one published group: nothing that could still be lost.
//   - When a commit, a seal or the step after the fsync fails, nobody knows any more
//     what is true: Options.Fatal is called and every waiting and later Update
//     returns ErrStopped, never success.
//   - A database that has lost acknowledged groups does not open: see mark.go.
//
// The package writes only keys.Meta records of its own. It imports engine/keys and
// pebble; nothing else of the server imports pebble.
package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/keys"
)

// Limits of the seam.
const (
	// pendingTxMax is how many transactions may wait for the committer; more
	// callers block in Update until there is room or their context ends.
	pendingTxMax = 8192
	// groupTxMax is how many transactions share one batch, fsync and root.
	groupTxMax = 4096
	// groupBytesMax ends a group early, in bytes of its batch.
	groupBytesMax = 16 << 20
	// pipelineGroupsMax is how many groups may be between their batch and their
	// fsync; while they wait, the next one already runs.
	pipelineGroupsMax = 4
	// diskSlowAfter is how long one write or sync may take before it is logged,
	// while it still lasts.
	diskSlowAfter = time.Second
)

// schemaVersion is the version of our own records. A store written by a newer
// one is refused.
//
//	1  first light
const schemaVersion = 1

// formatVersion is Pebble's on-disk format, set explicitly because its default
// is older than the one (WAL sync chunks) by which replay can tell a damaged log
// from the end of a log. It can do so only for damage that is followed by a whole
// block of log; for the rest there is the mark.
const formatVersion = pebble.FormatValueSeparation

// Errors of the store.
var (
	ErrNotFound = errors.New("no such record")
	// ErrStop ends a Scan early without an error.
	ErrStop = errors.New("stop the scan")
	// ErrStopped says that the store no longer accepts writes; whether the
	// transaction took place is unknown.
	ErrStopped = errors.New("the store has stopped")
	// ErrNewer says that a newer version of the server has written the store.
	ErrNewer = errors.New("the store was written by a newer version")
	// ErrLocked says that another process has the store open.
	ErrLocked = errors.New("the data folder is in use by another process")
)

// Options says where a store lies and what it is given from outside. Dir is the
// only one without a default.
type Options struct {
	Dir        string
	FS         vfs.FS       // default: the machine's
	Clock      clock.Clock  // default: a monotone system clock
	Rand       io.Reader    // used once, for the store's id; needed when the store is new
	Logger     *slog.Logger // default: discards
	CacheBytes int64        // default: 64 MiB
	ReadOnly   bool         // for audits: Update is refused
	// Fatal is called once when the state of the store is unknown. It should stop
	// the process; it must not call the store. It may be called by one of Pebble's
	// own goroutines. Default: panic.
	Fatal func(error)
}

// Sealer completes each group of transactions. See the package comment.
type Sealer interface {
	// Seal sees the notes of all accepted transactions in order and may write
	// into the same batch. It is called for each group that notes or writes
	// something, and returns what belongs to the state after it: a value that
	// can be compared, the last one again if nothing of it changed. An error is
	// fatal.
	Seal(tx *Tx, notes []any) (sealed any, err error)
	// Durable is called with a value that differs from the published one, after
	// the group's fsync and before anybody sees it. An error is fatal.
	Durable(sealed any) error
}

// Store is an open store. It is safe for concurrent use.
type Store struct {
	opts  Options
	db    *pebble.DB
	id    [16]byte
	early early
	fs    vfs.FS    // of the options, under watch for slowness
	watch io.Closer // ends that watch
	queue chan *pending
	sync  chan *group

	current atomic.Pointer[View]          // newest published view
	later   atomic.Pointer[chan struct{}] // closed when current is replaced by a group
	sealer  Sealer
	sealed  any    // what the sealer returned last; committer only
	group   uint64 // number of the newest group; committer only
	mark    *mark  // durability goroutine only; nil if read-only

	closing  chan struct{}
	closed   sync.Once
	loops    sync.WaitGroup
	stopErr  atomic.Pointer[error]
	corrupt  atomic.Pointer[string] // the first file found damaged
	stuck    bool                   // Pebble panicked and holds its locks; committer only
	gone     atomic.Bool            // the database is closed
	updating sync.RWMutex           // held for reading by Update, for writing by Close

	snapshots sync.WaitGroup // that are held by views
}

type pending struct {
	fn   func(*Tx) error
	done chan error
	err  error
}

// Open opens or creates the store in o.Dir. The folder is locked: a second Open,
// by this or another process, fails with ErrLocked.
func Open(o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Clock == nil {
		o.Clock = clock.Monotone(clock.System())
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	if o.Fatal == nil {
		// On a goroutine of its own, where nobody recovers.
		o.Fatal = func(err error) { go panic(err) }
	}
	s := &Store{
		opts:    o,
		queue:   make(chan *pending, pendingTxMax),
		sync:    make(chan *group, pipelineGroupsMax),
		closing: make(chan struct{}),
	}
	s.watchDisk()
	s.early.refused = make(chan error, 1)
	if err := s.early.run(s.open); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", o.Dir, err), s.watch.Close())
	}
	s.current.Store(s.newView(nil))
	later := make(chan struct{})
	s.later.Store(&later)
	if !o.ReadOnly {
		s.loops.Add(2)
		go s.commitLoop()
		go s.durabilityLoop()
	}
	return s, nil
}

// open opens the database, and reads or makes what the store itself keeps in and
// beside it.
func (s *Store) open() error {
	obsolete := hold(pebble.DeleteCleaner{}.Clean)
	if err := s.openDB(obsolete); err != nil {
		return err
	}
	err := s.openMeta()
	if errors.Is(err, ErrNotFound) && !s.opts.ReadOnly {
		// A new database gets its format only after it has begun its log in the
		// oldest one; the log of the second start is in the new one.
		if err = s.createMeta(); err == nil {
			if err := s.db.Close(); err != nil {
				return err
			}
			if err := s.openDB(obsolete); err != nil {
				return err
			}
			err = s.openMeta()
		}
	}
	if err == nil {
		err = s.checkMark()
	}
	if err == nil && !s.opts.ReadOnly {
		err = s.openMark()
	}
	if err != nil {
		return errors.Join(err, s.db.Close())
	}
	if err := obsolete.release(); err != nil {
		s.opts.Logger.Warn("store: an obsolete file stays", "err", err)
	}
	return nil
}

// openMeta reads the schema version and the store's id; the error is ErrNotFound if
// the database has no version.
func (s *Store) openMeta() error {
	v, err := reader{s.db}.Get(keys.Meta("schema"))
	if err != nil {
		return fmt.Errorf("the store's version: %w", err)
	}
	version, err := strconv.Atoi(string(v))
	if err != nil || version < 1 {
		return fmt.Errorf("the store's version does not read as a number")
	}
	if version > schemaVersion {
		return fmt.Errorf("store of version %d, this program knows %d: %w", version, schemaVersion, ErrNewer)
	}
	id, err := reader{s.db}.Get(keys.Meta("id"))
	if err != nil {
		return fmt.Errorf("the store's id: %v", err)
	}
	if len(id) != hex.EncodedLen(len(s.id)) {
		return fmt.Errorf("the store's id has %d characters", len(id))
	}
	if _, err := hex.Decode(s.id[:], id); err != nil {
		return fmt.Errorf("the store's id is malformed")
	}
	return nil
}

// createMeta makes a new store of an empty database.
func (s *Store) createMeta() error {
	if err := s.checkEmpty(); err != nil {
		return err
	}
	if s.opts.Rand == nil {
		return fmt.Errorf("a new store needs a random source")
	}
	if _, err := io.ReadFull(s.opts.Rand, s.id[:]); err != nil {
		return fmt.Errorf("make the store's id: %w", err)
	}
	b := s.db.NewBatch()
	defer b.Close()
	_ = b.Set(keys.Meta("schema"), []byte(strconv.Itoa(schemaVersion)), nil)
	_ = b.Set(keys.Meta("id"), []byte(hex.EncodeToString(s.id[:])), nil)
	_ = number(b, 0)
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("write the store's version: %w", err)
	}
	return nil
}

// checkEmpty refuses to take a database that holds records for a new store.
func (s *Store) checkEmpty() error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return fmt.Errorf("look for records: %w", err)
	}
	found := it.First()
	if err := it.Close(); err != nil {
		return fmt.Errorf("look for records: %w", err)
	}
	if found {
		return fmt.Errorf("the database holds records but no version: it is damaged or not a store")
	}
	return nil
}

// Corrupt is the path of the first file that was found damaged while it was read, empty
// if all have been whole. Reads that need the damaged part fail; others go on.
func (s *Store) Corrupt() string {
	if path := s.corrupt.Load(); path != nil {
		return *path
	}
	return ""
}

// ID is the store's random name, made when it was created.
func (s *Store) ID() [16]byte { return s.id }

// SetSealer installs the sealer and what belongs to the present state. It is
// called once, before the first Update and before views are shared.
func (s *Store) SetSealer(sealer Sealer, sealed any) {
	s.sealer, s.sealed = sealer, sealed
	old := s.current.Swap(s.newView(sealed))
	old.Close()
}

// Update runs fn as one transaction and returns its error, or nil once its writes
// are on stable storage and visible to views. fn runs on the committer: it must be
// quick, must not block, and must keep no reference to tx.
//
// ctx only bounds the wait for a place in the queue: once queued the outcome is
// waited for, because a caller that left could not know it.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	if s.opts.ReadOnly {
		return fmt.Errorf("read-only: %w", ErrStopped)
	}
	s.updating.RLock()
	defer s.updating.RUnlock()
	if err := s.stopped(); err != nil {
		return err
	}
	p := &pending{fn: fn, done: make(chan error, 1)}
	select {
	case s.queue <- p:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrStopped
	}
	return <-p.done
}

// Later is closed once a group is published after this call. Whoever waits for a
// change asks for it before looking at a View.
func (s *Store) Later() <-chan struct{} { return *s.later.Load() }

// Now reads the store's clock.
func (s *Store) Now() time.Time { return s.opts.Clock() }

func (s *Store) stopped() error {
	if e := s.stopErr.Load(); e != nil {
		return fmt.Errorf("%w: %v", ErrStopped, *e)
	}
	select {
	case <-s.closing:
		return ErrStopped
	default:
		return nil
	}
}

// fail records that the state of the store is unknown and tells the owner once.
func (s *Store) fail(err error) {
	if s.stopErr.CompareAndSwap(nil, &err) {
		s.opts.Logger.Error("store: stopping, the state is unknown", "err", err)
		s.opts.Fatal(err)
	}
}

// viewsWithin is how long Close waits for views that somebody still reads.
const viewsWithin = 10 * time.Second

// ErrInUse says that the database was left open, because somebody still read a view.
var ErrInUse = errors.New("the store was left open, because somebody still reads it; nothing is lost, and the folder is free once this process has ended")

// Close finishes what was queued, waits until all views are closed, and closes the
// database; a View taken later reads nothing but ErrStopped. Of a store that has
// stopped, Close reports why. The error is ErrInUse if a view is not closed within
// viewsWithin: nothing is lost then, but the folder stays locked until the process ends.
func (s *Store) Close() error {
	var err error
	s.closed.Do(func() {
		close(s.closing)
		s.updating.Lock() // waits for callers inside Update
		close(s.queue)
		s.updating.Unlock()
		s.loops.Wait()
		s.gone.Store(true)
		s.current.Load().Close()
		err = s.closeFiles()
	})
	return err
}

func (s *Store) closeFiles() error {
	var errs []error
	if e := s.stopErr.Load(); e != nil {
		errs = append(errs, fmt.Errorf("%w: %v", ErrStopped, *e))
	} else if s.mark != nil {
		errs = append(errs, s.mark.file.Sync())
	}
	if s.mark != nil {
		errs = append(errs, s.mark.file.Close())
	}
	if !s.stuck {
		errs = append(errs, s.closeDB())
	}
	return errors.Join(append(errs, s.watch.Close())...)
}

// closeDB closes the database. One that has met a failing disk may hold on to files that
// it gave up, and panics over them; by then all that was promised is on the disk, and the
// process is to end with the reason, not with a trace.
func (s *Store) closeDB() (err error) {
	closed := make(chan struct{})
	go func() { s.snapshots.Wait(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(viewsWithin):
		return ErrInUse
	}
	if s.stopErr.Load() != nil {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("close the database after a failure: %v", r)
			}
		}()
	}
	return s.db.Close()
}

// Metrics exposes the database's own figures to the operator's side.
func (s *Store) Metrics() *pebble.Metrics { return s.db.Metrics() }
