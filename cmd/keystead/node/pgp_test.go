package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// pgpKeys are made once: making one takes longer than all that is done with it.
var pgpKeys = sync.OnceValues(func() ([2]*client.PGPKey, error) {
	var out [2]*client.PGPKey
	for i, name := range []string{"first", "second"} {
		var err error
		if out[i], err = client.NewPGPKey(rand.Reader, name); err != nil {
			return out, err
		}
	}
	return out, nil
})

func pgpKeyPair(t testing.TB) (first, second *client.PGPKey) {
	t.Helper()
	k, err := pgpKeys()
	if err != nil {
		t.Fatal(err)
	}
	return k[0], k[1]
}

func pgpVersion(t testing.TB, k *client.PGPKey, n int) *client.PGPKey {
	t.Helper()
	v, err := k.Version(n)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestPGPKeys proves that PGP keys come, change, go and come back; that all of their
// versions are handed out for ever, to the letter; that they are found by the names that
// people and machines know them by while they are active; that strict clients with old
// and with no memory agree; that the audit is clean and the archive leads to the same root.
func TestPGPKeys(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := newLab(t)
	r := l.mustStart(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	sign := func(name string) *client.Account {
		a, err := client.Signup(ctx, r.verifier(nil), client.SignupOptions{Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "desk"})
		must(err)
		return a
	}
	alice, bob := sign("alice"), sign("bob")
	first, second := pgpKeyPair(t)
	updated := pgpVersion(t, first, 2)

	must(alice.AddPGP(ctx, first))
	if code := client.StatusCode(alice.AddPGP(ctx, first)); code != 922 {
		t.Errorf("the same key twice: %d", code)
	}
	must(alice.Reload(ctx))
	if code := client.StatusCode(alice.UpdatePGP(ctx, first)); code != 921 {
		t.Errorf("the same version twice: %d", code)
	}
	must(alice.Reload(ctx))
	must(alice.UpdatePGP(ctx, updated))
	must(alice.AddPGP(ctx, second))
	must(bob.AddPGP(ctx, first)) // who has the secret key may

	look := func(name string) lookedUp { return lookUp(ctx, t, r, name) }
	if got := look("alice"); !slices.Equal(got.PGP, []string{updated.Bundle, second.Bundle}) || got.Primary == nil || got.Primary.Bundle != updated.Bundle {
		t.Errorf("alice is looked up with %d keys", len(got.PGP))
	}
	for _, end := range []url.Values{{"fingerprint": {second.Fingerprint}}, {"pgp_key_id": {second.Fingerprint[24:]}}, {"kid": {second.KID.String()}}} {
		if who := owner(ctx, t, r, end); who != "alice" {
			t.Errorf("%v is of %q", end, who)
		}
	}
	must(alice.RevokePGP(ctx, first.KID))
	if who := owner(ctx, t, r, url.Values{"fingerprint": {first.Fingerprint}}); who != "bob" {
		t.Errorf("alice's revoked key is of %q", who)
	}
	must(alice.RevokePGP(ctx, second.KID))
	if who := owner(ctx, t, r, url.Values{"fingerprint": {second.Fingerprint}}); who != "" {
		t.Errorf("a revoked key is of %q", who)
	}
	if who := owner(ctx, t, r, url.Values{"fingerprint": {second.Fingerprint}, "include_revoked": {"1"}}); who != "alice" {
		t.Errorf("the revoked key was of %q", who)
	}
	got := look("alice")
	for _, k := range []*client.PGPKey{first, updated, second} {
		if !slices.Contains(got.All, k.Bundle) {
			t.Error("a version is gone from all_bundles")
		}
	}
	if len(got.PGP) != 0 || got.Primary != nil {
		t.Error("revoked keys are handed out to encrypt to")
	}
	must(alice.AddPGP(ctx, second))
	for _, v := range []*client.Verifier{alice.Verifier, r.verifier(nil)} {
		for _, a := range []*client.Account{alice, bob} {
			if _, err := v.LoadUser(ctx, a.UID, client.LoadOptions{}); err != nil {
				t.Error(err)
			}
		}
	}
	must(r.audit())
	r.mustStop(t)
	must(l.rebuild(r.newest()))
}

// lookedUp is what tools such as secret stores read of a user.
type lookedUp struct {
	All     []string `json:"all_bundles"`
	PGP     []string `json:"pgp_public_keys"`
	Primary *struct {
		Bundle string `json:"bundle"`
	} `json:"primary"`
}

func lookUp(ctx context.Context, t *testing.T, r *run, name string) lookedUp {
	t.Helper()
	reply, err := r.server().Get(ctx, "user/lookup", url.Values{"usernames": {name}, "fields": {"public_keys"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var them []struct {
		Keys lookedUp `json:"public_keys"`
	}
	if err := json.Unmarshal(reply.Field("them"), &them); err != nil || len(them) != 1 {
		t.Fatalf("%d users, %v", len(them), err)
	}
	return them[0].Keys
}

// owner asks whose a key is; "" if nobody's.
func owner(ctx context.Context, t *testing.T, r *run, by url.Values) string {
	t.Helper()
	reply, err := r.server().Get(ctx, "key/basics", by, nil)
	if client.StatusCode(err) == 901 {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Trim(string(reply.Field("username")), `"`)
}

// The deeds here are of people with PGP keys, the same two for everybody.

// somePGP draws a key in some version, and says in which one it counts: 0 if it was
// revoked.
func (c *town) somePGP(p *person) (k *client.PGPKey, version, counts int, known bool) {
	keys := [2]*client.PGPKey{}
	keys[0], keys[1] = pgpKeyPair(c.t)
	version = 1 + c.rng.IntN(3)
	k = pgpVersion(c.t, keys[c.rng.IntN(2)], version)
	counts, known = p.pgp[k.KID.String()]
	return k, version, counts, known
}

func (c *town) addPGP(ctx context.Context, p *person, s *seat) {
	k, version, counts, _ := c.somePGP(p)
	want := s.want(p)
	if want == 0 && counts > 0 {
		want = codeSibkeyExists
	}
	if c.expect(p, "add a PGP key", want, s.AddPGP(ctx, k)) {
		p.pgp[k.KID.String()] = version
		p.stated(s)
	}
}

func (c *town) updatePGP(ctx context.Context, p *person, s *seat) {
	k, version, counts, known := c.somePGP(p)
	want := s.want(p)
	switch {
	case want != 0:
	case !known:
		want = codeKeyNotFound
	case counts == 0:
		want = codeKeyRevoked
	case counts == version:
		want = codeSameVersion
	}
	if c.expect(p, "update a PGP key", want, s.UpdatePGP(ctx, k)) {
		p.pgp[k.KID.String()] = version
		p.stated(s)
	}
}

func (c *town) revokePGP(ctx context.Context, p *person, s *seat) {
	k, _, counts, _ := c.somePGP(p)
	want := 0
	if counts == 0 {
		want = codeKeyNotFound // no lease over it
	}
	if c.expect(p, "revoke a PGP key", want, s.RevokePGP(ctx, k.KID)) {
		p.pgp[k.KID.String()] = 0
		p.puk++
		p.links += 2
	}
	s.known = p.links // it has looked at the chain first
}
