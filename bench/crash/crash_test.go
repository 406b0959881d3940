package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/bench/proc"
)

var binary struct {
	dir  string // of all tests
	once sync.Once
	path string
	err  error
}

func TestMain(m *testing.M) {
	var err error
	if binary.dir, err = os.MkdirTemp("", "keystead-crash-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(binary.dir) // a temporary folder
	os.Exit(code)
}

// short is the form that fits into a test, with the server built once.
func short(t *testing.T) options {
	t.Helper()
	binary.once.Do(func() { binary.path, binary.err = proc.Build(context.Background(), binary.dir) })
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	o := defaults()
	o.bin = binary.path
	o.cycles, o.workers, o.stopNth, o.flips, o.births = 3, 4, 3, 2*len(fileKinds), 3
	o.loadMin, o.loadMax = 100*time.Millisecond, 700*time.Millisecond
	if testing.Short() {
		o.cycles, o.flips, o.births, o.folders = 2, 0, 1, false
	}
	o.dir = t.TempDir()
	return o
}

var summary = regexp.MustCompile(`(?m)^\d+ cycles, [1-9]\d* acknowledged, \d+ unknown, 0 lost, 0 doubled, 0 reordered, roots \d+\.\.\d+ seen, 0 forked$`)

// TestCrashes kills the built server under load, starts it again, and proves that what
// it acknowledged is there, once and in order; that the wrong folders are refused; and
// that flipped bits are noticed or do no harm.
func TestCrashes(t *testing.T) {
	var out bytes.Buffer
	ok, err := run(t.Context(), short(t), time.Now, &out)
	if err != nil || !ok || !summary.MatchString(out.String()) {
		t.Errorf("ok %t, %v:\n%s", ok, err, &out)
	}
}

// TestAnOldFolderIsNoticed proves that the checker and the witness see the worst case: a
// server that goes on from an older copy, because the operator has thrown its record
// away and adopted the copy.
func TestAnOldFolderIsNoticed(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts four servers")
	}
	ctx := t.Context()
	o := short(t)
	var out bytes.Buffer
	x, err := newTrial(o, filepath.Join(o.dir, "main"), time.Now, &out)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if x.proc != nil {
			x.proc.Kill()
		}
		if err := x.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := x.begin(ctx); err != nil {
		t.Fatal(err)
	}
	// On a slow machine a cycle may bring nothing that an older folder would lack.
	more := func() bool { return ackedPosts(x.book) > 0 }
	for cycle := 1; cycle <= 2 || !more(); cycle++ {
		if cycle > 20 {
			t.Fatal("no links are acknowledged")
		}
		if err := x.cycle(ctx, cycle); err != nil {
			t.Fatal(err)
		}
		x.proc.Kill()
		if cycle == 1 {
			before, root := ackedPosts(x.book), x.witness.newestSeqno()
			more = func() bool { return ackedPosts(x.book) > before && x.witness.newestSeqno() > root }
			if err := copyTree(x.site.Dir+".first", x.site.Dir); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := x.judge.total(); n != 0 {
		t.Fatalf("%d found before:\n%s", n, &out)
	}
	x.proc.Kill()
	if err := errors.Join(refill(x.site.Dir, x.site.Dir+".first"), os.Remove(x.site.Highwater())); err != nil {
		t.Fatal(err)
	}
	if code, said, err := x.site.Verb(ctx, "adopt"); code != 0 || err != nil {
		t.Fatalf("adopt: %d, %v: %s", code, err, said)
	}
	if err := x.start(ctx); err != nil {
		t.Fatal(err)
	}
	// A verifier that remembers gets no answers any more; one that does not sees a
	// consistent, shorter history.
	x.checker.v = client.NewVerifier(x.checker.v.Server(), nil)
	if err := x.checker.check(ctx, x.book.all()); err != nil {
		t.Fatal(err)
	}
	if x.judge.count(lost) == 0 || x.judge.count(forked) == 0 {
		t.Errorf("an older history was served, and %d lost, %d forked were found:\n%s", x.judge.count(lost), x.judge.count(forked), &out)
	}
	if !strings.Contains(out.String(), "repeat: go run ./bench/crash -seed 1 ") {
		t.Errorf("no command line to repeat:\n%s", &out)
	}
}

// ackedPosts counts the acknowledged posts of users' links.
func ackedPosts(b *book) (n int) {
	for _, u := range b.all() {
		for _, a := range u.posts {
			if a.outcome == wasAcked {
				n++
			}
		}
	}
	return n
}

// TestRefusalsMustBeClear proves which words of a server that does not start are taken
// for an explanation.
func TestRefusalsMustBeClear(t *testing.T) {
	for _, tc := range []struct {
		not   proc.NotServing
		clear bool
	}{
		{proc.NotServing{Code: 1, Stderr: "level=ERROR msg=... say so with:\n  keystead adopt --data x"}, true},
		{proc.NotServing{Code: 0, Stderr: "keystead adopt"}, false},
		{proc.NotServing{Code: 1, Stderr: ""}, false},
		{proc.NotServing{Code: 1, Stderr: "no"}, false},
		{proc.NotServing{Code: 2, Stderr: "keystead adopt\npanic: oh\n\ngoroutine 1 [running]:"}, false},
		{proc.NotServing{Code: 2, Stderr: "fatal error\ngoroutine 1 [running]: keystead adopt"}, false},
	} {
		if fault := unclear(&tc.not, "keystead adopt"); (fault == "") != tc.clear {
			t.Errorf("%+v: %q", tc.not, fault)
		}
	}
}

// TestAServerThatDoesNotStart proves that a failed start is told with its exit status
// and its words, and that it leaves no process.
func TestAServerThatDoesNotStart(t *testing.T) {
	script := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho no such luck >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	_, err := proc.Site{Bin: script, Dir: t.TempDir(), Log: &log}.Start(context.Background())
	var not *proc.NotServing
	if !errors.As(err, &not) || not.Code != 3 || !strings.Contains(not.Stderr, "no such luck") || log.String() != not.Stderr {
		t.Errorf("%v", err)
	}
}
