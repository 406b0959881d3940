// Package postman carries the server's messages away: mail to the SMTP server that the
// operator names, text messages to the operator's web hook, and in devel mode both into
// the log instead.
//
// It implements mail.Carrier and promises: nothing is sent to anybody in devel mode; a
// message for which there is no way is given up, counted, and said in the log without
// its receiver and text; a refusal that the other side calls final (SMTP 5xx, HTTP 4xx)
// is not repeated. Receivers and texts stand in the log in devel mode only.
//
// It is the only place where mail leaves the process. Connections go to the two
// configured places and nowhere else, and follow no redirects.
package postman

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	gomail "github.com/wneessen/go-mail"

	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/mail"
)

// Limits of carrying.
const (
	// smtpTimeout bounds the talk with the SMTP server for one mail.
	smtpTimeout = 30 * time.Second
	// hookTimeout bounds a call of the web hook, and hookReplyMax what is read of its
	// answer, in bytes.
	hookTimeout  = 15 * time.Second
	hookReplyMax = 4 << 10
	// passwordFileMax bounds a file with a password, in bytes.
	passwordFileMax = 1 << 10
)

// Ways of speaking to an SMTP server.
const (
	TLSStart = "starttls" // plain at first; refused unless the server then offers TLS
	TLSWhole = "tls"      // from the first byte
	TLSNone  = "none"     // never; for a server on the same machine
)

// Options is where messages go. The zero value sends nothing.
type Options struct {
	Host string // of the SMTP server; empty: there is none
	Port int
	TLS  string
	From string // the sender's address, with or without a name before it
	User string // empty: no authentication
	// Password is asked before each mail, so that a new one needs no restart.
	Password func() (string, error)
	Roots    *x509.CertPool // whom to trust; nil: whom the system trusts

	Hook       string // URL that takes text messages; empty: there is none
	HookSecret func() (string, error)

	Devel   bool
	Logger  *slog.Logger
	Clock   clock.Clock
	Metrics prometheus.Registerer // nil: none are kept
}

// Postman is a mail.Carrier.
type Postman struct {
	o      Options
	http   *http.Client
	counts *prometheus.CounterVec
}

