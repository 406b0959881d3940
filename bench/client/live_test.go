package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// liveStartMax bounds how long a built server may take to open its doors.
const liveStartMax = time.Minute

// liveServer is the server of this repository, built and started as a process of
// its own; the client knows nothing of it but its address and root key.
type liveServer struct {
	t   *testing.T
	uri string
	kid KID
}

// builtIn is the folder of the built binary, "" when none was built.
var builtIn string

var buildServer = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("KEYSTEAD_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "keystead-live")
	if err != nil {
		return "", err
	}
	builtIn = dir
	path := filepath.Join(dir, "keystead")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/keystead").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return path, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if builtIn != "" {
		_ = os.RemoveAll(builtIn)
	}
	os.Exit(code)
}

// startLive starts a server on a fresh folder and stops it with the test.
func startLive(t *testing.T) *liveServer {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and starts the server")
	}
	binary, err := buildServer()
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	cmd := exec.Command(binary, "serve", "--data", data, "--http", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--ops", "")
	var log bytes.Buffer // read after the process ended only
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server did not stop well: %v", err)
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", &log)
		}
	})
	// The first line of standard output says that the doors are open.
	ready := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(out)
		ready <- lines.Scan()
		for lines.Scan() {
			continue
		}
	}()
	select {
	case ok := <-ready:
		if !ok {
			t.Fatal("the server ended without a word")
		}
	case <-time.After(liveStartMax):
		t.Fatal("the server does not start")
	}
	return readEndpoints(t, data)
}

func readEndpoints(t *testing.T, data string) *liveServer {
	b, err := os.ReadFile(filepath.Join(data, "endpoints.json"))
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		URI string `json:"server_uri"`
		KID string `json:"merkle_kid"`
	}
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	s := &liveServer{t: t, uri: e.URI}
	if s.kid, err = ParseKID(e.KID); err != nil {
		t.Fatal(err)
	}
	return s
}

