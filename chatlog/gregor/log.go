package gregor

import (
	"context"
	"encoding/hex"
	"fmt"
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

func (l storeLog) Load(_ context.Context, u kbsig.UID) ([]Record, error) {
	v := l.store.View()
	defer v.Close()
	prefix := keys.Gregors(u)
	var recs []Record
	err := v.Scan(prefix, keys.End(prefix), func(k, b []byte) error {
		r, err := store.Decode[Record](b)
		if err != nil {
			return fmt.Errorf("record %x: %w", k, err)
		}
		recs = append(recs, r)
		return nil
	})
	return recs, err
}

func (l storeLog) Commit(ctx context.Context, u kbsig.UID, c Change) error {
	// Encoded before the transaction: the committer serves everybody.
	puts := make([][]byte, len(c.Put))
	for i, r := range c.Put {
		puts[i] = store.Encode(r)
	}
	return l.store.Update(ctx, func(tx *store.Tx) error {
		for i, b := range puts {
			tx.Set(keys.Gregor(u, c.Put[i].MsgID), b)
		}
		for _, id := range c.Delete {
			tx.Delete(keys.Gregor(u, id))
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
