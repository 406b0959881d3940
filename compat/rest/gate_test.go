package rest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/engine/limits"
)

func tcpAddr(ip string) *net.TCPAddr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 4000))
}

// peer is a connection that is never used, from an address.
type peer struct {
	net.Conn
	from   *net.TCPAddr
	closed bool
}

func (p *peer) RemoteAddr() net.Addr { return p.from }
func (p *peer) Close() error         { p.closed = true; return nil }

// TestGateAgainstAModel proves, over any history of connections that come, ask, wait
// and go, that there are never more than allowed, in all or of one address, that a
// full gate closes the one that has waited longest of those whose address has most,
// and never one that is being served, and that every place is given back once.
func TestGateAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most, perAddress = 6, 3
		g := newGate(most, perAddress, func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.9") }, func(string) {})
		var open, waiting []*gateConn // the model: waiting is in the order of waiting
		without := func(from []*gateConn, c *gateConn) (out []*gateConn) {
			for _, x := range from {
				if x != c {
					out = append(out, x)
				}
			}
			return out
		}
		from := map[string]int{}
		has := func(c *gateConn) int {
			if !c.counted {
				return 0
			}
			return from[c.Conn.(*peer).from.IP.String()]
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch step := rapid.IntRange(0, 4).Draw(t, "step"); {
			case step <= 1 || len(open) == 0:
				ip := fmt.Sprintf("10.0.0.%d", rapid.SampledFrom([]int{1, 2, 3, 9}).Draw(t, "address"))
				p := &peer{from: tcpAddr(ip)}
				c := g.admit(p)
				switch {
				case ip != "10.0.0.9" && from[ip] >= perAddress:
					if c != nil || !p.closed {
						t.Fatalf("%s has %d connections and got another", ip, from[ip])
					}
					continue
				case len(open) == most && len(waiting) == 0:
					if c != nil || !p.closed {
						t.Fatal("let in while all are being served")
					}
					continue
				case len(open) == most:
					leaves := waiting[0]
					for _, x := range waiting {
						if has(x) > has(leaves) {
							leaves = x
						}
					}
					if !leaves.Conn.(*peer).closed {
						t.Fatal("the wrong one made room")
					}
					from[leaves.Conn.(*peer).from.IP.String()]--
					open, waiting = without(open, leaves), without(waiting, leaves)
				}
				if c == nil || p.closed {
					t.Fatal("not let in")
				}
				from[ip]++
				open, waiting = append(open, c), append(waiting, c)
			default:
				c := rapid.SampledFrom(open).Draw(t, "connection")
				switch step {
				case 2:
					c.busy()
					waiting = without(waiting, c)
				case 3:
					g.stateOf(c, fasthttp.StateIdle)
					waiting = append(without(waiting, c), c)
				case 4:
					_ = c.Close()
					_ = c.Close()
					g.stateOf(c, fasthttp.StateClosed)
					from[c.Conn.(*peer).from.IP.String()]--
					open, waiting = without(open, c), without(waiting, c)
				}
			}
			if g.open() != len(open) || g.waiting.Len() != len(waiting) {
				t.Fatalf("%d open and %d waiting, want %d and %d", g.open(), g.waiting.Len(), len(open), len(waiting))
			}
			for _, c := range open {
				if c.Conn.(*peer).closed {
					t.Fatal("an open connection was closed")
				}
			}
		}
		for _, c := range open {
			_ = c.Close()
		}
		if g.open() != 0 || len(g.byAddr) != 0 || g.waiting.Len() != 0 {
			t.Fatalf("in the end %d open, %v", g.open(), g.byAddr)
		}
	})
}

