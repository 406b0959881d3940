package client

import (
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// world is a tiny server that believes every post and serves a valid tree; then
// it lies as it is told. It has the root key, so it can sign its lies.
type world struct {
	t   testing.TB
	key *SigningKey
	srv *httptest.Server

	mu     sync.Mutex
	clock  int64 // unix seconds; every root takes one
	users  map[UID]*resident
	teams  map[TeamID]*worldTeam
	roots  []*worldRoot
	relay  map[string][][]byte
	leases int

	lie  func(endpoint string, q url.Values, reply map[string]any) // sees every answer
	hold bool                                                      // accept posts without publishing
}

type worldRoot struct {
	seqno   Seqno
	payload string
	sig     string
	top     string
	leaves  map[string]string // prefix to leaf node
	tails   map[UID]int       // version of each user's leaf
	teams   map[TeamID]Seqno
	blind   *blindTree
}

// resident is what the world holds of a user.
type resident struct {
	name      string
	uid       UID
	entries   []map[string]any
	tail      *Triple
	eldest    KID
	resets    []string
	bundles   []string
	idVersion int
	leafVer   int
	salt      string
	owner     map[string]DeviceID // signing KID to device
	halves    map[string]string   // encryption KID to client half
	boxes     map[string]map[string]any
	prevs     map[int]string
	gen       int
	deviceEKs map[string]string
	userEK    string
	ekBoxes   map[string]map[string]any
	proofs    int
}

const worldStart = 1_700_000_000

func newWorld(t testing.TB) *world {
	var seed Seed
	copy(seed[:], "the root key of a test world....")
	w := &world{
		t: t, key: NewSigningKey(seed), clock: worldStart, users: make(map[UID]*resident), teams: make(map[TeamID]*worldTeam), relay: make(map[string][][]byte),
	}
	w.srv = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.srv.Close)
	w.publish(nil)
	w.publish(nil)
	return w
}

// server is a transport to the world with seeded randomness and the world's clock.
func (w *world) server(seed byte) *Server {
	random := mrand.NewChaCha8([32]byte{seed})
	s := NewServer(w.srv.URL, []KID{w.key.KID()}, w.now, random)
	s.FirstRoot = 1
	w.t.Cleanup(s.Close)
	return s
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Unix(w.clock, 0)
}

