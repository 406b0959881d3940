// Package proc runs the built server as an operator would: its binary in a process of
// its own, on ports that the system picks, with one data folder.
//
// It owns starting, waiting for open doors, stopping, killing and asking what the
// process has used; the programs of bench decide what is done to it meanwhile. It
// imports nothing of the server: what it knows of one is what endpoints.json, the
// operator's listener and the command line say.
package proc

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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Bounds of waiting for the server.
const (
	startPatience  = 60 * time.Second // from start to open doors
	healthBytesMax = 4 << 10          // of what a server says of its health
	stopPatience   = 30 * time.Second // from SIGTERM to the end; the server itself gives up after 15 s
	verbPatience   = 30 * time.Minute // of a verb such as verify, on a busy machine
	stderrKept     = 64 << 10         // bytes of a process's standard error
)

// Site is one data folder, its high-water record beside it, and the binary that
// serves it.
type Site struct {
	Bin   string
	Dir   string
	Log   io.Writer // standard error of every process; nil: nowhere
	Flags []string  // of serve, besides the folder and the doors
	NoOps bool      // no operator's listener; then health is not waited for
}

// Highwater is where the server keeps its record, beside the folder.
func (s Site) Highwater() string { return s.Dir + ".highwater" }

// Process is one running server.
type Process struct {
	Stderr *Text
	Ended  chan struct{}
	Err    error         // how it ended; after Ended only
	REST   string        // host:port of the REST door
	RPC    string        // host:port of the RPC door
	Ops    string        // host:port of the operator's listener, if any
	KID    string        // of the key that signs roots, hex
	Ready  time.Duration // from its start to its open doors

	cmd *exec.Cmd
}

// Text keeps the end of what a process writes and tells when there is more.
type Text struct {
	mu   sync.Mutex
	b    []byte
	More chan struct{}
	also io.Writer
}

func newText(also io.Writer) *Text { return &Text{More: make(chan struct{}, 1), also: also} }

func (t *Text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - stderrKept; over > 0 {
		t.b = bytes.Clone(t.b[over:])
	}
	select {
	case t.More <- struct{}{}:
	default:
	}
	return t.also.Write(p)
}

