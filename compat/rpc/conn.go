package rpc

import (
	"bufio"
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/limits"
	"github.com/keystead/keystead/engine/observe"
)

// session is who a connection is.
type session struct {
	UID      kbsig.UID
	Username kbsig.Username
	Device   kbsig.DeviceID
	SID      string
}

// conn is one connection. Three kinds of goroutines work on it: run reads, write
// writes while something waits, and each call but a ping has its own. All end before
// run returns.
//
// Locks: subMu, pushMu and out.mu are taken in this order; mu is taken alone.
// Sinks (Deliver, Drop) are called with gregor's turn of the user held, so nothing
// here calls gregor with pushMu or out.mu held.
type conn struct {
	srv   *Server
	nc    net.Conn
	hello *hello // of a connection by TLS
	place netip.Prefix
	from  limits.Who    // without a user
	mute  *list.Element // in the server's silent ones; guarded by its lock
	gone  bool          // the place was given back; the same
	in    *bufio.Reader
	out   outbox
	ctx   context.Context
	stop  context.CancelFunc

	id        atomic.Pointer[session]
	authBy    time.Time    // deadline for id
	authFails atomic.Int32 // tokens that were not good

	notifies int64 // counted down, so that none has the number of a call; the reader's own

	calls   sync.WaitGroup
	closing sync.Once
	reason  string // why it was closed; set once

	mu       sync.Mutex
	draining bool
	running  map[int64]*call
	expelled *time.Timer // closes the connection; nil while its session is good

	subMu sync.Mutex
	sub   *gregor.Subscription

	pushMu    sync.Mutex
	pushSeqid int64
	held      bool // broadcasts wait for the answer to syncAll
	heldBytes int
	heldFrame [][]byte
	settle    *time.Timer
	settling  atomic.Bool
}

func newConn(s *Server, nc net.Conn, tlsConfig *tls.Config, place netip.Prefix, from limits.Who) *conn {
	c := &conn{
		srv: s, nc: nc, place: place, from: from,
		authBy:  s.opts.Clock().Add(s.limits.AuthWithin),
		running: make(map[int64]*call),
	}
	if tlsConfig != nil {
		c.hello = &hello{Conn: nc}
		c.nc = tls.Server(c.hello, tlsConfig)
	}
	c.in = bufio.NewReaderSize(c.nc, readAhead)
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// session is nil until the connection has authenticated.
func (c *conn) session() *session { return c.id.Load() }

// run serves the connection until it ends and gives everything back.
func (c *conn) run() {
	defer c.srv.forget(c)
	err := c.secureAside()
	if err == nil {
		err = c.read()
	}
	if err != nil && !c.isDraining() {
		c.close(c.reasonOf(err))
	}
	c.calls.Wait()
	c.unsubscribe() // after the calls: one of them may subscribe
	c.out.finish()
	c.stop()
	c.mu.Lock()
	if c.expelled != nil {
		c.expelled.Stop()
	}
	c.mu.Unlock()
	if err := c.nc.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		c.srv.opts.Logger.Debug("rpc: close", "err", err)
	}
	c.closing.Do(func() { c.reason = "shutdown" })
	c.srv.metrics.closed.WithLabelValues(c.reason).Inc()
	c.out.abandon(&c.srv.budget)
}

// secureAside is secure on a stack of its own: a handshake needs a large one, which the
// connection would keep for the rest of its life.
func (c *conn) secureAside() error {
	if c.hello == nil {
		return nil
	}
	done := make(chan error, 1)
	go func() {
		err := errFrame
		defer func() { done <- err }()
		defer c.recovered("handshake")
		err = c.secure()
	}()
	return <-done
}

// read takes frames until one cannot be read.
func (c *conn) read() (err error) {
	defer func() {
		if c.recover(recover(), "reader") {
			err = errFrame
		}
	}()
	for {
		f, body, err := c.next()
		if err != nil {
			return err
		}
		c.handle(f, body)
	}
}

