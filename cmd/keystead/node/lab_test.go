package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/archive"
	"github.com/keystead/keystead/merklehot/audit"
	"github.com/keystead/keystead/merklehot/roots"
)

// The tests in this package run a whole server inside the test process, on a disk in
// memory that the test can break. How long they go on is asked for by flags, as `make
// crash` does; otherwise it is some seconds each, or less with -short.
var (
	seedFlag  = flag.Uint64("seed", 1, "what the tests with chance try")
	cutsFlag  = flag.Int("cuts", 0, "TestPowerLoss: how often the power is cut; TestTeamsAreWhole: how often at most for each operation and share of what is kept")
	nthFlag   = flag.Int("nth", 0, "TestEveryWriteFails, TestTeamsAreWhole: every n-th write operation fails; 1: each")
	stepsFlag = flag.Int("steps", 0, "TestHistories, TestTeamHistories: steps of everybody together")
	sceneFlag = flag.String("scene", ".*", "TestMutants: only scenes whose name this matches as a whole")
	mutFlag   = flag.Int("mutants", 0, "TestMutants: about how many mutants are tried")
)

// figure is what a flag asks for, or what a test does by itself.
func figure(flag *int, normal, short int) int {
	switch {
	case *flag > 0:
		return *flag
	case testing.Short():
		return short
	}
	return normal
}

// lab is a place for a server: a disk, a key, a clock.
type lab struct {
	fs    vfs.FS
	mem   *vfs.MemFS         // what fs is over
	clock clock.Clock        // the server's machine's
	time  clock.Clock        // everybody else's
	key   ed25519.PrivateKey // nil: it lies in the data folder
	cfg   config.Config
	log   *slog.Logger
}

// newLab is a place with an empty disk.
func newLab(t testing.TB) *lab {
	t.Helper()
	return newLabOn(t, vfs.NewCrashableMem())
}

// newRoomyLab is a place whose disk nobody cuts the power of: for lives so long that
// keeping what was synced apart, at each sync the whole file, would take most of the time.
func newRoomyLab(t testing.TB) *lab {
	t.Helper()
	return newLabOn(t, vfs.NewMem())
}

