package rest

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/keybase/go-crypto/openpgp"

	"github.com/keystead/keystead/bench/client"
)

// TestKeyPage proves that somebody without a client finds the PGP keys that a person has
// now under their name, each or all of them, readable for other programs; and nothing of
// keys that were dropped, of people without any, or of nobody.
func TestKeyPage(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice := d.signUp(t, "alice")
	d.signUp(t, "bobby")
	must := mustOf(t)
	var keys []*client.PGPKey
	for range 2 {
		k, err := client.NewPGPKey(rand.Reader, "alice")
		must(err)
		must(alice.AddPGP(ctx, k))
		keys = append(keys, k)
	}
	page := func(path string) (fingerprints []string) {
		t.Helper()
		code, body, h := d.ask(t, "GET", path, "", "")
		if code == 404 {
			return nil
		}
		if code != 200 || h.Get("Content-Type") != "text/plain; charset=utf-8" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Fatalf("%s: %d %v", path, code, h)
		}
		for _, block := range strings.SplitAfter(body, "-----END PGP PUBLIC KEY BLOCK-----\n") {
			if strings.TrimSpace(block) == "" {
				continue
			}
			ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(block))
			if err != nil || len(ring) != 1 || ring[0].PrivateKey != nil {
				t.Fatalf("%s: %d keys, %v", path, len(ring), err)
			}
			for _, k := range keys {
				if strings.EqualFold(k.Fingerprint[24:], ring[0].PrimaryKey.KeyIdString()) {
					fingerprints = append(fingerprints, k.Fingerprint)
				}
			}
		}
		return fingerprints
	}
	want := func(path string, of ...*client.PGPKey) {
		t.Helper()
		var fingerprints []string
		for _, k := range of {
			fingerprints = append(fingerprints, k.Fingerprint)
		}
		if got := page(path); strings.Join(got, " ") != strings.Join(fingerprints, " ") {
			t.Errorf("%s: %v, want %v", path, got, fingerprints)
		}
	}
	want("/alice/pgp_keys.asc", keys...)
	want("/Alice/pgp_keys.asc", keys...)
	want("/alice/pgp_keys.asc?fingerprint="+strings.ToUpper(keys[1].Fingerprint), keys[1])
	for _, none := range []string{"/bobby/pgp_keys.asc", "/nobody/pgp_keys.asc", "/a%20b/pgp_keys.asc", "//pgp_keys.asc", "/pgp_keys.asc", "/alice/x/pgp_keys.asc", "/alice/pgp_keys.asc?fingerprint=00"} {
		want(none)
	}
	d.clock.Advance(time.Minute)
	must(alice.RevokePGP(ctx, keys[0].KID))
	want("/alice/pgp_keys.asc", keys[1])
	must(alice.Delete(ctx))
	want("/alice/pgp_keys.asc")
}
