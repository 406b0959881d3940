package rest

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"mime/multipart"
	"net/url"
	"strings"
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// crowd is everybody that the table of access knows, by what they are in the team acme
// and in the team acme.work below it.
type crowd struct {
	people map[string]*client.Account
	acme   *client.Team
	work   *client.Team
}

// relations are the columns of the table, in their order: roles in acme, then the writer
// of acme.work who is nothing in acme, one who was removed, a stranger, and nobody at all.
var relations = []string{"owner", "admin", "writer", "reader", "bot", "machine", "below", "gone", "stranger", "nobody"}

func (d *door) crowd(t *testing.T) *crowd {
	t.Helper()
	ctx := context.Background()
	c := &crowd{people: make(map[string]*client.Account)}
	for _, r := range relations[:len(relations)-1] {
		c.people[r] = d.signUp(t, r+"1")
	}
	must := func(team *client.Team, err error) *client.Team {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return team
	}
	owner := c.people["owner"]
	c.acme = must(owner.CreateTeam(ctx, "acme"))
	roles := make(map[client.UserVersion]client.TeamRole)
	for name, role := range map[string]client.TeamRole{
		"admin": client.RoleAdmin, "writer": client.RoleWriter, "reader": client.RoleReader,
		"bot": client.RoleBot, "gone": client.RoleWriter,
	} {
		roles[c.people[name].Version()] = role
	}
	c.acme = must(owner.ChangeTeam(ctx, c.acme, client.TeamChange{Roles: roles}))
	c.acme = must(owner.ChangeTeam(ctx, c.acme, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{
		c.people["machine"].Version(): client.RoleRestrictedBot,
	}}))
	c.work = must(owner.CreateSubteam(ctx, c.acme, "work", client.RoleNone))
	c.work = must(owner.ChangeTeam(ctx, c.work, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{
		c.people["below"].Version(): client.RoleWriter,
	}}))
	c.acme = must(owner.LoadTeam(ctx, c.acme.ID, client.TeamOptions{}))
	c.acme = must(owner.ChangeTeam(ctx, c.acme, client.TeamChange{
		Roles: map[client.UserVersion]client.TeamRole{c.people["gone"].Version(): client.RoleNone}, Rotate: true,
	}))
	return c
}

// asked is the status of a question of one of them.
func (d *door) asked(t *testing.T, c *crowd, who, method, endpoint string, args url.Values, into any) int {
	t.Helper()
	s := d.verifier().Server()
	var cred client.Credential
	if a := c.people[who]; a != nil {
		cred = a.NIST(a.Device)
	}
	do := s.Get
	if method == post {
		do = s.Post
	}
	reply, err := do(context.Background(), endpoint, args, cred)
	if err != nil {
		return client.StatusCode(err)
	}
	if into != nil {
		if err := reply.Decode(into); err != nil {
			t.Fatalf("%s for %s: %v", endpoint, who, err)
		}
	}
	return 0
}

// codes are what the letters of the table stand for.
var codes = map[byte]int{'b': 202, 'w': 2625, 't': 2664, 'g': 2761, '.': 0, '-': 2623, 'n': 2614, '?': 205, 'L': 201, 'p': 2711, '!': 100, 'k': 2662}

// TestAccessTable walks every endpoint of teams for every relation that somebody can have
// to a team and to one below it, and proves that exactly those are answered whom the table
// names.
func TestAccessTable(t *testing.T) {
	d := openDoor(t)
	c := d.crowd(t)
	acme, work := c.acme.ID.String(), c.work.ID.String()
	v := func(kv ...string) url.Values {
		out := url.Values{}
		for i := 0; i < len(kv); i += 2 {
			out.Set(kv[i], kv[i+1])
		}
		return out
	}
	entry := []string{"namespace", "n", "entry_key", "k"}
	for _, row := range []struct {
		method, endpoint string
		args             url.Values
		//     owner, admin, writer, reader, bot, machine, below, gone, stranger, nobody
		want string
	}{
		{get, "team/get", v("id", acme), "......---L"},
		{get, "team/get", v("id", acme, "low", "1"), "......---L"},
		{get, "team/get", v("id", acme, "ftl", "1"), "......---L"},
		{get, "team/get", v("id", acme, "read_subteam_id", work), ".......--L"},
		{get, "team/get", v("id", acme, "ftl", "1", "read_subteam_id", work), ".......--L"},
		{get, "team/get", v("id", work), "..----.--L"},
		{get, "team/get", v("id", work, "ftl", "1"), "..----.--L"},
		{get, "team/get", v("id", work, "read_subteam_id", acme), "..----.--L"},
		{get, "team/get", v("name", "acme", "lookup_only", "1"), ".......---"},
		{get, "team/get", v("name", "acme.work", "lookup_only", "1"), "..----.---"},
		{get, "team/get", v("name", "acme.none", "lookup_only", "1"), "nn--------"},
		{get, "team/get", v("id", work, "showcase_only", "1"), "..----.---"},
		{get, "team/team_ek", v("team_id", acme), ".....????L"},
		{get, "team/team_ek", v("team_id", work), "..????.??L"},
		{get, "team/team_ek_box", v("team_id", acme, "generation", "1"), ".....????L"},
		{get, "team/member_eks", v("team_id", acme), ".....????L"},
		{get, "team/member_eks", v("team_id", work), "..????.??L"},
		{get, "teambot/box", v("team_id", acme, "generation", "1", "application", "2"), "-----.---L"},
		{get, "teambot/key", v("team_id", acme, "application", "2", "is_ephemeral", "1"), "-----.---L"},
		{post, "teambot/key_needed", v("team_id", acme, "application", "2"), "-----.---L"},
		{get, "team/storage", v(append(entry, "team_id", acme)...), ".....----L"},
		{get, "team/storage", v(append(entry, "team_id", work)...), "------.--L"},
		{get, "team/storage/list", v("team_id", acme), ".....----L"},
		{get, "team/storage/list", v("team_id", work), "------.--L"},
		{get, "team/member_showcase", v("tid", acme), "......pppL"},
		{get, "team/member_showcase", v("tid", work), "pppppp.ppL"},
		{post, "team/member_showcase", v("tid", work, "is_showcased", "0"), "pppppp.ppL"},
		{post, "team/team_showcase", v("tid", acme, "is_showcased", "0"), "..-------L"},
		{post, "team/team_showcase", v("tid", work, "is_showcased", "0"), "..-------L"},
		{get, "team/mentiondesc", v("name", "acme"), ".........L"},
		{get, "team/mentiondesc", v("name", "acme.work"), "..nnnn.nnL"},
	} {
		for i, who := range relations {
			got := d.asked(t, c, who, row.method, row.endpoint, row.args, nil)
			if want := codes[row.want[i]]; got != want {
				t.Errorf("%s %s %s for %s: status %d, want %d", row.method, row.endpoint, row.args.Encode(), who, got, want)
			}
		}
	}
}

