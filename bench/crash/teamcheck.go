package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keystead/keystead/bench/client"
)

// readers finds accounts that may read teams, by name; nil if there is none.
type readers func(name string) *client.Account

// teams looks at teams with the eyes of those who made them, and of a member.
func (c *checker) teams(ctx context.Context, b *book, all []*teamBook, find readers) error {
	eyes := make(map[string]*client.Account)
	reader := func(name string) (*client.Account, error) {
		if eyes[name] != nil {
			return eyes[name], nil
		}
		a := find(name)
		if a == nil || a.Device == nil {
			return nil, nil
		}
		a = a.With(c.v)
		if err := errors.Join(a.Reload(ctx), a.FetchPUKs(ctx, a.Device)); err != nil {
			return nil, err
		}
		eyes[name] = a
		return a, nil
	}
	for _, t := range all {
		a, err := reader(t.owner)
		if err == nil && a == nil {
			err = fmt.Errorf("nobody reads team %s", t.id)
		}
		if err == nil {
			err = c.team(ctx, t, a, reader)
		}
		if err != nil {
			if err := c.blame(&userBook{name: "team " + t.id}, "look at", err); err != nil {
				return err
			}
		}
	}
	for _, t := range all {
		c.together(b, t)
	}
	return nil
}

// team compares a team's chains with the ledger.
func (c *checker) team(ctx context.Context, t *teamBook, a *client.Account, reader func(string) (*client.Account, error)) error {
	id, err := client.ParseTeamID(t.id)
	if err != nil {
		return err
	}
	team, err := a.LoadTeam(ctx, id, client.TeamOptions{})
	var refused *client.StatusError
	switch {
	case errors.Is(err, client.ErrNoTeam), errors.As(err, &refused) && refused.Code != codeGeneric:
		c.unreadable(t, err)
		return nil
	case err != nil:
		return err
	}
	if must, _ := t.ended(); must && !team.Deleted {
		c.judge.found(lost, "team %s was deleted and is there", t.id)
	}
	var visible, hidden []string
	for _, l := range team.Links {
		visible = append(visible, l.ID.String())
	}
	for _, l := range team.HiddenIDs {
		hidden = append(hidden, l.String())
	}
	c.compare(t, visible, hidden)
	if got, err := a.TeamByName(ctx, team.Name); err != nil || got != id {
		c.judge.found(wrong, "team %s is called %s, and the name leads to %s: %v", t.id, team.Name, got, err)
	}
	return c.member(ctx, t, team, reader)
}

// compare compares both chains with what was posted, and notes what is there.
func (c *checker) compare(t *teamBook, visible, hidden []string) {
	c.teamChain(t, "link", t.links, visible)
	c.teamChain(t, "hidden link", t.hidden, hidden)
	t.settleAs(func(link string, isHidden bool) bool {
		if isHidden {
			return slices.Contains(hidden, link)
		}
		return slices.Contains(visible, link)
	})
}

// member looks at a team as somebody who is in it, and wants to see the same.
func (c *checker) member(ctx context.Context, t *teamBook, team *client.Team, reader func(string) (*client.Account, error)) error {
	for u := range team.Members() {
		name, err := c.v.LoadUser(ctx, u.UID, client.LoadOptions{})
		if err != nil {
			return err
		}
		if name.Username == t.owner || name.Version() != u {
			continue
		}
		a, err := reader(name.Username)
		if err != nil || a == nil {
			return err
		}
		theirs, err := a.LoadTeam(ctx, team.ID, client.TeamOptions{})
		if err != nil {
			return fmt.Errorf("as %s: %w", name.Username, err)
		}
		if len(theirs.Links) != len(team.Links) || len(theirs.Keys) != len(team.Keys) || theirs.Tail().ID != team.Tail().ID {
			c.judge.found(wrong, "%s sees %d links and %d keys of team %s, %s %d and %d",
				name.Username, len(theirs.Links), len(theirs.Keys), t.id, t.owner, len(team.Links), len(team.Keys))
		}
		return nil
	}
	return nil
}

// unreadable judges a team that is not shown: it was never made, or was deleted. What was
// unknown of a deleted one nobody can tell, but for its end.
func (c *checker) unreadable(t *teamBook, err error) {
	must, may := t.ended()
	switch {
	case must || t.begun() && may:
		t.dark = true
		for _, l := range t.links {
			l.must, l.may = l.must || l.may && l.ends(), false
		}
	case t.begun():
		c.judge.found(lost, "team %s is not shown any more: %v", t.id, err)
	default:
		t.settleAs(func(string, bool) bool { return false })
	}
}

// teamChain compares one chain of a team, link by link, with what was posted.
func (c *checker) teamChain(t *teamBook, what string, links map[string]*linkBook, shown []string) {
	present := make(map[string]bool, len(shown))
	for i, id := range shown {
		l := links[id]
		switch {
		case present[id]:
			c.judge.found(doubled, "%s %s of team %s stands twice", what, id, t.id)
		case l == nil:
			c.judge.found(wrong, "%s %d of team %s was never posted", what, i+1, t.id)
		case l.fact.Seqno != int64(i+1):
			c.judge.found(reordered, "%s %d of team %s stands at %d", what, l.fact.Seqno, t.id, i+1)
		case !l.must && !l.may:
			c.judge.found(doubled, "%s %d of team %s stands, but it was refused, never sent, or gone before", what, i+1, t.id)
		}
		present[id] = true
	}
	for id, l := range links {
		if l.must && !present[id] {
			c.judge.found(lost, "%s %d (%s) of team %s, the chain ends at %d", what, l.fact.Seqno, l.fact.Type, t.id, len(shown))
		}
	}
}

// together wants each request whole or not at all, in all the chains that it touches, and
// acknowledged ones in the order in which they were acknowledged.
func (c *checker) together(b *book, t *teamBook) {
	tails := map[bool]int64{}
	seen := map[string]bool{}
	for _, a := range t.posts {
		there, all := 0, 0
		for _, f := range a.facts.Team {
			team := b.teams[f.Team]
			l := team.at(f)
			if team.dark && !l.ends() && !l.must {
				continue
			}
			if all++; l.must {
				there++
			}
		}
		if there != 0 && there != all {
			c.judge.found(wrong, "of request %d of team %s %d of %d links stand", a.n, t.id, there, all)
		}
		if a.outcome != wasAcked {
			continue
		}
		for _, f := range a.facts.Team {
			if f.Team != t.id || seen[f.ID] {
				continue // another's, or a repeat, which is acknowledged again
			}
			if f.Seqno <= tails[f.Hidden] {
				c.judge.found(reordered, "request %d of team %s brings link %d, after an acknowledged link %d", a.n, t.id, f.Seqno, tails[f.Hidden])
			}
			seen[f.ID], tails[f.Hidden] = true, f.Seqno
		}
	}
}
