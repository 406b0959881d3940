package rest

import (
	"context"
	"fmt"
	"image/color"
	"net/url"
	"strings"
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// TestFavorites proves that what somebody's client puts into the list of favourites, or
// away, stands there on the next question, in nobody else's list, and that what is no
// folder changes nothing.
func TestFavorites(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob := d.signUp(t, "alice"), d.signUp(t, "bobby")
	must := mustOf(t)
	lists := func(a *client.Account, want string) {
		t.Helper()
		favorites, ignored, err := a.Favorites(ctx)
		must(err)
		if got := fmt.Sprint(favorites, ignored); got != want {
			t.Errorf("the lists are %s, not %s", got, want)
		}
	}
	lists(alice, "[{alice true 1} {alice false 2}] []")
	must(alice.SetFavorite(ctx, client.FolderPrivate, "alice,bobby", false))
	must(alice.SetFavorite(ctx, client.FolderPublic, "bobby", false))
	must(alice.SetFavorite(ctx, client.FolderTeam, "acme", false))
	must(alice.SetFavorite(ctx, client.FolderPublic, "alice", true))
	lists(alice, "[{alice true 1} {alice,bobby true 1} {bobby false 2} {acme true 3}] [{alice false 2}]")
	must(alice.SetFavorite(ctx, client.FolderPrivate, "alice,bobby", true))
	must(alice.SetFavorite(ctx, client.FolderPublic, "alice", false))
	const after = "[{alice true 1} {alice false 2} {bobby false 2} {acme true 3}] [{alice,bobby true 1}]"
	lists(alice, after)
	lists(bob, "[{bobby true 1} {bobby false 2}] []")

	wantStatus(t, alice.SetFavorite(ctx, 0, "alice", false), 100)
	wantStatus(t, alice.SetFavorite(ctx, 4, "alice", false), 100)
	wantStatus(t, alice.SetFavorite(ctx, client.FolderPrivate, "", false), 100)
	wantStatus(t, alice.SetFavorite(ctx, client.FolderPrivate, "../alice", false), 100)
	wantStatus(t, alice.SetFavorite(ctx, client.FolderPrivate, strings.Repeat("a,", 4000)+"b", false), 100)
	_, err := alice.Server().Post(ctx, "kbfs/favorite/add", url.Values{"tlf_name": {"alice"}, "folder_type": {"1"}, "status": {"loved"}}, alice.NIST(alice.Device))
	wantStatus(t, err, 100)
	_, err = alice.Server().Post(ctx, "kbfs/favorite/add", url.Values{"tlf_name": {"alice"}, "folder_type": {"1"}, "status": {"ignored"}}, nil)
	wantStatus(t, err, 201)
	lists(alice, after)
}

// TestPicturePreference proves that whose picture somebody would rather show is kept and
// told to them alone, that no other service can be named, and that a picture of their own
// ends it.
func TestPicturePreference(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice := d.signUp(t, "alice")
	must := mustOf(t)
	prefer := func(source string) error {
		_, err := alice.Server().Post(ctx, "image/set_preference", url.Values{"identity_src": {source}}, alice.NIST(alice.Device))
		return err
	}
	preferred := func(want int) {
		t.Helper()
		reply, err := alice.Server().Get(ctx, "user/private", url.Values{"uid": {alice.UID.String()}}, alice.NIST(alice.Device))
		must(err)
		var out struct {
			Them struct {
				Source int `json:"picture_source"`
			} `json:"them"`
		}
		must(reply.Decode(&out))
		if out.Them.Source != want {
			t.Errorf("the preferred source is %d, not %d", out.Them.Source, want)
		}
	}
	preferred(0)
	must(prefer("101"))
	preferred(101)
	for _, bad := range []string{"", "0", "102", "twitter", "100 "} {
		wantStatus(t, prefer(bad), 100)
	}
	preferred(101)
	must(alice.UploadPicture(ctx, picture(t, color.Black)))
	preferred(0)
	must(prefer("100"))
	must(alice.UploadPicture(ctx, picture(t, color.Black)))
	preferred(0)
}
