package chores

import (
	"errors"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// Scored is a body that says how often somebody was asked already.
type Scored interface{ WithScore(score int) any }

// rotateBody asks for a new key. client: go/protocol/keybase1/teams.go:TeamCLKRMsg
type rotateBody struct {
	TeamID     string      `json:"team_id"`
	Generation int64       `json:"generation"`
	Score      int         `json:"score"`
	Resets     []resetUser `json:"reset_users"`
}

func (b rotateBody) WithScore(n int) any { b.Score = n; return b }

// resetUser is a member who was reset; UserEldest is 0 until the user has keys again.
// client: go/protocol/keybase1/teams.go:TeamCLKRResetUser
type resetUser struct {
	UID          string      `json:"uid"`
	UserEldest   kbsig.Seqno `json:"user_eldest"`
	MemberEldest kbsig.Seqno `json:"member_eldest"`
}

// sweepBody asks to remove those who were reset from an open team.
// client: go/protocol/keybase1/teams.go:TeamOpenSweepMsg
type sweepBody struct {
	TeamID string      `json:"team_id"`
	Resets []resetUser `json:"reset_users"`
}

// rotation is the Source of Rotate: it is done when there is a newer generation, visible
// or hidden.
func rotation(r store.Reader, st *teamchain.State, c *Chore) (any, time.Time, error) {
	newest, err := teams.NewestGeneration(r, st.ID())
	if err != nil || newest > c.Generation {
		return nil, time.Time{}, err
	}
	gone, err := stillMembers(r, st, c)
	if err != nil {
		return nil, time.Time{}, err
	}
	return rotateBody{TeamID: st.ID().String(), Generation: newest, Resets: gone}, time.Time{}, nil
}

// sweeping is the Source of Sweep: it is done when none of those is a member whom clients
// remove, or the team is not open any more. client: go/teams/handler.go:sweepOpenTeamResetAndDeletedMembers
func sweeping(r store.Reader, st *teamchain.State, c *Chore) (any, time.Time, error) {
	if _, open := st.Open(); !open {
		return nil, time.Time{}, nil
	}
	gone, err := stillMembers(r, st, c)
	if err != nil || len(gone) == 0 {
		return nil, time.Time{}, err
	}
	return sweepBody{TeamID: st.ID().String(), Resets: gone}, time.Time{}, nil
}

// stillMembers are those of a chore's reset users whom the chain still has. Of an open
// team admins stay: clients do not remove them by themselves.
func stillMembers(r store.Reader, st *teamchain.State, c *Chore) ([]resetUser, error) {
	out := []resetUser{}
	_, open := st.Open()
	for _, g := range c.Resets {
		role, err := st.RoleOf(kbsig.UserVersion{UID: g.UID, Eldest: g.Member})
		if err != nil {
			return nil, err
		}
		if role == teamchain.RoleNone || open && role.AtLeast(teamchain.RoleAdmin) {
			continue
		}
		eldest, err := identity.EldestSeqno(r, g.UID)
		if err != nil && !errors.Is(err, accounts.ErrNoUser) {
			return nil, err
		}
		out = append(out, resetUser{g.UID.String(), eldest, g.Member})
	}
	return out, nil
}
