package rest

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/home"
)

// verifyPath is where the link in a verification mail leads; the uid and the token follow.
const verifyPath = "/verify-email/"

// verifyPage answers the link in a verification mail. Reading it changes nothing, since
// programs that look at mail open links; the button does. Whatever is wrong with a link,
// the page is the same.
func (s *Server) verifyPage(ctx *fasthttp.RequestCtx, path string, from netip.Addr) {
	if err := s.admit(from, ratePage); err != nil {
		s.writePage(ctx, fasthttp.StatusTooManyRequests, pageBusy)
		return
	}
	user, token, _ := strings.Cut(strings.TrimPrefix(path, verifyPath), "/")
	uid, err := kbsig.ParseUID(user)
	var address string
	if err == nil {
		v := s.Store.View()
		address, err = accounts.FindMailToken(v, uid, token, s.Clock())
		v.Close()
	}
	gone := page{Title: "This link leads nowhere", Text: []string{
		"Either it was cut off on its way, or it is good no more. Ask for another: keybase account email send-verification-email",
	}}
	switch {
	case err != nil:
		s.writePage(ctx, fasthttp.StatusNotFound, gone)
	case ctx.IsPost():
		c := &call{s: s}
		wait, cancel := c.context()
		defer cancel()
		err := s.Store.Update(wait, func(tx *store.Tx) error {
			address, err := accounts.FindMailToken(tx, uid, token, tx.Now())
			if err != nil {
				return err
			}
			if err := accounts.VerifyMail(tx, uid, address); err != nil {
				return err
			}
			return home.Refresh(tx, uid)
		})
		switch {
		case err == nil:
			s.writePage(ctx, fasthttp.StatusOK, page{Title: "Verified", Text: []string{"The mail address " + address + " is verified."}})
		case errors.Is(err, accounts.ErrMailTaken):
			s.writePage(ctx, fasthttp.StatusConflict, page{Title: "Not verified", Text: []string{"Another account has verified this mail address already."}})
		case errors.Is(err, accounts.ErrMailToken), errors.Is(err, accounts.ErrNoMail):
			s.writePage(ctx, fasthttp.StatusNotFound, gone)
		default:
			s.Logger.Error("an address could not be verified", "err", err)
			s.writePage(ctx, fasthttp.StatusServiceUnavailable, pageBusy)
		}
	case ctx.IsGet() || ctx.IsHead():
		s.writePage(ctx, fasthttp.StatusOK, page{Title: "Is this your mail address?", Text: []string{address}, Button: "Yes, verify it"})
	default:
		s.writePage(ctx, fasthttp.StatusMethodNotAllowed, gone)
	}
}
