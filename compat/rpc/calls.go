package rpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/limits"
	"github.com/keystead/keystead/engine/observe"
)

// call is one running call.
type call struct {
	cancel context.CancelFunc
}

// answerThen is a result with something to do once its answer is queued.
type answerThen struct {
	result any
	then   func()
}

// errTooManyCalls is the answer beyond Limits.CallsPerConn.
var errTooManyCalls = status.New(status.RateLimit, "RATE_LIMIT", "too many calls at once on one connection")

// handle deals with one frame. It owns body.
func (c *conn) handle(f frame, body []byte) {
	switch f.kind {
	case kindCancel:
		c.cancelCall(f.seqid)
		fallthrough
	case kindResponse: // acknowledges a broadcast, and nothing waits for it
		c.srv.budget.give(cap(body))
		return
	case kindNotify: // a call without a number that nobody awaits
		c.notifies--
		f.seqid = c.notifies
	}
	if c.settling.CompareAndSwap(true, false) {
		c.release()
	}
	rt, known := c.srv.routes[f.method]
	err := c.mayCall()
	if err == nil && c.isExpelled() {
		err = badSession("the session has ended")
	}
	if err != nil {
		c.srv.budget.give(cap(body))
		c.answer(&f, rt, known, nil, err)
		return
	}
	if rt.inline {
		defer c.srv.budget.give(cap(body))
		c.serve(c.ctx, &f, rt, known)
		return
	}
	ctx, k, ok := c.begin(f.seqid)
	if !ok {
		c.srv.budget.give(cap(body))
		c.answer(&f, rt, known, nil, errTooManyCalls)
		return
	}
	go func() {
		defer c.end(f.seqid, k)
		defer c.srv.budget.give(cap(body))
		defer c.recovered(f.method)
		c.serve(ctx, &f, rt, known)
	}()
}

// mayCall counts a call against its rate limit: by the user, or by the address while
// nobody knows who calls. Who is refused without having authenticated has to go.
func (c *conn) mayCall() error {
	who, name := c.from, limits.CallByAddress
	id := c.session()
	if id != nil {
		who.User, name = id.UID, limits.CallByUser
	}
	_, err := c.srv.opts.Rates.Take(who, name)
	if err != nil && id == nil {
		c.drain()
	}
	return err
}

// begin registers a call, unless too many are running.
func (c *conn) begin(seqid int64) (context.Context, *call, bool) {
	limit := c.srv.limits.CallsPerConn
	if c.session() == nil {
		limit = callsBeforeAuthMax
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// A number that is in use would make cancel ambiguous; clients count up.
	if _, used := c.running[seqid]; used || len(c.running) >= limit {
		return nil, nil, false
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.srv.limits.CallWithin)
	k := &call{cancel}
	c.running[seqid] = k
	c.calls.Add(1)
	return ctx, k, true
}

func (c *conn) end(seqid int64, k *call) {
	k.cancel()
	c.mu.Lock()
	delete(c.running, seqid)
	c.mu.Unlock()
	c.calls.Done()
}

func (c *conn) cancelCall(seqid int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.running[seqid]; k != nil {
		k.cancel()
	}
}

// serve runs a call's handler and queues the answer.
func (c *conn) serve(ctx context.Context, f *frame, rt route, known bool) {
	start := c.srv.opts.Clock()
	result, err := c.invoke(ctx, f, rt, known)
	var then func()
	if a, ok := result.(answerThen); ok {
		result, then = a.result, a.then
	}
	c.answer(f, rt, known, result, err)
	if then != nil {
		then()
	}
	if known {
		c.srv.metrics.seconds.WithLabelValues(f.method).Observe(c.srv.opts.Clock().Sub(start).Seconds())
	}
}

func (c *conn) invoke(ctx context.Context, f *frame, rt route, known bool) (any, error) {
	switch {
	case !known:
		return nil, fmt.Errorf("unknown method: %w", status.Unavailable(f.method).With("method", f.method))
	case rt.level == levelSession && c.session() == nil:
		return nil, status.New(status.LoginRequired, "LOGIN_REQUIRED", "the connection has not authenticated")
	case rt.handle == nil:
		return nil, status.Unavailable(f.method).With("method", f.method)
	}
	arg, err := f.argument(rt.class)
	if err != nil {
		return nil, fmt.Errorf("argument of %s: %w", f.method, err)
	}
	return rt.handle(ctx, c, arg)
}

// answer queues the response to a call.
func (c *conn) answer(f *frame, rt route, known bool, result any, err error) {
	res := nilValue
	if err == nil && result != nil {
		res, err = c.encodeResult(result)
	}
	st := nilValue
	if err != nil {
		wire := statusOf(err)
		c.logFailure(f.method, wire.Code, err)
		var encErr error
		if st, encErr = encode(wire); encErr != nil {
			c.close("answer cannot be encoded")
			return
		}
	}
	c.count(f.method, rt, known, err == nil)
	if f.kind == kindNotify {
		c.drainIfStranger(err)
		return
	}
	frame, frameErr := responseFrame(f.seqid, f.answerCompression(), st, res)
	if frameErr != nil {
		c.srv.opts.Logger.Error("rpc: answer", observe.FieldEndpoint, f.method, "err", frameErr)
		c.close("answer cannot be encoded")
		return
	}
	c.send(frame)
	c.drainIfStranger(err)
}

// drainIfStranger hangs up on who sends nonsense before saying who it is: whoever this
// is, it is no client.
func (c *conn) drainIfStranger(err error) {
	if (errors.Is(err, errMalformed) || errors.Is(err, errTooLarge)) && c.session() == nil {
		c.drain()
	}
}

// encodeResult makes what cannot be encoded or is too long an error: a result of the
// wrong shape would make the client reconnect for ever.
func (c *conn) encodeResult(result any) ([]byte, error) {
	res, err := encode(result)
	if err != nil {
		return nilValue, err
	}
	if len(res) > c.srv.limits.AnswerBytes {
		return nilValue, fmt.Errorf("answer of %d bytes, %d are allowed", len(res), c.srv.limits.AnswerBytes)
	}
	return res, nil
}

// answerCompression is the form the client expects the result in: the call's own,
// where forms that its library does not know count as none.
func (f *frame) answerCompression() compression {
	if f.ctype == compressGzip || f.ctype == compressMsgpackzip {
		return f.ctype
	}
	return compressNone
}

func (c *conn) count(method string, rt route, known, ok bool) {
	label := method
	switch {
	case !known:
		label = "unknown"
		c.srv.metrics.unavailable.WithLabelValues(label).Inc()
	case rt.handle == nil:
		c.srv.metrics.unavailable.WithLabelValues(label).Inc()
	}
	outcome := "ok"
	if !ok {
		outcome = "error"
	}
	c.srv.metrics.calls.WithLabelValues(label, outcome).Inc()
}

func (c *conn) logFailure(method string, code int, err error) {
	user := ""
	if id := c.session(); id != nil {
		user = id.UID.String()
	}
	c.srv.opts.Logger.Debug("rpc: call failed", observe.FieldEndpoint, method, observe.FieldStatus, code, observe.FieldUID, user, "err", err)
}

// callsBeforeAuthMax bounds the running calls of a connection that has not said who
// it is.
const callsBeforeAuthMax = 4

// nilValue is msgpack's nil.
var nilValue = []byte{0xc0}
