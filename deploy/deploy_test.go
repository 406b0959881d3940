//go:build linux

// Package deploy has no code: this folder holds how a server is run. The tests here
// prove that what stands in these files really starts one.
package deploy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
)

// patience bounds every wait.
const patience = 2 * time.Minute

// imageAccount is the account in the container file.
const imageAccount = 65532

// container is what the container file says.
type container struct {
	build                          string // the shell line that makes the binary
	folders                        []string
	account                        string
	entry, command, health, volume []string
}

// readContainer reads the instructions of which the test knows the meaning.
func readContainer(t *testing.T) (c container) {
	t.Helper()
	text, err := os.ReadFile("Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	list := func(s string) (out []string) {
		if err := json.Unmarshal([]byte(s), &out); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		return out
	}
	for line := range strings.Lines(string(text)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "RUN":
			if strings.Contains(rest, "go build") {
				c.build = rest
			}
			for _, m := range regexp.MustCompile(`install -d -m 700 ([^&]*)`).FindAllStringSubmatch(rest, -1) {
				c.folders = strings.Fields(m[1])
			}
		case "FROM":
			if last := rest == "scratch"; last {
				c.account = "root" // until said otherwise
			}
		case "USER":
			c.account = rest
		case "VOLUME":
			c.volume = list(rest)
		case "ENTRYPOINT":
			c.entry = list(rest)
		case "CMD":
			c.command = list(rest)
		case "HEALTHCHECK":
			_, args, _ := strings.Cut(rest, "CMD ")
			c.health = list(args)
		}
	}
	return c
}

// buildBinary runs the build line of the container file, with another place for the
// outcome.
func buildBinary(t *testing.T, c container) string {
	t.Helper()
	const there = "-o /image/keystead"
	if !strings.Contains(c.build, there) {
		t.Fatalf("no build line with %q: %q", there, c.build)
	}
	out := filepath.Join(t.TempDir(), "keystead")
	cmd := exec.Command("sh", "-c", strings.Replace(c.build, there, "-o '"+out+"'", 1))
	cmd.Dir = ".."
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", c.build, err, text)
	}
	if err := os.Chmod(out, 0o755); err != nil {
		t.Fatal(err)
	}
	return out
}

func needRoot(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and starts the server")
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can change the root of a process")
	}
}

// image is the content of the container's image, in a folder.
type image struct {
	t    *testing.T
	root string
}

func makeImage(t *testing.T, c container, binary string) *image {
	t.Helper()
	im := &image{t, t.TempDir()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(binary)
	must(err)
	must(os.Chmod(im.root, 0o755))
	must(os.WriteFile(filepath.Join(im.root, "keystead"), text, 0o755))
	config, err := os.ReadFile("container.toml")
	must(err)
	must(os.Mkdir(filepath.Join(im.root, "etc"), 0o755))
	// Ports of this machine may be in use; those of a container are its own.
	config = regexp.MustCompile(`listen = "0.0.0.0:\d+"`).ReplaceAll(config, []byte(`listen = "127.0.0.1:0"`))
	config = regexp.MustCompile(`(?m)^public_ur[il] = .*$`).ReplaceAll(config, nil)
	must(os.WriteFile(filepath.Join(im.root, "etc", "keystead.toml"), append(config, "\n[ops]\nlisten = \"127.0.0.1:0\"\n"...), 0o644))
	for _, f := range c.folders {
		dir := filepath.Join(im.root, strings.TrimPrefix(f, "/image"))
		must(errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, imageAccount, imageAccount)))
	}
	return im
}

// command runs a program of the image as the container would: with the image as its
// root, as the account, without any environment.
func (im *image) command(args ...string) *exec.Cmd {
	cmd := &exec.Cmd{Path: args[0], Args: args, Dir: "/", Env: []string{}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: im.root, Credential: &syscall.Credential{Uid: imageAccount, Gid: imageAccount, NoSetGroups: false}}
	return cmd
}

