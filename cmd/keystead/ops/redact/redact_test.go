package redact

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
)

// canary is planted wherever a secret could be; it must never reach the log.
const canary = "c4n4ryS3cr3tValue"

type holder struct{ Session, Note string }

type speaker struct{}

func (speaker) String() string { return "login with pwh=" + canary }

type lazy struct{}

func (lazy) LogValue() slog.Value {
	return slog.GroupValue(slog.String("uid", "0123"), slog.String("passphrase", canary))
}

// longNIST and shortNIST have the first bytes of real tokens.
func longNIST() string {
	return base64.StdEncoding.EncodeToString(append([]byte{0x94, 34, 1, 0xc4, 64}, bytes.Repeat([]byte{0xa5}, 90)...))
}

func shortNIST() string {
	return base64.StdEncoding.EncodeToString(append([]byte{0x93, 34, 2, 0xc4, 19}, bytes.Repeat([]byte{0xa5}, 19)...))
}

// TestCanariesDoNotReachTheLog plants a secret in every place of a record that a
// caller could put it, in both formats and at the lowest level, and proves that
// none comes out.
func TestCanariesDoNotReachTheLog(t *testing.T) {
	u, err := url.Parse("http://127.0.0.1:3000/_/api/1.0/login.json?pwh=" + canary + "&uid=0123")
	if err != nil {
		t.Fatal(err)
	}
	plants := map[string]func(*slog.Logger){
		"session":         func(l *slog.Logger) { l.Info("m", "session", canary) },
		"header name":     func(l *slog.Logger) { l.Info("m", "X-Keybase-Session", canary) },
		"csrf":            func(l *slog.Logger) { l.Info("m", "csrf_token", canary) },
		"camel case":      func(l *slog.Logger) { l.Info("m", "loginSession", canary) },
		"pwh":             func(l *slog.Logger) { l.Debug("m", "pwh", canary) },
		"pdpka":           func(l *slog.Logger) { l.Debug("m", "pdpka5", canary) },
		"passphrase":      func(l *slog.Logger) { l.Debug("m", "new-passphrase", canary) },
		"sig":             func(l *slog.Logger) { l.Debug("m", "sig", canary) },
		"nist":            func(l *slog.Logger) { l.Debug("m", "nist", canary) },
		"authorization":   func(l *slog.Logger) { l.Debug("m", "Authorization", canary) },
		"bound attribute": func(l *slog.Logger) { l.With("token", canary).Info("m") },
		"group":           func(l *slog.Logger) { l.Info("m", slog.Group("session", "id", canary)) },
		"open group":      func(l *slog.Logger) { l.WithGroup("secrets").Info("m", "id", canary) },
		"bound group":     func(l *slog.Logger) { l.With(slog.Group("a", slog.Group("tokens", "x", canary))).Info("m") },
		"deep":            func(l *slog.Logger) { l.Info("m", slog.Group("a", slog.Group("b", "seed", canary))) },
		"lazy value":      func(l *slog.Logger) { l.Info("m", "who", lazy{}) },
		"bytes":           func(l *slog.Logger) { l.Info("m", "blob", []byte(canary)) },
		"struct":          func(l *slog.Logger) { l.Info("m", "arg", holder{canary, canary}) },
		"pointer":         func(l *slog.Logger) { l.Info("m", "arg", &holder{canary, canary}) },
		"map":             func(l *slog.Logger) { l.Info("m", "form", map[string]string{"note": canary}) },
		"values":          func(l *slog.Logger) { l.Info("m", "form", []any{canary}) },
		"strings":         func(l *slog.Logger) { l.Info("m", "args", []string{"token=" + canary}) },
		"stringer":        func(l *slog.Logger) { l.Info("m", "who", speaker{}) },
		"url":             func(l *slog.Logger) { l.Info("m", "url", u) },
		"query":           func(l *slog.Logger) { l.Info("m", "query", "uid=1&session="+canary+"&x=2") },
		"json":            func(l *slog.Logger) { l.Info("m", "text", `{"csrf_token":"`+canary+`","uid":"1"}`) },
		"json with quote": func(l *slog.Logger) { l.Info("m", "text", `{"token": "a\"b`+canary+`"}`) },
		"quoted json":     func(l *slog.Logger) { l.Info("m", "text", fmt.Sprintf("%q", `{"token":"`+canary+`"}`)) },
		"header line":     func(l *slog.Logger) { l.Info("m", "text", "X-Keybase-Session: "+canary) },
		"bearer":          func(l *slog.Logger) { l.Info("m", "text", "Authorization: Bearer "+canary) },
		"error":           func(l *slog.Logger) { l.Error("m", "err", fmt.Errorf("post: %w", errors.New("token="+canary))) },
		"message":         func(l *slog.Logger) { l.Info("login with passphrase=" + canary) },
		"long nist":       func(l *slog.Logger) { l.Info("m", "text", "got "+longNIST()) },
		"short nist":      func(l *slog.Logger) { l.Info("m", "text", "got "+shortNIST()) },
		"pem": func(l *slog.Logger) {
			l.Info("m", "text", "-----BEGIN PRIVATE KEY-----\n"+canary+"\n-----END PRIVATE KEY-----")
		},
		"cut pem":       func(l *slog.Logger) { l.Info("m", "text", "-----BEGIN PRIVATE KEY-----\n"+canary) },
		"secret at cut": func(l *slog.Logger) { l.Info("m", "text", strings.Repeat("x ", textBytesMax/2-4)+"token="+canary) },
		"number":        func(l *slog.Logger) { l.Info("m", "otp", 770077) },
	}
	for _, format := range []string{"text", "json"} {
		for name, plant := range plants {
			var out bytes.Buffer
			plant(New(&out, Options{Level: slog.LevelDebug, Format: format}))
			if out.Len() == 0 {
				t.Errorf("%s, %s: no record", format, name)
			}
			for _, secret := range []string{canary, canary[:6], longNIST()[8:40], shortNIST()[8:], "770077"} {
				if strings.Contains(out.String(), secret) {
					t.Errorf("%s, %s: the secret came out: %s", format, name, out.String())
				}
			}
		}
	}
}

