package teams_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/stage"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// must sends a draft that may stand.
func must(s *stage.Stage, d *stage.Draft) {
	s.T.Helper()
	s.Must(d.Send())
}

// kind is why a draft is refused; KindNone if it stands.
func kind(d *stage.Draft) teamchain.Kind { return teamchain.KindOf(d.Send()) }

// cast is a team with somebody in each role, a subteam of which only an admin above and a
// reader have the key, and people who are in neither.
type cast struct {
	*stage.Stage
	team, sub kbsig.TeamID
}

func newCast(t stage.T, seed byte) *cast {
	c := &cast{Stage: stage.New(t, seed)}
	for _, name := range []string{"alice", "bob", "carol", "dave", "robot", "spy", "guest"} {
		c.Person(name)
	}
	alice := c.Someone("alice")
	var d *stage.Draft
	c.team, d = alice.Create("acme")
	must(c.Stage, d)
	must(c.Stage, alice.Change(c.team, stage.Change{Members: []stage.Member{
		c.as("bob", teamchain.RoleAdmin), c.as("carol", teamchain.RoleWriter), c.as("robot", teamchain.RoleBot), c.as("spy", teamchain.RoleRestrictedBot),
	}}))
	c.sub, d = alice.CreateSub(c.team, "dev", teamchain.RoleNone)
	must(c.Stage, d)
	must(c.Stage, alice.Change(c.sub, stage.Change{Members: []stage.Member{c.as("carol", teamchain.RoleReader)}}))
	return c
}

func (c *cast) as(name string, r teamchain.Role) stage.Member {
	return stage.Member{UV: c.Someone(name).UV(), Role: r}
}

// TestAPostCostsWhatItChanges proves that a change of one member of a large team, and a
// change of its settings, write as many records as in a small one.
func TestAPostCostsWhatItChanges(t *testing.T) {
	costs := func(size int) map[string]int {
		s := stage.New(t, 3)
		alice, guest := s.Person("alice"), s.Person("guest")
		team, d := alice.Create("acme")
		must(s, d)
		var c stage.Change
		for i := range size {
			c.Members = append(c.Members, stage.Member{UV: s.Person(fmt.Sprintf("member%d", i)).UV(), Role: teamchain.RoleWriter})
		}
		must(s, alice.Change(team, c))
		out := map[string]int{}
		count := func(what string, d *stage.Draft) {
			before := s.Dump()
			must(s, d)
			for _, k := range stage.Changed(before, s.Dump()) {
				if k[0] == '0' {
					out[what+" 0"+k[1:2]]++
				}
			}
		}
		count("come", alice.Change(team, stage.Change{Members: []stage.Member{{UV: guest.UV(), Role: teamchain.RoleReader}}}))
		count("open", alice.Open(team, teamchain.RoleReader))
		count("go", alice.Change(team, stage.Change{Members: []stage.Member{{UV: guest.UV()}}}))
		return out
	}
	small, large := costs(2), costs(30)
	if !maps.Equal(small, large) || len(small) == 0 {
		t.Errorf("with 2 members it writes %v, with 30 %v", small, large)
	}
}

// TestHooksAreInTheTransaction proves that whoever registered sees all of a post as it
// will stand, is not called when it stands already, and can refuse the whole of it.
func TestHooksAreInTheTransaction(t *testing.T) {
	c := newCast(t, 4)
	alice := c.Someone("alice")
	var facts []teams.PostFact
	var seen []string
	no := errors.New("not with me")
	var answer error
	c.Teams.OnPost(func(tx *store.Tx, f teams.PostFact) error {
		facts = append(facts, f)
		for id, st := range f.After {
			now, err := teams.Load(tx, id)
			if err != nil {
				return err
			}
			a, _, _ := now.Tail()
			b, _, _ := st.Tail()
			standing, err := teams.StandingOf(tx, id, c.Someone("dave").UID)
			if err != nil {
				return err
			}
			box, err := keyboxes.TeamBoxOf(tx, id, standing.UV.UID, standing.UV.Eldest)
			if err != nil {
				return err
			}
			seen = append(seen, fmt.Sprintf("%s at %d of %d, dave %s, box %v", c.Plain(id.String()), a, b, standing.Role, box != nil))
		}
		return answer
	})
	answer = no
	change := stage.Change{Members: []stage.Member{c.as("dave", teamchain.RoleWriter)}}
	if err := alice.Change(c.team, change).Send(); !errors.Is(err, no) {
		t.Errorf("a hook that refuses: %v", err)
	}
	if err := alice.RotateHidden(c.team).Send(); !errors.Is(err, no) {
		t.Errorf("a hook that refuses a hidden link: %v", err)
	}
	answer = nil
	must(c.Stage, alice.Change(c.team, change)) // and again, which is no post
	if want := []string{"acme at 4 of 4, dave writer, box true", "acme at 4 of 4, dave writer, box true"}; !slices.Equal(seen, want) {
		t.Errorf("seen %q", seen)
	}
	must(c.Stage, alice.RotateHidden(c.team))
	last := facts[len(facts)-1]
	if len(facts) != 4 || len(last.Hidden) != 1 || len(last.Links) != 0 || last.By != alice.UV() {
		t.Errorf("%d facts, the last is %+v", len(facts), last)
	}
	if f := facts[2]; len(f.Links) != 1 || f.Before[c.team] == nil || f.Post == nil {
		t.Errorf("the fact of a visible link is %+v", f)
	}
}

