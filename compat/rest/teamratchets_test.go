package rest

import (
	"context"
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// TestHiddenForAll proves that rotations on the hidden chain, posted as any client does,
// are proven by the blind tree and opened by every member, and that visible links which
// commit to them can be read by everybody who reads the team: also by restricted bots,
// who have no keys, and by those who are only in a team below, who get stubs.
func TestHiddenForAll(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob, carol, robot := d.signUp(t, "alice"), d.signUp(t, "bob"), d.signUp(t, "carol"), d.signUp(t, "robot")
	one := func(a *client.Account, r client.TeamRole) client.TeamChange {
		return client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{a.Version(): r}}
	}
	var acme, ops *client.Team
	step := func(what string, into **client.Team) func(*client.Team, error) {
		return func(team *client.Team, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			*into = team
		}
	}
	everybody := func(generation int) {
		t.Helper()
		for _, a := range []*client.Account{alice, bob, robot, carol} {
			id := acme.ID
			if a == carol {
				id = ops.ID // with the team above, as somebody from below
			}
			for _, fresh := range []bool{false, true} {
				team, err := a.LoadTeam(ctx, id, client.TeamOptions{Fresh: fresh})
				if err != nil {
					t.Fatalf("%s loads: %v", a.Username, err)
				}
				if a == bob && team.Key().Generation != generation {
					t.Errorf("%s has generation %d, want %d", a.Username, team.Key().Generation, generation)
				}
				if a == robot && len(team.Keys) > 0 {
					t.Errorf("a restricted bot has %d keys", len(team.Keys))
				}
				if a == robot && len(team.HiddenPTKs) != generation-1 {
					t.Errorf("a restricted bot knows of %d hidden keys, want %d", len(team.HiddenPTKs), generation-1)
				}
			}
		}
	}
	step("create", &acme)(alice.CreateTeam(ctx, "acme"))
	step("rotate", &acme)(alice.RotateTeamHidden(ctx, acme))
	step("create below", &ops)(alice.CreateSubteam(ctx, acme, "ops", client.RoleWriter))
	step("add below", &ops)(alice.ChangeTeam(ctx, ops, one(carol, client.RoleWriter)))
	step("load", &acme)(alice.LoadTeam(ctx, acme.ID, client.TeamOptions{}))
	step("add", &acme)(alice.ChangeTeam(ctx, acme, one(bob, client.RoleReader)))
	step("add a bot", &acme)(alice.ChangeTeam(ctx, acme, one(robot, client.RoleRestrictedBot)))
	everybody(2)
	step("rotate again", &acme)(alice.RotateTeamHidden(ctx, acme))
	step("promote", &acme)(alice.ChangeTeam(ctx, acme, one(bob, client.RoleWriter)))
	everybody(3)
}
