package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// diskOptions are the options of a store in a real folder.
func diskOptions(t testing.TB, dir string) store.Options {
	o := memOptions(t, vfs.Default)
	o.Dir = dir
	return o
}

// childDir, set in the environment, makes the test binary open that folder and say
// how it went; see TestMain.
const (
	childDir   = "STORE_TEST_OPEN"
	childFatal = "STORE_TEST_FATAL"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		s, err := store.Open(store.Options{Dir: dir})
		fmt.Printf("locked: %v, error: %v\n", errors.Is(err, store.ErrLocked), err)
		if err == nil {
			_ = s.Close()
		}
		return
	}
	if os.Getenv(childFatal) != "" {
		diesOfFatal()
		return
	}
	os.Exit(m.Run())
}

// child runs the test binary again with an environment variable set.
func child(t *testing.T, name, value string) (string, error) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), name+"="+value)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// A folder is open once: neither this process nor another one can open it again, not
// even to read, until it is closed. A folder that cannot be opened for another reason
// is not said to be locked.
func TestLock(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, diskOptions(t, dir))
	for _, readOnly := range []bool{false, true} {
		o := diskOptions(t, dir)
		o.ReadOnly = readOnly
		if _, err := store.Open(o); !errors.Is(err, store.ErrLocked) {
			t.Errorf("second open, read-only %v: %v", readOnly, err)
		}
	}
	if out, err := child(t, childDir, dir); err != nil || !strings.Contains(out, "locked: true") {
		t.Errorf("another process: %v, %s", err, out)
	}
	update(t, s, set("a", "still writable"))
	closeStore(t, s)
	if out, err := child(t, childDir, dir); err != nil || !strings.Contains(out, "error: <nil>") {
		t.Errorf("another process after Close: %v, %s", err, out)
	}

	mem := memOptions(t, vfs.NewMem())
	s = open(t, mem)
	if _, err := store.Open(mem); !errors.Is(err, store.ErrLocked) {
		t.Errorf("second open in memory: %v", err)
	}
	closeStore(t, s)

	mem.FS = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpLock {
			return &os.PathError{Op: "open", Path: op.Path, Err: syscall.EACCES}
		}
		return nil
	}))
	if _, err := store.Open(mem); err == nil || errors.Is(err, store.ErrLocked) {
		t.Errorf("without permission: %v", err)
	}
}

// A store keeps its id and its records from one start to the next, and two stores
// have different ids.
func TestReopen(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	o := diskOptions(t, dir)
	s := open(t, o)
	id := s.ID()
	update(t, s, set("a", "1"))
	closeStore(t, s)
	o.Rand = nil // only a new store needs it
	s = open(t, o)
	if s.ID() != id {
		t.Error("the id changed")
	}
	if got := viewContents(t, s); !maps.Equal(got, map[string]string{"a": "1"}) {
		t.Errorf("reopened with %v", got)
	}
	closeStore(t, s)

	other := memOptions(t, vfs.NewMem())
	other.Rand = testRand(9)
	s = open(t, other)
	if s.ID() == id || s.ID() == [16]byte{} {
		t.Errorf("ids %x and %x", s.ID(), id)
	}
	closeStore(t, s)

	other.FS, other.Rand = vfs.NewMem(), nil
	if _, err := store.Open(other); err == nil {
		t.Error("made a store without a random source")
	}
	other.Rand = bytes.NewReader(make([]byte, 15))
	if _, err := store.Open(other); err == nil {
		t.Error("made a store of too little randomness")
	}
}

// A store of a newer version is refused and not changed, one whose own records make
// no sense is refused, and records without a version are not taken for a new store.
func TestVersions(t *testing.T) {
	t.Parallel()
	schema, id := keys.Meta("schema"), keys.Meta("id")
	for _, c := range []struct {
		name  string
		spoil func(tx *store.Tx)
		want  error
	}{
		{"newer", func(tx *store.Tx) { tx.Set(schema, []byte("2")) }, store.ErrNewer},
		{"much newer", func(tx *store.Tx) { tx.Set(schema, []byte("1000")) }, store.ErrNewer},
		{"zero", func(tx *store.Tx) { tx.Set(schema, []byte("0")) }, nil},
		{"no number", func(tx *store.Tx) { tx.Set(schema, []byte("one")) }, nil},
		{"no version", func(tx *store.Tx) { tx.Delete(schema) }, nil},
		{"no id", func(tx *store.Tx) { tx.Delete(id) }, nil},
		{"short id", func(tx *store.Tx) { tx.Set(id, []byte("0011")) }, nil},
		{"other id", func(tx *store.Tx) { tx.Set(id, bytes.Repeat([]byte("5a"), 16)) }, store.ErrShorter},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fs := vfs.NewMem()
			s := open(t, memOptions(t, fs))
			update(t, s, set("a", "1"))
			update(t, s, func(tx *store.Tx) error { c.spoil(tx); return nil })
			closeStore(t, s)
			for _, readOnly := range []bool{true, false, true} {
				o := memOptions(t, fs)
				o.ReadOnly = readOnly
				_, err := store.Open(o)
				if err == nil {
					t.Fatalf("opened, read-only %v", readOnly)
				}
				if c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("read-only %v: %v", readOnly, err)
				}
			}
		})
	}
}

// A closed store opens for an audit: it reads, refuses to write, and leaves every
// file as it was. What is not a store is not made one.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	f := filled(t, 10, 100, false) // killed, so that there is a log to replay
	fs := f.disk(t)
	o := memOptions(t, fs)
	o.ReadOnly = true
	s := open(t, o)
	v := s.View()
	if n, err := whole(v); n != 10 || err != nil {
		t.Errorf("an audit sees %d of 10, %v", n, err)
	}
	v.Close()
	if err := s.Update(ctx, set("a", "")); !errors.Is(err, store.ErrStopped) {
		t.Errorf("update: %v", err)
	}
	closeStore(t, s)
	if got := readFolder(t, fs, "data"); !maps.EqualFunc(got, f, bytes.Equal) {
		t.Errorf("the audit changed the folder: %d files, then %d", len(f), len(got))
	}
	o.FS = vfs.NewMem()
	if _, err := store.Open(o); err == nil {
		t.Error("opened nothing")
	}
	if names, _ := o.FS.List("/"); len(names) > 0 {
		t.Errorf("an audit of nothing made %v", names)
	}
}

// diesOfFatal lets a store without a Fatal of its own lose its disk.
func diesOfFatal() {
	disk := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if isSync(op.Kind) {
			return errors.New("the disk failed")
		}
		return nil
	})}
	s, err := store.Open(store.Options{Dir: "data", FS: errorfs.Wrap(vfs.NewMem(), disk), Rand: testRand(1)})
	if err != nil {
		fmt.Println(err)
		return
	}
	disk.On()
	// Somebody who recovers, as HTTP servers do, must not keep it alive.
	defer func() { _ = recover() }()
	err = s.Update(ctx, set("a", ""))
	fmt.Println("update:", err)
	select {}
}

// Unless told otherwise, a store whose state is unknown ends the process, with the
// reason, and whoever recovers from panics.
func TestFatalEndsTheProcess(t *testing.T) {
	t.Parallel()
	out, err := child(t, childFatal, "1")
	if err == nil || !strings.Contains(out, "panic: sync 0") || !strings.Contains(out, ".log: the disk failed") {
		t.Errorf("%v\n%s", err, out)
	}
	if strings.Contains(out, "update: <nil>") {
		t.Error("success after the failed fsync")
	}
}
