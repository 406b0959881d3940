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
	// doorConnectionsScarce is enough for the REST door where there are not enough for
	// all: one that only waits makes room there, and a device that is turned away
	// hears of nothing.
	doorConnectionsScarce = 1024
	// doorConnectionsMin is a door's share even where the machine allows less.
	doorConnectionsMin = 64
)

// connections is how many connections the doors may have.
func (n *node) connections() (rest, push int) {
	allowed, known := descriptors()
	if !known {
		return doorConnectionsMax, devicesMax
	}
	rest, push = split(allowed)
	if rest < doorConnectionsMax || push < devicesMax {
		n.log.Warn("the machine allows few open files, so the doors take fewer connections", "files", allowed, "rest", rest, "push", push)
	}
	return rest, push
}

// split shares out the descriptors that the machine allows. A store that finds none left
// stops the server, so the doors must not take the last. Of the others the push door,
// whose connections last, gets all but what the REST door needs.
func split(allowed int) (rest, push int) {
	share := max(allowed-descriptorsKept, 0)
	push = min(share-min(share/4, doorConnectionsScarce), devicesMax)
	rest = min(share-push, doorConnectionsMax)
	return max(rest, doorConnectionsMin), max(push, doorConnectionsMin)
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
