package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keystead/keystead/cmd/keystead/node"
	"github.com/keystead/keystead/cmd/keystead/ops"
	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
	"github.com/keystead/keystead/cmd/keystead/preflight"
	"github.com/keystead/keystead/compat/kbsig"
)

// patience bounds every wait of these tests.
const patience = time.Minute

// server is a real server, started by the real command line in this process.
type server struct {
	dir    string
	stop   context.CancelFunc
	done   chan int
	stdout *watched
	stderr *watched
}

// watched keeps what is written and says when a text has come by.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newWatched() *watched { return &watched{more: make(chan struct{}, 1)} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// realApp is the command line with the real server behind it.
func realApp(stdout, stderr io.Writer) app {
	return app{
		self: "keystead", stdout: stdout, stderr: stderr, getenv: func(string) string { return "" },
		run: node.Run, audit: node.Audit, adopt: node.Adopt, preflight: preflight.Check, offline: node.Offline,
	}
}

// startServer runs serve on dir with free ports and waits until its doors are open.
func startServer(t *testing.T, dir string, more ...string) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{dir: dir, stop: cancel, done: make(chan int, 1), stdout: newWatched(), stderr: newWatched()}
	go func() {
		s.done <- realApp(s.stdout, s.stderr).main(ctx, append([]string{"serve", "--data", dir, "--http", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--ops", "127.0.0.1:0"}, more...))
	}()
	t.Cleanup(cancel)
	late := time.After(patience)
	for !strings.Contains(s.stdout.String(), "Ctrl-C") {
		select {
		case <-s.stdout.more:
		case code := <-s.done:
			t.Fatalf("serve ended with %d:\n%s", code, s.stderr)
		case <-late:
			t.Fatalf("serve does not open its doors:\n%s", s.stderr)
		}
	}
	return s
}

// await waits until the log has a text so many times.
func (s *server) await(t *testing.T, text string, times int) {
	t.Helper()
	late := time.After(patience)
	for strings.Count(s.stderr.String(), text) < times {
		select {
		case <-s.stderr.more:
		case <-late:
			t.Fatalf("%q did not come %d times:\n%s", text, times, s.stderr)
		}
	}
}

// end stops the server as a signal does and waits for the exit code.
func (s *server) end(t *testing.T) {
	t.Helper()
	s.stop()
	select {
	case code := <-s.done:
		if code != exitOK {
			t.Fatalf("serve ended with %d:\n%s", code, s.stderr)
		}
	case <-time.After(patience):
		t.Fatal("serve does not end")
	}
}

// verb runs another command line on the folder of a real server.
func verb(args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := realApp(&stdout, &stderr).main(context.Background(), args)
	return outcome{code, stdout.String(), stderr.String()}
}

func endpoints(t *testing.T, dir string) ops.Endpoints {
	t.Helper()
	got := verb("client-env", "--data", dir, "--format", "json")
	var e ops.Endpoints
	if err := json.Unmarshal([]byte(got.stdout), &e); err != nil || got.code != exitOK {
		t.Fatalf("client-env: %v: %+v", err, got)
	}
	return e
}

// newestRoot asks the REST door for the root and its number.
func newestRoot(t *testing.T, e ops.Endpoints) int64 {
	t.Helper()
	answer, err := http.Get(e.ServerURI + "/_/api/1.0/merkle/root.json")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var root struct {
		Status struct{ Code int }
		Seqno  int64
	}
	if err := json.NewDecoder(answer.Body).Decode(&root); err != nil || root.Status.Code != 0 || root.Seqno == 0 {
		t.Fatalf("merkle/root: %v: %+v", err, root)
	}
	return root.Seqno
}

// TestServerFromNothing starts a real server on an empty folder and proves what the
// first page promises: the doors answer where client-env says, health is well,
// a stop is graceful, what was stored stands up to the audit, and the next start
// keeps key and roots.
func TestServerFromNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := startServer(t, dir)
	e := endpoints(t, dir)
	root := newestRoot(t, e)
	if got := verb("health", "--data", dir); got.code != exitOK {
		t.Errorf("health: %+v", got)
	}
	answer, err := http.Get("http://" + e.Ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("metrics: %s", answer.Status)
	}
	kid, err := kbsig.ParseKID(e.MerkleKID)
	if err != nil || !strings.Contains(first.stdout.String(), kid.String()) {
		t.Errorf("serve did not print the key %s: %v", e.MerkleKID, err)
	}
	if got := verb("verify", "--data", dir); got.code != exitFailure {
		t.Errorf("verify beside a running server: %+v", got)
	}
	first.end(t)

	if got := verb("health", "--data", dir, "--timeout", "5s"); got.code != exitFailure {
		t.Errorf("health after the end: %+v", got)
	}
	if got := verb("verify", "--data", dir); got.code != exitOK {
		t.Errorf("verify: %+v", got)
	}

	second := startServer(t, dir)
	again := endpoints(t, dir)
	if again.MerkleKID != e.MerkleKID || newestRoot(t, again) < root {
		t.Errorf("the second start has key %s and root %d; the first had %s and %d", again.MerkleKID, newestRoot(t, again), e.MerkleKID, root)
	}
	second.end(t)
}

// TestOneServerOnAFolder proves that a second server on the same folder does not
// start and says why, and that the first one goes on.
func TestOneServerOnAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := startServer(t, dir)
	e := endpoints(t, dir)
	got := verb("serve", "--data", dir, "--http", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--ops", "")
	if got.code != exitFailure || !strings.Contains(got.stderr, "nother server") {
		t.Errorf("%+v", got)
	}
	if endpoints(t, dir) != e {
		t.Error("the second server changed what clients are told")
	}
	newestRoot(t, e)
	s.end(t)
}

// TestBusyPortIsNamed proves that an address in use is told with the flag to change.
func TestBusyPortIsNamed(t *testing.T) {
	s := startServer(t, filepath.Join(t.TempDir(), "data"))
	busy := strings.TrimPrefix(endpoints(t, s.dir).ServerURI, "http://")
	got := verb("serve", "--data", filepath.Join(t.TempDir(), "other"), "--http", busy, "--rpc", "127.0.0.1:0", "--ops", "")
	if got.code != exitFailure || !strings.Contains(got.stderr, busy) || !strings.Contains(got.stderr, "--http") {
		t.Errorf("%+v", got)
	}
	s.end(t)
}

// TestCopiedFolderNeedsAdoption proves that a copy of a data folder, which could
// fork the tree, does not start by itself, and starts once the operator has spoken.
func TestCopiedFolderNeedsAdoption(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "data")
	s := startServer(t, dir)
	root := newestRoot(t, endpoints(t, dir))
	s.end(t)
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.CopyFS(moved, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(keyfile.Path(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	got := verb("serve", "--data", moved, "--http", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--ops", "")
	if got.code != exitFailure || !strings.Contains(got.stderr, "adopt") {
		t.Errorf("a copy started: %+v", got)
	}
	if got := verb("adopt", "--data", moved); got.code != exitOK || !strings.Contains(got.stdout, fmt.Sprint(root)) {
		t.Errorf("adopt: %+v", got)
	}
	again := startServer(t, moved)
	if got := newestRoot(t, endpoints(t, moved)); got < root {
		t.Errorf("the adopted server is at root %d, not %d", got, root)
	}
	again.end(t)
}

// TestAdoptRefuses proves that adoption is no way around a lost key, an empty
// folder or a running server.
func TestAdoptRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := startServer(t, dir)
	if got := verb("adopt", "--data", dir); got.code != exitFailure || !strings.Contains(got.stderr, "needs no adoption") {
		t.Errorf("beside a running server: %+v", got)
	}
	s.end(t)
	if err := os.Remove(keyfile.Path(dir)); err != nil {
		t.Fatal(err)
	}
	if got := verb("adopt", "--data", dir); got.code != exitFailure || !strings.Contains(got.stderr, "backup") {
		t.Errorf("without the key: %+v", got)
	}
	empty := t.TempDir()
	if _, _, err := keyfile.LoadOrCreate(empty, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if got := verb("adopt", "--data", empty); got.code != exitFailure {
		t.Errorf("an empty folder: %+v", got)
	}
}
