// Package rest is the REST door: the endpoints that stock clients call over HTTP.
//
// routes.go is the table of all endpoints with method, authentication, rate class,
// body limit and handler; one file per family holds the handlers. A handler decodes, calls the
// owner of the thing, and returns what to encode; the package owns no state beyond
// the listener and the kex relay.
//
// Contract with clients:
//   - every reply of an application, errors too, is HTTP 200 with a status object;
//     any other HTTP status makes the client drop the body.
//     client: go/libkb/api.go:doRequestShared
//   - JSON strings are also Go string literals: raw UTF-8, no escaped slashes, no
//     surrogate escapes. client: go/libkb/chain_link_parse_2.go
//   - an endpoint that is not there answers an error and is counted, never an empty
//     success: some clients would ask again at once, for ever.
//   - X-Keybase-Auth-NIST tells whether the token was good, in every reply to a
//     request that carried one.
package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/keystead/keystead/compat/auth"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/autoreset"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/limits"
	"github.com/keystead/keystead/engine/observe"
	"github.com/keystead/keystead/engine/reports"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/joining"
	"github.com/keystead/keystead/merklehot/proofs"
	"github.com/keystead/keystead/merklehot/teams"
)

// Limits of the door.
const (
	// headerBytesMax bounds request line and headers. A long token is 300 bytes, log
	// tags are short.
	headerBytesMax = 16 << 10
	// bodyBytesMax bounds any body of a route that names no other limit.
	bodyBytesMax = 256 << 10
	// headerKeptMax is up to what size of both a connection is kept for another request:
	// the HTTP library keeps the memory that they needed with the connection.
	headerKeptMax = 4 << 10
	// headerTimeout bounds the time from a connection's beginning, or a request's
	// first byte, to the end of the headers; a TLS handshake has as much.
	headerTimeout = 10 * time.Second
	// bodyTimeout bounds the time from there to the end of the body.
	bodyTimeout = 30 * time.Second
	// writeTimeout bounds the time for a reply to leave.
	writeTimeout = 60 * time.Second
	// idleTimeout ends a kept-alive connection that asks nothing.
	idleTimeout = 2 * time.Minute
	// requestTimeout bounds how long a request waits for its place in the commit
	// queue.
	requestTimeout = 30 * time.Second
	// argBytesMax bounds one form or query argument that names no other limit.
	argBytesMax = 128 << 10
)

// apiPrefix stands before every endpoint. client: go/libkb/constants.go:APIURIPathPrefix
const apiPrefix = "/_/api/1.0/"

// Options is what the door works with.
type Options struct {
	Store    *store.Store
	Auth     *auth.Auth
	Identity *identity.Service
	Teams    *teams.Service
	// Joining keeps who wants to be let into teams, and Chores what members are asked to
	// do about it.
	Joining *joining.Service
	Chores  *chores.Queue
	// Told waits until the news of what has been written so far has gone out, or until
	// ctx ends; nil: nobody waits.
	Told func(ctx context.Context) error
	// Autoreset keeps the resets that wait.
	Autoreset *autoreset.Service
	// Proofs is what users have proven elsewhere.
	Proofs  *proofs.Book
	Clock   clock.Clock
	Rand    io.Reader
	Logger  *slog.Logger
	Metrics *observe.Metrics
	Devel   bool
	// Signup says who may make an account.
	Signup accounts.SignupPolicy
	// Revoked is told of a device whose revocation is durable, so that other doors
	// end its sessions; nil tells nobody.
	Revoked func(kbsig.UID, kbsig.DeviceID)
	// BigState makes a user's state a big one from so many items on; devel mode only.
	BigState func(u kbsig.UID, items int)
	// Rates are the rate limits; nil refuses nobody.
	Rates *limits.Set
	// CanMail and CanText say whether mail and text messages can leave the server.
	CanMail, CanText bool
	// Address is the URL under which people reach this door, for links in mails; nil:
	// there is none.
	Address func() string
	// Proxies are the addresses whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
	// Connections bounds open connections; 0 means connectionsMax.
	Connections int
	// PublicURL is how clients call the door, without a slash at the end; empty: as
	// they do call it.
	PublicURL string
	// Features are the switches of clients that are on for everybody.
	Features []string
	// Bots are those that clients show to everybody who looks for one.
	Bots []FeaturedBot
	// Reports keeps what people send to whoever runs the server; nil keeps nothing.
	Reports *reports.Box
}

