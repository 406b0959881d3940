package rest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/fetch"
	"github.com/keystead/keystead/merklehot/audit"
	"github.com/keystead/keystead/merklehot/proofs"
	"github.com/keystead/keystead/merklehot/rooter"
)

// internet is what others publish, in the place of a network.
type internet struct {
	mu    sync.Mutex
	pages map[string]string
	txts  map[string][]string
	down  bool
}

func (n *internet) Page(_ context.Context, r fetch.Request) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p, ok := n.pages[r.URL]; ok && !n.down {
		return []byte(p), nil
	}
	return nil, fetch.NotFound()
}

func (n *internet) TXT(_ context.Context, name string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return nil, errors.New("nobody answers")
	}
	return n.txts[strings.ToLower(name)], nil
}

func (n *internet) publish(name string, txts ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.txts[name] = txts
}

// withProofs gives a door a book of its own that looks at an internet.
func withProofs(t *testing.T, net *internet, devel bool) func(*Options) {
	return func(o *Options) {
		b := proofs.Options{Store: o.Store, Fetch: net, Clock: o.Clock, Logger: slog.New(slog.DiscardHandler), Devel: devel}
		if devel {
			b.Services, b.Local, b.Find = proofs.DevelServices(), rooter.Local, rooter.Addresses
		}
		book, err := proofs.New(b)
		if err != nil {
			t.Fatal(err)
		}
		o.Proofs, o.Devel = book, devel
		o.Identity.KeepProofs(book)
	}
}

// whole fails unless the door's store holds together.
func (d *door) whole(t *testing.T) {
	t.Helper()
	v := d.store.View()
	defer v.Close()
	kid, err := kbsig.ParseKID(d.kid.String())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := audit.Run(context.Background(), v, kid, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestProvingADomain proves the whole way of a proof: it is told what to publish, not
// taken for true before, found when published, seen by strangers in hints and under the
// domain's name, lost only when it is missing again and again, and gone with its link;
// and that of two who prove one domain the later has it.
func TestProvingADomain(t *testing.T) {
	ctx := context.Background()
	net := &internet{txts: map[string][]string{}}
	d := openDoor(t, withProofs(t, net, false))
	alice, bob := d.signUp(t, "alice"), d.signUp(t, "bob")
	owners := func(want ...string) {
		t.Helper()
		for _, word := range []string{"dns", "web"} {
			got, err := d.verifier().WhoHas(ctx, word, "Site.Example")
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %v, %v; want %v", word, got, err, want)
			}
		}
	}
	check := func(who *client.Account, sig string, found bool, state int) {
		t.Helper()
		d.clock.Advance(2 * time.Second)
		ok, got, st, err := who.LookFor(ctx, sig)
		if err != nil || ok != found || got != state {
			t.Fatalf("found %t, state %d, status %d, %v; want %t and %d", ok, got, st, err, found, state)
		}
	}
	text, sig, err := alice.ProveSite(ctx, "dns", "site.example")
	if err != nil || !strings.HasPrefix(text, "keybase-site-verification=") {
		t.Fatalf("%q, %v", text, err)
	}
	check(alice, sig, false, 4)
	owners()
	net.publish("site.example", "v=spf1", text)
	check(alice, sig, true, 1)
	owners(alice.UID.String())
	version, hints, err := d.verifier().SigHints(ctx, alice.UID, 0)
	if err != nil || len(hints) != 1 || hints[0].SigID != sig || hints[0].APIURL != "dns://site.example" {
		t.Errorf("hints %v, %v", hints, err)
	}
	if _, again, err := d.verifier().SigHints(ctx, alice.UID, version); err != nil || len(again) != 0 {
		t.Errorf("hints of the newest version: %v, %v", again, err)
	}

	// An hour without DNS changes nothing; a domain without the record does, in the end.
	net.down = true
	check(alice, sig, false, 1)
	net.down = false
	net.publish("site.example")
	check(alice, sig, false, 2)
	owners(alice.UID.String())
	check(alice, sig, false, 2)
	check(alice, sig, false, 3)
	owners()
	d.whole(t)
	net.publish("site.example", text)
	check(alice, sig, true, 1)

	theirs, other, err := bob.ProveSite(ctx, "dns", "SITE.example")
	if err != nil {
		t.Fatal(err)
	}
	net.publish("site.example", text, theirs)
	check(bob, other, true, 1)
	owners(bob.UID.String())
	if err := bob.RevokeSigs(ctx, other); err != nil {
		t.Fatal(err)
	}
	owners(alice.UID.String())
	_, _, _, err = bob.LookFor(ctx, other)
	wantStatus(t, err, status.NotFound)
	_, _, _, err = bob.LookFor(ctx, sig)
	wantStatus(t, err, status.NotFound)
	d.whole(t)
	load(t, d, alice.UID)
	load(t, d, bob.UID)
}

// TestUnprovable proves that a statement which nobody could check never gets into a
// chain, and that nobody is asked about names that are none.
func TestUnprovable(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t, withProofs(t, &internet{}, false))
	alice := d.signUp(t, "alice")
	for _, p := range []struct{ service, name string }{{"rooter", "alice"}, {"gubble.social", "alice"}, {"coinbase", "alice"}, {"github", "-x"}} {
		_, _, err := alice.Prove(ctx, p.service, p.name)
		wantStatus(t, err, status.InputError)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "site.example:80", "a b.example"} {
		_, _, err := alice.ProveSite(ctx, "http:", host)
		if err == nil {
			t.Errorf("the web site %q is taken", host)
		}
		_, err = alice.Server().Get(ctx, "remotes/check", url.Values{"hostname": {host}}, alice.NIST(alice.Device))
		wantStatus(t, err, status.InputError)
	}
	if n := load(t, d, alice.UID); n == nil {
		t.Error("the account does not load")
	}
}

