package rest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/keystead/keystead/compat/auth"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/limits"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/roots"
)

// call is one request under way.
type call struct {
	s     *Server
	http  *fasthttp.RequestCtx
	route *route
	from  limits.Who
	// content is the body as sent; form its arguments, if it is a form.
	content []byte
	form    fasthttp.Args
	arrived time.Time       // when the body had come; zero before
	who     *auth.Principal // nil: nobody
	view_   *store.View
}

func (c *call) close() {
	c.s.freeBody(c.content)
	if c.view_ != nil {
		c.view_.Close()
	}
}

// view is the state that this request reads. It stays the same for the whole
// request, unless the request writes: then refresh.
func (c *call) view() *store.View {
	if c.view_ == nil {
		c.view_ = c.s.Store.View()
	}
	return c.view_
}

// roots is the Merkle state that belongs to view.
func (c *call) roots() *roots.State { return roots.StateOf(c.view()) }

// context bounds a write's wait for the commit queue.
func (c *call) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), requestTimeout)
}

// update runs a transaction of this request.
func (c *call) update(fn func(*store.Tx) error) error {
	ctx, cancel := c.context()
	defer cancel()
	return c.s.Store.Update(ctx, fn)
}

// run does what was asked, as far as the rate limits allow.
func (c *call) run() (any, error) {
	if err := c.authenticate(); err != nil {
		return nil, err
	}
	if c.who != nil {
		c.from.User = c.who.UID
		if _, err := c.s.Rates.Take(c.from, c.route.rate.user...); err != nil {
			return nil, err
		}
		if err := c.unlocked(); err != nil {
			return nil, err
		}
	}
	// Only now: who is refused by then costs no memory for a body.
	var err error
	if c.content, err = c.s.readBody(c.http, c.route.bodyMax()); err != nil {
		return nil, err
	}
	c.arrived = time.Now()
	gated(c.http.Conn()).busy()
	if err := c.arguments(); err != nil {
		return nil, err
	}
	settle, err := c.outcome()
	if err != nil {
		return nil, err
	}
	reply, err := c.route.handler(c)
	settle(err)
	return reply, err
}

// authenticate finds out who asks and enforces the route's level.
func (c *call) authenticate() error {
	if c.route.auth == authNone {
		return nil
	}
	token := string(c.http.Request.Header.Peek("X-Keybase-Session"))
	if token == "" {
		if c.route.auth == authRequired {
			return status.New(status.LoginRequired, "LOGIN_REQUIRED", "you need to log in to do that")
		}
		return nil
	}
	// Checking a token costs a signature. Good ones are not counted.
	bad, err := c.s.Rates.Take(c.from, limits.TokenByAddress)
	if err != nil {
		return err
	}
	ctx, cancel := c.context()
	defer cancel()
	who, isNIST, err := c.s.Auth.Token(ctx, token, string(c.http.Request.Header.Peek("X-CSRF-Token")))
	if isNIST {
		verdict := "verified"
		if err != nil {
			verdict = "failed"
		}
		c.http.Response.Header.Set("X-Keybase-Auth-NIST", verdict)
	}
	if err != nil {
		if c.route.auth == authOptional {
			// The header tells the client to mint another token; the answer is
			// that of somebody unknown.
			return nil
		}
		return err
	}
	bad.Return()
	c.who = &who
	return nil
}

// raw is an argument as sent, from the form or the query; "" if there is none.
func (c *call) raw(name string) string {
	if v := c.form.Peek(name); v != nil {
		return string(v)
	}
	return string(c.http.QueryArgs().Peek(name))
}

// has reports whether an argument was sent and is not empty.
func (c *call) has(name string) bool { return c.raw(name) != "" }

// str is a mandatory argument of at most argBytesMax bytes.
func (c *call) str(name string) (string, error) {
	v := c.raw(name)
	if v == "" {
		return "", status.InputField(name, "the argument "+name+" is missing")
	}
	if len(v) > argBytesMax {
		return "", status.InputField(name, "the argument "+name+" is too long")
	}
	return v, nil
}

