package fetch

import "net/netip"

// reserved are the ranges that are not the public Internet: this machine, its
// neighbours, documentation, multicast, and what is set aside.
// IANA: IPv4 and IPv6 Special-Purpose Address Registries.
var reserved = prefixes(
	"0.0.0.0/8",       // this network
	"10.0.0.0/8",      // private
	"100.64.0.0/10",   // behind a carrier's NAT
	"127.0.0.0/8",     // this machine
	"169.254.0.0/16",  // link-local, and the metadata service of most clouds
	"172.16.0.0/12",   // private
	"192.0.0.0/24",    // protocol assignments
	"192.0.2.0/24",    // documentation
	"192.31.196.0/24", // AS112
	"192.52.193.0/24", // AMT
	"192.88.99.0/24",  // 6to4 relays
	"192.168.0.0/16",  // private
	"192.175.48.0/24", // AS112
	"198.18.0.0/15",   // benchmarks
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"224.0.0.0/4",     // multicast
	"240.0.0.0/4",     // set aside, and broadcast

	"::/96",          // unspecified, loopback, and IPv4-compatible
	"64:ff9b:1::/48", // local NAT64
	"100::/64",       // discard
	"2001::/23",      // protocol assignments, Teredo and ORCHID among them
	"2001:db8::/32",  // documentation
	"3fff::/20",      // documentation
	"5f00::/16",      // segment routing
	"fc00::/7",       // unique local, metadata services among them
	"fe80::/10",      // link-local
	"fec0::/10",      // site-local
	"ff00::/8",       // multicast
)

// carriers are ranges of IPv6 that carry an IPv4 address, which is then what counts;
// at is its first byte.
var carriers = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // NAT64
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // IPv4-translated
}

// globalUnicast is all that is given out of IPv6.
var globalUnicast = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// Public reports whether an address is one that anybody on the Internet reaches. An
// IPv4 address inside of an IPv6 one is judged by itself.
func Public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if a.Is6() {
		b := a.As16()
		for _, c := range carriers {
			if c.prefix.Contains(a) {
				return Public(netip.AddrFrom4([4]byte(b[c.at : c.at+4])))
			}
		}
		// What an interface's half says (ISATAP) is a tunnel's matter.
		if !globalUnicast.Contains(a) {
			return false
		}
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
