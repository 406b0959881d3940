package rest

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// passers are who has, or had, to do with the team acme and is no member of it now: reset
// and deleted were writers when that happened to them, left and parted went by themselves,
// parted for good, banned was removed for good, invited and asked have not been let in.
var passers = []string{"owner", "reset", "deleted", "left", "parted", "banned", "invited", "asked", "nobody"}

// places are teams of other kinds: of two people, for them alone or for all to see; one
// that has ended, one that has ended below acme, and one of owner and reset, from before.
type places struct{ private, public, ended, endedBelow, once, acme *client.Team }

// passing makes the team acme, everybody who passes by, and the other teams.
func (d *door) passing(t *testing.T) (*crowd, places) {
	t.Helper()
	ctx := context.Background()
	c := &crowd{people: make(map[string]*client.Account)}
	for _, name := range append(passers[:len(passers)-1:len(passers)-1], "writer", "stranger") {
		c.people[name] = d.signUp(t, name+"1")
	}
	must := func(team *client.Team, err error) *client.Team {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return team
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	owner, all := c.people["owner"], client.TeamOptions{}
	give := func(team *client.Team, role client.TeamRole, names ...string) *client.Team {
		t.Helper()
		roles := make(map[client.UserVersion]client.TeamRole)
		for _, name := range names {
			roles[c.people[name].Version()] = role
		}
		return must(owner.ChangeTeam(ctx, team, client.TeamChange{Roles: roles, Rotate: role == client.RoleNone, Permanent: true}))
	}
	acme := give(must(owner.CreateTeam(ctx, "acme")), client.RoleWriter, "writer", "reset", "deleted", "left", "parted", "banned")
	for name, permanent := range map[string]bool{"left": false, "parted": true} {
		a := c.people[name]
		ok(a.LeaveTeam(ctx, must(a.LoadTeam(ctx, acme.ID, all)), permanent))
	}
	acme = give(must(owner.LoadTeam(ctx, acme.ID, all)), client.RoleNone, "banned")
	i, err := owner.NewInvite("keybase", c.people["invited"].Version().String())
	ok(err)
	acme = must(owner.InviteToTeam(ctx, acme, map[string]any{"reader": []any{i}}))
	ok(c.people["asked"].AskForTeam(ctx, "acme"))

	p := places{}
	writer := map[client.UserVersion]client.TeamRole{c.people["writer"].Version(): client.RoleReader}
	p.private = must(owner.CreateImplicitTeam(ctx, false, writer, nil))
	p.public = must(owner.CreateImplicitTeam(ctx, true, writer, nil))
	p.once = must(owner.CreateImplicitTeam(ctx, false, map[client.UserVersion]client.TeamRole{c.people["reset"].Version(): client.RoleReader}, nil))
	p.ended = give(must(owner.CreateTeam(ctx, "ended")), client.RoleWriter, "writer")
	ok(owner.DeleteTeam(ctx, p.ended, nil))
	p.endedBelow = give(must(owner.CreateSubteam(ctx, acme, "work", client.RoleNone)), client.RoleWriter, "writer")
	acme = must(owner.LoadTeam(ctx, acme.ID, all))
	ok(owner.DeleteTeam(ctx, p.endedBelow, acme))
	p.acme = must(owner.LoadTeam(ctx, acme.ID, all))

	ok(c.people["reset"].Reset(ctx))
	ok(c.people["reset"].ProvisionFirst(ctx, "another desk"))
	ok(c.people["deleted"].Delete(ctx))
	return c, p
}

// teamQuestions are all that can be asked about a team by its id, or its name.
func teamQuestions(id, name string) []teamAsk {
	v := func(kv ...string) url.Values {
		out := url.Values{}
		for i := 0; i < len(kv); i += 2 {
			out.Set(kv[i], kv[i+1])
		}
		return out
	}
	entry := []string{"team_id", id, "namespace", "n", "entry_key", "k"}
	return []teamAsk{
		// What passers of acme get; owner, writer, stranger and nobody of the teams private,
		// public, ended and ended below.
		{get, "team/get", v("id", id), ".-L-----L ..-L .... ---L ---L"},
		{get, "team/get", v("id", id, "ftl", "1"), ".-L-----L ..-L .... ---L ---L"},
		{get, "team/get", v("id", id, "hidden_low", "0", "low", "1"), ".-L-----L ..-L .... ---L ---L"},
		{get, "team/get", v("id", id, "showcase_only", "1"), ".-------- ..-- .... ---- ----"},
		{get, "team/get", v("name", name, "lookup_only", "1"), ".-------- ..-- .... ---- ----"},
		{get, "team/exists", v("teamName", name), "..b.....L ...L ...L ...L ...L"},
		{get, "team/mentiondesc", v("name", name), "..b.....L ..nL ...L nnnL nnnL"},
		{get, "team/conflict_info", v("tid", id), ".-------- ..-- .... ---- ----"},
		{get, "team/tlfid", v("team_id", id), "?-b-----L ??-L ???L ---L ---L"},
		{get, "team/team_ek", v("team_id", id), ".?b?????L ..?L ..?L ???L ???L"},
		{get, "team/team_ek_box", v("team_id", id, "generation", "1"), ".?b?????L ..?L ..?L ???L ???L"},
		{get, "team/member_eks", v("team_id", id), ".?b?????L ..?L ..?L ???L ???L"},
		{get, "team/storage", v(entry...), ".-b-----L ..-L ..-L ---L ---L"},
		{post, "team/storage", v(append(entry, "ciphertext", "c", "team_key_gen", "9", "revision", "1", "ciphertext_version", "1")...), "g-b-----L gg-L gg-L ---L ---L"},
		{get, "team/storage/list", v("team_id", id), ".-b-----L ..-L ..-L ---L ---L"},
		{get, "team/member_showcase", v("tid", id), ".pbpppppL pppL pppL pppL pppL"},
		{post, "team/member_showcase", v("tid", id, "is_showcased", "0"), ".pbpppppL pppL pppL pppL pppL"},
		{post, "team/team_showcase", v("tid", id, "is_showcased", "0"), ".-b-----L !--L !!!L ---L ---L"},
		{get, "team/access_requests", v("team", name), ".-b-----L nnnL nnnL nnnL nnnL"},
		{post, "team/deny_access", v("team", name, "uid", client.UIDOf("stranger1").String()), "t-b-----L nnnL nnnL nnnL nnnL"},
		{get, "team/disable_tars", v("tid", id), ".nbnnnnnL ..nL ..nL nnnL nnnL"},
		{post, "team/disable_tars", v("tid", id, "disabled", "0"), ".nbnnnnnL n-nL n-nL n-nL n-nL"},
		{post, "downgrade/team", v("team_id", id, "member_uids", client.UIDOf("writer1").String()), ".wbwwwwwL ..wL ..wL ---L ---L"},
		{get, "teambot/box", v("team_id", id, "generation", "1", "application", "2"), "--b-----L ---L ---L ---L ---L"},
		{post, "teambot/key_needed", v("team_id", id, "application", "2"), "--b-----L ---L ---L ---L ---L"},
		{get, "merkle/path", v("leaf_id", id), "......... .... .... .... ...."},
	}
}

type teamAsk struct {
	method, endpoint string
	args             url.Values
	want             string
}

// TestAccessOfOthers walks the endpoints of teams for those who are in a team no more, or
// not yet, and for teams that are of another kind or have ended, and proves that exactly
// those are answered whom the table names.
func TestAccessOfOthers(t *testing.T) {
	d := openDoor(t, withWays)
	c, p := d.passing(t)
	four := []string{"owner", "writer", "stranger", "nobody"}
	for i, table := range []struct {
		team string
		id   client.TeamID
		name string
		who  []string
	}{
		{"acme", p.acme.ID, "acme", passers}, {"private", p.private.ID, p.private.Name, four}, {"public", p.public.ID, p.public.Name, four},
		{"ended", p.ended.ID, "ended", four}, {"ended below", p.endedBelow.ID, "acme.work", four},
	} {
		for _, q := range teamQuestions(table.id.String(), table.name) {
			want := strings.Fields(q.want)[i]
			for at, who := range table.who {
				if got := d.asked(t, c, who, q.method, q.endpoint, q.args, nil); got != codes[want[at]] {
					t.Errorf("%s %s %s of team %s for %s: status %d, want %d", q.method, q.endpoint, q.args.Encode(), table.team, who, got, codes[want[at]])
				}
			}
		}
	}
	for at, who := range []string{"owner", "reset", "stranger", "nobody"} {
		for _, q := range []teamAsk{
			{get, "team/conflict_info", url.Values{"tid": {p.once.ID.String()}}, ".---"},
			{get, "team/get", url.Values{"id": {p.once.ID.String()}}, ".--L"},
			{get, "team/conflict_info", url.Values{"tid": {strings.Repeat("5a", 15) + "2e"}}, "----"},
		} {
			if got := d.asked(t, c, who, q.method, q.endpoint, q.args, nil); got != codes[q.want[at]] {
				t.Errorf("%s %s for %s: status %d, want %d", q.endpoint, q.args.Encode(), who, got, codes[q.want[at]])
			}
		}
	}
	for _, who := range []string{"reset", "left", "parted", "banned", "invited", "asked", "stranger"} {
		var list struct {
			Teams []struct {
				Name string `json:"fq_name"`
			} `json:"teams"`
		}
		if code := d.asked(t, c, who, get, "team/for_user", url.Values{"include_implicit_teams": {"1"}}, &list); code != 0 || len(list.Teams) != 0 {
			t.Errorf("%s is told of %v, status %d", who, list.Teams, code)
		}
	}
}
