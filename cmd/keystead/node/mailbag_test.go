package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/quotedprintable"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/cmd/keystead/postman"
)

// mailPatience is how long a mail that was made may take to leave the server.
const mailPatience = 20 * time.Second

var verifyLink = regexp.MustCompile(`/verify-email/[0-9a-f]+/[0-9a-f]+`)

// mailbag takes what leaves a server as mail: by a mail server, or in devel mode by the
// log, of which nothing else is kept.
type mailbag struct {
	mu    sync.Mutex
	links map[string][]string // paths that verify an address, by address, the newest last
	more  chan struct{}       // closed when there is another
}

func newMailbag() *mailbag {
	return &mailbag{links: map[string][]string{}, more: make(chan struct{})}
}

func (b *mailbag) Enabled(context.Context, slog.Level) bool { return true }
func (b *mailbag) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b *mailbag) WithGroup(string) slog.Handler            { return b }

// Handle implements slog.Handler.
func (b *mailbag) Handle(_ context.Context, r slog.Record) error {
	var to, text string
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "to":
			to = a.Value.String()
		case "text":
			text = a.Value.String()
		}
		return true
	})
	if to != "" {
		b.take(to, text)
	}
	return nil
}

func (b *mailbag) take(to, text string) {
	link := verifyLink.FindString(text)
	if link == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.links[to] = append(b.links[to], link)
	close(b.more)
	b.more = make(chan struct{})
}

// link is the n-th path, from 1, that was ever mailed to an address.
func (b *mailbag) link(ctx context.Context, to string, n int) (string, error) {
	late := time.After(mailPatience)
	for {
		b.mu.Lock()
		have, more := b.links[to], b.more
		b.mu.Unlock()
		if len(have) >= n {
			return have[n-1], nil
		}
		select {
		case <-more:
		case <-late:
			return "", fmt.Errorf("mail %d to %s does not come", n, to)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// takeMail makes a mail server for a lab, which stands until the test ends: what servers
// send is in the bag.
func takeMail(t testing.TB, l *lab) *mailbag {
	t.Helper()
	b := newMailbag()
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivery{bag: b}, nil }))
	srv.Domain = "localhost"
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	l.cfg.Mail = config.Mail{Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, TLS: postman.TLSNone, From: "keys@example.org"}
	return b
}

// delivery is one connection to the mail server.
type delivery struct {
	bag *mailbag
	to  string
}

func (d *delivery) Mail(string, *smtp.MailOptions) error { return nil }
func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = to
	return nil
}
func (d *delivery) Data(r io.Reader) error {
	text, err := io.ReadAll(quotedprintable.NewReader(r))
	if err == nil {
		d.bag.take(d.to, string(text))
	}
	return err
}
func (d *delivery) Reset()        {}
func (d *delivery) Logout() error { return nil }

// verify presses the button of a page that verifies an address.
func (r *run) verify(ctx context.Context, path string) error {
	if code, err := r.press(ctx, path); err != nil || code != http.StatusOK {
		return fmt.Errorf("verify a mail address: HTTP %d, %w", code, err)
	}
	return nil
}

// press presses the button of a page, and returns the page's status.
func (r *run) press(ctx context.Context, path string) (code int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.uri+path, strings.NewReader(""))
	if err != nil {
		return 0, err
	}
	res, err := r.client.HTTP.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, errors.Join(err, res.Body.Close())
}
