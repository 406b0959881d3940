package node

import (
	"fmt"
	"net/netip"

	"github.com/keystead/keystead/engine/limits"
)

// Limits of what the doors take together.
const (
	// doorConnectionsMax bounds the connections of the REST door, and
	// devicesMax those of the push door, to which every device keeps one.
	doorConnectionsMax = 20000
	devicesMax         = 60000
	// descriptorsKept are left to the store and the rest of the process, of those
	// that the machine allows; the doors share the others.
	descriptorsKept = 1024
	// doorConnectionsMin is a door's share even where the machine allows less.
	doorConnectionsMin = 64
)

// connections is how many connections the doors may have: of the descriptors that the
// machine allows, the push door gets three quarters, whose connections last. A store
// that finds no descriptor left stops the server, so the doors must not take the last.
func (n *node) connections() (rest, push int) {
	allowed, known := descriptors()
	if !known {
		return doorConnectionsMax, devicesMax
	}
	share := max(allowed-descriptorsKept, 0)
	rest, push = min(share/4, doorConnectionsMax), min(share-share/4, devicesMax)
	if rest < doorConnectionsMax || push < devicesMax {
		rest, push = max(rest, doorConnectionsMin), max(push, doorConnectionsMin)
		n.log.Warn("the machine allows few open files, so the doors take fewer connections", "files", allowed, "rest", rest, "push", push)
	}
	return rest, push
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
