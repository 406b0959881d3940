package joining_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/joining"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/stage"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// history are random deeds around a team and its subteam, of which many are refused.
type history struct {
	*world
	root, sub kbsig.TeamID
	invites   []string
	// holders are those who were given the newest key of a team.
	holders map[kbsig.TeamID]map[kbsig.UserVersion]bool
	gens    map[kbsig.TeamID]int64
}

func newHistory(t stage.T) *history {
	h := &history{world: newWorld(t, 1), holders: map[kbsig.TeamID]map[kbsig.UserVersion]bool{}, gens: map[kbsig.TeamID]int64{}}
	alice := h.Person("alice")
	h.Person("bob")
	h.Newcomer("carol")
	for _, p := range h.People() {
		h.here[p.UID] = true
	}
	var d *stage.Draft
	h.root, d = alice.Create("acme")
	h.Must(d.Send())
	h.sub, d = alice.CreateSub(h.root, "dev", teamchain.RoleNone)
	h.Must(d.Send())
	return h
}

func (h *history) team(t *rapid.T) kbsig.TeamID {
	return rapid.SampledFrom([]kbsig.TeamID{h.root, h.sub}).Draw(t, "team")
}

// other is anybody but alice, who stays an owner.
func (h *history) other(t *rapid.T) *stage.Person {
	return h.Someone(rapid.SampledFrom([]string{"bob", "carol"}).Draw(t, "who"))
}

// invite is the id of one that somebody made, or of none.
func (h *history) invite(t *rapid.T) kbsig.InviteID {
	return h.InviteID(rapid.SampledFrom(append([]string{"none"}, h.invites...)).Draw(t, "invite"))
}

// deeds are what may happen. What is refused must change nothing, and does no more here.
var deeds = map[string]func(h *history, t *rapid.T) error{
	"ask": func(h *history, t *rapid.T) error {
		name, err := kbsig.ParseTeamName(h.FullName(h.team(t)))
		h.Must(err)
		_, err = h.ways.Ask(h.T.Context(), h.other(t).UID, name)
		return err
	},
	"ignore": func(h *history, t *rapid.T) error {
		name, err := kbsig.ParseTeamName(h.FullName(h.team(t)))
		h.Must(err)
		return h.ways.Ignore(h.T.Context(), h.Someone("alice").UID, name, h.other(t).UID)
	},
	"shut": func(h *history, t *rapid.T) error {
		return h.ways.SetClosed(h.T.Context(), h.Someone("alice").UID, h.team(t), rapid.Bool().Draw(t, "shut"))
	},
	"change": func(h *history, t *rapid.T) error { return h.change(t) },
	"come":   func(h *history, t *rapid.T) error { return h.change(t) },
	"leave": func(h *history, t *rapid.T) error {
		p, id := h.other(t), h.team(t)
		if len(p.Devices) == 0 {
			return nil
		}
		return p.Leave(id, rapid.Bool().Draw(t, "permanent")).Send()
	},
	"invite": func(h *history, t *rapid.T) error {
		p, name := h.other(t), fmt.Sprintf("i%d", len(h.invites))
		i := stage.Obj{"id": h.InviteID(name).String(), "type": "rooter", "name": p.Name}
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			i["type"], i["name"] = "keybase", p.UV().String()
		case 1:
			i["type"], i["name"] = "seitan_invite_token", "sealed"
		case 2:
			i["type"], i["name"], i["max_uses"] = "invitelink", "sealed", 1
		}
		h.invites = append(h.invites, name)
		return h.Someone("alice").Invite(h.team(t), stage.Obj{"reader": []stage.Obj{i}}).Send()
	},
	"cancel": func(h *history, t *rapid.T) error {
		return h.Someone("alice").Invite(h.team(t), stage.Obj{"cancel": []string{h.invite(t).String()}}).Send()
	},
	"answer": func(h *history, t *rapid.T) error {
		a := joining.Answer{Invite: h.invite(t), AKey: akey("x"), At: h.Clock.Now(), Link: rapid.Bool().Draw(t, "link")}
		return h.ways.Accept(h.T.Context(), h.other(t).UID, a)
	},
	"reject": func(h *history, t *rapid.T) error {
		return h.ways.Reject(h.T.Context(), h.Someone("alice").UID, h.invite(t), h.other(t).UV(), akey("x"))
	},
	"prove": func(h *history, t *rapid.T) error {
		p, is := h.other(t), rapid.Bool().Draw(t, "is")
		return h.prove(p, "rooter:"+p.Name, is)
	},
	"reset": func(h *history, t *rapid.T) error { h.other(t).End(sigchain.KindReset); return nil },
	"begin": func(h *history, t *rapid.T) error {
		if p := h.other(t); len(p.Devices) == 0 {
			p.Begin()
		}
		return nil
	},
	"work": func(h *history, _ *rapid.T) error { h.Work(time.Minute); return nil },
}

