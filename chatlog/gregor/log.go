package gregor

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// StoreLog keeps records in the server's store: one record per message, one
// transaction per Change. Reminders wait as jobs; see HandleJobs.
func StoreLog(s *store.Store) Log { return storeLog{s} }

type storeLog struct{ store *store.Store }

func (l storeLog) View(context.Context) (View, error) { return l.store.View(), nil }

func (l storeLog) Commit(ctx context.Context, u kbsig.UID, c Change) error {
	rows := c.rows(u) // encoded before the transaction: the committer serves everybody
	return l.store.Update(ctx, func(tx *store.Tx) error {
		if err := c.fits(book{tx, u}); err != nil {
			return err
		}
		for _, r := range rows {
			if r.value == nil {
				tx.Delete(r.key)
			} else {
				tx.Set(r.key, r.value)
			}
		}
		for _, w := range c.Wake {
			err := jobs.Add(tx, jobs.Job{Kind: remindKind, Key: wakeKey(u, w.MsgID), At: time.UnixMilli(int64(w.At))})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// row is one write; without a value it is a deletion.
type row struct{ key, value []byte }

// rows are the writes of a change.
func (c *Change) rows(u kbsig.UID) (out []row) {
	for _, r := range c.Put {
		out = append(out, row{keys.Gregor(u, r.MsgID), store.Encode(r)})
	}
	for _, id := range c.Delete {
		out = append(out, row{keys.Gregor(u, id), nil})
	}
	for _, k := range slices.Sorted(maps.Keys(c.places)) {
		out = append(out, row{[]byte(k), c.places[k]})
	}
	if c.Sum != nil {
		out = append(out, row{keys.GregorSum(u), store.Encode(c.Sum)})
	}
	return out
}

// fits refuses a change that was computed over another sum than b has.
func (c *Change) fits(b book) error {
	if c.Sum == nil {
		return nil
	}
	is, _, err := b.sum()
	if err == nil && is != c.was {
		err = ErrMoved
	}
	return err
}

// remindKind is the kind of the jobs that wake reminders.
const remindKind = "gregor.remind"

// wakeKey names the job of a message: at most one waits, for its next reminder.
func wakeKey(u kbsig.UID, msgID []byte) string {
	return hex.EncodeToString(u[:]) + "/" + hex.EncodeToString(msgID)
}

// forgetKind is the kind of the jobs that forget users who are gone.
const forgetKind = "gregor.forget"

// Deleted is part of the transaction that deletes an account: what is kept of its user
// goes soon after.
func Deleted(tx *store.Tx, u kbsig.UID) error {
	return jobs.Add(tx, jobs.Job{Kind: forgetKind, Key: u.String()})
}

// HandleJobs lets a runner of jobs wake the reminders that StoreLog keeps, and forget
// users who are gone.
func (s *Service) HandleJobs(r *jobs.Runner) {
	r.Handle(forgetKind, func(ctx context.Context, j jobs.Job) error {
		u, err := kbsig.ParseUID(j.Key)
		if err != nil {
			return jobs.GiveUp(fmt.Errorf("user to forget %q: %w", j.Key, err))
		}
		return s.Forget(ctx, u)
	})
	r.Handle(remindKind, func(ctx context.Context, j jobs.Job) error {
		user, id, _ := strings.Cut(j.Key, "/")
		u, err := kbsig.ParseUID(user)
		if err != nil {
			return jobs.GiveUp(fmt.Errorf("reminder %q: %w", j.Key, err))
		}
		msgID, err := hex.DecodeString(id)
		if err != nil {
			return jobs.GiveUp(fmt.Errorf("reminder %q: %w", j.Key, err))
		}
		return s.Remind(ctx, u, msgID)
	})
}