// TestImage builds the binary as the container file does and proves that it is static,
// that a root with nothing else in it is enough to serve, to tell its health and to
// stop in order, as an account without rights, and that it writes only into the volumes.
func TestImage(t *testing.T) {
	needRoot(t)
	c := readContainer(t)
	if c.account != fmt.Sprintf("%d:%d", imageAccount, imageAccount) || len(c.entry) != 1 || !slices.Equal(c.volume, []string{"/data", "/mark"}) {
		t.Fatalf("the container file says %+v", c)
	}
	binary := buildBinary(t, c)
	requireStatic(t, binary)
	im := makeImage(t, c, binary)

	server := im.command(append(slices.Clone(c.entry), c.command...)...)
	var log bytes.Buffer // read after the process ended only
	server.Stderr = &log
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	defer func() {
		if !ended {
			_ = server.Process.Kill()
			_ = server.Wait()
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", &log)
		}
	}()
	waitFor(t, bufio.NewScanner(out), "Ctrl-C")

	signUp(t, filepath.Join(im.root, "data"))
	health := im.command(c.health...)
	if text, err := health.CombinedOutput(); err != nil || !strings.HasPrefix(string(text), "healthy: ") {
		t.Errorf("health: %v\n%s", err, text)
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = server.Wait()
	ended = true
	if err != nil {
		t.Errorf("the stop: %v", err)
	}
	health = im.command(c.health...)
	if text, err := health.CombinedOutput(); err == nil {
		t.Errorf("healthy after the end: %s", text)
	}
	im.requireOnly("keystead", "etc", "etc/keystead.toml", "data", "mark")
}

// requireStatic proves that no loader and no library is needed.
func requireStatic(t *testing.T, binary string) {
	t.Helper()
	f, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary needs a loader")
		}
	}
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Errorf("the binary needs %v: %v", libs, err)
	}
}

// requireOnly proves that the root has these files and, in the volumes, whatever.
func (im *image) requireOnly(names ...string) {
	im.t.Helper()
	err := filepath.WalkDir(im.root, func(path string, entry fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(im.root, path)
		switch {
		case err != nil:
			return err
		case rel == ".":
		case !slices.Contains(names, rel):
			im.t.Errorf("%s was written outside of the volumes", rel)
		case rel == "data" || rel == "mark":
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		im.t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(im.root, "mark", "mark")); err != nil {
		im.t.Errorf("no high-water record in its volume: %v", err)
	}
}

// waitFor reads lines until one has the text.
func waitFor(t *testing.T, lines *bufio.Scanner, text string) {
	t.Helper()
	found := make(chan bool, 1)
	go func() {
		ok := false
		for lines.Scan() {
			if !ok && strings.Contains(lines.Text(), text) {
				ok = true
				found <- true
			}
		}
		if !ok {
			found <- false
		}
	}()
	select {
	case ok := <-found:
		if !ok {
			t.Fatalf("the server ended before it said %q", text)
		}
	case <-time.After(patience):
		t.Fatalf("the server does not say %q", text)
	}
}

// signUp lives a short life at the server of a data folder.
func signUp(t *testing.T, dataDir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dataDir, "endpoints.json"))
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		URI string `json:"server_uri"`
		KID string `json:"merkle_kid"`
	}
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	kid, err := client.ParseKID(e.KID)
	if err != nil {
		t.Fatal(err)
	}
	s := client.NewServer(e.URI, []client.KID{kid}, time.Now, rand.Reader)
	defer s.Close()
	if _, err := client.Signup(context.Background(), client.NewVerifier(s, nil), client.SignupOptions{
		Name: "alice", Stream: client.CheapStream([]byte("alice")), DeviceName: "desk of alice",
	}); err != nil {
		t.Fatal(err)
	}
}

// TestUnit starts the systemd unit under a real systemd with all its restrictions; see
// prove-unit, which says what it proves. It is left out where there is no systemd.
func TestUnit(t *testing.T) {
	needRoot(t)
	binary := buildBinary(t, readContainer(t))
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	text, err := exec.CommandContext(ctx, "./prove-unit", binary).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 77 {
		t.Skip(strings.TrimSpace(string(text)))
	}
	if err != nil || !strings.Contains(string(text), "\nok: ") {
		t.Fatalf("%v\n%s", err, text)
	}
}