// change makes somebody something, by completing an invite perhaps.
func (h *history) change(t *rapid.T) error {
	id, p := h.team(t), h.other(t)
	role := teamchain.Role(rapid.IntRange(0, 6).Draw(t, "role"))
	uv := p.UV()
	c := stage.Change{
		Members: []stage.Member{{UV: uv, Role: role}}, Rotate: rapid.IntRange(0, 3).Draw(t, "rotate") == 0,
		Permanent: rapid.IntRange(0, 2).Draw(t, "permanent") == 0,
	}
	was, in, err := h.Team(id).CurrentUV(p.UID)
	h.Must(err)
	if in && was != uv {
		c.Members = append(c.Members, stage.Member{UV: was})
	}
	if in && uv.Eldest == 0 {
		c.Members = c.Members[1:]
	}
	done := []teamchain.Completed{{Invite: h.invite(t), UV: uv}}
	switch rapid.IntRange(0, 3).Draw(t, "by") {
	case 0:
		c.Completed, c.Members[0].Role = done, teamchain.RoleReader
	case 1:
		c.Used, c.Members[0].Role = done, teamchain.RoleReader
	}
	return h.Someone("alice").Change(id, c).Send()
}

// TestWhatIsLeft proves, after each of random deeds: that a door counts those who wait; that
// a user leads to the teams where something is left of the user, and to no others; that a
// member is no outsider; that nothing is left of an invite that nobody can complete, and
// something leads to each other. And once the work is done: that members' devices are asked
// to let somebody in just while there is somebody with a per-user key whom the chain lets
// in, and to rotate while somebody who was given the key is to have it no more.
func TestWhatIsLeft(t *testing.T) {
	often := []string{"change", "come", "invite", "answer", "prove", "begin", "work"}
	names := slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(deeds)), often...)))
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		for range rapid.IntRange(1, 25).Draw(t, "deeds") {
			what := rapid.SampledFrom(names).Draw(t, "deed")
			before := h.Dump()
			// Leases that a refused post has opened are no part of it.
			if err := deeds[what](h, t); err != nil && what != "change" && what != "come" {
				if changed := stage.Changed(before, h.Dump()); len(changed) > 0 {
					t.Fatalf("%s is refused with %v, and changes %q", what, err, changed)
				}
			}
			h.Read(func(v *store.View) error { h.checkRecords(t, v); h.follow(); return nil })
		}
		h.Work(time.Second)
		h.Read(func(v *store.View) error { h.checkChores(t, v); return nil })
	})
}

// checkRecords is what holds after each transaction.
func (h *history) checkRecords(t *rapid.T, v *store.View) {
	for _, id := range []kbsig.TeamID{h.root, h.sub} {
		waiting := 0
		something := map[kbsig.UID]bool{}
		for _, p := range h.People() {
			o, err := joining.OutsiderOf(v, id, p.UID)
			h.Must(err)
			if o.Asked != 0 && !o.Ignored {
				waiting++
			}
			something[p.UID] = o != joining.Outsider{}
			if o.Reset = 0; o != (joining.Outsider{}) && h.standing(v, id, p.UID) != teamchain.RoleNone {
				t.Fatalf("%s is a member of %s and %+v", p.Name, h.FullName(id), o)
			}
		}
		d, err := joining.DoorOf(v, id)
		h.Must(err)
		if d.Waiting != waiting {
			t.Fatalf("the door of %s counts %d, %d wait", h.FullName(id), d.Waiting, waiting)
		}
		h.Must(joining.Acceptances(v, id, func(u kbsig.UID, i kbsig.InviteID, a joining.Acceptance) error {
			something[u] = true
			if st, ok, err := h.Team(id).Invite(i); err != nil || !ok || !st.Good() {
				t.Fatalf("%s has %+v of invite %s, which is %+v, %v", h.Plain(u.String()), a, h.Plain(i.String()), st, err)
			}
			return nil
		}))
		for u, is := range something {
			if has, err := store.Has(v, keys.OutsiderTeam(u, id)); err != nil || has != is {
				t.Fatalf("%s leads to %s: %v, %v; something is left: %v", h.Plain(u.String()), h.FullName(id), has, err, is)
			}
		}
		led := h.leads(v, id)
		for _, name := range h.invites {
			st, ok, err := h.Team(id).Invite(h.InviteID(name))
			h.Must(err)
			if want := ok && !st.Ended; want != strings.Contains(led, " "+name+" ") {
				t.Fatalf("of %s there is led to:%s; %s is active: %v", h.FullName(id), led, name, want)
			}
		}
	}
}

