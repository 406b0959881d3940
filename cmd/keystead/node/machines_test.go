package node

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/keybase/go-crypto/openpgp"
)

// TestMachineLookUp proves that tools which seal secrets for people, such as Vault and
// Terraform, find PGP keys where they look: the same path, one row for each name in the
// order of the names, and nothing in the row of somebody without a key. It decodes as
// they do (vault: helper/pgpkeys FetchKeybasePubkeys).
func TestMachineLookUp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.cfg.Devel = true
	r := l.mustStart(t)
	defer r.mustStop(t)
	for _, names := range [][]string{
		{"t_alice"},
		{"t_bob", "nobody_at_all", "t_alice", "t_george", "T_Doug", "no name!"},
	} {
		res, err := http.Get(r.client.URI + "/_/api/1.0/user/lookup.json?usernames=" + strings.ReplaceAll(strings.Join(names, ","), " ", "%20") + "&fields=public_keys")
		if err != nil {
			t.Fatal(err)
		}
		// What such a tool reads: the names of members in any case.
		var out struct {
			Status struct{ Name string }
			Them   []struct {
				PublicKeys struct{ Primary struct{ Bundle string } } `json:"public_keys"`
			}
		}
		err = json.NewDecoder(res.Body).Decode(&out)
		res.Body.Close()
		if err != nil || out.Status.Name != "OK" || len(out.Them) != len(names) {
			t.Fatalf("%v: status %q, %d rows, %v", names, out.Status.Name, len(out.Them), err)
		}
		for i, row := range out.Them {
			name := strings.ToLower(names[i])
			if !slices.Contains([]string{"t_alice", "t_bob", "t_doug"}, name) {
				if row.PublicKeys.Primary.Bundle != "" {
					t.Errorf("%s has a key", name)
				}
				continue
			}
			keys, err := openpgp.ReadArmoredKeyRing(strings.NewReader(row.PublicKeys.Primary.Bundle))
			if err != nil || len(keys) != 1 {
				t.Fatalf("%s: %d keys, %v", name, len(keys), err)
			}
			var raw bytes.Buffer
			if err := keys[0].Serialize(&raw); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for id := range keys[0].Identities {
				if !strings.HasPrefix(id, name+" ") {
					t.Errorf("%s has a key of %s", name, id)
				}
			}
		}
	}
}
