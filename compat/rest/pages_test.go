package rest

import (
	"context"
	"crypto/rand"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/autoreset"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
)

// openResets is a door with resets that wait for three days.
func openResets(t *testing.T) (*door, *autoreset.Service) {
	t.Helper()
	var resets *autoreset.Service
	d := openDoor(t, func(o *Options) {
		var err error
		resets, err = autoreset.New(context.Background(), autoreset.Options{
			Store: o.Store, Rand: rand.Reader, Delay: 72 * time.Hour, DelayOne: 72 * time.Hour, Verify: time.Hour,
			Site: func() string { return "https://keys.example.org" },
		})
		if err != nil {
			t.Fatal(err)
		}
		o.Identity.OnReset(func(tx *store.Tx, f identity.ResetFact) error { return autoreset.Drop(tx, f.Account.UID) })
		o.Autoreset = resets
	})
	return d, resets
}

// readPage asks for a page and checks what every page of this kind must have.
func readPage(t *testing.T, d *door, method, path string, code int, wants ...string) string {
	t.Helper()
	got, body, h := d.ask(t, method, path, "", "")
	if got != code {
		t.Fatalf("%s %s: %d, want %d: %s", method, path, got, code, body)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		"X-Content-Type-Options": "nosniff",
	} {
		if h.Get(name) != want {
			t.Errorf("%s %s: %s is %q", method, path, name, h.Get(name))
		}
	}
	if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("%s %s: content policy %q", method, path, csp)
	}
	if strings.Contains(body, "<script") || strings.Contains(body, "{name}") {
		t.Errorf("%s %s: %s", method, path, body)
	}
	for _, w := range wants {
		if !strings.Contains(body, w) {
			t.Errorf("%s %s lacks %q: %s", method, path, w, body)
		}
	}
	return body
}

// TestResetPages proves that the pages behind the links of a reset change nothing when
// they are looked at and do what their button says when it is pressed; that an account
// is reset no sooner than it may be, and only once; that the password which is shown then
// is the one with which its owner logs in; and that a link that was guessed, cut or used
// up leads nowhere.
func TestResetPages(t *testing.T) {
	ctx := context.Background()
	d, resets := openResets(t)
	alice := d.signUp(t, "alice")
	must := mustOf(t)
	uid := kbsig.UIDOf("alice")
	waiting := func() *autoreset.Reset {
		t.Helper()
		v := d.store.View()
		defer v.Close()
		r, err := autoreset.Get(v, uid)
		must(err)
		return r
	}
	at := func(e autoreset.Event) {
		t.Helper()
		if r := waiting(); r.Event != e {
			t.Fatalf("the reset is at %d, not %d", r.Event, e)
		}
	}
	link := func(p autoreset.Purpose) string { return resets.Link(waiting(), p) }

	must(alice.EnterReset(ctx, false))
	at(autoreset.EventStart)
	verify := link(autoreset.LinkVerify)
	readPage(t, d, http.MethodGet, verify, 200, "<button>", "account alice", `method="post"`)
	readPage(t, d, http.MethodHead, verify, 200)
	at(autoreset.EventStart)
	for _, bad := range []string{
		autoreset.PathPrefix, autoreset.PathPrefix + "verify", verify + "x", verify[:len(verify)-2], verify + "/",
		strings.Replace(verify, "verify", "finish", 1), strings.Replace(verify, uid.String(), kbsig.UIDOf("bobby").String(), 1),
		strings.Replace(verify, "verify", "%3Cscript%3E", 1),
	} {
		readPage(t, d, http.MethodGet, bad, 404, "leads nowhere")
		readPage(t, d, http.MethodPost, bad, 404, "leads nowhere")
	}
	readPage(t, d, http.MethodPut, verify, 404)
	readPage(t, d, http.MethodDelete, verify, 404)
	at(autoreset.EventStart)
	readPage(t, d, http.MethodPost, verify, 200, "under way")
	readPage(t, d, http.MethodPost, verify, 200)
	at(autoreset.EventVerify)

	finish := link(autoreset.LinkFinish)
	readPage(t, d, http.MethodGet, finish, 409, "has to wait")
	readPage(t, d, http.MethodPost, finish, 409, "has to wait")
	d.clock.Advance(73 * time.Hour)
	must(d.store.Update(ctx, func(tx *store.Tx) error { return resets.Move(tx, uid) }))
	must(d.store.Update(ctx, func(tx *store.Tx) error { return resets.Move(tx, uid) }))
	at(autoreset.EventReady)
	if strings.Contains(readPage(t, d, http.MethodGet, finish, 200, "<button>"), "<code>") {
		t.Error("a password is shown before the button was pressed")
	}
	at(autoreset.EventReady)
	shown := readPage(t, d, http.MethodPost, finish, 200, "account is reset")
	password := regexp.MustCompile(`<code>([a-z2-9-]{24})</code>`).FindStringSubmatch(shown)
	if password == nil {
		t.Fatalf("no password in %s", shown)
	}
	v := d.store.View()
	acct, err := accounts.Get(v, uid)
	v.Close()
	must(err)
	login, err := accounts.Stretch(password[1], acct.Salt)
	must(err)
	now := *acct
	now.SetLogin(login)
	if now.PDPKA5 != acct.PDPKA5 || now.PDPKA4 != acct.PDPKA4 || acct.PDPKA5.IsZero() {
		t.Error("the password that is shown is not the account's")
	}
	readPage(t, d, http.MethodPost, finish, 404)
	readPage(t, d, http.MethodGet, verify, 404)
	if err := alice.Server().CheckSession(ctx, alice.NIST(alice.Device)); client.StatusCode(err) != 202 {
		t.Errorf("the old device: %v", err)
	}
}

// TestCancelPage proves that the link in the mails ends a reset that waits, whoever asked
// for it, and that the account is as it was.
func TestCancelPage(t *testing.T) {
	ctx := context.Background()
	d, resets := openResets(t)
	alice := d.signUp(t, "alice")
	must := mustOf(t)
	asked, err := client.Login(ctx, d.verifier(), "alice", "", client.CheapStream([]byte("alice")))
	must(err)
	must(asked.EnterReset(ctx, true))
	v := d.store.View()
	r, err := autoreset.Get(v, kbsig.UIDOf("alice"))
	v.Close()
	must(err)
	cancel := resets.Link(r, autoreset.LinkCancel)
	readPage(t, d, http.MethodGet, cancel, 200, "Cancel the reset")
	if w, err := asked.ResetStatus(ctx, asked.Session); err != nil || w == nil {
		t.Fatalf("looking at the page ended the reset: %v, %v", w, err)
	}
	readPage(t, d, http.MethodPost, cancel, 200, "is cancelled")
	readPage(t, d, http.MethodPost, cancel, 404)
	if w, err := asked.ResetStatus(ctx, asked.Session); err != nil || w != nil {
		t.Fatalf("the reset goes on: %v, %v", w, err)
	}
	must(alice.Server().CheckSession(ctx, alice.NIST(alice.Device)))
}
