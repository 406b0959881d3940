// Package fetch is the only way in which the server reads what others publish: pages
// over HTTP and text records of the DNS, at addresses that strangers chose.
//
// It promises, of whatever the other side does:
//
//   - a name is resolved once and the address that was judged is the one that is
//     dialled, so that a second answer of the DNS changes nothing;
//   - no address of this machine, of its neighbours or of reserved ranges is ever
//     dialled, in no notation of it (see Public), unless the operator allows its range;
//   - a redirect is an error unless the request allows some; each hop is judged anew,
//     and none leads from https to http;
//   - time, bytes and how much goes on at once are bounded, and how often one host is
//     asked, counted by name;
//   - no proxy of the environment is used, nothing is sent but the request, no
//     connection is kept, and a body that comes compressed is refused, so that what is
//     counted is what is read.
//
// It writes no keys and imports engine/limits for the counts. Errors are *Error, whose
// Kind says whose fault it was.
package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keystead/keystead/engine/limits"
)

// Limits of the fetcher.
const (
	// pageTimeout bounds one page from the look-up of its name to its last byte.
	pageTimeout = 10 * time.Second
	// dialTimeout bounds one try to connect, TLS not counted.
	dialTimeout = 5 * time.Second
	// pageBytesMax bounds a page; what is longer is refused, not cut.
	pageBytesMax = 256 << 10
	// headBytesMax bounds the head of a reply.
	headBytesMax = 32 << 10
	// urlBytesMax bounds an address as text.
	urlBytesMax = 2048
	// atOnceMax bounds pages and look-ups that go on together.
	atOnceMax = 32
	// queueTimeout bounds the wait for one of these places.
	queueTimeout = 2 * time.Second
	// redirectsMax bounds what a request may allow.
	redirectsMax = 3
	// addressesMax bounds how many addresses of one name are tried, one after another.
	addressesMax = 2
)

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Options is what a Fetcher is given. Every field may be left out.
type Options struct {
	// Resolver looks names up; nil is the machine's own.
	Resolver Resolver
	// Allowed are ranges that are dialled although they are not public.
	Allowed []netip.Prefix
	// Rates counts fetches by the host they go to; nil counts nothing.
	Rates *limits.Set
	// TLS is used for https; nil trusts what the machine trusts.
	TLS *tls.Config
	// Dial connects to an address that was judged; nil is the machine's own.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Fetcher fetches. It is safe for concurrent use.
type Fetcher struct {
	o      Options
	places chan struct{}
	client *http.Client
}

// Request is one page wanted.
type Request struct {
	URL string // http or https
	// AnyPort allows another port than the scheme's own: for addresses that an
	// operator wrote, not a stranger.
	AnyPort bool
	// Redirects is how many are followed.
	Redirects int
	// Accept is the Accept header; empty sends */*.
	Accept string
}

// New makes a fetcher.
func New(o Options) *Fetcher {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	f := &Fetcher{o: o, places: make(chan struct{}, atOnceMax)}
	f.client = &http.Client{
		Transport: &http.Transport{
			DialContext:            f.dial,
			TLSClientConfig:        o.TLS,
			TLSHandshakeTimeout:    dialTimeout,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: headBytesMax,
			ResponseHeaderTimeout:  pageTimeout,
		},
		CheckRedirect: f.follow,
	}
	return f
}

// Page fetches one page and returns its body. The error is an *Error.
func (f *Fetcher) Page(ctx context.Context, r Request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	u, err := f.check(r.URL, r.AnyPort)
	if err != nil {
		return nil, err
	}
	leave, err := f.enter(ctx, u.Hostname())
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx = context.WithValue(ctx, tripKey{}, &trip{anyPort: r.AnyPort, left: min(r.Redirects, redirectsMax)})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fault(BadURL, "%v", err)
	}
	req.Header.Set("User-Agent", "Keystead proof checker")
	req.Header.Set("Accept", "*/*")
	if r.Accept != "" {
		req.Header.Set("Accept", r.Accept)
	}
	res, err := f.client.Do(req)
	if err != nil {
		return nil, classify(ctx, err)
	}
	defer res.Body.Close()
	return body(ctx, res)
}

