// Package rpc is the door of framed msgpack RPC: what stock clients call the push
// server ("gregor") and the chat server, on one socket.
//
// Contract:
//   - Every method stands in the table of routes.go with its authentication level,
//     argument class and handler; a method that is not there, or is not available
//     yet, is answered with an error status and counted, and the connection lives.
//   - A connection is one device's session once chat.1.remote.syncAll or
//     gregor.1.auth.authenticateSessionToken succeeded; it never changes identity.
//   - A notify runs like a call and is not answered.
//   - Calls of a connection run side by side; pings are answered at once by the
//     reader, however slow the others are.
//   - Broadcasts reach a connection in the order in which gregor made them, and never
//     before the answer to the syncAll that they follow.
//   - Memory is bounded by what arrives, not by what is declared, per connection and
//     over all of them (Limits). A reader that is too slow is dropped: clients sync
//     again after a reconnect.
//   - A panic closes the connection it happened on and nothing else.
//
// The package keeps no state of its own beyond connections. It imports the owners it
// serves (chatlog/gregor) and the vocabulary (compat/wire, compat/status,
// compat/kbsig).
//
// client: github.com/keybase/go-framed-msgpack-rpc/rpc, go/service/gregor.go
package rpc

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/limits"
)

// Authenticator turns the token of a session (a NIST, as base64) into an identity.
// REST and this door must share one, with one cache of accepted tokens: clients
// send the short form of a token once either has accepted the long one.
//
// A token that is not good is an error with a *status.Error of code BadSession in
// its chain: clients then make a new token. Any other error means "not now".
type Authenticator interface {
	AuthenticateNIST(ctx context.Context, token string) (uid kbsig.UID, username kbsig.Username, deviceID kbsig.DeviceID, sid string, err error)
}

// Options is what a Server is given from outside. Auth, Gregor and Clock are needed.
type Options struct {
	Auth   Authenticator
	Gregor *gregor.Service
	// Clock stamps answers and sets deadlines on sockets, so it must be near the
	// machine's.
	Clock   func() time.Time
	Logger  *slog.Logger          // default: discards
	Metrics prometheus.Registerer // default: metrics are kept but not registered
	Limits  Limits                // zero fields: DefaultLimits
	Version string                // answered by gregor.1.incoming.version
	// Rates are the rate limits; nil refuses nobody.
	Rates *limits.Set
	// Exempt reports addresses to which no limit by address applies; nil: none.
	Exempt func(netip.Addr) bool
}

// Server serves connections. It is safe for concurrent use.
type Server struct {
	opts    Options
	limits  Limits
	metrics *metrics
	budget  budget
	routes  map[string]route

	lastSpelled atomic.Pointer[spelling]

	stopping chan struct{}
	serving  sync.WaitGroup // Serve loops
	open     sync.WaitGroup // connections

	mu        sync.Mutex
	stopped   bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	places    places
	silent    list.List // of *conn that have not authenticated, the one without progress for longest first
}

