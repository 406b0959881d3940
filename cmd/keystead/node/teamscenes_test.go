package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/faultfs"
)

// troupe is who takes part in scenes about teams.
type troupe struct {
	alice, bob, carol, dora *client.Account // owner, writer, reader, nobody yet
	robot                   *client.Account // restricted bot
	acme, work, other       *client.Team    // work is below acme; alice alone is in other
}

// teamScene is a request about teams that is right in the state which all of them share.
type teamScene struct {
	name, endpoint string
	ask            func(context.Context, *troupe) error
}

func roles(r client.TeamRole, who ...*client.Account) map[client.UserVersion]client.TeamRole {
	out := make(map[client.UserVersion]client.TeamRole)
	for _, a := range who {
		out[a.Version()] = r
	}
	return out
}

var teamScenes = []teamScene{
	{"create a team", "sig/multi", func(ctx context.Context, c *troupe) error {
		return second(c.alice.CreateTeam(ctx, "newteam"))
	}},
	{"create a subteam", "sig/multi", func(ctx context.Context, c *troupe) error {
		return second(c.alice.CreateSubteam(ctx, c.acme, "lab", client.RoleWriter))
	}},
	{"create an implicit team", "sig/multi", func(ctx context.Context, c *troupe) error {
		i, err := c.alice.NewInvite("twitter", "somebird")
		if err != nil {
			return err
		}
		return second(c.alice.CreateImplicitTeam(ctx, false, roles(client.RoleOwner, c.bob), map[string]any{"owner": []any{i}}))
	}},
	{"create a public team", "sig/multi", func(ctx context.Context, c *troupe) error {
		return second(c.alice.CreateImplicitTeam(ctx, true, roles(client.RoleReader, c.bob), nil))
	}},
	{"let somebody in", "sig/multi", func(ctx context.Context, c *troupe) error {
		return second(c.alice.ChangeTeam(ctx, c.acme, client.TeamChange{Roles: roles(client.RoleAdmin, c.dora)}))
	}},
	{"remove and rotate", "sig/multi", func(ctx context.Context, c *troupe) error {
		return second(c.alice.ChangeTeam(ctx, c.acme, client.TeamChange{Roles: roles(client.RoleNone, c.carol), Rotate: true}))
	}},
	{"add a bot", "sig/multi", func(ctx context.Context, c *troupe) error {
		return second(c.alice.ChangeTeam(ctx, c.acme, client.TeamChange{Roles: roles(client.RoleRestrictedBot, c.dora)}))
	}},
	{"settings of a bot", "sig/multi", func(ctx context.Context, c *troupe) error {
		return second(c.alice.SetBots(ctx, c.acme, c.robot.Version()))
	}},
	{"let in and invite", "sig/multi", func(ctx context.Context, c *troupe) error {
		i, err := c.alice.NewInvite("email", "x@example.org")
		if err != nil {
			return err
		}
		return second(c.alice.ChangeTeam(ctx, c.acme, client.TeamChange{
			Roles: roles(client.RoleReader, c.dora), Invites: map[string]any{"writer": []any{i}},
		}))
	}},
	{"rotate", "sig/multi", func(ctx context.Context, c *troupe) error { return second(c.alice.RotateTeam(ctx, c.acme)) }},
	{"rotate out of sight", "sig/multi", func(ctx context.Context, c *troupe) error {
		return second(c.bob.RotateTeamHidden(ctx, c.acme))
	}},
	{"rename a subteam", "sig/multi", func(ctx context.Context, c *troupe) error {
		return second(c.alice.RenameSubteam(ctx, c.acme, c.work, "play"))
	}},
	{"delete a subteam", "sig/multi", func(ctx context.Context, c *troupe) error {
		return c.alice.DeleteTeam(ctx, c.work, c.acme)
	}},
	{"delete a team", "sig/multi", func(ctx context.Context, c *troupe) error { return c.alice.DeleteTeam(ctx, c.other, nil) }},
	{"leave", "sig/multi", func(ctx context.Context, c *troupe) error { return c.bob.LeaveTeam(ctx, c.acme, false) }},
	{"invite to a team", "sig/multi", func(ctx context.Context, c *troupe) error {
		i, err := c.alice.NewInvite("twitter", "somebird")
		if err != nil {
			return err
		}
		return second(c.alice.InviteToTeam(ctx, c.acme, map[string]any{"reader": []any{i}}))
	}},
	{"open a team", "sig/multi", func(ctx context.Context, c *troupe) error {
		return second(c.alice.OpenTeam(ctx, c.acme, client.RoleReader))
	}},
	{"tie a folder", "sig/multi", func(ctx context.Context, c *troupe) error {
		return second(c.bob.SetTLF(ctx, c.acme, strings.Repeat("5", 30)+"26"))
	}},
	{"adopt old keys", "sig/multi", func(ctx context.Context, c *troupe) error {
		return second(c.bob.AdoptKeys(ctx, c.acme, client.AppKBFS, 2, []byte("old keys of a folder")))
	}},
	{"team's ephemeral key", "team/team_ek", func(ctx context.Context, c *troupe) error {
		return second(c.bob.PostTeamEK(ctx, c.acme))
	}},
	{"lease over members", "downgrade/team", func(ctx context.Context, c *troupe) error {
		return second(c.alice.ChangeTeam(ctx, c.acme, client.TeamChange{Roles: roles(client.RoleNone, c.carol), Rotate: true}))
	}},
	{"ask to be let in", "team/request_access", func(ctx context.Context, c *troupe) error { return c.dora.AskForTeam(ctx, "acme") }},
}

