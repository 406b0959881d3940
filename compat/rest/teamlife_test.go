package rest

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/keys"
)

// stored is how many records of teams there are.
func (d *door) stored(t *testing.T) (n int) {
	t.Helper()
	v := d.store.View()
	defer v.Close()
	err := v.Scan(keys.TeamChains()[:1], keys.End(keys.TeamChains()[:1]), func(_, _ []byte) error { n++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// wantCode wants a refusal with a status.
func wantCode(t *testing.T, what string, err error, code int) {
	t.Helper()
	if err == nil || client.StatusCode(err) != code {
		t.Errorf("%s: %v, want status %d", what, err, code)
	}
}

// TestTeamLife proves that an independent client, which verifies all it is given, makes a
// team and a subteam, changes who is in them, takes keys and powers away, renames and
// deletes; and that those who are in them can follow.
func TestTeamLife(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob, carol := d.signUp(t, "alice"), d.signUp(t, "bob"), d.signUp(t, "carol")
	must := func(what string) func(*client.Team, error) *client.Team {
		return func(team *client.Team, err error) *client.Team {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			return team
		}
	}
	roles := func(list ...any) client.TeamChange {
		m := make(map[client.UserVersion]client.TeamRole)
		for i := 0; i < len(list); i += 2 {
			m[list[i].(*client.Account).Version()] = list[i+1].(client.TeamRole)
		}
		return client.TeamChange{Roles: m}
	}
	acme := must("create")(alice.CreateTeam(ctx, "acme"))
	_, err := bob.CreateTeam(ctx, "acme")
	wantCode(t, "a taken name", err, 2619)
	_, err = bob.CreateTeam(ctx, "carol")
	wantCode(t, "the name of a user", err, 2672)
	acme = must("add")(alice.ChangeTeam(ctx, acme, roles(bob, client.RoleAdmin, carol, client.RoleWriter)))
	bobs := must("bob loads")(bob.LoadTeam(ctx, acme.ID, client.TeamOptions{}))
	ops := must("subteam")(bob.CreateSubteam(ctx, bobs, "ops", client.RoleNone))
	must("alice loads the subteam")(alice.LoadTeam(ctx, ops.ID, client.TeamOptions{}))
	bobs = must("bob loads again")(bob.LoadTeam(ctx, acme.ID, client.TeamOptions{}))
	ops = must("rename")(bob.RenameSubteam(ctx, bobs, ops, "work"))
	if ops.Name != "acme.work" {
		t.Errorf("the subteam is called %s", ops.Name)
	}
	ops = must("add to the subteam")(bob.ChangeTeam(ctx, ops, roles(carol, client.RoleReader)))
	must("carol loads the subteam")(carol.LoadTeam(ctx, ops.ID, client.TeamOptions{}))

	acme = must("alice loads")(alice.LoadTeam(ctx, acme.ID, client.TeamOptions{}))
	out := roles(carol, client.RoleNone)
	out.Rotate = true
	acme = must("remove")(alice.ChangeTeam(ctx, acme, out))
	if _, err := carol.LoadTeam(ctx, acme.ID, client.TeamOptions{Fresh: true}); err == nil {
		t.Error("carol still loads the team")
	}
	acme = must("demote")(alice.ChangeTeam(ctx, acme, roles(bob, client.RoleWriter)))
	bobs = must("bob loads as a writer")(bob.LoadTeam(ctx, acme.ID, client.TeamOptions{Fresh: true}))
	_, err = bob.ChangeTeam(ctx, bobs, roles(carol, client.RoleReader))
	if err == nil {
		t.Error("a writer has added somebody")
	}
	if err := bob.LeaveTeam(ctx, bobs, false); err != nil {
		t.Fatalf("leave: %v", err)
	}
	acme = must("alice loads after that")(alice.LoadTeam(ctx, acme.ID, client.TeamOptions{}))
	wantCode(t, "delete with a subteam", alice.DeleteTeam(ctx, acme, nil), 2669)
	ops = must("alice loads the subteam again")(alice.LoadTeam(ctx, ops.ID, client.TeamOptions{}))
	if err := alice.DeleteTeam(ctx, ops, acme); err != nil {
		t.Fatalf("delete the subteam: %v", err)
	}
	acme = must("alice loads the parent")(alice.LoadTeam(ctx, acme.ID, client.TeamOptions{}))
	if err := alice.DeleteTeam(ctx, acme, nil); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if _, err := alice.LoadTeam(ctx, acme.ID, client.TeamOptions{Fresh: true}); err == nil {
		t.Error("a deleted team loads")
	}
	_, err = bob.CreateTeam(ctx, "acme")
	wantCode(t, "the name of a deleted team", err, 2619)
}

// TestTeamPostsAreWhole proves that a post which is refused changes nothing, whatever of
// it was wrong, and that one which is sent twice counts once.
func TestTeamPostsAreWhole(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob := d.signUp(t, "alice"), d.signUp(t, "bob")
	acme, err := alice.CreateTeam(ctx, "acme")
	if err != nil {
		t.Fatal(err)
	}
	before := d.stored(t)
	for _, tc := range []struct {
		what string
		edit func(body map[string]any)
		code int
	}{
		{"no boxes", func(b map[string]any) { delete(b, "per_team_key") }, 2634},
		{"no parent's link", func(b map[string]any) { b["sigs"] = b["sigs"].([]any)[1:] }, 100},
		{"no child's link", func(b map[string]any) { b["sigs"] = b["sigs"].([]any)[:1]; delete(b, "per_team_key") }, 100},
		{"a lease of nobody", func(b map[string]any) { b["downgrade_lease_id"] = "xyz" }, 100},
	} {
		alice.EditPost = func(_ string, body map[string]any) {
			if sigs, ok := body["sigs"]; ok {
				body["sigs"] = generic(t, sigs)
			}
			tc.edit(body)
		}
		_, err := alice.CreateSubteam(ctx, acme, "ops", client.RoleNone)
		wantCode(t, tc.what, err, tc.code)
		if n := d.stored(t); n != before {
			t.Errorf("%s: %d records of teams, before %d", tc.what, n, before)
		}
	}
	var sent map[string]any
	alice.EditPost = func(_ string, body map[string]any) { sent = maps.Clone(body) }
	acme, err = alice.ChangeTeam(ctx, acme, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{bob.Version(): client.RoleReader}})
	if err != nil {
		t.Fatal(err)
	}
	before = d.stored(t)
	alice.SkipChecks = true
	alice.EditPost = func(_ string, body map[string]any) {
		clear(body)
		maps.Copy(body, sent)
	}
	if _, err := alice.OpenTeam(ctx, acme, client.RoleReader); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if n := d.stored(t); n != before {
		t.Errorf("%d records of teams, before %d", n, before)
	}
}

// generic is a part of a body without the types of the client.
func generic(t *testing.T, v any) []any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out []any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTeamNamesAreNoUsers proves that nobody signs up under the name of a team.
func TestTeamNamesAreNoUsers(t *testing.T) {
	d := openDoor(t)
	alice := d.signUp(t, "alice")
	if _, err := alice.CreateTeam(context.Background(), "acme"); err != nil {
		t.Fatal(err)
	}
	_, err := client.Signup(context.Background(), d.verifier(), client.SignupOptions{
		Name: "acme", Stream: client.CheapStream([]byte("acme")), DeviceName: "desk of acme",
	})
	if err == nil || !strings.Contains(err.Error(), "taken") {
		t.Errorf("signed up as acme: %v", err)
	}
}
