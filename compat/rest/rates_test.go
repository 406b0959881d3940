package rest

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/valyala/fasthttp"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/limits"
)

// limited gives a door its rate limits and makes the test a proxy, which says from
// where each request comes.
func limited(o *Options) {
	refused := o.Metrics.RateRefused
	o.Rates = limits.New(limits.Table(), limits.Options{
		Clock: o.Clock, Refused: func(n limits.Name) { refused.WithLabelValues(string(n)).Inc() },
	})
	o.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// from asks as somebody at an address and returns the status of the reply.
func (d *door) from(t testing.TB, address, method, endpoint string, args url.Values) (code int, body string) {
	t.Helper()
	path, form := apiPrefix+endpoint+".json", args.Encode()
	if method == get {
		path, form = path+"?"+form, ""
	}
	http, body, _ := d.ask(t, method, path, "application/x-www-form-urlencoded", form, "X-Forwarded-For", address)
	if http != 200 {
		t.Fatalf("%s: HTTP %d: %s", endpoint, http, body)
	}
	code, _ = statusIn(t.(*testing.T), endpoint, body)
	return code, body
}

// TestEveryRouteHasAClass proves that no endpoint is without a rate class, that the
// classes count by the user only where the user is known, and by the outcome only
// where something is tried, and that writers and guessers are in a class for them.
func TestEveryRouteHasAClass(t *testing.T) {
	s := &Server{}
	table := map[limits.Name]limits.Limit{}
	for _, l := range limits.Table() {
		table[l.Name] = l
	}
	used := map[limits.Name]bool{
		limits.TokenByAddress: true,                          // of authenticate
		limits.CallByAddress:  true, limits.CallByUser: true, // of the RPC door
		limits.FetchByName: true, // of the fetcher
	}
	for _, n := range everyRequest {
		used[n] = true
	}
	for _, r := range s.table() {
		if r.rate == nil {
			t.Errorf("%s has no rate class", r.name)
			continue
		}
		if len(r.rate.before)+len(r.rate.user) == 0 {
			t.Errorf("%s: the class %s counts nothing", r.name, r.rate.name)
		}
		if len(r.rate.user) > 0 && r.auth != authRequired {
			t.Errorf("%s: the class %s counts by the user, who may be unknown", r.name, r.rate.name)
		}
		if r.method == post && r.repeats != reads && r.auth == authRequired && r.rate != ratePost && r.rate != rateSession && r.rate != rateCheck {
			t.Errorf("%s writes in the class %s", r.name, r.rate.name)
		}
		for _, part := range []struct {
			names []limits.Name
			user  bool
		}{{r.rate.before, false}, {r.rate.user, true}, {r.rate.failures, false}, {r.rate.successes, false}} {
			for _, n := range part.names {
				l, ok := table[n]
				if !ok || (l.Scope == limits.ByUser) != part.user {
					t.Errorf("%s: the class %s has %s in the wrong place", r.name, r.rate.name, n)
				}
				used[n] = true
			}
		}
	}
	for n := range table {
		if !used[n] {
			t.Errorf("no class uses %s", n)
		}
	}
}

// TestLoginGuessing proves that guesses at a password end with a sentence a person
// understands, that they are told apart by name and by address, and that neither
// they nor their end keep the owner out, or anybody else.
func TestLoginGuessing(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t, limited)
	d.signUp(t, "victim")
	guess := url.Values{"email_or_username": {"victim"}, "pdpka4": {"x"}, "pdpka5": {"y"}}
	for i := range 10 {
		if code, _ := d.from(t, "198.51.100.1", post, "login", guess); code != status.BadLoginPassword {
			t.Fatalf("guess %d: status %d", i, code)
		}
	}
	code, body := d.from(t, "198.51.100.1", post, "login", guess)
	if code != status.RateLimit || !strings.Contains(body, "too many failed logins to this account; please wait a minute and try again") {
		t.Fatalf("the eleventh guess: %s", body)
	}
	// Letters' case does not make another name.
	guess.Set("email_or_username", " VICTIM ")
	if code, _ := d.from(t, "198.51.100.1", post, "login", guess); code != status.RateLimit {
		t.Errorf("in capitals: status %d", code)
	}
	guess.Set("email_or_username", "victim")
	// From many networks.
	for i := range 200 {
		d.from(t, fmt.Sprintf("198.18.%d.7", i%20), post, "login", guess)
	}
	if n := testutil.ToFloat64(d.Metrics.RateRefused.WithLabelValues(string(limits.LoginByName))); n < 100 {
		t.Errorf("%v refusals by name", n)
	}
	// The owner, who sends no X-Forwarded-For and so comes from the proxy's place.
	for range 30 {
		if _, err := client.Login(ctx, d.verifier(), "victim", "", client.CheapStream([]byte("victim"))); err != nil {
			t.Fatalf("the owner: %v", err)
		}
	}
	// One address runs out of guesses at any name, others do not.
	for i := range 80 {
		guess.Set("email_or_username", fmt.Sprintf("nobody%d", i))
		d.from(t, "203.0.113.5", post, "login", guess)
	}
	if code, body := d.from(t, "203.0.113.5", post, "login", guess); code != status.RateLimit || !strings.Contains(body, "from your network") {
		t.Errorf("one address, many names: %s", body)
	}
	if code, _ := d.from(t, "203.0.113.6", post, "login", guess); code != status.BadLoginUserNotFound {
		t.Errorf("its neighbour: status %d", code)
	}
	d.clock.Advance(time.Hour)
	guess.Set("email_or_username", "victim")
	if code, _ := d.from(t, "198.51.100.1", post, "login", guess); code != status.BadLoginPassword {
		t.Errorf("an hour later: status %d", code)
	}
}