// teamHarmless are the mutants of requests about teams that a server may take.
var teamHarmless = []harm{
	// JSON that says the same.
	{teamJSON, `body`, `(space|newline) (before|after)`, "white space"},
	{teamJSON, `content type`, `.*`, "the endpoint takes nothing but JSON"},
	{teamJSON, `.*`, `space|escaped|escaped name|upper name`, "the same document, written otherwise"},
	{teamJSON, `.*`, `add`, "a name that means nothing here"},
	{teamJSON, `(.*\.)?[a-z0-9_]+`, `swap`, "members have no order"},
	{teamForms, `.*`, `escaped|escaped name|add|swap|in query|semicolon`, "the same form, written otherwise"},
	{teamForms, `.*`, `double|other last|empty last`, "the first counts"},
	{teamForms, `.*`, `other in query`, "the form counts before the query"},

	// What stands beside a link repeats what it says.
	{teamJSON, `sigs\.\d\.(expansions|sig3|version|seq_type|signing_kid)`, `drop|null|empty|dec`, "may be left out"},
	{teamJSON, `sigs\.\d\.public_keys.*`, `.*`, "not read: the link says which keys"},

	{teamJSON, `sigs\.\d\.version`, `neg`, "minus zero"},
	{`rotate out of sight`, `sigs\.0\.(sig|sig_inner)`, `drop|null`, "a hidden link has none"},
	{teamJSON, `(.*\.)?public_summary`, `newline after|broken lines`, "base64 may have line breaks"},
	{`remove and rotate`, `downgrade_lease_id`, `.*`, "only who takes power from an admin needs a lease"},
	{`remove and rotate|leave`, `permanent`, `drop|null|true`, "whether somebody may come back; false if it is not said"},
	{`invite to a team`, `email_invite_msg`, `.*`, "what somebody writes to the invited"},
	{`lease over members`, `member_uids`, `twice|space .*|newline after`, "the same, named twice, or with space around it"},
	{`team's ephemeral key`, `boxes`, `drop|empty|null|array|upper name|list name|no value|empty first`, "nobody can read it"},
	{`team's ephemeral key`, `method`, `GET`, "another endpoint, which reads"},
	{`team's ephemeral key`, `boxes`, `space .*|newline after`, "white space in JSON"},
	{`ask to be let in`, `team`, `upper`, "the same name"},

	// What nobody but its owner can judge.
	{teamJSON, sealed, `.*`, "sealed: only its owner can open it"},
}

// sealedBits: of the bits of boxes, which are all taken, one in so many is tried.
const sealedBits = 100

// sealed are boxes, and what belongs to them, that a server cannot open.
const sealed = `(.*_key|.*_keys\.[0-9a-f]+)\.(boxes\.[0-9a-f]+|prev|nonce)`

// The kinds of scenes.
var (
	teamJSON  = teamScenesOf(func(endpoint string) bool { return endpoint == "sig/multi" })
	teamForms = teamScenesOf(func(endpoint string) bool { return endpoint != "sig/multi" })
)

func teamScenesOf(is func(endpoint string) bool) string {
	var names []string
	for _, s := range teamScenes {
		if is(s.endpoint) {
			names = append(names, regexp.QuoteMeta(s.name))
		}
	}
	return strings.Join(names, "|")
}

// keepLeases answers who gives a lease back in the place of the server.
type keepLeases struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (k keepLeases) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "/downgrade/cancel.json") {
		return nil, errHeld
	}
	return k.RoundTripper.RoundTrip(req)
}

