package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keystead/keystead/bench/client"
)

// server is the built binary, running.
type server struct {
	cmd   *exec.Cmd
	uri   string
	kid   client.KID
	ready time.Duration // from its start to its open doors
}

func build(ctx context.Context, bin string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/keystead/keystead/cmd/keystead")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return nil
}

var envLine = regexp.MustCompile(`export (KEYBASE_SERVER_URI|KEYBASE_MERKLE_KIDS)='([^']*)'`)

// freePort finds a port that nobody uses at the moment.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

func start(ctx context.Context, bin, data string) (*server, error) {
	http, err1 := freePort()
	rpc, err2 := freePort()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	begun := time.Now()
	cmd := exec.CommandContext(ctx, bin, "serve", "--data", data, "--http", http, "--rpc", rpc, "--ops", "", "--log-level", "warn")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		m := envLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		if m[1] == "KEYBASE_SERVER_URI" {
			s.uri = m[2]
			continue
		}
		s.ready = time.Since(begun)
		if s.kid, err = client.ParseKID(m[2]); err != nil {
			return nil, errors.Join(err, s.stop())
		}
		go func() {
			for lines.Scan() { // or the server would block on its pipe
			}
		}()
		return s, nil
	}
	return nil, fmt.Errorf("the server ended before it was ready: %w", cmd.Wait())
}

func (s *server) client() *client.Server {
	return client.NewServer(s.uri, []client.KID{s.kid}, time.Now, rand.Reader)
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.cmd.Wait()
}

// residentBytes is what the server holds in memory.
func (s *server) residentBytes() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// sizes are the bytes in each folder of a data folder.
func sizes(data string) (map[string]int64, error) {
	out := map[string]int64{}
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(data, path)
		out[strings.Split(rel, string(filepath.Separator))[0]] += info.Size()
		return err
	})
	return out, err
}

func fdatasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// machine says what this ran on.
func machine() string {
	model := "unknown CPU"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "model name"); ok {
				model = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), ":"))
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d CPUs, %s, %s/%s", model, runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
