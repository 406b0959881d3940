package rpc

import (
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Limits of TLS handshakes.
const (
	// helloRead is the buffer for what a client says first, in bytes; it is given back
	// when the handshake ends.
	helloRead = 2 << 10
	// helloWithin is how long a client that has spoken may wait for its turn. Beyond it
	// the connection is closed, so that the client comes again: stock clients give up
	// after 10 s without saying so.
	// client: go/service/gregor.go:gregorHandler.connectTLS
	helloWithin = 8 * time.Second
)

// turns let no more handshakes begin at a time than there are processors, so that those
// that have begun end first: when all devices come back at once and each is answered a
// little, none is served before its patience ends, and all that was done is lost. Only
// the answer to the first flight needs a turn, which is most of the work, and none is
// held while a client is waited for. The newest goes first, having most patience left.
type turns struct {
	mu      sync.Mutex
	free    int
	waiting []chan struct{} // the newest last
}

func newTurns() turns { return turns{free: runtime.GOMAXPROCS(0)} }

// take waits for a turn, which must be given back; it has none if over is closed or
// helloWithin has passed before.
func (t *turns) take(over <-chan struct{}) bool {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return true
	}
	mine := make(chan struct{})
	t.waiting = append(t.waiting, mine)
	t.mu.Unlock()
	patience := time.NewTimer(helloWithin)
	defer patience.Stop()
	select {
	case <-mine:
		return true
	case <-over:
	case <-patience.C:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting, mine)
	if i < 0 { // it came just now
		t.pass()
		return false
	}
	t.waiting = slices.Delete(t.waiting, i, i+1)
	return false
}

func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass()
}

// pass hands a turn on; t is locked.
func (t *turns) pass() {
	n := len(t.waiting)
	if n == 0 {
		t.free++
		return
	}
	close(t.waiting[n-1])
	t.waiting = t.waiting[:n-1]
}

// firstWords is a socket whose first bytes were read before TLS sees it.
type firstWords struct {
	net.Conn
	words []byte
	next  func() // called once, when more is waited for
}

func (f *firstWords) Read(b []byte) (int, error) {
	if len(f.words) > 0 {
		n := copy(b, f.words)
		f.words = f.words[n:]
		return n, nil
	}
	if f.next != nil {
		f.next()
		f.next = nil
	}
	return f.Conn.Read(b)
}

// errNoTurn ends a connection that waited too long for its handshake.
var errNoTurn = errors.New("no turn for a handshake")

// secure does the handshake of a connection by TLS.
func (c *conn) secure() error {
	if err := c.readBy(c.authBy); err != nil {
		return err
	}
	b := make([]byte, helloRead)
	n, err := c.first.Conn.Read(b)
	if err != nil {
		return err
	}
	t := &c.srv.turns
	if !t.take(c.ctx.Done()) {
		return errNoTurn
	}
	give := sync.OnceFunc(t.give)
	defer give()
	c.first.words, c.first.next = b[:n], func() {
		give()
		c.srv.progressed(c)
	}
	if err := c.writeBy(); err != nil {
		return err
	}
	if err := c.nc.(*tls.Conn).Handshake(); err != nil {
		return err
	}
	c.srv.progressed(c)
	c.first.words, c.first.next = nil, nil
	return nil
}

// withoutTickets is a configuration for clients that resume no sessions: stock ones keep
// none. client: github.com/keybase/go-framed-msgpack-rpc/rpc/connection.go:ConnectionTransportTLS.Dial
func withoutTickets(c *tls.Config) *tls.Config {
	if c != nil {
		c = c.Clone()
		c.SessionTicketsDisabled = true
	}
	return c
}