// TestRepliesAreBounded proves that replies that nobody reads are refused when they
// would need too much memory, and that writing them, or an end, frees it.
func TestRepliesAreBounded(t *testing.T) {
	g := newGate(10, 10, func(netip.Addr) bool { return true }, func(string) {})
	a, b := g.admit(&peer{from: tcpAddr("10.0.0.1")}), g.admit(&peer{from: tcpAddr("10.0.0.1")})
	if !a.owe(repliesBytesMax) || b.owe(replyFreeBytes+1) || !b.owe(replyFreeBytes) {
		t.Fatal("the budget is not held")
	}
	g.stateOf(a, fasthttp.StateIdle)
	if !b.owe(repliesBytesMax) || g.replies.Used() != repliesBytesMax {
		t.Fatal("a written reply is not given back")
	}
	g.stateOf(b, fasthttp.StateClosed)
	if g.replies.Used() != 0 {
		t.Fatal("the end does not give back")
	}
}

// flaky is a listener whose machine has no descriptors left for a while.
type flaky struct {
	net.Listener
	fails int
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.fails--; f.fails >= 0 {
		return nil, &net.OpError{Op: "accept", Err: &osError{syscall.EMFILE}}
	}
	return nil, net.ErrClosed
}

type osError struct{ error }

func (e *osError) Unwrap() error { return e.error }

// TestNoDescriptorsIsNoEnd proves that the door goes on accepting after the machine
// ran out of descriptors, and makes room meanwhile.
func TestNoDescriptorsIsNoEnd(t *testing.T) {
	var reasons []string
	g := newGate(10, 10, func(netip.Addr) bool { return true }, func(r string) { reasons = append(reasons, r) })
	p := &peer{from: tcpAddr("10.0.0.1")}
	g.admit(p)
	if _, err := g.listen(&flaky{fails: 1}).Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("accept: %v", err)
	}
	if !p.closed || strings.Join(reasons, ", ") != machineFull+", "+madeRoom {
		t.Errorf("%v", reasons)
	}
}

// dial opens a raw connection to the door.
func (d *door) dial(t testing.TB) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(d.uri, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	return nc
}

// TestExemptConnections proves that the limit per address spares the exempt and
// proxies, and nobody else.
func TestExemptConnections(t *testing.T) {
	s := &Server{Options: Options{
		Rates:   limits.New(limits.Table(), limits.Options{Clock: time.Now, Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}),
		Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")},
	}}
	for a, want := range map[string]bool{"127.0.0.1": true, "10.0.0.1": true, "10.0.0.2": false, "::1": false} {
		if got := s.exempt(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: exempt %t", a, got)
		}
	}
}

// TestKexRelayIsBounded proves that a flood of exchanges holds no more memory than
// named, ends the ones that are untouched longest, and spares one that is in use.
func TestKexRelayIsBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	k := newKexRelay(func() time.Time { return now })
	id := func(n int) (out kexID) { copy(out[:], fmt.Sprint(n)); return out }
	used := id(-1)
	big := strings.Repeat("a", 4*kexMessageBytesMax/3)
	for i := range 3000 {
		now = now.Add(time.Millisecond)
		if err := k.send(id(i), kexMessage{sender: kexSender{1}, seqno: 1, body: big}); err != nil {
			t.Fatal(err)
		}
		if err := k.send(used, kexMessage{sender: kexSender{2}, seqno: 1, body: "hello"}); err != nil {
			t.Fatal(err)
		}
		if k.bytes > kexBytesMax || len(k.sessions) > kexSessionsMax {
			t.Fatalf("%d bytes in %d exchanges", k.bytes, len(k.sessions))
		}
	}
	for i := range 2 * kexSessionsMax {
		k.receive(id(1_000_000+i), kexSender{1}, 1, 0)
		if i%1000 == 0 {
			if got := k.receive(used, kexSender{1}, 1, 0); len(got) != 1 {
				t.Fatal("the exchange in use was ended")
			}
		}
	}
	if len(k.sessions) != kexSessionsMax || k.order.Len() != kexSessionsMax || k.bytes != len("hello") {
		t.Errorf("%d exchanges, %d in order, %d bytes", len(k.sessions), k.order.Len(), k.bytes)
	}
	now = now.Add(2 * kexSessionLifetime)
	k.receive(used, kexSender{1}, 1, 0)
	if len(k.sessions) != 1 || k.bytes != 0 {
		t.Errorf("after a long time %d exchanges, %d bytes", len(k.sessions), k.bytes)
	}
}
