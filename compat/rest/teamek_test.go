package rest

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// told lists what was told in a category, in order.
func (d *door) told(t *testing.T, category string) (out []string) {
	t.Helper()
	v := d.store.View()
	defer v.Close()
	err := v.Scan(keys.Events(), keys.End(keys.Events()), func(_, b []byte) error {
		r, err := store.Decode[events.Record](b)
		if err == nil && r.Category == category {
			out = append(out, string(r.Body))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTeamEKs proves that who has no box of a team's ephemeral key learns whether they
// came too late for it, even when all of it happens within a second; and that members
// who are asked for a restricted bot's key are told which one to make another after.
func TestTeamEKs(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob, carol, robot := d.signUp(t, "alice"), d.signUp(t, "bob"), d.signUp(t, "carol"), d.signUp(t, "robot")
	for _, a := range []*client.Account{alice, bob} {
		if _, err := a.PostDeviceEK(ctx, a.Device); err != nil {
			t.Fatal(err)
		}
		if _, err := a.PostUserEK(ctx); err != nil {
			t.Fatal(err)
		}
	}
	acme, err := alice.CreateTeam(ctx, "acme")
	step := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	step("create", err)
	acme, err = alice.ChangeTeam(ctx, acme, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{
		carol.Version(): client.RoleReader, robot.Version(): client.RoleRestrictedBot}})
	step("add", err)
	step("ask before there is one", robot.AskBotKey(ctx, acme.ID, client.AppChat, 0, true))
	first, err := alice.PostTeamEK(ctx, acme)
	step("first key", err)
	acme, err = alice.ChangeTeam(ctx, acme, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{bob.Version(): client.RoleWriter}})
	step("add bob", err)
	second, err := alice.PostTeamEK(ctx, acme)
	step("second key", err)

	for who, want := range map[*client.Account][2]bool{alice: {true, true}, bob: {false, true}, carol: {}} {
		for i, ek := range []*client.TeamEK{first, second} {
			got, err := who.OpenTeamEK(ctx, acme.ID, ek.Generation)
			if who == bob && i == 0 {
				wantCode(t, "bob opens the first", err, 2907)
				continue
			}
			if err != nil || (got != nil) != want[i] || got != nil && got.Seed != ek.Seed {
				t.Errorf("%s has %v of generation %d: %v", who.Username, got, ek.Generation, err)
			}
		}
	}
	step("ask", robot.AskBotKey(ctx, acme.ID, client.AppChat, 0, true))
	step("ask for an older one", robot.AskBotKey(ctx, acme.ID, client.AppChat, 1, true))
	id := `{"id":"` + acme.ID.String() + `","uid":"` + robot.UID.String() + `","generation":`
	want := []string{id + `0}`, id + `0}`, id + `1}`}
	if got := d.told(t, "ephemeral.teambot_key_needed"); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

// TestPseudonyms proves that who is in a team learns what a pseudonym of its key stands
// for; and that others are told that nobody knows, so that their client says they cannot
// read the message, by the route of teams and by that of folders.
func TestPseudonyms(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob, mallory := d.signUp(t, "alice"), d.signUp(t, "bob"), d.signUp(t, "mallory")
	acme, err := alice.CreateTeam(ctx, "acme")
	if err == nil {
		acme, err = alice.ChangeTeam(ctx, acme, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{bob.Version(): client.RoleReader}})
	}
	if err != nil {
		t.Fatal(err)
	}
	name, other := strings.Repeat("1a", 32), strings.Repeat("2b", 32)
	one := pseudonymJSON{Pseudonym: name, ID: acme.ID.String(), Application: 5, Generation: 1, Nonce: strings.Repeat("3c", 32)}
	publish := func(a *client.Account, p pseudonymJSON) error {
		_, err := a.Server().PostJSON(ctx, "team/key_pseudonym", map[string]any{"key_pseudonyms": []pseudonymJSON{p}}, a.NIST(a.Device))
		return err
	}
	wantCode(t, "a stranger publishes", publish(mallory, one), 2623)
	if err := publish(alice, one); err != nil {
		t.Fatal(err)
	}
	rows := func(reply *client.Reply, err error, field string) (out []pseudonymRow) {
		t.Helper()
		var all map[string]json.RawMessage
		if err == nil {
			err = reply.Decode(&all)
		}
		if err == nil {
			err = json.Unmarshal(all[field], &out)
		}
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	one.Pseudonym = ""
	for _, a := range []*client.Account{alice, bob, mallory} {
		cred := a.NIST(a.Device)
		reply, err := a.Server().Get(ctx, "team/key_pseudonym", url.Values{"key_pseudonyms": {other + "," + name}}, cred)
		got := rows(reply, err, "key_pseudonyms")
		if len(got) != 2 || got[0].Info != nil || got[0].Err == nil || (got[1].Info == nil) == (got[1].Err == nil) {
			t.Fatalf("%s is told %v", a.Username, got)
		}
		if info := got[1].Info; (info != nil) != (a != mallory) || info != nil && *info != one {
			t.Errorf("%s is told %v", a.Username, info)
		}
		reply, err = a.Server().PostJSON(ctx, "kbfs/pseudonym/get", map[string]any{"tlf_pseudonyms": []string{other, name}}, cred)
		for i, r := range rows(reply, err, "tlf_pseudonyms") {
			if r.Err == nil || r.Info != nil || i > 1 {
				t.Errorf("%s is told %v of a folder's pseudonym", a.Username, r)
			}
		}
	}
	_, err = bob.Server().PostJSON(ctx, "kbfs/pseudonym/get", map[string]any{"tlf_pseudonyms": []string{"zz"}}, bob.NIST(bob.Device))
	wantCode(t, "no pseudonym", err, 100)
}

// TestHiddenForBots proves that restricted bots get a team's hidden chain, to which visible
// links commit and whose keys sign those of bots, but none of its keys before they become
// members.
func TestHiddenForBots(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, robot := d.signUp(t, "alice"), d.signUp(t, "robot")
	acme, err := alice.CreateTeam(ctx, "acme")
	role := func(r client.TeamRole) {
		t.Helper()
		if err == nil {
			acme, err = alice.ChangeTeam(ctx, acme, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{robot.Version(): r}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	role(client.RoleRestrictedBot)
	if acme, err = alice.RotateTeamHidden(ctx, acme); err != nil {
		t.Fatal(err)
	}
	for _, r := range []client.TeamRole{client.RoleRestrictedBot, client.RoleBot, client.RoleRestrictedBot} {
		if acme.Role(robot.Version()) != r {
			role(r)
		}
		team, err := robot.LoadTeam(ctx, acme.ID, client.TeamOptions{Fresh: true})
		if err != nil {
			t.Fatalf("as %s: %v", r, err)
		}
		if member := r == client.RoleBot; team.HiddenTail == nil || (team.Key() != nil) != member {
			t.Errorf("as %s: hidden chain %v, key %v", r, team.HiddenTail, team.Key())
		}
	}
}

// TestFastLoadWithHidden proves that who gets hidden links in a fast load gets the keys
// that they are checked against, also when only the name was wanted: a member who came
// after the team's key was rotated in the hidden chain could not even look it up.
// client: go/systests/team_reset_test.go:TestTeamOwnerResetAdminReadmit
func TestFastLoadWithHidden(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob := d.signUp(t, "alice"), d.signUp(t, "bob")
	acme, err := alice.CreateTeam(ctx, "acme")
	if err == nil {
		acme, err = alice.RotateTeamHidden(ctx, acme)
	}
	if err == nil {
		_, err = alice.ChangeTeam(ctx, acme, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{bob.Version(): client.RoleWriter}})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []bool{true, false} {
		args := url.Values{"id": {acme.ID.String()}, "public": {"0"}, "ftl": {"1"}, "ftl_version": {"1"}, "ftl_low": {"0"}, "ftl_seed_low": {"0"}, "ftl_seqnos": {""}, "ftl_key_generations": {""}}
		if hidden {
			args.Set("ftl_hidden_low", "0")
		}
		var got struct {
			Box *struct {
				Generation int `json:"generation"`
			} `json:"box"`
			Prevs  map[string]string `json:"prevs"`
			Hidden []json.RawMessage `json:"hidden"`
		}
		reply, err := bob.Server().Get(ctx, "team/get", args, bob.NIST(bob.Device))
		if err == nil {
			err = reply.Decode(&got)
		}
		switch {
		case err != nil:
			t.Fatal(err)
		case !hidden && (len(got.Hidden) > 0 || got.Box != nil):
			t.Errorf("without hidden links: %d of them, box %v", len(got.Hidden), got.Box)
		case hidden && (len(got.Hidden) != 1 || got.Box == nil || got.Box.Generation != 2 || len(got.Prevs) != 1):
			t.Errorf("%d hidden links, box %v, %d seeds before", len(got.Hidden), got.Box, len(got.Prevs))
		}
	}
}

// TestUserEKBoxes proves that a device which was added after a user's ephemeral key was
// made learns that, and that one which was there but has no key of its own does not.
// client: go/systests/ephemeral_test.go:TestEphemeralAfterEKError
func TestUserEKBoxes(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice := d.signUp(t, "alice")
	step := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	idle, err := alice.AddDevice(ctx, "idle", "desktop")
	step("a device without a key of its own", err)
	_, err = alice.PostDeviceEK(ctx, alice.Device)
	step("device key", err)
	ek, err := alice.PostUserEK(ctx)
	step("user key", err)
	late, err := alice.AddDevice(ctx, "late", "desktop")
	step("a device that came later", err)
	if got, err := alice.OpenUserEK(ctx, alice.Device, ek.Generation); err != nil || got == nil {
		t.Errorf("the first device has %v: %v", got, err)
	}
	if got, err := alice.OpenUserEK(ctx, idle, ek.Generation); err != nil || got != nil {
		t.Errorf("the idle device has %v: %v", got, err)
	}
	_, err = alice.OpenUserEK(ctx, late, ek.Generation)
	wantCode(t, "the late device asks", err, 2906)
}
