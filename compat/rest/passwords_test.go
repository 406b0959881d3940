package rest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/accounts"
)

// TestPasswordIsChanged proves that a password is changed by who knows the old one, and
// by a device that does not; that each device, a paper key among them, still finds the
// half of its local key; that only the new password logs in; and that sessions made with
// the old one end, while those of devices do not.
func TestPasswordIsChanged(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	step := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	alice := d.signUp(t, "alice")
	_, paper, err := alice.AddPaperKey(ctx, client.CheapStream([]byte("paper")))
	step("paper key", err)
	tablet, err := alice.AddDevice(ctx, "tablet of alice", client.DeviceMobile)
	step("tablet", err)
	one, two, three := client.CheapStream([]byte("alice")), client.CheapStream([]byte("second")), client.CheapStream([]byte("third"))
	login := func(s *client.Stream) (*client.Session, error) {
		a, err := client.Login(ctx, d.verifier(), "alice", "", s)
		if err != nil {
			return nil, err
		}
		return a.Session, nil
	}
	old, err := login(one)
	step("log in", err)
	vouched, err := alice.NewSession(ctx)
	step("a device's session", err)
	locals := localKeys(t, alice)

	step("change", alice.ChangePassword(ctx, two))
	wantStatus(t, alice.Server().CheckSession(ctx, old), 202)
	step("the device's session stays", alice.Server().CheckSession(ctx, vouched))
	_, err = login(one)
	wantStatus(t, err, 204)
	_, err = login(two)
	step("log in with the new password", err)
	for _, dev := range []*client.Device{alice.Device, tablet, paper} {
		fresh := *alice
		step("recover the half", fresh.RecoverHalf(ctx, dev))
		if string(fresh.Stream.ClientHalf()) != string(two.ClientHalf()) {
			t.Errorf("%s gets another half", dev.Name)
		}
	}
	if got := localKeys(t, alice); got != locals {
		t.Errorf("the local keys have changed: %v, then %v", locals, got)
	}

	step("recover with the paper key", alice.RecoverPassword(ctx, paper, three))
	_, err = login(two)
	wantStatus(t, err, 204)
	_, err = login(three)
	step("log in with the third", err)
	if alice.Generation != 3 {
		t.Errorf("generation %d, not 3", alice.Generation)
	}
	if got := localKeys(t, alice); got != locals {
		t.Errorf("the local keys have changed: %v, then %v", locals, got)
	}

	step("repair a half", alice.RepairClientHalf(ctx, tablet))
	alice.Generation--
	wantStatus(t, alice.RepairClientHalf(ctx, tablet), 100)
}

