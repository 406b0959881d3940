package fetch

import (
	"context"
	"net"
	"strings"
	"time"
)

// Limits of look-ups of text records.
const (
	// txtTimeout bounds one look-up.
	txtTimeout = 5 * time.Second
	// txtRecordsMax bounds the records that are read of one name; the rest is left.
	txtRecordsMax = 64
	// txtBytesMax bounds one record; a longer one is left out.
	txtBytesMax = 4096
	// nameBytesMax bounds a name of the DNS.
	nameBytesMax = 253
)

// TXT looks up the text records of a name, which is taken as it is, without the
// machine's search list. The error is an *Error.
func (f *Fetcher) TXT(ctx context.Context, name string) ([]string, error) {
	if len(name) > nameBytesMax || name == "" || strings.Trim(name, ".") != name {
		return nil, fault(BadURL, "not a name of the DNS")
	}
	ctx, cancel := context.WithTimeout(ctx, txtTimeout)
	defer cancel()
	leave, err := f.enter(ctx, name)
	if err != nil {
		return nil, err
	}
	defer leave()
	all, err := f.o.Resolver.LookupTXT(ctx, name+".")
	if err != nil {
		return nil, nameFault(err)
	}
	out := make([]string, 0, min(len(all), txtRecordsMax))
	for _, r := range all {
		if len(out) == txtRecordsMax {
			break
		}
		if len(r) <= txtBytesMax {
			out = append(out, r)
		}
	}
	return out, nil
}

// ResolverAt is a resolver that asks one DNS server, host:port, and no other.
func ResolverAt(server string) Resolver {
	return &net.Resolver{
		PreferGo:     true,
		StrictErrors: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: txtTimeout}).DialContext(ctx, network, server)
		},
	}
}
