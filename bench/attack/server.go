//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/keystead/keystead/bench/proc"
)

// configuration makes nobody exempt: attackers and victim are all held to the limits.
const configuration = `[limits]
exempt = []
[log]
level = "warn"
`

// server is one running server and how its doors are reached.
type server struct {
	*proc.Process
	tls *tls.Config // nil: the doors speak plainly
}

// start runs a new server on a new folder and waits until its doors are open.
func start(ctx context.Context, bin, parent string, withTLS bool) (*server, error) {
	dir, err := os.MkdirTemp(parent, "server")
	if err != nil {
		return nil, err
	}
	s, config := &server{}, configuration
	if withTLS {
		var cert, key string
		if cert, key, s.tls, err = proc.Certify(dir); err != nil {
			return nil, fmt.Errorf("make a certificate: %w", err)
		}
		for _, door := range []string{"http", "rpc"} {
			config += fmt.Sprintf("[%s]\ntls_cert = %q\ntls_key = %q\n", door, cert, key)
		}
	}
	file := filepath.Join(dir, "keystead.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	s.Process, err = proc.Site{Bin: bin, Dir: filepath.Join(dir, "data"), Flags: []string{"--config", file}, NoOps: true}.Start(ctx)
	return s, err
}

// dial connects to a door as a good client does.
func (s *server) dial(ctx context.Context, to string) (net.Conn, error) {
	if s.tls == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", to)
	}
	return (&tls.Dialer{Config: s.tls}).DialContext(ctx, "tcp", to)
}

// stop asks the server to stop and waits; one that ended before was killed by the
// attack, which is a fault.
func (s *server) stop() error {
	if !s.Running() {
		return fmt.Errorf("the attack ended the server: %s", proc.LastLines(s.Stderr.String(), 40))
	}
	return s.Stop()
}

// attacker is the n-th address that attacks. Hosts of one network follow each other.
func attacker(n int) net.IP { return net.IPv4(127, byte(66+n/62500), byte(n/250%250), byte(1+n%250)) }

// network is an address in the n-th network that attacks.
func network(n int) net.IP { return net.IPv4(127, byte(80+n/250), byte(n%250), 9) }

// dialFrom connects to an address of the server from an address.
func dialFrom(ctx context.Context, from net.IP, to string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 10 * time.Second}
	return d.DialContext(ctx, "tcp", to)
}
