package rpc

import (
	"time"

	"github.com/keystead/keystead/compat/wire/gregor1"
)

// broadcastMethod is what the server calls on clients.
const broadcastMethod = gregor1.ProtocolOutgoing + ".broadcastMessage"

// sink is a connection as gregor sees it.
type sink struct{ c *conn }

// Deliver implements gregor.Sink.
func (s sink) Deliver(m *gregor1.Message) {
	arg, err := s.c.srv.spell(m)
	if err != nil {
		s.c.srv.opts.Logger.Error("rpc: broadcast", "err", err)
		return
	}
	s.c.push(arg)
	if isFarewell(m) {
		s.c.told()
	}
}

// spelling is the argument of a broadcast of one message.
type spelling struct {
	of  *gregor1.Message
	arg []byte
}

// spell encodes a message once for the connections that it goes to one after the other.
func (s *Server) spell(m *gregor1.Message) ([]byte, error) {
	if last := s.lastSpelled.Load(); last != nil && last.of == m {
		return last.arg, nil
	}
	arg, err := encode(gregor1.BroadcastMessageArg{Message: *m})
	if err == nil {
		s.lastSpelled.Store(&spelling{m, arg})
	}
	return arg, err
}

// isFarewell reports whether a message makes a client look whether its device is
// still good. client: go/service/user_handler.go:userHandler.keyChange
func isFarewell(m *gregor1.Message) bool {
	return m.InBand != nil && m.InBand.StateUpdate != nil && m.InBand.StateUpdate.Creation != nil &&
		m.InBand.StateUpdate.Creation.Category == "user.key_change"
}

// Drop implements gregor.Sink.
func (s sink) Drop(string) { s.c.close("replaced") }

// push queues a broadcast, or holds it back.
func (c *conn) push(arg []byte) {
	c.pushMu.Lock()
	defer c.pushMu.Unlock()
	frame := callFrame(c.pushSeqid, broadcastMethod, arg)
	c.pushSeqid++
	c.srv.metrics.broadcasts.Inc()
	if !c.held {
		c.send(frame)
		return
	}
	if c.heldBytes += len(frame); c.heldBytes > c.srv.limits.QueueBytes {
		c.close("slow reader")
		return
	}
	c.heldFrame = append(c.heldFrame, frame)
}

// hold keeps broadcasts back until release.
func (c *conn) hold() {
	c.pushMu.Lock()
	defer c.pushMu.Unlock()
	c.held = true
}

// release lets go of what was held back, in order.
func (c *conn) release() {
	c.pushMu.Lock()
	defer c.pushMu.Unlock()
	c.held = false
	for _, f := range c.heldFrame {
		c.send(f)
	}
	c.heldFrame, c.heldBytes = nil, 0
}

// releaseSettled calls release when the client has had time to load the state that
// the broadcasts follow; see settleFor.
func (c *conn) releaseSettled() {
	c.settling.Store(true)
	c.pushMu.Lock()
	defer c.pushMu.Unlock()
	c.settle = time.AfterFunc(settleFor, func() {
		if c.settling.CompareAndSwap(true, false) {
			c.release()
		}
	})
}

func (c *conn) stopSettling() {
	c.pushMu.Lock()
	defer c.pushMu.Unlock()
	if c.settle != nil {
		c.settle.Stop()
	}
}
