package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/cmd/keystead/node"
	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
)

var update = flag.Bool("update", false, "write the generated reference anew")

// seed makes the key of test servers.
var seed = bytes.Repeat([]byte{7}, 32)

// fakeNode stands for a server: it makes the key, reports doors and waits for the
// end of ctx, which the tests bring about in then.
func fakeNode(bound node.Bound, then func(config.Config, *slog.Logger) error) runFunc {
	return func(_ context.Context, cfg config.Config, log *slog.Logger, ready func(node.Bound) error) error {
		key, _, err := keyfile.LoadOrCreate(cfg.Data.Dir, bytes.NewReader(seed))
		if err != nil {
			return err
		}
		bound.MerkleKID = keyfile.KIDOf(key)
		if err := ready(bound); err != nil {
			return err
		}
		return then(cfg, log)
	}
}

var usualDoors = node.Bound{HTTP: "127.0.0.1:3000", RPC: "127.0.0.1:9911", Ops: "127.0.0.1:3001"}

// outcome is what one command line did.
type outcome struct {
	code           int
	stdout, stderr string
}

// keystead runs one command line with the home folder home.
func keystead(home string, run runFunc, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	a := app{
		self: "keystead", stdout: &stdout, stderr: &stderr, run: run,
		getenv: func(name string) string {
			if name == "HOME" {
				return home
			}
			return ""
		},
		audit: func(_ context.Context, _ string, _ int, out io.Writer) error {
			_, err := fmt.Fprintln(out, "roots: 2 checked")
			return err
		},
	}
	code := a.main(context.Background(), args)
	return outcome{code, stdout.String(), stderr.String()}
}

// TestServeTellsHowToPointAClient proves that a start without any setting writes
// the export lines to standard output, and that client-env says the same later
// from the same account.
func TestServeTellsHowToPointAClient(t *testing.T) {
	home := t.TempDir()
	served := keystead(home, fakeNode(usualDoors, func(config.Config, *slog.Logger) error { return nil }), "serve")
	if served.code != exitOK {
		t.Fatalf("serve: %+v", served)
	}
	env := keystead(home, nil, "client-env")
	if env.code != exitOK || strings.Count(env.stdout, "\n") != 3 {
		t.Fatalf("client-env: %+v", env)
	}
	for line := range strings.Lines(env.stdout) {
		if !strings.HasPrefix(line, "export KEYBASE_") || !strings.Contains(served.stdout, "  "+line) {
			t.Errorf("serve did not print %q:\n%s", line, served.stdout)
		}
	}
	if want := filepath.Join(home, ".local", "share", "keystead"); !strings.Contains(served.stdout, want) {
		t.Errorf("serve does not name the data folder %s:\n%s", want, served.stdout)
	}
	if !strings.Contains(served.stdout, `eval "$(keystead client-env)"`) || strings.Contains(served.stdout, "level=") {
		t.Errorf("standard output is not for people:\n%s", served.stdout)
	}
	if !strings.Contains(served.stderr, "level=INFO") {
		t.Errorf("the log is not on standard error:\n%s", served.stderr)
	}
}

// TestServeReportsRealPorts proves that with port 0 clients are told the port that
// the door got, and that the hint names the data folder that was given.
func TestServeReportsRealPorts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's here")
	bound := node.Bound{HTTP: "127.0.0.1:43210", RPC: "[::]:43211"}
	served := keystead(t.TempDir(), fakeNode(bound, func(c config.Config, _ *slog.Logger) error {
		if c.HTTP.Listen != "127.0.0.1:0" || c.Ops.Listen != "" || !c.Devel {
			return fmt.Errorf("flags did not arrive: %+v", c)
		}
		return nil
	}), "serve", "--data", dir, "--http", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--ops", "", "--devel")
	for _, want := range []string{"'http://127.0.0.1:43210'", "'fmprpc://[::1]:43211'", "KEYBASE_RUN_MODE='devel'", `--data '` + strings.ReplaceAll(dir, "'", `'\''`) + `'`} {
		if !strings.Contains(served.stdout, want) {
			t.Errorf("%s is missing: %+v", want, served)
		}
	}
	if strings.Contains(served.stdout, "healthz") {
		t.Errorf("names a listener that is off:\n%s", served.stdout)
	}
}