// entitled are those who are to have the key of a team.
func (h *history) entitled(id kbsig.TeamID) map[kbsig.UserVersion]bool {
	out := map[kbsig.UserVersion]bool{}
	for at, least, ok := id, teamchain.RoleBot, true; ok; least = teamchain.RoleAdmin {
		for _, m := range h.Members(at) {
			if m.Role.AtLeast(least) && h.uv(m.UV.UID) == m.UV {
				out[m.UV] = true
			}
		}
		at, ok = h.Team(at).Parent()
	}
	return out
}

func (h *history) uv(u kbsig.UID) (uv kbsig.UserVersion) {
	uv.UID = u
	h.Read(func(v *store.View) (err error) {
		uv.Eldest, err = identity.EldestSeqno(v, u)
		return err
	})
	return uv
}

// follow notes who is given keys.
func (h *history) follow() {
	for _, id := range []kbsig.TeamID{h.root, h.sub} {
		if n := h.Generation(id); n != h.gens[id] {
			h.gens[id], h.holders[id] = n, map[kbsig.UserVersion]bool{}
		}
		for uv := range h.entitled(id) {
			h.holders[id][uv] = true
		}
	}
}

// checkChores is what holds when the work is done.
func (h *history) checkChores(t *rapid.T, v *store.View) {
	for _, id := range []kbsig.TeamID{h.root, h.sub} {
		offered := map[chores.Kind]bool{}
		h.Must(joining.Acceptances(v, id, func(u kbsig.UID, i kbsig.InviteID, a joining.Acceptance) error {
			st, err := identity.Chain(v, u)
			if err != nil {
				return err
			}
			_, keyed := st.LatestPUK()
			invite, _, err := h.Team(id).Invite(i)
			if err != nil {
				return err
			}
			if uv, account := invite.Invite.Keybase(); account && uv.Eldest != 0 && uv.Eldest != st.EldestSeqno {
				t.Fatalf("%s is offered to %s, as which clients refuse %d", invite.Invite.Name, h.FullName(id), st.EldestSeqno)
			}
			if a.Kind == joining.Named && keyed {
				offered[chores.People] = true
			}
			if a.Kind == joining.Secret && keyed && (a.Eldest == 0 || a.Eldest == st.EldestSeqno) {
				offered[chores.Tokens] = true
			}
			return nil
		}))
		for _, k := range []chores.Kind{chores.People, chores.Tokens} {
			c, err := chores.Load(v, id, k)
			if err != nil || (c != nil) != offered[k] {
				t.Fatalf("%s: somebody can be let in by %c: %v; the chore is %+v, %v", h.FullName(id), k, offered[k], c, err)
			}
		}
		rotate, err := chores.Load(v, id, chores.Rotate)
		h.Must(err)
		entitled := h.entitled(id)
		for uv := range h.holders[id] {
			if !entitled[uv] && rotate == nil {
				t.Fatalf("%s: %s was given the key and is not to have it; nobody is asked to rotate", h.FullName(id), h.Plain(uv.String()))
			}
		}
	}
}

// TestNothingIsLeftOfATeam proves that when a team is deleted, everything that waited there
// goes, however much it is, and users lead to it no more.
func TestNothingIsLeftOfATeam(t *testing.T) {
	w, alice, bob, team := opened(t)
	const many = 100
	w.Must(w.ways.Accept(t.Context(), bob.UID, joining.Answer{Invite: w.InviteID("s1"), AKey: akey("x"), At: w.Clock.Now()}))
	w.Must(w.Update(func(tx *store.Tx) error {
		for i := range many {
			u := ghost(i)
			store.Save(tx, keys.Outsider(team, u), joining.Outsider{Asked: 1})
			if i%2 == 0 {
				store.Save(tx, keys.Acceptance(team, u, w.InviteID("l1")), joining.Acceptance{Kind: joining.Secret})
			}
			tx.Set(keys.OutsiderTeam(u, team), nil)
		}
		store.Save(tx, keys.TeamDoor(team), joining.Door{Waiting: many, Closed: true})
		return nil
	}))
	w.Must(alice.Delete(team).Send())
	w.Work(time.Second)
	w.Read(func(v *store.View) error {
		for what, lo := range map[string][]byte{
			"requests": keys.Outsiders(team), "answers": keys.Acceptances(team), "the door": keys.TeamDoor(team), "chores": keys.Chores(team),
			"what leads from users": keys.OutsiderTeams(kbsig.UID{})[:2],
		} {
			n := 0
			w.Must(v.Scan(lo, keys.End(lo), func(_, _ []byte) error { n++; return nil }))
			if n > 0 {
				t.Errorf("of %s %d are left", what, n)
			}
		}
		if led := w.leads(v, team); led != "" {
			t.Errorf("something leads to:%s", led)
		}
		_, err := teams.Load(v, team)
		return err
	})
}
