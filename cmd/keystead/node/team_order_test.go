package node

import (
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// TestTeamOrder proves that a team link stays provable for ever: neither the revocation
// of the key that signed it nor the demotion of the admin of the team above who signed it
// gets in if it quotes a root from before the link, and with a newer root both get in and
// eyes that remember nothing still verify the chains.
// client: go/teams/loader2.go:addProofsForKeyInUserSigchain, addProofsForAdminPermission
func TestTeamOrder(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := newLab(t)
	r := l.mustStart(t)
	defer r.mustStop(t)
	people := make([]*client.Account, 3)
	for i, name := range []string{"alice", "bob", "carol"} {
		a, err := client.Signup(ctx, r.verifier(strictWitness()), client.SignupOptions{
			Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "desk of " + name,
		})
		if err != nil {
			t.Fatal(err)
		}
		people[i] = a
	}
	alice, bob, carol := people[0], people[1], people[2]
	laptop, err := alice.AddDevice(ctx, "laptop", client.DeviceDesktop)
	if err != nil {
		t.Fatal(err)
	}
	team, err := alice.CreateTeam(ctx, "ordered")
	if err != nil {
		t.Fatal(err)
	}
	team, err = alice.ChangeTeam(ctx, team, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{
		bob.Version(): client.RoleAdmin, carol.Version(): client.RoleReader,
	}})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := alice.CreateSubteam(ctx, team, "below", client.RoleNone)
	if err != nil {
		t.Fatal(err)
	}

	if team, err = alice.LoadTeam(ctx, team.ID, client.TeamOptions{}); err != nil {
		t.Fatal(err)
	}

	// The laptop signs; a revocation that does not know of it is refused.
	before := alice.Verifier.LastRoot()
	alice.EditLink = func(s *client.LinkSpec) { s.Signer = laptop.Sig }
	if team, err = alice.RotateTeam(ctx, team); err != nil {
		t.Fatal(err)
	}
	alice.EditLink = func(s *client.LinkSpec) { s.Root = before }
	if err := alice.RevokeDevice(ctx, laptop.ID); client.StatusCode(err) <= 0 {
		t.Errorf("a revocation that quotes root %d, before the link: %v", before.Seqno, err)
	}
	alice.EditLink = nil
	if err := alice.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	if err := alice.RevokeDevice(ctx, laptop.ID); err != nil {
		t.Fatal(err)
	}

	// Bob signs below by his role above; a demotion that does not know of it is refused.
	below, err := bob.LoadTeam(ctx, sub.ID, client.TeamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before = alice.Verifier.LastRoot()
	if _, err = bob.RotateTeam(ctx, below); err != nil {
		t.Fatal(err)
	}
	if team, err = alice.LoadTeam(ctx, team.ID, client.TeamOptions{}); err != nil {
		t.Fatal(err)
	}
	demote := client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{bob.Version(): client.RoleReader}}
	alice.EditLink = func(s *client.LinkSpec) { s.Root = before }
	if _, err := alice.ChangeTeam(ctx, team, demote); client.StatusCode(err) <= 0 {
		t.Errorf("a demotion that quotes root %d, before the link: %v", before.Seqno, err)
	}
	alice.EditLink = nil
	if _, err := alice.ChangeTeam(ctx, team, demote); err != nil {
		t.Fatal(err)
	}

	for _, id := range []client.TeamID{team.ID, sub.ID} {
		if _, err := alice.LoadTeam(ctx, id, client.TeamOptions{Fresh: true}); err != nil {
			t.Errorf("alice loads %s anew: %v", id, err)
		}
	}
	if _, err := carol.LoadTeam(ctx, team.ID, client.TeamOptions{Fresh: true}); err != nil {
		t.Errorf("carol loads %s anew: %v", team.ID, err)
	}
	if err := r.audit(); err != nil {
		t.Error(err)
	}
}