// verifier is a client without any knowledge, on a transport of its own.
func (l *liveServer) verifier(w *Witness) *Verifier {
	s := NewServer(l.uri, []KID{l.kid}, time.Now, rand.Reader)
	l.t.Cleanup(s.Close)
	first, err := s.FirstRootWithSkips(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	s.FirstRoot = first
	return NewVerifier(s, w)
}

// do fails the test unless a step went well.
func (l *liveServer) do(what string, err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
}

func (l *liveServer) signup(v *Verifier, name string) *Account {
	l.t.Helper()
	a, err := Signup(l.t.Context(), v, SignupOptions{Name: name, Stream: CheapStream([]byte(name)), DeviceName: "home computer"})
	l.do("sign up "+name, err)
	return a
}

// The whole life of two people, in the order of the stock client's commands, keeps
// every rule, and a stranger without knowledge verifies the result.
func TestLiveLife(t *testing.T) {
	l := startLive(t)
	ctx := t.Context()
	v := l.verifier(nil)
	alice, bob := l.signup(v, "alice"), l.signup(v, "Bob")
	laptop, err := alice.AddDevice(ctx, "laptop", DeviceDesktop)
	l.do("add a device", err)
	paperStream := CheapStream([]byte("alice's paper key"))
	_, paper, err := alice.AddPaperKey(ctx, paperStream)
	l.do("paper key", err)
	l.do("follow", alice.Follow(ctx, bob.UID))
	l.do("follow back", bob.Follow(ctx, alice.UID))

	office, err := LoginPaperKey(ctx, l.verifier(nil), "", paperStream, "office")
	l.do("log in with the paper key", err)
	l.do("revoke the laptop", office.RevokeDevice(ctx, laptop.ID))
	l.do("roll the per-user key", office.RollPUK(ctx))
	l.do("fetch per-user keys", alice.FetchPUKs(ctx, alice.Device))
	if len(alice.PUKs) != 3 {
		t.Errorf("%d per-user keys, not 3", len(alice.PUKs))
	}
	if err := l.verifier(nil).srv.CheckSession(ctx, alice.NIST(laptop)); StatusCode(err) < 0 {
		t.Errorf("the laptop's token should be refused: %v", err)
	}
	l.do("unfollow", alice.Unfollow(ctx, bob.UID))
	l.do("follow again", alice.Follow(ctx, bob.UID))
	track := alice.Me.Link(alice.Me.Tail().Seqno)
	l.do("revoke a statement", alice.RevokeSigs(ctx, track.SigID.SigID()))

	for _, stubbed := range []bool{false, true} {
		u, err := l.verifier(nil).LoadUser(ctx, alice.UID, LoadOptions{Stubbed: stubbed, Quoted: true})
		l.do("a stranger's view", err)
		if n := len(u.Family.ActiveDevices()); n != 3 {
			t.Errorf("%d devices, not 3", n)
		}
		if d := u.Family.Device(paper.ID); d == nil || d.Revoked {
			t.Error("the paper key should be active")
		}
	}
}

// Sessions, tokens, passwords and what a logged-in client asks for.
func TestLiveSessions(t *testing.T) {
	l := startLive(t)
	ctx := t.Context()
	v := l.verifier(nil)
	alice := l.signup(v, "alice")
	srv := v.srv
	l.do("token", srv.CheckSession(ctx, alice.NIST(alice.Device)))
	if !alice.NIST(alice.Device).IsShort() {
		t.Error("the server never says that a token is verified")
	}
	l.do("short token", srv.CheckSession(ctx, alice.NIST(alice.Device)))
	s, err := alice.NewSession(ctx)
	l.do("new session", err)
	l.do("legacy session", srv.CheckSession(ctx, s))
	if err := srv.CheckSession(ctx, &Session{Token: s.Token, CSRF: "no"}); StatusCode(err) < 0 {
		t.Errorf("a wrong CSRF token should be refused: %v", err)
	}
	again, err := Login(ctx, v, "alice", "", alice.Stream)
	l.do("login", err)
	l.do("its session", srv.CheckSession(ctx, again.Session))
	if _, err := Login(ctx, v, "alice", "", CheapStream([]byte("wrong"))); StatusCode(err) != 204 {
		t.Errorf("a wrong password should be 204: %v", err)
	}
	if _, err := Signup(ctx, v, SignupOptions{Name: "Alice", Stream: CheapStream(nil)}); StatusCode(err) != 701 {
		t.Errorf("a taken name should be 701: %v", err)
	}
	p, err := alice.FetchPrivate(ctx, nil)
	l.do("fetch_private", err)
	if half := p.Devices[alice.Device.ID.String()].ServerHalf; half != hex.EncodeToString(alice.Device.ServerHalf[:]) {
		t.Errorf("server half %q", half)
	}
	rows, err := srv.DevicesForUsers(ctx, []DeviceStatus{{UID: alice.UID.String(), DeviceID: alice.Device.ID.String()}})
	l.do("device/for_users", err)
	if len(rows) != 1 || !rows[0].OK || rows[0].Username != "alice" {
		t.Errorf("device/for_users says %+v", rows)
	}
	var zero, one, two [16]byte
	one[0], two[0] = 1, 2
	if token, clones, err := alice.CloneToken(ctx, alice.Device, zero, one); err != nil || clones != 1 || token != hex.EncodeToString(one[:]) {
		t.Errorf("clone token %s, %d: %v", token, clones, err)
	}
	if _, clones, err := alice.CloneToken(ctx, alice.Device, two, two); err != nil || clones != 2 {
		t.Errorf("a clone should be counted: %d, %v", clones, err)
	}
	names, err := srv.Names(ctx, alice.UID)
	l.do("names", err)
	if names[alice.UID] != "alice" {
		t.Errorf("names %v", names)
	}
	them, err := v.UserObject(ctx, "alice")
	l.do("resolve", err)
	if none, err := v.UserObject(ctx, "nobody"); err != nil || len(them) != 1 || len(none) != 0 {
		t.Errorf("resolver: %d and %d, %v", len(them), len(none), err)
	}
	if _, err := v.LookupUser(ctx, UIDOf("nobody"), nil); err != nil && StatusCode(err) != CodeNotFound {
		t.Errorf("an unknown user: %v", err)
	}
}

// A post that is sent again, because its answer was lost, is taken once and
// acknowledged twice.
func TestLiveRepeats(t *testing.T) {
	l := startLive(t)
	ctx := t.Context()
	alice := l.signup(l.verifier(nil), "alice")
	bob := l.signup(alice.Verifier, "bob")
	bodies := make(map[string]map[string]any)
	alice.EditPost = func(endpoint string, body map[string]any) { bodies[endpoint] = body }
	laptop, err := alice.AddDevice(ctx, "laptop", DeviceDesktop)
	l.do("add a device", err)
	repeat := func(what string) {
		t.Helper()
		for range 2 {
			_, err := alice.Server().PostJSON(ctx, "key/multi", bodies["key/multi"], alice.NIST(alice.Device))
			l.do("repeat "+what, err)
		}
		before := alice.seqno
		l.do("reload", alice.Reload(ctx))
		if alice.seqno != before {
			t.Errorf("%s was taken twice", what)
		}
	}
	repeat("adding a device")
	l.do("roll", alice.RollPUK(ctx))
	repeat("rolling the per-user key")
	l.do("revoke", alice.RevokeDevice(ctx, laptop.ID))
	repeat("a revocation")
	l.do("follow", alice.Follow(ctx, bob.UID))
	args := url.Values{}
	for k, v := range bodies["follow"] {
		args.Set(k, fmt.Sprint(v))
	}
	_, err = alice.Server().Post(ctx, "follow", args, alice.NIST(alice.Device))
	l.do("repeat follow", err)
	l.do("repeat device/update", alice.updateDevice(ctx, alice.Device, alice.NIST(alice.Device)))
	before := alice.seqno
	l.do("reload", alice.Reload(ctx))
	if alice.seqno != before {
		t.Error("the follow was taken twice")
	}
}

// Ephemeral keys and the relay.
func TestLiveEphemeral(t *testing.T) {
	l := startLive(t)
	ctx := t.Context()
	alice := l.signup(l.verifier(nil), "alice")
	laptop, err := alice.AddDevice(ctx, "laptop", DeviceMobile)
	l.do("add a device", err)
	for _, d := range []*Device{alice.Device, laptop, laptop} {
		_, err := alice.PostDeviceEK(ctx, d)
		l.do("device key", err)
	}
	for gen := 1; gen <= 2; gen++ {
		ek, err := alice.PostUserEK(ctx)
		l.do("user key", err)
		opened, err := alice.OpenUserEK(ctx, laptop, gen)
		l.do("open it", err)
		if opened == nil || opened.Seed != ek.Seed || ek.Generation != gen {
			t.Errorf("generation %d: %+v", gen, opened)
		}
	}
	l.do("revoke", alice.RevokeDevice(ctx, laptop.ID))
	eks, err := alice.DeviceEKs(ctx)
	l.do("device keys", err)
	if len(eks) != 1 {
		t.Errorf("%d device keys after a revocation, not 1", len(eks))
	}
	// The per-user key was rolled; the generations of the ephemeral one go on.
	ek, err := alice.PostUserEK(ctx)
	l.do("user key after a roll", err)
	if ek.Generation != 3 {
		t.Errorf("generation %d after a roll, not 3", ek.Generation)
	}
	srv := alice.Server()
	var i RelaySession
	i[0] = 7
	for range 2 { // the second is a repeat
		l.do("send", srv.RelaySend(ctx, i, laptop.ID, 1, []byte("one")))
	}
	l.do("send", srv.RelaySend(ctx, i, laptop.ID, 2, []byte("two")))
	msgs, err := srv.RelayReceive(ctx, i, alice.Device.ID, 1, time.Second)
	l.do("receive", err)
	if len(msgs) != 2 || string(msgs[1]) != "two" {
		t.Errorf("%d messages", len(msgs))
	}
	if own, err := srv.RelayReceive(ctx, i, laptop.ID, 1, 0); err != nil || len(own) != 0 {
		t.Errorf("one's own messages come back: %d, %v", len(own), err)
	}
}

// Every root that the server ever signed can be fetched, fits all others, and
// tells the same story of every user.
func TestLiveHistory(t *testing.T) {
	l := startLive(t)
	ctx := t.Context()
	v := l.verifier(nil)
	v.Witness.TimeSlack = 0
	start, err := v.RefreshRoot(ctx)
	l.do("root", err)
	alice := l.signup(v, "alice")
	bob := l.signup(v, "bob")
	for range 5 {
		l.do("follow", alice.Follow(ctx, bob.UID))
		l.do("unfollow", alice.Unfollow(ctx, bob.UID))
	}
	end, err := v.RefreshRoot(ctx)
	l.do("root", err)
	stranger := l.verifier(nil)
	stranger.Witness.TimeSlack = 0
	for s := start.Seqno - 1; s <= end.Seqno; s++ {
		for _, a := range []*Account{alice, bob} {
			_, _, err := stranger.UserLeafAt(ctx, a.UID, At{Seqno: s})
			l.do(fmt.Sprintf("root %d", s), err)
		}
		r, _ := stranger.Witness.seen(s)
		_, _, _, err := v.LookupAt(ctx, "", At{HashMeta: r.HashMeta}, false, nil)
		l.do("by hash", err)
	}
	l.do("two witnesses", stranger.Witness.Merge(v.Witness.Dump()))
	if _, err := v.RootAt(ctx, start.Seqno-2); StatusCode(err) != CodeNotFound {
		t.Errorf("a root before the first: %v", err)
	}
	for kit := range kitFields {
		_, err := v.Kit(ctx, kit)
		l.do("kit "+kit, err)
	}
}

// Many people at once, sharing one memory, keep every rule.
func TestLiveCrowd(t *testing.T) {
	l := startLive(t)
	v := l.verifier(nil)
	const people, rounds = 12, 6
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	errs := make(chan error, people)
	for i := range people {
		wg.Go(func() {
			name := fmt.Sprintf("person%d", i)
			a, err := Signup(ctx, v, SignupOptions{Name: name, Stream: CheapStream([]byte(name)), DeviceName: "home"})
			for r := 0; err == nil && r < rounds; r++ {
				err = a.Follow(ctx, UIDOf(fmt.Sprintf("person%d", (i+r+1)%people)))
				if StatusCode(err) == CodeNotFound {
					err = nil // not signed up yet
				}
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				errs <- fmt.Errorf("%s: %w", name, err)
				cancel()
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		t.Fatal(err)
	default:
	}
	stranger := l.verifier(v.Witness)
	for i := range people {
		_, err := stranger.LoadUser(t.Context(), UIDOf(fmt.Sprintf("person%d", i)), LoadOptions{Quoted: true})
		l.do("afterwards", err)
	}
}
