package gregor

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keybase/go-codec/codec"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

// Record is one consumed message as it is kept: what it created, what it dismissed,
// and when its item ended.
type Record struct {
	MsgID     []byte             `codec:"i"`
	CTime     gregor1.Time       `codec:"c"`
	DeviceID  []byte             `codec:"d,omitempty"` // whom the item is for; nil: all devices
	Skip      []byte             `codec:"s,omitempty"` // whom it is not for; nil: nobody
	HasItem   bool               `codec:"h,omitempty"`
	Category  string             `codec:"k,omitempty"`
	Body      []byte             `codec:"b,omitempty"` // dropped when the item ends
	DTime     gregor1.Time       `codec:"t,omitempty"` // absolute; 0: never
	Dismissed gregor1.Time       `codec:"x,omitempty"` // ctime of the message that dismissed the item; 0: none did
	Dismissal *gregor1.Dismissal `codec:"y,omitempty"`
	Reminders []Reminder         `codec:"r,omitempty"` // in order of their times; dropped when the item ends
}

// offsetMax bounds an offset in either direction (a hundred years in
// milliseconds), so that adding it to a time cannot overflow.
const offsetMax = 100 * 366 * 24 * 3600 * 1000

// liveAt reports whether the record's item has not ended at t. It may have been
// stamped after t: when the clock goes back, stamps do not.
func (r *Record) liveAt(t gregor1.Time) bool {
	return r.HasItem && r.Dismissed == 0 && (r.DTime == 0 || r.DTime > t)
}

// endedAt is when the record stopped to matter: the end of its item, or for a bare
// dismissal its own time. Live records have none.
func (r *Record) endedAt(now gregor1.Time) (gregor1.Time, bool) {
	switch {
	case !r.HasItem:
		return r.CTime, true
	case r.Dismissed != 0:
		return r.Dismissed, true
	case r.DTime != 0 && r.DTime <= now:
		return r.DTime, true
	}
	return 0, false
}

// visibleTo reports whether the record is for the device; the zero device sees all.
func (r *Record) visibleTo(d kbsig.DeviceID) bool {
	if d.IsZero() {
		return true
	}
	return (len(r.DeviceID) == 0 || bytes.Equal(r.DeviceID, d[:])) && !bytes.Equal(r.Skip, d[:])
}

func (r *Record) metadata(u kbsig.UID) gregor1.Metadata {
	md := gregor1.Metadata{UID: u[:], MsgID: r.MsgID, CTime: r.CTime, InBandMsgType: gregor1.InBandUpdate}
	if len(r.DeviceID) != 0 {
		md.DeviceID = r.DeviceID
	}
	return md
}

// item spells the record's item. The body is never nil: clients dereference it.
func (r *Record) item() *gregor1.Item {
	body := r.Body
	if body == nil {
		body = []byte{}
	}
	return &gregor1.Item{Category: r.Category, Body: body, DTime: gregor1.TimeOrOffset{Time: r.DTime}}
}

// told is the item as it is told when it is created: with its reminders, which are no
// part of a state. client: go/gregor/storage/mem_sm.go:item.export
func (r *Record) told() *gregor1.Item {
	it := r.item()
	for _, m := range r.Reminders {
		it.RemindTimes = append(it.RemindTimes, gregor1.TimeOrOffset{Time: m.At})
	}
	return it
}

// checkUpdate refuses what clients could not digest and what exceeds a limit.
func checkUpdate(up gregor1.StateUpdateMessage) error {
	md := up.Metadata
	if len(md.MsgID) == 0 || len(md.MsgID) > msgIDBytesMax {
		return fmt.Errorf("message id of %d bytes: %w", len(md.MsgID), ErrRefused)
	}
	if len(md.DeviceID) != 0 && len(md.DeviceID) != deviceIDBytes {
		return fmt.Errorf("device id of %d bytes: %w", len(md.DeviceID), ErrRefused)
	}
	if up.Creation == nil && up.Dismissal == nil {
		return fmt.Errorf("neither creation nor dismissal: %w", ErrRefused)
	}
	if c := up.Creation; c != nil {
		if len(c.Category) == 0 || len(c.Category) > categoryBytesMax {
			return fmt.Errorf("category of %d bytes: %w", len(c.Category), ErrRefused)
		}
		if len(c.Body) > bodyBytesMax {
			return fmt.Errorf("body of %d bytes: %w", len(c.Body), ErrRefused)
		}
		if len(c.RemindTimes) > remindersMax {
			return fmt.Errorf("%d reminders: %w", len(c.RemindTimes), ErrRefused)
		}
	}
	if up.Dismissal == nil {
		return nil
	}
	return checkDismissal(up.Dismissal)
}

