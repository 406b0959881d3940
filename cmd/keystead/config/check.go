package config

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keystead/keystead/engine/limits"
)

// Check says everything that is wrong or unwise about the values; positions are
// added by Parse.
func (c Config) Check() Problems {
	var k checker
	k.address("http.listen", c.HTTP.Listen)
	k.address("rpc.listen", c.RPC.Listen)
	if c.Ops.Listen != "" {
		k.address("ops.listen", c.Ops.Listen)
	}
	k.distinct(c)
	k.publicURL(c.HTTP)
	k.publicURI(c.RPC)
	k.pair("http", c.HTTP.TLSCert, c.HTTP.TLSKey)
	k.pair("rpc", c.RPC.TLSCert, c.RPC.TLSKey)
	k.exposure(c)
	for _, p := range []struct{ field, path string }{
		{"data.dir", c.Data.Dir}, {"data.high_water", c.Data.HighWater}, {"data.archive", c.Data.Archive}, {"reports.dir", c.Reports.Dir},
		{"http.tls_cert", c.HTTP.TLSCert}, {"http.tls_key", c.HTTP.TLSKey}, {"rpc.tls_cert", c.RPC.TLSCert}, {"rpc.tls_key", c.RPC.TLSKey},
		{"mail.password_file", c.Mail.PasswordFile}, {"sms.secret_file", c.SMS.SecretFile},
	} {
		if fault := pathFault(p.path); fault != "" {
			k.mistake(p.field, "%q %s", clip(p.path), fault)
		}
	}
	k.reset(c.Reset)
	k.mail(c.Mail)
	k.sms(c.SMS)
	k.oneOf("signup.policy", c.Signup.Policy, "open", "invitation", "closed")
	if h := c.Merkle.Heartbeat; h != 0 && (h < heartbeatMin || h > heartbeatMax) {
		k.mistake("merkle.heartbeat", "%s is out of range; write %q to %q, or \"0s\" for none", spellDuration(h), spellDuration(heartbeatMin), spellDuration(heartbeatMax))
	}
	if g := c.Merkle.GapMax; g < gapMaxMin {
		k.mistake("merkle.gap_max", "%s is too little; write %q or more", spellDuration(g), spellDuration(gapMaxMin))
	}
	k.proofs(c.Proofs)
	k.limits(c.Limits)
	k.clients(c.Clients)
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", c.Log.Format, "text", "json")
	return k.problems
}

func (k *checker) clients(c Clients) {
	if len(c.Features) > featuresMax {
		k.mistake("clients.features", "there are %d; at most %d", len(c.Features), featuresMax)
	}
	for _, f := range c.Features {
		if f == "" || len(f) > featureMax || !printable(f) || strings.ContainsAny(f, " ,") {
			k.mistake("clients.features", "%q is not the name of a switch; it has no space and no comma", clip(f))
		}
	}
	if len(c.Bots) > botsMax {
		k.mistake("clients.bots", "there are %d; at most %d", len(c.Bots), botsMax)
	}
	for _, b := range c.Bots {
		if _, ok := parseBot(b); !ok {
			k.mistake("clients.bots", "%q does not read; write \"username | short name | what it does\"", clip(b))
		}
	}
}

type checker struct{ problems Problems }

func (k *checker) mistake(field, format string, args ...any) {
	k.problems = append(k.problems, Problem{Field: field, Text: fmt.Sprintf(format, args...)})
}

func (k *checker) warn(field, format string, args ...any) {
	k.problems = append(k.problems, Problem{Field: field, Warning: true, Text: fmt.Sprintf(format, args...)})
}

func (k *checker) oneOf(field, value string, allowed ...string) {
	if slices.Contains(allowed, value) {
		return
	}
	if near := nearest(strings.TrimSpace(value), allowed); near != "" {
		k.mistake(field, "%q is unknown; did you mean %q?", clip(value), near)
		return
	}
	k.mistake(field, "%q is unknown; write one of: %s", clip(value), strings.Join(allowed, ", "))
}

// pathFault says what keeps a text from being the path that was meant, or nothing.
func pathFault(path string) string {
	switch {
	case len(path) > pathBytesMax || strings.ContainsRune(path, 0):
		return "is not a path; write one"
	case strings.HasPrefix(path, "~"):
		return "begins with a ~, which only a shell understands; write the whole path"
	case strings.HasPrefix(path, "$"), strings.HasPrefix(path, "%"):
		return "begins with a variable, which only a shell understands; write the whole path"
	case strings.TrimSpace(path) != path:
		return "begins or ends with a space; take it out"
	}
	return ""
}

func (k *checker) reset(r Reset) {
	for _, d := range []struct {
		field    string
		value    time.Duration
		min, max time.Duration
	}{
		{"reset.delay", r.Delay, 0, resetDelayMax}, {"reset.delay_one_device", r.DelayOneDevice, 0, resetDelayMax},
		{"reset.verify_within", r.VerifyWithin, verifyWithinMin, verifyWithinMax},
	} {
		if d.value < d.min || d.value > d.max || d.value%time.Second != 0 {
			k.mistake(d.field, "%s is out of range; write %q to %q, in whole seconds", spellDuration(d.value), spellDuration(d.min), spellDuration(d.max))
		}
	}
}

