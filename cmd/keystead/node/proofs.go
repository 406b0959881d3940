package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/keystead/keystead/engine/fetch"
	"github.com/keystead/keystead/engine/limits"
	"github.com/keystead/keystead/merklehot/proofs"
	"github.com/keystead/keystead/merklehot/rooter"
)

// serviceBytesMax bounds a file about one service.
const serviceBytesMax = 64 << 10

// thisMachine is what a server in devel mode looks at besides the Internet.
var thisMachine = []string{"127.0.0.0/8", "::1/128"}

// openProofs makes the book of proofs: the services as configured, and the fetcher.
// Roots name its kits, so it comes before them.
func (n *node) openProofs() error {
	services, err := readServices(n.cfg.Proofs.Services)
	if err != nil {
		return fmt.Errorf("proofs.services: %w", err)
	}
	f, err := n.fetcher()
	if err != nil {
		return err
	}
	o := proofs.Options{Store: n.store, Fetch: f, Clock: n.Clock, Logger: n.log, Services: services, Devel: n.cfg.Devel}
	if n.cfg.Devel {
		o.Services = append(services, proofs.DevelServices()...)
		o.Local, o.Find = rooter.Local, rooter.Addresses
	}
	n.proofs, err = proofs.New(o)
	return err
}

// keepKits comes after the roots, whose tree the kits belong to, and before the doors.
func (n *node) keepKits() error { return n.proofs.KeepKits(context.Background()) }

// fetcher is the way in which this server looks at others.
func (n *node) fetcher() (*fetch.Fetcher, error) {
	ranges := n.cfg.Proofs.Allow
	if n.cfg.Devel {
		ranges = append(append([]string{}, ranges...), thisMachine...)
	}
	allowed, err := limits.ParsePrefixes(ranges)
	if err != nil {
		return nil, fmt.Errorf("proofs.allow: %w", err)
	}
	rates, _, err := n.rates()
	if err != nil {
		return nil, err
	}
	o := fetch.Options{Allowed: allowed, Rates: rates}
	if at := n.cfg.Proofs.Resolver; at != "" {
		o.Resolver = fetch.ResolverAt(at)
	}
	return fetch.New(o), nil
}

func readServices(paths []string) (out []*proofs.Config, err error) {
	for _, path := range paths {
		text, err := readBounded(path, serviceBytesMax)
		if err != nil {
			return nil, err
		}
		c, err := proofs.ParseConfig(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// readBounded reads a file that is not too long.
func readBounded(path string, most int64) (text []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err = io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return text, err
}
