package node

import (
	"fmt"
	"net/netip"

	"github.com/keystead/keystead/engine/limits"
)

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
