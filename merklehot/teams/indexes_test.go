package teams_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/stage"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

func sha256Of(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// view is what everybody is in every team, as the chains say.
type view map[kbsig.UID]map[kbsig.TeamID]teams.Standing

// history are random posts, of which many are refused.
type history struct {
	*stage.Stage
	teams []kbsig.TeamID
}

func (h *history) team(t *rapid.T) kbsig.TeamID { return rapid.SampledFrom(h.teams).Draw(t, "team") }

func (h *history) person(t *rapid.T, what string) *stage.Person {
	return rapid.SampledFrom(h.People()).Draw(t, what)
}

// step lets somebody try something.
func (h *history) step(t *rapid.T) {
	by := h.person(t, "by")
	if len(by.Devices) == 0 {
		by.Begin()
	}
	id := h.team(t)
	var d *stage.Draft
	switch rapid.SampledFrom([]string{"change", "change", "change", "sub", "leave", "rename", "delete", "rotate", "hide", "reset"}).Draw(t, "what") {
	case "change":
		whom := h.person(t, "whom")
		role := teamchain.Role(rapid.IntRange(0, 6).Draw(t, "role"))
		uv := whom.UV()
		was, in, err := h.Team(id).CurrentUV(whom.UID)
		h.Must(err)
		c := stage.Change{Members: []stage.Member{{UV: uv, Role: role}}, Rotate: rapid.Bool().Draw(t, "rotate")}
		if in && was != uv {
			c.Members = append(c.Members, stage.Member{UV: was})
		}
		if len(whom.Devices) == 0 {
			return
		}
		d = by.Change(id, c)
	case "sub":
		var sub kbsig.TeamID
		sub, d = by.CreateSub(id, fmt.Sprintf("sub%d", len(h.teams)), teamchain.RoleWriter)
		if d.Send() == nil {
			h.teams = append(h.teams, sub)
		}
		return
	case "leave":
		d = by.Leave(id, false)
	case "rename":
		if _, sub := h.Team(id).Parent(); !sub {
			return
		}
		d = by.Rename(id, rapid.SampledFrom([]string{"new1", "new2"}).Draw(t, "name"))
	case "delete":
		if _, sub := h.Team(id).Parent(); !sub {
			return
		}
		d = by.Delete(id)
	case "rotate":
		d = by.Rotate(id)
	case "hide":
		d = by.RotateHidden(id)
	case "reset":
		by.End(sigchain.KindReset)
		return
	}
	_ = d.Send() // which proves that a refusal changes nothing
}

// said is what the chains say, computed from nothing else.
func (h *history) said() view {
	out := view{}
	for _, p := range h.People() {
		uv := p.UV()
		out[p.UID] = map[kbsig.TeamID]teams.Standing{}
		for _, id := range h.teams {
			s := teams.Standing{UV: uv}
			st := h.Team(id)
			if uv.Eldest != 0 {
				role, err := st.RoleOf(uv)
				h.Must(err)
				s.Role = role
				for above, ok := st.Parent(); ok; above, ok = h.Team(above).Parent() {
					role, err := h.Team(above).RoleOf(uv)
					h.Must(err)
					if role.AtLeast(teamchain.RoleAdmin) {
						s.Implicit, s.Ancestor = role, above
						break
					}
				}
			}
			out[p.UID][id] = s
		}
	}
	return out
}

// roles is what somebody's map of roles shows.
func (h *history) roles(of map[kbsig.TeamID]teams.Standing) map[string]string {
	out := map[string]string{}
	for id, s := range of {
		if s.Any() && !h.Team(id).Deleted() {
			out[h.FullName(id)] = fmt.Sprint(s.Role, s.Implicit)
		}
	}
	return out
}

// TestIndexesSayWhatTheChainsSay proves, after each of a random list of posts, that what
// everybody is in every team, the lists of teams, their names and their boxes follow the
// chains, and that whose map of roles is another has a new version of it.
func TestIndexesSayWhatTheChainsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{Stage: stage.New(t, 1)}
		for _, name := range []string{"alice", "bob", "carol"} {
			h.Person(name)
		}
		root, d := h.Someone("alice").Create("acme")
		must(h.Stage, d)
		h.teams = []kbsig.TeamID{root}
		before, versions := h.said(), h.versions(t)
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			maps := map[kbsig.UID]string{}
			for u, of := range before {
				maps[u] = fmt.Sprint(h.roles(of))
			}
			resets := h.uvs()
			h.step(t)
			said, now := h.said(), h.versions(t)
			h.check(t, said)
			for u, of := range said {
				// A reset is told by another version: that of the user.
				if resets[u] == h.uvs()[u] && fmt.Sprint(h.roles(of)) != maps[u] && now[u] <= versions[u] {
					t.Fatalf("the map of %s went from %s to %s, and stays version %d", h.Plain(u.String()), maps[u], h.roles(of), now[u])
				}
			}
			before, versions = said, now
		}
	})
}

func (h *history) uvs() map[kbsig.UID]kbsig.UserVersion {
	out := map[kbsig.UID]kbsig.UserVersion{}
	for _, p := range h.People() {
		out[p.UID] = p.UV()
	}
	return out
}

func (h *history) versions(t *rapid.T) map[kbsig.UID]int64 {
	out := map[kbsig.UID]int64{}
	h.Read(func(v *store.View) (err error) {
		for _, p := range h.People() {
			if out[p.UID], err = teams.RoleMapVersion(v, p.UID); err != nil {
				t.Fatal(err)
			}
		}
		return nil
	})
	return out
}

// check holds the indexes against what the chains say.
func (h *history) check(t *rapid.T, said view) {
	h.Read(func(v *store.View) error {
		for _, p := range h.People() {
			live := map[kbsig.TeamID]bool{}
			for _, id := range h.teams {
				want := said[p.UID][id]
				got, err := teams.StandingOf(v, id, p.UID)
				if err != nil || got != want {
					t.Fatalf("%s in %s is %+v, %v; the chains say %+v", p.Name, h.FullName(id), got, err, want)
				}
				if want.Any() && !h.Team(id).Deleted() {
					live[id] = true
				}
			}
			list, err := teams.StandingsOf(v, p.UID)
			if err != nil {
				return err
			}
			for _, s := range list {
				if !live[s.Team] {
					t.Fatalf("%s is listed in %s", p.Name, h.FullName(s.Team))
				}
				delete(live, s.Team)
			}
			if len(live) > 0 {
				t.Fatalf("%s is not listed in %d teams", p.Name, len(live))
			}
		}
		for _, id := range h.teams {
			f, err := teams.FactsOf(v, id)
			if err != nil {
				return err
			}
			st := h.Team(id)
			if parent, _ := st.Parent(); f.Parent != parent || f.Deleted != st.Deleted() || f.Part != st.Name().Last() {
				t.Fatalf("facts %+v of %s", f, st.Name())
			}
			name, err := teams.FullName(v, id)
			if err != nil {
				return err
			}
			if found, err := teams.ByName(v, name); !f.Deleted && (err != nil || found != id) {
				t.Fatalf("%s leads to %s, %v", name, h.Plain(found.String()), err)
			}
		}
		return nil
	})
}
