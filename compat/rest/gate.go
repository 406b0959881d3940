package rest

import (
	"container/list"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/keystead/keystead/engine/limits"
)

// Limits of connections.
const (
	// connectionsMax bounds open connections. When they are all taken, one that waits
	// for its next request makes room for a new one, so that silent and slow ones
	// cannot keep others out.
	connectionsMax = 20000
	// roomAmong is among how many of those that have waited longest one is chosen:
	// one of the address that has most.
	roomAmong = 64
	// connectionsPerAddressMax bounds those of one address; more are closed at once.
	connectionsPerAddressMax = 512
	// repliesBytesMax bounds what waits to be written, over all connections that
	// have more than replyFreeBytes of it.
	repliesBytesMax = 512 << 20
	replyFreeBytes  = 64 << 10
	// acceptPause is the wait after an Accept for which the machine lacks something,
	// such as file descriptors.
	acceptPause = 50 * time.Millisecond
)

// Reasons for which a connection is not let in or has to go. They are labels of a
// metric.
const (
	overAddress = "per address"
	overAll     = "all taken"
	madeRoom    = "made room"
	machineFull = "machine"
)

// gate lets connections in, counts them, and knows which of them wait. A connection
// waits from its beginning until a whole request has come, and again from its reply
// on.
type gate struct {
	max, perAddress int
	exempt          func(netip.Addr) bool // from the limit per address
	turnedAway      func(reason string)
	replies         *limits.Budget

	mu      sync.Mutex
	all     int
	byAddr  map[netip.Prefix]int
	waiting list.List // of *gateConn, who has waited longest first
}

func newGate(max, perAddress int, exempt func(netip.Addr) bool, turnedAway func(string)) *gate {
	return &gate{
		max: max, perAddress: perAddress, exempt: exempt, turnedAway: turnedAway,
		replies: limits.NewBudget(repliesBytesMax), byAddr: make(map[netip.Prefix]int),
	}
}

// gateConn is one connection that was let in.
type gateConn struct {
	net.Conn
	gate    *gate
	addr    netip.Prefix
	counted bool          // in byAddr
	place   *list.Element // in waiting; nil: a request is running
	gone    bool          // its place was given back
	owed    int           // bytes of replies taken from the budget
}

// listen is ln behind the gate.
func (g *gate) listen(ln net.Listener) net.Listener { return &gateListener{ln, g} }

type gateListener struct {
	net.Listener
	gate *gate
}

// Accept returns the next connection that is let in. A machine that has run out of
// descriptors is no reason to stop serving.
func (l *gateListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err == nil {
			if c := l.gate.admit(nc); c != nil {
				return c, nil
			}
			continue
		}
		if !passing(err) {
			return nil, err
		}
		l.gate.turnedAway(machineFull)
		l.gate.makeRoom()
		time.Sleep(acceptPause)
	}
}

// passing reports whether a failed Accept may succeed later.
func passing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// admit gives a connection its place, or closes it and returns nil.
func (g *gate) admit(nc net.Conn) *gateConn {
	at := addrOf(nc.RemoteAddr())
	c := &gateConn{Conn: nc, gate: g, addr: limits.AddressOf(at), counted: !g.exempt(at)}
	g.mu.Lock()
	if c.counted && g.byAddr[c.addr] >= g.perAddress {
		g.mu.Unlock()
		g.refuse(nc, overAddress)
		return nil
	}
	var leaves *gateConn
	if g.all >= g.max {
		if leaves = g.leaver(); leaves == nil {
			g.mu.Unlock()
			g.refuse(nc, overAll)
			return nil
		}
	}
	g.all++
	if c.counted {
		g.byAddr[c.addr]++
	}
	c.place = g.waiting.PushBack(c)
	g.mu.Unlock()
	if leaves != nil {
		g.refuse(leaves.Conn, madeRoom)
	}
	return c
}

// leaver takes the place of one of those who have waited longest, of the address
// that has most connections, and returns it; the gate is locked.
func (g *gate) leaver() (leaves *gateConn) {
	most := -1
	for e, seen := g.waiting.Front(), 0; e != nil && seen < roomAmong; e, seen = e.Next(), seen+1 {
		c := e.Value.(*gateConn)
		n := 0
		if c.counted {
			n = g.byAddr[c.addr]
		}
		if n > most {
			leaves, most = c, n
		}
	}
	if leaves != nil {
		g.forget(leaves)
	}
	return leaves
}

// makeRoom closes a connection that waits.
func (g *gate) makeRoom() {
	g.mu.Lock()
	c := g.leaver()
	g.mu.Unlock()
	if c != nil {
		g.refuse(c.Conn, madeRoom)
	}
}

// refuse closes a connection without a word. It is reset, so that the machine does
// not have to remember it.
func (g *gate) refuse(nc net.Conn, reason string) {
	g.turnedAway(reason)
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = nc.Close()
}

// forget gives a connection's place back; the gate is locked.
func (g *gate) forget(c *gateConn) {
	if c.gone {
		return
	}
	c.gone = true
	g.all--
	if c.counted {
		if g.byAddr[c.addr]--; g.byAddr[c.addr] <= 0 {
			delete(g.byAddr, c.addr)
		}
	}
	g.unlist(c)
}

func (g *gate) unlist(c *gateConn) {
	if c.place != nil {
		g.waiting.Remove(c.place)
		c.place = nil
	}
}

// Close gives the place back and closes the connection.
func (c *gateConn) Close() error {
	c.gate.mu.Lock()
	c.gate.forget(c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}

// SetKeepAlive and SetKeepAlivePeriod are those of the connection within: the HTTP
// library looks for them.
func (c *gateConn) SetKeepAlive(on bool) error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		return t.SetKeepAlive(on)
	}
	return nil
}

// SetKeepAlivePeriod: see SetKeepAlive.
func (c *gateConn) SetKeepAlivePeriod(d time.Duration) error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		return t.SetKeepAlivePeriod(d)
	}
	return nil
}

// gated finds the connection of the gate below TLS; nil if there is none.
func gated(nc net.Conn) *gateConn {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn()
	}
	c, _ := nc.(*gateConn)
	return c
}

// busy says that a whole request has come: the connection does not wait any more.
func (c *gateConn) busy() {
	if c == nil {
		return
	}
	c.gate.mu.Lock()
	c.gate.unlist(c)
	c.gate.mu.Unlock()
}

// owe takes the size of a reply from the budget until the reply is written.
func (c *gateConn) owe(n int) bool {
	if c == nil || n <= replyFreeBytes {
		return true
	}
	if !c.gate.replies.Take(n) {
		return false
	}
	c.owed += n
	return true
}

// stateOf follows what the HTTP library does with a connection. One connection's
// states change one after the other.
func (g *gate) stateOf(nc net.Conn, state fasthttp.ConnState) {
	if state != fasthttp.StateIdle && state != fasthttp.StateClosed {
		return
	}
	c := gated(nc)
	if c == nil {
		return
	}
	if c.owed > 0 {
		g.replies.Give(c.owed)
		c.owed = 0
	}
	if state == fasthttp.StateIdle {
		g.mu.Lock()
		g.unlist(c)
		if !c.gone {
			c.place = g.waiting.PushBack(c)
		}
		g.mu.Unlock()
	}
}

// open is how many connections there are.
func (g *gate) open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all
}
