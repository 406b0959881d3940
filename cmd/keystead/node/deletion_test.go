package node

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// afterDeletion are the families that still name somebody who was deleted: what was
// signed, and that the name is taken.
var afterDeletion = map[byte]string{
	'A': "account", 'c': "link", 's': "chain state", 'R': "reset",
	'f': "follow of somebody else", 'F': "follow of somebody else",
	'l': "leaf", 'e': "tree", 'k': "key", 'g': "signature",
}

// TestDeletionLeavesNothing proves that of somebody who had everything that an account
// can have, the store holds nothing after the deletion but what was signed and that the
// name is taken; that nothing that others do later changes that; and that others still
// see each other.
func TestDeletionLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := newLab(t)
	l.cfg.Mail.Host = "mail.example.org" // nothing is sent to anybody here: no address resolves
	r := l.mustStart(t)
	defer r.mustStop(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	signUp := func(name string) *client.Account {
		t.Helper()
		a, err := client.Signup(ctx, r.verifier(strictWitness()), client.SignupOptions{
			Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "desk of " + name,
		})
		must(err)
		return a
	}
	alice, bob := signUp("alice"), signUp("bobby")
	secrets := []string{"Liddell", "curiouser", "wonderland", "alice@example.org", "behind the looking glass", "known from the croquet"}
	must(alice.EditProfile(ctx, "Alice Liddell", "Wonderland wonderland", "curiouser"))
	must(alice.AddMail(ctx, "alice@example.org", 1))
	must(alice.UploadPicture(ctx, square(t)))
	must(alice.SetFavorite(ctx, client.FolderPrivate, "alice,bobby", false))
	must(alice.SetFavorite(ctx, client.FolderTeam, "behind the looking glass", false))
	yes := true
	must(alice.SetBlocks(ctx, client.BlockRow{UID: bob.UID.String(), Follow: &yes}))
	_, err := alice.NewBotToken(ctx)
	must(err)
	_, err = alice.PostDeviceEK(ctx, alice.Device)
	must(err)
	_, err = alice.PostUserEK(ctx)
	must(err)
	_, err = alice.Server().Post(ctx, "device/push_token", url.Values{
		"device_id": {alice.Device.ID.String()}, "push_token": {"https://push.example.org/alice"}, "token_type": {"unifiedpush"},
	}, alice.NIST(alice.Device))
	must(err)
	must(alice.Follow(ctx, bob.UID))
	must(bob.Follow(ctx, alice.UID))
	seen, err := bob.Verifier.LoadUser(ctx, alice.UID, client.LoadOptions{})
	must(err)
	_, err = bob.Vouch(ctx, seen, "known from the croquet", "")
	must(err)
	if n := len(named(r, alice.UID)); n < 20 {
		t.Fatalf("only %d families name alice: has she everything?", n)
	}

	alice.Stream = client.CheapStream([]byte("alice"))
	must(alice.Delete(ctx))
	must(bob.Reload(ctx))
	must(bob.Unfollow(ctx, alice.UID)) // which once would have been news for her
	deadline := time.Now().Add(20 * time.Second)
	for {
		left := slices.DeleteFunc(named(r, alice.UID), func(family string) bool { return afterDeletion[family[0]] != "" })
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still there of alice: %s", strings.Join(left, ", "))
		}
		<-time.After(10 * time.Millisecond)
	}
	v := r.store.View()
	must(v.Scan(nil, nil, func(k, b []byte) error {
		for _, s := range secrets {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("family %q still holds %q", k[0], s)
			}
		}
		return nil
	}))
	v.Close()
	card, err := bob.Card(ctx, bob.UID)
	must(err)
	if card.FollowSummary.Followers != 0 || card.FollowSummary.Following != 0 {
		t.Errorf("bobby's card counts %+v", card.FollowSummary)
	}
	web, err := bob.WebOfTrust(ctx, "", "bobby")
	must(err)
	if len(web) != 0 {
		t.Errorf("bobby still vouches for %+v", web)
	}
	must(r.audit())
}

// named are the families that name somebody in their keys, or, where the key is none of
// a user, whose whole value is the user.
func named(r *run, u client.UID) (families []string) {
	id, err := kbsig.ParseUID(u.String())
	if err != nil {
		return []string{"!" + err.Error()}
	}
	v := r.store.View()
	defer v.Close()
	found := map[byte]int{}
	err = v.Scan(nil, nil, func(k, b []byte) error {
		switch {
		case k[0] == keys.Name("a")[0]:
		case bytes.Contains(k, id[:]), bytes.Equal(b, store.Encode(id)), bytes.Contains(k, []byte(id.String())):
			found[k[0]]++
		}
		return nil
	})
	if err != nil {
		return []string{"!" + err.Error()}
	}
	for f, n := range found {
		families = append(families, fmt.Sprintf("%c (%d)", f, n))
	}
	slices.Sort(families)
	return families
}

// square is an image.
func square(t *testing.T) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, 20, 20))
	m.Set(3, 3, color.NRGBA{200, 10, 10, 255})
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
