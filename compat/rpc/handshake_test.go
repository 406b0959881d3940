package rpc

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// openTLSDoor is a door by TLS.
func openTLSDoor(t *testing.T, l Limits) (d *door, addr string, client *tls.Config) {
	t.Helper()
	d = openDoor(t, l)
	server, client := tlsConfigs(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- d.Serve(ln, server) }()
	t.Cleanup(func() {
		ln.Close()
		if err := <-served; err == nil {
			t.Error("the door ended without a reason")
		}
	})
	return d, ln.Addr().String(), client
}

// dialSilent is a connection on which nothing was said.
func dialSilent(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// firstFlight is what a client says first.
func firstFlight(t *testing.T, c *tls.Config) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		named := c.Clone()
		named.ServerName = "127.0.0.1"
		_ = tls.Client(ours, named).Handshake() // nobody answers
	}()
	b := make([]byte, 16<<10)
	n, err := theirs.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	ours.Close()
	theirs.Close()
	<-done
	return b[:n]
}

// Handshakes that stop, wherever they do, keep no client from going on.
func TestHalfOpenHandshakesHoldUpNobody(t *testing.T) {
	_, addr, client := openTLSDoor(t, Limits{})
	flight := firstFlight(t, client)
	for _, n := range []int{1, 3, len(flight) / 2, len(flight)} {
		for range 5 {
			if _, err := dialSilent(t, addr).Write(flight[:n]); err != nil {
				t.Fatal(err)
			}
		}
	}
	dialSilent(t, addr)
	c := dialTLS(t, addr, client)
	if st := c.call(2, "chat.1.remote.syncAll", syncAllArg("alice", 0), nil); st != nil {
		t.Errorf("%+v", st)
	}
}

// Who goes on with a handshake makes room after those who do nothing, however long both
// have been there.
func TestHandshakeOutlivesTheSilent(t *testing.T) {
	d, addr, client := openTLSDoor(t, Limits{ConnsUnauthenticated: 2})
	speaks := dialSilent(t, addr)
	silent := dialSilent(t, addr)
	for held(d) < 2 {
		time.Sleep(time.Millisecond) // until both have a place
	}
	named := client.Clone()
	named.ServerName = "127.0.0.1"
	secured := tls.Client(speaks, named)
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	// The server has read the end of the handshake when it answers.
	c := clientOf(t, secured)
	if st := c.call(0, "gregor.1.incoming.ping", map[string]any{}, nil); st != nil {
		t.Fatalf("%+v", st)
	}
	dialSilent(t, addr)
	_ = silent.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the silent one was not closed: %v", err)
	}
	if st := c.call(0, "gregor.1.incoming.ping", map[string]any{}, nil); st != nil {
		t.Errorf("%+v", st)
	}
}

// held counts the places that are taken.
func held(d *door) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.places.all
}

// No tickets are handed out: a client that would resume has nothing to resume with.
func TestNoTickets(t *testing.T) {
	_, addr, client := openTLSDoor(t, Limits{})
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for range 2 {
		c := dialTLS(t, addr, client)
		if st := c.call(2, "chat.1.remote.syncAll", syncAllArg("alice", 0), nil); st != nil {
			t.Fatalf("%+v", st)
		}
		if c.nc.(*tls.Conn).ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
	}
}
