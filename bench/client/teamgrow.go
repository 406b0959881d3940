package client

import (
	"context"
	"time"
)

// growRootEvery is after how many links of GrowTeam a newer root is quoted.
const growRootEvery = 500

// GrowTeam appends n links to a team that make a member reader and writer by turns,
// posted one after the other without loading the team in between, and tells how long
// each was on its way. Load generators use it; LoadTeam then sees what became of it.
func (a *Account) GrowTeam(ctx context.Context, t *Team, member UserVersion, n int, each func(time.Duration)) error {
	tip := teamTip{t.Tail().Seqno, t.Tail().ID}
	roles := [2]TeamRole{RoleReader, RoleWriter}
	for i := range n {
		if i%growRootEvery == 0 {
			if _, err := a.Verifier.RefreshRoot(ctx); err != nil {
				return err
			}
		}
		p, err := a.newTeamPost(ctx, 1)
		if err != nil {
			return err
		}
		p.tails[t.ID] = tip
		team, err := a.teamSection(ctx, t, map[string]any{"members": memberLists(map[UserVersion]TeamRole{member: roles[i%2]})})
		if err != nil {
			return err
		}
		if err := p.add(t.ID, "team.change_membership", team, t.Key(), false); err != nil {
			return err
		}
		begun := a.Server().Now()
		if err := p.post(ctx); err != nil {
			return err
		}
		each(a.Server().Now().Sub(begun))
		tip = p.tails[t.ID]
	}
	return nil
}
