package rest

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/autoreset"
	"github.com/keystead/keystead/engine/limits"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// The pages that links in mails about resets lead to. To look at a page (GET, HEAD)
// changes nothing: mail programs and their guards open links by themselves. The button on
// it posts to the same address. Who has the link may do what it is for: it is secret, is
// told to nobody else (no referrer), and is over with the reset.
//
//	/_/account-reset/verify/<uid>/<secret>   begins the wait
//	/_/account-reset/cancel/<uid>/<secret>   ends the reset
//	/_/account-reset/finish/<uid>/<secret>   resets the account, shows a new password once

// ratePage counts requests for pages like look-ups.
var ratePage = &rate{name: "page", before: []limits.Name{limits.LookupByAddress}}

// page is what a person reads.
type page struct {
	Title  string
	Text   []string
	Secret string // a new password
	Button string // posts to the same address
}

var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>{{.Title}}</title></head>
<body><h1>{{.Title}}</h1>
{{range .Text}}<p>{{.}}</p>
{{end}}{{if .Secret}}<p><code>{{.Secret}}</code></p>
{{end}}{{if .Button}}<form method="post"><button>{{.Button}}</button></form>
{{end}}</body></html>
`))

// questions are the pages before the button is pressed.
var questions = map[autoreset.Purpose]page{
	autoreset.LinkVerify: {Title: "Reset this account?", Button: "Yes, I asked for it", Text: []string{
		"A reset removes all devices and keys of the account {name}. What was encrypted for them can never be read again.",
		"It is not done at once: you will get a mail that says when it can be done.",
	}},
	autoreset.LinkCancel: {Title: "Cancel the reset?", Button: "Cancel the reset", Text: []string{
		"The account {name} stays as it is.",
	}},
	autoreset.LinkFinish: {Title: "Reset this account now?", Button: "Reset the account", Text: []string{
		"This removes all devices and keys of the account {name}. What was encrypted for them can never be read again.",
		"You get a new password, with which you log in on a first device.",
	}},
}

// answers are the pages after it was.
var answers = map[autoreset.Purpose]page{
	autoreset.LinkVerify: {Title: "The reset is under way", Text: []string{
		"Watch your mail: it says when the account {name} can be reset.",
	}},
	autoreset.LinkCancel: {Title: "The reset is cancelled", Text: []string{"The account {name} is as it was."}},
	autoreset.LinkFinish: {Title: "The account is reset", Text: []string{
		"Log in with your client as {name} with this password, and change it then. It is shown only here and only once:",
	}},
}

var (
	pageGone = page{Title: "This link leads nowhere", Text: []string{
		"Either it was cut off on its way, or the reset that it belongs to is over: done, cancelled, or nobody came in time.",
	}}
	pageEarly = page{Title: "Not yet", Text: []string{"The reset of this account has to wait. You will get a mail when it can be done."}}
	pageBusy  = page{Title: "Please try again", Text: []string{"The server could not do that now. Please try again in a minute."}}
)

// servePage answers a request for a page; false says that the path is none.
func (s *Server) servePage(ctx *fasthttp.RequestCtx, path string, from netip.Addr) bool {
	if !strings.HasPrefix(path, autoreset.PathPrefix) || s.Autoreset == nil {
		return false
	}
	if err := s.admit(from, ratePage); err != nil {
		s.writePage(ctx, fasthttp.StatusTooManyRequests, pageBusy)
		return true
	}
	p, err := s.resetPage(ctx, path)
	code := fasthttp.StatusOK
	switch {
	case err == nil:
	case errors.Is(err, autoreset.ErrBadLink), errors.Is(err, autoreset.ErrNone):
		p, code = pageGone, fasthttp.StatusNotFound
	case errors.Is(err, autoreset.ErrNotReady):
		p, code = pageEarly, fasthttp.StatusConflict
	default:
		s.Logger.Error("page failed", "err", err)
		p, code = pageBusy, fasthttp.StatusServiceUnavailable
	}
	s.writePage(ctx, code, p)
	return true
}

func (s *Server) writePage(ctx *fasthttp.RequestCtx, code int, p page) {
	h := &ctx.Response.Header
	h.SetContentType("text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	ctx.SetStatusCode(code)
	if err := pageTemplate.Execute(ctx, p); err != nil {
		s.Logger.Error("page does not render", "err", err)
	}
}

// resetPage is the page of a link about a reset, and does what it is for if its button
// was pressed.
func (s *Server) resetPage(ctx *fasthttp.RequestCtx, path string) (page, error) {
	v := s.Store.View()
	r, purpose, err := s.Autoreset.Open(v, path)
	if err != nil {
		v.Close()
		return page{}, err
	}
	acct, err := accounts.Get(v, r.UID)
	v.Close()
	if err != nil {
		return page{}, err
	}
	out := questions[purpose]
	switch {
	case ctx.IsGet() || ctx.IsHead():
		if purpose == autoreset.LinkFinish && r.Event != autoreset.EventReady {
			return page{}, autoreset.ErrNotReady
		}
	case !ctx.IsPost():
		return page{}, autoreset.ErrBadLink
	default:
		out = answers[purpose]
		if out.Secret, err = s.follow(path, r, purpose); err != nil {
			return page{}, err
		}
	}
	text := make([]string, len(out.Text))
	for i, t := range out.Text {
		text[i] = strings.ReplaceAll(t, "{name}", string(acct.Name))
	}
	out.Text = text
	return out, nil
}

// follow does what a link is for. The link must still be good in the transaction.
func (s *Server) follow(path string, r *autoreset.Reset, purpose autoreset.Purpose) (secret string, err error) {
	c := &call{s: s}
	still := func(tx *store.Tx) error {
		now, _, err := s.Autoreset.Open(tx, path)
		if err == nil && now.ID != r.ID {
			err = autoreset.ErrBadLink
		}
		return err
	}
	switch purpose {
	case autoreset.LinkVerify:
		return "", c.update(func(tx *store.Tx) error {
			if err := still(tx); err != nil {
				return err
			}
			return s.Autoreset.Verify(tx, r.UID)
		})
	case autoreset.LinkCancel:
		return "", c.update(func(tx *store.Tx) error {
			if err := still(tx); err != nil {
				return err
			}
			return s.Autoreset.Cancel(tx, r.UID)
		})
	}
	return s.finishByLink(c, r, still)
}

// finishByLink resets an account whose password is forgotten and gives it a new one.
func (s *Server) finishByLink(c *call, r *autoreset.Reset, still func(*store.Tx) error) (string, error) {
	if r.Event != autoreset.EventReady {
		return "", autoreset.ErrNotReady // before the costly part
	}
	v := s.Store.View()
	acct, err := accounts.Get(v, r.UID)
	v.Close()
	if err != nil {
		return "", err
	}
	password, err := newPassword(s.Rand)
	if err != nil {
		return "", err
	}
	s.stretching.Lock() // one at a time: it takes much memory
	login, err := accounts.Stretch(password, acct.Salt)
	s.stretching.Unlock()
	if err != nil {
		return "", err
	}
	return password, c.endIncarnation(identity.ResetRequest{
		UID: r.UID, Kind: sigchain.KindReset,
		Check: func(tx *store.Tx, acct *accounts.Account) error {
			if err := still(tx); err != nil {
				return err
			}
			acct.SetLogin(login)
			return s.Autoreset.Take(tx, r.UID)
		},
	})
}

// newPassword is a password of 100 random bits, in groups that people can copy.
func newPassword(rand io.Reader) (string, error) {
	const alphabet = "abcdefghijkmnpqrstuvwxyz23456789" // 32, without those that look alike
	b := make([]byte, 20)
	if _, err := io.ReadFull(rand, b); err != nil {
		return "", fmt.Errorf("draw a password: %w", err)
	}
	var out strings.Builder
	for i, x := range b {
		if i > 0 && i%4 == 0 {
			out.WriteByte('-')
		}
		out.WriteByte(alphabet[x%32])
	}
	return out.String(), nil
}
