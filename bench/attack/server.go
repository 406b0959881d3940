//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
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
	startPatience = 60 * time.Second
	stopPatience  = 30 * time.Second
	stderrKept    = 16 << 10 // bytes
)

// configuration makes nobody exempt: attackers and victim are all held to the limits.
const configuration = `[limits]
exempt = []
[log]
level = "warn"
`

// server is one running server.
type server struct {
	cmd    *exec.Cmd
	stderr *tail
	ended  chan struct{}
	rest   string // host:port
	rpc    string
	kid    string
}

// tail keeps the end of what is written.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - stderrKept; over > 0 {
		t.b = bytes.Clone(t.b[over:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
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

// start runs a new server on a new folder and waits until its doors are open.
func start(ctx context.Context, bin, parent string) (*server, error) {
	dir, err := os.MkdirTemp(parent, "server")
	if err != nil {
		return nil, err
	}
	file, data := filepath.Join(dir, "keystead.toml"), filepath.Join(dir, "data")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		return nil, err
	}
	s := &server{stderr: &tail{}, ended: make(chan struct{})}
	stdout := &tail{}
	s.cmd = exec.Command(bin, "serve", "--config", file, "--data", data, "--http", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--ops", "")
	s.cmd.Stdout, s.cmd.Stderr = stdout, s.stderr
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	go func() { _ = s.cmd.Wait(); close(s.ended) }()
	for limit := time.Now().Add(startPatience); !strings.Contains(stdout.String(), "Ctrl-C"); {
		select {
		case <-s.ended:
			return nil, fmt.Errorf("the server ended at once: %s", s.stderr)
		case <-ctx.Done():
			return nil, s.give(ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(limit) {
			return nil, s.give(fmt.Errorf("the server did not open its doors in time: %s", s.stderr))
		}
	}
	if err := s.endpoints(data); err != nil {
		return nil, s.give(err)
	}
	return s, nil
}

// give ends a server that is of no use and returns why.
func (s *server) give(why error) error {
	_ = s.cmd.Process.Kill()
	<-s.ended
	return why
}

func (s *server) endpoints(data string) error {
	b, err := os.ReadFile(filepath.Join(data, "endpoints.json"))
	if err != nil {
		return err
	}
	var e struct {
		Server string `json:"server_uri"`
		Push   string `json:"push_uri"`
		KID    string `json:"merkle_kid"`
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return err
	}
	s.rest, s.rpc, s.kid = strings.TrimPrefix(e.Server, "http://"), strings.TrimPrefix(e.Push, "fmprpc://"), e.KID
	return nil
}

// stop asks the server to stop and waits; one that ended before was killed by the
// attack, which is a fault.
func (s *server) stop() error {
	select {
	case <-s.ended:
		return fmt.Errorf("the attack ended the server: %s", s.stderr)
	default:
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(stopPatience):
		return s.give(fmt.Errorf("the server did not stop within %s", stopPatience))
	}
}

// usage is what a process has used so far.
type usage struct {
	peak int64 // bytes of resident memory, the most at any time
	cpu  time.Duration
}

// ticksPerSecond is the unit of processor time in /proc, the same on every Linux.
const ticksPerSecond = 100

func (s *server) usage() (u usage, err error) {
	proc := "/proc/" + strconv.Itoa(s.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		return u, fmt.Errorf("the server's memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return u, err
			}
			u.peak = kib << 10
		}
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
		u.cpu += time.Duration(ticks) * time.Second / ticksPerSecond
	}
	return u, nil
}

// attacker is the n-th address that attacks. Hosts of one network follow each other.
func attacker(n int) net.IP { return net.IPv4(127, byte(66+n/62500), byte(n/250%250), byte(1+n%250)) }

// network is an address in the n-th network that attacks.
func network(n int) net.IP { return net.IPv4(127, byte(80+n/250), byte(n%250), 9) }

// dialFrom connects to an address of the server from an address.
func dialFrom(ctx context.Context, from net.IP, to string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 10 * time.Second}
	return d.DialContext(ctx, "tcp", to)
}