// body reads what came, if it is an answer.
func body(ctx context.Context, res *http.Response) ([]byte, error) {
	if res.StatusCode != http.StatusOK {
		return nil, &Error{Kind: Status, Code: res.StatusCode, err: fmt.Errorf("the answer is HTTP %d", res.StatusCode)}
	}
	if enc := res.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, fault(TooLarge, "the page came compressed as %.20q although that was not asked for", enc)
	}
	if res.ContentLength > pageBytesMax {
		return nil, fault(TooLarge, "the page has %d bytes", res.ContentLength)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, pageBytesMax+1))
	switch {
	case len(b) > pageBytesMax:
		return nil, fault(TooLarge, "the page has more than %d bytes", pageBytesMax)
	case err != nil:
		return nil, classify(ctx, err)
	}
	return b, nil
}

// Get is Page of one address with no port of its own and without redirects.
func (f *Fetcher) Get(ctx context.Context, address string) ([]byte, error) {
	return f.Page(ctx, Request{URL: address})
}

// check reads an address and refuses what is none.
func (f *Fetcher) check(address string, anyPort bool) (*url.URL, error) {
	if len(address) > urlBytesMax {
		return nil, fault(BadURL, "an address of %d bytes", len(address))
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, fault(BadURL, "not an address")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fault(BadURL, "the scheme %.20q is neither http nor https", u.Scheme)
	case u.Hostname() == "" || u.User != nil || u.Opaque != "":
		return nil, fault(BadURL, "an address without a host, or with a password")
	case u.Port() != "" && !anyPort && u.Port() != usualPort(u.Scheme):
		return nil, fault(Refused, "port %s is not the usual one of %s", u.Port(), u.Scheme)
	}
	u.Fragment = ""
	return u, nil
}

func usualPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// trip is what a request allows, for the hops of it.
type trip struct {
	anyPort bool
	left    int
}

type tripKey struct{}

// follow judges a redirect before it is followed.
func (f *Fetcher) follow(req *http.Request, via []*http.Request) error {
	t, _ := req.Context().Value(tripKey{}).(*trip)
	if t == nil || len(via) > t.left {
		return http.ErrUseLastResponse
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fault(Refused, "redirected from https to %.20q", req.URL.Scheme)
	}
	_, err := f.check(req.URL.String(), t.anyPort)
	return err
}

// dial resolves a host and connects to an address that was judged.
func (f *Fetcher) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, fault(BadURL, "not host and port")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fault(BadURL, "not a port")
	}
	addrs, err := f.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	var last error
	for _, a := range addrs[:min(len(addrs), addressesMax)] {
		var c net.Conn
		if c, last = f.o.Dial(ctx, network, netip.AddrPortFrom(a, uint16(n)).String()); last == nil {
			return c, nil
		}
	}
	return nil, &Error{Kind: Unreachable, err: fmt.Errorf("connect: %w", last)}
}

// resolve finds the addresses of a host. One that is not public refuses all of them:
// who answers with such an address is not to be helped to another.
func (f *Fetcher) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, f.judge(a)
	}
	addrs, err := f.o.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, nameFault(err)
	}
	if len(addrs) == 0 {
		return nil, fault(NoName, "the name has no address")
	}
	for i, a := range addrs {
		if err := f.judge(a); err != nil {
			return nil, err
		}
		addrs[i] = a.Unmap()
	}
	return addrs, nil
}

func (f *Fetcher) judge(a netip.Addr) error {
	if limits.Within(f.o.Allowed, a) || Public(a) {
		return nil
	}
	return fault(Refused, "the address %s is not a public one", a)
}

// enter waits for a place and counts the fetch against its host.
func (f *Fetcher) enter(ctx context.Context, host string) (leave func(), err error) {
	if _, err := f.o.Rates.Take(limits.Who{Name: strings.ToLower(host)}, limits.FetchByName); err != nil {
		return nil, &Error{Kind: Busy, err: err}
	}
	timer := time.NewTimer(queueTimeout)
	defer timer.Stop()
	select {
	case f.places <- struct{}{}:
		var once sync.Once
		return func() { once.Do(func() { <-f.places }) }, nil
	case <-timer.C:
		return nil, fault(Busy, "%d pages are being fetched already", atOnceMax)
	case <-ctx.Done():
		return nil, fault(Timeout, "no place came free in time")
	}
}

// classify gives an error of the HTTP library its kind.
func classify(ctx context.Context, err error) error {
	var ours *Error
	switch {
	case errors.As(err, &ours):
		return ours
	case ctx.Err() != nil || isTimeout(err):
		return &Error{Kind: Timeout, err: fmt.Errorf("the page did not come in time: %w", err)}
	}
	return &Error{Kind: Unreachable, err: err}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
