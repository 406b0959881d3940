package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/keystead/keystead/bench/client"
)

// Limits of questions about teams in older roots, after each start.
const (
	placedTeamsMax = 12 // requests of the cycle for which roots are looked for
	stoodMax       = 24 // links whose roots were found earlier
	sightingsMax   = 24 // answers about teams that anybody got earlier
)

// placeTeams takes some of a cycle's acknowledged requests about teams and finds the root
// in which the links of each first stand: one root for all of them, in all chains.
func (c *checker) placeTeams(ctx context.Context, b *book, teams []*teamBook, from, to, base int64, rng *rand.Rand) ([]placed, error) {
	var all []placed
	posted, taken := make(map[string]bool), make(map[int64]bool)
	for _, t := range teams {
		for _, a := range t.posts {
			first := a.facts.Team[0].ID
			if a.outcome == wasAcked && a.sent > from && a.done <= to && (!posted[first] || taken[a.n]) {
				if !taken[a.n] {
					all = append(all, placed{a: a})
				}
				taken[a.n] = true
			}
			posted[first] = true // a repeat stands where the first one does
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	all = all[:min(len(all), placedTeamsMax)]
	for i := range all {
		a := all[i].a
		for _, f := range a.facts.Team {
			l := b.teams[f.Team].at(f)
			root, err := c.rootOfTeam(ctx, f, base)
			if err != nil {
				return nil, c.blame(ofTeam(f.Team), "look for the root of a link of", err)
			}
			if root == 0 {
				c.judge.found(lost, "no root has link %d of team %s, hidden %t, of request %d", f.Seqno, f.Team, f.Hidden, a.n)
				return nil, nil
			}
			if all[i].root != 0 && all[i].root != root {
				c.judge.found(wrong, "the links of request %d of team %s first stand in roots %d and %d", a.n, f.Team, all[i].root, root)
			}
			all[i].root, l.root = root, root
		}
	}
	return all, nil
}

func ofTeam(id string) *userBook { return &userBook{name: "team " + id} }

// rootOfTeam is the first root after base in which a link of a team stands, by halving; 0
// if it stands in none.
func (c *checker) rootOfTeam(ctx context.Context, f teamFact, base int64) (int64, error) {
	newest, err := c.v.RefreshRoot(ctx)
	if err != nil {
		return 0, err
	}
	low, high := base, int64(newest.Seqno) // not in low, in high
	for mid := high; ; mid = low + (high-low)/2 {
		end, err := c.teamAt(ctx, f, mid)
		switch {
		case err != nil:
			return 0, err
		case end.seqno >= f.Seqno:
			high = mid
		case mid == high:
			return 0, nil
		default:
			low = mid
		}
		if high-low <= 1 {
			return high, nil
		}
	}
}

// chainEnd is where a root says that a chain of a team ends.
type chainEnd struct {
	seqno int64 // 0: it has none
	id    string
}

// teamAt asks where a root says that the chain of a link ends.
func (c *checker) teamAt(ctx context.Context, f teamFact, root int64) (chainEnd, error) {
	id, err := client.ParseTeamID(f.Team)
	if err != nil {
		return chainEnd{}, err
	}
	t, err := c.v.TeamAt(ctx, id, client.At{Seqno: client.Seqno(root)}, nil)
	switch {
	case err != nil:
		return chainEnd{}, err
	case f.Hidden && t.Hidden != nil:
		return chainEnd{int64(t.Hidden.Seqno), t.Hidden.LinkID.String()}, nil
	case !f.Hidden && t.Visible != nil:
		return chainEnd{int64(t.Visible.Seqno), t.Visible.LinkID.String()}, nil
	}
	return chainEnd{}, nil
}

// stood looks again at links whose first root is known: they stand there still, and not in
// the root before.
func (c *checker) stood(ctx context.Context, b *book, rng *rand.Rand) error {
	var all []teamFact
	for _, t := range b.allTeams() {
		for _, a := range t.posts {
			for _, f := range a.facts.Team {
				if f.Team == t.id && t.at(f).root > 0 {
					all = append(all, f)
				}
			}
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, f := range all[:min(len(all), stoodMax)] {
		t := b.teams[f.Team]
		root := t.at(f).root
		before, err1 := c.teamAt(ctx, f, root-1)
		there, err2 := c.teamAt(ctx, f, root)
		for _, err := range []error{err1, err2} {
			if err == nil {
				continue
			}
			if err := c.blame(ofTeam(f.Team), fmt.Sprintf("ask about root %d for", root), err); err != nil {
				return err
			}
		}
		if err1 == nil && err2 == nil {
			c.moved(t, f, before, there)
		}
	}
	return nil
}

// moved judges what the root in which a link first stood, and the one before it, say now.
func (c *checker) moved(t *teamBook, f teamFact, before, there chainEnd) {
	what, root := "link", t.at(f).root
	if f.Hidden {
		what = "hidden link"
	}
	if there.seqno < f.Seqno {
		c.judge.found(reordered, "%s %d of team %s first stood in root %d, which now ends with %d", what, f.Seqno, t.id, root, there.seqno)
	}
	if before.seqno >= f.Seqno {
		c.judge.found(reordered, "%s %d of team %s first stood in root %d, now it stands in the root before", what, f.Seqno, t.id, root)
	}
	links := t.links
	if f.Hidden {
		links = t.hidden
	}
	for n, end := range []chainEnd{before, there} {
		if l := links[end.id]; end.seqno > 0 && (l == nil || l.fact.Seqno != end.seqno) {
			c.judge.found(forked, "root %d says that %s %d of team %s is %s, which was never posted there", root-1+int64(n), what, end.seqno, t.id, end.id)
		}
	}
}

// askAgain asks for answers about teams once more that somebody got before; the witness,
// who saw them, compares.
func (c *checker) askAgain(ctx context.Context, all []teamSighting, rng *rand.Rand) error {
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, s := range all[:min(len(all), sightingsMax)] {
		if _, err := c.teamAt(ctx, teamFact{Team: s.team}, s.root); err != nil {
			if err := c.blame(ofTeam(s.team), fmt.Sprintf("ask again about root %d for", s.root), err); err != nil {
				return err
			}
		}
	}
	return nil
}
