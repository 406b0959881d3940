package rest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
)

// wantStatus fails unless err is a refusal with the given code.
func wantStatus(t *testing.T, err error, code int) {
	t.Helper()
	var se *client.StatusError
	if !errors.As(err, &se) || se.Code != code {
		t.Fatalf("got %v, want status %d", err, code)
	}
}

func load(t *testing.T, d *door, uid client.UID) *client.User {
	t.Helper()
	u, err := d.verifier().LoadUser(context.Background(), uid, client.LoadOptions{})
	if err != nil {
		t.Fatalf("load %s with a client that knows nothing: %v", uid, err)
	}
	return u
}

// TestLifeOfAnAccount proves that all that first light promises works for a client
// that verifies everything: sign-up, paper key, second device, following, revoking,
// ephemeral keys, logging in, and that each step is seen by a stranger too.
func TestLifeOfAnAccount(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob := d.signUp(t, "alice"), d.signUp(t, "bob")
	step := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if n := len(load(t, d, alice.UID).Family.ActiveDevices()); n != 1 {
		t.Fatalf("%d devices after sign-up", n)
	}

	paperStream := client.CheapStream([]byte("paper of alice"))
	phrase, _, err := alice.AddPaperKey(ctx, paperStream)
	step("paper key", err)
	laptop, err := client.LoginPaperKey(ctx, d.verifier(), phrase, paperStream, "laptop of alice")
	step("log in by paper key", err)
	tablet, err := laptop.AddDevice(ctx, "tablet of alice", "mobile")
	step("third device", err)
	if n := len(load(t, d, alice.UID).Family.ActiveDevices()); n != 4 {
		t.Fatalf("%d devices, want desktop, paper, laptop and tablet", n)
	}

	step("reload", alice.Reload(ctx))
	step("follow", alice.Follow(ctx, bob.UID))
	if _, ok := load(t, d, alice.UID).Family.Followees[bob.UID]; !ok {
		t.Fatal("a stranger does not see the follow")
	}
	step("unfollow", alice.Unfollow(ctx, bob.UID))
	if _, ok := load(t, d, alice.UID).Family.Followees[bob.UID]; ok {
		t.Fatal("a stranger still sees the follow")
	}

	_, err = alice.PostDeviceEK(ctx, alice.Device)
	step("device ephemeral key", err)
	_, err = alice.PostUserEK(ctx)
	step("user ephemeral key", err)

	step("revoke", alice.RevokeDevice(ctx, tablet.ID))
	seen := load(t, d, alice.UID)
	if n := len(seen.Family.ActiveDevices()); n != 3 || seen.Family.LatestPUK().Generation != 2 {
		t.Fatalf("%d devices, per-user key %d after a revocation", n, seen.Family.LatestPUK().Generation)
	}
	// The revoked device's tokens end with it.
	wantStatus(t, d.verifier().Server().CheckSession(ctx, alice.NIST(tablet)), 202)

	again, err := client.Login(ctx, d.verifier(), "alice", "", client.CheapStream([]byte("alice")))
	step("log in by password", err)
	step("the session holds", again.Server().CheckSession(ctx, again.Session))
	_, err = client.Login(ctx, d.verifier(), "alice", "", client.CheapStream([]byte("mallory")))
	wantStatus(t, err, 204)
}

// TestNamesAreTakenOnce proves that of many who sign up under one name at once
// exactly one gets it, whatever the letters' case, and the others are told so.
func TestNamesAreTakenOnce(t *testing.T) {
	d := openDoor(t)
	const runners = 8
	errs := make([]error, runners)
	var wg sync.WaitGroup
	for i := range runners {
		wg.Go(func() {
			name := "wanted"
			if i%2 == 0 {
				name = "Wanted"
			}
			_, errs[i] = client.Signup(context.Background(), d.verifier(), client.SignupOptions{
				Name: name, Stream: client.CheapStream([]byte{byte(i)}), DeviceName: "the device",
			})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		wantStatus(t, err, 701)
	}
	if won != 1 {
		t.Fatalf("%d of %d got the name", won, runners)
	}
}

// TestDevicesRace proves that of several devices that post the same seqno at once
// exactly one wins, the others get the code that makes clients try again, and all
// get through when they do.
func TestDevicesRace(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	const devices = 3
	first := d.signUp(t, "racer")
	friends := make([]*client.Account, devices)
	for i := range friends {
		friends[i] = d.signUp(t, fmt.Sprintf("friend%d", i))
	}
	// Devices of one person: each its own verifier and its own view of the chain.
	racers := []*client.Account{first}
	for i := 1; i < devices; i++ {
		stream := client.CheapStream([]byte{byte(i)})
		phrase, _, err := racers[0].AddPaperKey(ctx, stream)
		if err != nil {
			t.Fatal(err)
		}
		r, err := client.LoginPaperKey(ctx, d.verifier(), phrase, stream, fmt.Sprintf("device %d", i))
		if err != nil {
			t.Fatal(err)
		}
		racers = append(racers, r)
		if err := racers[0].Reload(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range racers {
		if err := r.Reload(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i, r := range racers {
		wg.Go(func() {
			for try := 0; ; try++ {
				err := r.Follow(ctx, friends[i].UID)
				var se *client.StatusError
				switch {
				case err == nil:
					return
				case errors.As(err, &se) && se.Code == 1010 && try < 20:
					if err := r.Reload(ctx); err != nil {
						t.Errorf("device %d reloads: %v", i, err)
						return
					}
				default:
					t.Errorf("device %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := len(load(t, d, first.UID).Family.Followees); n != devices {
		t.Fatalf("%d follows stand, want %d", n, devices)
	}
}

// TestSessionsExpire proves that password sessions and device tokens end.
func TestSessionsExpire(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	a := d.signUp(t, "sleepy")
	s, err := a.NewSession(ctx)
	if err != nil {
		t.Fatal(err)
	}
	nist := a.NIST(a.Device)
	if err := a.Server().CheckSession(ctx, s); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, a.Server().CheckSession(ctx, &client.Session{Token: s.Token, CSRF: "forged"}), 202)
	if err := a.Server().CheckSession(ctx, nist); err != nil {
		t.Fatal(err)
	}
	d.clock.Advance(25 * time.Hour)
	wantStatus(t, a.Server().CheckSession(ctx, s), 202)
	if err := a.Server().CheckSession(ctx, nist); err != nil {
		t.Fatalf("a device token lives 52 hours: %v", err)
	}
}