// New makes a postman.
func New(o Options) *Postman {
	p := &Postman{o: o, http: &http.Client{
		Timeout:       hookTimeout,
		Transport:     &http.Transport{Proxy: nil, TLSClientConfig: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	p.counts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keystead_messages_total",
		Help: "Messages to people by way (mail, sms) and outcome: sent, logged (devel mode), failed (tried again later), refused (by the receiving side, for good), no way (none is configured).",
	}, []string{"way", "outcome"})
	for _, way := range []string{"mail", "sms"} {
		p.counts.WithLabelValues(way, "no way") // so that it can be watched from the start
	}
	if o.Metrics != nil {
		o.Metrics.MustRegister(p.counts)
	}
	return p
}

// Mails and Texts say whether messages of the kind can reach anybody.
func (p *Postman) Mails() bool { return p.o.Devel || p.o.Host != "" }
func (p *Postman) Texts() bool { return p.o.Devel || p.o.Hook != "" }

// outcome counts what became of a message, and returns err as the runner wants it.
func (p *Postman) outcome(way string, err error, final bool) error {
	label := "sent"
	switch {
	case err != nil && final:
		label, err = "refused", jobs.GiveUp(err)
	case err != nil:
		label = "failed"
	}
	p.counts.WithLabelValues(way, label).Inc()
	return err
}

// noWay gives a message up for which nothing is configured.
func (p *Postman) noWay(way, setting string) error {
	p.counts.WithLabelValues(way, "no way").Inc()
	return jobs.GiveUp(fmt.Errorf("the message cannot be sent, because %s is not set: nobody can verify an address here", setting))
}

// Mail implements mail.Carrier.
func (p *Postman) Mail(ctx context.Context, m mail.Message) error {
	if p.o.Devel {
		p.counts.WithLabelValues("mail", "logged").Inc()
		p.o.Logger.Info("devel mode: a mail is not sent but shown here", "to", m.To, "subject", m.Subject, "text", oneLine(m.Text))
		return nil
	}
	if p.o.Host == "" {
		return p.noWay("mail", "mail.host")
	}
	err := p.smtp(ctx, m)
	var refused *gomail.SendError
	final := errors.As(err, &refused) && !refused.IsTemp() && refused.ErrorCode() >= 500
	if err != nil {
		// What the library says may hold the receiver's address.
		err = fmt.Errorf("send a mail by %s: %s", p.o.Host, strings.ReplaceAll(err.Error(), m.To, "the receiver"))
	}
	return p.outcome("mail", err, final)
}

// smtp hands one mail to the SMTP server.
func (p *Postman) smtp(ctx context.Context, m mail.Message) error {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := msg.From(p.o.From); err != nil {
		return err
	}
	if err := msg.To(m.To); err != nil {
		return err
	}
	msg.Subject(m.Subject)
	msg.SetDateWithValue(p.o.Clock())
	msg.SetMessageID()
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	options := []gomail.Option{gomail.WithTimeout(smtpTimeout), gomail.WithTLSConfig(&tls.Config{
		ServerName: p.o.Host, RootCAs: p.o.Roots, MinVersion: tls.VersionTLS12,
	})}
	switch p.o.TLS {
	case TLSWhole:
		options = append(options, gomail.WithSSL())
	case TLSNone:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if p.o.User != "" {
		password, err := p.o.Password()
		if err != nil {
			return err
		}
		// Which way of logging in is the server's to say; go-mail takes the strongest,
		// and none that shows the password without TLS.
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(p.o.User), gomail.WithPassword(password))
	}
	options = append(options, gomail.WithPort(p.o.Port))
	c, err := gomail.NewClient(p.o.Host, options...)
	if err != nil {
		return err
	}
	return c.DialAndSendWithContext(ctx, msg)
}

// Text implements mail.Carrier.
func (p *Postman) Text(ctx context.Context, t mail.Text) error {
	if p.o.Devel {
		p.counts.WithLabelValues("sms", "logged").Inc()
		p.o.Logger.Info("devel mode: a text message is not sent but shown here", "to", t.To, "text", oneLine(t.Text))
		return nil
	}
	if p.o.Hook == "" {
		return p.noWay("sms", "sms.webhook")
	}
	final, err := p.hook(ctx, t)
	return p.outcome("sms", err, final)
}

// hook posts a text message to the operator's web hook as
// {"to":"+15551234567","text":"..."}. The secret goes along as a bearer token.
func (p *Postman) hook(ctx context.Context, t mail.Text) (final bool, err error) {
	body, err := json.Marshal(map[string]string{"to": t.To, "text": t.Text})
	if err != nil {
		return true, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.o.Hook, bytes.NewReader(body))
	if err != nil {
		return true, errors.New("the web hook for text messages is no URL")
	}
	req.Header.Set("Content-Type", "application/json")
	if p.o.HookSecret != nil {
		secret, err := p.o.HookSecret()
		if err != nil {
			return false, err
		}
		if secret != "" {
			req.Header.Set("Authorization", "Bearer "+secret)
		}
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return false, fmt.Errorf("call the web hook for text messages: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, hookReplyMax))
	switch {
	case resp.StatusCode/100 == 2:
		return false, nil
	case resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout:
		return true, fmt.Errorf("the web hook for text messages refuses: %s", resp.Status)
	}
	return false, fmt.Errorf("the web hook for text messages answers: %s", resp.Status)
}

// oneLine is a text of several lines in one.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// FromFile reads a password out of a file's first line each time it is asked. An empty
// path is an empty password.
func FromFile(path string) func() (string, error) {
	return func() (string, error) {
		if path == "" {
			return "", nil
		}
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("password file: %w", err)
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, passwordFileMax))
		if err != nil {
			return "", fmt.Errorf("password file %s: %w", path, err)
		}
		line, _, _ := strings.Cut(string(b), "\n")
		return strings.TrimRight(line, "\r"), nil
	}
}
