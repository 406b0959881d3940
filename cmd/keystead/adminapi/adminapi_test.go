package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/store"
)

// scene is a server on a control socket, over a store in memory.
type scene struct {
	dir   string
	store *store.Store
	clock *clock.Fake
	rand  *rand.ChaCha8
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{dir: t.TempDir(), clock: clock.NewFake(time.Unix(1_800_000_000, 0)), rand: rand.NewChaCha8([32]byte{3})}
	var err error
	s.store, err = store.Open(store.Options{
		Dir: "data", FS: vfs.NewMem(), Rand: s.rand, Clock: s.clock.Now, CacheBytes: 1 << 20,
		Fatal: func(err error) { t.Errorf("unexpected fatal: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	methods := Invitations{Store: s.store, Rand: s.rand, Clock: s.clock.Now, Policy: accounts.SignupInvitation}.Methods()
	maps.Copy(methods, Announcements{Store: s.store, Clock: s.clock.Now}.Methods())
	methods["panic"] = func(context.Context, json.RawMessage) (any, error) { panic("on purpose") }
	ln, err := Listen(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(methods, slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		ln.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(<-served, server.Shutdown(ctx), s.store.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// signUp makes a bare account with the invitation's code.
func (s *scene) signUp(t *testing.T, name, code string) {
	t.Helper()
	err := s.store.Update(context.Background(), func(tx *store.Tx) error {
		u := kbsig.UIDOf(kbsig.Username(name))
		if _, err := accounts.UseInvitation(tx, code, u); err != nil {
			return err
		}
		return accounts.Create(tx, &accounts.Account{UID: u, Name: kbsig.Username(name)})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// raw sends bytes to the socket and returns what comes back.
func (s *scene) raw(t *testing.T, text string) string {
	t.Helper()
	conn, err := net.Dial("unix", Path(s.dir))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil && len(text) < requestBytesMax {
		t.Fatal(err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil && len(text) < requestBytesMax {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && len(text) < requestBytesMax {
		t.Fatal(err)
	}
	return string(answer)
}

// TestTranscript proves, exchange by exchange, what the socket answers, and that bad
// requests get one line that says why.
func TestTranscript(t *testing.T) {
	s := newScene(t)
	var code string
	datadriven.RunTest(t, "testdata/transcript", func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "advance":
			var by time.Duration
			var text string
			d.ScanArgs(t, "by", &text)
			by, err := time.ParseDuration(text)
			if err != nil {
				t.Fatal(err)
			}
			s.clock.Advance(by)
			return ""
		case "sign-up":
			var name string
			d.ScanArgs(t, "name", &name)
			s.signUp(t, name, code)
			return ""
		}
		answer := s.raw(t, strings.ReplaceAll(d.Input, "CODE", code)+"\n")
		var made struct{ Result MadeInvitation }
		if err := json.Unmarshal([]byte(answer), &made); err == nil && made.Result.Code != "" {
			code = made.Result.Code
		}
		return answer
	})
}

// TestCall proves that results and errors come through, that a panic ends neither the
// server nor the caller, and that many callers at once are all answered.
func TestCall(t *testing.T) {
	s := newScene(t)
	ctx := context.Background()
	var wg sync.WaitGroup
	for range 3 * connectionsMax {
		wg.Go(func() {
			var made MadeInvitation
			if err := Call(ctx, s.dir, InviteNew, NewInvitation{Uses: 1}, &made); err != nil || made.Code == "" {
				t.Errorf("%+v %v", made, err)
			}
		})
	}
	wg.Wait()
	var list InvitationList
	if err := Call(ctx, s.dir, InviteList, nil, &list); err != nil || len(list.Invitations) != 3*connectionsMax {
		t.Fatalf("%d invitations, %v", len(list.Invitations), err)
	}
	if err := Call(ctx, s.dir, "panic", nil, nil); err == nil || !strings.Contains(err.Error(), "log") {
		t.Fatalf("panic: %v", err)
	}
	if err := Call(ctx, s.dir, InviteNew, NewInvitation{Uses: -1}, nil); err == nil || !strings.Contains(err.Error(), "1 to 1000") {
		t.Fatalf("bad uses: %v", err)
	}
	if !Running(s.dir) {
		t.Fatal("is not found to run")
	}
}

// TestTooLongARequestIsDropped proves that a request over the limit is not read on.
func TestTooLongARequestIsDropped(t *testing.T) {
	s := newScene(t)
	if answer := s.raw(t, `{"keystead":1,"method":"`+strings.Repeat("x", 4*requestBytesMax)); answer != "" {
		t.Fatalf("answered %q", answer)
	}
	if !Running(s.dir) {
		t.Fatal("the server is gone")
	}
}

// TestSocketIsTheOwnersAlone proves that the socket has no rights for others, that
// nothing else stays in the folder, that a left one is replaced, and that closing
// takes it away.
func TestSocketIsTheOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(Path(dir), []byte("left by a crash"), 0o644); err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(Path(dir))
	if err != nil || info.Mode()&os.ModeSocket == 0 || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Fatalf("%v %v", files, err)
	}
}

// TestNoServer proves that a folder without a server, one with a dead socket and one
// that is not there are all told as such.
func TestNoServer(t *testing.T) {
	dead := t.TempDir()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: Path(dead), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	file := Path(t.TempDir())
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"empty": t.TempDir(), "dead": dead, "missing": "no/such/folder", "file": file} {
		if err := Call(context.Background(), dir, InviteList, nil, nil); !errors.Is(err, ErrNoServer) {
			t.Errorf("%s: %v", name, err)
		}
		if Running(dir) {
			t.Errorf("%s: found to run", name)
		}
	}
}

// TestOtherVersions proves that a command of another build is told so, on both sides.
func TestOtherVersions(t *testing.T) {
	s := newScene(t)
	if answer := s.raw(t, `{"keystead":2,"method":"invite.list"}`); !strings.Contains(answer, "same build") {
		t.Errorf("the server answers %s", answer)
	}
	dir := t.TempDir()
	ln, err := net.Listen("unix", Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if _, err := readLine(conn, requestBytesMax); err == nil {
				fmt.Fprintln(conn, `{"keystead":2,"result":{}}`)
			}
			conn.Close()
		}
	}()
	if err := Call(context.Background(), dir, InviteList, nil, nil); err == nil || !strings.Contains(err.Error(), "same build") {
		t.Errorf("the command says %v", err)
	}
}

// FuzzRequest proves that no line makes a server panic, and that whatever is answered
// is a reply.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{`{"keystead":1,"method":"invite.list"}`, `{"keystead":1,"method":"invite.new","args":{"uses":1}}`, `[]`, `{`, `{"keystead":1e9}`} {
		f.Add([]byte(seed))
	}
	server := NewServer(Methods{"invite.new": typed(func(_ context.Context, a NewInvitation) (MadeInvitation, error) {
		return MadeInvitation{Expires: a.LifetimeSeconds}, nil
	})}, slog.New(slog.DiscardHandler))
	f.Fuzz(func(t *testing.T, line []byte) {
		here, there := net.Pipe()
		go func() {
			_, _ = here.Write(append(line, '\n'))
		}()
		go func() { server.exchange(there); there.Close() }()
		answer, err := readLine(here, replyBytesMax)
		here.Close()
		if err != nil {
			return
		}
		var got reply
		if err := strictly(answer, &got); err != nil || got.Keystead != Version {
			t.Fatalf("%q is answered with %q: %v", line, answer, err)
		}
	})
}
