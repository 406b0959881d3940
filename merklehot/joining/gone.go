package joining

import (
	"context"
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// gone has everything cleared up that waited at a team which was deleted.
func (s *Service) gone(tx *store.Tx, t kbsig.TeamID) error {
	if err := chores.Forget(tx, t); err != nil {
		return err
	}
	return jobs.Add(tx, jobs.Job{Kind: jobGone, Key: t.String()})
}

// clearUp deletes what waited at a team, and what led to its invites, a part at a time.
// What users chose for good (a ban, a farewell) goes too: nobody can come back to the team.
func (s *Service) clearUp(ctx context.Context, j jobs.Job) error {
	t, err := kbsig.ParseTeamID(j.Key)
	if err != nil {
		return jobs.GiveUp(err)
	}
	for more := true; more; {
		err := s.update(ctx, func(tx *store.Tx) (err error) {
			more, err = clearSome(tx, t)
			return err
		})
		if err != nil {
			return err
		}
	}
	invites, err := s.invitesOf(t)
	for len(invites) > 0 && err == nil {
		some := invites[:min(len(invites), teamsAtOnce)]
		invites = invites[len(some):]
		err = s.update(ctx, func(tx *store.Tx) (err error) {
			for _, id := range some {
				err = errors.Join(err, forgetLeads(tx, t, id))
			}
			return err
		})
	}
	return err
}

// clearSome deletes some of what waits at a team; more says that there is more.
func clearSome(tx *store.Tx, t kbsig.TeamID) (more bool, err error) {
	users := map[kbsig.UID]bool{}
	for _, lo := range [][]byte{keys.Acceptances(t), keys.Outsiders(t)} {
		n := 0
		err := tx.Scan(lo, keys.End(lo), func(k, _ []byte) error {
			if n++; n > teamsAtOnce {
				more = true
				return store.ErrStop
			}
			if _, u, _, ok := keys.AcceptanceOf(k); ok {
				users[u] = true
			} else if _, u, ok := keys.OutsiderOf(k); ok {
				users[u] = true
			}
			tx.Delete(append([]byte(nil), k...))
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	for u := range users {
		if err := unindex(tx, t, u); err != nil {
			return false, err
		}
	}
	tx.Delete(keys.TeamDoor(t))
	return more, nil
}

// invitesOf are the invites of a team that have not ended.
func (s *Service) invitesOf(t kbsig.TeamID) (ids []kbsig.InviteID, err error) {
	v := s.o.Store.View()
	defer v.Close()
	st, err := teams.Load(v, t)
	if err != nil {
		return nil, err
	}
	err = st.ActiveInvites(func(i teamchain.InviteState) error {
		ids = append(ids, i.Invite.ID)
		return nil
	})
	return ids, err
}
