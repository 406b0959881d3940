package rest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
)

// badInput is a server as somebody meets it who gets something wrong.
type badInput struct {
	*door
	alice  *client.Account
	tokens map[string][]string // headers, by name
	codes  map[string]string   // invitation codes, by name
	words  map[string]string   // what stands for something in values
}

// TestBadInput shows, for each kind of bad input, what the person behind the client
// gets: the code that the client acts on, its name, and a sentence. It proves that every
// refusal has all three, that nothing of it is an HTTP error, and that nobody gets in.
func TestBadInput(t *testing.T) {
	datadriven.Walk(t, "testdata/badinput", func(t *testing.T, path string) {
		var b *badInput
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "server":
				policy := "open"
				d.MaybeScanArgs(t, "policy", &policy)
				b = newBadInput(t, accounts.SignupPolicy(policy))
				return ""
			case "later":
				var hours int
				d.ScanArgs(t, "hours", &hours)
				b.clock.Advance(time.Duration(hours) * time.Hour)
				return ""
			case "revoke":
				b.revokePhone(t)
				return ""
			case "teams":
				b.makeTeams(t)
				return ""
			case "bad":
				return b.badArguments(t, d)
			}
			return b.ask(t, d)
		})
		if n := testutil.ToFloat64(b.Metrics.Panics); n != 0 {
			t.Errorf("%v handlers panicked", n)
		}
	})
}