// Server is the REST door.
type Server struct {
	Options
	routes map[string]methods
	kex    *kexRelay
	gate   *gate
	bodies *limits.Budget
	// decoding is the memory for images that are being decoded.
	decoding *limits.Budget
	http     *fasthttp.Server

	stretching sync.Mutex // a password
	codesMu    sync.Mutex
	codes      map[codeOf]string   // devel mode only
	tokens     map[string][]string // devel mode only
}

// New builds the door; Serve opens it.
func New(o Options) *Server {
	if o.Connections == 0 {
		o.Connections = connectionsMax
	}
	s := &Server{Options: o, kex: newKexRelay(o.Clock), bodies: limits.NewBudget(bodiesBytesMax), decoding: limits.NewBudget(decodingBytesMax)}
	s.gate = newGate(o.Connections, connectionsPerAddressMax, s.exempt, func(reason string) {
		s.Metrics.ConnectionsRefused.WithLabelValues(reason).Inc()
	})
	s.routes = index(s.table(), s.Devel)
	s.http = &fasthttp.Server{
		Handler:        s.handle,
		Name:           "keystead",
		ReadBufferSize: headerBytesMax,
		// The library allocates a body's declared length before a byte of it has
		// come. So it is told to stream all but the first byte, and readBody reads.
		StreamRequestBody:            true,
		MaxRequestBodySize:           1,
		DisablePreParseMultipartForm: true,
		// Without a buffer until the first byte, and none that outlives its use.
		ReduceMemoryUsage:     true,
		ReadTimeout:           headerTimeout,
		HeaderReceived:        bodyDeadline,
		WriteTimeout:          writeTimeout,
		IdleTimeout:           idleTimeout,
		ConnState:             s.gate.stateOf,
		Concurrency:           o.Connections + 1000, // the gate counts; these are on their way out
		NoDefaultContentType:  true,
		SecureErrorLogMessage: true,
		Logger:                httpLogger{o.Logger},
		CloseOnShutdown:       true,
		TCPKeepalive:          true,
		ErrorHandler: func(ctx *fasthttp.RequestCtx, err error) {
			// The client reads nothing but 200 as an answer; these never came
			// from a client that speaks the protocol.
			code := fasthttp.StatusBadRequest
			if errors.Is(err, os.ErrDeadlineExceeded) {
				code = fasthttp.StatusRequestTimeout
			}
			ctx.Error(fasthttp.StatusMessage(code), code)
		},
	}
	return s
}

// Serve answers on ln until Shutdown. tlsConfig nil means plain HTTP.
func (s *Server) Serve(ln net.Listener, tlsConfig *tls.Config) error {
	ln = s.gate.listen(ln)
	if tlsConfig != nil {
		ln = tls.NewListener(ln, tlsConfig)
	}
	return s.http.Serve(ln)
}

// Shutdown stops accepting, lets running requests finish and closes.
func (s *Server) Shutdown(ctx context.Context) error {
	s.kex.close()
	return s.http.ShutdownWithContext(ctx)
}

// bodyDeadline gives a request that has a body the time for it.
func bodyDeadline(h *fasthttp.RequestHeader) (c fasthttp.RequestConfig) {
	if h.ContentLength() != 0 && h.ContentLength() != -2 {
		c.ReadTimeout = bodyTimeout
	}
	return c
}

// exempt reports whether the limits by address do not apply to a connection: it
// comes from an exempt address, or from a proxy that brings many.
func (s *Server) exempt(a netip.Addr) bool {
	return s.Rates.Exempt(a) || limits.Within(s.Proxies, a)
}

