//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
)

// handshakesPerAddress is how many half handshakes one address holds on a door.
const handshakesPerAddress = silentPerAddress

// hello is the first flight of a TLS client, whole.
func hello(ctx context.Context) ([]byte, error) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() {
		_ = tls.Client(ours, &tls.Config{ServerName: "127.0.0.1"}).HandshakeContext(ctx) // nobody answers
		_ = ours.Close()
	}()
	b := make([]byte, 16<<10) // a record's most
	n, err := theirs.Read(b)
	if err != nil {
		return nil, fmt.Errorf("the first flight: %w", err)
	}
	return b[:n], nil
}

// halfOpen holds handshakes that stop: before the first byte, within a record's head,
// within the first flight, and after it, when the server has signed and waits.
func halfOpen(ctx context.Context, a *arena) (outcome, error) {
	flight, err := hello(ctx)
	if err != nil {
		return outcome{}, err
	}
	if len(flight) < 100 {
		return outcome{}, errors.New("a first flight of less than 100 bytes")
	}
	stops := [][]byte{nil, flight[:3], flight[:len(flight)/2], flight}
	n, last := connectionsAllowed(a.Size.Slow), a.Size.Last
	if a.Size.Full {
		last = authWithin + cutSlack
	}
	var next atomic.Int64
	half := func(ctx context.Context, nc net.Conn) error {
		if _, err := nc.Write(stops[int(next.Add(1))%len(stops)]); err != nil {
			return err
		}
		return quiet(ctx, nc)
	}
	o := a.during(ctx, last, func(ctx context.Context, c *crowd) {
		c.hold(ctx, n/2, handshakesPerAddress, 0, a.REST, half)
		c.hold(ctx, n/2, handshakesPerAddress, 1000, a.RPC, half)
	})
	if a.Size.Full {
		o.PerConnectionMax, o.CutMax = perConnectionMax, authWithin+cutSlack
	}
	return o, nil
}
