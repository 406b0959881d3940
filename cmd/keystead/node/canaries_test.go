package node

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/cmd/keystead/ops/redact"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
)

// canaries are the secrets that went over the wire, and what may know them.
type canaries struct {
	mu sync.Mutex
	// logged must not stand in the log, stored in no file either: of those a hash, or
	// a public key, is enough.
	logged, stored map[string]string // secret: what it is
}

// hashed are the names of arguments and of fields of answers whose value the server has
// no need to keep; kept are those that it must keep, and not tell its log.
var (
	hashed = []string{"pwh", "pdpka4", "pdpka5", "old_pdpka4", "old_pdpka5", "session", "csrf_token", "login_session", "invitation_id", "short_code", "passphrase"}
	kept   = []string{"lks_server_half", "lks_mask", "email", "phone_number", "verification_code", "e", "p"}
)

// meet takes a value by the name it was sent under.
func (c *canaries) meet(name, value string) {
	if len(value) < 6 || strings.Trim(value, "0") == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case slices.Contains(hashed, name):
		c.stored[value] = name
		for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
			if raw, err := decode(value); err == nil && len(raw) >= 16 {
				c.stored[string(raw)] = name
			}
		}
		c.logged[value] = name
	case slices.Contains(kept, name):
		c.logged[value] = name
	}
}

func (c *canaries) walk(name string, v any) {
	switch v := v.(type) {
	case string:
		c.meet(name, v)
	case map[string]any:
		for k, x := range v {
			c.walk(k, x)
		}
	case []any:
		for _, x := range v {
			c.walk(name, x)
		}
	}
}

// body takes the values of a form or of JSON.
func (c *canaries) body(b []byte) {
	var v any
	if json.Unmarshal(b, &v) == nil {
		c.walk("", v)
	} else if form, err := url.ParseQuery(string(b)); err == nil {
		for k, list := range form {
			for _, x := range list {
				c.meet(k, x)
			}
		}
	}
}

// RoundTrip implements http.RoundTripper: it lets everything through and remembers.
func (c *canaries) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		c.body(b)
		if req.Body = io.NopCloser(bytes.NewReader(b)); len(b) == 0 {
			req.Body = http.NoBody
		}
	}
	c.body([]byte(req.URL.RawQuery))
	c.meet("session", req.Header.Get("X-Keybase-Session"))
	c.meet("csrf_token", req.Header.Get("X-CSRF-Token"))
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return nil, err
	}
	c.body(b)
	res.Body = io.NopCloser(bytes.NewReader(b))
	return res, nil
}

// safe is a log that several goroutines write.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// TestSecretsStayOut plants secrets in every endpoint about accounts, in good requests
// and in bad ones, and proves that none stands in the log of a server that logs all it
// can, and that what the server needs only to recognise stands nowhere on its disk.
func TestSecretsStayOut(t *testing.T) {
	ctx := t.Context()
	birds := &canaries{logged: map[string]string{}, stored: map[string]string{}}
	texts := make(chan string, 8)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		texts <- string(b)
	}))
	defer hook.Close()
	l := newLab(t)
	var log safe
	l.log = redact.New(&log, redact.Options{Level: slog.LevelDebug, Format: "text"})
	l.cfg.SMS.Webhook, l.cfg.Signup.Policy = hook.URL, "invitation"
	r := l.mustStart(t)
	r.client.HTTP.Transport = birds
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var code string
	must(r.store.Update(ctx, func(tx *store.Tx) (err error) {
		code, _, err = accounts.NewInvitation(tx, r.Rand, accounts.InvitationSpec{Uses: 1})
		return err
	}))
	birds.meet("invitation_id", strings.ReplaceAll(code, "-", ""))
	must(good(ctx, r, code))
	birds.verifyPhone(t, r, texts)
	bad(t, r)
	birds.search(t, r, &log)
}

// good is what a person does with an account.
func good(ctx context.Context, r *run, code string) error {
	alice, err := client.Signup(ctx, r.verifier(strictWitness()), client.SignupOptions{
		Name: "alice", Stream: client.CheapStream([]byte("canary")), DeviceName: "desk", Invitation: code,
	})
	if err != nil {
		return err
	}
	if alice.Session, err = alice.NewSession(ctx); err != nil {
		return err
	}
	if _, err = alice.AddDevice(ctx, "phone", "mobile"); err != nil {
		return err
	}
	if err = alice.ChangePassword(ctx, client.CheapStream([]byte("second canary"))); err != nil {
		return err
	}
	nist := alice.NIST(alice.Device)
	for _, q := range []struct {
		endpoint string
		body     map[string]any
	}{
		{"email/add", map[string]any{"email": "canary.mail@example.org", "visibility": 1}},
		{"email/set-primary", map[string]any{"email": "canary.mail@example.org"}},
		{"contacts/lookup", map[string]any{"contacts": []map[string]any{{"e": "canary.friend@example.org"}, {"p": "+15550198765"}}, "token": ""}},
		{"user/phone_numbers", map[string]any{"phone_number": "+15550112233", "visibility": 0}},
	} {
		if _, err := r.client.PostJSON(ctx, q.endpoint, q.body, nist); err != nil {
			return err
		}
	}
	_, err = r.client.Post(ctx, "account/recover_username", url.Values{"email": {"canary.mail@example.org"}}, nil)
	return err
}

