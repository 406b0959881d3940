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

// addrOf is the IP address of one end of a connection. What has none (tests use
// pipes) has the zero value.
func addrOf(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return t.AddrPort().Addr().Unmap().WithZone("")
}

// Limits that are in the way of a connection; they are labels of a metric.
const (
	overConns          = "connections"
	overAddress        = "connections per address"
	overSilent         = "unauthenticated connections"
	overSilentPlaces   = "unauthenticated connections per address"
	overMachine        = "machine"
	overWhileStopping  = "stopping"
	closedForNewcomers = "made room"
)

// full names the limit that keeps a connection out, or nothing. Of an exempt address
// any number may come.
func (p *places) full(a netip.Prefix, exempt bool, l *Limits) (limit string) {
	switch {
	case !exempt && p.byAddr[a] >= l.ConnsPerAddress:
		return overAddress
	case !exempt && p.silentByAddress[a] >= l.ConnsUnauthenticatedPerAddress:
		return overSilentPlaces
	case p.all >= l.Conns:
		return overConns
	case p.silent >= l.ConnsUnauthenticated:
		return overSilent
	}
	return ""
}

// take counts a connection that has not authenticated.
func (p *places) take(a netip.Prefix) {
	p.all++
	p.silent++
	p.byAddr[a]++
	p.silentByAddress[a]++
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
