package proofs

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/merklehot/pvl"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// TestOutcome proves what checks make of a proof, whatever comes in which order: it
// holds from the first time it was seen until it was missing three times in a row; what
// says nothing about it changes nothing for a week; and what is gone comes back when it
// is seen again.
func TestOutcome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_700_000_000, 0)
		p := &Proof{State: StateLooking, Ctime: now.Unix()}
		hard, seenEver, gone := 0, false, false
		var seenLast time.Time
		for range rapid.IntRange(1, 60).Draw(t, "checks") {
			now = now.Add(time.Duration(rapid.Int64Range(1, int64(48*time.Hour)).Draw(t, "later")))
			var f *pvl.Failure
			switch rapid.IntRange(0, 3).Draw(t, "outcome") {
			case 0:
				hard, seenEver, gone, seenLast = 0, true, false, now
			case 1:
				f = &pvl.Failure{Status: pvl.StatusTimeout}
			default:
				f = &pvl.Failure{Status: pvl.StatusNotFound}
				hard++
			}
			p.outcome(now, "https://a.example/", f)
			gone = gone || seenEver && hard >= hardFailuresMax
			var want State
			switch {
			case !seenEver:
				want = StateLooking
			case gone:
				want = StatePermFailure
			case hard > 0 || now.Sub(seenLast) > softGrace:
				want = StateTempFailure
			default:
				want = StateOK
			}
			// Once shaky, only being seen makes it whole again.
			if want == StateOK && p.State == StateTempFailure && f != nil {
				want = StateTempFailure
			}
			if p.State != want {
				t.Fatalf("state %d, want %d after %v (hard %d)", p.State, want, f, hard)
			}
			if p.State.Holds() != (p.Since != 0) {
				t.Fatalf("state %d holds since %d", p.State, p.Since)
			}
			next := p.next(now)
			if !next.IsZero() && (!next.After(now) || next.Sub(now) > goneMax+goneMax/jitterParts) {
				t.Fatalf("state %d: looked for again after %s", p.State, next.Sub(now))
			}
			if next.IsZero() && p.State.Holds() {
				t.Fatal("a proof that holds is never looked at again")
			}
		}
	})
}

// TestTexts proves that what people are told to publish passes the check that stock
// clients make: the id they look for is there, and no other word of base64 as long.
func TestTexts(t *testing.T) {
	for _, s := range fixed(true) {
		sig := kbsig.SigIDBase{5, 250, 190}
		text, meta := s.text(telling{user: "alice", service: s, name: "al.ice", sig: sig, packet: []byte(strings.Repeat("packet", 30))})
		switch s.name {
		case "twitter":
			wordsOf(t, s.name, text, sig.Short())
		case "dns", "rooter":
			wordsOf(t, s.name, text, sig.Medium())
		case "hackernews":
			if !strings.Contains(text+" ", "https://keybase.io/alice/sigs/"+sig.Medium()+" ") {
				t.Errorf("%s: %s", s.name, text)
			}
		case "reddit":
			if !strings.Contains(meta["title"].(string), sig.Medium()) {
				t.Errorf("%s: %v", s.name, meta)
			}
		case "http", "https", "github":
			long := 0
			for _, line := range strings.Split(text, "\n") {
				if len(line) >= 80 && strings.Trim(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=_-") == "" {
					long++
				}
			}
			if long != 1 {
				t.Errorf("%s: %d blocks of base64", s.name, long)
			}
		}
	}
}

// wordsOf: every word of base64 as long as the id is the id.
// client: go/libkb/services.go:BaseCheckProofTextShort
func wordsOf(t *testing.T, name, text, id string) {
	t.Helper()
	found := false
	for _, w := range strings.FieldsFunc(text, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/+_-", r)
	}) {
		if len(w) >= len(id) {
			found = found || w == id
			if w != id {
				t.Errorf("%s: the word %q", name, w)
			}
		}
	}
	if !found {
		t.Errorf("%s: %q does not hold %q", name, text, id)
	}
}

// TestAccept proves which statements are taken: about services that can be checked
// here, under names that people can have there.
func TestAccept(t *testing.T) {
	for _, devel := range []bool{false, true} {
		o := Options{Devel: devel}
		if devel {
			o.Services = DevelServices()
		}
		b, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		onlyDevel := func(err error) error {
			if devel {
				return nil
			}
			return err
		}
		for _, tc := range []struct {
			at   sigchain.ServiceSection
			want error
		}{
			{sigchain.ServiceSection{Name: "github", Username: "Alice-1"}, nil},
			{sigchain.ServiceSection{Name: "github", Username: "-alice"}, ErrBadName},
			{sigchain.ServiceSection{Name: "hackernews", Username: "a"}, ErrBadName},
			{sigchain.ServiceSection{Name: "coinbase", Username: "alice"}, ErrUnknownService},
			{sigchain.ServiceSection{Name: "nowhere.example", Username: "alice"}, ErrUnknownService},
			{sigchain.ServiceSection{Name: "rooter", Username: "alice"}, onlyDevel(ErrUnknownService)},
			{sigchain.ServiceSection{Name: "gubble.social", Username: "alice"}, onlyDevel(ErrUnknownService)},
			{sigchain.ServiceSection{Protocol: "dns", Host: "Site.example"}, nil},
			{sigchain.ServiceSection{Protocol: "https:", Host: "a.b.example"}, nil},
			{sigchain.ServiceSection{Protocol: "http:", Host: "1.2.3.4"}, ErrBadName},
			{sigchain.ServiceSection{Protocol: "http:", Host: "localhost"}, ErrBadName},
			{sigchain.ServiceSection{Protocol: "https:", Host: "site.example:8443"}, ErrBadName},
			{sigchain.ServiceSection{Protocol: "https:", Host: "site.example/x"}, ErrBadName},
		} {
			if err := b.Accept(&tc.at); err != tc.want {
				t.Errorf("devel %t: %+v: %v, want %v", devel, tc.at, err, tc.want)
			}
		}
	}
}