// TestRootsProveTheOrder proves that a link quotes a root in which readers find what it
// rests on: the role above that its author has, the lease under which somebody is
// demoted, the reset of whom it takes out.
func TestRootsProveTheOrder(t *testing.T) {
	c := newCast(t, 5)
	alice, bob, dave := c.Someone("alice"), c.Someone("bob"), c.Someone("dave")
	early := alice.Draft().Root()
	must(c.Stage, alice.Change(c.team, stage.Change{Members: []stage.Member{c.as("dave", teamchain.RoleAdmin)}}))
	below := func() *stage.Draft {
		return dave.Draft().Quote(early).Link(c.sub, "team.settings", stage.Obj{
			"settings": stage.Obj{"open": stage.Obj{"enabled": true, "options": stage.Obj{"join_as": "reader"}}},
			"admin":    stage.Obj{"team_id": c.team.String(), "seqno": 4, "seq_type": 3},
		})
	}
	if got := kind(below()); got != teamchain.KindOrder {
		t.Errorf("an admin of a root in which there was no such admin: kind %d", got)
	}
	must(c.Stage, dave.Open(c.sub, teamchain.RoleReader))

	demote := stage.Change{Members: []stage.Member{c.as("bob", teamchain.RoleWriter)}}
	d := alice.Change(c.team, demote)
	lease := d.Post.Lease
	old := alice.Draft().Quote(early + 1)
	old.Post.Lease = lease
	old.Link(c.team, "team.change_membership", stage.Obj{
		"members": stage.Obj{"writer": []string{bob.UV().String()}}, "admin": stage.Obj{"team_id": c.team.String(), "seqno": 1, "seq_type": 3},
	})
	if got := kind(old); got != teamchain.KindNoLease {
		t.Errorf("a demotion that quotes a root before its lease: kind %d", got)
	}
	must(c.Stage, d)

	before := alice.Draft().Root()
	gone := dave.UV()
	dave.End(sigchain.KindReset)
	out := stage.Obj{"members": stage.Obj{"none": []string{gone.String()}}, "admin": stage.Obj{"team_id": c.team.String(), "seqno": 1, "seq_type": 3}}
	if got := kind(alice.Draft().Quote(before).Link(c.team, "team.change_membership", maps.Clone(out))); got != teamchain.KindOrder {
		t.Errorf("taken out by a root in which the admin was not reset: kind %d", got)
	}
	must(c.Stage, alice.Draft().Link(c.team, "team.change_membership", out))

	if got := kind(alice.Draft().Quote(before).Link(c.team, "team.rotate_key", stage.Obj{})); got == teamchain.KindNone {
		t.Error("an older root than the chain has quoted")
	}
}

