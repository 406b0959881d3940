package rest

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/limits"
)

// rate is a route's class: which rate limits its requests count against. Every
// request counts as one of its address and prefix besides.
type rate struct {
	name string
	// before counts each request by where it comes from, before its body is read.
	before []limits.Name
	// user counts each request by who asks, once that is known.
	user []limits.Name
	// failures counts only requests whose answer is an error, successes only the
	// others. Both are taken before the handler runs and one is given back after,
	// so that many at once gain nothing.
	failures, successes []limits.Name
	// named is the argument that says whose account the request is about.
	named string
}

// everyRequest counts all requests, of endpoints that do not exist, too.
var everyRequest = []limits.Name{limits.RequestByPrefix, limits.RequestByAddress}

// The classes of the route table.
var (
	rateRead    = &rate{name: "read", before: []limits.Name{limits.ReadByAddress}}
	rateLookup  = &rate{name: "lookup", before: []limits.Name{limits.LookupByAddress}}
	ratePath    = &rate{name: "path", before: []limits.Name{limits.PathByAddress}}
	rateKex     = &rate{name: "kex", before: []limits.Name{limits.KexByAddress}}
	rateReport  = &rate{name: "report", before: []limits.Name{limits.ReportByAddress}}
	rateOwn     = &rate{name: "own", user: []limits.Name{limits.ReadByUser}}
	ratePost    = &rate{name: "post", user: []limits.Name{limits.PostByUser}}
	rateSearch  = &rate{name: "search", user: []limits.Name{limits.SearchByUser}}
	rateRemind  = &rate{name: "remind", before: []limits.Name{limits.RemindByPrefix, limits.RemindByAddress}}
	rateCheck   = &rate{name: "check", user: []limits.Name{limits.CheckByUser}}
	rateSession = &rate{name: "session", user: []limits.Name{limits.SessionByUser}}
	rateSignUp  = &rate{
		name: "signup", before: []limits.Name{limits.LookupByAddress},
		successes: []limits.Name{limits.SignUpByPrefix, limits.SignUpByAddress},
	}
	// A right password costs nothing. LoginByName comes first: see its row.
	rateLogin = &rate{
		name: "login", before: []limits.Name{limits.LookupByAddress}, named: "email_or_username",
		failures: []limits.Name{
			limits.LoginByName, limits.LoginByNameAndAddress, limits.LoginByNameAndPrefix,
			limits.LoginByAddress, limits.LoginByPrefix,
		},
	}
)

// refusals are what people read when a limit refuses, if not "requests".
var refusals = map[limits.Name]string{
	limits.LoginByName:           "failed logins to this account",
	limits.LoginByNameAndAddress: "failed logins to this account",
	limits.LoginByNameAndPrefix:  "failed logins to this account",
	limits.LoginByAddress:        "failed logins from your network",
	limits.LoginByPrefix:         "failed logins from your network",
	limits.SignUpByAddress:       "new accounts from your network",
	limits.SignUpByPrefix:        "new accounts from your network",
	limits.PostByUser:            "changes to your account",
	limits.SessionByUser:         "new sessions",
	limits.SearchByUser:          "searches for people",
	limits.RemindByAddress:       "requests for reminders from your network",
	limits.RemindByPrefix:        "requests for reminders from your network",
	limits.CheckByUser:           "checks of proofs and web sites",
	limits.TokenByAddress:        "expired or wrong session tokens from your network",
}

// refusal is the answer to somebody whom a rate limit refuses.
func refusal(r *limits.Refused) *status.Error {
	what := refusals[r.Name]
	if what == "" {
		what = "requests"
	}
	return status.New(status.RateLimit, "RATE_LIMIT", fmt.Sprintf("too many %s; please wait %s and try again", what, patience(r.Wait)))
}

// patience is a time to wait, rounded up, as people say it.
func patience(d time.Duration) string {
	say := func(n float64, unit string) string {
		if n == 1 {
			return "a " + unit
		}
		return fmt.Sprintf("%.0f %ss", n, unit)
	}
	if s := math.Ceil(d.Seconds()); s < 60 {
		return say(max(s, 1), "second")
	}
	return say(math.Ceil(d.Minutes()), "minute")
}

// addressOf is where a request comes from: the other end of the connection, or what
// the proxies before it say if they are ours. Each proxy adds the address that it
// saw behind those it was told, so the first from the right that is no proxy of ours
// is the last that can be believed.
func (s *Server) addressOf(ctx *fasthttp.RequestCtx) netip.Addr {
	at := addrOf(ctx.RemoteAddr())
	if !limits.Within(s.Proxies, at) {
		return at
	}
	lines := ctx.Request.Header.PeekAll(fasthttp.HeaderXForwardedFor)
	for i := len(lines) - 1; i >= 0; i-- {
		for rest := string(lines[i]); rest != ""; {
			cut := strings.LastIndexByte(rest, ',')
			told, err := netip.ParseAddr(strings.TrimSpace(rest[cut+1:]))
			if err != nil {
				return at
			}
			at = told.Unmap().WithZone("")
			if !limits.Within(s.Proxies, at) {
				return at
			}
			rest = rest[:max(cut, 0)]
		}
	}
	return at
}

// addrOf is the IP address of one end of a connection, or the zero Addr.
func addrOf(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return t.AddrPort().Addr().Unmap().WithZone("")
}

// admit counts a request by where it comes from.
func (s *Server) admit(from netip.Addr, class *rate) error {
	w := limits.Who{Addr: from}
	if _, err := s.Rates.Take(w, everyRequest...); err != nil || class == nil {
		return err
	}
	_, err := s.Rates.Take(w, class.before...)
	return err
}

// outcome takes from the limits that depend on the answer; the function that it
// returns gives back those that the answer does not count for.
func (c *call) outcome() (func(handled error), error) {
	class := c.route.rate
	if len(class.failures)+len(class.successes) == 0 {
		return func(error) {}, nil
	}
	w := c.from
	if class.named != "" {
		w.Name = strings.ToLower(strings.TrimSpace(c.raw(class.named)))
	}
	failed, err := c.s.Rates.Take(w, class.failures...)
	if err != nil {
		return nil, err
	}
	succeeded, err := c.s.Rates.Take(w, class.successes...)
	if err != nil {
		failed.Return()
		return nil, err
	}
	return func(handled error) {
		if handled == nil {
			failed.Return()
		} else {
			succeeded.Return()
		}
	}, nil
}