// TestRooter proves that the networks for tests are whole in devel mode: a post is
// found, a later proof there takes the place of the first, and a deleted post is missed.
func TestRooter(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t, withProofs(t, &internet{}, true))
	alice := d.signUp(t, "alice")
	post := func(text string) string {
		t.Helper()
		reply, err := alice.Server().Post(ctx, "rooter", url.Values{"post": {text}}, alice.NIST(alice.Device))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Trim(string(reply.Field("post_id")), `"`)
	}
	text, first, err := alice.Prove(ctx, "rooter", "alice")
	if err != nil {
		t.Fatal(err)
	}
	id := post(text)
	if ok, state, st, err := alice.LookFor(ctx, first); err != nil || !ok || state != 1 {
		t.Fatalf("state %d, status %d, %v", state, st, err)
	}
	if got, err := d.verifier().WhoHas(ctx, "rooter", "ALICE"); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	found := func(service string) string {
		reply, err := alice.Server().Get(ctx, "user/user_search", url.Values{
			"q": {"ali"}, "service": {service}, "include_services_summary": {"1"},
		}, alice.NIST(alice.Device))
		if err != nil {
			t.Fatal(err)
		}
		return string(reply.Field("list"))
	}
	for _, service := range []string{"", "rooter"} {
		if list := found(service); !strings.Contains(list, `"services_summary":{"rooter":{"service_name":"rooter","username":"alice"}}`) {
			t.Errorf("a search at %q does not tell of the proof: %s", service, list)
		}
	}
	text, second, err := alice.Prove(ctx, "rooter", "alice")
	if err != nil {
		t.Fatal(err)
	}
	_, _, _, err = alice.LookFor(ctx, first)
	wantStatus(t, err, status.NotFound)
	post(text)
	if ok, _, st, err := alice.LookFor(ctx, second); err != nil || !ok {
		t.Errorf("status %d, %v", st, err)
	}
	if err := alice.RevokeSigs(ctx, second); err != nil {
		t.Fatal(err)
	}
	if list := found("rooter"); list != "[]" {
		t.Errorf("found by a proof that was revoked: %s", list)
	}
	for _, code := range []int{0, status.NotFound} {
		_, err := alice.Server().Post(ctx, "rooter/delete", url.Values{"post_id": {id}}, alice.NIST(alice.Device))
		if code != 0 {
			wantStatus(t, err, code)
		} else if err != nil {
			t.Error(err)
		}
	}
	d.whole(t)
}

// TestOldKits proves that a kit which some root has named is served for ever, by a
// server that has others now, and that nothing else is.
func TestOldKits(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	v := d.verifier()
	var old []string
	for _, name := range []string{"pvl", "proof_params", "external_urls"} {
		if _, err := v.Kit(ctx, name); err != nil {
			t.Error(err)
		}
	}
	b, err := proofs.New(proofs.Options{Store: d.store, Clock: d.clock.Now, Devel: true, Services: proofs.DevelServices()})
	if err != nil {
		t.Fatal(err)
	}
	kits := b.Kits()
	for _, k := range kits.All() {
		old = append(old, k.Hash)
	}
	ask := func(hash string) error {
		_, err := d.server().Get(ctx, "merkle/pvl", url.Values{"hash": {hash}}, nil)
		return err
	}
	wantStatus(t, ask(old[0]), status.NotFound)
	if err := b.KeepKits(ctx); err != nil {
		t.Fatal(err)
	}
	for _, h := range old {
		if err := ask(h); err != nil {
			t.Errorf("kit %.16s: %v", h, err)
		}
	}
	for _, h := range []string{"", "00", strings.Repeat("0", 128), old[0][:64] + strings.Repeat("0", 64), strings.ToUpper(old[0])} {
		wantStatus(t, ask(h), status.NotFound)
	}
}

// server is the door for raw requests.
func (d *door) server() *client.Server {
	return client.NewServer(d.uri, []client.KID{d.kid}, d.clock.Now, rand.Reader)
}