func checkDismissal(d *gregor1.Dismissal) error {
	if len(d.MsgIDs) > dismissedIDsMax || len(d.Ranges) > dismissedRangesMax {
		return fmt.Errorf("dismissal of %d ids and %d ranges: %w", len(d.MsgIDs), len(d.Ranges), ErrRefused)
	}
	for _, id := range d.MsgIDs {
		if len(id) > msgIDBytesMax {
			return fmt.Errorf("dismissed id of %d bytes: %w", len(id), ErrRefused)
		}
	}
	for _, r := range d.Ranges {
		if len(r.Category) > categoryBytesMax || len(r.SkipMsgIDs) > skippedIDsMax {
			return fmt.Errorf("range with a category of %d bytes and %d exceptions: %w", len(r.Category), len(r.SkipMsgIDs), ErrRefused)
		}
		for _, id := range r.SkipMsgIDs {
			if len(id) > msgIDBytesMax {
				return fmt.Errorf("excepted id of %d bytes: %w", len(id), ErrRefused)
			}
		}
	}
	return nil
}

// outcome is what an update does: to the records, and what devices are told.
type outcome struct {
	repeated bool // the message id was seen before; nothing happens
	change   Change
	out      gregor1.StateUpdateMessage
	record   Record // of the update; says which devices its creation is for
	evicted  int    // items that had to make room
	// hintsEvicted says that some of these told of teams.
	hintsEvicted bool
}

// apply computes the outcome of a checked update over a user's records.
func apply(e *edit, up gregor1.StateUpdateMessage, skip kbsig.DeviceID, now gregor1.Time) (o outcome, err error) {
	if old, err := e.record(up.Metadata.MsgID); err != nil || old != nil {
		return outcome{repeated: true}, err
	}
	if err := e.sweep(now); err != nil {
		return o, err
	}
	ctime := max(now, e.sum.Newest+1)
	e.sum.Newest = ctime
	rec := newRecord(up, skip, ctime)
	// Creation comes before dismissal, which may then also hit what was just created.
	e.replace(nil, &rec)
	if err := e.dismiss(rec.Dismissal, rec.MsgID, ctime); err != nil {
		return o, err
	}
	evicted, err := e.makeRoom(rec.MsgID, ctime)
	if err != nil {
		return o, err
	}
	hints, err := e.hints(evicted)
	if err != nil {
		return o, err
	}
	mine := e.touched[string(rec.MsgID)]
	if len(evicted) > 0 {
		d := &gregor1.Dismissal{}
		if rec.Dismissal != nil {
			*d = *rec.Dismissal
		}
		d.MsgIDs = append(slices.Clone(d.MsgIDs), evicted...)
		mine.Dismissal = d
	}
	if err := e.forget(now); err != nil {
		return o, err
	}
	o = outcome{change: e.change(), record: *mine, evicted: len(evicted), hintsEvicted: hints}
	if at, waits := mine.nextReminder(); waits {
		o.change.Wake = append(o.change.Wake, Wake{mine.MsgID, at})
	}
	o.out = gregor1.StateUpdateMessage{Metadata: mine.metadata(e.u), Dismissal: mine.Dismissal}
	if up.Creation != nil {
		o.out.Creation = rec.told()
	}
	return o, nil
}

// newRecord is what is kept of an update before anything has ended it.
func newRecord(up gregor1.StateUpdateMessage, skip kbsig.DeviceID, ctime gregor1.Time) Record {
	rec := Record{MsgID: up.Metadata.MsgID, CTime: ctime, DeviceID: up.Metadata.DeviceID}
	if !skip.IsZero() {
		rec.Skip = skip[:]
	}
	if c := up.Creation; c != nil {
		rec.HasItem, rec.Category, rec.Body = true, c.Category, c.Body
		rec.DTime = absolute(ctime, c.DTime)
		rec.Reminders = reminders(ctime, c.RemindTimes)
	}
	rec.Dismissal = absoluteDismissal(ctime, up.Dismissal)
	return rec
}

