package rest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/keystead/keystead/compat/status"
)

// Limits of what comes with a request.
const (
	// bodyFirstBytes is the first buffer for a body; it doubles as bytes arrive.
	bodyFirstBytes = 4 << 10
	// bodiesBytesMax bounds bodies beyond bodyFirstBytes, over all connections.
	bodiesBytesMax = 256 << 20
	// drainedBytesMax is how much of a body that is too large is read and dropped, so that
	// its sender gets to read the answer; of more, no more is wanted.
	drainedBytesMax = 1 << 20
	// drainedTimeMax bounds the wait for it.
	drainedTimeMax = time.Second
	// argsMax bounds the arguments of a form or a query, each.
	argsMax = 64
)

var errFraming = errors.New("the framing of the body is not clear")

// framing refuses requests whose body has no single, declared length. Clients always
// declare one; what is ambiguous serves those who want a proxy and us to see
// different requests.
func framing(h *fasthttp.RequestHeader) error {
	if h.ContentLength() == -1 {
		return errFraming
	}
	if h.ContentLength() >= 0 {
		for line := range bytes.SplitSeq(h.RawHeaders(), []byte("\n")) {
			name, _, _ := bytes.Cut(line, []byte(":"))
			if bytes.EqualFold(bytes.TrimSpace(name), []byte(fasthttp.HeaderTransferEncoding)) {
				return errFraming
			}
		}
	}
	return nil
}

// readBody reads the body of a request into memory that grows as bytes arrive, so
// that a declared length alone costs nothing. The caller gives cap-bodyFirstBytes
// back by freeBody.
func (s *Server) readBody(ctx *fasthttp.RequestCtx, most int) ([]byte, error) {
	n := ctx.Request.Header.ContentLength()
	stream := ctx.RequestBodyStream()
	if n <= 0 || stream == nil {
		return nil, nil
	}
	if n > most {
		ctx.SetConnectionClose()
		if n <= drainedBytesMax && ctx.Conn().SetReadDeadline(time.Now().Add(drainedTimeMax)) == nil {
			// Whatever goes wrong here, nobody is left to be told.
			_, _ = io.Copy(io.Discard, stream)
		}
		return nil, status.Input("the body is larger than %d bytes", most)
	}
	if len(ctx.Request.Header.ContentEncoding()) > 0 {
		return nil, status.Input("compressed bodies are not taken")
	}
	buf := make([]byte, 0, min(n, bodyFirstBytes))
	for len(buf) < n {
		if len(buf) == cap(buf) {
			grown := min(2*cap(buf), n)
			if !s.bodies.Take(grown - max(cap(buf), bodyFirstBytes)) {
				s.freeBody(buf)
				return nil, status.New(status.RateLimit, "RATE_LIMIT", "the server has too much to do at the moment; please try again in a minute")
			}
			next := make([]byte, len(buf), grown)
			copy(next, buf)
			buf = next
		}
		got, err := stream.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+got]
		if err != nil && len(buf) < n {
			s.freeBody(buf)
			ctx.SetConnectionClose()
			return nil, bodyFault(err)
		}
	}
	return buf, nil
}

// freeBody gives the budget back what a body took from it.
func (s *Server) freeBody(buf []byte) {
	if over := cap(buf) - bodyFirstBytes; over > 0 {
		s.bodies.Give(over)
	}
}

// bodyFault is the answer to a body that did not come whole; as a rule nobody is
// left to read it.
func bodyFault(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return status.Input("the body did not come in time")
	}
	return status.Input("the body did not come whole")
}

// settleBody makes sure that what is left of a body is not taken for the next
// request: it is read and dropped if it is short, else the connection ends.
func settleBody(ctx *fasthttp.RequestCtx) {
	stream := ctx.RequestBodyStream()
	if stream == nil || ctx.Response.ConnectionClose() {
		return
	}
	if ctx.Request.Header.ContentLength() > bodyBytesMax {
		ctx.SetConnectionClose()
		return
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(stream, bodyBytesMax+1)); err != nil {
		ctx.SetConnectionClose()
	}
}

// arguments reads the query and, if the body is one, the form.
func (c *call) arguments() error {
	if bytes.Count(c.http.URI().QueryString(), []byte("&")) >= argsMax {
		return status.Input("more than %d arguments", argsMax)
	}
	if !bytes.HasPrefix(c.http.Request.Header.ContentType(), []byte("application/x-www-form-urlencoded")) {
		return nil
	}
	if bytes.Count(c.content, []byte("&")) >= argsMax {
		return status.Input("more than %d arguments", argsMax)
	}
	// Not the request's own arguments: those stay with the connection.
	c.form.ParseBytes(c.content)
	return nil
}
