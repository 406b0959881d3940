package postman

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/keystead/keystead/cmd/keystead/tlsfile/testca"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/mail"
)

// sink is an SMTP server in the test's process: what came, and what it answers.
type sink struct {
	mu     sync.Mutex
	got    []string // envelope and data of each mail
	refuse error    // at RCPT
	tls    bool     // of the last session
}

type session struct {
	s    *sink
	c    *smtp.Conn
	user string
	env  string
}

func (s *sink) NewSession(c *smtp.Conn) (smtp.Session, error) { return &session{s: s, c: c}, nil }
func (x *session) AuthMechanisms() []string                   { return []string{sasl.Plain} }
func (x *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "keys" || password != "right horse" {
			return errors.New("wrong password")
		}
		x.user = user
		return nil
	}), nil
}
func (x *session) Mail(from string, _ *smtp.MailOptions) error {
	if x.user == "" {
		return smtp.ErrAuthRequired
	}
	x.env = from
	return nil
}
func (x *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	x.env += " > " + to
	return x.s.refuse
}
func (x *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	_, x.s.tls = x.c.TLSConnectionState()
	x.s.got = append(x.s.got, x.env+"\n"+string(b))
	return err
}
func (x *session) Reset()        {}
func (x *session) Logout() error { return nil }

// serve starts the sink; whole is TLS from the first byte.
func serve(t *testing.T, whole bool) (s *sink, port int, roots *x509.CertPool) {
	t.Helper()
	ca, err := testca.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Issue(testca.Leaf{})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots = ca.Pool()
	s = &sink{}
	srv := smtp.NewServer(s)
	srv.Domain, srv.TLSConfig = "localhost", &tls.Config{Certificates: []tls.Certificate{pair}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port = ln.Addr().(*net.TCPAddr).Port
	if whole {
		ln = tls.NewListener(ln, srv.TLSConfig)
	}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	return s, port, roots
}

func options(port int, roots *x509.CertPool, log io.Writer) Options {
	return Options{
		Host: "localhost", Port: port, TLS: TLSStart, From: "Our keys <keys@example.org>", User: "keys",
		Password: func() (string, error) { return "right horse", nil }, Roots: roots,
		Logger: slog.New(slog.NewTextHandler(log, nil)), Clock: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
		Metrics: prometheus.NewRegistry(),
	}
}

func (p *Postman) count(t *testing.T, way, outcome string) float64 {
	t.Helper()
	var m dto.Metric
	if err := p.counts.WithLabelValues(way, outcome).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

var letter = mail.Message{To: "bob@example.net", Subject: "Verify your address", Text: "Hello bob,\n\nöffne this.\n.\nQUIT\n"}

// TestMailBySMTP proves that a mail arrives whole at an SMTP server under both ways of
// TLS, with a login, and that a text which looks like SMTP ends nothing.
func TestMailBySMTP(t *testing.T) {
	for _, how := range []string{TLSStart, TLSWhole} {
		s, port, roots := serve(t, how == TLSWhole)
		o := options(port, roots, io.Discard)
		o.TLS = how
		p := New(o)
		if err := p.Mail(t.Context(), letter); err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if len(s.got) != 1 || !s.tls || p.count(t, "mail", "sent") != 1 {
			t.Fatalf("%s: %d mails arrived, TLS %t", how, len(s.got), s.tls)
		}
		for _, want := range []string{"keys@example.org > bob@example.net\n", "Subject: Verify your address", "From: \"Our keys\" <keys@example.org>", "To: <bob@example.net>", "Auto-Submitted: auto-generated", "=C3=B6ffne this.", "\r\nQUIT", "Date: Fri, 02 Jan 2026 03:04:05 +0000"} {
			if !strings.Contains(s.got[0], want) {
				t.Errorf("%s: no %q in\n%s", how, want, s.got[0])
			}
		}
	}
}

// TestMailThatDoesNotArrive proves that a mail which may arrive later is kept, one that
// the server refuses for good is given up, no password leaves without TLS, and no error
// holds the receiver's address.
func TestMailThatDoesNotArrive(t *testing.T) {
	s, port, roots := serve(t, false)
	for _, tc := range []struct {
		name   string
		change func(*Options)
		refuse error
		final  bool
	}{
		{"busy", nil, &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 0, 0}, Message: "later for bob@example.net"}, false},
		{"unknown", nil, &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no bob@example.net here"}, true},
		{"untrusted", func(o *Options) { o.Roots = x509.NewCertPool() }, nil, false},
		{"wrong password", func(o *Options) { o.Password = func() (string, error) { return "wrong", nil } }, nil, false},
		{"no password", func(o *Options) { o.Password = FromFile("/nowhere/at/all") }, nil, false},
		{"login without TLS", func(o *Options) { o.TLS = TLSNone }, nil, false},
		{"nobody there", func(o *Options) { o.Port = 1 }, nil, false},
	} {
		o := options(port, roots, io.Discard)
		if tc.change != nil {
			tc.change(&o)
		}
		s.refuse = tc.refuse
		err := New(o).Mail(t.Context(), letter)
		if err == nil || jobs.Hopeless(err) != tc.final || strings.Contains(err.Error(), "bob@") || strings.Contains(err.Error(), "right horse") {
			t.Errorf("%s: %v (final: %t)", tc.name, err, jobs.Hopeless(err))
		}
	}
	if len(s.got) != 0 {
		t.Errorf("%d mails arrived", len(s.got))
	}
}

// TestNoWay proves that without configuration a message is given up and counted, and
// that nothing of it stands in the log.
func TestNoWay(t *testing.T) {
	var log bytes.Buffer
	o := options(0, nil, &log)
	o.Host = ""
	p := New(o)
	for _, err := range []error{p.Mail(t.Context(), letter), p.Text(t.Context(), mail.Text{To: "+15551234567", Text: "Your code is 123456"})} {
		if err == nil || !strings.Contains(err.Error(), "is not set") {
			t.Errorf("%v", err)
		}
	}
	if p.count(t, "mail", "no way") != 1 || p.count(t, "sms", "no way") != 1 || p.Mails() || p.Texts() {
		t.Error("not counted")
	}
	if strings.Contains(log.String(), "bob") || strings.Contains(log.String(), "123456") {
		t.Errorf("the log holds a message:\n%s", &log)
	}
}

// TestDevelShows proves that in devel mode messages stand in the log, readable and one a
// line, and are sent to nobody.
func TestDevelShows(t *testing.T) {
	s, port, roots := serve(t, false)
	var log bytes.Buffer
	o := options(port, roots, &log)
	o.Devel, o.Hook = true, "http://127.0.0.1:1/"
	p := New(o)
	if err := errors.Join(p.Mail(t.Context(), letter), p.Text(t.Context(), mail.Text{To: "+15551234567", Text: "Your code is 123456"})); err != nil {
		t.Fatal(err)
	}
	if strings.Count(log.String(), "\n") != 2 || !strings.Contains(log.String(), "bob@example.net") || !strings.Contains(log.String(), "Your code is 123456") || len(s.got) != 0 {
		t.Errorf("%d mails were sent; the log:\n%s", len(s.got), &log)
	}
}

// TestWebHook proves what the web hook is sent, and how its answers are understood: no
// redirect is followed, 4xx is final, anything else but 2xx is tried again.
func TestWebHook(t *testing.T) {
	var got string
	answer, elsewhere := 204, 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			elsewhere++
		}
		b, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.Header.Get("Authorization") + " " + r.Header.Get("Content-Type") + " " + string(b)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(answer)
	}))
	defer srv.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("sesame\r\nmore"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := options(0, nil, io.Discard)
	o.Hook, o.HookSecret = srv.URL+"/send", FromFile(secret)
	p := New(o)
	for code, want := range map[int]string{204: "", 200: "", 302: "tried again", 400: "final", 404: "final", 429: "tried again", 500: "tried again"} {
		answer = code
		err := p.Text(context.Background(), mail.Text{To: "+15551234567", Text: "Your code is 1"})
		outcome := ""
		switch {
		case jobs.Hopeless(err):
			outcome = "final"
		case err != nil:
			outcome = "tried again"
		}
		if outcome != want {
			t.Errorf("an answer of %d is %q: %v", code, outcome, err)
		}
	}
	if want := `POST Bearer sesame application/json {"text":"Your code is 1","to":"+15551234567"}`; got != want {
		t.Errorf("got %s", got)
	}
	if elsewhere != 0 {
		t.Error("a redirect was followed")
	}
}