// TestFlagsOverFileOverDefaults proves the order of the three sources, and that a
// warning is logged and does not stop the start.
func TestFlagsOverFileOverDefaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keystead.toml")
	text := "[http]\nlisten = \"0.0.0.0:4000\"\n[rpc]\nlisten = \"127.0.0.1:4001\"\n[log]\nformat = \"json\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var got config.Config
	served := keystead(t.TempDir(), fakeNode(usualDoors, func(c config.Config, _ *slog.Logger) error {
		got = c
		return nil
	}), "serve", "--config", file, "--rpc", "127.0.0.1:5001")
	want := config.Default()
	want.HTTP.Listen, want.RPC.Listen, want.Log.Format, want.Data.Dir = "0.0.0.0:4000", "127.0.0.1:5001", "json", got.Data.Dir
	if diff := cmp.Diff(want, got); diff != "" || served.code != exitOK {
		t.Errorf("%s\n%+v", diff, served)
	}
	if !strings.Contains(served.stderr, `"level":"WARN"`) || !strings.Contains(served.stderr, "http.listen") {
		t.Errorf("no warning of a plain door: %s", served.stderr)
	}
}

// TestSecretsDoNotReachTheLogOfServe proves that the logger which the node gets is
// the redacting one, at the lowest level too.
func TestSecretsDoNotReachTheLogOfServe(t *testing.T) {
	const canary = "c4n4ryS3cr3tValue"
	served := keystead(t.TempDir(), fakeNode(usualDoors, func(_ config.Config, log *slog.Logger) error {
		log.Debug("request", "session", canary, "uid", "0123")
		return errors.New("login failed with pwh=" + canary)
	}), "serve", "--log-level", "debug")
	if served.code != exitFailure || !strings.Contains(served.stderr, "uid=0123") || !strings.Contains(served.stderr, "login failed") {
		t.Errorf("%+v", served)
	}
	if strings.Contains(served.stdout+served.stderr, canary) {
		t.Errorf("the secret came out: %s", served.stderr)
	}
}

// TestClientEnvBeforeServe proves that an eval of the answer fails too when there
// is nothing to tell: an eval of nothing would leave a client with its vendor.
func TestClientEnvBeforeServe(t *testing.T) {
	got := keystead(t.TempDir(), nil, "client-env")
	if got.code != exitFailure || got.stdout != "false\n" || !strings.Contains(got.stderr, "run `keystead serve` first") {
		t.Errorf("%+v", got)
	}
	got = keystead(t.TempDir(), nil, "client-env", "--format", "json")
	if got.code != exitFailure || got.stdout != "" {
		t.Errorf("%+v", got)
	}
}

// TestClientEnvAfterKeyChange proves that clients are never pointed at a key which
// the folder does not hold any more.
func TestClientEnvAfterKeyChange(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	if got := keystead("", fakeNode(usualDoors, func(config.Config, *slog.Logger) error { return nil }), "serve", "--data", dir); got.code != exitOK {
		t.Fatalf("%+v", got)
	}
	if _, _, err := keyfile.LoadOrCreate(other, bytes.NewReader(bytes.Repeat([]byte{8}, 32))); err != nil {
		t.Fatal(err)
	}
	keys := filepath.Dir(keyfile.Path(dir))
	if err := errors.Join(os.RemoveAll(keys), os.Rename(filepath.Dir(keyfile.Path(other)), keys)); err != nil {
		t.Fatal(err)
	}
	if got := keystead("", nil, "client-env", "--data", dir); got.code != exitFailure || got.stdout != "false\n" || !strings.Contains(got.stderr, "signing key") {
		t.Errorf("%+v", got)
	}
}

// TestHealthFindsTheServer proves that health asks where the server of the folder
// listens, and that --ops asks elsewhere without any folder.
func TestHealthFindsTheServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	bound := usualDoors
	bound.Ops = address
	dir := t.TempDir()
	if got := keystead("", nil, "health", "--data", dir); got.code != exitFailure || !strings.Contains(got.stderr, "serve") {
		t.Errorf("before a start: %+v", got)
	}
	keystead("", fakeNode(bound, func(config.Config, *slog.Logger) error { return nil }), "serve", "--data", dir)
	if got := keystead("", nil, "health", "--data", dir); got.code != exitOK || !strings.HasPrefix(got.stdout, "healthy: "+address) {
		t.Errorf("by folder: %+v", got)
	}
	if got := keystead("", nil, "health", "--ops", address); got.code != exitOK {
		t.Errorf("by address: %+v", got)
	}
	server.Close()
	if got := keystead("", nil, "health", "--data", dir); got.code != exitFailure || !strings.Contains(got.stderr, "is the server running?") {
		t.Errorf("after the end: %+v", got)
	}
}

