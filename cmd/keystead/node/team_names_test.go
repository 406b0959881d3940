package node

import (
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// TestSubteamRefusals proves that a subteam is not renamed to the name that it has, also
// after a team above was renamed, and that whoever would make somebody its owner is told
// that subteams have none.
func TestSubteamRefusals(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newRoomyLab(t).mustStart(t)
	defer r.mustStop(t)
	alice, err := client.Signup(ctx, r.verifier(strictWitness()), client.SignupOptions{
		Name: "alice", Stream: client.CheapStream([]byte("alice")), DeviceName: "desk",
	})
	if err != nil {
		t.Fatal(err)
	}
	load := func(id client.TeamID) *client.Team {
		t.Helper()
		team, err := alice.LoadTeam(ctx, id, client.TeamOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return team
	}
	root, err := alice.CreateTeam(ctx, "named")
	if err != nil {
		t.Fatal(err)
	}
	above, err := alice.CreateSubteam(ctx, root, "above", client.RoleNone)
	if err != nil {
		t.Fatal(err)
	}
	below, err := alice.CreateSubteam(ctx, above, "below", client.RoleNone)
	if err != nil {
		t.Fatal(err)
	}
	same := func() {
		t.Helper()
		if _, err := alice.RenameSubteam(ctx, load(above.ID), load(below.ID), "below"); client.StatusCode(err) != codeBadName {
			t.Errorf("renamed to the name that it has: %v", err)
		}
	}
	same()
	if _, err := alice.RenameSubteam(ctx, load(root.ID), load(above.ID), "other"); err != nil {
		t.Fatal(err)
	}
	same()
	own := client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{alice.Version(): client.RoleOwner}}
	if _, err := alice.ChangeTeam(ctx, load(below.ID), own); client.StatusCode(err) != codeNoOwners {
		t.Errorf("an owner of a subteam: %v", err)
	}
}
