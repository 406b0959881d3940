// Package jobs is durable background work: what a transaction wants done later is
// written in the same batch, and done after it, at least once.
//
// Contract:
//   - Add and Drop belong to the caller's transaction: no job without its fact, and no
//     fact without its job.
//   - A job is run at its time or later, again and again with a growing pause, until its
//     handler returns nil, says that it is hopeless (GiveUp), or somebody drops it. A
//     crash between a handler's end and its record makes it run once more, so a handler
//     does no harm by doing its work twice.
//   - The jobs of one kind run one after the other in the order of their times; kinds do
//     not wait for each other.
//   - A job that is replaced or dropped while its handler runs stays as it was made then:
//     the end of the earlier run does not touch it.
//   - What waits is counted by kind in the metrics, and so is how late the latest is.
//
// The package writes the key families J and H of engine/keys and reads no clock by
// itself.
package jobs

import (
	"errors"
	"fmt"
	"time"

	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Limits of background work.
const (
	// kindBytesMax bounds the name of a kind, and nameBytesMax that of a job within it.
	kindBytesMax = 16
	nameBytesMax = 256
	// bodyBytesMax bounds what a job carries.
	bodyBytesMax = 64 << 10
	// runTimeout bounds one run of a handler.
	runTimeout = time.Minute
	// pauseMin is the pause after a first failure, and pauseMax the longest; each pause
	// is twice the one before.
	pauseMin = 2 * time.Second
	pauseMax = time.Hour
	// lookInterval is how often work that has become due is looked for.
	lookInterval = 250 * time.Millisecond
	// turnMax is how many jobs of a kind are taken at a look.
	turnMax = 64
	// countedMax bounds what Count and the metrics count.
	countedMax = 100_000
)

// Job is one piece of work.
type Job struct {
	Kind string    // who does it; at most kindBytesMax
	Key  string    // its name: a second job of a kind and name replaces the first
	At   time.Time // when at the earliest; the zero time is at once
	Body []byte    // at most bodyBytesMax; whose form is the handler's business
}

// ErrMalformed says that a job cannot be kept: its names or its body break a limit.
var ErrMalformed = errors.New("malformed job")

// record is a job as it is kept.
type record struct {
	At    int64  `codec:"a"` // unix milliseconds: its place among the due
	CTime int64  `codec:"c"` // unix milliseconds
	Tries int    `codec:"t,omitempty"`
	Body  []byte `codec:"b"`
	// Serial tells this job from one that replaced it with the same content.
	Serial int64 `codec:"s"`
}

// kindID is a kind's name as it stands in keys.
func kindID(kind string) (id [kindBytesMax]byte) {
	copy(id[:], kind)
	return id
}

// kindName is the inverse of kindID.
func kindName(id [kindBytesMax]byte) string {
	n := len(id)
	for n > 0 && id[n-1] == 0 {
		n--
	}
	return string(id[:n])
}

func (j Job) check() error {
	switch {
	case j.Kind == "" || len(j.Kind) > kindBytesMax || j.Kind[len(j.Kind)-1] == 0:
		return fmt.Errorf("%w: a kind of %d bytes", ErrMalformed, len(j.Kind))
	case j.Key == "" || len(j.Key) > nameBytesMax:
		return fmt.Errorf("%w: a key of %d bytes", ErrMalformed, len(j.Key))
	case len(j.Body) > bodyBytesMax:
		return fmt.Errorf("%w: a body of %d bytes", ErrMalformed, len(j.Body))
	}
	return nil
}

// Add keeps a job, in place of the one of the same kind and key if there is one. The
// error is ErrMalformed if the job breaks a limit.
func Add(tx *store.Tx, j Job) error {
	if err := j.check(); err != nil {
		return err
	}
	kind := kindID(j.Kind)
	old, found, err := load(tx, kind, j.Key)
	if err != nil {
		return err
	}
	now := tx.Now().UnixMilli()
	rec := record{At: max(j.At.UnixMilli(), 0), CTime: now, Body: j.Body, Serial: now}
	if j.At.Before(tx.Now()) {
		rec.At = now
	}
	if found {
		tx.Delete(keys.DueJob(kind, old.At, j.Key))
		rec.Serial = max(rec.Serial, old.Serial+1)
	}
	put(tx, kind, j.Key, rec)
	return nil
}

// Drop takes a job back; one that is not there is no error.
func Drop(tx *store.Tx, kind, key string) error {
	id := kindID(kind)
	rec, found, err := load(tx, id, key)
	if err != nil || !found {
		return err
	}
	remove(tx, id, key, rec)
	return nil
}

// DropAll takes back all jobs of a kind whose keys begin with prefix.
func DropAll(tx *store.Tx, kind, prefix string) error {
	id := kindID(kind)
	lo := keys.Job(id, prefix)
	return tx.Scan(lo, keys.End(lo), func(k, v []byte) error {
		rec, err := store.Decode[record](v)
		if err != nil {
			return fmt.Errorf("jobs %s %q: %w", kind, prefix, err)
		}
		_, key, ok := keys.JobOf(k)
		if !ok {
			return fmt.Errorf("jobs %s %q: malformed key", kind, prefix)
		}
		remove(tx, id, key, rec)
		return nil
	})
}

// Count is how many jobs of a kind wait whose keys begin with prefix, at most max.
func Count(r store.Reader, kind, prefix string, max int) (n int, err error) {
	lo := keys.Job(kindID(kind), prefix)
	err = r.Scan(lo, keys.End(lo), func(_, _ []byte) error {
		if n++; n >= max {
			return store.ErrStop
		}
		return nil
	})
	return n, err
}

func load(r store.Reader, kind [kindBytesMax]byte, key string) (record, bool, error) {
	rec, err := store.Load[record](r, keys.Job(kind, key))
	if errors.Is(err, store.ErrNotFound) {
		return rec, false, nil
	}
	if err != nil {
		return rec, false, fmt.Errorf("load the job %s %q: %w", kindName(kind), key, err)
	}
	return rec, true, nil
}

func put(tx *store.Tx, kind [kindBytesMax]byte, key string, rec record) {
	store.Save(tx, keys.Job(kind, key), rec)
	tx.Set(keys.DueJob(kind, rec.At, key), nil)
}

func remove(tx *store.Tx, kind [kindBytesMax]byte, key string, rec record) {
	tx.Delete(keys.Job(kind, key))
	tx.Delete(keys.DueJob(kind, rec.At, key))
}

// CheckShape says what is wrong with a stored job, for audits.
func CheckShape(_, v []byte) error {
	_, err := store.Decode[record](v)
	return err
}
