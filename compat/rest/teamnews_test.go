package rest

import (
	"context"
	"encoding/json"
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