func newBadInput(t *testing.T, policy accounts.SignupPolicy) *badInput {
	t.Helper()
	b := &badInput{door: openDoor(t, func(o *Options) { o.Signup = policy }, withWays), tokens: map[string][]string{}, codes: map[string]string{}}
	if policy != accounts.SignupOpen {
		for name, spec := range map[string]accounts.InvitationSpec{"GOOD": {Uses: 5}, "SHORT": {Uses: 1, Lifetime: time.Hour}} {
			b.codes[name], _ = b.invite(t, spec)
		}
		return b
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	var err error
	b.alice, err = client.Signup(ctx, b.verifier(), client.SignupOptions{
		Name: "alice", Stream: client.CheapStream([]byte("alice")), DeviceName: "desk of alice",
	})
	must(err)
	bobby := b.signUp(t, "bobby")
	phone, err := b.alice.AddDevice(ctx, "phone of alice", "mobile")
	must(err)
	// Somebody has a mail address.
	if _, answer, _ := b.door.ask(t, post, apiPrefix+"signup.json", "application/x-www-form-urlencoded", goodSignUp("dora").Encode()); !strings.Contains(answer, `"code":0`) {
		t.Fatal(answer)
	}
	must(b.store.Update(ctx, func(tx *store.Tx) error { return accounts.VerifyMail(tx, kbsig.UIDOf("dora"), "dora@example.org") }))
	stranger := openDoor(t).signUp(t, "alice") // the same name at another server

	session := func(name string, a *client.Account) *client.Session {
		s, err := a.NewSession(ctx)
		must(err)
		b.tokens[name] = []string{"X-Keybase-Session", s.Token, "X-CSRF-Token", s.CSRF}
		return s
	}
	nist := func(name string, uid client.UID, on client.DeviceID, key *client.SigningKey, change func(*client.NIST)) {
		n, err := client.NewNIST(uid, on, b.clock.Now(), rand.Reader)
		must(err)
		if change != nil {
			change(n)
		}
		n.Sign(key)
		b.tokens[name] = []string{"X-Keybase-Session", base64.StdEncoding.EncodeToString(n.Long)}
		b.tokens[name+"-hash"] = []string{"X-Keybase-Session", base64.StdEncoding.EncodeToString(n.Short)}
	}
	s := session("session", b.alice)
	b.tokens["session-without-csrf"] = []string{"X-Keybase-Session", s.Token}
	b.tokens["session-with-csrf-of-bobby"] = []string{"X-Keybase-Session", s.Token, "X-CSRF-Token", session("bobby", bobby).CSRF}
	session("session-of-another-server", stranger)
	desk := b.alice.Device
	nist("token", b.alice.UID, desk.ID, desk.Sig, nil)
	nist("token-of-phone", b.alice.UID, phone.ID, phone.Sig, nil)
	nist("token-of-another-server", stranger.UID, stranger.Device.ID, stranger.Device.Sig, nil)
	nist("token-signed-by-bobby", b.alice.UID, desk.ID, bobby.Device.Sig, nil)
	nist("token-for-another-site", b.alice.UID, desk.ID, desk.Sig, func(n *client.NIST) { n.Host = "keybase.example" })
	nist("token-of-tomorrow", b.alice.UID, desk.ID, desk.Sig, func(n *client.NIST) { n.Generated += 48 * 3600 })
	nist("token-for-ever", b.alice.UID, desk.ID, desk.Sig, func(n *client.NIST) { n.Lifetime = 10 * 365 * 24 * 3600 })
	nist("token-of-next-version", b.alice.UID, desk.ID, desk.Sig, func(n *client.NIST) { n.Version = 35 })
	b.tokens["never-seen-hash"] = []string{"X-Keybase-Session", b.tokens["token-for-another-site-hash"][1]}
	b.tokens["garbage"] = []string{"X-Keybase-Session", "let me in"}
	b.tokens["long-garbage"] = []string{"X-Keybase-Session", strings.Repeat("QUJD", 2000)}
	b.tokens["nobody"] = nil
	return b
}

// revokePhone ends alice's second device.
func (b *badInput) revokePhone(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	if err := b.alice.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	for id := range b.alice.Devices {
		if id != b.alice.Device.ID {
			if err := b.alice.RevokeDevice(ctx, id); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("alice has no second device")
}

// goodSignUp is a sign-up with which nothing is wrong.
func goodSignUp(name string) url.Values {
	return url.Values{
		"username": {name}, "email": {name + "@example.org"}, "invitation_id": {openInvitation},
		"salt": {strings.Repeat("01", 16)}, "pwh": {strings.Repeat("02", 32)}, "pwh_version": {"3"},
		"pdpka5_kid": {"0120" + strings.Repeat("03", 32) + "0a"},
	}
}

// ask sends what a case says and shows the answer. The input is a line for each argument
// of a form or a query; for JSON it is the body.
func (b *badInput) ask(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	as, endpoint, size := "nobody", d.CmdArgs[0].Key, 0
	d.MaybeScanArgs(t, "as", &as)
	d.MaybeScanArgs(t, "bytes", &size)
	header, known := b.tokens[as]
	if !known && as != "nobody" {
		t.Fatalf("there is no token %q", as)
	}
	args := url.Values{}
	if endpoint == "signup" {
		args = goodSignUp("carol")
	}
	method, contentType, path, body := post, "application/x-www-form-urlencoded", apiPrefix+endpoint+".json", ""
	if d.Cmd == "json" || d.Cmd == "raw" {
		for word, value := range b.words {
			d.Input = strings.ReplaceAll(d.Input, word, value)
		}
		body = d.Input + strings.Repeat(" ", max(0, size-len(d.Input)))
		if contentType = "application/json"; d.Cmd == "raw" {
			d.ScanArgs(t, "type", &contentType)
		}
	} else {
		b.arguments(t, args, d.Input)
		if method = strings.ToUpper(d.Cmd); method == post {
			body = args.Encode()
		} else {
			path += "?" + args.Encode()
		}
	}
	before := b.people(t)
	code, answer, h := b.door.ask(t, method, path, contentType, body, header...)
	shown := b.show(t, code, answer)
	if verdict := h.Get("X-Keybase-Auth-NIST"); verdict != "" {
		shown += "token " + verdict + "\n"
	}
	if refused := !strings.HasPrefix(shown, "0 OK"); refused && b.people(t) != before {
		t.Errorf("%s: somebody got in", d.Pos)
	}
	return shown
}

// arguments reads lines such as name = value; a value in double quotes is a Go string,
// and - takes the argument away.
func (b *badInput) arguments(t *testing.T, args url.Values, input string) {
	t.Helper()
	for line := range strings.Lines(input) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		if quoted, err := strconv.Unquote(value); err == nil {
			value = quoted
		}
		if code, isCode := b.codes[value]; isCode {
			value = code
		}
		if value == "UID" {
			value = b.alice.UID.String()
		}
		if w, ok := b.words[value]; ok {
			value = w
		}
		if args.Del(name); value != "-" {
			args.Set(name, value)
		}
	}
}

func (b *badInput) people(t *testing.T) (n int) {
	t.Helper()
	for k := range b.snapshot(t) {
		if k[0] == 'A' || k[0] == 'E' {
			n++
		}
	}
	return n
}

// show is the status as the client and the person see it.
func (b *badInput) show(t *testing.T, code int, answer string) string {
	t.Helper()
	if code != 200 {
		return fmt.Sprintf("HTTP %d\n", code)
	}
	var r struct {
		Status struct {
			Code   *int
			Name   string
			Desc   string
			Fields map[string]string
		}
	}
	if err := json.Unmarshal([]byte(answer), &r); err != nil || r.Status.Code == nil {
		t.Fatalf("no status in %.200q: %v", answer, err)
	}
	st := r.Status
	if *st.Code == status.OK {
		return "0 OK\n"
	}
	if st.Name == "" || len(strings.Fields(st.Desc)) < 2 {
		t.Errorf("%d %s: %q is no sentence", *st.Code, st.Name, st.Desc)
	}
	if secret := hex.EncodeToString([]byte("secret")); strings.Contains(answer, secret) {
		t.Errorf("the answer repeats a secret: %s", answer)
	}
	line := fmt.Sprintf("%d %s: %s\n", *st.Code, st.Name, st.Desc)
	for _, f := range slices.Sorted(func(yield func(string) bool) {
		for k := range st.Fields {
			if !yield(k) {
				return
			}
		}
	}) {
		line += "field " + f + "\n"
	}
	return line
}