func (t *Text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

// NotServing is a server that ended by itself before its doors were open.
type NotServing struct {
	Code   int
	Stderr string
}

func (e *NotServing) Error() string {
	return fmt.Sprintf("the server ended with status %d: %s", e.Code, LastLines(e.Stderr, 4))
}

// Launch starts a server and does not wait for it.
func (s Site) Launch() (*Process, *Text, error) {
	log, ops := s.Log, "127.0.0.1:0"
	if log == nil {
		log = io.Discard
	}
	if s.NoOps {
		ops = ""
	}
	stdout, stderr := newText(io.Discard), newText(log)
	args := []string{"serve", "--data", s.Dir, "--http", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--ops", ops}
	cmd := exec.Command(s.Bin, append(args, s.Flags...)...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", s.Bin, err)
	}
	p := &Process{cmd: cmd, Stderr: stderr, Ended: make(chan struct{})}
	go func() {
		p.Err = cmd.Wait()
		close(p.Ended)
	}()
	return p, stdout, nil
}

// Damaged is a server that serves, but says that one of its files is damaged.
type Damaged struct{ Says string }

func (e *Damaged) Error() string { return "the server says " + e.Says }

// Start starts a server and waits until it is healthy. A server that ends by itself
// is a *NotServing, and one that will never be healthy a *Damaged.
func (s Site) Start(ctx context.Context) (*Process, error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	p, stdout, err := s.Launch()
	if err != nil {
		return nil, err
	}
	// The last line of what a person reads; endpoints.json is written before it.
	for !strings.Contains(stdout.String(), "Ctrl-C") {
		select {
		case <-stdout.More:
		case <-p.Ended:
			return nil, &NotServing{p.cmd.ProcessState.ExitCode(), p.Stderr.String()}
		case <-ctx.Done():
			p.Kill()
			return nil, fmt.Errorf("the server did not open its doors in time: %w; it says: %s", ctx.Err(), LastLines(p.Stderr.String(), 4))
		}
	}
	p.Ready = time.Since(begun)
	if err := p.readEndpoints(s.Dir); err != nil {
		p.Kill()
		return nil, err
	}
	if s.NoOps {
		return p, nil
	}
	if err := p.healthy(ctx); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

func (p *Process) readEndpoints(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "endpoints.json"))
	if err != nil {
		return fmt.Errorf("find the server: %w", err)
	}
	var e struct {
		ServerURI string `json:"server_uri"`
		PushURI   string `json:"push_uri"`
		MerkleKID string `json:"merkle_kid"`
		Ops       string `json:"ops"`
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return fmt.Errorf("find the server: %w", err)
	}
	p.REST, p.RPC = host(e.ServerURI), host(e.PushURI)
	p.Ops, p.KID = e.Ops, e.MerkleKID
	return nil
}

// healthy asks until the server says that it is well.
func (p *Process) healthy(ctx context.Context) error {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Ops+"/healthz", nil)
		if err != nil {
			return err
		}
		if resp, err := c.Do(req); err == nil {
			says, _ := io.ReadAll(io.LimitReader(resp.Body, healthBytesMax))
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			if bytes.Contains(says, []byte("is damaged")) {
				return &Damaged{strings.TrimSpace(string(says))}
			}
		}
		select {
		case <-p.Ended:
			return &NotServing{p.cmd.ProcessState.ExitCode(), p.Stderr.String()}
		case <-ctx.Done():
			return fmt.Errorf("the server is not healthy in time: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Kill ends the server at once, as the kernel would (SIGKILL), and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.Ended
}

// Stop asks the server to stop (SIGTERM) and waits for it; it must end with status 0.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	select {
	case <-p.Ended:
	case <-time.After(stopPatience):
		p.Kill()
		return fmt.Errorf("the server did not stop within %s", stopPatience)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("a stop in order ended with status %d: %s", code, LastLines(p.Stderr.String(), 4))
	}
	return nil
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.Ended:
		return false
	default:
		return true
	}
}

// Verb runs another command of the binary on the folder and returns its exit status
// and all that it wrote.
func (s Site) Verb(ctx context.Context, args ...string) (code int, output string, err error) {
	ctx, cancel := context.WithTimeout(ctx, verbPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Bin, append(args, "--data", s.Dir)...)
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

// Build makes the binary in dir.
func Build(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "keystead")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/keystead/keystead/cmd/keystead")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, b)
	}
	return bin, nil
}

// LastLines is the end of a text in one line.
func LastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}

// host is a URI's host and port.
func host(uri string) string {
	_, after, _ := strings.Cut(uri, "://")
	return after
}

// Usage is what a process has used so far.
type Usage struct {
	Resident int64 // bytes of memory now
	Peak     int64 // bytes of resident memory, the most at any time
	CPU      time.Duration
}

// ticksPerSecond is the unit of processor time in /proc, the same on every Linux.
const ticksPerSecond = 100

// Usage reads /proc, so it knows nothing on other systems than Linux.
func (p *Process) Usage() (u Usage, err error) {
	proc := "/proc/" + strconv.Itoa(p.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		return u, fmt.Errorf("the server's memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		into := map[string]*int64{"VmRSS": &u.Resident, "VmHWM": &u.Peak}[name]
		if into == nil {
			continue
		}
		kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		if err != nil {
			return u, err
		}
		*into = kib << 10
	}
	stat, err := os.ReadFile(proc + "/stat")
	if err != nil {
		return u, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return u, fmt.Errorf("cannot read %s/stat", proc)
	}
	for _, f := range fields[11:13] {
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, err
		}
		u.CPU += time.Duration(ticks) * time.Second / ticksPerSecond
	}
	return u, nil
}