// TestSignUpFlood proves that one network makes accounts at the named figure only,
// that a sign-up which fails costs nothing of it, and that others go on.
func TestSignUpFlood(t *testing.T) {
	d := openDoor(t, limited)
	donor := d.signUp(t, "donor") // the proxy's own place
	args := func(name string) url.Values {
		return url.Values{
			"username": {name}, "salt": {strings.Repeat("00", 16)}, "pwh": {strings.Repeat("11", 32)},
			"pwh_version": {"3"}, "pdpka5_kid": {donor.Stream.LoginKID().String()}, "email": {name + "@example.org"},
		}
	}
	for range 50 {
		if code, _ := d.from(t, "198.51.100.1", post, "signup", args("donor")); code != status.UsernameTaken {
			t.Fatalf("a name that is taken: status %d", code)
		}
	}
	made := 0
	for i := range 40 {
		switch code, body := d.from(t, "198.51.100.1", post, "signup", args(fmt.Sprintf("flood%d", i))); code {
		case status.OK:
			made++
		case status.RateLimit:
			if !strings.Contains(body, "too many new accounts from your network; please wait 3 minutes") {
				t.Fatal(body)
			}
		default:
			t.Fatalf("sign-up %d: %s", i, body)
		}
	}
	if made != 20 {
		t.Errorf("%d accounts were made, want 20", made)
	}
	if code, body := d.from(t, "198.51.101.1", post, "signup", args("another")); code != status.OK {
		t.Errorf("another network: %s", body)
	}
}