// handle finds the route of a request and answers it.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	if err := framing(&ctx.Request.Header); err != nil {
		ctx.Error(err.Error()+"; declare a Content-Length and nothing else\n", fasthttp.StatusBadRequest)
		ctx.SetConnectionClose()
		return
	}
	defer settleBody(ctx)
	if len(ctx.Request.Header.RawHeaders())+len(ctx.Request.Header.RequestURI()) > headerKeptMax {
		defer ctx.SetConnectionClose() // behind ctx.Error, which begins a new reply
	}
	path := string(ctx.Path()) // fasthttp has folded double slashes
	if picture, ok := strings.CutPrefix(path, picturesPrefix); ok {
		s.servePicture(ctx, picture)
		return
	}
	name, isAPI := endpointOf(path)
	if !isAPI {
		if s.servePage(ctx, path, s.addressOf(ctx)) || s.serveKeys(ctx, path, s.addressOf(ctx)) || s.gubblePage(ctx, path) {
			return
		}
		if strings.HasPrefix(path, verifyPath) {
			s.verifyPage(ctx, path, s.addressOf(ctx))
			return
		}
		ctx.Error("This is a Keystead server. Point a Keybase client at it; see its documentation.\n", fasthttp.StatusNotFound)
		return
	}
	from := s.addressOf(ctx)
	byMethod, known := s.find(name)
	if byMethod == nil {
		if err := s.admit(from, nil); err != nil {
			s.writeError(ctx, s.statusOf(nil, err))
			return
		}
		s.refuseUnknown(ctx, name, known)
		return
	}
	method := string(ctx.Method())
	if ctx.IsHead() {
		method = fasthttp.MethodGet
	}
	r := byMethod[method]
	if r == nil {
		s.writeError(ctx, status.Input("%s does not take the method %.10s", name, method))
		return
	}
	code, began := s.answer(ctx, r, from)
	s.Metrics.Requests.WithLabelValues(r.name, strconv.Itoa(code)).Inc()
	s.Metrics.Latency.WithLabelValues(r.name).Observe(time.Since(began).Seconds())
	s.Logger.Debug("request", observe.FieldEndpoint, r.name, observe.FieldStatus, code,
		observe.FieldTook, time.Since(began), observe.FieldRemote, ctx.RemoteAddr().String())
}

// endpointOf cuts the endpoint out of a path: the prefix before, ".json" behind.
func endpointOf(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, apiPrefix)
	if !ok {
		return "", false
	}
	return strings.TrimSuffix(rest, ".json"), true
}

func (s *Server) refuseUnknown(ctx *fasthttp.RequestCtx, name string, known bool) {
	label := "other"
	if known {
		label = name
	}
	s.Metrics.Unavailable.WithLabelValues(label).Inc()
	s.Logger.Info("endpoint is not available", observe.FieldEndpoint, label)
	s.writeError(ctx, status.Unavailable("this function"))
}

// answer runs one request and returns the status code of the reply, and when the
// request had come whole.
func (s *Server) answer(ctx *fasthttp.RequestCtx, r *route, from netip.Addr) (code int, began time.Time) {
	began = time.Now()
	defer func() {
		if p := recover(); p != nil {
			s.Metrics.Panics.Inc()
			s.Logger.Error("handler panicked", observe.FieldEndpoint, r.name, "panic", p, "stack", string(debug.Stack()))
			code = s.writeError(ctx, internalError())
		}
	}()
	if err := s.admit(from, r.rate); err != nil {
		return s.writeError(ctx, s.statusOf(r, err)), began
	}
	c := &call{s: s, http: ctx, route: r, from: limits.Who{Addr: from}}
	defer c.close()
	reply, err := c.run()
	if !c.arrived.IsZero() {
		began = c.arrived
	}
	if err != nil {
		return s.writeError(ctx, s.statusOf(r, err)), began
	}
	code = s.writeReply(ctx, r, reply)
	if !gated(ctx.Conn()).owe(len(ctx.Response.Body())) {
		ctx.Response.ResetBody()
		return s.writeError(ctx, status.New(status.RateLimit, "RATE_LIMIT", "the server has too much to do at the moment; please try again in a minute")), began
	}
	return code, began
}

// httpLogger keeps the HTTP library's complaints about clients out of the way.
type httpLogger struct{ l *slog.Logger }

func (h httpLogger) Printf(format string, args ...any) {
	h.l.Debug("http", "event", format, "args", len(args))
}
