package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits of the transport.
const (
	replyBytesMax     = 256 << 20 // body of one answer
	idleConnectionMax = 1024      // kept open per server
)

// apiPrefix is used unless the server's URI has a path of its own.
// client: go/libkb/api.go:getURL
const apiPrefix = "/_/api/1.0"

// Status codes that the protocol gives a meaning beyond "error".
const (
	CodeOK               = 0
	CodeNotFound         = 205
	CodeDeleted          = 216
	CodeGeneric          = 218
	CodeMerkleUpdateRoot = 300
)

// Server is one Keybase-protocol server. All fields are set before first use and
// not changed after; methods are safe for many goroutines.
type Server struct {
	URI      string           // scheme://host:port, without a trailing slash
	RootKIDs []KID            // keys that may sign Merkle roots
	HTTP     *http.Client     // never follows anything that is not the server's
	Now      func() time.Time // clock of signatures and tokens
	Random   io.Reader        // source of keys and nonces; locked here
	// FirstRoot is the seqno of the server's first root: 0 when unknown. No root may
	// come from before it, and skip tables may name dummies only below it.
	// client: go/libkb/merkle_checkpoint.go:GetMerkleCheckpoint
	FirstRoot Seqno
	// PathPollSeconds is the poll argument of current lookups; the stock client
	// sends 10.
	PathPollSeconds int
}

// NewServer makes a server with the stock client's habits.
func NewServer(uri string, rootKIDs []KID, now func() time.Time, random io.Reader) *Server {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = idleConnectionMax, idleConnectionMax
	t.Proxy = nil
	return &Server{
		URI: strings.TrimRight(uri, "/"), RootKIDs: rootKIDs, Now: now, Random: &lockedReader{r: random},
		HTTP:            &http.Client{Transport: t, Timeout: time.Minute},
		PathPollSeconds: 10,
	}
}

// Close drops idle connections.
func (s *Server) Close() { s.HTTP.CloseIdleConnections() }

type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

// Credential authenticates requests; nil means none.
type Credential interface {
	apply(h http.Header) error
	observe(sent, received http.Header)
}

// Session is a legacy session. client: go/libkb/api.go:fixHeaders
type Session struct {
	Token  string
	CSRF   string
	Device DeviceID // sent when not zero
}

func (s *Session) apply(h http.Header) error {
	h.Set("X-Keybase-Session", s.Token)
	h.Set("X-CSRF-Token", s.CSRF)
	if s.Device != (DeviceID{}) {
		h.Set("X-Keybase-Device-ID", s.Device.String())
	}
	return nil
}

func (s *Session) observe(http.Header, http.Header) {}

// RawToken sends a literal X-Keybase-Session, for tokens that must be refused.
type RawToken string

func (t RawToken) apply(h http.Header) error {
	h.Set("X-Keybase-Session", string(t))
	return nil
}

func (t RawToken) observe(http.Header, http.Header) {}

// StatusError is a refusal: the answer's status object.
// client: go/libkb/interfaces.go:AppStatus
type StatusError struct {
	Endpoint string
	Code     int
	Name     string
	Desc     string
	Fields   map[string]string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: %s (code %d, %s)", e.Endpoint, e.Desc, e.Code, e.Name)
}

// StatusCode is the code of a refusal, or -1 when err is none.
func StatusCode(err error) int {
	var e *StatusError
	if errors.As(err, &e) {
		return e.Code
	}
	return -1
}

// HTTPError is an answer that is not a protocol answer at all.
type HTTPError struct {
	Endpoint string
	Code     int
}

func (e *HTTPError) Error() string { return fmt.Sprintf("%s: HTTP status %d", e.Endpoint, e.Code) }

// Reply is a checked answer: HTTP 200, JSON object, status object.
type Reply struct {
	Endpoint string
	Code     int
	Body     []byte
	Header   http.Header
	fields   map[string]json.RawMessage
}

// Decode unmarshals the whole body.
func (r *Reply) Decode(v any) error {
	if err := json.Unmarshal(r.Body, v); err != nil {
		return violated(RuleReply, r.Endpoint, "%v", err)
	}
	return nil
}

// Field is one top-level field, nil when missing.
func (r *Reply) Field(name string) json.RawMessage { return r.fields[name] }

