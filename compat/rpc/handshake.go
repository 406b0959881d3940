package rpc

import (
	"crypto/tls"
	"net"
)

// hello is the socket below TLS; it says once that the other side has spoken.
type hello struct {
	net.Conn
	heard func()
}

func (h *hello) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if n > 0 && h.heard != nil {
		h.heard()
		h.heard = nil
	}
	return n, err
}

// secure does the handshake of a connection by TLS. Whoever goes on with one makes room
// after those that say nothing.
func (c *conn) secure() error {
	if err := c.readBy(c.authBy); err != nil {
		return err
	}
	if err := c.writeBy(); err != nil {
		return err
	}
	c.hello.heard = func() { c.srv.progressed(c) }
	if err := c.nc.(*tls.Conn).Handshake(); err != nil {
		return err
	}
	c.srv.progressed(c)
	c.hello.heard = nil
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
