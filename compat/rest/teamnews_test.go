package rest

import (
	"context"
	"encoding/json"
	"net/url"
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// TestSettingsAreNews proves that a team which is opened, or opened to others, or closed
// is news on which clients fetch all they show of teams; a new key alone is not.
// client: go/systests/teams_test.go:TestTeamMetadataUpdateNotifications
func TestSettingsAreNews(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice := d.signUp(t, "alice")
	acme, err := alice.CreateTeam(ctx, "acme")
	for _, step := range []struct {
		what string
		do   func() (*client.Team, error)
		misc bool
	}{
		{"open", func() (*client.Team, error) { return alice.OpenTeam(ctx, acme, client.RoleReader) }, true},
		{"rotate", func() (*client.Team, error) { return alice.RotateTeam(ctx, acme) }, false},
		{"as writers", func() (*client.Team, error) { return alice.OpenTeam(ctx, acme, client.RoleWriter) }, true},
		{"the same", func() (*client.Team, error) { return alice.OpenTeam(ctx, acme, client.RoleWriter) }, false},
		{"close", func() (*client.Team, error) { return alice.OpenTeam(ctx, acme, client.RoleNone) }, true},
	} {
		if err == nil {
			acme, err = step.do()
		}
		if err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		told := d.told(t, "team.change")
		var rows []struct {
			Misc bool `json:"misc"`
		}
		if err := json.Unmarshal([]byte(told[len(told)-1]), &rows); err != nil || len(rows) != 1 || rows[0].Misc != step.misc {
			t.Errorf("%s: told %s: %v", step.what, told[len(told)-1], err)
		}
	}
}

// TestShowcaseIsNews proves that whoever sets what a team shows hears of it, and so do
// admins above, also if it was so already: clients wait for it. But only what is other than
// before counts as a change, with who made it.
// client: go/systests/teams_test.go:TestTeamMetadataUpdateNotifications
func TestShowcaseIsNews(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob := d.signUp(t, "alice"), d.signUp(t, "bob")
	must := mustOf(t)
	acme, err := alice.CreateTeam(ctx, "acme")
	must(err)
	acme, err = alice.ChangeTeam(ctx, acme, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{bob.Version(): client.RoleAdmin}})
	must(err)
	shop, err := alice.CreateSubteam(ctx, acme, "shop", client.RoleAdmin)
	must(err)
	var before int64
	for i, step := range []struct {
		by      *client.Account
		args    url.Values
		changes bool
	}{
		{alice, url.Values{"is_showcased": {"1"}}, true},
		{bob, url.Values{"is_showcased": {"1"}}, false},
		{bob, url.Values{"any_member_showcase": {"1"}}, false}, // as it is without a word
		{bob, url.Values{"description": {"a shop"}}, true},
		{alice, url.Values{"is_showcased": {"1"}, "description": {"a shop"}, "any_member_showcase": {"1"}}, false},
		{alice, url.Values{"any_member_showcase": {"0"}}, true},
	} {
		heard := len(d.told(t, "team.change"))
		step.args.Set("tid", shop.ID.String())
		_, err := step.by.Server().Post(ctx, "team/team_showcase", step.args, step.by.NIST(step.by.Device))
		must(err)
		told := d.told(t, "team.change")
		if len(told) != heard+1 {
			t.Fatalf("step %d is told %d times", i, len(told)-heard)
		}
		var rows []struct {
			ID       string `json:"id"`
			Misc     bool   `json:"misc"`
			Offchain int64  `json:"latest_offchain_version"`
		}
		err = json.Unmarshal([]byte(told[heard]), &rows)
		if err != nil || len(rows) != 1 || rows[0].ID != shop.ID.String() || !rows[0].Misc || (rows[0].Offchain > before) != step.changes {
			t.Errorf("step %d: told %s, version %d before: %v", i, told[heard], before, err)
		}
		before = rows[0].Offchain
		reply, err := alice.Server().Get(ctx, "team/get", url.Values{"id": {shop.ID.String()}, "showcase_only": {"1"}}, alice.NIST(alice.Device))
		must(err)
		var got struct {
			Showcase struct {
				By string `json:"set_by_uid"`
			} `json:"showcase"`
		}
		must(reply.Decode(&got))
		if step.changes != (got.Showcase.By == step.by.UID.String()) {
			t.Errorf("step %d was by %s", i, got.Showcase.By)
		}
	}
	for range 2 {
		_, err := bob.Server().Post(ctx, "team/member_showcase", url.Values{"tid": {acme.ID.String()}, "is_showcased": {"1"}}, bob.NIST(bob.Device))
		must(err)
	}
	if got := d.told(t, "team.member_showcase_change"); len(got) != 2 {
		t.Errorf("bob hears %d times of two wishes", len(got))
	}
	heard := len(d.told(t, "team.change"))
	carol := d.signUp(t, "carol")
	_, err = carol.Server().Post(ctx, "team/team_showcase", url.Values{"tid": {shop.ID.String()}, "is_showcased": {"1"}}, carol.NIST(carol.Device))
	wantCode(t, "a stranger", err, 2623)
	if now := len(d.told(t, "team.change")); now != heard {
		t.Errorf("a refusal is told %d times", now-heard)
	}
}