// TestAccessToParts proves what those who may read a team see of it: admins all links, the
// others no link about subteams but those of their own branch; keys those who work with
// them; and what the server adds to keys only members.
func TestAccessToParts(t *testing.T) {
	d := openDoor(t)
	c := d.crowd(t)
	type part struct {
		Chain []struct {
			Payload string `json:"payload_json"`
		} `json:"chain"`
		Box   *struct{} `json:"box"`
		Masks []any     `json:"reader_key_masks"`
		Below bool      `json:"subteam_reader"`
	}
	for _, tc := range []struct {
		who, id, read string
		want          string
	}{
		{"owner", c.acme.ID.String(), "", "work box masks"},
		{"admin", c.acme.ID.String(), "", "work box masks"},
		{"writer", c.acme.ID.String(), "", "box masks"},
		{"reader", c.acme.ID.String(), "", "box masks"},
		{"bot", c.acme.ID.String(), "", "box masks"},
		{"machine", c.acme.ID.String(), "", ""},
		{"writer", c.acme.ID.String(), c.work.ID.String(), "box masks"},
		{"below", c.acme.ID.String(), c.work.ID.String(), "work below"},
		{"below", c.work.ID.String(), "", "work box masks"},
		{"admin", c.work.ID.String(), "", "work box"},
	} {
		args := url.Values{"id": {tc.id}, "low": {"0"}, "hidden_low": {"0"}}
		if tc.read != "" {
			args.Set("read_subteam_id", tc.read)
		}
		var p part
		if code := d.asked(t, c, tc.who, get, "team/get", args, &p); code != 0 {
			t.Errorf("%s: status %d", tc.who, code)
			continue
		}
		var saw []string
		for _, l := range p.Chain {
			if strings.Contains(l.Payload, "acme.work") {
				saw = append(saw, "work")
				break
			}
		}
		for _, f := range []struct {
			name string
			is   bool
		}{{"box", p.Box != nil}, {"masks", len(p.Masks) > 0}, {"below", p.Below}} {
			if f.is {
				saw = append(saw, f.name)
			}
		}
		if got := strings.Join(saw, " "); got != tc.want {
			t.Errorf("%s of team %s below %q sees %q, want %q", tc.who, tc.id, tc.read, got, tc.want)
		}
	}
}

// TestTeamPicture proves that an admin's picture of a team is what others are shown under
// its address, that nobody else can set one, and that strangers see none of a subteam.
func TestTeamPicture(t *testing.T) {
	d := openDoor(t)
	c := d.crowd(t)
	var img bytes.Buffer
	if err := png.Encode(&img, image.NewRGBA(image.Rect(0, 0, 64, 64))); err != nil {
		t.Fatal(err)
	}
	upload := func(who, team string) int {
		var body bytes.Buffer
		w := multipart.NewWriter(&body)
		part, err := w.CreateFormFile("avatar", "image")
		if err != nil {
			t.Fatal(err)
		}
		part.Write(img.Bytes())
		w.WriteField("team_id", team)
		w.Close()
		a := c.people[who]
		_, err = a.Server().PostRaw(context.Background(), "image/upload_team_avatar", w.FormDataContentType(), body.Bytes(), a.NIST(a.Device))
		if err != nil {
			return client.StatusCode(err)
		}
		return 0
	}
	for _, team := range []*client.Team{c.acme, c.work} {
		for who, want := range map[string]int{"writer": 2623, "stranger": 2623, "below": 2623, "admin": 0} {
			if got := upload(who, team.ID.String()); got != want {
				t.Errorf("%s sets a picture of %s: status %d, want %d", who, team.Name, got, want)
			}
		}
	}
	for who, want := range map[string]int{"writer": 1, "stranger": 1, "below": 2, "owner": 2} {
		var out struct {
			Pictures []map[string]string `json:"pictures"`
		}
		args := url.Values{"team_names": {"acme,acme.work,none"}, "formats": {"square_192"}}
		if code := d.asked(t, c, who, get, "image/team_avatar_lookups", args, &out); code != 0 || len(out.Pictures) != 3 {
			t.Fatalf("status %d, %d rows", code, len(out.Pictures))
		}
		shown := 0
		for _, row := range out.Pictures {
			if at := row["square_192"]; at != "" {
				shown++
				if status, _, _ := d.ask(t, "GET", strings.TrimPrefix(at, d.uri), "", ""); status != 200 {
					t.Errorf("%s: HTTP %d", at, status)
				}
			}
		}
		if shown != want {
			t.Errorf("%s is shown %d pictures, want %d", who, shown, want)
		}
	}
}
