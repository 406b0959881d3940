package gregor

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// A user's records lie under their message ids. Beside them are a Sum and places in
// four orders, so that a message costs what it touches and not what the user has:
// which items a range dismisses, which end now, which make room, and which dead ones
// may be forgotten are each the beginning of an order.
const (
	orderCategory byte = 'c' // group: the category; who is not dismissed
	orderRoom     byte = 'o' // group: lasting or not; who is alive, in the order in which they make room
	orderEnds     byte = 'x' // group: dtime; who is alive and ends by itself
	orderDead     byte = 'e' // group: the end; who has ended
)

// The groups of orderRoom: what ends by itself makes room first.
var groupPassing, groupLasting = [8]byte{0}, [8]byte{1}

// Sum is what a user's records are in all. Who has ended by itself is counted among
// the dead from the first message after.
type Sum struct {
	Newest gregor1.Time `codec:"n"`           // the stamp that was given last
	Swept  gregor1.Time `codec:"s"`           // until when items that end by themselves are counted as dead
	Live   int          `codec:"l"`           // items
	Bytes  int          `codec:"b"`           // of the live items
	Dead   int          `codec:"d,omitempty"` // records
}

// place is a record's place in an order.
type place struct {
	order byte
	group [8]byte
}

func groupOfCategory(category string) (g [8]byte) {
	h := sha256.Sum256([]byte(category))
	copy(g[:], h[:])
	return g
}

// groupOfTime sorts as the times do, negative ones included.
func groupOfTime(t gregor1.Time) (g [8]byte) {
	binary.BigEndian.PutUint64(g[:], uint64(t)^1<<63)
	return g
}

func timeOfGroup(g [8]byte) gregor1.Time {
	return gregor1.Time(binary.BigEndian.Uint64(g[:]) ^ 1<<63)
}

// places are where a record stands, as counted at swept.
func places(r *Record, swept gregor1.Time) (out []place) {
	if r == nil {
		return nil
	}
	if r.HasItem && r.Dismissed == 0 {
		out = append(out, place{orderCategory, groupOfCategory(r.Category)})
	}
	if end, dead := r.endedAt(swept); dead {
		return append(out, place{orderDead, groupOfTime(end)})
	}
	if r.DTime == 0 {
		return append(out, place{orderRoom, groupLasting})
	}
	return append(out, place{orderRoom, groupPassing}, place{orderEnds, groupOfTime(r.DTime)})
}

// count adds a record to the sum, n times.
func (s *Sum) count(r *Record, n int) {
	if r == nil {
		return
	}
	if _, dead := r.endedAt(s.Swept); dead {
		s.Dead += n
		return
	}
	s.Live += n
	s.Bytes += n * (len(r.Body) + len(r.Category))
}

// book reads a user's records at one moment.
type book struct {
	r store.Reader
	u kbsig.UID
}

// sum reads the sum; it is missing while nothing is kept, and in stores from before
// there were sums.
func (b book) sum() (s Sum, known bool, err error) {
	s, err = store.Load[Sum](b.r, keys.GregorSum(b.u))
	if errors.Is(err, store.ErrNotFound) {
		return Sum{}, false, nil
	}
	if err != nil {
		return s, false, fmt.Errorf("sum of the messages of %s: %w", b.u, err)
	}
	return s, true, nil
}