// pair refuses a certificate without its key and a key without its certificate.
func (k *checker) pair(door, cert, key string) {
	switch {
	case cert != "" && key == "":
		k.mistake(door+".tls_cert", "is set without %s.tls_key; write the path of its key too", door)
	case cert == "" && key != "":
		k.mistake(door+".tls_key", "is set without %s.tls_cert; write the path of its certificate too", door)
	}
}

// address checks a listening address: host:port with a numeric port.
func (k *checker) address(field, value string) {
	if why := addressFault(value); why != "" {
		k.mistake(field, "%q %s; write host:port, such as \"127.0.0.1:3000\"", clip(value), why)
	}
}

// addressFault says what keeps a value from being host:port, or nothing.
func addressFault(value string) string {
	if len(value) > pathBytesMax {
		return "is too long"
	}
	if strings.Contains(value, "://") {
		return "has a scheme, which only an address for clients has"
	}
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		if strings.Count(value, ":") > 1 && !strings.Contains(value, "[") {
			return "has more than one colon (an IPv6 host stands in brackets)"
		}
		return "has no port"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "has a port that is not a number from 0 to 65535"
	}
	if strings.ContainsAny(host, " \t/@'\"\\`$") || !printable(host) {
		return "has a host with a character that no host name has"
	}
	return ""
}

// distinct refuses two doors on one port of one address; port 0 (any free port) never
// clashes, and an address of all interfaces clashes with every one.
func (k *checker) distinct(c Config) {
	doors := []struct{ field, address string }{
		{"http.listen", c.HTTP.Listen}, {"rpc.listen", c.RPC.Listen}, {"ops.listen", c.Ops.Listen},
	}
	for i, a := range doors {
		for _, b := range doors[:i] {
			if clash(a.address, b.address) {
				k.mistake(a.field, "%s is the port of %s too; give each door its own", clip(a.address), b.field)
			}
		}
	}
}

func clash(a, b string) bool {
	if a == "" || b == "" || addressFault(a) != "" || addressFault(b) != "" {
		return false
	}
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	return portA == portB && portA != "0" && (hostA == hostB || everywhere(hostA) || everywhere(hostB))
}

