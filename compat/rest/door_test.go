package rest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/auth"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/fetch"
	"github.com/keystead/keystead/engine/highwater"
	"github.com/keystead/keystead/engine/observe"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/proofs"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/teams"
)

// door is a REST door on a loopback port, over a store in memory.
type door struct {
	*Server
	uri   string
	kid   client.KID
	store *store.Store
	clock *clock.Fake
	reg   *prometheus.Registry
}

// openDoor opens one with options that change may alter.
func openDoor(t testing.TB, change ...func(*Options)) *door {
	t.Helper()
	fs := vfs.NewMem()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(fs.MkdirAll("/data", 0o700))
	// Clients sign with their own clocks, so the server's starts at the real time.
	now := clock.NewFake(time.Now())
	st, err := store.Open(store.Options{Dir: "/data/store", FS: fs, Clock: now.Now, Rand: rand.Reader})
	must(err)
	mark, err := highwater.Open(highwater.Options{FS: fs, Path: "/data.highwater", StoreID: st.ID(), DataDir: "/data", Create: true})
	must(err)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	seq, err := roots.Start(context.Background(), st, roots.Config{Key: key, HighWater: mark, Rand: rand.Reader})
	must(err)
	a, err := auth.New(st, now.Now, rand.Reader)
	must(err)
	d := &door{store: st, clock: now, reg: prometheus.NewRegistry()}
	book, err := proofs.New(proofs.Options{Store: st, Fetch: fetch.New(fetch.Options{}), Clock: now.Now, Logger: slog.New(slog.DiscardHandler)})
	must(err)
	must(book.KeepKits(context.Background()))
	ids := identity.New(st, rand.Reader)
	ids.KeepProofs(book)
	o := Options{
		Store: st, Auth: a, Identity: ids, Teams: teams.New(st, ids, rand.Reader), Proofs: book, Clock: now.Now, Rand: rand.Reader,
		Logger: slog.New(slog.DiscardHandler), Metrics: observe.New(d.reg),
	}
	for _, c := range change {
		c(&o)
	}
	d.Server = New(o)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	d.uri = "http://" + ln.Addr().String()
	d.kid, err = client.ParseKID(seq.KID().String())
	must(err)
	served := make(chan error, 1)
	go func() { served <- d.Serve(ln, nil) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err := errors.Join(d.Shutdown(ctx), <-served, st.Close(), mark.Close())
		if err != nil {
			t.Errorf("close the door: %v", err)
		}
	})
	return d
}

// verifier is a strict client of the door.
func (d *door) verifier() *client.Verifier {
	return client.NewVerifier(client.NewServer(d.uri, []client.KID{d.kid}, d.clock.Now, rand.Reader), nil)
}

// signUp makes an account with one device.
func (d *door) signUp(t testing.TB, name string) *client.Account {
	t.Helper()
	ctx := context.Background()
	a, err := client.Signup(ctx, d.verifier(), client.SignupOptions{
		Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "desk of " + name,
	})
	if err != nil {
		t.Fatalf("sign up %s: %v", name, err)
	}
	return a
}

// ask sends a raw request and returns HTTP status, body and headers.
func (d *door) ask(t testing.TB, method, path, contentType, body string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest(method, d.uri+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}
