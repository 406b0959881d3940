package preflight

import (
	"errors"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/cmd/keystead/tlsfile"
)

// endsSoon is when a certificate's end is worth a line.
const endsSoon = 7 * 24 * time.Hour

// certificate checks a door's pair, and whether it is for the name that clients are
// told.
func (k *checker) certificate(door, cert, key, public, listen string, now time.Time) {
	if cert == "" || key == "" {
		return
	}
	pair, err := tlsfile.Load(tlsfile.Files{Cert: cert, Key: key}, now)
	if err != nil {
		field := door + ".tls_cert"
		if fault := (*tlsfile.Fault)(nil); errors.As(err, &fault) && fault.InKey {
			field = door + ".tls_key"
		}
		k.mistake(field, "%s", err)
		return
	}
	if end := pair.Leaf.NotAfter; end.Sub(now) < endsSoon {
		k.warn(door+".tls_cert", "the certificate in %s ends on %s; have it renewed", cert, end.UTC().Format(time.DateOnly))
	}
	setting, host := map[string]string{"http": "http.public_url", "rpc": "rpc.public_uri"}[door], hostOf(public, listen)
	if pair.Leaf.VerifyHostname(host) != nil {
		k.warn(door+".tls_cert", "the certificate is for %s, but clients are told %s and will refuse it; have it made for that name too, or set %s to one of its names", strings.Join(tlsfile.Names(pair.Leaf), ", "), host, setting)
	}
}

// hostOf is the host that clients are told.
func hostOf(public, listen string) string {
	if public != "" {
		if u, err := url.Parse(public); err == nil {
			return u.Hostname()
		}
	}
	host, _, err := net.SplitHostPort(config.Dialable(listen))
	if err != nil {
		return listen
	}
	return host
}