// TestLeases proves that a device which is about to be revoked signs nothing more for teams,
// and that nobody acts in a subteam, by either chain, on a role above that is about to go.
func TestLeases(t *testing.T) {
	c := newCast(t, 11)
	alice, bob := c.Someone("alice"), c.Someone("bob")
	device, _, err := c.Identity.NewLease(t.Context(), bob.UID, []kbsig.KID{kbsig.KID(bob.Devices[0].Sig.KID())}, nil)
	c.Must(err)
	tries := func(want teamchain.Kind, why string) {
		t.Helper()
		for what, d := range map[string]*stage.Draft{
			"a link": bob.Open(c.sub, teamchain.RoleReader), "a hidden link": bob.RotateHidden(c.sub),
		} {
			if got := kind(d); got != want {
				t.Errorf("%s while %s: kind %d, want %d", what, why, got, want)
			}
		}
	}
	tries(teamchain.KindLeased, "the device is being revoked")
	c.Must(c.Identity.CancelLease(t.Context(), bob.UID, device))
	role, _, err := c.Teams.NewLease(t.Context(), alice.UID, c.team, []kbsig.UID{bob.UID})
	c.Must(err)
	tries(teamchain.KindLeased, "the role is being taken away")
	c.Must(c.Identity.CancelLease(t.Context(), alice.UID, role))
	must(c.Stage, bob.RotateHidden(c.sub))
}

// TestNobodyIsCalledLikeATeam proves that no user takes the name of a root team, deleted or
// not, and that the name of a subteam is no hindrance.
func TestNobodyIsCalledLikeATeam(t *testing.T) {
	c := newCast(t, 12)
	alice := c.Someone("alice")
	signUp := func(name kbsig.Username) error {
		_, _, err := c.Identity.SignUp(t.Context(), identity.SignUp{Name: name, Cased: string(name)})
		return err
	}
	for range 2 {
		if err := signUp("acme"); !errors.Is(err, accounts.ErrNameTaken) {
			t.Errorf("somebody called like a team: %v", err)
		}
		if c.Team(c.sub).Deleted() {
			break
		}
		must(c.Stage, alice.Delete(c.sub))
		must(c.Stage, alice.Delete(c.team))
	}
	c.Must(signUp("dev"))
}

// TestRefusals proves the limits of posts and leases, and that nobody posts for others.
func TestRefusals(t *testing.T) {
	c := newCast(t, 6)
	alice, bob := c.Someone("alice"), c.Someone("bob")
	one := alice.Open(c.team, teamchain.RoleReader).Post.Items[0]
	hid := alice.RotateHidden(c.team).Post.Items[0]
	for _, row := range []struct {
		what  string
		by    *stage.Person
		items []teams.Item
		want  teamchain.Kind
	}{
		{"no link", alice, nil, teamchain.KindInput},
		{"too many links", alice, slices.Repeat([]teams.Item{one}, teams.PostLinksMax+1), teamchain.KindInput},
		{"as many as may be, of which the second is old", alice, slices.Repeat([]teams.Item{one}, teams.PostLinksMax), teamchain.KindOldSeqno},
		{"somebody else's link", bob, []teams.Item{one}, teamchain.KindPermission},
		{"somebody else's hidden link", bob, []teams.Item{hid}, teamchain.KindPermission},
		{"a hidden link beside a visible one", alice, []teams.Item{one, hid}, teamchain.KindBatch},
		{"two hidden links", alice, []teams.Item{hid, hid}, teamchain.KindBatch},
	} {
		before := c.Dump()
		err := c.Teams.Post(t.Context(), row.by.UID, teams.Post{Items: row.items})
		if got := teamchain.KindOf(err); got != row.want {
			t.Errorf("%s: kind %d, want %d: %v", row.what, got, row.want, err)
		}
		if changed := stage.Changed(before, c.Dump()); len(changed) > 0 {
			t.Errorf("%s: changed %q", row.what, changed)
		}
	}
	const leaseMembersMax = 5000
	for n, want := range map[int]teamchain.Kind{0: teamchain.KindInput, leaseMembersMax + 1: teamchain.KindInput, leaseMembersMax: teamchain.KindNone} {
		_, _, err := c.Teams.NewLease(t.Context(), alice.UID, c.team, slices.Repeat([]kbsig.UID{bob.UID}, n))
		if got := teamchain.KindOf(err); got != want {
			t.Errorf("a lease over %d members: kind %d, want %d: %v", n, got, want, err)
		}
	}
	nobody := c.Newcomer("nokeys")
	for what, uv := range map[string]kbsig.UserVersion{
		"somebody without a per-user key": nobody.UV(), "a past incarnation": {UID: c.Someone("dave").UID, Eldest: 9},
		"somebody who does not exist": {UID: kbsig.UIDOf("ghost"), Eldest: 1},
	} {
		d := alice.Draft().Link(c.team, "team.change_membership", stage.Obj{
			"members": stage.Obj{"writer": []string{uv.String()}}, "admin": stage.Obj{"team_id": c.team.String(), "seqno": 1, "seq_type": 3},
		})
		if got := kind(d); got != teamchain.KindMembership {
			t.Errorf("%s comes: kind %d", what, got)
		}
	}
}

