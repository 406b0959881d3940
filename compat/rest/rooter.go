package rest

import (
	"errors"
	"html"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/rooter"
)

// The networks of the client's own tests, which a server has in devel mode only.

// gubblePages is the name of the route of all their pages.
const gubblePages = "gubble_universe"

// gubbleSite begins the paths of their pages for people.
const gubbleSite = "/_/gubble_universe/"

func rooterRoutes() []route {
	return []route{
		{"rooter", post, authRequired, ratePost, 0, anew, rooterPost},
		{"rooter/delete", post, authRequired, ratePost, 0, refused, rooterDelete},
		{gubblePages, get, authNone, rateRead, 0, reads, networkPage},
		{gubblePages, post, authRequired, ratePost, 0, anew, gubblePost},
	}
}

// find is the route of an endpoint; known says that clients know the endpoint.
func (s *Server) find(name string) (m methods, known bool) {
	if m, known = s.routes[name]; !known && s.Devel && rooter.OwnPage(name) {
		return s.routes[gubblePages], true
	}
	return m, known
}

// postIn keeps a post.
func (c *call) postIn(p rooter.Post) (id string, err error) {
	err = c.update(func(tx *store.Tx) (err error) {
		id, err = rooter.Put(tx, c.s.Rand, p)
		return err
	})
	if errors.Is(err, rooter.ErrBadPost) || errors.Is(err, rooter.ErrTooMany) {
		err = status.Input("%v", err)
	}
	return id, err
}

// rooterPost: POST rooter. client: go/engine/prove_help_test.go:proveRooter, go/engine/prove.go:checkAutoPost
func rooterPost(c *call) (any, error) {
	text, err := c.str("post")
	if err != nil {
		return nil, err
	}
	name := c.raw("username")
	if name == "" {
		acct, err := accounts.Get(c.view(), c.who.UID)
		if err != nil {
			return nil, err
		}
		name = string(acct.Name)
	}
	id, err := c.postIn(rooter.Post{Network: rooter.Network, Name: name, Text: text})
	return struct {
		PostID string `json:"post_id"`
	}{id}, err
}

// rooterDelete: POST rooter/delete. client: go/engine/prove_help_test.go:proveRooterRemove
func rooterDelete(c *call) (any, error) {
	id, err := c.str("post_id")
	if err != nil {
		return nil, err
	}
	err = c.update(func(tx *store.Tx) error { return rooter.Delete(tx, id) })
	if errors.Is(err, rooter.ErrNoPost) {
		err = status.Missing("that post")
	}
	return none{}, err
}

// gubblePost: POST gubble_universe/SERVICE. client: go/engine/prove_help_test.go:proveGubbleUniverse
func gubblePost(c *call) (any, error) {
	endpoint, _ := endpointOf(string(c.http.Path()))
	service, isService := strings.CutPrefix(endpoint, rooter.GubblePrefix)
	if !isService || strings.Contains(service, "/") {
		return nil, status.Missing("that page")
	}
	name, err := c.str("username")
	if err != nil {
		return nil, err
	}
	user, err := c.str("kb_username")
	if err != nil {
		return nil, err
	}
	sig, err := parsed(c, "sig_hash", kbsig.ParseSigID)
	if err != nil {
		return nil, err
	}
	_, err = c.postIn(rooter.Post{Network: service, Name: name, User: user, SigHash: sig.SigID()})
	return struct {
		Redirect string `json:"redirect"`
	}{gubbleSite + service + "/" + name}, err
}

// networkPage: GET rooter/NAME/ID and gubble_universe/SERVICE/NAME/proofs.
// client: go/pvl/helpers.go:rooterRewriteURL
func networkPage(c *call) (any, error) {
	endpoint, _ := endpointOf(string(c.http.Path()))
	page, err := rooter.Page(c.view(), endpoint)
	if errors.Is(err, rooter.ErrNoPost) {
		return nil, status.Missing("that page")
	}
	return page, err
}

// gubblePage shows people who is who at a gubble service, or asks somebody who comes
// from a client to post there; it reports whether the path was one of its own.
func (s *Server) gubblePage(ctx *fasthttp.RequestCtx, path string) bool {
	rest, ok := strings.CutPrefix(path, gubbleSite)
	if !ok || !s.Devel {
		return false
	}
	service, name, isPerson := strings.Cut(rest, "/")
	ctx.SetContentType("text/html; charset=utf-8")
	if !isPerson {
		ctx.SetBodyString("<!doctype html><title>" + html.EscapeString(service) + "</title><p>Post the proof of " +
			html.EscapeString(string(ctx.QueryArgs().Peek("username"))) + " here by the API.</p>\n")
		return true
	}
	v := s.Store.View()
	defer v.Close()
	posts, err := rooter.Posts(v, service, name)
	if err != nil {
		ctx.Error(fasthttp.StatusMessage(fasthttp.StatusInternalServerError), fasthttp.StatusInternalServerError)
		return true
	}
	var b strings.Builder
	b.WriteString("<!doctype html><title>" + html.EscapeString(name) + "</title><h1>" + html.EscapeString(name) + "</h1><ul>\n")
	for _, p := range posts {
		b.WriteString("<li>" + html.EscapeString(p.User) + " " + html.EscapeString(p.SigHash) + "</li>\n")
	}
	ctx.SetBodyString(b.String() + "</ul>\n")
	return true
}
