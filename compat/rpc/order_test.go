package rpc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/compat/wire/keybase1"
)

func counterValue(c prometheus.Counter) float64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		panic(err)
	}
	return m.GetCounter().GetValue()
}

// slowLog makes View wait, as a busy store would.
type slowLog struct {
	gregor.Log
	gate chan struct{}
}

func (l *slowLog) View(ctx context.Context) (gregor.View, error) {
	select {
	case <-l.gate:
		return l.Log.View(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// blockable replaces the door's gregor by one whose loads wait for the gate.
func openSlowDoor(t *testing.T, l Limits) (*door, chan struct{}) {
	d := openDoor(t, l)
	log := &slowLog{memLog(t), make(chan struct{})}
	d.gregor = gregor.New(gregor.Options{Log: log, Clock: time.Now, Rand: &counter{}})
	d.Server.opts.Gregor = d.gregor
	return d, log.gate
}

// A ping is answered while every other call of the connection hangs; more calls than
// allowed are refused at once; a cancelled call is answered as such; the rest is
// answered when it can be.
func TestPingWhileOthersHang(t *testing.T) {
	d, gate := openSlowDoor(t, Limits{CallsPerConn: 8})
	c := d.dial(t)
	var auth gregor1.AuthResult
	go func() { gate <- struct{}{} }() // for the subscription
	if st := c.call(0, "gregor.1.auth.authenticateSessionToken", gregor1.AuthenticateSessionTokenArg{Session: "alice"}, &auth); st != nil || auth.Username != "alice" {
		t.Fatalf("%+v %+v", st, auth)
	}
	var hanging []int64
	for range 8 {
		hanging = append(hanging, c.start(1, "gregor.1.incoming.state", gregor1.StateArg{}))
	}
	if st := c.call(1, "gregor.1.incoming.state", gregor1.StateArg{}, nil); st == nil || st.Code != status.RateLimit {
		t.Fatalf("the ninth call: %+v", st)
	}
	if st := c.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, nil); st != nil {
		t.Fatalf("ping: %+v", st)
	}
	c.frame(3, hanging[3], "gregor.1.incoming.state")
	if n, st, _, err := c.next(); err != nil || n != hanging[3] || st == nil || st.Code != keybase1.StatusCanceled {
		t.Fatalf("cancelled call %d: %+v %v", n, st, err)
	}
	close(gate)
	var answered []int64
	for range 7 {
		n, st, _, err := c.next()
		if err != nil || st != nil {
			t.Fatalf("call %d: %+v %v", n, st, err)
		}
		answered = append(answered, n)
	}
	slices.Sort(answered)
	if want := slices.Delete(hanging, 3, 4); !slices.Equal(answered, want) {
		t.Errorf("answered %v, not %v", answered, want)
	}
}

// A call that takes too long is answered with a timeout before the client gives up.
func TestCallDeadline(t *testing.T) {
	d, gate := openSlowDoor(t, Limits{CallWithin: 50 * time.Millisecond})
	c := d.dial(t)
	go func() { gate <- struct{}{} }()
	if st := c.call(0, "gregor.1.auth.authenticateSessionToken", gregor1.AuthenticateSessionTokenArg{Session: "alice"}, nil); st != nil {
		t.Fatalf("%+v", st)
	}
	if st := c.call(1, "gregor.1.incoming.state", gregor1.StateArg{}, nil); st == nil || st.Code != keybase1.StatusTimeout {
		t.Errorf("%+v", st)
	}
}

// What is broadcast between the snapshot and the answer of a syncAll arrives after
// that answer, once, and in order with what follows.
func TestBroadcastsWaitForSync(t *testing.T) {
	d := openDoor(t, Limits{})
	alice := kbsig.UIDOf("alice")
	c := d.login(t, "alice") // broadcasts are now held back for settleFor
	for i := range 5 {
		if err := d.gregor.Push(t.Context(), alice, "chat.activity", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	// The client's next frame ends the wait.
	if st := c.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, nil); st != nil {
		t.Fatalf("%+v", st)
	}
	if err := d.gregor.Push(t.Context(), alice, "chat.activity", []byte("5")); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		if m := c.broadcast(); string(m.OutOfBand.Body) != fmt.Sprint(i) {
			t.Fatalf("broadcast %d is %q", i, m.OutOfBand.Body)
		}
	}
	// Without a next frame they come after a while.
	quiet := d.login(t, "alice/2")
	if err := d.gregor.Push(t.Context(), alice, "chat.activity", []byte("6")); err != nil {
		t.Fatal(err)
	}
	if m := quiet.broadcast(); string(m.OutOfBand.Body) != "6" {
		t.Fatalf("got %q", m.OutOfBand.Body)
	}
}

// Shutdown lets a running call finish and its answer leave, then closes; a call that
// hangs is cut when the context ends.
func TestShutdown(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		t.Run(fmt.Sprintf("hangs %v", hangs), func(t *testing.T) {
			d, gate := openSlowDoor(t, Limits{})
			c := d.dial(t)
			go func() { gate <- struct{}{} }()
			if st := c.call(0, "gregor.1.auth.authenticateSessionToken", gregor1.AuthenticateSessionTokenArg{Session: "alice"}, nil); st != nil {
				t.Fatalf("%+v", st)
			}
			n := c.start(1, "gregor.1.incoming.state", gregor1.StateArg{})
			if st := c.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, nil); st != nil {
				t.Fatalf("%+v", st) // the call before it is running now
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- d.Shutdown(ctx) }()
			<-d.stopping
			if !hangs {
				close(gate)
				if got, st, _, err := c.next(); err != nil || got != n || st != nil {
					t.Fatalf("call %d: %+v %v", got, st, err)
				}
			}
			if err := c.closed(); err != nil {
				t.Error(err)
			}
			if err := <-done; (err != nil) != hangs {
				t.Errorf("shutdown: %v", err)
			}
		})
	}
}