// all returns all records in any order.
func (b book) all() ([]Record, error) {
	var recs []Record
	prefix := keys.Gregors(b.u)
	err := b.r.Scan(prefix, keys.End(prefix), func(k, v []byte) error {
		r, err := store.Decode[Record](v)
		if err != nil {
			return fmt.Errorf("record %x: %w", k, err)
		}
		recs = append(recs, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load messages of %s: %w", b.u, err)
	}
	return recs, nil
}

// record returns one record, or nil.
func (b book) record(msgID []byte) (*Record, error) {
	if len(msgID) == 0 {
		return nil, nil
	}
	r, err := store.Load[Record](b.r, keys.Gregor(b.u, msgID))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("message %x of %s: %w", msgID, b.u, err)
	}
	return &r, nil
}

// nothing is the change after which no record is left, nor anything about them.
func (b book) nothing() (c Change, err error) {
	recs, err := b.all()
	for i := range recs {
		c.Delete = append(c.Delete, recs[i].MsgID)
	}
	if err != nil {
		return c, err
	}
	c.places = map[string][]byte{string(keys.GregorSum(b.u)): nil}
	prefix := keys.GregorPlaces(b.u)
	err = b.r.Scan(prefix, keys.End(prefix), func(k, _ []byte) error {
		c.places[string(k)] = nil
		return nil
	})
	if err != nil {
		return c, fmt.Errorf("places of messages of %s: %w", b.u, err)
	}
	return c, nil
}

// walk calls fn with the message ids from lo on, below hi, until it says no. What lo
// and hi may be are prefixes and keys of places.
func (b book) walk(lo, hi []byte, fn func(group [8]byte, msgID []byte) (more bool, err error)) error {
	err := b.r.Scan(lo, hi, func(k, v []byte) error {
		_, _, group, _, ok := keys.GregorPlaceOf(k)
		if !ok {
			return fmt.Errorf("malformed key %x", k)
		}
		more, err := fn(group, bytes.Clone(v))
		if err == nil && !more {
			err = store.ErrStop
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("places of messages of %s: %w", b.u, err)
	}
	return nil
}

// edit is what one message changes in a user's book. Records that it has touched are
// read from it, and places as they were before.
type edit struct {
	book
	sum     Sum
	was     Sum                // as the book has it
	touched map[string]*Record // by message id; nil: forgotten
	swept   []*Record          // ended by themselves since the last message
	rows    map[string][]byte  // places by key, with the message id; nil: taken away
}

// newEdit begins a change of a book whose records are counted.
func newEdit(b book, s Sum) *edit {
	return &edit{book: b, sum: s, was: s, touched: map[string]*Record{}, rows: map[string][]byte{}}
}

// recount makes sum and places of records that have none; changed says that there are any.
func (b book) recount() (e *edit, changed bool, err error) {
	e = newEdit(b, Sum{})
	recs, err := b.all()
	for i := range recs {
		e.sum.Newest = max(e.sum.Newest, recs[i].CTime)
		e.move(nil, &recs[i])
	}
	return e, len(recs) > 0, err
}

// now returns a record as the edit leaves it.
func (e *edit) now(msgID []byte) (*Record, error) {
	if r, ok := e.touched[string(msgID)]; ok {
		return r, nil
	}
	return e.record(msgID)
}

// replace puts a record in the place of what it was; either may be nil.
func (e *edit) replace(old, r *Record) {
	e.move(old, r)
	if r == nil {
		e.touched[string(old.MsgID)] = nil
		return
	}
	e.touched[string(r.MsgID)] = r
}

// move keeps places and sum in step with a change of a record.
func (e *edit) move(old, r *Record) {
	e.leave(old)
	e.enter(r)
}

func (e *edit) leave(r *Record) {
	for _, p := range places(r, e.sum.Swept) {
		e.rows[e.key(r, p)] = nil
	}
	e.sum.count(r, -1)
}

func (e *edit) enter(r *Record) {
	for _, p := range places(r, e.sum.Swept) {
		e.rows[e.key(r, p)] = r.MsgID
	}
	e.sum.count(r, 1)
}

func (e *edit) key(r *Record, p place) string {
	return string(keys.GregorPlace(e.u, p.order, p.group, int64(r.CTime)))
}

// sweep counts as dead what has ended by itself until now.
func (e *edit) sweep(now gregor1.Time) error {
	if now <= e.sum.Swept {
		return nil
	}
	var ended []*Record
	hi := keys.GregorGroup(e.u, orderEnds, groupOfTime(now+1))
	err := e.walk(keys.GregorOrder(e.u, orderEnds), hi, func(_ [8]byte, id []byte) (bool, error) {
		r, err := e.record(id)
		if r != nil {
			ended = append(ended, r)
		}
		return true, err
	})
	if err != nil {
		return err
	}
	for _, r := range ended {
		e.leave(r)
	}
	e.sum.Swept, e.swept = now, ended
	for _, r := range ended {
		e.enter(r)
	}
	return nil
}

// end dismisses a record's item, if it has one that is not dismissed.
func (e *edit) end(r *Record, ctime gregor1.Time) {
	if r == nil || !r.HasItem || r.Dismissed != 0 {
		return
	}
	gone := *r
	gone.Dismissed, gone.Body, gone.Reminders = ctime, nil, nil
	e.replace(r, &gone)
}

// dismiss ends the items that d names.
func (e *edit) dismiss(d *gregor1.Dismissal, newest []byte, ctime gregor1.Time) error {
	if d == nil {
		return nil
	}
	for _, id := range d.MsgIDs {
		r, err := e.now(id)
		if err != nil {
			return err
		}
		e.end(r, ctime)
	}
	for i := range d.Ranges {
		if err := e.dismissRange(&d.Ranges[i], newest, ctime); err != nil {
			return err
		}
	}
	return nil
}

// dismissRange ends the items of a range; the newest record has no place yet.
func (e *edit) dismissRange(g *gregor1.MsgRange, newest []byte, ctime gregor1.Time) error {
	ids := [][]byte{newest}
	if g.EndTime.Time >= 0 {
		group := groupOfCategory(g.Category)
		hi := keys.End(keys.GregorPlace(e.u, orderCategory, group, int64(g.EndTime.Time)))
		err := e.walk(keys.GregorGroup(e.u, orderCategory, group), hi, func(_ [8]byte, id []byte) (bool, error) {
			ids = append(ids, id)
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	for _, id := range ids {
		r, err := e.now(id)
		if err != nil {
			return err
		}
		if r != nil && g.Category == r.Category && r.CTime <= g.EndTime.Time &&
			!slices.ContainsFunc(g.SkipMsgIDs, func(skip []byte) bool { return bytes.Equal(skip, id) }) {
			e.end(r, ctime)
		}
	}
	return nil
}

// makeRoom ends items until the rest is within the limits of a user, and returns their
// ids: those that end by themselves first, then the oldest, never the newest record.
func (e *edit) makeRoom(newest []byte, ctime gregor1.Time) (ids [][]byte, err error) {
	over := func() bool { return e.sum.Live > itemsMax || e.sum.Bytes > itemBytesMax }
	if !over() {
		return nil, nil
	}
	prefix := keys.GregorOrder(e.u, orderRoom)
	err = e.walk(prefix, keys.End(prefix), func(_ [8]byte, id []byte) (bool, error) {
		r, err := e.now(id)
		if err != nil || r == nil {
			return err == nil, err
		}
		if _, dead := r.endedAt(e.sum.Swept); !dead && !bytes.Equal(id, newest) {
			e.end(r, ctime)
			ids = append(ids, id)
		}
		return over(), nil
	})
	return ids, err
}

// forget takes away ended records that need not be remembered any more: the old ones,
// and of too many those that ended first.
func (e *edit) forget(now gregor1.Time) error {
	horizon := now - gregor1.Time(deadKeptFor.Milliseconds())
	for _, r := range e.swept { // their places are not among those that were
		if _, touched := e.touched[string(r.MsgID)]; !touched && r.DTime < horizon {
			e.replace(r, nil)
		}
	}
	prefix := keys.GregorOrder(e.u, orderDead)
	return e.walk(prefix, keys.End(prefix), func(group [8]byte, id []byte) (bool, error) {
		if end := timeOfGroup(group); end >= horizon && e.sum.Dead <= deadMax {
			return false, nil
		}
		r, err := e.now(id)
		if err != nil || r == nil {
			return err == nil, err
		}
		if end, dead := r.endedAt(e.sum.Swept); dead && groupOfTime(end) == group {
			e.replace(r, nil)
		}
		return true, nil
	})
}

// change is what has to be kept of the edit.
func (e *edit) change() Change {
	c := Change{Sum: &e.sum, was: e.was, places: e.rows}
	for _, id := range slices.Sorted(maps.Keys(e.touched)) {
		if r := e.touched[id]; r != nil {
			c.Put = append(c.Put, *r)
		} else {
			c.Delete = append(c.Delete, []byte(id))
		}
	}
	return c
}
