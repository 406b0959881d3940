package rpc

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/limits"
)

// Each bomb closes its own connection or is refused, allocates little, and leaves
// the other connections in peace.
func TestBombs(t *testing.T) {
	d := openDoor(t, Limits{})
	healthy := d.login(t, "alice")
	for name, b := range bombs() {
		if n := allocated(func() { _ = readOne(b, d.routes, d.limits.FrameBeforeAuth) }); n > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
		c := d.dial(t)
		c.write(b)
		if err := c.closed(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if st := healthy.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, nil); st != nil {
			t.Errorf("%s: ping: %+v", name, st)
		}
	}
}

// An authenticated client's bad argument is an error to that call and nothing more.
func TestBadArgumentAfterLogin(t *testing.T) {
	d := openDoor(t, Limits{})
	c := d.login(t, "alice")
	for i, arg := range []any{"text", 7, map[string]any{"m": 3}, map[string]any{"m": map[string]any{"ibm": []int{1}}}} {
		if st := c.call(1, "gregor.1.incoming.consumeMessage", arg, nil); st == nil || st.Code != status.InputError {
			t.Errorf("argument %d: %+v", i, st)
		}
	}
	c.write(append([]byte{0x1c, 0x94, 0, 99, 0xb7}, append([]byte("gregor.1.incoming.state"), 0xc1)...)) // 0xc1: no msgpack
	if _, st, _, err := c.next(); err != nil || st == nil || st.Code != status.InputError {
		t.Errorf("%+v, %v", st, err)
	}
	if st := c.call(1, "gregor.1.incoming.state", gregor1.StateArg{UID: []byte("somebody else..")}, nil); st == nil || st.Code != status.InputError {
		t.Errorf("another user's state: %+v", st)
	}
	if st := c.call(1, "gregor.1.incoming.state", gregor1.StateArg{}, nil); st != nil {
		t.Errorf("%+v", st)
	}
}

// Methods that are unknown or not there yet are errors, in any compression and with
// bodies of any kind, and are counted; the connection lives.
func TestUnavailable(t *testing.T) {
	d := openDoor(t, Limits{})
	c := d.login(t, "alice")
	for _, m := range []string{"chat.1.remote.postRemote", "chat.1.remote.noSuch", "gregor.1.incoming.Ping", "", "nodots", "keybase.1.block.putBlock"} {
		for ctype := range 3 {
			st := c.call(ctype, m, map[string]any{"big": make([]byte, 300_000)}, nil)
			if st == nil || st.Code != status.Generic || len(st.Fields) != 1 || st.Fields[0].Value != m {
				t.Errorf("%q in compression %d: %+v", m, ctype, st)
			}
		}
	}
	if st := c.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, nil); st != nil {
		t.Errorf("%+v", st)
	}
}

