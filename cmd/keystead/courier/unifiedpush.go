// Package courier carries notifications to the push services of devices.
//
// UnifiedPush is the way that needs nobody's permission: a device names a URL, and what
// is posted there reaches it. A URL is a stranger's word, so the courier connects to
// public addresses only, speaks TLS, follows no redirect, reads next to nothing of an
// answer and gives up soon. If the device gave keys, the notification is encrypted for
// it, and the service in between learns no more than its size.
//
// It is the only place where notifications leave the process. Couriers implement
// push.Courier: nil for taken, push.ErrGone and push.ErrRefused for never, and anything
// else for not now.
//
// spec: UnifiedPush (specification of application servers), RFC 8030, RFC 8188, RFC 8291
package courier

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/keystead/keystead/chatlog/push"
)

// Limits of carrying.
const (
	// timeout bounds one attempt.
	timeout = 15 * time.Second
	// keptFor is how long a push service may keep a notification for a device that is
	// away.
	keptFor = 24 * time.Hour
	// replyMax is what is read of an answer, in bytes.
	replyMax = 4 << 10
	// messageMax bounds a posted body, in bytes: what every service takes.
	messageMax = 4096
)

// Options is what a courier is given from outside.
type Options struct {
	// Allowed reports the addresses that may be connected to; nil: public ones.
	Allowed func(netip.Addr) bool
	// Plain lets endpoints be http, for tests and devel mode.
	Plain bool
	Rand  io.Reader      // for keys and salts
	Roots *x509.CertPool // whom to trust; nil: whom the system trusts
}

// UnifiedPush is the courier of push.UnifiedPush.
type UnifiedPush struct {
	o    Options
	http *http.Client
}

// NewUnifiedPush makes the courier.
func NewUnifiedPush(o Options) *UnifiedPush {
	if o.Allowed == nil {
		o.Allowed = public
	}
	dialer := &net.Dialer{Timeout: timeout, Control: func(_, address string, _ syscall.RawConn) error {
		// Asked when the name is resolved, so that no name can lie about it.
		to, err := netip.ParseAddrPort(address)
		if err != nil || !o.Allowed(to.Addr().Unmap()) {
			return fmt.Errorf("%s is no address of a push service: %w", address, push.ErrRefused)
		}
		return nil
	}}
	return &UnifiedPush{o: o, http: &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: timeout, MaxIdleConns: 64, MaxConnsPerHost: 8, IdleConnTimeout: time.Minute,
			MaxResponseHeaderBytes: replyMax, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close gives idle connections back.
func (c *UnifiedPush) Close() { c.http.CloseIdleConnections() }

// public reports an address of the Internet, none of a network behind it.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a) && !translated.Contains(a)
}

var (
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // behind a carrier's NAT
	translated  = netip.MustParsePrefix("64:ff9b::/96")  // IPv4 in disguise
)

// target is a token: the endpoint, and the device's keys if it has given them. It is
// sent as JSON, or as the URL alone.
type target struct {
	Endpoint string `json:"endpoint"`
	P256DH   string `json:"p256dh"`
	Auth     string `json:"auth"`
}

func (c *UnifiedPush) parse(token string) (t target, err error) {
	t.Endpoint = token
	if strings.HasPrefix(token, "{") {
		t = target{}
		if err := json.Unmarshal([]byte(token), &t); err != nil {
			return t, fmt.Errorf("token: %v: %w", err, push.ErrGone)
		}
	}
	u, err := url.Parse(t.Endpoint)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && (u.Scheme != "http" || !c.o.Plain)) {
		return t, fmt.Errorf("token is no endpoint: %w", push.ErrGone)
	}
	return t, nil
}

// Deliver implements push.Courier.
func (c *UnifiedPush) Deliver(ctx context.Context, token push.Token, n push.Notification) error {
	t, err := c.parse(token.Token)
	if err != nil {
		return err
	}
	body, err := n.Payload(push.UnifiedPush)
	if err != nil {
		return fmt.Errorf("spell a notification: %v: %w", err, push.ErrRefused)
	}
	encrypted := t.P256DH != "" || t.Auth != ""
	if encrypted {
		if body, err = seal(c.o.Rand, t.P256DH, t.Auth, body); err != nil {
			return err
		}
	}
	if len(body) > messageMax {
		return fmt.Errorf("notification of %d bytes: %w", len(body), push.ErrRefused)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.Endpoint, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("token is no endpoint: %v: %w", err, push.ErrGone)
	}
	req.Header.Set("TTL", fmt.Sprint(int(keptFor/time.Second)))
	req.Header.Set("Urgency", "high")
	req.Header.Set("Content-Type", "application/octet-stream")
	if encrypted {
		req.Header.Set("Content-Encoding", "aes128gcm")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, replyMax))
	return verdict(resp.StatusCode)
}

// verdict is what an answer means.
func verdict(code int) error {
	switch {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusNotFound || code == http.StatusGone:
		return fmt.Errorf("the push service answers %d: %w", code, push.ErrGone)
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		return fmt.Errorf("the push service answers %d", code)
	}
	return fmt.Errorf("the push service answers %d: %w", code, push.ErrRefused)
}

// withoutURL takes the endpoint out of an error: whoever reads it in a log could wake
// the device.
func withoutURL(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return fmt.Errorf("reach the push service: %w", u.Err)
	}
	return err
}
