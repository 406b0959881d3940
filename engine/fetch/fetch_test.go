package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/limits"
)

// names is a DNS with one list of answers a name, given one after another; the last
// one is repeated.
type names struct {
	mu    sync.Mutex
	addrs map[string][][]netip.Addr
	txts  map[string][]string
	asked []string
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, host)
	a := n.addrs[host]
	if len(a) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(a) > 1 {
		n.addrs[host] = a[1:]
	}
	return append([]netip.Addr(nil), a[0]...), nil
}

func (n *names) LookupTXT(_ context.Context, name string) ([]string, error) {
	if t, ok := n.txts[name]; ok {
		return t, nil
	}
	return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
}

func ips(texts ...string) (out []netip.Addr) {
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}
	return out
}

// lab is a fetcher whose public addresses all lead to one local server, and which
// remembers what was dialled.
type lab struct {
	*Fetcher
	dns    *names
	mu     sync.Mutex
	dialed []string
}

func newLab(t *testing.T, handler http.HandlerFunc, change func(*Options)) *lab {
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.ErrorLog = newSilence()
	srv.Start()
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	l := &lab{dns: &names{addrs: map[string][][]netip.Addr{"site.example": {ips("93.184.216.34")}}, txts: map[string][]string{}}}
	o := Options{Resolver: l.dns, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		l.mu.Lock()
		l.dialed = append(l.dialed, address)
		l.mu.Unlock()
		return (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
	}}
	if change != nil {
		change(&o)
	}
	l.Fetcher = New(o)
	return l
}

func (l *lab) want(t *testing.T, address string, kind Kind) {
	t.Helper()
	b, err := l.Get(context.Background(), address)
	if KindOf(err) != kind {
		t.Errorf("%s: %d bytes, %v; want %s", address, len(b), err, kind)
	}
}

// TestPublic proves which addresses are never dialled, in every notation they have.
func TestPublic(t *testing.T) {
	for _, a := range []string{
		"0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.8.9.1", "169.254.169.254", "172.16.0.1", "172.31.255.255",
		"192.0.0.8", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:10.0.0.1",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001::1", "2001:db8::1", "3fff::1",
		"100::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1", "5f00::1",
	} {
		if Public(netip.MustParseAddr(a)) {
			t.Errorf("%s is dialled", a)
		}
	}
	for _, a := range []string{
		"1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "198.20.0.1", "::ffff:1.1.1.1",
		"2606:4700::1111", "2a00:1450:4001::1", "64:ff9b::101:101", "2002:101:101::1",
	} {
		if !Public(netip.MustParseAddr(a)) {
			t.Errorf("%s is not dialled", a)
		}
	}
	if Public(netip.Addr{}) {
		t.Error("no address at all is dialled")
	}
}

// TestPage proves that a page comes as it is, and is asked for without anything that a
// stranger could use: no cookie, no compression, no credentials.
func TestPage(t *testing.T) {
	l := newLab(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %q %q %q", r.Method, r.Host, r.Header.Get("Accept-Encoding"), r.Header.Get("Cookie"), r.Header.Get("Authorization"))
	}, nil)
	b, err := l.Get(context.Background(), "http://site.example/x?y#z")
	if err != nil || string(b) != `GET site.example "" "" ""` {
		t.Errorf("got %q, %v", b, err)
	}
	if len(l.dialed) != 1 || l.dialed[0] != "93.184.216.34:80" {
		t.Errorf("dialled %v", l.dialed)
	}
}

// TestRefusedTargets proves that nothing is dialled for an address that leads inside,
// however it is written, nor for what is no address of a page.
func TestRefusedTargets(t *testing.T) {
	l := newLab(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "secret") }, nil)
	l.dns.addrs["inside.example"] = [][]netip.Addr{ips("10.0.0.7")}
	l.dns.addrs["mixed.example"] = [][]netip.Addr{ips("93.184.216.34", "::ffff:127.0.0.1")}
	l.dns.addrs["metadata.example"] = [][]netip.Addr{ips("169.254.169.254")}
	l.dns.addrs["0x7f.1"] = [][]netip.Addr{ips("127.0.0.1")}
	for _, a := range []string{
		"http://127.0.0.1/", "http://[::1]/", "http://[::ffff:7f00:1]/", "http://169.254.169.254/latest/meta-data/",
		"http://inside.example/", "http://mixed.example/", "https://metadata.example/", "http://0x7f.1/",
		"http://site.example:22/", "https://site.example:80/", "http://[fe80::1%25eth0]/",
	} {
		l.want(t, a, Refused)
	}
	for _, a := range []string{"file:///etc/passwd", "gopher://site.example/", "http://", "http://a:b@site.example/", "//site.example", "http:site.example", "http://site.example/\x7f", "http://" + strings.Repeat("a", urlBytesMax)} {
		l.want(t, a, BadURL)
	}
	l.want(t, "http://nobody.example/", NoName)
	if len(l.dialed) != 0 {
		t.Errorf("dialled %v", l.dialed)
	}
}