// leafValue is a user's value in the tree.
func (u *resident) leafValue() []any {
	triple := []any{}
	if u.tail != nil {
		triple = []any{u.tail.Seqno, u.tail.LinkID.String(), u.tail.SigID.String()}
	}
	leaf := []any{2, triple, []any{}, nil}
	if !u.eldest.IsZero() {
		leaf[3] = u.eldest.String()
	}
	if n := len(u.resets); n > 0 {
		sum := sha512.Sum512([]byte(u.resets[n-1]))
		leaf = append(leaf, []any{n, hex.EncodeToString(sum[:])})
	}
	return leaf
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// publish builds the tree and signs the next root; edit may change the payload
// before it is signed.
func (w *world) publish(edit func(payload map[string]any)) *worldRoot {
	tabs := make(map[string]map[string]any)
	r := &worldRoot{seqno: Seqno(len(w.roots) + 1), leaves: make(map[string]string), tails: make(map[UID]int), teams: make(map[TeamID]Seqno)}
	for uid, u := range w.users {
		p := uid.String()[:2]
		if tabs[p] == nil {
			tabs[p] = make(map[string]any)
		}
		tabs[p][uid.String()] = u.leafValue()
		r.tails[uid] = u.leafVer
	}
	for id, t := range w.teams {
		p := id.String()[:2]
		if tabs[p] == nil {
			tabs[p] = make(map[string]any)
		}
		tabs[p][id.String()] = t.leafValue(id)
		r.teams[id] = t.tail.Seqno
	}
	top := make(map[string]any)
	for p, tab := range tabs {
		r.leaves[p] = mustJSON(map[string]any{"tab": tab, "type": 2})
		top[p] = nodeHashOf(r.leaves[p]).String()
	}
	r.top = mustJSON(map[string]any{"tab": top, "type": 1})
	r.blind = w.blindTree()
	w.clock++
	return w.seal(r, edit)
}

func (w *world) seal(r *worldRoot, edit func(map[string]any)) *worldRoot {
	skips, prev := make(map[string]any), ""
	for _, s := range SkipTable(r.seqno) {
		skips[fmt.Sprint(s)] = hashMetaOf(w.roots[s-1].payload).String()
	}
	if len(w.roots) > 0 {
		prev = nodeHashOf(w.roots[len(w.roots)-1].payload).String()
	}
	none := map[string]any{"root": nil, "version": nil}
	payload := map[string]any{
		"body": map[string]any{
			"blind_merkle_root_hash": r.blind.hash(), "external_urls_hash": kitHash("external_urls"), "pvl_hash": kitHash("pvl"),
			"proof_services_hash": kitHash("proof_params"), "kbfs": map[string]any{"private": none, "public": none, "privateteam": none},
			"legacy_uid_root": strings.Repeat("0", 64), "prev": prev, "root": nodeHashOf(r.top).String(), "seqno": r.seqno,
			"skips": skips, "txid": "00ff", "type": "merkle_root", "version": 1,
		},
		"ctime": w.clock, "tag": "signature",
	}
	if edit != nil {
		edit(payload)
	}
	r.payload = mustJSON(payload)
	r.sig = SignPacket(w.key, []byte(r.payload)).Armor()
	w.roots = append(w.roots, r)
	return r
}

func kitOf(name string) string {
	return `{"kit_version":1,"ctime":1,"tab":{"1":{"name":"` + name + `"}}}`
}
func kitHash(name string) string { return nodeHashOf(kitOf(name)).String() }

func (w *world) top() *worldRoot { return w.roots[len(w.roots)-1] }

// touch marks a user's leaf or basics as changed and publishes.
func (w *world) touch(u *resident) {
	u.idVersion++
	u.leafVer++
	if !w.hold {
		w.publish(nil)
	}
}

// append adds a link to a chain as it is.
func (u *resident) append(l *SignedLink) {
	u.entries = append(u.entries, l.Entry())
	u.tail = &Triple{l.Spec.Seqno, l.ID, l.SigID}
}

// inject publishes a link that nobody posted.
func (w *world) inject(uid UID, links ...*SignedLink) {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := w.users[uid]
	for _, l := range links {
		u.append(l)
		if sib, ok := l.Spec.Body["sibkey"].(map[string]any); ok {
			u.bundles = append(u.bundles, sib["kid"].(string))
		}
		if sub, ok := l.Spec.Body["subkey"].(map[string]any); ok {
			u.bundles = append(u.bundles, sub["kid"].(string))
		}
		if l.Spec.Type == "eldest" {
			u.bundles = append(u.bundles, l.Spec.Signer.KID().String())
			u.eldest = l.Spec.Signer.KID()
		}
	}
	w.touch(u)
}

type refusal struct {
	code int
	name string
}

func (w *world) serve(rw http.ResponseWriter, req *http.Request) {
	endpoint := strings.TrimSuffix(strings.TrimPrefix(req.URL.Path, apiPrefix+"/"), ".json")
	w.mu.Lock()
	q, body := req.URL.Query(), map[string]any{}
	raw, _ := io.ReadAll(req.Body)
	if strings.HasPrefix(req.Header.Get("Content-Type"), "application/json") {
		_ = json.Unmarshal(raw, &body)
	} else if req.Method == http.MethodPost {
		q, _ = url.ParseQuery(string(raw))
	}
	reply, no := w.answer(endpoint, q, body, w.whoIs(req))
	w.mu.Unlock()
	if reply == nil {
		reply = map[string]any{}
	}
	status := map[string]any{"code": 0, "name": "OK"}
	if no != nil {
		status = map[string]any{"code": no.code, "name": no.name, "desc": "no", "fields": map[string]string{}}
	}
	if reply["status"] == nil {
		reply["status"] = status
	}
	if w.lie != nil {
		w.lie(endpoint, q, reply)
	}
	if t := req.Header.Get("X-Keybase-Session"); t != "" {
		rw.Header().Set("X-Keybase-Auth-NIST", "verified")
	}
	// A lie may replace the whole body.
	if raw, ok := reply["raw"].(string); ok {
		_, _ = io.WriteString(rw, raw)
		return
	}
	if code, ok := reply["http"].(int); ok {
		rw.WriteHeader(code)
		return
	}
	enc := json.NewEncoder(rw)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(reply)
}

// whoIs believes any token: the device id header or the session names the user.
func (w *world) whoIs(req *http.Request) *resident {
	token := req.Header.Get("X-Keybase-Session")
	if name, ok := strings.CutPrefix(token, "session of "); ok {
		return w.users[UIDOf(name)]
	}
	dev := req.Header.Get("X-Keybase-Device-ID")
	for _, u := range w.users {
		for _, id := range u.owner {
			if id.String() == dev {
				return u
			}
		}
	}
	return nil
}

// scene is a world with one user, alice, who has a computer, a second computer
// and a paper key, and bob, whom she follows.
type scene struct {
	*world
	t     *testing.T
	v     *Verifier
	alice *Account
	bob   *Account
	laptop,
	paper *Device
}

func newScene(t *testing.T) *scene {
	w := newWorld(t)
	s := &scene{world: w, t: t, v: NewVerifier(w.server(1), nil)}
	ctx := t.Context()
	sign := func(name string) *Account {
		a, err := Signup(ctx, s.v, SignupOptions{Name: name, Stream: CheapStream([]byte(name)), DeviceName: "home"})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	s.alice, s.bob = sign("alice"), sign("bob")
	var err error
	if s.laptop, err = s.alice.AddDevice(ctx, "laptop", DeviceDesktop); err != nil {
		t.Fatal(err)
	}
	if _, s.paper, err = s.alice.AddPaperKey(ctx, CheapStream([]byte("paper"))); err != nil {
		t.Fatal(err)
	}
	if err = s.alice.Follow(ctx, s.bob.UID); err != nil {
		t.Fatal(err)
	}
	return s
}

// spec is the next link of alice, complete but for what a test changes.
func (s *scene) spec(typ string, version int, body map[string]any) *LinkSpec {
	s.t.Helper()
	if err := s.alice.Reload(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	a := s.alice
	return &LinkSpec{
		Type: typ, Version: version, UID: a.UID, Username: a.Username, Signer: a.Device.Sig, Eldest: a.eldest,
		Seqno: a.seqno + 1, Prev: a.prev, Ctime: s.now().Unix(), Root: s.v.LastRoot(), Body: body,
	}
}

func (s *scene) build(spec *LinkSpec) *SignedLink {
	s.t.Helper()
	l, err := BuildLink(spec)
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

// load verifies alice from what the verifier knows.
func (s *scene) load() error {
	_, err := s.v.LoadUser(s.t.Context(), s.alice.UID, LoadOptions{})
	return err
}

// loadFresh verifies alice as a stranger would.
func (s *scene) loadFresh() error {
	_, err := NewVerifier(s.server(2), nil).LoadUser(s.t.Context(), s.alice.UID, LoadOptions{})
	return err
}

func randomSeed() Seed {
	var s Seed
	_, _ = rand.Read(s[:])
	return s
}
