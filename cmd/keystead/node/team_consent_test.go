package node

import (
	"errors"
	"net/url"
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// TestTeamConsent proves that contact settings keep strangers from adding somebody to a
// team, by a status that names whom; that a follow lets them in; and that settings made
// later change nothing about a team that one is in.
// client: go/teams/member_test.go:TestAddMemberWithRestrictiveContactSettings
func TestTeamConsent(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newLab(t).mustStart(t)
	defer r.mustStop(t)
	people := make([]*client.Account, 2)
	for i, name := range []string{"alice", "carol"} {
		a, err := client.Signup(ctx, r.verifier(strictWitness()), client.SignupOptions{
			Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "desk of " + name,
		})
		if err != nil {
			t.Fatal(err)
		}
		people[i] = a
	}
	alice, carol := people[0], people[1]
	set := func(enabled bool, degrees int) {
		t.Helper()
		_, err := carol.Server().PostJSON(ctx, "account/contact_settings", map[string]any{"settings": map[string]any{
			"enabled": enabled, "allow_followee_degrees": degrees, "allow_good_teams": true,
			"teams": []any{map[string]any{"team_id": "00000000000000000000000000000024", "enabled": true}},
		}}, carol.NIST(carol.Device))
		if err != nil {
			t.Fatal(err)
		}
	}
	team, err := alice.CreateTeam(ctx, "strangers")
	if err != nil {
		t.Fatal(err)
	}
	set(true, 1)
	add := client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{carol.Version(): client.RoleReader}}
	_, err = alice.ChangeTeam(ctx, team, add)
	var refused *client.StatusError
	if !errors.As(err, &refused) || refused.Code != 2763 || refused.Fields["usernames"] != "carol" || refused.Fields["uids"] != carol.UID.String() {
		t.Fatalf("adding somebody against her settings: %v", err)
	}
	if _, err := alice.CreateImplicitTeam(ctx, false, map[client.UserVersion]client.TeamRole{carol.Version(): client.RoleOwner}, nil); client.StatusCode(err) != 2763 {
		t.Errorf("a first conversation against her settings: %v", err)
	}
	if err := carol.Follow(ctx, alice.UID); err != nil {
		t.Fatal(err)
	}
	if team, err = alice.ChangeTeam(ctx, team, add); err != nil {
		t.Fatal(err)
	}
	set(true, 0)
	promote := client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{carol.Version(): client.RoleWriter}}
	if _, err = alice.ChangeTeam(ctx, team, promote); err != nil {
		t.Errorf("changing the role of a member: %v", err)
	}
}

// TestImplicitTeamRefusals proves that the loser of a race for an implicit team is told
// so by the status on which clients look again, and that nobody is invited by a number
// that cannot be one. client: go/teams/implicit_test.go:TestInvalidPhoneNumberAssertion
func TestImplicitTeamRefusals(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newLab(t).mustStart(t)
	defer r.mustStop(t)
	alice, err := client.Signup(ctx, r.verifier(strictWitness()), client.SignupOptions{
		Name: "alice", Stream: client.CheapStream([]byte("alice")), DeviceName: "desk",
	})
	if err != nil {
		t.Fatal(err)
	}
	invite := func(number string) error {
		i, err := alice.NewInvite("phone", number)
		if err != nil {
			t.Fatal(err)
		}
		_, err = alice.CreateImplicitTeam(ctx, false, nil, map[string]any{"owner": []any{i}})
		return err
	}
	for _, number := range []string{"111", "12345678", "48111", "012345678", "1555o551234"} {
		var refused *client.StatusError
		if err := invite(number); !errors.As(err, &refused) || refused.Code != 100 {
			t.Errorf("an invitation of %s: %v", number, err)
		}
	}
	if err := invite("15555551234"); err != nil {
		t.Fatal(err)
	}
	if err := invite("15555551234"); client.StatusCode(err) != 2680 {
		t.Errorf("the same team again: %v", err)
	}
}

// TestImplicitTeamBringsBack proves that who was reset and has no keys yet is invited back
// to an implicit team as what they were, and as nothing else: its name would change.
// client: go/systests/team_implicit_reset_test.go:TestImplicitTeamResetBadReadds
func TestImplicitTeamBringsBack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newLab(t).mustStart(t)
	defer r.mustStop(t)
	alice, bob := r.signUp(t, "alice"), r.signUp(t, "bob")
	team, err := alice.CreateImplicitTeam(ctx, false, map[client.UserVersion]client.TeamRole{bob.Version(): client.RoleOwner}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := bob.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	invite := func(role string) error {
		i, err := alice.NewInvite("keybase", bob.UID.String()+"%0")
		if err != nil {
			t.Fatal(err)
		}
		_, err = alice.InviteToTeam(ctx, team, map[string]any{role: []any{i}})
		return err
	}
	for range 2 { // once in place of the member, once of the invitation
		if err := invite("reader"); client.StatusCode(err) != 2682 {
			t.Errorf("as a reader: %v", err)
		}
		if err := invite("owner"); err != nil {
			t.Fatalf("as an owner: %v", err)
		}
		if team, err = alice.LoadTeam(ctx, team.ID, client.TeamOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestImplicitTeamLeftBehind proves that when everybody in an implicit team was reset, its
// name is free by the time the last of them is answered: who comes back would find a team
// to which nobody has the key. client: go/systests/team_implicit_reset_test.go:TestImplicitTeamResetAll
func TestImplicitTeamLeftBehind(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newLab(t).mustStart(t)
	defer r.mustStop(t)
	alice, bob := r.signUp(t, "alice"), r.signUp(t, "bob")
	if _, err := alice.CreateImplicitTeam(ctx, false, map[client.UserVersion]client.TeamRole{bob.Version(): client.RoleOwner}, nil); err != nil {
		t.Fatal(err)
	}
	for i, a := range []*client.Account{bob, alice} {
		if err := a.Reset(ctx); err != nil {
			t.Fatal(err)
		}
		_, err := alice.Server().Get(ctx, "team/implicit", url.Values{"display_name": {"alice,bob"}, "public": {"0"}}, alice.Session)
		if left := client.StatusCode(err) == 2623; left != (i == 1) {
			t.Errorf("after %d of them were reset: %v", i+1, err)
		}
	}
}