// setTeamScenes makes the state that the scenes share, and their requests.
func setTeamScenes(t *testing.T, scenes []teamScene) (stages []*stage) {
	t.Helper()
	ctx := t.Context()
	l := newLab(t)
	r := l.mustStart(t)
	srv := r.server()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("set the scenes: %v", err)
		}
	}
	c := &troupe{}
	for name, who := range map[string]**client.Account{"alice": &c.alice, "bob": &c.bob, "carol": &c.carol, "dora": &c.dora, "robot": &c.robot} {
		a, err := client.Signup(ctx, client.NewVerifier(srv, nil), client.SignupOptions{
			Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "desk of " + name,
		})
		must(err)
		must(second(a.PostDeviceEK(ctx, a.Device)))
		must(second(a.PostUserEK(ctx)))
		*who = a
	}
	var err error
	c.other, err = c.alice.CreateTeam(ctx, "other")
	must(err)
	c.acme, err = c.alice.CreateTeam(ctx, "acme")
	must(err)
	c.acme, err = c.alice.ChangeTeam(ctx, c.acme, client.TeamChange{Roles: roles(client.RoleWriter, c.bob)})
	must(err)
	c.acme, err = c.alice.ChangeTeam(ctx, c.acme, client.TeamChange{Roles: roles(client.RoleReader, c.carol)})
	must(err)
	c.acme, err = c.alice.ChangeTeam(ctx, c.acme, client.TeamChange{Roles: roles(client.RoleRestrictedBot, c.robot)})
	must(err)
	c.work, err = c.alice.CreateSubteam(ctx, c.acme, "work", client.RoleNone)
	must(err)
	c.work, err = c.alice.ChangeTeam(ctx, c.work, client.TeamChange{Roles: roles(client.RoleWriter, c.bob)})
	must(err)
	c.acme, err = c.alice.LoadTeam(ctx, c.acme.ID, client.TeamOptions{})
	must(err)
	c.acme, err = c.alice.RotateTeamHidden(ctx, c.acme)
	must(err)
	must(second(c.bob.LoadTeam(ctx, c.acme.ID, client.TeamOptions{})))

	hold := &holder{RoundTripper: keepLeases{srv.HTTP.Transport}}
	srv.HTTP.Transport = hold
	for _, sc := range scenes {
		hold.endpoint = sc.endpoint
		if err := sc.ask(ctx, c); !errors.Is(err, errHeld) {
			t.Fatalf("scene %s: %v", sc.name, err)
		}
		s := &stage{scene: scene{name: sc.name, endpoint: sc.endpoint}, lab: l, right: *hold.held}
		if sc.endpoint == "sig/multi" {
			s.right.body = inOrder(t, s.right.body)
		}
		boxes := 0
		s.mutants = slices.DeleteFunc(s.right.mutants(), func(m mutant) bool {
			if !match(sealed, m.path) || m.what != "bit" {
				return false
			}
			boxes++
			return boxes%sealedBits != 0
		})
		s.read = c.readAnew
		stages = append(stages, s)
	}
	srv.Close()
	must(r.stop())
	before, born := faultfs.Clone(l.mem, 100, rand.New(rand.NewPCG(0, 0))), l.clock()
	for _, s := range stages {
		s.before, s.born = before, born
	}
	return stages
}

// inOrder is a document with its names in order, as those who change it want it.
func inOrder(t *testing.T, doc string) string {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(doc))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// readAnew has members verify their teams who know nothing of them yet.
func (c *troupe) readAnew(ctx context.Context, r *run) error {
	for _, a := range []*client.Account{c.alice, c.bob, c.carol} {
		reader := a.With(r.verifier(nil))
		for _, id := range []client.TeamID{c.acme.ID, c.work.ID, c.other.ID} {
			_, err := reader.LoadTeam(ctx, id, client.TeamOptions{Fresh: true})
			var no *client.StatusError
			if err != nil && !errors.As(err, &no) {
				return fmt.Errorf("%s reads team %s: %w", a.Username, id, err)
			}
		}
	}
	return nil
}

// TestTeamMutants proves of requests about teams what TestMutants does of others, and that
// members who look afterwards with eyes of their own find nothing wrong with their teams.
func TestTeamMutants(t *testing.T) {
	t.Parallel()
	var scenes []teamScene
	for i, sc := range teamScenes {
		if match(*sceneFlag, sc.name) && (!testing.Short() || (i+int(*seedFlag))%scenesShort == 0) {
			scenes = append(scenes, sc)
		}
	}
	if len(scenes) > 0 {
		playMutants(t, setTeamScenes(t, scenes), figure(mutFlag, 600, 150))
	}
}
