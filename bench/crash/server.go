package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Bounds of waiting for the server.
const (
	startPatience = 60 * time.Second // from start to open doors
	stopPatience  = 30 * time.Second // from SIGTERM to the end; the server itself gives up after 15 s
	verbPatience  = 5 * time.Minute  // of a verb such as verify
	stderrKept    = 64 << 10         // bytes of a process's standard error
)

// site is one data folder, its high-water record beside it, and the binary that
// serves it.
type site struct {
	bin string
	dir string
	log io.Writer // standard error of every process
}

// highwater is where the server keeps its record, beside the folder.
func (s site) highwater() string { return s.dir + ".highwater" }

// process is one running server.
type process struct {
	cmd     *exec.Cmd
	stderr  *text
	ended   chan struct{}
	err     error // how it ended; after ended only
	address string
	ops     string
	kid     string
}

// text keeps the end of what a process writes and tells when there is more.
type text struct {
	mu   sync.Mutex
	b    []byte
	more chan struct{}
	also io.Writer
}

func newText(also io.Writer) *text { return &text{more: make(chan struct{}, 1), also: also} }

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - stderrKept; over > 0 {
		t.b = bytes.Clone(t.b[over:])
	}
	select {
	case t.more <- struct{}{}:
	default:
	}
	return t.also.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

// errNotServing is a server that ended by itself before its doors were open.
type errNotServing struct {
	code   int
	stderr string
}

func (e *errNotServing) Error() string {
	return fmt.Sprintf("the server ended with status %d: %s", e.code, lastLines(e.stderr, 4))
}

// launch starts a server and does not wait for it.
func (s site) launch() (*process, *text, error) {
	stdout, stderr := newText(io.Discard), newText(s.log)
	cmd := exec.Command(s.bin, "serve", "--data", s.dir, "--http", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--ops", "127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", s.bin, err)
	}
	p := &process{cmd: cmd, stderr: stderr, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, stdout, nil
}

// start starts a server and waits until it is healthy. A server that ends by itself
// is an *errNotServing.
func (s site) start(ctx context.Context) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	p, stdout, err := s.launch()
	if err != nil {
		return nil, err
	}
	// The last line of what a person reads; endpoints.json is written before it.
	for !strings.Contains(stdout.String(), "Ctrl-C") {
		select {
		case <-stdout.more:
		case <-p.ended:
			return nil, &errNotServing{p.cmd.ProcessState.ExitCode(), p.stderr.String()}
		case <-ctx.Done():
			p.kill()
			return nil, fmt.Errorf("the server did not open its doors in time: %w; it says: %s", ctx.Err(), lastLines(p.stderr.String(), 4))
		}
	}
	if err := p.readEndpoints(s.dir); err != nil {
		p.kill()
		return nil, err
	}
	if err := p.healthy(ctx); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

func (p *process) readEndpoints(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "endpoints.json"))
	if err != nil {
		return fmt.Errorf("find the server: %w", err)
	}
	var e struct {
		ServerURI string `json:"server_uri"`
		MerkleKID string `json:"merkle_kid"`
		Ops       string `json:"ops"`
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return fmt.Errorf("find the server: %w", err)
	}
	p.address, p.ops, p.kid = strings.TrimPrefix(e.ServerURI, "http://"), e.Ops, e.MerkleKID
	return nil
}

// healthy asks until the server says that it is well.
func (p *process) healthy(ctx context.Context) error {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.ops+"/healthz", nil)
		if err != nil {
			return err
		}
		if resp, err := c.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.ended:
			return &errNotServing{p.cmd.ProcessState.ExitCode(), p.stderr.String()}
		case <-ctx.Done():
			return fmt.Errorf("the server is not healthy in time: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// kill ends the server at once, as the kernel would (SIGKILL), and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
}

// stop asks the server to stop (SIGTERM) and waits for it; it must end with status 0.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	select {
	case <-p.ended:
	case <-time.After(stopPatience):
		p.kill()
		return fmt.Errorf("the server did not stop within %s", stopPatience)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("a stop in order ended with status %d: %s", code, lastLines(p.stderr.String(), 4))
	}
	return nil
}

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// verb runs another command of the binary on the folder and returns its exit status
// and all that it wrote.
func (s site) verb(ctx context.Context, args ...string) (code int, output string, err error) {
	ctx, cancel := context.WithTimeout(ctx, verbPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin, append(args, "--data", s.dir)...)
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = ctx.Err()
	}
	if err != nil {
		return -1, string(b), fmt.Errorf("keystead %s: %w", args[0], err)
	}
	return cmd.ProcessState.ExitCode(), string(b), nil
}

// build makes the binary in dir.
func build(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "keystead")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/keystead/keystead/cmd/keystead")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, b)
	}
	return bin, nil
}

// lastLines is the end of a text in one line.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}
