package joining

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/known"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/implicit"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// What happens to a user concerns all of the user's teams. The transaction of the fact
// only keeps a job; the job goes through the teams, a few in a transaction.

// jobUser is the kind of these jobs, and jobGone of those that clear up behind a team.
const (
	jobUser = "team-user"
	jobGone = "team-gone"
)

// teamsAtOnce is how many teams are gone through in one transaction.
const teamsAtOnce = 32

// Categories of what is told here.
// client: go/service/team_handler.go:teamHandler.memberOutFromReset, abandonTeam
const (
	newsMemberReset = "team.member_out_from_reset"
	newsAbandoned   = "team.abandoned"
)

// userFact is what happened to a user.
type userFact struct {
	UID kbsig.UID `codec:"u"`
	// Ended is the incarnation that ended by a reset or a deletion; 0: it was neither.
	Ended   kbsig.Seqno `codec:"e,omitempty"`
	Deleted bool        `codec:"d,omitempty"`
	Reset   bool        `codec:"r,omitempty"`
	Revoked bool        `codec:"v,omitempty"` // a device
	Keyed   bool        `codec:"k,omitempty"` // got a first per-user key
	// At is when, in Unix milliseconds: what the user asked for since is another matter.
	At int64 `codec:"t,omitempty"`
}

// ends reports that what was done at a time ends with the fact.
func (f userFact) ends(at int64) bool { return f.At == 0 || at <= f.At }

// Handle registers with the services whose facts concern teams, and lets a runner do what
// follows.
func (s *Service) Handle(r *jobs.Runner) {
	s.o.Identity.OnReset(func(tx *store.Tx, f identity.ResetFact) error {
		err := s.note(tx, "reset", userFact{UID: f.Account.UID, Ended: f.Eldest, Deleted: f.Link.Kind == sigchain.KindDelete, Reset: true})
		if err != nil {
			return err
		}
		return s.leaveBehind(tx, f)
	})
	s.o.Identity.OnPost(func(tx *store.Tx, before, after *sigchain.State) error {
		for _, d := range before.ActiveDevices() {
			if _, still := after.SigningKID(d.ID); !still {
				if err := s.note(tx, "revoked", userFact{UID: after.UID, Revoked: true}); err != nil {
					return err
				}
				break
			}
		}
		_, had := before.LatestPUK()
		if _, has := after.LatestPUK(); has && !had {
			return s.note(tx, "keyed", userFact{UID: after.UID, Keyed: true})
		}
		return nil
	})
	r.Handle(jobUser, s.userChanged)
	r.Handle(jobGone, s.clearUp)
	known.Listen(r, s.heard)
}

func (s *Service) note(tx *store.Tx, what string, f userFact) error {
	f.At = tx.Now().UnixMilli()
	return jobs.Add(tx, jobs.Job{Kind: jobUser, Key: fmt.Sprintf("%s/%s/%d", what, f.UID, f.Ended), Body: store.Encode(f)})
}

