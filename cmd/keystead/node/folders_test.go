package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
	"github.com/keystead/keystead/engine/highwater"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/roots"
)

// newFolder is a lab on a real folder: inodes, locks and the key file are those of the
// machine.
func newFolder(t *testing.T, dir string) *lab {
	l := newLab(t)
	l.fs, l.mem, l.key = vfs.Default, nil, nil
	l.cfg.Data.Dir, l.cfg.Data.HighWater = dir, ""
	return l
}

// grow lets a server on the folder sign some roots, watched by w, and stops it.
func grow(t *testing.T, l *lab, w *client.Witness, name string) {
	t.Helper()
	r := l.mustStart(t)
	_, err := client.Signup(context.Background(), r.verifier(w), client.SignupOptions{
		Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "the device",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.audit(); err != nil {
		t.Fatal(err)
	}
	r.mustStop(t)
}

// refused proves that no server starts, for the reason given, with a word on what to do.
func refused(t *testing.T, l *lab, why error) {
	t.Helper()
	r, err := l.start()
	if err == nil {
		_ = r.stop()
		t.Fatalf("a server starts on %s", l.cfg.Data.Dir)
	}
	if !errors.Is(err, why) || !strings.Contains(err.Error(), "\n") {
		t.Fatalf("refused for another reason than %q, or without advice: %v", why, err)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := os.CopyFS(to, os.DirFS(from))
	for _, key := range []string{keyfile.Path(to), filepath.Join(to, "merkle.pem")} {
		if err == nil && exists(key) {
			err = os.Chmod(key, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// empty removes what a folder holds, and leaves the folder itself.
func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestOneServerPerFolder proves that a second server on a folder that is in use is
// refused, and so is one on another folder with the same record; the first goes on.
func TestOneServerPerFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	l, w := newFolder(t, dir), strictWitness()
	first := l.mustStart(t)
	refused(t, newFolder(t, dir), store.ErrLocked)
	other := newFolder(t, filepath.Join(t.TempDir(), "data"))
	other.cfg.Data.HighWater = l.cfg.HighWaterPath()
	refused(t, other, highwater.ErrLocked)
	if _, err := first.verifier(w).RefreshRoot(t.Context()); err != nil {
		t.Fatal(err)
	}
	first.mustStop(t)
	refused(t, other, highwater.ErrForeign)
	grow(t, l, w, "alice")
}

// TestCopiesAreRefused proves that neither a copy of a folder nor an older state of it
// serves, however they came about, until the operator says that the copy is the newest
// and the only one; and that nothing an operator can say revives an older state. A
// client that remembers all roots is content with all that was served.
func TestCopiesAreRefused(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	dir, backup := filepath.Join(tmp, "data"), filepath.Join(tmp, "backup")
	l, w := newFolder(t, dir), strictWitness()
	grow(t, l, w, "alice")
	copyTree(t, dir, backup)

	// A copy elsewhere, without the record and with it.
	second := newFolder(t, backup)
	refused(t, second, highwater.ErrMissing)
	copyFile(t, l.cfg.HighWaterPath(), second.cfg.HighWaterPath())
	refused(t, second, highwater.ErrCopied)

	// The original goes on meanwhile.
	grow(t, l, w, "bob")

	// The older state in the place of the newer one, the record being left.
	newer := filepath.Join(tmp, "newer")
	copyTree(t, dir, newer)
	empty(t, dir)
	copyTree(t, backup, dir)
	refused(t, l, roots.ErrBehind)
	if err := Adopt(l.cfg, new(bytes.Buffer)); err == nil {
		t.Fatal("an older state is adopted")
	}
	refused(t, l, roots.ErrBehind)

	// The newest state as a copy: refused, until it is adopted.
	if err := os.Rename(dir, filepath.Join(tmp, "older")); err != nil {
		t.Fatal(err)
	}
	copyTree(t, newer, dir)
	refused(t, l, highwater.ErrCopied)
	if err := Adopt(l.cfg, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	grow(t, l, w, "charlie")
}

// TestOlderRecordIsRefused proves that a folder that was put back together with its
// record, both older than what clients have seen, is refused: as a copy, if the record is
// another file, and by an archive that was kept elsewhere, if both were written over in
// place. Against a folder, a record and an archive that are all put back in place, there
// is only the operator.
func TestOlderRecordIsRefused(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	dir, backup, record := filepath.Join(tmp, "data"), filepath.Join(tmp, "backup"), filepath.Join(tmp, "record")
	l, w := newFolder(t, dir), strictWitness()
	l.cfg.Data.Archive = filepath.Join(tmp, "archive")
	grow(t, l, w, "alice")
	copyTree(t, dir, backup)
	copyFile(t, l.cfg.HighWaterPath(), record)
	grow(t, l, w, "bob")
	empty(t, dir)
	copyTree(t, backup, dir)
	// Kept, so that the number of its inode is not given to the next file.
	if err := os.Rename(l.cfg.HighWaterPath(), record+".newer"); err != nil {
		t.Fatal(err)
	}
	copyFile(t, record, l.cfg.HighWaterPath())
	refused(t, l, highwater.ErrCopied)

	if err := os.Rename(record+".newer", l.cfg.HighWaterPath()); err != nil {
		t.Fatal(err)
	}
	copyFile(t, record, l.cfg.HighWaterPath())
	refused(t, l, roots.ErrBehind)
}

// TestKeyOfAnotherStoreIsRefused proves that no second tree begins under a key that has
// signed one: not in a folder that the key was copied to, not in one that lost its store.
// A first start that was cut short goes on with the key that it made.
func TestKeyOfAnotherStoreIsRefused(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	dir, other := filepath.Join(tmp, "data"), filepath.Join(tmp, "other")
	l, w := newFolder(t, dir), strictWitness()
	grow(t, l, w, "alice")
	copyTree(t, filepath.Join(dir, "keys"), filepath.Join(other, "keys"))
	refused(t, newFolder(t, other), keyfile.ErrOtherStore)

	copyTree(t, dir, filepath.Join(tmp, "kept"))
	for _, path := range []string{filepath.Join(dir, "store"), filepath.Join(dir, "archive"), l.cfg.HighWaterPath()} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, l, keyfile.ErrOtherStore)

	// A start that made store and key and ended before the first root.
	cut := newFolder(t, filepath.Join(tmp, "cut"))
	failed := errors.New("cut short")
	n := newNode(cut.world(), cut.cfg, cut.log)
	load := n.Key
	n.Key = func(dir string, store [16]byte, create bool) (ed25519.PrivateKey, error) {
		if _, err := load(dir, store, create); err != nil {
			t.Errorf("first start: %v", err)
		}
		return nil, failed
	}
	if err := n.run(t.Context(), nil); !errors.Is(err, failed) {
		t.Fatalf("the start was not cut short: %v", err)
	}
	grow(t, cut, strictWitness(), "bob")
}
