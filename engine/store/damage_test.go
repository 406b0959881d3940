package store_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/keystead/keystead/engine/store"
)

// A folder is the content of each file of a store that is not running.
type folder map[string][]byte

func readFolder(t testing.TB, fs vfs.FS, dir string) folder {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := make(folder)
	for _, name := range names {
		f, err := fs.Open(fs.PathJoin(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		out[name] = b
	}
	return out
}

// disk puts the folder on a new disk.
func (f folder) disk(t testing.TB) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range f {
		file, err := fs.Create(fs.PathJoin("data", name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.Write(slices.Clone(b))
		if err = errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// with is the folder with another content of one file.
func (f folder) with(name string, b []byte) folder {
	out := make(folder)
	for n, old := range f {
		out[n] = old
	}
	out[name] = b
	return out
}

func (f folder) named(pattern string) []string {
	var out []string
	for name := range f {
		if ok, _ := path.Match(pattern, name); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// filled makes the folder of a store that n transactions were acknowledged by, as it
// is after the death of the process, or after Close if closed is set.
func filled(t testing.TB, n, size int, closed bool) folder {
	t.Helper()
	fs := vfs.NewMem()
	s := open(t, memOptions(t, fs))
	for i := 1; i <= n; i++ {
		update(t, s, func(tx *store.Tx) error {
			for _, side := range []string{"left", "right"} {
				k := fmt.Sprintf("%s/%06d", side, i)
				tx.Set(key(k), payload(k, size))
			}
			return nil
		})
	}
	if closed {
		closeStore(t, s)
		return readFolder(t, fs, "data")
	}
	f := readFolder(t, fs, "data")
	closeStore(t, s)
	return f
}

// payload is what filled stores under k: bytes that do not compress.
func payload(k string, size int) []byte {
	h := fnv.New64a()
	h.Write([]byte(k))
	rng := rand.New(rand.NewPCG(h.Sum64(), 0))
	b := make([]byte, 0, size+8)
	for len(b) < size {
		b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
	}
	return b[:size]
}

// verdict opens a folder and says what became of it: "refused", "complete", "error"
// if it opened but said on reading that something is damaged, else what is wrong.
func verdict(t testing.TB, f folder, want int) string {
	o := memOptions(t, f.disk(t))
	o.Fatal = func(error) {}
	s, err := store.Open(o)
	if err != nil {
		return "refused"
	}
	v := s.View()
	n, err := whole(v)
	payloads := true
	if err == nil {
		err = v.Scan(allKeys, allKeysEnd, func(k, b []byte) error {
			if !slices.Equal(b, payload(string(k[1:]), len(b))) {
				payloads = false
			}
			return nil
		})
	}
	v.Close()
	corrupt := s.Corrupt()
	_ = s.Close()
	switch {
	case err != nil && corrupt == "":
		return "an error that the store does not know of: " + err.Error()
	case err != nil:
		return "error"
	case n != want:
		return fmt.Sprintf("SILENTLY %d of %d", n, want)
	case !payloads:
		return "SILENTLY other values"
	}
	return "complete"
}

// TestFlippedBitInLog flips one random bit of what was synced to the log. What was
// lost is either found out when the store opens, or nothing was lost.
//
// The database alone would not do: of the log's format it takes the version in which
// each record says how far the log had been synced, so that a damaged record is told
// from a write that a crash cut short; but replay looks for that promise only in later
// blocks of 32 KiB, and not at all if the damage is in the second or a later block of a
// batch. Everything else reads as the end of the log, and history is shorter without a
// word. The store's mark tells. What the mark misses, because the power went before the kernel wrote it back,
// the high-water record finds out if a root was among the losses: it is synced with
// each root and lies outside the folder.
func TestFlippedBitInLog(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		n, size, runs int
		closed        bool
	}{
		{"one block, killed", 20, 30, 150, false},
		{"one block, closed", 20, 30, 100, true},
		{"many blocks, killed", 60, 1000, 150, false},
		{"batches of many blocks", 5, 40_000, 4, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := filled(t, c.n, c.size, c.closed)
			logs := f.named("*.log")
			name := logs[len(logs)-1]
			unmarked := f.without("synced")
			rng := rand.New(rand.NewPCG(uint64(c.n), uint64(c.size)))
			count := map[string]int{}
			silent := 0
			for range c.runs {
				bit := rng.IntN(8 * len(f[name]))
				flipped := flip(f[name], bit)
				got := verdict(t, f.with(name, flipped), c.n)
				count[got]++
				if got != "refused" && got != "complete" {
					t.Errorf("bit %d of %d bytes: %s", bit, len(f[name]), got)
				}
				if strings.HasPrefix(verdict(t, unmarked.with(name, flipped), c.n), "SILENTLY") {
					silent++
				}
			}
			t.Logf("%v; without the mark %d would have gone unnoticed", count, silent)
			if c.size == 1000 && silent == count["refused"] {
				t.Error("the log promises nothing: it is of an old format")
			}
		})
	}
}

// Whatever file of a store is damaged, cut short, emptied or gone, the store is
// refused, or says so when the damaged part is read, or has lost nothing.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	const n = 40
	fs := filled(t, n/2, 500, true).disk(t)
	// Opened and closed again: the older half is in tables now.
	s := open(t, memOptions(t, fs))
	for i := n/2 + 1; i <= n; i++ {
		update(t, s, func(tx *store.Tx) error {
			for _, side := range []string{"left", "right"} {
				k := fmt.Sprintf("%s/%06d", side, i)
				tx.Set(key(k), payload(k, 500))
			}
			return nil
		})
	}
	closeStore(t, s)
	f := readFolder(t, fs, "data")
	if got := verdict(t, f, n); got != "complete" {
		t.Fatalf("undamaged: %s", got)
	}
	rng := testRNG(1)
	count := map[string]map[string]int{}
	for name, b := range f {
		kind := strings.TrimLeft(strings.SplitN(name, "-", 2)[0], "0123456789")
		if count[kind] == nil {
			count[kind] = map[string]int{}
		}
		try := func(what string, damaged folder) {
			got := verdict(t, damaged, n)
			count[kind][got]++
			if strings.HasPrefix(got, "SILENTLY") || strings.HasPrefix(got, "an error") {
				t.Errorf("%s %s of %d bytes: %s", what, name, len(b), got)
			}
		}
		try("without", f.without(name))
		if len(b) == 0 {
			continue
		}
		try("with an empty", f.with(name, nil))
		for range 25 {
			at := rng.IntN(len(b))
			try(fmt.Sprintf("after %d bytes cut off,", at), f.with(name, b[:at]))
			bit := rng.IntN(8 * len(b))
			try(fmt.Sprintf("with bit %d flipped in", bit), f.with(name, flip(b, bit)))
		}
	}
	for kind, c := range count {
		t.Logf("%-30s %v", kind, c)
	}
}

func (f folder) without(name string) folder {
	out := f.with(name, nil)
	delete(out, name)
	return out
}

func flip(b []byte, bit int) []byte {
	b = slices.Clone(b)
	b[bit/8] ^= 1 << (bit % 8)
	return b
}

// A store is opened, which moves its log into a table, and perhaps compacts. Its
// process dies at each step of that, and something at the end of a file is damaged, or
// a log is gone. The store is refused or complete: no history is shorter, none has a
// hole. A refused opening deletes nothing: what the damaged database took for obsolete
// is what the operator needs to mend it.
func TestDamageWhileOpening(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	l := newLedger("payload")
	refused := 0
	tried := make(map[string]bool)
	for range 6 {
		var steps []folder
		var mu sync.Mutex
		known := l.known()
		s := open(t, memOptions(t, errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpMkdirAll {
				mu.Lock()
				defer mu.Unlock()
				steps = append(steps, readFolder(t, mem, "data"))
			}
			return nil
		}))))
		for range 10 {
			if err := l.write(s); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			done := len(steps)
			mu.Unlock()
			if done > 60 {
				break // late enough: what follows are writes to the log
			}
		}
		closeStore(t, s)
		for i, f := range steps[:min(len(steps), 60)] {
			for name, damaged := range f.endDamages() {
				if state := fmt.Sprint(len(known.acked), damaged); tried[state] {
					continue // as at the step before
				} else {
					tried[state] = true
				}
				what := fmt.Sprintf("%d acknowledged, step %d, %s", len(known.acked), i, name)
				if !completeOrRefused(t, what, f, damaged, known) {
					refused++
				}
				noHoleWithoutMark(t, what, damaged)
			}
		}
	}
	if refused < 50 {
		t.Errorf("only %d were refused", refused)
	}
}

// noHoleWithoutMark opens a damaged folder whose mark is gone too: its history may be
// shorter then, but what is there is unbroken.
func noHoleWithoutMark(t *testing.T, what string, damaged folder) {
	t.Helper()
	s, err := store.Open(memOptions(t, damaged.without("synced").disk(t)))
	if err != nil {
		return
	}
	v := s.View()
	if _, err := whole(v); err != nil {
		t.Errorf("%s, without the mark: %v", what, err)
	}
	v.Close()
	closeStore(t, s)
}

// endDamages are folders that each lack a little.
func (f folder) endDamages() map[string]folder {
	out := make(map[string]folder)
	manifests, logs := f.named("MANIFEST-*"), f.named("*.log")
	if n := len(manifests); n > 0 && len(f[manifests[n-1]]) > 0 {
		name := manifests[n-1]
		out["manifest cut"] = f.with(name, f[name][:len(f[name])-1])
	}
	for _, name := range logs {
		if len(f[name]) > 0 {
			out[name+" cut"] = f.with(name, f[name][:len(f[name])-1])
			out[name+" gone"] = f.without(name)
		}
	}
	return out
}

// completeOrRefused opens a damaged folder, and reports whether it opened.
func completeOrRefused(t *testing.T, what string, f, damaged folder, known known) bool {
	t.Helper()
	fs := damaged.disk(t)
	s, err := store.Open(memOptions(t, fs))
	if err == nil {
		if err := errors.Join(s.Close(), known.check(fs)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return true
	}
	left := readFolder(t, fs, "data")
	for _, name := range slices.Concat(f.named("*.sst"), f.named("*.log"), f.named("MANIFEST-*")) {
		if len(left[name]) < len(damaged[name]) {
			t.Errorf("%s: refused with %v, but %s is gone", what, err, name)
		}
		left[name] = f[name]
	}
	for _, name := range left.named("marker.manifest.*") {
		delete(left, name)
	}
	for _, name := range f.named("marker.manifest.*") {
		left[name] = nil
	}
	if err := known.check(left.disk(t)); err != nil {
		t.Errorf("%s, mended: %v", what, err)
	}
	return false
}
