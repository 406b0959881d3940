package client

import (
	"context"
	"time"
)

// AddCrowd makes many people readers in one link, with a box for each beside it. It takes
// the keys of these people on the caller's word, where ChangeTeam loads everybody: who
// tests what a server does with a crowd need not wait for that.
func (a *Account) AddCrowd(ctx context.Context, t *Team, people map[UserVersion]PUKInfo) (*Team, error) {
	roles := make(map[UserVersion]TeamRole, len(people))
	to := make([]recipient, 0, len(people))
	for uv, puk := range people {
		roles[uv] = RoleReader
		to = append(to, recipient{uv.UID, puk})
	}
	p, err := a.newTeamPost(ctx, t.Root.Seqno)
	if err != nil {
		return nil, err
	}
	p.follow(t.TeamChain)
	team, err := a.teamSection(ctx, t, map[string]any{"members": memberLists(roles)})
	if err != nil {
		return nil, err
	}
	boxes, err := a.sealTeam(t.Key(), nil, to)
	if err != nil {
		return nil, err
	}
	team["box_summary_hash"], p.body["per_team_key"] = boxes.summaryHash, boxes
	if err := p.add(t.ID, "team.change_membership", team, t.Key(), false); err != nil {
		return nil, err
	}
	return p.postAndLoad(ctx, t.ID)
}

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