// Whoever does not authenticate in time is cut, whether silent, dripping or busy
// with calls that need no session.
func TestUnauthenticatedAreCut(t *testing.T) {
	d := openDoor(t, Limits{AuthWithin: 300 * time.Millisecond})
	silent, dripping, busy := d.dial(t), d.dial(t), d.dial(t)
	dripping.write([]byte{0xce, 0, 0, 0xff, 0xff, 0x94})
	go func() {
		for {
			if _, err := busy.nc.Write(append([]byte{0x1c, 0x94, 0, 0, 0xb6}, append([]byte("gregor.1.incoming.ping"), 0x91, 0x80)...)); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	for name, c := range map[string]*testClient{"silent": silent, "dripping": dripping, "busy": busy} {
		if err := c.closed(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A frame larger than an unauthenticated connection may send is fine afterwards.
func TestFrameLimits(t *testing.T) {
	d := openDoor(t, Limits{})
	big := map[string]any{"x": make([]byte, 70<<10)}
	c := d.dial(t)
	c.start(0, "gregor.1.incoming.version", big)
	if err := c.closed(); err != nil {
		t.Error(err)
	}
	c = d.login(t, "alice")
	if st := c.call(0, "gregor.1.incoming.version", big, nil); st == nil || st.Code != status.InputError {
		t.Errorf("%+v", st) // the method's class is smaller still
	}
	if st := c.call(0, "gregor.1.incoming.version", map[string]any{}, nil); st != nil {
		t.Errorf("%+v", st)
	}
}

// A client that does not read loses its connection when more waits for it than is
// allowed; others get everything, and no memory is kept.
func TestSlowReader(t *testing.T) {
	d := openDoor(t, Limits{QueueBytes: 256 << 10})
	slow, good := d.login(t, "alice"), d.login(t, "alice/2")
	body := bytes.Repeat([]byte{'x'}, 100_000)
	gone := false
	for range 400 {
		if err := d.gregor.Push(t.Context(), kbsig.UIDOf("alice"), "chat.activity", body); err != nil {
			t.Fatal(err)
		}
		if m := good.broadcast(); len(m.OutOfBand.Body) != len(body) {
			t.Fatal("the good reader got something else")
		}
		if gone = len(d.gregor.Connected(kbsig.UIDOf("alice"))) == 1; gone {
			break
		}
	}
	if !gone {
		t.Error("the slow reader was never dropped")
	}
	slow.nc.Close()
}

// ping fails unless the connection is served.
func (c *testClient) ping() {
	c.t.Helper()
	if st := c.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, nil); st != nil {
		c.t.Fatalf("ping: %+v", st)
	}
}

// Limits by address are kept, and places come back.
func TestConnectionLimitsByAddress(t *testing.T) {
	for _, l := range []Limits{{ConnsPerAddress: 2}, {ConnsUnauthenticatedPerAddress: 2}} {
		t.Run(fmt.Sprintf("%+v", l), func(t *testing.T) {
			d := openDoor(t, l)
			a, b := d.dial(t), d.dial(t)
			a.ping()
			b.ping()
			if err := d.dial(t).closed(); err != nil {
				t.Fatalf("a third connection: %v", err)
			}
			if l.ConnsPerAddress == 0 {
				// Authenticated connections do not count among the silent.
				if st := a.call(2, "chat.1.remote.syncAll", syncAllArg("alice", 0), nil); st != nil {
					t.Fatalf("%+v", st)
				}
			} else {
				a.nc.Close()
			}
			for { // the server sees the end of a connection when it reads it
				c := d.dial(t)
				c.frame(0, 0, "gregor.1.incoming.ping", []any{map[string]any{}})
				if _, _, _, err := c.next(); err == nil {
					break
				}
			}
		})
	}
}

// When the places are taken, the connection that has been silent longest makes room
// for a new one, and one that has authenticated never does.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	for _, l := range []Limits{{Conns: 3}, {ConnsUnauthenticated: 2}} {
		t.Run(fmt.Sprintf("%+v", l), func(t *testing.T) {
			d := openDoor(t, l)
			speaker := d.login(t, "alice")
			silent := []*testClient{d.dial(t), d.dial(t)}
			for _, c := range silent {
				c.ping() // a ping is no login
			}
			for i := range 20 {
				c := d.dial(t)
				c.ping()
				if err := silent[i].closed(); err != nil {
					t.Fatalf("connection %d, silent longest, was not closed: %v", i, err)
				}
				silent[len(silent)-1].ping()
				silent = append(silent, c)
			}
			speaker.ping()
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.places.all != 3 || d.places.silent != 2 || d.silent.Len() != 2 {
				t.Errorf("%d connections, %d silent, %d in the list", d.places.all, d.places.silent, d.silent.Len())
			}
		})
	}
	d := openDoor(t, Limits{Conns: 1})
	speaker := d.login(t, "alice")
	if err := d.dial(t).closed(); err != nil {
		t.Fatalf("beyond those that authenticated: %v", err)
	}
	speaker.ping()
}

// The limits by address spare the exempt, and the others do not.
func TestExemptAddresses(t *testing.T) {
	p, l := newPlaces(), Limits{ConnsPerAddress: 1, ConnsUnauthenticatedPerAddress: 1, Conns: 3, ConnsUnauthenticated: 3}
	a := limits.AddressOf(netip.MustParseAddr("10.0.0.1"))
	for i := range 3 {
		if in := p.full(a, true, &l); in != "" {
			t.Errorf("the exempt: %s after %d", in, i)
		}
		p.take(a)
	}
	if got := p.full(a, true, &l) + ", " + p.full(a, false, &l); got != overConns+", "+overAddress {
		t.Error(got)
	}
}

// Calls are counted by the user once there is one, on all connections together, and
// by the address before; tokens that are not good are counted by the address. Others
// are not held up.
func TestRates(t *testing.T) {
	now := clock.NewFake(time.Unix(1_700_000_000, 0))
	rate := limits.Rate{Burst: 10, Refill: 1, Per: time.Minute}
	d := openDoor(t, Limits{}, func(o *Options) {
		o.Rates = limits.New([]limits.Limit{
			{Name: limits.CallByAddress, Scope: limits.ByAddress, Rate: limits.Rate{Burst: 30, Refill: 1, Per: time.Minute}},
			{Name: limits.CallByUser, Scope: limits.ByUser, Rate: rate},
			{Name: limits.TokenByAddress, Scope: limits.ByAddress, Rate: limits.Rate{Burst: 2, Refill: 1, Per: time.Minute}},
		}, limits.Options{Clock: now.Now})
	})
	version := func(c *testClient) int {
		if st := c.call(0, "gregor.1.incoming.version", map[string]any{}, nil); st != nil {
			return st.Code
		}
		return 0
	}
	one, two, other := d.login(t, "alice"), d.login(t, "alice/2"), d.login(t, "bob")
	for i := range 5 {
		if a, b := version(one), version(two); a != 0 || b != 0 {
			t.Fatalf("call %d: %d, %d", i, a, b)
		}
	}
	if a, b, c := version(one), version(two), version(other); a != status.RateLimit || b != status.RateLimit || c != 0 {
		t.Errorf("beyond the burst: %d, %d, another user %d", a, b, c)
	}
	now.Advance(time.Minute)
	if got := version(one); got != 0 {
		t.Errorf("a minute later: %d", got)
	}
	guess := func(want int) {
		t.Helper()
		if st := d.dial(t).call(2, "chat.1.remote.syncAll", syncAllArg("mallory", 0), nil); st == nil || st.Code != want {
			t.Errorf("%+v, want %d", st, want)
		}
	}
	guess(status.BadSession)
	guess(status.BadSession)
	guess(status.RateLimit)
	stranger := d.dial(t)
	for i := 0; ; i++ {
		if st := stranger.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, nil); st != nil {
			if st.Code != status.RateLimit {
				t.Errorf("%+v", st)
			}
			break
		}
		if i > 30 {
			t.Fatal("a stranger's pings are never refused")
		}
	}
	if err := stranger.closed(); err != nil {
		t.Errorf("a stranger who calls too much stays: %v", err)
	}
}

// A thousand connections that promise 16 MiB and send nothing cost their buffers
// only.
func TestPromisesCostNothing(t *testing.T) {
	d := openDoor(t, Limits{ConnsUnauthenticatedPerAddress: 2000, ConnsPerAddress: 2000})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const n = 300
	var conns []*testClient
	for range n {
		c := d.dial(t)
		c.write([]byte{0xcd, 0xff, 0xff, 0x94, 0x00})
		conns = append(conns, c)
	}
	if st := d.login(t, "alice").call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, nil); st != nil {
		t.Fatalf("%+v", st)
	}
	runtime.ReadMemStats(&after)
	if per := (after.Sys - before.Sys) / n; per > 64<<10 {
		t.Errorf("%d bytes per connection", per)
	}
	for _, c := range conns {
		c.nc.Close()
	}
}

