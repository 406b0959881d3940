package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/keystead/keystead/bench/client"
)

const (
	apiPrefix = "/_/api/1.0/"
	// shortTokenMax is the most characters of a device token's short form in base64;
	// the long form has 300.
	shortTokenMax = 48
	// codeGeneric is the answer of a server that failed or is about to stop: it does
	// not tell whether the request was carried out.
	codeGeneric = 218
)

// actor names whose request it is, for the ledger.
type actor struct {
	cycle, worker int
	user          string
	provoking     bool // the request is made to be refused
}

type actorKey struct{}

func withActor(ctx context.Context, a actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// tap is the wire between our clients and the server. It looks at the requests and
// answers themselves, below everything that the clients make of them: requests that
// change something go to the ledger, roots to the witness.
type tap struct {
	base    *http.Transport
	ledger  *ledger // nil: whoever asks changes nothing
	witness *witness
	address atomic.Pointer[string] // host:port; it changes with every start

	mu     sync.Mutex
	tokens map[string]bool
	posts  map[string]*rawPost // newest post of links by user
}

// rawPost is a request that posted links, to be sent once more.
type rawPost struct {
	endpoint, contentType string
	body                  []byte
	outcome               outcome
}

func newTap(l *ledger, w *witness) *tap {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.Proxy = nil
	base.MaxIdleConnsPerHost = 64
	return &tap{base: base, ledger: l, witness: w, tokens: make(map[string]bool), posts: make(map[string]*rawPost)}
}

// point directs all further requests to another address.
func (t *tap) point(address string) {
	t.base.CloseIdleConnections()
	t.address.Store(&address)
}

// lastPost is the newest request of a user that posted links, nil for none.
func (t *tap) lastPost(user string) *rawPost {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.posts[user]
}

// RoundTrip implements http.RoundTripper.
func (t *tap) RoundTrip(req *http.Request) (*http.Response, error) {
	endpoint := strings.TrimSuffix(strings.TrimPrefix(req.URL.Path, apiPrefix), ".json")
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	out := req.Clone(req.Context())
	out.URL.Host, out.Host = *t.address.Load(), ""
	out.Body, out.GetBody = http.NoBody, nil
	if len(body) > 0 {
		out.Body = io.NopCloser(bytes.NewReader(body))
	}
	e, changes, err := t.entry(req, endpoint, body)
	if err != nil {
		return nil, err
	}
	if changes {
		e.N = t.ledger.sent(e)
	}
	seen := t.witness.newestSeqno()
	resp, reply, err := t.ask(out)
	if err == nil {
		t.witness.wire(endpoint, seen, req.URL.Query().Get("leaf_id"), reply)
	}
	if changes {
		e = t.note(e, reply, err)
		t.keep(req, e, endpoint, body)
	}
	if err == nil {
		t.noteToken(e, req, resp)
	}
	return resp, err
}

// ask sends the request and reads the whole answer.
func (t *tap) ask(out *http.Request) (*http.Response, []byte, error) {
	resp, err := t.base.RoundTrip(out)
	if err != nil {
		return nil, nil, err
	}
	reply, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(reply))
	if resp.StatusCode != http.StatusOK {
		reply = nil
	}
	return resp, reply, nil
}

// entry is a request as the ledger knows it; changes says that it asks for a change.
func (t *tap) entry(req *http.Request, endpoint string, body []byte) (e line, changes bool, err error) {
	who, _ := req.Context().Value(actorKey{}).(actor)
	e = line{Cycle: who.cycle, Worker: who.worker, User: who.user, Endpoint: endpoint}
	if t.ledger == nil || req.Method != http.MethodPost {
		return e, false, nil
	}
	e.Facts, err = factsOf(endpoint, body)
	return e, e.Facts != nil, err
}

// note writes down what came of a request.
func (t *tap) note(e line, reply []byte, err error) line {
	facts := e.Facts
	e.Facts = nil
	var r struct {
		Status  *struct{ Code int }
		Session string
		CSRF    string `json:"csrf_token"`
	}
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		e.What, e.Why = wasUnsent, err.Error()
	case err != nil:
		e.What, e.Why = wasUnknown, err.Error()
	case json.Unmarshal(reply, &r) != nil || r.Status == nil:
		e.What, e.Why = wasUnknown, "the answer has no status"
	case r.Status.Code == codeGeneric:
		e.What, e.Why = wasUnknown, "the server failed or stops"
	case r.Status.Code != client.CodeOK:
		e.What, e.Code = wasRefused, r.Status.Code
	default:
		e.What, e.Session, e.CSRF = wasAcked, r.Session, r.CSRF
	}
	t.ledger.came(e)
	e.Facts = facts
	return e
}

// keep remembers an honest post of links.
func (t *tap) keep(req *http.Request, e line, endpoint string, body []byte) {
	if who, _ := req.Context().Value(actorKey{}).(actor); who.provoking || len(e.Facts.Links)+len(e.Facts.Team) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.posts[e.User] = &rawPost{endpoint, req.Header.Get("Content-Type"), body, e.What}
}