// integer is an optional decimal argument that counts or numbers something, as nearly all
// do: clients never send a negative one.
func (c *call) integer(name string, def int64) (int64, error) {
	n, err := c.signed(name, def)
	if err == nil && n < 0 && c.has(name) {
		return 0, status.InputField(name, "the argument "+name+" is negative")
	}
	return n, err
}

// signed is an optional decimal argument that may be negative: somebody types it, or its
// owner has an answer of its own.
func (c *call) signed(name string, def int64) (int64, error) {
	v := c.raw(name)
	if v == "" {
		return def, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, status.InputField(name, "the argument "+name+" is not a number")
	}
	return n, nil
}

// flag is an optional boolean argument. client: go/libkb/http.go:B
func (c *call) flag(name string) bool {
	switch c.raw(name) {
	case "1", "true":
		return true
	}
	return false
}

// parsed is a mandatory argument that parse accepts.
func parsed[T any](c *call, name string, parse func(string) (T, error)) (T, error) {
	v, err := c.str(name)
	if err != nil {
		var zero T
		return zero, err
	}
	out, err := parse(v)
	if err != nil {
		return out, status.InputField(name, "the argument "+name+" cannot be used: "+reason(err))
	}
	return out, nil
}

// reason is what is wrong with an argument, without the words for programs.
func reason(err error) string {
	var se *status.Error
	if errors.As(err, &se) {
		return se.Desc
	}
	return strings.TrimSuffix(err.Error(), ": "+kbsig.ErrBadID.Error())
}

func (c *call) uid(name string) (kbsig.UID, error)      { return parsed(c, name, kbsig.ParseUID) }
func (c *call) kid(name string) (kbsig.KID, error)      { return parsed(c, name, kbsig.ParseKID) }
func (c *call) dev(name string) (kbsig.DeviceID, error) { return parsed(c, name, kbsig.ParseDeviceID) }
func (c *call) seqno(name string) (kbsig.Seqno, error) {
	n, err := c.integer(name, 0)
	return kbsig.Seqno(n), err
}

// account is that of the user whom the argument uid names.
func (c *call) account() (*accounts.Account, error) {
	u, err := c.uid("uid")
	if err != nil {
		return nil, err
	}
	return accounts.Get(c.view(), u)
}

// hexBytes is a mandatory argument of exactly n bytes in hex.
func (c *call) hexBytes(name string, n int) ([]byte, error) {
	return parsed(c, name, func(s string) ([]byte, error) {
		b, err := hex.DecodeString(s)
		if err != nil || len(b) != n {
			return nil, status.Input("not %d bytes of hex", n)
		}
		return b, nil
	})
}

// base64Max is a mandatory standard base64 argument of at most n bytes, checked
// and returned as sent.
func (c *call) base64Max(name string, n int) (string, error) {
	return parsed(c, name, func(s string) (string, error) {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil || len(b) > n {
			return "", status.Input("not base64 of at most %d bytes", n)
		}
		return s, nil
	})
}

// uidList is an argument of comma-separated uids, at most max of them. Malformed
// ones are refused as a whole.
func (c *call) uidList(name string, max int) ([]kbsig.UID, error) {
	v := c.raw(name)
	if v == "" {
		return nil, nil
	}
	parts := strings.Split(v, ",")
	if len(parts) > max {
		return nil, status.InputField(name, "too many ids in "+name+", at most "+strconv.Itoa(max))
	}
	out := make([]kbsig.UID, 0, len(parts))
	for _, p := range parts {
		u, err := kbsig.ParseUID(strings.TrimSpace(p))
		if err != nil {
			return nil, status.InputField(name, "the argument "+name+" has a malformed id in it")
		}
		out = append(out, u)
	}
	return out, nil
}

// body decodes a JSON body.
func (c *call) body(v any) error {
	if err := checkJSON(c.content); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(c.content))
	if err := dec.Decode(v); err != nil {
		return status.Input("the body is not the JSON that %s wants", c.route.name)
	}
	if dec.More() {
		return status.Input("something follows the JSON body")
	}
	if err := namesOnce(c.content); err != nil {
		return status.Input("the body is ambiguous: %v", err)
	}
	return nil
}
