package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
	"github.com/keystead/keystead/merklehot/archive"
)

// startNode runs a whole server on a real folder until stop is called.
func startNode(t *testing.T, dir string) (uri string, kid client.KID, stop func()) {
	t.Helper()
	cfg := config.Default()
	cfg.Data.Dir = dir
	cfg.HTTP.Listen, cfg.RPC.Listen, cfg.Ops.Listen = "127.0.0.1:0", "127.0.0.1:0", ""
	ctx, cancel := context.WithCancel(context.Background())
	up, done := make(chan Bound, 1), make(chan error, 1)
	go func() {
		done <- Run(ctx, cfg, slog.New(slog.DiscardHandler), func(b Bound) error { up <- b; return nil })
	}()
	select {
	case b := <-up:
		kid, err := client.ParseKID(b.MerkleKID.String())
		if err != nil {
			t.Fatal(err)
		}
		return "http://" + b.HTTP, kid, func() {
			t.Helper()
			cancel()
			if err := <-done; err != nil {
				t.Fatalf("stop: %v", err)
			}
		}
	case err := <-done:
		cancel()
		t.Fatalf("start: %v", err)
		panic("unreachable")
	}
}

func signUp(t *testing.T, uri string, kid client.KID, name string) *client.Account {
	t.Helper()
	v := client.NewVerifier(client.NewServer(uri, []client.KID{kid}, time.Now, rand.Reader), nil)
	a, err := client.Signup(context.Background(), v, client.SignupOptions{
		Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "the device",
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestArchiveRebuildsTheTree proves that the plain files alone give back the newest
// root: over several starts, after a crash left half a block, and that no single
// changed byte of them is believed.
func TestArchiveRebuildsTheTree(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "data")
	var newest *client.Root
	for round := range 3 {
		uri, kid, stop := startNode(t, dir)
		a := signUp(t, uri, kid, fmt.Sprintf("user%d", round))
		b := signUp(t, uri, kid, fmt.Sprintf("other%d", round))
		if err := a.Follow(ctx, b.UID); err != nil {
			t.Fatal(err)
		}
		if _, _, err := a.AddPaperKey(ctx, client.CheapStream([]byte{byte(round)})); err != nil {
			t.Fatal(err)
		}
		newest = a.Verifier.LastRoot()
		stop()
		if round == 1 {
			tear(t, filepath.Join(dir, "archive"))
		}
	}
	key, err := keyfile.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	kid := keyfile.KIDOf(key)
	sum, err := archive.Rebuild(vfs.Default, filepath.Join(dir, "archive"), kid)
	if err != nil {
		t.Fatal(err)
	}
	if sum.HashMeta.String() != newest.HashMeta.String() || sum.Users != 6 {
		t.Fatalf("rebuilt root %d %s of %d users, the newest seen is %d %s", sum.Newest, sum.HashMeta, sum.Users, newest.Seqno, newest.HashMeta)
	}
	var said bytes.Buffer
	if err := Audit(ctx, dir, 0, &said); err != nil {
		t.Fatalf("verify: %v\n%s", err, &said)
	}
	_, foreign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Rebuild(vfs.Default, filepath.Join(dir, "archive"), keyfile.KIDOf(foreign)); err == nil {
		t.Fatal("roots of another key are believed")
	}
	flipEveryByte(t, filepath.Join(dir, "archive"))
}

// tear leaves half a block at the end, as a power cut would.
func tear(t *testing.T, dir string) {
	t.Helper()
	path := onlyFile(t, dir)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("name 2bd806c97f0e00af1a1fc3328fa76319 alice\nlink 2bd806c97f0e00")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func onlyFile(t *testing.T, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.ksarchive"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no archive file in %s: %v", dir, err)
	}
	return paths[len(paths)-1]
}

// flipEveryByte changes one byte at a time, at a stride that meets every kind of line
// in every file, and wants each change to be found, but for what a crash left behind
// the last whole block of a file, which does not count.
func flipEveryByte(t *testing.T, dir string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.ksarchive"))
	if err != nil || len(paths) < 3 {
		t.Fatalf("%d archive files, want one a start: %v", len(paths), err)
	}
	whole := map[string][]byte{}
	for _, p := range paths {
		if whole[p], err = os.ReadFile(p); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range paths {
		counts := bytes.LastIndex(whole[p], []byte("\nend ")) + 1
		counts += bytes.IndexByte(whole[p][counts:], '\n') + 1
		for at := 0; at < counts; at += 997 {
			mem := vfs.NewMem()
			for _, q := range paths {
				b := bytes.Clone(whole[q])
				if q == p {
					b[at] ^= 1
				}
				f, err := mem.Create(filepath.Base(q), vfs.WriteCategoryUnspecified)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.Write(b); err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
			blocks := 0
			if _, err = archive.Read(mem, "", func(*archive.Block) error { blocks++; return nil }); err == nil && (p != paths[len(paths)-1] || at < counts-1) {
				t.Fatalf("%s: byte %d of %d changed, and %d blocks are believed", filepath.Base(p), at, counts, blocks)
			}
		}
	}
}