// goodConfig is a service as its operator would publish it.
const goodConfig = `{"version":1,"domain":"example.org","display_name":"Example","description":"","username":{"re":"^[a-z0-9_]+$","min":1,"max":40},
	"brand_color":"#000000","prefill_url":"https://example.org/prove?u=%{username}&k=%{kb_username}&s=%{sig_hash}&a=%{kb_ua}",
	"profile_url":"https://example.org/@%{username}","check_url":"https://example.org/kb.json?u=%{username}",
	"check_path":["signatures"],"avatar_path":["avatar",0,{"all":true}],"group":"People"}`

// TestConfig proves that a service which some client would skip is refused at the start,
// with the field that is wrong.
func TestConfig(t *testing.T) {
	c, err := ParseConfig([]byte(goodConfig))
	if err != nil || c.Group != "People" || len(c.AvatarPath) != 3 {
		t.Fatalf("%+v, %v", c, err)
	}
	if at, ok := c.fill(c.CheckURL, "bob"); !ok || at != "https://example.org/kb.json?u=bob" {
		t.Errorf("%s, %t", at, ok)
	}
	for _, name := range []string{"a/b", "a?b", "a#b", "a%2fb", "a&b", "a b", "a@b:c"} {
		if at, ok := c.fill(c.CheckURL, name); ok {
			t.Errorf("%q leads to %s", name, at)
		}
	}
	for _, tc := range []struct{ from, to, says string }{
		{`"example.org"`, `"Example.org"`, "domain"},
		{`"example.org"`, `"example1.org"`, "domain"},
		{`"version":1`, `"version":0`, "version"},
		{`"^[a-z0-9_]+$"`, `"[a-z]+"`, "username.re"},
		{`"^[a-z0-9_]+$"`, `"^(["`, "username.re"},
		{`"min":1`, `"min":50`, "min and max"},
		{`%{kb_ua}`, ``, "prefill_url"},
		{`@%{username}`, ``, "profile_url"},
		{`https://example.org/kb.json`, `ftp://example.org/kb.json`, "check_url"},
		{`["signatures"]`, `[]`, "check_path"},
		{`["signatures"]`, `[{"contents":true}]`, "selector"},
		{`"Example"`, `""`, "display_name"},
		{`"group"`, `"grup"`, "grup"},
		{`"People"}`, `"People"}{}`, "follows"},
	} {
		_, err := ParseConfig([]byte(strings.Replace(goodConfig, tc.from, tc.to, 1)))
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s instead of %s: %v", tc.to, tc.from, err)
		}
	}
	if _, err := New(Options{Services: []*Config{c, c}}); err == nil {
		t.Error("one domain twice is taken")
	}
}

// TestKits proves that kits have the frame that clients read, that their rows pass the
// client's checks, and that the same services always give the same hashes.
func TestKits(t *testing.T) {
	c, err := ParseConfig([]byte(goodConfig))
	if err != nil {
		t.Fatal(err)
	}
	for _, devel := range []bool{false, true} {
		services := []*Config{c}
		if devel {
			services = append(services, DevelServices()...)
		}
		kits, err := Kits(services, devel)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Kits(services, devel)
		if err != nil || again != kits {
			t.Errorf("devel %t: the kits differ from one time to the next: %v", devel, err)
		}
		for _, k := range kits.All() {
			var doc struct {
				Version int                        `json:"kit_version"`
				Tab     map[string]json.RawMessage `json:"tab"`
			}
			if err := json.Unmarshal([]byte(k.JSON), &doc); err != nil || doc.Version != 1 || doc.Tab["1"] == nil || k != roots.NewKit(k.JSON) {
				t.Errorf("devel %t: %v: %.80s", devel, err, k.JSON)
			}
		}
		var params struct {
			Tab struct {
				One struct {
					Services []externalService `json:"services"`
				} `json:"1"`
			} `json:"tab"`
		}
		if err := json.Unmarshal([]byte(kits.ProofParams.JSON), &params); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, s := range params.Tab.One.Services {
			if s.Display == nil || seen[s.Display.Key] || s.Config != nil && s.Config.Domain != s.Display.Key || s.Display.LogoKey == "" {
				t.Errorf("devel %t: row %+v", devel, s)
				continue
			}
			seen[s.Display.Key] = true
		}
		if !seen["example.org"] || !seen["github"] || seen["gubble.social"] != devel {
			t.Errorf("devel %t: rows %v", devel, seen)
		}
	}
}

// FuzzParseConfig proves that no file about a service crashes the server, and that what
// passes gives kits.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(goodConfig))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConfig(text)
		if err != nil {
			return
		}
		if _, err := Kits([]*Config{c}, false); err != nil {
			t.Error(err)
		}
	})
}
