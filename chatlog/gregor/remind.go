package gregor

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

// Reminder is a time at which an item is told again while it is alive. It is due from
// then on until somebody deletes it.
type Reminder struct {
	At   gregor1.Time `codec:"t"`
	Told bool         `codec:"o,omitempty"` // devices have been told
	Gone bool         `codec:"g,omitempty"` // somebody deleted it
}

// remindersAnsweredMax bounds the reminders of one answer.
const remindersAnsweredMax = 256

// reminders turns remind times into reminders, the earliest first.
func reminders(ctime gregor1.Time, times []gregor1.TimeOrOffset) (out []Reminder) {
	for _, t := range times {
		if at := absolute(ctime, t); at > 0 {
			out = append(out, Reminder{At: at})
		}
	}
	slices.SortFunc(out, func(a, b Reminder) int { return cmp.Compare(a.At, b.At) })
	return out
}

// nextReminder is when the record's item is to be told again next.
func (r *Record) nextReminder() (gregor1.Time, bool) {
	for _, m := range r.Reminders {
		if r.HasItem && r.Dismissed == 0 && !m.Told && !m.Gone {
			return m.At, true
		}
	}
	return 0, false
}

// Remind tells a user's item again if a reminder of it is due: to all connected
// devices (those that have it ignore it), and to whoever wakes devices that are not
// connected. What is not there, has ended or was told is no error.
func (s *Service) Remind(ctx context.Context, u kbsig.UID, msgID []byte) error {
	r, err := s.rooms.enter(ctx, u)
	if err != nil {
		return err
	}
	defer s.rooms.leave(u, r)
	b, end, err := s.open(ctx, u)
	if err != nil {
		return err
	}
	defer end()
	now := milliseconds(s.opts.Clock())
	found, err := b.record(msgID)
	if err != nil || found == nil || !found.liveAt(now) {
		return err
	}
	rec := *found
	due := false
	rec.Reminders = slices.Clone(rec.Reminders)
	for i := range rec.Reminders {
		if m := &rec.Reminders[i]; m.At <= now && !m.Told {
			m.Told = true
			due = due || !m.Gone
		}
	}
	c := Change{Put: []Record{rec}}
	if at, waits := rec.nextReminder(); waits {
		c.Wake = []Wake{{rec.MsgID, at}}
	}
	if err := s.opts.Log.Commit(ctx, u, c); err != nil {
		return fmt.Errorf("keep a reminder of %s: %w", u, err)
	}
	if !due {
		return nil
	}
	s.metrics.reminders.Inc()
	s.tell(r, outcome{out: gregor1.StateUpdateMessage{Metadata: rec.metadata(u), Creation: rec.told()}, record: rec})
	if s.opts.Notify != nil {
		md := rec.metadata(u)
		s.opts.Notify(ctx, u, gregor1.ItemAndMetadata{Metadata: &md, Item: rec.item()})
	}
	return nil
}

// DueReminders returns at most max reminders of u that are due and not deleted, the
// earliest first. Their number within the item's is what deletes them.
func (s *Service) DueReminders(ctx context.Context, u kbsig.UID, d kbsig.DeviceID, max int) (gregor1.ReminderSet, error) {
	b, end, err := s.open(ctx, u)
	if err != nil {
		return gregor1.ReminderSet{}, err
	}
	defer end()
	cur, err := b.all()
	if err != nil {
		return gregor1.ReminderSet{}, err
	}
	now := milliseconds(s.opts.Clock())
	due := []gregor1.Reminder{}
	for _, r := range ordered(cur) {
		if !r.liveAt(now) || !r.visibleTo(d) {
			continue
		}
		for i, m := range r.Reminders {
			if m.At <= now && !m.Gone {
				md := r.metadata(u)
				due = append(due, gregor1.Reminder{Item: gregor1.ItemAndMetadata{Metadata: &md, Item: r.item()}, Seqno: i, RemindTime: m.At})
			}
		}
	}
	slices.SortStableFunc(due, func(a, b gregor1.Reminder) int { return cmp.Compare(a.RemindTime, b.RemindTime) })
	n := min(len(due), max, remindersAnsweredMax)
	return gregor1.ReminderSet{Reminders: due[:n], MoreRemindersReady: n < len(due)}, nil
}

// DeleteReminders deletes reminders of u. What is not there is no error.
func (s *Service) DeleteReminders(ctx context.Context, u kbsig.UID, ids []gregor1.ReminderID) error {
	r, err := s.rooms.enter(ctx, u)
	if err != nil {
		return err
	}
	defer s.rooms.leave(u, r)
	b, end, err := s.open(ctx, u)
	if err != nil {
		return err
	}
	defer end()
	changed := make(map[string]*Record)
	for _, id := range ids {
		rec, found := changed[string(id.MsgID)]
		if !found {
			if rec, err = b.record(id.MsgID); err != nil {
				return err
			}
		}
		if rec == nil || id.Seqno < 0 || id.Seqno >= len(rec.Reminders) {
			continue
		}
		rec.Reminders[id.Seqno].Gone = true
		changed[string(id.MsgID)] = rec
	}
	var c Change
	for _, rec := range changed {
		c.Put = append(c.Put, *rec)
	}
	if len(c.Put) == 0 {
		return nil
	}
	if err := s.opts.Log.Commit(ctx, u, c); err != nil {
		return fmt.Errorf("delete reminders of %s: %w", u, err)
	}
	return nil
}