// When all buffers together are full, the connection that needs more goes, and what
// it held is free again.
func TestBufferedBytes(t *testing.T) {
	d := openDoor(t, Limits{BufferedBytes: 1 << 20})
	greedy, modest := d.login(t, "alice"), d.login(t, "bob")
	head := []byte{0xce, 0x00, 0x20, 0x00, 0x00} // 2 MiB
	go func() { greedy.nc.Write(append(head, make([]byte, 2<<20)...)) }()
	if err := greedy.closed(); err != nil {
		t.Fatal(err)
	}
	if st := modest.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, nil); st != nil {
		t.Fatalf("%+v", st)
	}
}

// A panic in a handler closes its connection, is counted, and nothing else happens.
func TestPanicClosesOneConnection(t *testing.T) {
	d := openDoor(t, Limits{})
	healthy, c := d.login(t, "alice"), d.dial(t)
	c.start(2, "chat.1.remote.syncAll", syncAllArg("panic", 0))
	if err := c.closed(); err != nil {
		t.Error(err)
	}
	if st := healthy.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, nil); st != nil {
		t.Errorf("%+v", st)
	}
	if n := counterValue(d.metrics.panics); n != 1 {
		t.Errorf("%v panics counted", n)
	}
}

// A connection that guesses tokens is closed after a few.
func TestTokenGuessing(t *testing.T) {
	d := openDoor(t, Limits{})
	c := d.dial(t)
	for range authFailsMax + 2 {
		c.start(2, "chat.1.remote.syncAll", syncAllArg("mallory", 0))
	}
	if err := c.closed(); err != nil {
		t.Error(err)
	}
	if d.auth.calls > authFailsMax+callsBeforeAuthMax {
		t.Errorf("%d tokens were looked at", d.auth.calls)
	}
}

// A connection never changes identity.
func TestOneIdentityPerConnection(t *testing.T) {
	d := openDoor(t, Limits{})
	c := d.login(t, "alice")
	if st := c.call(2, "chat.1.remote.syncAll", syncAllArg("bob", 0), nil); st == nil || st.Code != status.BadSession {
		t.Errorf("%+v", st)
	}
	arg := syncAllArg("alice", 0)
	arg.UID = make([]byte, 16)
	if st := d.dial(t).call(2, "chat.1.remote.syncAll", arg, nil); st == nil || st.Code != status.BadSession {
		t.Errorf("%+v", st)
	}
	if st := c.call(2, "chat.1.remote.syncAll", syncAllArg("alice", 0), nil); st != nil {
		t.Errorf("the same again: %+v", st)
	}
	if n := len(d.gregor.Connected(kbsig.UIDOf("alice"))); n != 1 {
		t.Errorf("%d devices connected", n)
	}
}

// An accept error that passes does not end the server, and one for good does.
func TestServeEndsWithItsListener(t *testing.T) {
	g := gregor.New(gregor.Options{Log: memLog(t), Clock: time.Now, Rand: &counter{}})
	s, err := New(Options{Auth: &fakeAuth{}, Gregor: g, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := s.Serve(l, nil); err == nil || err == ErrServerClosed {
		t.Errorf("closed listener: %v", err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := s.Serve(l, nil); err != ErrServerClosed {
		t.Errorf("after shutdown: %v", err)
	}
}
