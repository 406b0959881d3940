//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/bench/proc"
)

// server is the built binary, running.
type server struct {
	*proc.Process
	kid client.KID
}

func start(ctx context.Context, bin, data string) (*server, error) {
	p, err := proc.Site{Bin: bin, Dir: data, Log: os.Stderr, Flags: []string{"--log-level", "warn"}, NoOps: true}.Start(ctx)
	if err != nil {
		return nil, err
	}
	kid, err := client.ParseKID(p.KID)
	if err != nil {
		p.Kill()
		return nil, err
	}
	return &server{p, kid}, nil
}

func (s *server) client() *client.Server {
	return client.NewServer("http://"+s.REST, []client.KID{s.kid}, time.Now, rand.Reader)
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
