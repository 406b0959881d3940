package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/cockroachdb/datadriven"

	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/cmd/keystead/node"
	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
	"github.com/keystead/keystead/cmd/keystead/preflight"
	"github.com/keystead/keystead/cmd/keystead/tlsfile/testca"
)

// mistakesMin is how many mistakes the table has at least.
const mistakesMin = 40

// bench is a folder with what mistakes are made of: a data folder, pairs good and bad,
// files where folders should be.
type bench struct {
	t    *testing.T
	dir  string
	file string // the configuration
	busy net.Listener
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t}
	// A folder that nobody can enter, too: t.TempDir is its owner's alone.
	dir, err := os.MkdirTemp("", "keystead-mistakes")
	b.must(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	b.must(os.Chmod(dir, 0o777))
	// Links in the path of a temporary folder would show up in lines.
	real, err := filepath.EvalSymlinks(dir)
	b.must(err)
	b.dir, b.file = real, filepath.Join(real, "keystead.toml")
	ca, err := testca.New(time.Now())
	b.must(err)
	at := func(name string) string { return filepath.Join(b.dir, name) }
	b.must(errors.Join(
		os.Mkdir(at("folder"), 0o700),
		os.WriteFile(at("file"), []byte("just a file\n"), 0o600),
		os.Symlink(at("folder"), at("link")),
		ca.Write(testca.Leaf{Ends: 20 * 24 * time.Hour}, at("cert.pem"), at("key.pem")),
		ca.Write(testca.Leaf{}, at("other-cert.pem"), at("other-key.pem")),
		ca.Write(testca.Leaf{Ends: -time.Minute}, at("expired.pem"), at("expired-key.pem")),
		ca.Write(testca.Leaf{Nameless: true}, at("nameless.pem"), at("nameless-key.pem")),
		ca.Write(testca.Leaf{DNS: []string{"keys.example.org"}, Ends: 20 * 24 * time.Hour}, at("named.pem"), at("named-key.pem")),
		ca.Write(testca.Leaf{}, at("open-cert.pem"), at("open-key.pem")),
		os.Chmod(at("open-key.pem"), 0o644),
	))
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// words are the names that a case has for what is different on each machine.
func (b *bench) words(text string) string {
	if strings.Contains(text, "$BUSY") && b.busy == nil {
		var err error
		b.busy, err = net.Listen("tcp", "127.0.0.1:0")
		b.must(err)
		b.t.Cleanup(func() { b.busy.Close() })
	}
	text = strings.ReplaceAll(text, "$DIR", b.dir)
	if b.busy != nil {
		text = strings.ReplaceAll(text, "$BUSY", b.busy.Addr().String())
	}
	return text
}

var (
	anyUID = regexp.MustCompile(`(uid|chown) \d+`)
	anyDay = regexp.MustCompile(`on \d{4}-\d\d-\d\d`)
)

// plain puts the names back.
func (b *bench) plain(text string) string {
	text = strings.ReplaceAll(text, b.file, "FILE")
	text = strings.ReplaceAll(text, b.dir, "$DIR")
	if b.busy != nil {
		text = strings.ReplaceAll(text, b.busy.Addr().String(), "$BUSY")
	}
	return anyDay.ReplaceAllString(anyUID.ReplaceAllString(text, "$1 UID"), "on DAY")
}

// write saves the configuration in the case's encoding.
func (b *bench) write(d *datadriven.TestData) {
	text := strings.ReplaceAll(b.words(d.Input), `\t`, "\t") + "\n"
	raw := []byte(text)
	switch {
	case d.HasArg("bom"):
		raw = append([]byte("\ufeff"), raw...)
	case d.HasArg("crlf"):
		raw = []byte(strings.ReplaceAll(text, "\n", "\r\n"))
	case d.HasArg("latin1"):
		raw = bytes.ReplaceAll(raw, []byte("ü"), []byte{0xfc})
	case d.HasArg("utf16"):
		raw = []byte{0xff, 0xfe}
		for _, u := range utf16.Encode([]rune(text)) {
			raw = append(raw, byte(u), byte(u>>8))
		}
	}
	b.must(os.WriteFile(b.file, raw, 0o644))
}

// server makes the data folder of a server that has run, for mistakes about its key.
func (b *bench) server() string {
	b.t.Helper()
	_, _, err := keyfile.LoadOrCreate(filepath.Join(b.dir, "folder"), bytes.NewReader(seed))
	b.must(err)
	return keyfile.Path(filepath.Join(b.dir, "folder"))
}

// try runs one command line as a machine with nothing else on it would: addresses that
// nobody chose are free there.
func (b *bench) try(d *datadriven.TestData, started *bool, args ...string) outcome {
	env := map[string]string{"HOME": filepath.Join(b.dir, "home")}
	var entries []string
	d.MaybeScanArgs(b.t, "env", &entries)
	for i, e := range entries {
		entries[i] = b.words(e)
		name, value, _ := strings.Cut(entries[i], "=")
		env[name] = value
	}
	var flags []string
	d.MaybeScanArgs(b.t, "flags", &flags)
	for i := range flags {
		flags[i] = b.words(flags[i])
	}
	var stdout, stderr bytes.Buffer
	a := app{
		self: "keystead", stdout: &stdout, stderr: &stderr,
		getenv: func(name string) string { return env[name] }, environ: func() []string { return entries },
		preflight: func(c config.Config, now time.Time) config.Problems {
			usual := config.Default()
			for at, free := range map[*string]string{&c.HTTP.Listen: usual.HTTP.Listen, &c.RPC.Listen: usual.RPC.Listen, &c.Ops.Listen: usual.Ops.Listen} {
				if *at == free {
					*at = "127.0.0.1:0"
				}
			}
			return preflight.Check(c, now)
		},
		run: func(context.Context, config.Config, *slog.Logger, func(node.Bound) error) error {
			*started = true
			return nil
		},
	}
	code := a.main(context.Background(), append(args, flags...))
	return outcome{code, b.plain(stdout.String()), b.plain(stderr.String())}
}

// TestMistakes goes through the table of mistakes of a configuration: in the file, on
// the command line, in the environment, on the machine. It proves that each gets
// exactly one line, which says what to change; that `config check` and `serve` say the
// same; and that a server is started by no configuration with a mistake, and by every
// one without.
func TestMistakes(t *testing.T) {
	mistakes, seen := 0, map[string]bool{}
	// One that fails shall not hide the others.
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	datadriven.RunTest(t, "testdata/mistakes", func(t *testing.T, d *datadriven.TestData) string {
		b := newBench(t)
		back := b.prepare(d)
		if back == nil {
			return d.Expected // what the case needs is not here
		}
		defer back()
		b.write(d)
		var startedByCheck, started bool
		checked := b.try(d, &startedByCheck, "config", "check", b.file)
		served := b.try(d, &started, "serve", "--config", b.file)
		lines := strings.TrimSuffix(checked.stdout, "FILE: ok\n")
		if startedByCheck || checked.stderr != "" {
			fault("%s: check started a server or wrote to standard error: %+v", d.Pos, checked)
		}
		if d.Cmd == "fine" {
			if checked.code != exitOK || !started {
				fault("%s: not fine: %+v %+v", d.Pos, checked, served)
			}
			if lines == "" {
				return "ok\n"
			}
			return lines
		}
		mistakes++
		if checked.code != exitFailure || served.code != exitFailure || started {
			fault("%s: check ends with %d, serve with %d, started: %t", d.Pos, checked.code, served.code, started)
		}
		if served.stderr != lines {
			fault("%s: serve says\n%s\nand check says\n%s", d.Pos, served.stderr, lines)
		}
		if strings.Count(lines, "\n") != 1 {
			fault("%s: not one line:\n%s", d.Pos, lines)
		}
		if !strings.ContainsAny(lines, ";?") {
			fault("%s: does not say what to change: %s", d.Pos, lines)
		}
		if seen[lines] {
			fault("%s: a second mistake with the line %s", d.Pos, lines)
		}
		seen[lines] = true
		return lines
	})
	for _, f := range faults {
		t.Error(f)
	}
	if mistakes < mistakesMin {
		t.Errorf("%d mistakes are in the table, not %d", mistakes, mistakesMin)
	}
}

// prepare brings about what a case says of the machine, and returns how to undo it;
// nil if it cannot be had here.
func (b *bench) prepare(d *datadriven.TestData) (back func()) {
	back = func() {}
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "key-open":
			b.must(os.Chmod(b.server(), 0o644))
		case "key-lost":
			b.must(os.Remove(b.server()))
		case "key-of-another":
			b.must(os.WriteFile(b.server(), []byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"), 0o600))
		case "closed-folder":
			b.must(os.Chmod(filepath.Join(b.dir, "folder"), 0o555))
			back = asNobody()
		case "full-disk":
			back = smallDisk(filepath.Join(b.dir, "folder"))
		}
	}
	return back
}

// TestMistakesOfTheCommandLine proves that what cannot be read as settings at all is
// told in one line too.
func TestMistakesOfTheCommandLine(t *testing.T) {
	b := newBench(t)
	none := &datadriven.TestData{}
	for want, args := range map[string][]string{
		"no such file":             {"serve", "--config", filepath.Join(b.dir, "nowhere.toml")},
		"is a directory":           {"config", "check", b.dir},
		"--data is empty":          {"serve", "--data", ""},
		"unknown flag: --htpp":     {"serve", "--htpp", ":1"},
		"takes no argument":        {"serve", "keystead.toml"},
		"invalid argument \"yes\"": {"serve", "--devel=yes"},
	} {
		var started bool
		got := b.try(none, &started, args...)
		if got.code == exitOK || started || !strings.Contains(got.stderr, want) || strings.Count(got.stderr, "keystead: ") != 1 {
			t.Errorf("%v: %+v", args, got)
		}
	}
}
