package main

import (
	"maps"
	"slices"
)

// teamBook is one team's part of the book.
type teamBook struct {
	id, owner string // owner: who posted its first link
	posts     []*attempt
	links     map[string]*linkBook // visible ones, by id
	hidden    map[string]*linkBook
	dark      bool // it was deleted, so that nobody is shown its links any more
}

// ends says whether a link ends a team.
func (l *linkBook) ends() bool {
	return l.fact.Type == "team.delete_root" || l.fact.Type == "team.delete_up_pointer"
}

// settleTeams files a request of team links with its outcome.
func (b *book) settleTeams(a *attempt, e line) {
	for _, f := range a.facts.Team {
		t := b.teams[f.Team]
		if t == nil {
			t = &teamBook{id: f.Team, owner: e.User, links: make(map[string]*linkBook), hidden: make(map[string]*linkBook)}
			b.teams[f.Team] = t
		}
		b.touchedTeams[f.Team] = true
		if !slices.Contains(t.posts, a) {
			t.posts = append(t.posts, a)
		}
		l := t.at(f)
		l.must = l.must || a.outcome == wasAcked
		l.may = l.may || a.outcome == wasUnknown
	}
}

// at is the entry of a link.
func (t *teamBook) at(f teamFact) *linkBook {
	m := t.links
	if f.Hidden {
		m = t.hidden
	}
	if m[f.ID] == nil {
		m[f.ID] = &linkBook{fact: f.linkFact}
	}
	return m[f.ID]
}

// ended says whether a link that ends the team is there, or may be.
func (t *teamBook) ended() (must, may bool) {
	for _, l := range t.links {
		if l.ends() {
			must, may = must || l.must, may || l.may
		}
	}
	return must, may
}

// begun says whether any link is there for certain.
func (t *teamBook) begun() bool {
	for _, l := range t.links {
		if l.must {
			return true
		}
	}
	return false
}

// settleAs notes what a look has shown: from now on what was there must be, and what was
// not must never come.
func (t *teamBook) settleAs(present func(id string, hidden bool) bool) {
	for id, l := range t.links {
		l.must, l.may = l.must || present(id, false), false
	}
	for id, l := range t.hidden {
		l.must, l.may = l.must || present(id, true), false
	}
}

// takeTouchedTeams lists the teams that the ledger spoke of since the last time.
func (b *book) takeTouchedTeams() []*teamBook {
	var out []*teamBook
	for _, id := range slices.Sorted(maps.Keys(b.touchedTeams)) {
		out = append(out, b.teams[id])
	}
	clear(b.touchedTeams)
	return out
}

// allTeams lists every team.
func (b *book) allTeams() []*teamBook {
	var out []*teamBook
	for _, id := range slices.Sorted(maps.Keys(b.teams)) {
		out = append(out, b.teams[id])
	}
	return out
}