// userChanged goes through the teams of a user to whom something happened.
func (s *Service) userChanged(ctx context.Context, j jobs.Job) error {
	f, err := store.Decode[userFact](j.Body)
	if err != nil {
		return jobs.GiveUp(err)
	}
	var steps []func(tx *store.Tx) error
	v := s.o.Store.View()
	defer v.Close()
	if f.Reset || f.Revoked {
		err := teams.MembershipsOf(v, f.UID, func(t kbsig.TeamID, uv kbsig.UserVersion, role teamchain.Role) error {
			steps = append(steps, func(tx *store.Tx) error { return s.memberChanged(tx, t, f) })
			return nil
		})
		if err != nil {
			return err
		}
	}
	if f.Reset || f.Keyed {
		err := TeamsOutside(v, f.UID, func(t kbsig.TeamID, _ Outsider) error {
			steps = append(steps, func(tx *store.Tx) error { return s.outsiderChanged(tx, t, f) })
			return nil
		})
		if err != nil {
			return err
		}
	}
	if f.Keyed {
		steps = append(steps, func(tx *store.Tx) error { return s.nameAll(tx, typeKeybase, f.UID.String(), f.UID) })
	}
	for len(steps) > 0 {
		some := steps[:min(len(steps), teamsAtOnce)]
		steps = steps[len(some):]
		err := s.update(ctx, func(tx *store.Tx) error {
			for _, step := range some {
				if err := step(tx); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("teams of %s: %w", f.UID, err)
		}
	}
	return nil
}

// memberChanged is what a reset, a deletion or a revocation means to one team.
func (s *Service) memberChanged(tx *store.Tx, t kbsig.TeamID, f userFact) error {
	st, err := teams.Load(tx, t)
	if errors.Is(err, teams.ErrNoTeam) || err == nil && st.Deleted() {
		return nil
	}
	if err != nil {
		return err
	}
	if f.Revoked {
		standing, err := teams.StandingOf(tx, t, f.UID)
		if err != nil {
			return err
		}
		return rotateFor(tx, st, standing.Role)
	}
	uv := kbsig.UserVersion{UID: f.UID, Eldest: f.Ended}
	role, err := st.RoleOf(uv)
	if err != nil || role == teamchain.RoleNone {
		return err
	}
	gone := chores.Reset{UID: f.UID, Member: f.Ended}
	if _, open := st.Open(); open {
		if err := chores.WantSweep(tx, t, gone); err != nil {
			return err
		}
	} else if keyed(role) {
		if err := wantRotation(tx, t, gone); err != nil {
			return err
		}
	}
	if role.AtLeast(teamchain.RoleAdmin) {
		if err := rotateBelow(tx, t, f.UID); err != nil {
			return err
		}
	}
	if st.Implicit() {
		return s.perhapsAbandoned(tx, st)
	}
	return tellReset(tx, st, uv, f.Deleted)
}

// rotateFor asks for new keys of a team, and of those below it of which an admin has the
// keys.
func rotateFor(tx *store.Tx, st *teamchain.State, role teamchain.Role) error {
	if keyed(role) {
		if err := wantRotation(tx, st.ID()); err != nil {
			return err
		}
	}
	if !role.AtLeast(teamchain.RoleAdmin) {
		return nil
	}
	return teams.Descendants(tx, st.ID(), func(d kbsig.TeamID) error { return wantRotation(tx, d) })
}

// tellReset shows admins that a member was reset, until the member is let in again or
// removed. client: go/protocol/keybase1/teams.go:TeamMemberOutFromReset
func tellReset(tx *store.Tx, st *teamchain.State, uv kbsig.UserVersion, deleted bool) error {
	acct, err := accounts.Get(tx, uv.UID)
	if err != nil {
		return err
	}
	name, err := teams.FullName(tx, st.ID())
	if err != nil {
		return err
	}
	type resetUser struct {
		Username string      `json:"username"`
		UID      string      `json:"uid"`
		Eldest   kbsig.Seqno `json:"eldest_seqno"`
		Deleted  bool        `json:"is_delete"`
	}
	body, err := json.Marshal(struct {
		TeamID string    `json:"team_id"`
		Name   string    `json:"team_name"`
		User   resetUser `json:"reset_user"`
	}{st.ID().String(), name.String(), resetUser{string(acct.Name), uv.UID.String(), uv.Eldest, deleted}})
	if err != nil {
		return err
	}
	admins, err := adminsOf(tx, st)
	if err != nil {
		return err
	}
	var others []kbsig.UID
	for _, a := range admins {
		if a != uv.UID {
			others = append(others, a)
		}
	}
	if err := events.AddMany(tx, others, events.News{Category: newsMemberReset, Body: body, ID: resetNewsID(st.ID(), uv)}); err != nil {
		return err
	}
	o, err := OutsiderOf(tx, st.ID(), uv.UID)
	if err != nil {
		return err
	}
	o.Reset = uv.Eldest
	return putOutsider(tx, st.ID(), uv.UID, o)
}

// leaveBehind lets go of the first implicit teams of a user at once, in the transaction of
// the reset: whoever begins anew looks them up next, and the device that asked for the
// reset, which the news is for, is about to log out. The job sees to the rest.
// client: go/service/account.go:AccountHandler.ResetAccount
func (s *Service) leaveBehind(tx *store.Tx, f identity.ResetFact) error {
	var left []kbsig.TeamID
	err := teams.MembershipsOf(tx, f.Account.UID, func(t kbsig.TeamID, uv kbsig.UserVersion, role teamchain.Role) error {
		facts, err := teams.FactsOf(tx, t)
		if err != nil {
			return err
		}
		if facts.Implicit && keyed(role) && uv.Eldest == f.Eldest {
			left = append(left, t)
		}
		if len(left) == teamsAtOnce {
			return store.ErrStop
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, t := range left {
		st, err := teams.Load(tx, t)
		if err != nil {
			return err
		}
		if err := s.perhapsAbandoned(tx, st); err != nil {
			return err
		}
	}
	return nil
}

// perhapsAbandoned takes its name from an implicit team in which nobody is left who has
// its key, and tells those who were in it: they begin anew.
func (s *Service) perhapsAbandoned(tx *store.Tx, st *teamchain.State) error {
	alive := false
	var members []kbsig.UID
	err := st.Members(func(uv kbsig.UserVersion, role teamchain.Role) error {
		members = append(members, uv.UID)
		if !keyed(role) || alive {
			return nil
		}
		eldest, hasKey, err := present(tx, uv.UID)
		alive = hasKey && eldest == uv.Eldest
		return err
	})
	if err != nil || alive {
		return err
	}
	if had, err := implicit.Forget(tx, st.ID()); err != nil || !had {
		return err
	}
	body := fmt.Appendf(nil, `{"team_id":"%s"}`, st.ID())
	return events.AddMany(tx, members, events.News{Category: newsAbandoned, Body: body})
}

// outsiderChanged is what a reset, or a first key, means to a team at which a user waits.
func (s *Service) outsiderChanged(tx *store.Tx, t kbsig.TeamID, f userFact) error {
	if f.Keyed {
		return s.offer(tx, t, f.UID)
	}
	st, err := teams.Load(tx, t)
	if errors.Is(err, teams.ErrNoTeam) || err == nil && st.Deleted() {
		return nil // all of it goes
	}
	if err != nil {
		return err
	}
	o, err := OutsiderOf(tx, t, f.UID)
	if err != nil {
		return err
	}
	waited := o.waits()
	switch {
	case f.Deleted:
		o = Outsider{Reset: o.Reset}
	case !o.Ignored && f.ends(o.Asked):
		o.Asked = 0
	}
	if err := putOutsider(tx, t, f.UID, o); err != nil {
		return err
	}
	// An answer to a secret is bound to the incarnation that gave it, and so is an invite
	// of an account; the latter is looked at again when there is another key.
	err = s.dropAcceptances(tx, t, f.UID, func(id kbsig.InviteID, a Acceptance) (bool, error) {
		if f.Deleted || a.Kind == Secret || !f.ends(a.At) {
			return f.Deleted || f.ends(a.At), nil
		}
		invite, err := activeInvite(st, id)
		return invite == nil || invite.Type == typeKeybase, err
	})
	if err != nil {
		return err
	}
	if waited && !o.waits() {
		if err := untellAdmins(tx, st); err != nil {
			return err
		}
	}
	return chores.Look(tx, t)
}

// offer asks a team to let somebody in who waited and has a key now.
func (s *Service) offer(tx *store.Tx, t kbsig.TeamID, u kbsig.UID) error {
	st, err := teams.Load(tx, t)
	if errors.Is(err, teams.ErrNoTeam) || err == nil && st.Deleted() {
		return nil
	}
	if err != nil {
		return err
	}
	o, err := OutsiderOf(tx, t, u)
	if err != nil {
		return err
	}
	if _, open := st.Open(); open && o.waits() {
		if err := chores.Want(tx, t, chores.Requests); err != nil {
			return err
		}
	}
	kinds := map[Kind]chores.Kind{Named: chores.People, Secret: chores.Tokens}
	return AcceptancesBy(tx, t, u, func(_ kbsig.InviteID, a Acceptance) error {
		return chores.Want(tx, t, kinds[a.Kind])
	})
}

// heard looks whether somebody waits for a user who has come to be known under a name, or
// counted on one who is so no more.
func (s *Service) heard(ctx context.Context, f known.Fact) error {
	return s.update(ctx, func(tx *store.Tx) error {
		var holds bool
		var err error
		switch f.Service {
		case known.Mail:
			holds, err = accounts.HasVerified(tx, f.UID, f.Name)
		case known.Phone:
			holds, err = accounts.HasVerified(tx, f.UID, "+"+f.Name)
		default:
			var u kbsig.UID
			u, holds, err = s.o.Known(tx, f.Service, f.Name)
			holds = holds && u == f.UID
		}
		if err != nil {
			return err
		}
		if holds {
			return s.nameAll(tx, f.Service, f.Name, f.UID)
		}
		return s.unnameAll(tx, f)
	})
}

// nameAll notes that a user may complete all invites of a name.
func (s *Service) nameAll(tx *store.Tx, service, name string, u kbsig.UID) error {
	return s.eachNamed(tx, service, name, func(t kbsig.TeamID, st *teamchain.State, invite *teamchain.Invite) error {
		return s.name(tx, t, st, invite, u)
	})
}

// unnameAll takes back that a user may complete the invites of a name, but for those that
// the user accepted by a token.
func (s *Service) unnameAll(tx *store.Tx, f known.Fact) error {
	return s.eachNamed(tx, f.Service, f.Name, func(t kbsig.TeamID, _ *teamchain.State, invite *teamchain.Invite) error {
		a, found, err := loadOr[Acceptance](tx, keys.Acceptance(t, f.UID, invite.ID))
		if err != nil || !found || a.Kind != Named || a.Token {
			return err
		}
		if err := dropAcceptance(tx, t, f.UID, invite.ID); err != nil {
			return err
		}
		return chores.Look(tx, t)
	})
}

// eachNamed calls fn for the active invites of a name, and notes what implicit teams are
// about to be called then.
func (s *Service) eachNamed(tx *store.Tx, service, name string, fn func(kbsig.TeamID, *teamchain.State, *teamchain.Invite) error) error {
	found, err := leads(tx, byName(service, name))
	if err != nil {
		return err
	}
	for _, l := range found {
		st, err := teams.Load(tx, l.Team)
		if errors.Is(err, teams.ErrNoTeam) || err == nil && st.Deleted() {
			continue
		}
		if err != nil {
			return err
		}
		invite, err := activeInvite(st, l.Invite)
		if err != nil {
			return err
		}
		if invite == nil {
			continue
		}
		if err := fn(l.Team, st, invite); err != nil {
			return err
		}
		if st.Implicit() {
			if err := s.recall(tx, st, false); err != nil {
				return err
			}
		}
	}
	return nil
}