// next reads one frame. The caller gives cap(body) back to the budget.
func (c *conn) next() (frame, []byte, error) {
	if err := c.readBy(c.quietUntil()); err != nil {
		return frame{}, nil, err
	}
	var late error
	n, err := readLength(c.in, func() { late = c.readBy(c.frameUntil()) })
	if err = errors.Join(err, late); err != nil {
		return frame{}, nil, err
	}
	// Asked only now: the frame may have waited for the one that authenticated.
	most := c.srv.limits.FrameBeforeAuth
	if c.session() != nil {
		most = c.srv.limits.FrameAfterAuth
	}
	if n > int64(most) {
		return frame{}, nil, fmt.Errorf("frame of %d bytes, %d are allowed: %w", n, most, errFrame)
	}
	body, err := readBody(c.in, int(n), &c.srv.budget)
	if err != nil {
		return frame{}, nil, err
	}
	f, err := parseFrame(body)
	if err != nil {
		c.srv.budget.give(cap(body))
		return frame{}, nil, err
	}
	return f, body, nil
}

// quietUntil is how long the connection may say nothing. authenticated moves the
// deadline that was set before.
func (c *conn) quietUntil() time.Time {
	if c.session() == nil {
		return c.authBy
	}
	return c.srv.opts.Clock().Add(c.srv.limits.IdleAfter)
}

// frameUntil is by when a frame that has begun must have come.
func (c *conn) frameUntil() time.Time {
	by := c.srv.opts.Clock().Add(c.srv.limits.FrameWithin)
	if c.session() == nil && c.authBy.Before(by) {
		return c.authBy
	}
	return by
}

// readBy sets the read deadline unless the connection is draining, whose deadline
// in the past must stay.
func (c *conn) readBy(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return os.ErrDeadlineExceeded
	}
	return c.nc.SetReadDeadline(t)
}

// drain stops reading; what is running finishes and its answers leave.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
}

// expel refuses all calls from now on and ends the connection after Limits.Farewell, or
// earlier, when the client has been told.
func (c *conn) expel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expelled == nil {
		c.expelled = time.AfterFunc(c.srv.limits.Farewell, func() { c.close("disconnected") })
	}
}

// told leaves an expelled client the time to read what it was told, and no more.
// Closing at once could take it away: what has arrived unread makes the network drop
// what is under way.
func (c *conn) told() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expelled != nil && c.expelled.Stop() {
		c.expelled.Reset(min(toldFor, c.srv.limits.Farewell))
	}
}

func (c *conn) isExpelled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.expelled != nil
}

func (c *conn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// close ends the connection at once. It does not block, so it may be called from
// anywhere; the socket itself is closed by run.
func (c *conn) close(reason string) {
	c.closing.Do(func() {
		c.reason = reason
		c.srv.opts.Logger.Debug("rpc: closing", "reason", reason, observe.FieldRemote, c.nc.RemoteAddr().String())
	})
	c.stop()
	c.out.shut()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	_ = c.nc.SetDeadline(time.Unix(1, 0))
}

// reasonOf names why reading ended, in few words: it is a metric's label.
func (c *conn) reasonOf(err error) string {
	switch {
	case errors.Is(err, errBuffered):
		return "buffers full"
	case errors.Is(err, errFrame), errors.Is(err, errMalformed):
		return "bad frame"
	case errors.Is(err, os.ErrDeadlineExceeded) && c.session() == nil:
		return "not authenticated in time"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "idle"
	case errors.Is(err, io.EOF):
		return "closed by client"
	}
	return "network"
}

// recovered is deferred by goroutines that serve this connection.
func (c *conn) recovered(where string) { c.recover(recover(), where) }

// recover turns a panic into the end of this connection.
func (c *conn) recover(r any, where string) bool {
	if r == nil {
		return false
	}
	c.srv.metrics.panics.Inc()
	c.srv.opts.Logger.Error("rpc: panic", "where", where, "panic", r, "stack", string(debug.Stack()))
	c.close("panic")
	return true
}
