package rest

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestFollowsEndWithResets proves that somebody who has thrown all keys away is no longer
// in the list of those whom others follow, neither without keys nor with new ones, until
// they follow again; and that her card counts what the list shows.
func TestFollowsEndWithResets(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob := d.signUp(t, "alice"), d.signUp(t, "bob")
	step := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	follows := func(want bool) {
		t.Helper()
		r, err := alice.Server().Get(ctx, "user/list_followers_for_display", url.Values{"uid": {alice.UID.String()}, "reverse": {"1"}}, nil)
		step("list", err)
		if got := strings.Contains(string(r.Field("users")), bob.UID.String()); got != want {
			t.Errorf("alice follows bob: %v, want %v", got, want)
		}
		card, err := alice.Card(ctx, alice.UID)
		step("card", err)
		if got := card.FollowSummary.Following == 1; got != want {
			t.Errorf("alice's card counts %d whom she follows, want %v", card.FollowSummary.Following, want)
		}
	}
	step("follow", alice.Follow(ctx, bob.UID))
	follows(true)
	d.clock.Advance(time.Minute) // by which the new keys are newer
	step("reset", bob.Reset(ctx))
	follows(false)
	step("begin anew", bob.ProvisionFirst(ctx, "another desk"))
	follows(false)
	d.clock.Advance(time.Minute)
	step("unfollow", alice.Unfollow(ctx, bob.UID))
	step("follow again", alice.Follow(ctx, bob.UID))
	follows(true)
}
