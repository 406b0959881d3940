package rpc

import (
	"net"
	"net/netip"
)

// places counts connections in all and by address. It has no lock of its own.
type places struct {
	all, silent     int
	byAddr          map[netip.Prefix]int
	silentByAddress map[netip.Prefix]int
}

func newPlaces() places {
	return places{byAddr: make(map[netip.Prefix]int), silentByAddress: make(map[netip.Prefix]int)}
}

// placeOf is what counts as one address: an IPv4 address, an IPv6 /64. What is not
// an IP address (tests use pipes) shares the zero value.
func placeOf(a net.Addr) netip.Prefix {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// take makes room for a connection that has not authenticated, or names the limit
// that is in the way.
func (p *places) take(a netip.Prefix, l *Limits) (limit string) {
	switch {
	case p.all >= l.Conns:
		return "connections"
	case p.byAddr[a] >= l.ConnsPerAddress:
		return "connections per address"
	case p.silent >= l.ConnsUnauthenticated:
		return "unauthenticated connections"
	case p.silentByAddress[a] >= l.ConnsUnauthenticatedPerAddress:
		return "unauthenticated connections per address"
	}
	p.all++
	p.silent++
	p.byAddr[a]++
	p.silentByAddress[a]++
	return ""
}

func (p *places) authenticated(a netip.Prefix) {
	p.silent--
	lower(p.silentByAddress, a)
}

func (p *places) give(a netip.Prefix, authenticated bool) {
	if !authenticated {
		p.authenticated(a)
	}
	p.all--
	lower(p.byAddr, a)
}

func lower(m map[netip.Prefix]int, a netip.Prefix) {
	if m[a]--; m[a] <= 0 {
		delete(m, a)
	}
}