// Disconnect closes one device's connections, or all of a user's, and no others.
func TestDisconnect(t *testing.T) {
	d := openDoor(t, Limits{Farewell: time.Millisecond})
	one, two, other := d.login(t, "alice"), d.login(t, "alice/2"), d.login(t, "bob")
	d.Disconnect(kbsig.UIDOf("alice"), deviceOf("alice", nil))
	if err := one.closed(); err != nil {
		t.Error(err)
	}
	if st := two.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, nil); st != nil {
		t.Errorf("%+v", st)
	}
	d.Disconnect(kbsig.UIDOf("alice"), kbsig.DeviceID{})
	if err := two.closed(); err != nil {
		t.Error(err)
	}
	if st := other.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, nil); st != nil {
		t.Errorf("%+v", st)
	}
}

// A device that was revoked can call nothing any more, is told of the change of keys
// by which clients log themselves out, and then has to go.
func TestRevokedDeviceHearsOfIt(t *testing.T) {
	d := openDoor(t, Limits{Farewell: time.Hour})
	c, other := d.login(t, "alice"), d.login(t, "alice/2")
	alice := kbsig.UIDOf("alice")
	d.Disconnect(alice, deviceOf("alice", nil))
	if st := c.call(1, "gregor.1.incoming.state", gregor1.StateArg{}, nil); st == nil || st.Code != status.BadSession {
		t.Errorf("%+v", st)
	}
	for _, category := range []string{"a", "user.key_change", "b"} {
		if _, err := d.gregor.Inject(t.Context(), gregor.Injection{UID: alice, Category: category, Body: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"a", "user.key_change"} {
		if got := c.broadcast().InBand.StateUpdate.Creation.Category; got != want {
			t.Errorf("told of %s instead of %s", got, want)
		}
	}
	if err := c.closed(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"a", "user.key_change", "b"} {
		if got := other.broadcast().InBand.StateUpdate.Creation.Category; got != want {
			t.Errorf("the other device was told of %s instead of %s", got, want)
		}
	}
}

// Users learn of their own connected devices only.
func TestDescribeConnectedUsers(t *testing.T) {
	d := openDoor(t, Limits{})
	c := d.login(t, "alice")
	d.login(t, "alice/2")
	d.login(t, "bob")
	alice, bob := kbsig.UIDOf("alice"), kbsig.UIDOf("bob")
	var users []gregor1.ConnectedUser
	arg := gregor1.DescribeConnectedUsersArg{UIDs: [][]byte{alice[:], bob[:]}}
	if st := c.call(1, "gregor.1.incoming.describeConnectedUsers", arg, &users); st != nil {
		t.Fatalf("%+v", st)
	}
	if len(users) != 2 || len(users[0].Devices) != 2 || len(users[1].Devices) != 0 {
		t.Errorf("%+v", users)
	}
}

// The table is complete and within its own rules: the reader answers nothing but
// pings, and only what authenticates or says nothing about anybody is open to all.
func TestRoutes(t *testing.T) {
	open := map[string]bool{
		"gregor.1.auth.authenticateSessionToken": true, "chat.1.remote.syncAll": true,
		"gregor.1.incoming.ping": true, "chat.1.remote.remoteNotificationSuccessful": true,
	}
	for name, r := range routes() {
		if (r.level == levelNone) != open[name] {
			t.Errorf("%s: level %d", name, r.level)
		}
		if r.inline != (name == "gregor.1.incoming.ping") {
			t.Errorf("%s is answered by the reader", name)
		}
		if r.class.bytes == 0 || r.class.values == 0 || len(name) > methodBytesMax || strings.Count(name, ".") != 3 {
			t.Errorf("%s: %+v", name, r.class)
		}
	}
}

// Metrics register once and under the names that this package gives them.
func TestMetricsRegister(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := newMetrics(reg, func() float64 { return 7 })
	if err != nil {
		t.Fatal(err)
	}
	m.calls.WithLabelValues("unknown", "error").Inc()
	fams, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range fams {
		names = append(names, f.GetName())
	}
	for _, want := range []string{metricConns, metricCalls, metricBroadcasts, metricPanics, metricBuffered} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing from %v", want, names)
		}
	}
	if _, err := newMetrics(reg, nil); err == nil {
		t.Error("registered twice")
	}
}