func (r *Reply) into(name string, v any) error {
	raw, ok := r.fields[name]
	if !ok {
		return violated(RuleReply, r.Endpoint, "field %q is missing", name)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return violated(RuleReply, r.Endpoint, "field %q: %v", name, err)
	}
	return nil
}

func (r *Reply) text(name string) (string, error) {
	var s string
	err := r.into(name, &s)
	if err == nil && isNull(r.fields[name]) {
		err = violated(RuleReply, r.Endpoint, "field %q is null", name)
	}
	return s, err
}

// Get asks with arguments in the query. Codes other than 0 and accept are errors.
func (s *Server) Get(ctx context.Context, endpoint string, args url.Values, c Credential, accept ...int) (*Reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.endpoint(endpoint)+"?"+args.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", endpoint, err)
	}
	return s.do(req, endpoint, c, accept)
}

// Post sends a form.
func (s *Server) Post(ctx context.Context, endpoint string, args url.Values, c Credential, accept ...int) (*Reply, error) {
	return s.PostRaw(ctx, endpoint, "application/x-www-form-urlencoded; charset=utf-8", []byte(args.Encode()), c, accept...)
}

// PostJSON sends a JSON body.
func (s *Server) PostJSON(ctx context.Context, endpoint string, body any, c Credential, accept ...int) (*Reply, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("post %s: %w", endpoint, err)
	}
	return s.PostRaw(ctx, endpoint, "application/json", b, c, accept...)
}

// PostRaw sends any bytes.
func (s *Server) PostRaw(ctx context.Context, endpoint, contentType string, body []byte, c Credential, accept ...int) (*Reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint(endpoint), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("post %s: %w", endpoint, err)
	}
	req.Header.Set("Content-Type", contentType)
	return s.do(req, endpoint, c, accept)
}

func (s *Server) endpoint(name string) string {
	if u, err := url.Parse(s.URI); err == nil && u.Path != "" {
		return s.URI + "/" + name + ".json"
	}
	return s.URI + apiPrefix + "/" + name + ".json"
}

func (s *Server) do(req *http.Request, endpoint string, c Credential, accept []int) (*Reply, error) {
	req.Header.Set("User-Agent", "linux:Keybase CLI (go1.26):6.3.0")
	req.Header.Set("X-Keybase-Client", "keybase.io go client v6.3.0 linux")
	if c != nil {
		if err := c.apply(req.Header); err != nil {
			return nil, fmt.Errorf("authenticate %s: %w", endpoint, err)
		}
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", req.Method, endpoint, err)
	}
	defer resp.Body.Close()
	if c != nil {
		c.observe(req.Header, resp.Header) // before the status is looked at, as stock
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, replyBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", endpoint, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &HTTPError{endpoint, resp.StatusCode}
	}
	if len(body) > replyBytesMax {
		return nil, violated(RuleReply, endpoint, "answer larger than %d bytes", replyBytesMax)
	}
	return readReply(endpoint, body, resp.Header, accept)
}

// readReply checks the frame every answer has.
// client: go/libkb/api.go:checkAppStatus
func readReply(endpoint string, body []byte, h http.Header, accept []int) (*Reply, error) {
	fields, err := rawFields(body)
	if err != nil {
		return nil, violated(RuleReply, endpoint, "%v", err)
	}
	if d := jsonDepth(body); d > jsonDepthMax {
		return nil, violated(RuleReply, endpoint, "nested %d deep", d)
	}
	var st struct {
		Code   *int              `json:"code"`
		Name   *string           `json:"name"`
		Desc   string            `json:"desc"`
		Fields map[string]string `json:"fields"`
	}
	if err := json.Unmarshal(fields["status"], &st); err != nil {
		return nil, violated(RuleReply, endpoint, "status object: %v", err)
	}
	if st.Code == nil || st.Name == nil {
		return nil, violated(RuleReply, endpoint, "status without code or name")
	}
	if *st.Code != CodeOK && !slices.Contains(accept, *st.Code) {
		return nil, &StatusError{endpoint, *st.Code, *st.Name, st.Desc, st.Fields}
	}
	return &Reply{Endpoint: endpoint, Code: *st.Code, Body: body, Header: h, fields: fields}, nil
}
