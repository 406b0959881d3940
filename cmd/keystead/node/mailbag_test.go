package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

// mailPatience is how long a mail that was made may take to leave the server.
const mailPatience = 20 * time.Second

var verifyLink = regexp.MustCompile(`/verify-email/[0-9a-f]+/[0-9a-f]+`)

// mailbag takes what leaves a server as mail: in devel mode that goes to the log, of
// which nothing else is kept.
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
	if link := verifyLink.FindString(text); to != "" && link != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.links[to] = append(b.links[to], link)
		close(b.more)
		b.more = make(chan struct{})
	}
	return nil
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