// TestRebinding proves that a name is resolved once: the second answer, which leads
// inside, is never asked for, and the address judged is the one dialled.
func TestRebinding(t *testing.T) {
	l := newLab(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") }, nil)
	l.dns.addrs["site.example"] = [][]netip.Addr{ips("93.184.216.34"), ips("127.0.0.1")}
	if b, err := l.Get(context.Background(), "http://site.example/"); err != nil || string(b) != "page" {
		t.Fatalf("got %q, %v", b, err)
	}
	if len(l.dns.asked) != 1 || len(l.dialed) != 1 || l.dialed[0] != "93.184.216.34:80" {
		t.Errorf("asked %v, dialled %v", l.dns.asked, l.dialed)
	}
	l.want(t, "http://site.example/", Refused)
	if len(l.dialed) != 1 {
		t.Errorf("dialled %v", l.dialed)
	}
}

// TestRedirects proves that a redirect is an answer like any other error unless allowed,
// and that an allowed one leads neither inside, nor to another port, nor on for ever.
func TestRedirects(t *testing.T) {
	to := map[string]string{
		"/in": "http://127.0.0.1/", "/name": "http://inside.example/", "/port": "http://site.example:8080/",
		"/scheme": "ftp://site.example/", "/loop": "/loop", "/on": "/end",
	}
	l := newLab(t, func(w http.ResponseWriter, r *http.Request) {
		if next := to[r.URL.Path]; next != "" {
			http.Redirect(w, r, next, http.StatusFound)
			return
		}
		io.WriteString(w, "end")
	}, nil)
	l.dns.addrs["inside.example"] = [][]netip.Addr{ips("192.168.0.1")}
	for path := range to {
		l.want(t, "http://site.example"+path, Status)
	}
	if len(l.dialed) != len(to) {
		t.Errorf("dialled %v", l.dialed)
	}
	for path, want := range map[string]Kind{"/in": Refused, "/name": Refused, "/port": Refused, "/scheme": BadURL, "/loop": Status, "/on": 0} {
		b, err := l.Page(context.Background(), Request{URL: "http://site.example" + path, Redirects: 100})
		if KindOf(err) != want || (want == 0) != (string(b) == "end") {
			t.Errorf("%s: %q, %v; want %s", path, b, err, want)
		}
	}
	for _, a := range l.dialed {
		if a != "93.184.216.34:80" {
			t.Errorf("dialled %s", a)
		}
	}
}

// TestHTTPSKeeps proves that https is verified and does not become http on the way.
func TestHTTPSKeeps(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://example.com/", http.StatusFound)
	}))
	srv.Config.ErrorLog = newSilence()
	srv.StartTLS()
	defer srv.Close()
	dns := &names{addrs: map[string][][]netip.Addr{"example.com": {ips("93.184.216.34")}, "other.example": {ips("93.184.216.34")}}}
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	f := New(Options{Resolver: dns, TLS: &tls.Config{RootCAs: pool}, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
	}})
	if _, err := f.Page(context.Background(), Request{URL: "https://example.com/", Redirects: 2}); KindOf(err) != Refused {
		t.Errorf("from https to http: %v", err)
	}
	if _, err := f.Get(context.Background(), "https://other.example/"); KindOf(err) != Unreachable {
		t.Errorf("certificate of another name: %v", err)
	}
}

// TestTooMuch proves that no reply costs more than its bound: one that declares too
// much, one that never ends, a long head, and one that would unpack to very much.
func TestTooMuch(t *testing.T) {
	var sent atomic.Int64
	l := newLab(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/declared":
			w.Header().Set("Content-Length", "1000000000")
		case "/endless":
			chunk := bytes.Repeat([]byte("x"), 4096)
			for {
				n, err := w.Write(chunk)
				if sent.Add(int64(n)); err != nil {
					return
				}
			}
		case "/head":
			for i := range 100 {
				w.Header().Set(fmt.Sprintf("X-Long-%d", i), strings.Repeat("h", 1000))
			}
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(make([]byte, 1<<20))
			z.Close()
		case "/just":
			w.Write(make([]byte, pageBytesMax))
		}
	}, nil)
	l.want(t, "http://site.example/declared", TooLarge)
	l.want(t, "http://site.example/endless", TooLarge)
	l.want(t, "http://site.example/bomb", TooLarge)
	l.want(t, "http://site.example/head", Unreachable)
	if b, err := l.Get(context.Background(), "http://site.example/just"); err != nil || len(b) != pageBytesMax {
		t.Errorf("a page of the largest size: %d bytes, %v", len(b), err)
	}
	if n := sent.Load(); n > 16<<20 {
		t.Errorf("an endless page was read for %d bytes", n)
	}
}

