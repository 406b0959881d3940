package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/keys"
)

// statusIn reads the status object of a reply and fails if there is none.
func statusIn(t *testing.T, what, body string) (code int, name string) {
	t.Helper()
	var r struct {
		Status *struct {
			Code   *int              `json:"code"`
			Name   string            `json:"name"`
			Desc   string            `json:"desc"`
			Fields map[string]string `json:"fields"`
		} `json:"status"`
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil || r.Status == nil || r.Status.Code == nil || r.Status.Name == "" {
		t.Fatalf("%s: no status object in %.200q (%v)", what, body, err)
	}
	return *r.Status.Code, r.Status.Name
}

// snapshot is everything that is stored, to see that bad input changes nothing.
func (d *door) snapshot(t *testing.T) map[string]string {
	t.Helper()
	v := d.store.View()
	defer v.Close()
	all := map[string]string{}
	if err := v.Scan([]byte{0}, nil, func(k, val []byte) error {
		all[string(k)] = string(val)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// garbage are values for arguments: none of them is right for anything that writes.
var garbage = []string{
	"", "0", "-1", "99999999999999999999", "true", "null", "[]", "{}", "\x00\xff\xfe", "%", "../../etc",
	strings.Repeat("a", 1500), strings.Repeat("0", 32), strings.Repeat("0", 70), "日本語", "a,b,,c", "1e309",
}

// argNames are the arguments that any endpoint reads.
var argNames = []string{
	"uid", "uids", "kid", "kids", "sig", "sig_ids", "sig_inner", "signing_kid", "type", "low", "c3", "tail", "last",
	"leaf_id", "start_seqno", "start_hash_meta", "hash", "username", "usernames", "email_or_username", "salt", "pwh",
	"pwh_version", "pdpka5_kid", "pdpka4", "pdpka5", "device_id", "devicename", "lks_server_half", "lks_client_half",
	"ppgen", "prior", "stage", "I", "sender", "receiver", "seqno", "msg", "poll", "generation", "boxes",
	"recipient_device_id", "downgrade_lease_id", "features", "team_names", "multi", "skip_last", "no_leaf",
	"email", "phone_number", "visibility", "assertion",
}

// TestGarbageIsRefused proves that every endpoint answers every kind of nonsense,
// with and without a session, with HTTP 200 and a status object, does not panic and
// changes nothing.
func TestGarbageIsRefused(t *testing.T) {
	d := openDoor(t)
	a := d.signUp(t, "victim")
	s, err := a.NewSession(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	session := []string{"X-Keybase-Session", s.Token, "X-CSRF-Token", s.CSRF}
	// These make something by design, however little they are told.
	makes := map[string]bool{
		"new_session": true, "bot/token/create": true, "stellar/disclaimer": true, "home/visit": true, // they take no argument
		"home": true, // it remembers what it showed
	}
	// These have nothing to refuse: they keep nothing, or drop what is not there.
	harmless := map[string]bool{
		"device/error": true, "kbfs/problem_sets": true, "downgrade/cancel": true,
	}
	before := d.snapshot(t)
	for i, r := range d.table() {
		if makes[r.name] {
			continue
		}
		for j, g := range garbage {
			args := url.Values{}
			for _, n := range argNames {
				if r.method == get {
					g = g[:min(len(g), 200)] // a request line has room for no more
				}
				args.Set(n, g)
			}
			path, form, what := apiPrefix+r.name+".json", "", fmt.Sprintf("route %d %s with garbage %d", i, r.name, j)
			if r.method == get {
				path += "?" + args.Encode()
			} else {
				form = args.Encode()
			}
			for _, header := range [][]string{nil, session} {
				code, body, _ := d.ask(t, r.method, path, "application/x-www-form-urlencoded", form, header...)
				if code != 200 {
					t.Fatalf("%s: HTTP %d", what, code)
				}
				st, _ := statusIn(t, what, body)
				if r.auth == authRequired && header == nil && st != status.LoginRequired {
					t.Fatalf("%s: status %d without a session", what, st)
				}
				if st == status.OK && r.method == post && r.repeats != reads && !harmless[r.name] {
					t.Fatalf("%s: taken", what)
				}
			}
			if r.method == post {
				for _, body := range []string{"", "{", "[]", "null", `{"sigs":` + strings.Repeat("[", 200) + `}`, `{"sigs":[{"sig":7}]}`, `{"sigs":[{"sig":""}]}`, `{"user_configs":[{"uid":"` + g[:min(8, len(g))] + `"}]}`} {
					_, reply, _ := d.ask(t, post, apiPrefix+r.name+".json", "application/json", body, session...)
					statusIn(t, what+" as JSON", reply)
				}
			}
		}
	}
	after := d.snapshot(t)
	for k, v := range after {
		if before[k] != v && k[0] != keys.Meta("")[0] {
			t.Errorf("record %q changed", k)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d records before, %d after", len(before), len(after))
	}
	if n := testutil.ToFloat64(d.Metrics.Panics); n != 0 {
		t.Errorf("%v handlers panicked", n)
	}
}

// TestAbsentEndpoints proves that what is not there answers an error and is counted,
// by name if clients know it, and that no path outside the API is an answer.
func TestAbsentEndpoints(t *testing.T) {
	d := openDoor(t)
	for _, name := range []string{"stellar/balances", "key/add", "no/such/thing", "../../secret"} {
		for _, method := range []string{get, post} {
			code, body, _ := d.ask(t, method, apiPrefix+name+".json", "", "")
			if strings.HasPrefix(name, "..") {
				if code != 404 {
					t.Errorf("%s: HTTP %d", name, code)
				}
				continue
			}
			if st, _ := statusIn(t, name, body); code != 200 || st == status.OK {
				t.Errorf("%s: HTTP %d, status %d", name, code, st)
			}
		}
	}
	if n := testutil.ToFloat64(d.Metrics.Unavailable.WithLabelValues("stellar/balances")); n != 2 {
		t.Errorf("stellar/balances counted %v times", n)
	}
	if n := testutil.ToFloat64(d.Metrics.Unavailable.WithLabelValues("other")); n != 2 {
		t.Errorf("unknown endpoints counted %v times", n)
	}
}

// TestTokenVerdict proves that replies tell a client whether its token was good:
// without the header it would send the long form for ever.
func TestTokenVerdict(t *testing.T) {
	d := openDoor(t)
	a := d.signUp(t, "teller")
	if err := a.Server().CheckSession(context.Background(), a.NIST(a.Device)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ token, endpoint, verdict string }{
		{"kyICxBMAAAAAAAAAAAAAAAAAAAAAAAAA", "sesscheck", "failed"},
		{"kyICxBMAAAAAAAAAAAAAAAAAAAAAAAAA", "sig/get", "failed"},
		{"not a token at all", "sesscheck", ""},
		{"", "sesscheck", ""},
	} {
		_, _, h := d.ask(t, get, apiPrefix+c.endpoint+".json?uid="+a.UID.String(), "", "", "X-Keybase-Session", c.token)
		if got := h.Get("X-Keybase-Auth-NIST"); got != c.verdict {
			t.Errorf("%s with %q: verdict %q, want %q", c.endpoint, c.token, got, c.verdict)
		}
	}
}

// TestTableIsComplete proves that no endpoint stands twice, that what is absent is
// not also served, and that every row says what a repeat does.
func TestTableIsComplete(t *testing.T) {
	s := &Server{}
	seen := map[string]bool{}
	for _, r := range s.table() {
		k := r.method + " " + r.name
		if seen[k] {
			t.Errorf("%s stands twice", k)
		}
		seen[k], seen[r.name] = true, true
		if r.handler == nil || r.repeats == "" || strings.Trim(r.name, "/") != r.name {
			t.Errorf("row %s is not whole", k)
		}
	}
	last := ""
	for _, name := range absent {
		if seen[name] {
			t.Errorf("%s is served and absent", name)
		}
		if name <= last {
			t.Errorf("%s after %s: keep the list sorted and without doubles", name, last)
		}
		last = name
	}
}