// New makes a Server.
func New(o Options) (*Server, error) {
	if o.Auth == nil || o.Gregor == nil || o.Clock == nil {
		return nil, errors.New("rpc: Auth, Gregor and Clock are needed")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Exempt == nil {
		o.Exempt = func(netip.Addr) bool { return false }
	}
	if o.Version == "" {
		o.Version = "keystead"
	}
	s := &Server{
		opts:      o,
		limits:    o.Limits.orDefaults(),
		routes:    routes(),
		stopping:  make(chan struct{}),
		listeners: make(map[net.Listener]struct{}),
		conns:     make(map[*conn]struct{}),
		places:    newPlaces(),
	}
	s.budget.max = s.limits.BufferedBytes
	var err error
	s.metrics, err = newMetrics(o.Metrics, func() float64 { return float64(s.budget.used.Load()) })
	if err != nil {
		return nil, fmt.Errorf("rpc metrics: %w", err)
	}
	return s, nil
}

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("rpc: server closed")

// acceptPause is the wait after a failed Accept that may pass, such as too many
// open files.
const acceptPause = 50 * time.Millisecond

// Serve accepts connections until Shutdown, or until the listener fails for good.
// Connections speak TLS if there is a configuration for it. It may be called for
// several listeners and closes l in the end.
func (s *Server) Serve(l net.Listener, tlsConfig *tls.Config) error {
	tlsConfig = withoutTickets(tlsConfig)
	if !s.addListener(l) {
		l.Close()
		return ErrServerClosed
	}
	defer s.serving.Done()
	defer s.removeListener(l)
	for {
		nc, err := l.Accept()
		if err == nil {
			s.admit(nc, tlsConfig)
			continue
		}
		select {
		case <-s.stopping:
			return ErrServerClosed
		default:
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("rpc accept: %w", err)
		}
		s.opts.Logger.Warn("rpc: accept failed", "err", err)
		s.metrics.refused.WithLabelValues(overMachine).Inc()
		s.makeRoom()
		select {
		case <-s.stopping:
			return ErrServerClosed
		case <-time.After(acceptPause):
		}
	}
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.listeners[l] = struct{}{}
	s.serving.Add(1)
	return true
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	delete(s.listeners, l)
	s.mu.Unlock()
	l.Close()
}

// admit gives a connection its place and starts it, or closes it at once. When the
// places are all taken, the one that has been silent longest makes room, so that
// silent ones cannot keep others out.
func (s *Server) admit(nc net.Conn, tlsConfig *tls.Config) {
	ip := addrOf(nc.RemoteAddr())
	addr, exempt := limits.AddressOf(ip), s.opts.Exempt(ip)
	var oldest *conn
	s.mu.Lock()
	limit := overWhileStopping
	if !s.stopped {
		limit = s.places.full(addr, exempt, &s.limits)
		if limit == overConns || limit == overSilent {
			if oldest = s.oldestSilent(); oldest != nil {
				limit = ""
			}
		}
	}
	if limit != "" {
		s.mu.Unlock()
		s.metrics.refused.WithLabelValues(limit).Inc()
		nc.Close()
		return
	}
	s.places.take(addr)
	c := newConn(s, nc, tlsConfig, addr, limits.Who{Addr: ip})
	c.mute = s.silent.PushBack(c)
	s.conns[c] = struct{}{}
	s.open.Add(1)
	s.mu.Unlock()
	if oldest != nil {
		oldest.close(closedForNewcomers)
	}
	s.metrics.conns.Inc()
	go c.run()
}

// oldestSilent takes the place of the connection that has been silent longest; the
// server is locked, and the caller closes it.
func (s *Server) oldestSilent() *conn {
	e := s.silent.Front()
	if e == nil {
		return nil
	}
	c := e.Value.(*conn)
	s.giveBack(c)
	return c
}

// makeRoom closes the connection that has been silent longest.
func (s *Server) makeRoom() {
	s.mu.Lock()
	c := s.oldestSilent()
	s.mu.Unlock()
	if c != nil {
		c.close(closedForNewcomers)
	}
}

// progressed makes a connection that has gone on with its handshake the last of the
// silent ones to make room: what was done for it is not to be lost.
func (s *Server) progressed(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.mute != nil {
		s.silent.MoveToBack(c.mute)
	}
}

// giveBack gives a connection's place back, once; the server is locked.
func (s *Server) giveBack(c *conn) {
	if c.gone {
		return
	}
	c.gone = true
	s.places.give(c.place, c.mute == nil)
	s.speaks(c)
}

// speaks takes a connection from the silent ones; the server is locked.
func (s *Server) speaks(c *conn) {
	if c.mute != nil {
		s.silent.Remove(c.mute)
		c.mute = nil
	}
}

// authenticated moves a connection's place from the unauthenticated ones, and the
// deadline of the read that is under way from that for authentication.
func (s *Server) authenticated(c *conn) {
	s.mu.Lock()
	if !c.gone {
		s.places.authenticated(c.place)
		s.speaks(c)
	}
	s.mu.Unlock()
	_ = c.readBy(c.quietUntil())
}

// forget gives a connection's place back.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.giveBack(c)
	s.mu.Unlock()
	s.metrics.conns.Dec()
	s.open.Done()
}

// Disconnect ends the connections of a user's device, or of all the user's devices
// if device is zero: after a revocation, a reset or a log-out everywhere. Their calls
// are refused from now on, and they are closed as soon as they have been told why, or
// after Limits.Farewell at most.
func (s *Server) Disconnect(u kbsig.UID, device kbsig.DeviceID) {
	s.mu.Lock()
	var found []*conn
	for c := range s.conns {
		if id := c.session(); id != nil && id.UID == u && (device.IsZero() || id.Device == device) {
			found = append(found, c)
		}
	}
	s.mu.Unlock()
	for _, c := range found {
		c.expel()
	}
}

// Shutdown stops accepting, lets running calls finish and their answers leave, and
// closes all connections; when ctx ends first it closes them at once. It returns
// when nothing of the server runs any more.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	first := !s.stopped
	s.stopped = true
	if first {
		close(s.stopping)
	}
	for l := range s.listeners {
		l.Close()
	}
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.drain()
	}
	done := make(chan struct{})
	go func() {
		s.serving.Wait()
		s.open.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, c := range conns {
		c.close("shutdown")
	}
	<-done
	return ctx.Err()
}
