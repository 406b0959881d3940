package chores

import (
	"context"
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// Arrived says that a user has connected a device: chores that nobody could be given may
// be given now. It costs nothing while no team needs anything.
func (q *Queue) Arrived(ctx context.Context, u kbsig.UID) {
	v := q.o.Store.View()
	idle := true
	err := v.Scan(keys.AllChores(), keys.End(keys.AllChores()), func(_, _ []byte) error {
		idle = false
		return store.ErrStop
	})
	v.Close()
	if err == nil && idle {
		return
	}
	if err == nil {
		err = q.o.Store.Update(ctx, func(tx *store.Tx) error {
			return jobs.Add(tx, jobs.Job{Kind: arrivalKind, Key: u.String()})
		})
	}
	if err != nil && !errors.Is(err, store.ErrStopped) {
		q.o.Logger.Error("chores do not hear of an arrival", "uid", u.String(), "err", err)
	}
}

// arrived has the chores looked at that wait for somebody, and that this user could do.
func (q *Queue) arrived(ctx context.Context, j jobs.Job) error {
	u, err := kbsig.ParseUID(j.Key)
	if err != nil {
		return jobs.GiveUp(err)
	}
	return q.o.Store.Update(ctx, func(tx *store.Tx) error {
		looked := 0
		return tx.Scan(keys.AllChores(), keys.End(keys.AllChores()), func(key, v []byte) error {
			if looked++; looked > arrivalsMax {
				return store.ErrStop
			}
			t, kind, ok := keys.ChoreOf(key)
			if !ok {
				return fmt.Errorf("malformed key of a chore")
			}
			c, err := store.Decode[Chore](v)
			if err != nil {
				return err
			}
			if c.waitsFor(u) {
				can, err := mayDo(tx, t, Kind(kind), u)
				if err != nil || !can {
					return err
				}
				c.Next = tx.Now().UnixMilli()
				return save(tx, t, Kind(kind), &c, c.Next)
			}
			return nil
		})
	})
}

// waitsFor says whether a chore is in nobody's hands who may still be at it, or in those
// of u, who came back.
func (c *Chore) waitsFor(u kbsig.UID) bool {
	if len(c.Told) == 0 {
		return true
	}
	last := c.Told[len(c.Told)-1]
	return last.UID == u || c.Next-last.At > 2*pauseFirst.Milliseconds()
}

// mayDo says whether a user's role lets the user do a team's chore.
func mayDo(r store.Reader, t kbsig.TeamID, k Kind, u kbsig.UID) (bool, error) {
	s, err := teams.StandingOf(r, t, u)
	if errors.Is(err, teams.ErrNoTeam) || errors.Is(err, accounts.ErrNoUser) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return s.Admin() || !k.admins() && s.Role.AtLeast(teamchain.RoleWriter), nil
}