// localKeys are the keys that the devices lock their secrets with, as text: server half
// XOR password half.
func localKeys(t *testing.T, a *client.Account) (out [3]string) {
	t.Helper()
	p, err := a.FetchPrivate(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for _, dev := range a.Me.Family.ActiveDevices() {
		half, err := hex.DecodeString(p.Devices[dev.ID.String()].ServerHalf)
		if err != nil || len(half) != 32 {
			t.Fatalf("server half of %s: %d bytes, %v", dev.Name, len(half), err)
		}
		for j, b := range a.Stream.ClientHalf() {
			half[j] ^= b
		}
		out[i], i = string(half), i+1
	}
	return out
}

// TestRepairReport proves that the report of a repaired device is taken if it is about
// halves of the account, and refused otherwise.
func TestRepairReport(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice := d.signUp(t, "alice")
	p, err := alice.FetchPrivate(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := alice.Device.ID.String()
	half := p.Devices[id].ServerHalf
	report := func(device, ppgen, halves string) error {
		_, err := alice.Server().Post(ctx, "user/bug_3964_repair", url.Values{
			"device_id": {device}, "ppgen": {ppgen}, "lks_server_halves": {halves},
		}, alice.NIST(alice.Device))
		return err
	}
	if err := report(id, "1", half); err != nil {
		t.Error(err)
	}
	for _, bad := range [][3]string{
		{id, "2", half}, {id, "1", ""}, {id, "1", half + ","}, {id, "1", strings.Repeat("0", 64)}, {id, "1", "zz"},
	} {
		wantStatus(t, report(bad[0], bad[1], bad[2]), 100)
	}
	wantStatus(t, report(strings.Repeat("0", 30)+"18", "1", half), 1409)
}

// TestLockdown proves that lockdown mode keeps what it says from a session of the
// password and from nobody else, and that its history tells who changed it.
func TestLockdown(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice := d.signUp(t, "alice")
	step := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	mode := func(want bool, changes int) []client.LockdownChange {
		t.Helper()
		on, history, err := alice.Lockdown(ctx)
		step("ask", err)
		if on != want || len(history) != changes {
			t.Fatalf("lockdown %v after %d changes, want %v after %d", on, len(history), want, changes)
		}
		return history
	}
	mode(false, 0)
	byPassword, err := client.Login(ctx, d.verifier(), "alice", "", client.CheapStream([]byte("alice")))
	step("log in", err)
	step("on", alice.SetLockdown(ctx, true))
	step("on again", alice.SetLockdown(ctx, true))
	h := mode(true, 1)[0]
	if !h.Enabled || h.Device != alice.Device.ID.String() || time.Since(time.UnixMilli(h.Time)).Abs() > time.Minute {
		t.Errorf("history %+v", h)
	}
	later, err := client.Login(ctx, d.verifier(), "alice", "", client.CheapStream([]byte("alice")))
	step("log in", err)
	vouched, err := alice.NewSession(ctx)
	step("a device's session", err)
	off := func(s *client.Session) error {
		_, err := alice.Server().Post(ctx, "account/lockdown", url.Values{"enabled": {"0"}}, s)
		return err
	}
	for _, s := range []*client.Session{byPassword.Session, later.Session} {
		wantStatus(t, off(s), 218)
		_, err := alice.Server().Post(ctx, "new_session", url.Values{}, s)
		step("it makes sessions", err)
		step("it still reads", alice.Server().CheckSession(ctx, s))
	}
	derived, err := alice.Server().Post(ctx, "new_session", url.Values{}, byPassword.Session)
	step("a session out of a session", err)
	var again client.Session
	step("read", json.Unmarshal(derived.Field("session"), &again.Token))
	step("read", json.Unmarshal(derived.Field("csrf_token"), &again.CSRF))
	wantStatus(t, off(&again), 218) // no way round
	_, err = alice.AddDevice(ctx, "laptop of alice", client.DeviceDesktop)
	step("a device is added by another", err)
	mode(true, 1)
	step("off by a device's session", off(vouched))
	if h := mode(false, 2); h[0].Enabled || h[0].Device != "" || !h[1].Enabled {
		t.Errorf("history %+v", h)
	}
	for _, v := range []string{"", "2", "yes"} {
		_, err := alice.Server().Post(ctx, "account/lockdown", url.Values{"enabled": {v}}, alice.NIST(alice.Device))
		wantStatus(t, err, 100)
	}
}

// TestLockedEndpointsExist proves that what lockdown mode keeps back is spelled as the
// table of endpoints spells it.
func TestLockedEndpointsExist(t *testing.T) {
	known := index((&Server{}).table(), true)
	for _, names := range locked {
		for name := range names {
			if _, ok := known[name]; !ok {
				t.Errorf("%s is no endpoint", name)
			}
		}
	}
}

// TestDevelOnly proves that the endpoints of devel mode, and its invitation code, are
// there in devel mode, and on any other server answer as those that it does not have.
func TestDevelOnly(t *testing.T) {
	ctx := context.Background()
	for _, devel := range []bool{false, true} {
		d := openDoor(t, func(o *Options) { o.Devel = devel })
		alice := d.signUp(t, "alice")
		for _, r := range develTable() {
			var err error
			if r.method == get {
				_, err = alice.Server().Get(ctx, r.name, nil, alice.NIST(alice.Device))
			} else {
				_, err = alice.Server().Post(ctx, r.name, url.Values{}, alice.NIST(alice.Device))
			}
			absent := client.StatusCode(err) == 218 && strings.Contains(err.Error(), "not available")
			if absent == devel {
				t.Errorf("devel %v: %s says %v", devel, r.name, err)
			}
		}
		d = openDoor(t, func(o *Options) { o.Devel, o.Signup = devel, accounts.SignupInvitation })
		_, body, _ := d.ask(t, "GET", apiPrefix+"invitation/check.json?invitation_id="+develInvitation, "", "")
		if strings.Contains(body, `"code":0`) != devel {
			t.Errorf("devel %v: the invitation code of devel mode says %s", devel, body)
		}
		_, err := client.Signup(ctx, d.verifier(), client.SignupOptions{
			Name: "alice", Stream: client.CheapStream(nil), DeviceName: "desk", Invitation: develInvitation,
		})
		if (err == nil) != devel {
			t.Errorf("devel %v: signing up with its code: %v", devel, err)
		}
	}
}

// TestAgeDevice proves that devel mode makes a device older, and nobody else's.
func TestAgeDevice(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t, func(o *Options) { o.Devel = true })
	alice, bob := d.signUp(t, "alice"), d.signUp(t, "bob")
	ctime := func() int64 {
		t.Helper()
		p, err := alice.FetchPrivate(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p.Devices[alice.Device.ID.String()].CTime
	}
	before := ctime()
	age := func(a *client.Account) error {
		_, err := a.Server().Post(ctx, "test/agedevice", url.Values{"device_id": {alice.Device.ID.String()}}, a.NIST(a.Device))
		return err
	}
	wantStatus(t, age(bob), 1409)
	if err := age(alice); err != nil {
		t.Fatal(err)
	}
	if got := before - ctime(); got != int64(deviceAging/time.Second) {
		t.Errorf("the device is %d seconds older", got)
	}
}