// TestReadsAndUnknownEndpointsAreCounted proves that no path is free: the address
// that asks too much is refused everywhere, whatever it asks.
func TestReadsAndUnknownEndpointsAreCounted(t *testing.T) {
	d := openDoor(t, limited)
	ask := func(address, endpoint string) int {
		code, _ := d.from(t, address, get, endpoint, nil)
		return code
	}
	for i := 0; ask("198.51.100.1", "no/such/thing") != status.RateLimit; i++ {
		if i > 5000 {
			t.Fatal("unknown endpoints are never refused")
		}
	}
	if code := ask("198.51.100.1", "merkle/root"); code != status.RateLimit {
		t.Errorf("merkle/root: status %d", code)
	}
	if code := ask("198.51.100.2", "merkle/root"); code != status.OK {
		t.Errorf("its neighbour: status %d", code)
	}
	// Wrong tokens run out before requests do.
	wrong := 0
	for range 200 {
		_, body, _ := d.ask(t, get, apiPrefix+"sesscheck.json", "", "", "X-Forwarded-For", "192.0.2.9", "X-Keybase-Session", "kyICxBMAAAAAAAAAAAAAAAAAAAAAAAAA")
		if code, _ := statusIn(t, "sesscheck", body); code == status.BadSession {
			wrong++
		}
	}
	if wrong != 120 {
		t.Errorf("%d wrong tokens were looked at, want 120", wrong)
	}
}

// TestPostsOfOneUser proves that a user's writes are counted by the user, wherever
// they come from, and that others are not held up.
func TestPostsOfOneUser(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t, limited)
	busy, calm := d.signUp(t, "busy"), d.signUp(t, "calm")
	session := func(a *client.Account) []string {
		s, err := a.NewSession(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return []string{"X-Keybase-Session", s.Token, "X-CSRF-Token", s.CSRF}
	}
	visit := func(i int, who []string) int {
		_, body, _ := d.ask(t, post, apiPrefix+"home/visit.json", "", "", append(who, "X-Forwarded-For", fmt.Sprintf("10.1.%d.1", i%100))...)
		code, _ := statusIn(t, "home/visit", body)
		return code
	}
	one, other := session(busy), session(calm)
	taken := 0
	for i := range 400 {
		if visit(i, one) == status.OK {
			taken++
		}
	}
	if taken < 290 || taken > 300 {
		t.Errorf("%d writes were taken, want about 300", taken)
	}
	if code := visit(0, other); code != status.OK {
		t.Errorf("another user: status %d", code)
	}
}

// TestForwardedFor proves whose word about an address is believed.
func TestForwardedFor(t *testing.T) {
	s := &Server{Options: Options{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}}
	for _, tc := range []struct {
		remote string
		lines  []string
		want   string
	}{
		{"192.0.2.1", []string{"198.51.100.1"}, "192.0.2.1"}, // no proxy of ours
		{"10.0.0.1", nil, "10.0.0.1"},
		{"10.0.0.1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1", []string{"203.0.113.1, 198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1", []string{"203.0.113.1,198.51.100.1 , 10.0.0.2"}, "198.51.100.1"},
		{"10.0.0.1", []string{"203.0.113.1", "198.51.100.1, fd00::7"}, "198.51.100.1"},
		{"10.0.0.1", []string{"2001:db8::1"}, "2001:db8::1"},
		{"10.0.0.1", []string{"10.0.0.9"}, "10.0.0.9"},
		{"10.0.0.1", []string{"nonsense"}, "10.0.0.1"},
		{"10.0.0.1", []string{"203.0.113.1, , 10.0.0.2"}, "10.0.0.2"},
		{"10.0.0.1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
	} {
		var ctx fasthttp.RequestCtx
		ctx.Init(&fasthttp.Request{}, tcpAddr(tc.remote), nil)
		for _, l := range tc.lines {
			ctx.Request.Header.Add(fasthttp.HeaderXForwardedFor, l)
		}
		if got := s.addressOf(&ctx); got.String() != tc.want {
			t.Errorf("%s with %q: %s, want %s", tc.remote, tc.lines, got, tc.want)
		}
	}
}

// TestPatience proves how long waits are said.
func TestPatience(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Millisecond: "a second", 59 * time.Second: "59 seconds", 59500 * time.Millisecond: "a minute",
		61 * time.Second: "2 minutes", 3 * time.Hour: "180 minutes", time.Second: "a second",
	} {
		if got := patience(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}