// TestSlow proves that time is bounded whatever does not come: the connection, the
// head, or the rest of the body.
func TestSlow(t *testing.T) {
	stop := make(chan struct{})
	l := newLab(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			io.WriteString(w, "drip")
			w.(http.Flusher).Flush()
		}
		<-stop
	}, nil)
	defer close(stop)
	for _, path := range []string{"/head", "/body"} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		if _, err := l.Page(ctx, Request{URL: "http://site.example" + path}); KindOf(err) != Timeout {
			t.Errorf("%s: %v", path, err)
		}
		cancel()
	}
	silent := New(Options{Resolver: l.dns, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := silent.Page(ctx, Request{URL: "http://site.example/"}); KindOf(err) != Timeout && KindOf(err) != Unreachable {
		t.Errorf("dial: %v", err)
	}
}

// TestPlaces proves that no more than a bounded number of fetches goes on at once, and
// that places come free again.
func TestPlaces(t *testing.T) {
	started, stop := make(chan struct{}, atOnceMax), make(chan struct{})
	l := newLab(t, func(w http.ResponseWriter, _ *http.Request) {
		started <- struct{}{}
		<-stop
		io.WriteString(w, "x")
	}, nil)
	var wg sync.WaitGroup
	for range atOnceMax {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := l.Get(context.Background(), "http://site.example/"); err != nil {
				t.Error(err)
			}
		}()
	}
	for range atOnceMax {
		<-started
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := l.Page(ctx, Request{URL: "http://site.example/"}); KindOf(err) != Timeout {
		t.Errorf("one too many: %v", err)
	}
	close(stop)
	wg.Wait()
	l.want(t, "http://site.example/", 0)
}

// TestRates proves that one host is not asked more often than its limit allows, whatever
// the case of its name, and that others are.
func TestRates(t *testing.T) {
	table, err := limits.With(limits.Table(), []string{"fetch-by-name = 1 per 1m, burst 2"})
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x") }, func(o *Options) {
		o.Rates = limits.New(table, limits.Options{Clock: clock.NewFake(time.Unix(1e9, 0)).Now})
	})
	l.dns.addrs["SITE.example"] = l.dns.addrs["site.example"]
	l.dns.addrs["other.example"] = l.dns.addrs["site.example"]
	l.want(t, "http://site.example/", 0)
	l.want(t, "http://SITE.example/", 0)
	l.want(t, "http://site.example/", Busy)
	l.want(t, "http://other.example/", 0)
}

// TestAllowed proves that an operator's range is dialled, on another port too if the
// address is the operator's, and that nothing else is.
func TestAllowed(t *testing.T) {
	l := newLab(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x") }, func(o *Options) {
		o.Allowed = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	l.want(t, "http://127.0.0.1/", 0)
	l.want(t, "http://[::ffff:127.0.0.1]/", 0)
	l.want(t, "http://10.0.0.1/", Refused)
	l.want(t, "http://127.0.0.1:8080/", Refused)
	if _, err := l.Page(context.Background(), Request{URL: "http://127.0.0.1:8080/", AnyPort: true}); err != nil {
		t.Error(err)
	}
}

// TestTXT proves that records come bounded in number and size, for the very name that
// was asked for.
func TestTXT(t *testing.T) {
	l := newLab(t, nil, nil)
	many := make([]string, 1000)
	for i := range many {
		many[i] = fmt.Sprint("record ", i)
	}
	many[0] = strings.Repeat("x", txtBytesMax+1)
	l.dns.txts["site.example."] = many
	got, err := l.TXT(context.Background(), "site.example")
	if err != nil || len(got) != txtRecordsMax || got[0] != "record 1" {
		t.Errorf("%d records, %v", len(got), err)
	}
	for name, want := range map[string]Kind{"gone.example": NameTrouble, "": BadURL, "a.": BadURL, ".a": BadURL, strings.Repeat("a.", 200) + "b": BadURL} {
		if _, err := l.TXT(context.Background(), name); KindOf(err) != want {
			t.Errorf("%.40q: %v, want %s", name, err, want)
		}
	}
}

// TestErrors proves that an error says its kind, and that other errors have none.
func TestErrors(t *testing.T) {
	if KindOf(errors.New("x")) != 0 || KindOf(nil) != 0 {
		t.Error("a stranger has a kind")
	}
	if err := fault(Refused, "the address %s", "x"); err.Error() != "fetch: refused: the address x" {
		t.Error(err)
	}
}

// FuzzCheck proves that no address crashes the check, and that what passes has the
// scheme, the port and the form that are promised.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"http://site.example/", "https://a.b:443/x", "http://[::1]:80/", "http://%31", "http://a\\b/", "HTTP://X/", "http://a@b/"} {
		f.Add(s)
	}
	fetcher := New(Options{})
	f.Fuzz(func(t *testing.T, s string) {
		u, err := fetcher.check(s, false)
		if err != nil {
			return
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Port() != "" && u.Port() != usualPort(u.Scheme) {
			t.Errorf("%q passed as %v", s, u)
		}
	})
}

// newSilence is a logger of nothing.
func newSilence() *log.Logger { return log.New(io.Discard, "", 0) }