// TestOrdinaryThingsStay proves that the nets leave what an operator needs: ids,
// counts, codes, addresses, errors and times.
func TestOrdinaryThingsStay(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, Options{Level: slog.LevelInfo, Format: "text"})
	l.Debug("below the level")
	l.With("door", "rest").Info("posted link 3 of 0123: code=205",
		"uid", "23260c2ce19420f97b58d7d95b68ca00", "kid", "0120aa0a", "sig_id", "ab0f", "sigs", 3, "body", 1200,
		"addr", "127.0.0.1:3000", "err", errors.New("seqno: want 4, got 3"), "session", true, "administrator", "alice",
		slog.Group("root", "seqno", 5323658))
	got := out.String()
	for _, want := range []string{"door=rest", "posted link 3 of 0123: code=205", "uid=23260c2ce19420f97b58d7d95b68ca00", "kid=0120aa0a",
		"sig_id=ab0f", "sigs=3", "body=1200", "addr=127.0.0.1:3000", "seqno: want 4, got 3", "session=true", "administrator=alice", "root.seqno=5323658", "time=", "level=INFO"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing from %s", want, got)
		}
	}
	if strings.Contains(got, "below") || strings.Contains(got, Hidden) {
		t.Errorf("unexpected in %s", got)
	}
}

// TestOneRecordOneLine proves that nobody can forge a record with a newline.
func TestOneRecordOneLine(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		New(&out, Options{Level: slog.LevelInfo, Format: format}).Info("a\nb", "name", "x\nlevel=ERROR", "k\ney", "v")
		if n := strings.Count(out.String(), "\n"); n != 1 {
			t.Errorf("%s: %d lines: %q", format, n, out.String())
		}
	}
}

// TestLevelCanBeAsked proves that the wrapped handler still answers for its level,
// so that callers can skip costly records.
func TestLevelCanBeAsked(t *testing.T) {
	l := New(&bytes.Buffer{}, Options{Level: slog.LevelWarn, Format: "json"})
	if l.Enabled(context.Background(), slog.LevelInfo) || !l.Enabled(context.Background(), slog.LevelError) {
		t.Error("the level is not kept")
	}
}

// FuzzScrub proves that no text makes the scrubber panic, that its output is
// bounded, and that a secret under a plain name=value does not survive.
func FuzzScrub(f *testing.F) {
	f.Add("a", "b")
	f.Add("session=", "&x")
	f.Add(`{"token":"\`, `"}`)
	f.Fuzz(func(t *testing.T, before, after string) {
		out := scrub(before)
		if len(out) > 2*textBytesMax+64*len(Hidden) && len(out) > 4*len(before) {
			t.Fatalf("%d bytes from %d", len(out), len(before))
		}
		if got := scrub(strings.Map(plain, before) + " token=" + canary + " " + after); strings.Contains(got, canary) && !strings.Contains(before+after, canary) {
			t.Fatalf("the secret came out of %q", got)
		}
	})
}

// plain keeps the letters and spaces of a text: marks before the pair could make it
// part of another one, which is another test's business.
func plain(r rune) rune {
	if r == ' ' || r >= 'a' && r <= 'z' {
		return r
	}
	return -1
}