// stateOf is the state at the moment at (unset: now) as the device sees it.
func stateOf(u kbsig.UID, cur []Record, d kbsig.DeviceID, now gregor1.Time, at gregor1.TimeOrOffset, prefix string) gregor1.State {
	moment := absolute(now, at)
	past := moment != 0 // only then what was stamped later does not count
	if !past {
		moment = now
	}
	st := gregor1.State{Items: []gregor1.ItemAndMetadata{}}
	for _, r := range ordered(cur) {
		if !r.liveAt(moment) || past && r.CTime > moment || !r.visibleTo(d) || !strings.HasPrefix(r.Category, prefix) {
			continue
		}
		md := r.metadata(u)
		st.Items = append(st.Items, gregor1.ItemAndMetadata{Metadata: &md, Item: r.item()})
	}
	return st
}

// since is the messages stamped at or after t, without creations that were dismissed
// or are for another device. What has expired is told: clients run their own clock.
func since(u kbsig.UID, cur []Record, d kbsig.DeviceID, t gregor1.Time) []gregor1.InBandMessage {
	msgs := []gregor1.InBandMessage{}
	for _, r := range ordered(cur) {
		if r.CTime < t {
			continue
		}
		up := gregor1.StateUpdateMessage{Metadata: r.metadata(u), Dismissal: r.Dismissal}
		if r.HasItem && r.Dismissed == 0 && r.visibleTo(d) {
			up.Creation = r.told()
		}
		if up.Creation != nil || up.Dismissal != nil {
			msgs = append(msgs, gregor1.InBandMessage{StateUpdate: &up})
		}
	}
	return msgs
}

// remembered reports whether nothing that ended at t or later can be forgotten: what
// is forgotten is either older than the horizon, or leaves deadMax younger ones.
func remembered(cur []Record, sum Sum, now, t gregor1.Time) bool {
	dead := 0
	for i := range cur {
		if _, ok := cur[i].endedAt(now); ok {
			dead++
		}
	}
	const slack = gregor1.Time(time.Hour / time.Millisecond) // for a clock that is set
	return max(dead, sum.Dead) < deadMax && t >= now-gregor1.Time(deadKeptFor.Milliseconds())+slack && t <= now+slack
}

// ordered returns the records by ctime, then message id.
func ordered(cur []Record) []*Record {
	out := make([]*Record, len(cur))
	for i := range cur {
		out[i] = &cur[i]
	}
	slices.SortFunc(out, func(a, b *Record) int {
		return cmp.Or(cmp.Compare(a.CTime, b.CTime), bytes.Compare(a.MsgID, b.MsgID))
	})
	return out
}

// hashHandle is the dialect that clients hash a state in.
// client: go/protocol/gregor1/extras.go:State.Hash
var hashHandle = &codec.MsgpackHandle{WriteExt: true}

func hashState(st gregor1.State) ([]byte, error) {
	var b []byte
	if err := codec.NewEncoderBytes(&b, hashHandle).Encode(st); err != nil {
		return nil, err
	}
	h := sha256.Sum256(b)
	return h[:], nil
}

// absolute turns a moment relative to ctime into one that is not; 0 stays unset.
func absolute(ctime gregor1.Time, t gregor1.TimeOrOffset) gregor1.Time {
	switch {
	case t.Time != 0:
		return t.Time
	case t.Offset != 0:
		return ctime + gregor1.Time(min(max(t.Offset, -offsetMax), offsetMax))
	}
	return 0
}

// orNow is absolute with "unset" meaning now.
func orNow(now gregor1.Time, t gregor1.TimeOrOffset) gregor1.Time {
	if a := absolute(now, t); a != 0 {
		return a
	}
	return now
}

// absoluteDismissal copies d with every range ending at an absolute time, so that
// no receiver has to ask what "now" was.
func absoluteDismissal(ctime gregor1.Time, d *gregor1.Dismissal) *gregor1.Dismissal {
	if d == nil {
		return nil
	}
	out := &gregor1.Dismissal{MsgIDs: d.MsgIDs}
	for _, r := range d.Ranges {
		r.EndTime = gregor1.TimeOrOffset{Time: orNow(ctime, r.EndTime)}
		out.Ranges = append(out.Ranges, r)
	}
	return out
}