func newLabOn(t testing.TB, mem *vfs.MemFS) *lab {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Data.Dir, cfg.Data.HighWater = "/srv/keystead", "/var/highwater"
	cfg.HTTP.Listen, cfg.RPC.Listen, cfg.Ops.Listen = "127.0.0.1:0", "127.0.0.1:0", ""
	l := &lab{mem: mem, clock: clock.System(), time: clock.System(), key: key, cfg: cfg, log: slog.New(slog.DiscardHandler)}
	l.fs = l.mem
	for _, dir := range []string{"/srv", "/var"} { // the operator made these long ago
		if err := l.mem.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root, err := l.mem.OpenDir("/")
	if err == nil {
		err = errors.Join(root.Sync(), root.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// on is the same place with another disk.
func (l *lab) on(mem *vfs.MemFS) *lab {
	other := *l
	other.mem, other.fs = mem, mem
	return &other
}

// world is the lab as the server sees it.
func (l *lab) world() World {
	w := World{FS: l.fs, Clock: l.clock, Rand: rand.Reader, Key: loadKey}
	if l.key != nil {
		w.Key = func(string, [16]byte, bool) (ed25519.PrivateKey, error) { return l.key, nil }
	}
	return w
}

// run is a running server.
type run struct {
	*node
	lab    *lab
	uri    string
	kid    client.KID
	cancel context.CancelFunc
	ended  chan struct{} // closed when the server has ended, with err
	err    error
	client *client.Server
}

// start runs a server until stop; the error is that of a start that failed.
func (l *lab) start() (*run, error) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{node: newNode(l.world(), l.cfg, l.log), lab: l, cancel: cancel, ended: make(chan struct{})}
	up := make(chan Bound, 1)
	go func() {
		r.err = r.node.run(ctx, func(b Bound) error { up <- b; return nil })
		close(r.ended)
	}()
	select {
	case b := <-up:
		r.uri = "http://" + b.HTTP
		kid, err := client.ParseKID(b.MerkleKID.String())
		r.kid = kid
		r.client = r.server()
		return r, err
	case <-r.ended:
		cancel()
		return nil, r.err
	}
}

// mustStart is start where nothing keeps a server from starting.
func (l *lab) mustStart(t testing.TB) *run {
	t.Helper()
	r, err := l.start()
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	return r
}

// stop asks the server to stop and returns what it ended with.
func (r *run) stop() error {
	r.client.Close()
	r.cancel()
	<-r.ended
	return r.err
}

// look shows the newest state to f. Of a server that comes to its end meanwhile it is an
// endedError.
func (r *run) look(f func(*store.View) error) error {
	v := r.store.View()
	defer v.Close()
	err := f(v)
	if errors.Is(err, store.ErrStopped) {
		<-r.ended
		return &endedError{"stopped", r.err}
	}
	return err
}

func (r *run) mustStop(t testing.TB) {
	t.Helper()
	if err := r.stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
}

// server is a client's way to the server.
func (r *run) server() *client.Server {
	s := client.NewServer(r.uri, []client.KID{r.kid}, r.lab.time, rand.Reader)
	s.FirstRoot = client.Seqno(roots.FirstSeqno)
	s.HTTP.Timeout = 30 * time.Second
	return s
}

// verifier is a strict client that knows nothing but w.
func (r *run) verifier(w *client.Witness) *client.Verifier { return client.NewVerifier(r.client, w) }

// signUp is a new account with one device, whose client knows nothing else.
func (r *run) signUp(t testing.TB, name string) *client.Account {
	t.Helper()
	a, err := client.Signup(t.Context(), r.verifier(strictWitness()), client.SignupOptions{
		Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "desk",
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// strictWitness allows no root to be older than the one before.
func strictWitness() *client.Witness {
	w := client.NewWitness()
	w.TimeSlack = 0
	return w
}

// tap shows each answer of the protocol before the client has it.
type tap struct {
	http.RoundTripper
	seen func(endpoint string, body []byte)
}

// RoundTrip implements http.RoundTripper.
func (t tap) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	t.seen(strings.TrimSuffix(strings.TrimPrefix(req.URL.Path, "/_/api/1.0/"), ".json"), body)
	return res, nil
}

// acknowledged reports an answer of success.
func acknowledged(body []byte) bool { return bytes.HasPrefix(body, []byte(`{"status":{"code":0,`)) }

// groupOf is the number of the newest group that a state of the store holds: each write
// makes another.
func groupOf(r store.Reader) (n uint64, err error) {
	lo := keys.Meta("group-")
	err = r.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		_, err := fmt.Sscanf(string(k[len(lo):]), "%x", &n)
		return err
	})
	if err == nil && n == 0 {
		err = errors.New("no group is numbered: has the store changed?")
	}
	return n, err
}

// audit looks at everything that the running server has published.
func (r *run) audit() error {
	v := r.store.View()
	defer v.Close()
	kid, err := kbsig.ParseKID(r.kid.String())
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := audit.Run(context.Background(), v, kid, &out); err != nil {
		return fmt.Errorf("%w\n%s", err, out.Bytes())
	}
	return nil
}

// newest is the newest published root.
func (r *run) newest() *roots.Root {
	v := r.store.View()
	defer v.Close()
	return roots.StateOf(v).Root()
}

// rebuild reads the archive of a server that has stopped after root want.
func (l *lab) rebuild(want *roots.Root) error {
	sum, err := archive.Rebuild(l.fs, l.cfg.ArchivePath(), kbsig.KIDOfPrivate(l.key))
	if err != nil {
		return fmt.Errorf("rebuild the archive: %w", err)
	}
	if sum.Newest != want.Seqno || sum.HashMeta != want.HashMeta {
		return fmt.Errorf("the archive ends with root %d %s, the store with %d %s", sum.Newest, sum.HashMeta, want.Seqno, want.HashMeta)
	}
	return nil
}

// names makes account names that nobody has.
type names struct {
	mu sync.Mutex
	n  int
}

func (n *names) next() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.n++
	return fmt.Sprintf("u%d", n.n)
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