// everywhere says whether a host to listen on stands for all interfaces.
func everywhere(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// publicURL checks what clients will use as KEYBASE_SERVER_URI. A path there is
// taken instead of the client's own prefix, even a lone slash.
// client: go/libkb/client.go:genClientConfigForInternalAPI
func (k *checker) publicURL(h HTTP) {
	if h.PublicURL == "" {
		return
	}
	u, fault := parsePublic(h.PublicURL)
	switch {
	case fault != "":
		k.mistake("http.public_url", "%q %s; write it as \"https://keys.example.org\"", clip(h.PublicURL), fault)
	case u.Scheme != "http" && u.Scheme != "https":
		k.mistake("http.public_url", "has the scheme %q; write http:// or https://", clip(u.Scheme))
	case strings.HasSuffix(h.PublicURL, "/"):
		k.mistake("http.public_url", "ends in a slash, which clients take as a path; write %q", strings.TrimRight(clip(h.PublicURL), "/"))
	case u.Path != "":
		k.mistake("http.public_url", "has the path %q, which clients would put in place of their own; leave it out", clip(u.Path))
	case u.Scheme == "http" && h.TLSCert != "":
		k.mistake("http.public_url", "begins with http://, but the door has a certificate and speaks TLS; write https://")
	}
}

// publicURI checks what clients will use as KEYBASE_PUSH_SERVER_URI.
func (k *checker) publicURI(r RPC) {
	if r.PublicURI == "" {
		return
	}
	u, fault := parsePublic(r.PublicURI)
	switch {
	case fault != "":
		k.mistake("rpc.public_uri", "%q %s; write it as \"fmprpc+tls://keys.example.org:9911\"", clip(r.PublicURI), fault)
	case u.Scheme != "fmprpc" && u.Scheme != "fmprpc+tls":
		k.mistake("rpc.public_uri", "has the scheme %q; write fmprpc:// or fmprpc+tls://", clip(u.Scheme))
	case u.Port() == "":
		k.mistake("rpc.public_uri", "has no port, and clients know no default for it; write host:port")
	case u.Path != "":
		k.mistake("rpc.public_uri", "has the path %q; leave it out", clip(u.Path))
	case u.Scheme == "fmprpc" && r.TLSCert != "":
		k.mistake("rpc.public_uri", "begins with fmprpc://, but the door has a certificate and speaks TLS; write fmprpc+tls://")
	}
}

// parsePublic parses an address for clients and says what is wrong with its shape.
func parsePublic(s string) (*url.URL, string) {
	if len(s) > pathBytesMax || !printable(s) || strings.ContainsAny(s, " '\"\\`$;&|<>") {
		return nil, "has a character that no address has"
	}
	u, err := url.Parse(s)
	switch {
	case err != nil && strings.Count(s, ":") > 2 && !strings.Contains(s, "["):
		return nil, "has more than one colon behind the host (an IPv6 host stands in brackets)"
	case err != nil:
		return nil, "is not an address"
	case u.Hostname() == "":
		return nil, "has no host"
	case strings.Count(u.Host, ":") > 1 && !strings.Contains(u.Host, "["):
		return nil, "has more than one colon behind the host (an IPv6 host stands in brackets)"
	case everywhere(u.Hostname()):
		return nil, "has a host that stands for all interfaces, which nobody can call"
	case u.Port() != "" && !isPort(u.Port()):
		return nil, "has a port that is not a number from 1 to 65535"
	case u.User != nil:
		return nil, "has a user name"
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return nil, "has more than a host and a port"
	}
	return u, ""
}

// isPort says whether a text is a port that can be called.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// exposure warns of doors that others can reach without TLS, and of an operator's
// listener that others can reach at all.
func (k *checker) exposure(c Config) {
	if !loopback(c.HTTP.Listen) && c.HTTP.TLSCert == "" && !strings.HasPrefix(c.HTTP.PublicURL, "https://") {
		k.warn("http.listen", "%s can be reached from outside and the door speaks plain HTTP; set http.tls_cert and http.tls_key, or put a TLS proxy in front and set http.public_url to its https:// address", clip(c.HTTP.Listen))
	}
	if c.HTTP.TLSCert == "" && strings.HasPrefix(c.HTTP.PublicURL, "https://") && k.problems.Err() == nil && len(c.Limits.TrustedProxies) == 0 {
		k.warn("limits.trusted_proxies", "is empty, but http.public_url is https:// and the door speaks plain HTTP, so a proxy stands before it; write the proxy's address, or all who come through it share one address and its limits")
	}
	if !loopback(c.RPC.Listen) && c.RPC.TLSCert == "" && !strings.HasPrefix(c.RPC.PublicURI, "fmprpc+tls://") {
		k.warn("rpc.listen", "%s can be reached from outside and the door speaks plain frames; set rpc.tls_cert and rpc.tls_key, or put a TLS proxy in front and set rpc.public_uri to its fmprpc+tls:// address", clip(c.RPC.Listen))
	}
	if c.Ops.Listen != "" && !loopback(c.Ops.Listen) {
		k.warn("ops.listen", "%s can be reached from outside and asks for no password; listen on 127.0.0.1, or let only your monitoring reach it", clip(c.Ops.Listen))
	}
	if c.Devel && !(loopback(c.HTTP.Listen) && loopback(c.RPC.Listen)) {
		k.warn("devel", "opens test hooks to everybody who can reach the doors; listen on 127.0.0.1")
	}
}

// limits checks the ranges of addresses and the rates.
func (k *checker) limits(l Limits) {
	if _, err := limits.ParsePrefixes(l.Exempt); err != nil {
		k.mistake("limits.exempt", "%s", oneLine(err.Error()))
	}
	if _, err := limits.ParsePrefixes(l.TrustedProxies); err != nil {
		k.mistake("limits.trusted_proxies", "%s", oneLine(err.Error()))
	}
	if _, err := limits.With(limits.Table(), l.Rates); err != nil {
		k.mistake("limits.rates", "%s", oneLine(err.Error()))
	}
}

// proofs checks what is asked of other services. The files are read at the start.
func (k *checker) proofs(p Proofs) {
	if _, err := limits.ParsePrefixes(p.Allow); err != nil {
		k.mistake("proofs.allow", "%s", oneLine(err.Error()))
	}
	if p.Resolver != "" {
		if why := addressFault(p.Resolver); why != "" {
			k.mistake("proofs.resolver", "%q %s; write host:port, such as \"127.0.0.1:53\"", clip(p.Resolver), why)
		}
	}
	if len(p.Services) > servicesMax {
		k.mistake("proofs.services", "%d files; write at most %d", len(p.Services), servicesMax)
	}
	for _, path := range p.Services {
		if fault := pathFault(path); fault != "" || path == "" {
			k.mistake("proofs.services", "%q %s", clip(path), cmp.Or(fault, "is not a path; write one"))
		}
	}
}

// loopback says whether only this machine can reach an address. An address that
// does not parse has its own problem line and is not warned of again.
func loopback(address string) bool {
	if addressFault(address) != "" {
		return true
	}
	host, _, _ := net.SplitHostPort(address)
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func printable(s string) bool {
	for _, r := range s {
		if r <= ' ' || r == 0x7f {
			return false
		}
	}
	return true
}

// clip keeps a problem line short whatever stood in the file.
func clip(s string) string {
	const clipBytesMax = 80
	if len(s) > clipBytesMax {
		return s[:clipBytesMax] + "..."
	}
	return s
}
