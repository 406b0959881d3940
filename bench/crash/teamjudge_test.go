package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// teamPost is a request with links such as "p2b": the second link of team p, called b;
// a capital is a link that ends its team, and "h" before all makes it a hidden one.
type teamPost struct {
	what  outcome
	links string
}

func (p teamPost) attempt(n int64) *attempt {
	a := &attempt{n: n, sent: 2*n - 1, done: 2 * n, outcome: p.what, endpoint: "sig/multi", facts: &facts{}}
	for _, l := range strings.Fields(p.links) {
		f := teamFact{}
		l, f.Hidden = strings.CutPrefix(l, "h")
		f.Team, f.linkFact = l[:1], linkFact{Seqno: int64(l[1] - '0'), ID: l[2:], Type: "team.rotate_key"}
		if l[2] < 'a' {
			f.Type = "team.delete_up_pointer"
		}
		a.facts.Team = append(a.facts.Team, f)
	}
	return a
}

// TestTeamsAgainstTheLedger proves what the checker makes of the chains of a parent p and
// a child c, given what was posted and with which outcome.
func TestTeamsAgainstTheLedger(t *testing.T) {
	for name, tc := range map[string]struct {
		posts         []teamPost
		p, c, hiddenP string // shown; "-": nobody is shown it
		want          map[kind]int
	}{
		"all acknowledged":           {[]teamPost{{wasAcked, "p1a"}, {wasAcked, "p2b c1x"}, {wasAcked, "hp1h"}}, "ab", "x", "h", nil},
		"unknown and whole":          {[]teamPost{{wasAcked, "p1a"}, {wasUnknown, "p2b c1x"}}, "ab", "x", "", nil},
		"unknown and nothing of it":  {[]teamPost{{wasAcked, "p1a"}, {wasUnknown, "p2b c1x"}}, "a", "-", "", nil},
		"unknown and half of it":     {[]teamPost{{wasAcked, "p1a"}, {wasUnknown, "p2b c1x"}}, "ab", "-", "", map[kind]int{wrong: 2}},
		"the other half":             {[]teamPost{{wasAcked, "p1a"}, {wasAcked, "p2b c1x"}, {wasUnknown, "p3c c2y"}}, "ab", "xy", "", map[kind]int{wrong: 2}},
		"acknowledged and half lost": {[]teamPost{{wasAcked, "p1a"}, {wasAcked, "p2b c1x"}}, "ab", "-", "", map[kind]int{lost: 1}},
		"a hidden link lost":         {[]teamPost{{wasAcked, "p1a"}, {wasAcked, "hp1h"}}, "a", "-", "", map[kind]int{lost: 1}},
		"a hidden link of nobody":    {[]teamPost{{wasAcked, "p1a"}}, "a", "-", "h", map[kind]int{wrong: 1}},
		"refused and there":          {[]teamPost{{wasAcked, "p1a"}, {wasRefused, "p2b"}}, "ab", "-", "", map[kind]int{doubled: 1}},
		"sent again":                 {[]teamPost{{wasUnknown, "p1a"}, {wasAcked, "p1a"}, {wasAcked, "p2b"}}, "ab", "-", "", nil},
		"deleted":                    {[]teamPost{{wasAcked, "p1a"}, {wasAcked, "p2b c1x"}, {wasAcked, "p3c c2E"}}, "abc", "-", "", nil},
		"deleted, without a word":    {[]teamPost{{wasAcked, "p1a"}, {wasAcked, "p2b c1x"}, {wasUnknown, "p3c c2E"}}, "abc", "-", "", nil},
		"not deleted after all":      {[]teamPost{{wasAcked, "p1a"}, {wasAcked, "p2b c1x"}, {wasUnknown, "p3c c2E"}}, "ab", "x", "", nil},
		"deleted in the parent only": {[]teamPost{{wasAcked, "p1a"}, {wasAcked, "p2b c1x"}, {wasUnknown, "p3c c2E"}}, "abc", "x", "", map[kind]int{wrong: 2}},
		"deleted in the child only":  {[]teamPost{{wasAcked, "p1a"}, {wasAcked, "p2b c1x"}, {wasUnknown, "p3c c2E"}}, "ab", "-", "", map[kind]int{wrong: 2}},
		"in another place":           {[]teamPost{{wasAcked, "p1a"}, {wasAcked, "p2b"}}, "ba", "-", "", map[kind]int{reordered: 2}},
		"acknowledged out of order":  {[]teamPost{{wasAcked, "p2b"}, {wasAcked, "p1a"}}, "ab", "-", "", map[kind]int{reordered: 1}},
	} {
		b := newBook("")
		for i, p := range tc.posts {
			b.settleTeams(p.attempt(int64(i+1)), line{What: p.what, User: "alice"})
		}
		j := newJudge(io.Discard, 1, "")
		c := &checker{judge: j}
		for _, team := range b.allTeams() {
			shown, hidden := tc.p, tc.hiddenP
			if team.id == "c" {
				shown, hidden = tc.c, ""
			}
			if shown == "-" {
				c.unreadable(team, errors.New("no such team"))
				continue
			}
			c.compare(team, strings.Split(shown, ""), strings.Split(hidden, ""))
		}
		for _, team := range b.allTeams() {
			c.together(b, team)
		}
		if fmt.Sprint(j.counts) != fmt.Sprint(tc.want) {
			t.Errorf("%s: %v, want %v", name, j.counts, tc.want)
		}
	}
}