// TestVerifyRunsTheAudit proves that verify reaches the audit and says what it found.
func TestVerifyRunsTheAudit(t *testing.T) {
	dir := t.TempDir()
	keystead("", fakeNode(usualDoors, func(config.Config, *slog.Logger) error { return nil }), "serve", "--data", dir)
	if got := keystead("", nil, "verify", "--data", dir); got.code != exitOK || !strings.Contains(got.stdout, "roots: 2 checked") {
		t.Errorf("%+v", got)
	}
	if got := keystead("", nil, "verify", "--data", t.TempDir()); got.code != exitFailure || !strings.Contains(got.stderr, "run `keystead serve` first") {
		t.Errorf("%+v", got)
	}
}

// TestConfigVerbs proves that what print writes passes check, and that check points
// at a mistake with file, line and column and exits 1, but not for a warning.
func TestConfigVerbs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	printed := keystead("", nil, "config", "print")
	good := write("good.toml", printed.stdout)
	if got := keystead(dir, nil, "config", "check", good); got.code != exitOK || got.stdout != good+": ok\n" {
		t.Errorf("%+v", got)
	}
	bad := write("bad.toml", "[http]\nlisten = \"3000\"\nport = 3000\n")
	if got := keystead("", nil, "config", "check", bad); got.code != exitFailure || strings.Count(got.stdout, bad+":") != 2 || !strings.Contains(got.stdout, bad+":2:1: http.listen") || got.stderr != "" {
		t.Errorf("%+v", got)
	}
	warned := write("warned.toml", "[ops]\nlisten = \"0.0.0.0:3001\"\n")
	if got := keystead("", nil, "config", "check", warned); got.code != exitOK || !strings.Contains(got.stdout, "warning") {
		t.Errorf("%+v", got)
	}
	if got := keystead("", nil, "config", "print", "--config", warned); !strings.Contains(got.stdout, "listen = \"0.0.0.0:3001\"") {
		t.Errorf("%+v", got)
	}
	if got := keystead("", nil, "serve", "--config", bad); got.code != exitFailure || !strings.Contains(got.stderr, "2:1: http.listen") {
		t.Errorf("%+v", got)
	}
}

// TestUsage proves that a command line which makes no sense exits 2 and says where
// to read on.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"sreve"}, {"serve", "now"}, {"serve", "--colour"}, {"config", "check"}, {"config", "chekc"}, {"version", "2"}, {"serve", "--data", ""},
	} {
		got := keystead(t.TempDir(), nil, args...)
		if got.code != exitUsage || !strings.Contains(got.stderr, "--help") || got.stdout != "" {
			t.Errorf("%v: %+v", args, got)
		}
	}
	for _, args := range [][]string{{}, {"--help"}, {"serve", "--help"}, {"config"}} {
		if got := keystead("", nil, args...); got.code != exitOK || !strings.Contains(got.stdout, "Usage:") {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

// TestSelfName proves that the line which people copy from the start calls this
// program, however it was called.
func TestSelfName(t *testing.T) {
	for arg0, want := range map[string]string{
		"keystead": "keystead", "./bin/keystead": "./bin/keystead", "/opt/my tools/keystead": "'/opt/my tools/keystead'",
		"/var/tmp/go-build123/b001/exe/keystead": "go run ./cmd/keystead",
	} {
		if got := selfName(arg0); got != want {
			t.Errorf("%s: got %s, want %s", arg0, got, want)
		}
	}
}

// TestVersion proves that version names the stock clients and, when the toolchain
// knows it, the commit.
func TestVersion(t *testing.T) {
	if got := keystead("", nil, "version"); got.code != exitOK || !strings.Contains(got.stdout, "stock clients: "+clientVersions) {
		t.Errorf("%+v", got)
	}
	info := &debug.BuildInfo{Main: debug.Module{Version: "v0.1.0"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}}
	if got, want := buildVersion(info, true), "v0.1.0 (commit abc, with changes)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := buildVersion(nil, false); got != "(unknown build)" {
		t.Errorf("got %q", got)
	}
}

// TestCommandReferenceIsFresh proves that the command page of the documentation is
// what help says today; run with -update after changing a command.
func TestCommandReferenceIsFresh(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Commands\n\nWritten from the program's own help by `make docs`; do not edit.\n")
	var page func(*cobra.Command)
	page = func(cmd *cobra.Command) {
		if cmd.Name() == "help" || cmd.Name() == "completion" {
			return
		}
		cmd.InitDefaultHelpFlag()
		text := cmd.Long
		if text == "" {
			text = cmd.Short
		}
		fmt.Fprintf(&b, "\n## %s\n\n```\n%s\n\n%s```\n", cmd.CommandPath(), text, cmd.UsageString())
		for _, sub := range cmd.Commands() {
			page(sub)
		}
	}
	page(app{}.root())
	const path = "../../docs/reference/commands.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Fatalf("docs/reference/commands.md is stale; run `make docs`:\n%s", diff)
	}
}
