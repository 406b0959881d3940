package node

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// TestTeamHistories proves that random histories of teams hold together: what one member
// does, all others read the same with eyes of their own, as a small model has it; nobody
// who is not a member reads a team; and in the end the audit finds nothing, though it
// plays all chains from the beginning.
func TestTeamHistories(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := newLab(t)
	r := l.mustStart(t)
	defer r.mustStop(t)
	const members = 4
	var all []*client.Account
	for i := range members {
		name := fmt.Sprintf("member%d", i)
		a, err := client.Signup(ctx, r.verifier(strictWitness()), client.SignupOptions{
			Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "desk of " + name,
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	owner := all[0]
	team, err := owner.CreateTeam(ctx, "histories")
	if err != nil {
		t.Fatal(err)
	}
	sub, err := owner.CreateSubteam(ctx, team, "below", client.RoleAdmin)
	if err != nil {
		t.Fatal(err)
	}
	roles := map[client.UserVersion]client.TeamRole{owner.Version(): client.RoleOwner}
	rng := rand.New(rand.NewPCG(1, 2))
	choice := []client.TeamRole{client.RoleAdmin, client.RoleWriter, client.RoleReader, client.RoleNone, client.RoleBot}
	steps := 24
	if testing.Short() {
		steps = 8
	}
	for range steps {
		if team, err = owner.LoadTeam(ctx, team.ID, client.TeamOptions{}); err != nil {
			t.Fatal(err)
		}
		a := all[1+rng.IntN(members-1)]
		was, role := roles[a.Version()], choice[rng.IntN(len(choice))]
		switch {
		case was == client.RoleNone && role == client.RoleNone:
			if team, err = owner.RotateTeam(ctx, team); err != nil {
				t.Fatal(err)
			}
			continue
		case was == role:
			if sub, err = owner.RenameSubteam(ctx, team, sub, fmt.Sprintf("n%d", rng.IntN(1000000))); err != nil {
				t.Fatal(err)
			}
			continue
		}
		change := client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{a.Version(): role}, Rotate: role == client.RoleNone}
		if team, err = owner.ChangeTeam(ctx, team, change); err != nil {
			t.Fatalf("%s from %d to %d: %v", a.Version(), was, role, err)
		}
		roles[a.Version()] = role
		// Admins of the team above act in the subteam.
		if role == client.RoleAdmin {
			below, err := a.LoadTeam(ctx, sub.ID, client.TeamOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.RotateTeam(ctx, below); err != nil {
				t.Fatal(err)
			}
		}
		if sub, err = owner.LoadTeam(ctx, sub.ID, client.TeamOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range all {
		seen, err := a.LoadTeam(ctx, team.ID, client.TeamOptions{Fresh: true})
		if roles[a.Version()] == client.RoleNone {
			if err == nil {
				t.Errorf("%s reads a team of others", a.Version())
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range all {
			if got := seen.Role(b.Version()); got != roles[b.Version()] {
				t.Errorf("%s sees %s as %d, not %d", a.Version(), b.Version(), got, roles[b.Version()])
			}
		}
	}
	if err := r.audit(); err != nil {
		t.Error(err)
	}
}
