package node

import (
	"context"
	"testing"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/wire/chat1"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

// ear is a device that is connected to the push door.
type ear struct {
	*client.PushConn
	t     *testing.T
	a     *client.Account
	d     *client.Device
	since gregor1.Time
}

func token(t *testing.T, r *run, a *client.Account, d *client.Device) *client.NIST {
	t.Helper()
	n, err := client.NewNIST(a.UID, d.ID, r.lab.time(), r.client.Random)
	if err != nil {
		t.Fatal(err)
	}
	n.Sign(d.Sig)
	return n
}

// listen connects a device and returns what it was told when it came.
func listen(t *testing.T, r *run, a *client.Account, d *client.Device, session []byte, since gregor1.Time) (*ear, chat1.SyncAllNotificationRes, error) {
	t.Helper()
	p, err := client.DialPush(context.Background(), r.bound().RPC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	res, err := p.SyncAll(a.UID, d.ID, session, since, since == 0)
	return &ear{p, t, a, d, since}, res.Notification, err
}

// hears waits for an item of a category.
func (e *ear) hears(category string) *gregor1.StateUpdateMessage {
	e.t.Helper()
	for {
		m, err := e.Next()
		if err != nil {
			e.t.Fatalf("%s of %s waits for %s: %v", e.d.Name, e.a.Username, category, err)
		}
		if m.InBand == nil || m.InBand.StateUpdate == nil {
			continue
		}
		up := m.InBand.StateUpdate
		e.since = max(e.since, up.Metadata.CTime)
		if up.Creation != nil && up.Creation.Category == category {
			return up
		}
	}
}

// What is done to an account is told to its devices without their asking: a follower
// to the followed, a new device to the old ones, a revocation to the one that is shut
// out; a token that one door has accepted is good in its short form at both; and after
// a restart a device is told what happened since, with nothing missing.
func TestDevicesAreTold(t *testing.T) {
	ctx := context.Background()
	l := newLab(t)
	r := l.mustStart(t)
	w := strictWitness()
	signUp := func(name string) *client.Account {
		t.Helper()
		a, err := client.Signup(ctx, r.verifier(w), client.SignupOptions{Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "desk"})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	alice, bob := signUp("alice"), signUp("bob")

	n := token(t, r, alice, alice.Device)
	if _, _, err := listen(t, r, alice, alice.Device, n.Short, 0); client.StatusCode(err) != 202 {
		t.Fatalf("a short token that nobody has accepted: %v", err)
	}
	desk, _, err := listen(t, r, alice, alice.Device, n.Long, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.verdict(t, b64(n.Short)); got != "verified" {
		t.Errorf("the short form of a token that the push door has accepted is %s", got)
	}
	if _, _, err := listen(t, r, alice, alice.Device, n.Short, 0); err != nil {
		t.Errorf("the short form at the push door: %v", err)
	}

	if err := bob.Follow(ctx, alice.UID); err != nil {
		t.Fatal(err)
	}
	desk.hears("follow")
	phone, err := alice.AddDevice(ctx, "phone", client.DeviceMobile)
	if err != nil {
		t.Fatal(err)
	}
	if body := string(desk.hears("device.new").Creation.Body); body != `{"device_id":"`+phone.ID.String()+`"}` {
		t.Errorf("told of the device %s", body)
	}
	mobile, was, err := listen(t, r, alice, phone, token(t, r, alice, phone).Long, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range was.State.Items {
		mobile.since = max(mobile.since, it.Metadata.CTime)
		if it.Item.Category == "device.new" {
			t.Error("a device is told that it is new")
		}
	}

	if err := alice.RevokeDevice(ctx, phone.ID); err != nil {
		t.Fatal(err)
	}
	mobile.hears("user.key_change")
	if err := mobile.Call("gregor.1.incoming.state", gregor1.StateArg{}, nil); err == nil {
		t.Error("a revoked device is served")
	}
	desk.hears("user.key_change")

	r.mustStop(t)
	r = l.mustStart(t)
	defer r.mustStop(t)
	desk, told, err := listen(t, r, alice, alice.Device, n.Short, desk.since)
	if err != nil || told.Incremental == nil {
		t.Fatalf("after a restart a device is told %+v, %v", told, err)
	}
	for _, m := range told.Incremental.Msgs {
		if m.StateUpdate.Metadata.CTime < desk.since {
			t.Errorf("told again of what happened at %d", m.StateUpdate.Metadata.CTime)
		}
	}
}