// verifyPhone waits for the text message and verifies the number with its code.
func (c *canaries) verifyPhone(t *testing.T, r *run, texts chan string) {
	t.Helper()
	select {
	case text := <-texts:
		c.meet("verification_code", regexp.MustCompile(`code for \S+ is (\d{6})`).FindStringSubmatch(text)[1])
	case <-t.Context().Done():
	}
}

// bad asks every endpoint of accounts with secrets where they belong, all of them wrong.
func bad(t *testing.T, r *run) {
	t.Helper()
	args, body := url.Values{"email_or_username": {"alice"}, "username": {"carol"}, "uid": {"00"}}, map[string]any{}
	for i, name := range slices.Concat(hashed, kept) {
		value := fmt.Sprintf("canary%02x%s", i, strings.Repeat("c4", 12))
		args.Set(name, value)
		body[name] = value
	}
	for _, endpoint := range []string{
		"signup", "getsalt", "login", "new_session", "sesscheck", "invitation/check", "invitation_request", "send_invitation",
		"passphrase/replace", "passphrase/sign", "passphrase/recover", "nuke", "delete", "send-reset-pw",
		"account/recover_username", "account/email_update_signed", "account/lockdown", "account/contact_settings",
		"email/add", "email/delete", "email/set-primary", "email/send-verify", "email/set-visibility", "email/search",
		"user/phone_numbers", "user/phone_number_verify", "user/phone_number_visibility", "user/phone_numbers_search",
		"contacts/lookup", "contacts/resolved", "invite_friends/invite", "user/private", "device/update", "key/multi",
		"autoreset/enter", "autoreset/cancel", "autoreset/reset", "autoreset/status", "sig/post_auth", "no/such/endpoint",
	} {
		for _, token := range []client.Credential{nil, client.RawToken("canarytoken" + strings.Repeat("QUJD", 20))} {
			for _, err := range []error{
				second(r.client.Get(t.Context(), endpoint, args, token)),
				second(r.client.Post(t.Context(), endpoint, args, token)),
				second(r.client.PostJSON(t.Context(), endpoint, body, token)),
			} {
				if err != nil && client.StatusCode(err) <= 0 {
					t.Fatalf("%s: %v", endpoint, err)
				}
			}
		}
	}
}

// search looks for every secret in the log, in the records and in all files.
func (c *canaries) search(t *testing.T, r *run, log *safe) {
	t.Helper()
	var disk bytes.Buffer
	v := r.store.View()
	err := v.Scan([]byte{0}, nil, func(k, b []byte) error {
		_, err := disk.Write(slices.Concat(k, []byte{'\n'}, b, []byte{'\n'}))
		return err
	})
	v.Close()
	if err != nil {
		t.Fatal(err)
	}
	r.mustStop(t)
	c.files(t, r.lab, "/", &disk)
	if len(c.logged) < 40 || len(c.stored) < 20 || disk.Len() < 10_000 || log.b.Len() < 10_000 {
		t.Fatalf("%d and %d secrets, %d bytes of disk, %d of log: too little to prove anything", len(c.logged), len(c.stored), disk.Len(), log.b.Len())
	}
	for secret, what := range c.logged {
		if at := bytes.Index(log.b.Bytes(), []byte(secret)); at >= 0 {
			t.Errorf("the log holds a %s: %q", what, log.b.Bytes()[max(at-80, 0):min(at+60, log.b.Len())])
		}
	}
	for secret, what := range c.stored {
		if at := bytes.Index(disk.Bytes(), []byte(secret)); at >= 0 {
			t.Errorf("the disk holds a %s: %q", what, disk.Bytes()[max(at-60, 0):min(at+60, disk.Len())])
		}
	}
}

// files reads all files below dir.
func (c *canaries) files(t *testing.T, l *lab, dir string, out *bytes.Buffer) {
	t.Helper()
	names, err := l.mem.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := l.mem.PathJoin(dir, name)
		info, err := l.mem.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			c.files(t, l, path, out)
			continue
		}
		f, err := l.mem.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
}
