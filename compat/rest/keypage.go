package rest

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// keyPageSuffix ends the address of the page for people, and for `gpg --fetch-keys`, with
// the PGP keys of somebody who is not a client's user:
//
//	/<username>/pgp_keys.asc                    all that are active
//	/<username>/pgp_keys.asc?fingerprint=<hex>  one of them
const keyPageSuffix = "/pgp_keys.asc"

// serveKeys answers a request for such a page; false says that the path is none.
func (s *Server) serveKeys(ctx *fasthttp.RequestCtx, path string, from netip.Addr) bool {
	name, ok := strings.CutSuffix(strings.TrimPrefix(path, "/"), keyPageSuffix)
	if !ok || strings.Contains(name, "/") {
		return false
	}
	none := func() { ctx.Error("nobody here has that key\n", fasthttp.StatusNotFound) }
	if err := s.admit(from, ratePage); err != nil {
		ctx.Error("too many requests\n", fasthttp.StatusTooManyRequests)
		return true
	}
	user, err := kbsig.ParseUsername(name)
	if err != nil || !(ctx.IsGet() || ctx.IsHead()) {
		none()
		return true
	}
	v := s.Store.View()
	defer v.Close()
	keys, err := activePGP(v, user, strings.ToLower(string(ctx.QueryArgs().Peek("fingerprint"))))
	switch {
	case errors.Is(err, accounts.ErrNoUser), err == nil && len(keys) == 0:
		none()
		return true
	case err != nil:
		s.Logger.Error("page of PGP keys", "err", err)
		ctx.Error("the keys cannot be read\n", fasthttp.StatusInternalServerError)
		return true
	}
	h := &ctx.Response.Header
	h.SetContentType("text/plain; charset=utf-8") // in which browsers show it
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	ctx.SetBodyString(strings.Join(keys, "\n"))
	return true
}

// activePGP are somebody's active PGP keys in armour, the one of a fingerprint only if
// that is not empty.
func activePGP(r store.Reader, user kbsig.Username, fingerprint string) ([]string, error) {
	acct, err := accounts.ByName(r, user)
	if err != nil {
		return nil, err
	}
	if acct.Status == accounts.StatusDeleted {
		return nil, accounts.ErrNoUser
	}
	st, err := identity.Chain(r, acct.UID)
	if err != nil {
		return nil, err
	}
	wanted := map[pgp.Hash]bool{}
	for _, v := range st.ActivePGP() {
		if fingerprint == "" || v.Fingerprint.String() == fingerprint {
			wanted[v.Hash] = true
		}
	}
	var out []string
	err = identity.Bundles(r, st, func(v sigchain.PGPVersion, bundle string) {
		if wanted[v.Hash] {
			out = append(out, strings.TrimSpace(bundle)+"\n")
		}
	})
	return out, err
}
