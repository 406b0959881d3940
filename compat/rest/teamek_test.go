package rest

import (
	"context"
	"slices"
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
	want := []string{id + `0}`, id + `0,"forceCreateGeneration":2}`, id + `1}`}
	if got := d.told(t, "ephemeral.teambot_key_needed"); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}