// noteToken writes down, once, that the server knows a token by its short form.
func (t *tap) noteToken(e line, req *http.Request, resp *http.Response) {
	token := req.Header.Get("X-Keybase-Session")
	if t.ledger == nil || len(token) > shortTokenMax || resp.Header.Get("X-Keybase-Auth-NIST") != "verified" {
		return
	}
	t.mu.Lock()
	known := t.tokens[token]
	t.tokens[token] = true
	t.mu.Unlock()
	if !known {
		t.ledger.came(line{
			What: wasToken, Cycle: e.Cycle, Worker: e.Worker, User: e.User,
			Token: token, Device: req.Header.Get("X-Keybase-Device-ID"),
		})
	}
}

// factsOf reads what a request asks to be kept; nil for one that changes nothing
// that the checker could look for.
func factsOf(endpoint string, body []byte) (*facts, error) {
	switch endpoint {
	case "key/multi":
		return multiFacts(body)
	case "sig/multi":
		return teamFacts(body)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("ledger: %s: %w", endpoint, err)
	}
	switch endpoint {
	case "signup":
		return &facts{Salt: form.Get("salt")}, nil
	case "login", "new_session", "downgrade/key", "downgrade/team":
		return &facts{}, nil
	case "device/update":
		return &facts{KID: form.Get("kid"), Half: form.Get("lks_client_half")}, nil
	case "user/device_ek":
		return &facts{Device: form.Get("device_id"), Statement: form.Get("sig")}, nil
	case "user/user_ek":
		return &facts{Statement: form.Get("sig")}, nil
	case "follow":
		l, err := linkOf(form.Get("sig"), form.Get("sig_inner"))
		return &facts{Links: []linkFact{l}}, err
	}
	return nil, nil
}

func multiFacts(body []byte) (*facts, error) {
	var req struct {
		Sigs []struct {
			Sig   string `json:"sig"`
			Inner string `json:"sig_inner"`
		} `json:"sigs"`
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, fmt.Errorf("ledger: key/multi: %w", err)
	}
	f := &facts{}
	for _, s := range req.Sigs {
		l, err := linkOf(s.Sig, s.Inner)
		if err != nil {
			return nil, err
		}
		f.Links = append(f.Links, l)
	}
	return f, nil
}

// teamFacts reads the links of teams of a request, in all chains.
func teamFacts(body []byte) (*facts, error) {
	var req struct {
		Sigs []struct {
			Sig   string                    `json:"sig"`
			Inner string                    `json:"sig_inner"`
			Type  string                    `json:"type"`
			Team  string                    `json:"team_id"`
			Sig3  *struct{ I, O, S string } `json:"sig3"`
		} `json:"sigs"`
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, fmt.Errorf("ledger: sig/multi: %w", err)
	}
	f := &facts{}
	for _, s := range req.Sigs {
		t := teamFact{Team: s.Team, Hidden: s.Sig3 != nil}
		if t.Hidden {
			l, err := client.ParseHidden(s.Sig3.I, s.Sig3.O, s.Sig3.S)
			if err != nil {
				return nil, fmt.Errorf("ledger: hidden link: %w", err)
			}
			t.linkFact = linkFact{Seqno: int64(l.Seqno), ID: l.ID.String(), Type: s.Type}
		} else {
			l, err := linkOf(s.Sig, s.Inner)
			if err != nil {
				return nil, err
			}
			t.linkFact = l
		}
		f.Team = append(f.Team, t)
	}
	return f, nil
}

// linkOf reads a posted link: its id is the hash of what was signed, which for v1 is
// the inner link itself. client: go/libkb/chain_link.go:ComputeLinkID
func linkOf(armored, inner string) (linkFact, error) {
	raw, err := base64.StdEncoding.DecodeString(armored)
	if err != nil {
		return linkFact{}, fmt.Errorf("ledger: link: %w", err)
	}
	p, err := client.ParsePacket(raw)
	if err != nil {
		return linkFact{}, fmt.Errorf("ledger: link: %w", err)
	}
	if inner == "" {
		inner = string(p.Payload)
	}
	var l struct {
		Seqno int64 `json:"seqno"`
		Body  struct {
			Type string `json:"type"`
		} `json:"body"`
	}
	if err := json.Unmarshal([]byte(inner), &l); err != nil {
		return linkFact{}, fmt.Errorf("ledger: link: %w", err)
	}
	id := sha256.Sum256(p.Payload)
	return linkFact{Seqno: l.Seqno, ID: hex.EncodeToString(id[:]), Type: l.Body.Type}, nil
}

// tapOf is the same wire for somebody who changes nothing: roots go to the witness,
// nothing to the ledger.
type tapOf struct{ t *tap }

// RoundTrip implements http.RoundTripper.
func (r *tapOf) RoundTrip(req *http.Request) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.URL.Host, out.Host = *r.t.address.Load(), ""
	seen := r.t.witness.newestSeqno()
	resp, reply, err := r.t.ask(out)
	if err == nil {
		endpoint := strings.TrimSuffix(strings.TrimPrefix(req.URL.Path, apiPrefix), ".json")
		r.t.witness.wire(endpoint, seen, req.URL.Query().Get("leaf_id"), reply)
	}
	return resp, err
}
