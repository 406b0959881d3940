package rest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/merklehot/consent"
)

// TestContactAllowed proves that contact settings let in exactly whom they name: people
// whom one follows, at two degrees those whom these follow, and members of chosen teams;
// that follows of somebody who was reset since count for nothing; that settings which are
// off keep nobody out, and that a block does, whatever the settings say.
func TestContactAllowed(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob, carol, dora := d.signUp(t, "alice"), d.signUp(t, "bobby"), d.signUp(t, "carol"), d.signUp(t, "dora")
	must := mustOf(t)
	names := map[*client.Account]string{alice: "alice", bob: "bobby", carol: "carol", dora: "dora"}
	team := func(last byte) (id kbsig.TeamID) { id[0], id[15] = 7, last; return id }
	good := team(0x24)
	together := func(id kbsig.TeamID) (bool, error) { return id == good, nil }
	lets := func(in ...*client.Account) {
		t.Helper()
		v := d.store.View()
		defer v.Close()
		for a, name := range names {
			ok, err := consent.ContactAllowed(v, kbsig.UIDOf(kbsig.Username(name)), kbsig.UIDOf("alice"), nil)
			must(err)
			if want := a == alice || slices.Contains(in, a); ok != want {
				t.Errorf("alice lets %s in: %v, want %v", name, ok, want)
			}
		}
	}
	letsTeam := func(want bool) {
		t.Helper()
		v := d.store.View()
		defer v.Close()
		ok, err := consent.ContactAllowed(v, kbsig.UIDOf("dora"), kbsig.UIDOf("alice"), together)
		must(err)
		if ok != want {
			t.Errorf("alice lets a member of the same team in: %v, want %v", ok, want)
		}
	}
	set := func(enabled bool, degrees int, teams bool, ids ...string) {
		t.Helper()
		rows := []map[string]any{}
		for _, id := range ids {
			rows = append(rows, map[string]any{"team_id": id, "enabled": true})
		}
		_, err := alice.Server().PostJSON(ctx, "account/contact_settings", map[string]any{"settings": map[string]any{
			"enabled": enabled, "allow_followee_degrees": degrees, "allow_good_teams": teams, "teams": rows,
		}}, alice.NIST(alice.Device))
		must(err)
	}
	lets(bob, carol, dora)
	set(true, 0, false)
	lets()
	set(true, 2, false)
	lets()
	must(alice.Follow(ctx, bob.UID))
	must(bob.Follow(ctx, carol.UID))
	lets(bob, carol)
	set(true, 1, false)
	lets(bob)
	set(true, 0, true, good.String())
	lets()
	letsTeam(true)
	set(true, 0, true, team(0x25).String(), "00000000000000000000000000000000")
	letsTeam(false)
	set(true, 0, false, good.String())
	letsTeam(false)
	set(false, 0, false)
	lets(bob, carol, dora)

	set(true, 2, false)
	d.clock.Advance(time.Minute)
	must(bob.Reset(ctx))
	lets()
	yes := true
	must(alice.SetBlocks(ctx, client.BlockRow{UID: dora.UID.String(), Chat: &yes}))
	set(false, 0, false)
	lets(bob, carol)
	set(true, 0, true, good.String())
	letsTeam(false)
}
