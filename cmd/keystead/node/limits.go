package node

import (
	"fmt"
	"net/netip"

	"github.com/keystead/keystead/engine/limits"
)

// Limits of what the doors take together.
const (
	// doorConnectionsMax bounds the connections of one door.
	doorConnectionsMax = 20000
	// descriptorsKept are left to the store and the rest of the process, of those
	// that the machine allows; the doors share the others.
	descriptorsKept = 1024
	// doorConnectionsMin is a door's share even where the machine allows less.
	doorConnectionsMin = 64
)

// connections is how many connections one door may have. A store that finds no
// descriptor left stops the server, so the doors must not take the last.
func (n *node) connections() int {
	allowed, known := descriptors()
	if !known {
		return doorConnectionsMax
	}
	share := (allowed - descriptorsKept) / 2
	if share >= doorConnectionsMax {
		return doorConnectionsMax
	}
	n.log.Warn("the machine allows few open files, so each door takes fewer connections", "files", allowed, "connections", max(share, doorConnectionsMin))
	return max(share, doorConnectionsMin)
}

// everybody is all addresses: whom the limits of a server in devel mode spare.
var everybody = []string{"0.0.0.0/0", "::/0"}

// rates makes the rate limits as configured, and the list of the proxies that are
// believed.
func (n *node) rates() (*limits.Set, []netip.Prefix, error) {
	c := n.cfg.Limits
	table, err := limits.With(limits.Table(), c.Rates)
	if err != nil {
		return nil, nil, fmt.Errorf("limits.rates: %w", err)
	}
	ranges := c.Exempt
	if n.cfg.Devel {
		ranges = everybody
	}
	exempt, err := limits.ParsePrefixes(ranges)
	if err != nil {
		return nil, nil, fmt.Errorf("limits.exempt: %w", err)
	}
	proxies, err := limits.ParsePrefixes(c.TrustedProxies)
	if err != nil {
		return nil, nil, fmt.Errorf("limits.trusted_proxies: %w", err)
	}
	return limits.New(table, limits.Options{
		Clock: n.Clock, Exempt: exempt,
		Refused: func(name limits.Name) { n.metrics.RateRefused.WithLabelValues(string(name)).Inc() },
	}), proxies, nil
}
