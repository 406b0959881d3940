package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// TestAdoptedKeys proves that old keys of folders which a team adopts are there for every
// member who has the team's keys, also for one who comes later and after rotations: of
// each application those of the newest link, which is all that clients take. And that
// nothing is taken which would keep members from loading the team.
func TestAdoptedKeys(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob, robot := d.signUp(t, "alice"), d.signUp(t, "bob"), d.signUp(t, "robot")
	var acme *client.Team
	step := func(what string) func(*client.Team, error) {
		return func(team *client.Team, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			acme = team
		}
	}
	holds := func(who *client.Account, o client.TeamOptions, want map[client.TeamApplication]string) {
		t.Helper()
		team, err := who.LoadTeam(ctx, acme.ID, o)
		if err != nil {
			t.Fatalf("%s loads: %v", who.Username, err)
		}
		for app, secret := range want {
			if got := string(team.Adopted[app]); got != secret {
				t.Errorf("%s has %q of application %d, want %q", who.Username, got, app, secret)
			}
		}
		if len(team.Adopted) != len(want) {
			t.Errorf("%s has keys of %d applications, want %d", who.Username, len(team.Adopted), len(want))
		}
	}
	step("create")(alice.CreateTeam(ctx, "acme"))
	step("add")(alice.ChangeTeam(ctx, acme, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{robot.Version(): client.RoleRestrictedBot}}))
	step("adopt")(alice.AdoptKeys(ctx, acme, client.AppKBFS, 3, []byte("folder 1-3")))
	holds(alice, client.TeamOptions{}, map[client.TeamApplication]string{client.AppKBFS: "folder 1-3"})
	step("rotate")(alice.RotateTeam(ctx, acme))
	step("adopt chat")(alice.AdoptKeys(ctx, acme, client.AppChat, 2, []byte("chat 1-2")))
	step("rotate hidden")(alice.RotateTeamHidden(ctx, acme))
	step("adopt again")(alice.AdoptKeys(ctx, acme, client.AppKBFS, 4, []byte("folder 1-4")))
	step("rotate again")(alice.RotateTeam(ctx, acme))

	garbage := sha256.Sum256([]byte("AAAA"))
	for _, bad := range []struct {
		what       string
		link, post map[string]any // what is said otherwise
		code       int
	}{
		{"a generation to come", map[string]any{"team_generation": 9}, map[string]any{"team_generation": 9}, 2634},
		{"no application", map[string]any{"app_type": 8}, map[string]any{"app_type": 8}, 100},
		{"another hash", map[string]any{"encrypted_keyset_hash": "00"}, nil, 100},
		{"another generation than the link's", nil, map[string]any{"legacy_generation": 9}, 100},
		{"what nobody can open", map[string]any{"encrypted_keyset_hash": hex.EncodeToString(garbage[:])}, map[string]any{"encrypted_keyset": "AAAA"}, 100},
	} {
		alice.EditLink = func(s *client.LinkSpec) {
			maps.Copy(s.Body["team"].(map[string]any)["kbfs"].(map[string]any)["legacy_tlf_upgrade"].(map[string]any), bad.link)
		}
		alice.EditPost = func(_ string, body map[string]any) {
			upgrade := generic(t, []any{body["legacy_tlf_upgrade"]})[0].(map[string]any)
			maps.Copy(upgrade, bad.post)
			body["legacy_tlf_upgrade"] = upgrade
		}
		_, err := alice.AdoptKeys(ctx, acme, client.AppKBFS, 5, []byte("bad"))
		wantCode(t, bad.what, err, bad.code)
	}
	alice.EditLink = nil
	alice.EditPost = func(_ string, body map[string]any) { delete(body, "legacy_tlf_upgrade") }
	_, err := alice.AdoptKeys(ctx, acme, client.AppKBFS, 5, []byte("bad"))
	wantCode(t, "no keys", err, 100)
	alice.EditPost = nil

	step("add bob")(alice.ChangeTeam(ctx, acme, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{bob.Version(): client.RoleReader}}))
	all := map[client.TeamApplication]string{client.AppKBFS: "folder 1-4", client.AppChat: "chat 1-2"}
	holds(bob, client.TeamOptions{}, all)
	holds(bob, client.TeamOptions{}, all) // with what is cached
	holds(alice, client.TeamOptions{Fresh: true}, all)
	holds(robot, client.TeamOptions{}, nil)
	ops, err := alice.CreateSubteam(ctx, acme, "ops", client.RoleWriter)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = alice.AdoptKeys(ctx, ops, client.AppKBFS, 1, []byte("ops")); err != nil {
		t.Fatal(err)
	}
}
