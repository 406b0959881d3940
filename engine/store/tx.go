package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Reader reads records. Keys come from engine/keys.
type Reader interface {
	// Get returns the value, which the caller owns, or ErrNotFound.
	Get(key []byte) ([]byte, error)
	// Scan calls fn for each record with lo <= key < hi, in order; a nil hi has no
	// end. k and v are valid only during the call. fn ends the scan with ErrStop.
	Scan(lo, hi []byte, fn func(k, v []byte) error) error
	// ScanReverse is Scan from the end.
	ScanReverse(lo, hi []byte, fn func(k, v []byte) error) error
}

// reader adapts a pebble.Reader; without one it reads nothing but ErrStopped.
type reader struct{ r pebble.Reader }

func (r reader) Get(key []byte) ([]byte, error) {
	if r.r == nil {
		return nil, ErrStopped
	}
	v, closer, err := r.r.Get(key)
	if err != nil {
		if errors.Is(err, pebble.ErrNotFound) {
			return nil, ErrNotFound
		}
		return nil, fmt.Errorf("read a record: %w", err)
	}
	out := bytes.Clone(v)
	if out == nil {
		out = []byte{}
	}
	return out, closer.Close()
}

func (r reader) Scan(lo, hi []byte, fn func(k, v []byte) error) error {
	return r.scan(lo, hi, false, fn)
}

func (r reader) ScanReverse(lo, hi []byte, fn func(k, v []byte) error) error {
	return r.scan(lo, hi, true, fn)
}

func (r reader) scan(lo, hi []byte, reverse bool, fn func(k, v []byte) error) (err error) {
	if r.r == nil {
		return ErrStopped
	}
	it, err := r.r.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return fmt.Errorf("scan records: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	step, ok := it.Next, false
	if reverse {
		step, ok = it.Prev, it.Last()
	} else {
		ok = it.First()
	}
	for ; ok; ok = step() {
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("scan records: %w", err)
		}
		if err := fn(it.Key(), v); err != nil {
			if errors.Is(err, ErrStop) {
				return nil
			}
			return err
		}
	}
	return nil
}

// View is one published state of the store: a snapshot and what the sealer made
// of it. It must be closed, once; an open view keeps old records on disk.
type View struct {
	reader
	snap   *pebble.Snapshot
	sealed any
	refs   atomic.Int64
	open   *sync.WaitGroup // of all snapshots of the store
}

// newView is the state as of now; the store holds the first reference.
func (s *Store) newView(sealed any) *View {
	snap := s.db.NewSnapshot()
	s.snapshots.Add(1)
	v := &View{reader: reader{snap}, snap: snap, sealed: sealed, open: &s.snapshots}
	v.refs.Store(1)
	return v
}

// View returns the newest published state.
func (s *Store) View() *View {
	for !s.gone.Load() {
		v := s.current.Load()
		n := v.refs.Load()
		// A view whose last reference is gone has been replaced meanwhile.
		if n > 0 && v.refs.CompareAndSwap(n, n+1) {
			return v
		}
	}
	last := &View{sealed: s.current.Load().sealed}
	last.refs.Store(1)
	return last
}

// Sealed is what the sealer returned for this state.
func (v *View) Sealed() any { return v.sealed }

// Close gives the view back.
func (v *View) Close() {
	if v.refs.Add(-1) == 0 && v.snap != nil {
		_ = v.snap.Close()
		v.open.Done()
	}
}

// Tx is a running transaction: a Reader that sees all earlier transactions and its
// own writes.
type Tx struct {
	now    time.Time
	base   reader
	order  []string          // keys in order of their first write
	writes map[string][]byte // nil value: deleted
	notes  []any
}

// Now is the time of the transaction; all transactions of a group share it.
func (tx *Tx) Now() time.Time { return tx.now }

// Note hands n to the sealer if the transaction succeeds.
func (tx *Tx) Note(n any) { tx.notes = append(tx.notes, n) }

// Set writes a record. The value is not copied and must not change afterwards.
func (tx *Tx) Set(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	tx.put(key, value)
}

// Delete removes a record, if it is there.
func (tx *Tx) Delete(key []byte) { tx.put(key, nil) }

func (tx *Tx) put(key, value []byte) {
	if tx.writes == nil {
		tx.writes = make(map[string][]byte)
	}
	k := string(key)
	if _, ok := tx.writes[k]; !ok {
		tx.order = append(tx.order, k)
	}
	tx.writes[k] = value
}

// Get implements Reader.
func (tx *Tx) Get(key []byte) ([]byte, error) {
	if v, ok := tx.writes[string(key)]; ok {
		if v == nil {
			return nil, ErrNotFound
		}
		return bytes.Clone(v), nil
	}
	return tx.base.Get(key)
}

// Scan implements Reader.
func (tx *Tx) Scan(lo, hi []byte, fn func(k, v []byte) error) error {
	return tx.scan(lo, hi, false, fn)
}

// ScanReverse implements Reader.
func (tx *Tx) ScanReverse(lo, hi []byte, fn func(k, v []byte) error) error {
	return tx.scan(lo, hi, true, fn)
}

// scan merges the transaction's own writes into the base.
func (tx *Tx) scan(lo, hi []byte, reverse bool, fn func(k, v []byte) error) error {
	var own []string
	for _, k := range tx.order {
		if k >= string(lo) && (hi == nil || k < string(hi)) {
			own = append(own, k)
		}
	}
	if len(own) == 0 {
		return tx.base.scan(lo, hi, reverse, fn)
	}
	slices.Sort(own)
	before := func(a, b string) bool { return a < b }
	if reverse {
		slices.Reverse(own)
		before = func(a, b string) bool { return a > b }
	}
	emitOwn := func() error {
		k := own[0]
		own = own[1:]
		if v := tx.writes[k]; v != nil {
			return fn([]byte(k), v)
		}
		return nil
	}
	stopped := false
	err := tx.base.scan(lo, hi, reverse, func(k, v []byte) error {
		for len(own) > 0 && before(own[0], string(k)) {
			if err := emitOwn(); err != nil {
				stopped = errors.Is(err, ErrStop)
				return err
			}
		}
		var err error
		if len(own) > 0 && own[0] == string(k) {
			err = emitOwn()
		} else {
			err = fn(k, v)
		}
		stopped = errors.Is(err, ErrStop)
		return err
	})
	for err == nil && !stopped && len(own) > 0 {
		if err = emitOwn(); errors.Is(err, ErrStop) {
			return nil
		}
	}
	return err
}

// flush moves the writes into the group's batch.
func (tx *Tx) flush(b *pebble.Batch) error {
	for _, k := range tx.order {
		var err error
		if v := tx.writes[k]; v == nil {
			err = b.Delete([]byte(k), nil)
		} else {
			err = b.Set([]byte(k), v, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