// TestDeepAndCorrupt proves that questions about teams end when the records do not fit:
// a team that lies below itself, and one whose parent is missing.
func TestDeepAndCorrupt(t *testing.T) {
	s := stage.New(t, 7)
	loop, orphan := kbsig.TeamID{1, 15: 0x25}, kbsig.TeamID{2, 15: 0x25}
	s.Must(s.Update(func(tx *store.Tx) error {
		store.Save(tx, keys.TeamFacts(loop), teams.Facts{Part: "loop", Parent: loop})
		store.Save(tx, keys.TeamFacts(orphan), teams.Facts{Part: "orphan", Parent: kbsig.TeamID{3, 15: 0x24}})
		tx.Set(keys.TeamOfTLF("ab16"), []byte("no team"))
		return nil
	}))
	s.Read(func(v *store.View) error {
		for _, id := range []kbsig.TeamID{loop, orphan} {
			if _, err := teams.Ancestors(v, id); !errors.Is(err, teams.ErrCorrupt) {
				t.Errorf("ancestors of %x: %v", id[0], err)
			}
			if _, err := teams.FullName(v, id); !errors.Is(err, teams.ErrCorrupt) {
				t.Errorf("name of %x: %v", id[0], err)
			}
		}
		if _, err := teams.ByTLF(v, "ab16"); !errors.Is(err, teams.ErrCorrupt) {
			t.Errorf("a folder of no team: %v", err)
		}
		_, err := teams.ByTLF(v, "cd16")
		if !errors.Is(err, teams.ErrNoTeam) {
			t.Errorf("a folder that nobody has named: %v", err)
		}
		return nil
	})
}

// TestFolders proves that a folder stays with the team that named it first, and that old
// keys of folders are taken only as the link says they are.
func TestFolders(t *testing.T) {
	c := newCast(t, 8)
	alice := c.Someone("alice")
	const tlf = "00000000000000000000000000000016"
	name := func(t kbsig.TeamID, more stage.Obj) *stage.Draft {
		kbfs := stage.Obj{"tlf": stage.Obj{"id": tlf}}
		maps.Copy(kbfs, more)
		return alice.Draft().Link(t, "team.kbfs", stage.Obj{
			"kbfs": kbfs, "admin": stage.Obj{"team_id": t.String(), "seqno": 1, "seq_type": 3},
		})
	}
	other, d := alice.Create("other")
	must(c.Stage, d)
	must(c.Stage, name(c.team, nil))
	must(c.Stage, name(other, nil))
	keyset := "sealed keys of a folder"
	sum := fmt.Sprintf("%x", sha256Of(keyset))
	upgrade := stage.Obj{"legacy_tlf_upgrade": stage.Obj{"app_type": 1, "team_generation": 1, "legacy_generation": 3, "encrypted_keyset_hash": sum}}
	good := teams.LegacyTLF{EncryptedKeyset: keyset, TeamGeneration: 1, LegacyGeneration: 3, AppType: 1}
	for what, change := range map[string]func(*teams.LegacyTLF){
		"another text":              func(l *teams.LegacyTLF) { l.EncryptedKeyset += "x" },
		"another generation":        func(l *teams.LegacyTLF) { l.LegacyGeneration++ },
		"another team's generation": func(l *teams.LegacyTLF) { l.TeamGeneration++ },
		"another application":       func(l *teams.LegacyTLF) { l.AppType++ },
	} {
		d, bad := name(c.team, upgrade), good
		change(&bad)
		d.Post.LegacyTLF = &bad
		if got := kind(d); got != teamchain.KindMismatch {
			t.Errorf("%s: kind %d", what, got)
		}
	}
	if got := kind(name(c.team, upgrade)); got != teamchain.KindInput {
		t.Errorf("without the keys: kind %d", got)
	}
	d = name(c.team, upgrade)
	d.Post.LegacyTLF = &good
	must(c.Stage, d)
	c.Read(func(v *store.View) error {
		if id, err := teams.ByTLF(v, tlf); err != nil || id != c.team {
			t.Errorf("the folder is of %s, %v", c.Plain(id.String()), err)
		}
		list, err := teams.LegacyTLFs(v, c.team)
		if len(list) != 1 || list[0] != good {
			t.Errorf("kept: %+v", list)
		}
		return err
	})
}
