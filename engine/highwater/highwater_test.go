package highwater

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
)

var storeID = [16]byte{1, 2, 3}

// mark is a recognisable mark of a root.
func mark(n int) Mark {
	return Mark{Seqno: kbsig.Seqno(n), HashMeta: kbsig.HashMeta{byte(n), byte(n >> 8), 0xaa}}
}

// memOptions lead to a record in memory, where files have no inodes.
func memOptions(fs vfs.FS, create bool) Options {
	return Options{FS: fs, Path: "record", StoreID: storeID, DataDir: "data", Create: create}
}

// realOptions lead to a record beside a real data folder.
func realOptions(t testing.TB) Options {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return Options{FS: vfs.Default, Path: DefaultPath(dir), StoreID: storeID, DataDir: dir}
}

func mustOpen(t testing.TB, o Options) *Record {
	t.Helper()
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustClose(t testing.TB, r *Record) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustAdvance(t testing.TB, r *Record, old, next Mark) {
	t.Helper()
	if err := r.Advance(old, next); err != nil {
		t.Fatal(err)
	}
}

// makeRecord leaves a closed record at mark n, after n steps.
func makeRecord(t testing.TB, o Options, n int) {
	t.Helper()
	o.Create = true
	r := mustOpen(t, o)
	if n > 0 {
		mustAdvance(t, r, Mark{}, mark(1))
	}
	for i := 1; i < n; i++ {
		mustAdvance(t, r, mark(i), mark(i+1))
	}
	mustClose(t, r)
}

// A record begins before every root, moves on and is where it was left.
func TestCreateAdvanceReopen(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{"disk": realOptions(t), "memory": memOptions(vfs.NewMem(), false)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Open(o); !errors.Is(err, ErrMissing) {
				t.Fatalf("a record that was never made: %v", err)
			}
			o.Create = true
			r := mustOpen(t, o)
			if r.Mark() != (Mark{}) {
				t.Errorf("a new record stands at %d", r.Mark().Seqno)
			}
			mustClose(t, r)
			o.Create = false
			at := Mark{}
			for n := 1; n <= 7; n++ {
				r := mustOpen(t, o)
				if r.Mark() != at {
					t.Fatalf("reopened at %d, not %d", r.Mark().Seqno, at.Seqno)
				}
				for range n {
					next := mark(int(at.Seqno) + 1 + n%3)
					mustAdvance(t, r, at, next)
					at = next
				}
				if r.Mark() != at {
					t.Errorf("stands at %d, not %d", r.Mark().Seqno, at.Seqno)
				}
				mustClose(t, r)
			}
		})
	}
}

// The record moves only from where the caller believes it is, and only on.
func TestAdvanceRules(t *testing.T) {
	t.Parallel()
	o := memOptions(vfs.NewMem(), true)
	r := mustOpen(t, o)
	defer mustClose(t, r)
	mustAdvance(t, r, Mark{}, mark(5))
	other := mark(5)
	other.HashMeta[31]++
	for _, c := range []struct {
		what      string
		old, next Mark
	}{
		{"from the beginning again", Mark{}, mark(6)},
		{"from an older root", mark(4), mark(6)},
		{"from a newer root", mark(6), mark(7)},
		{"from another root of that number", other, mark(6)},
		{"to the same root", mark(5), mark(5)},
		{"to another root of that number", mark(5), other},
		{"back", mark(5), mark(4)},
		{"to the beginning", mark(5), Mark{}},
		{"below it", mark(5), mark(-1)},
	} {
		if err := r.Advance(c.old, c.next); !errors.Is(err, ErrMoved) {
			t.Errorf("%s: %v", c.what, err)
		}
		if r.Mark() != mark(5) {
			t.Fatalf("%s moved the record to %d", c.what, r.Mark().Seqno)
		}
	}
	mustAdvance(t, r, mark(5), mark(60))
}

// A record is open once, in this process and by its lock file for others; a path
// that cannot be locked for another reason is not said to be in use.
func TestLockedTwice(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{"disk": realOptions(t), "memory": memOptions(vfs.NewMem(), false)} {
		makeRecord(t, o, 3)
		r := mustOpen(t, o)
		for _, create := range []bool{false, true} {
			o.Create = create
			if _, err := Open(o); !errors.Is(err, ErrLocked) {
				t.Errorf("%s, opened twice, create %v: %v", name, create, err)
			}
		}
		mustAdvance(t, r, mark(3), mark(4))
		mustClose(t, r)
		o.Create = false
		r = mustOpen(t, o)
		if r.Mark() != mark(4) {
			t.Errorf("%s: after the attempts it stands at %d", name, r.Mark().Seqno)
		}
		mustClose(t, r)
	}
	o := realOptions(t)
	o.Path = filepath.Join(o.DataDir, "nowhere", "record")
	if _, err := Open(o); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("in a folder that is not there: %v", err)
	}
	mem := memOptions(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpLock {
			return &os.PathError{Op: "open", Path: op.Path, Err: syscall.EACCES}
		}
		return nil
	})), true)
	if _, err := Open(mem); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("without permission: %v", err)
	}
}

// A record of another store is refused, whether one means to adopt it or not.
func TestForeign(t *testing.T) {
	t.Parallel()
	o := realOptions(t)
	makeRecord(t, o, 3)
	before, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	o.StoreID = [16]byte{9}
	for _, create := range []bool{false, true} {
		o.Create = create
		if _, err := Open(o); !errors.Is(err, ErrForeign) {
			t.Errorf("create %v: %v", create, err)
		}
	}
	if after, err := os.ReadFile(o.Path); err != nil || !slices.Equal(before, after) {
		t.Errorf("the refused record was changed: %v", err)
	}
}

// copyFile replaces to by a copy of from, with an inode of its own.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to+".copy", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to+".copy", to); err != nil {
		t.Fatal(err)
	}
}

// A folder or record that is not the one that the server made is refused until it is
// adopted; adopting keeps the mark and binds the record to what is there now.
func TestCopied(t *testing.T) {
	t.Parallel()
	for what, copied := range map[string]func(o *Options){
		"record restored": func(o *Options) { copyFile(t, o.Path, o.Path) },
		"folder restored": func(o *Options) {
			if err := errors.Join(os.Rename(o.DataDir, o.DataDir+".old"), os.Mkdir(o.DataDir, 0o700)); err != nil {
				t.Fatal(err)
			}
		},
		"both copied": func(o *Options) {
			to := o.DataDir + "2"
			if err := os.Mkdir(to, 0o700); err != nil {
				t.Fatal(err)
			}
			copyFile(t, o.Path, DefaultPath(to))
			o.DataDir, o.Path = to, DefaultPath(to)
		},
	} {
		o := realOptions(t)
		makeRecord(t, o, 4)
		copied(&o)
		for range 2 { // refusing changes nothing
			if _, err := Open(o); !errors.Is(err, ErrCopied) {
				t.Errorf("%s: %v", what, err)
			}
		}
		o.Create = true
		r := mustOpen(t, o)
		if r.Mark() != mark(4) {
			t.Errorf("%s: adopted at %d", what, r.Mark().Seqno)
		}
		mustClose(t, r)
		o.Create = false
		adopted, err := os.ReadFile(o.Path)
		if err != nil {
			t.Fatal(err)
		}
		for slot := range int64(2) { // each of them is of the adopted folder
			tear(t, o.Path, slot)
			r = mustOpen(t, o)
			mustAdvance(t, r, mark(4), mark(5))
			mustClose(t, r)
			if err := os.WriteFile(o.Path, adopted, 0o600); err != nil { // in place
				t.Fatal(err)
			}
		}
	}
}

// A moved folder keeps its inode, and so does a record: both go on.
func TestMovedFolderGoesOn(t *testing.T) {
	t.Parallel()
	o := realOptions(t)
	makeRecord(t, o, 2)
	to := o.DataDir + "-moved"
	if err := errors.Join(os.Rename(o.DataDir, to), os.Rename(o.Path, DefaultPath(to))); err != nil {
		t.Fatal(err)
	}
	o.DataDir, o.Path = to, DefaultPath(to)
	r := mustOpen(t, o)
	if r.Mark() != mark(2) {
		t.Errorf("stands at %d", r.Mark().Seqno)
	}
	mustClose(t, r)
}

// tear makes slot n of a record on disk unreadable.
func tear(t testing.TB, path string, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(make([]byte, 60), n*slotGap+30)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// A torn write spoils one slot: the record falls back by one step at most, never
// reads as anything that it was not, and goes on from there. With both slots spoiled
// it is refused.
func TestTornSlots(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 6).Draw(t, "steps")
		b := recordBytes(t, n)
		newest := int64(n % 2) // creation takes two steps
		slot := rapid.Int64Range(0, 1).Draw(t, "slot")
		spoil(t, b, slot, "flip", "zero all", "zero tail", "rubbish", "other slot")
		r, err := Open(memOptions(diskOf(t, b), false))
		if err != nil {
			t.Fatalf("one slot spoiled: %v", err)
		}
		want := mark(n)
		if slot == newest && n > 0 {
			want = mark(n - 1)
		}
		if want.Seqno == 0 {
			want = Mark{}
		}
		if r.Mark() != want {
			t.Fatalf("after %d steps, slot %d spoiled: at %d", n, slot, r.Mark().Seqno)
		}
		if err := errors.Join(r.Advance(want, mark(n+9)), r.Close()); err != nil {
			t.Fatal(err)
		}
		spoil(t, b, 1-slot, "flip", "zero all", "zero tail", "rubbish")
		for _, create := range []bool{false, true} {
			if _, err := Open(memOptions(diskOf(t, b), create)); !errors.Is(err, ErrDamaged) {
				t.Fatalf("both slots spoiled, create %v: %v", create, err)
			}
		}
	})
}

// spoil changes a slot in one of the ways in which disks do.
func spoil(t *rapid.T, b []byte, n int64, ways ...string) {
	s := b[n*slotGap:][:slotBytes]
	switch rapid.SampledFrom(ways).Draw(t, "damage") {
	case "flip":
		bit := rapid.IntRange(0, 8*slotBytes-1).Draw(t, "bit")
		s[bit/8] ^= 1 << (bit % 8)
	case "zero all":
		clear(s)
	case "zero tail":
		clear(s[rapid.IntRange(0, slotBytes-1).Draw(t, "from"):])
		s[0] ^= s[slotBytes-1] + 1 // a tail that was zero already is no damage
	case "rubbish":
		copy(s, rapid.SliceOfN(rapid.Byte(), slotBytes, slotBytes).Draw(t, "bytes"))
	case "other slot": // written to the wrong place
		copy(s, b[(1-n)*slotGap:][:slotBytes])
	}
}

// recordBytes is the content of a record after n steps.
func recordBytes(t *rapid.T, n int) []byte {
	fs := vfs.NewMem()
	r, err := Open(memOptions(fs, true))
	if err != nil {
		t.Fatal(err)
	}
	at := Mark{}
	for i := 1; i <= n; i++ {
		if err := r.Advance(at, mark(i)); err != nil {
			t.Fatal(err)
		}
		at = mark(i)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Open("record")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil || len(b) != slotGap+slotBytes {
		t.Fatalf("the record has %d bytes, %v", len(b), err)
	}
	return b
}

func diskOf(t *rapid.T, b []byte) vfs.FS {
	fs := vfs.NewMem()
	f, err := fs.Create("record", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(slices.Clone(b)); err != nil {
		t.Fatal(err)
	}
	return fs
}

// A record that was cut short keeps what is whole of it, and a disk that cannot read
// a slot is not taken for a torn write: the slot may be the newer one.
func TestShortAndUnreadable(t *testing.T) {
	t.Parallel()
	o := realOptions(t)
	makeRecord(t, o, 2) // slot 0 is the newer
	if err := os.Truncate(o.Path, slotGap+slotBytes-1); err != nil {
		t.Fatal(err)
	}
	r := mustOpen(t, o)
	if r.Mark() != mark(2) {
		t.Errorf("stands at %d", r.Mark().Seqno)
	}
	mustClose(t, r)
	for _, size := range []int64{slotBytes - 1, 0} {
		if err := os.Truncate(o.Path, size); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(o); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: %v", size, err)
		}
	}
	mem := vfs.NewMem()
	makeRecord(t, memOptions(mem, true), 2)
	for _, slot := range []int64{0, slotGap} {
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileReadAt && op.Offset == slot {
				return syscall.EIO
			}
			return nil
		}))
		if _, err := Open(memOptions(fs, false)); !errors.Is(err, syscall.EIO) {
			t.Errorf("slot at %d unreadable: %v", slot, err)
		}
	}
}

// A write or sync that fails, with or without effect, ends the record: it does not
// move again, and what is on disk is the mark before or the one after.
func TestFailedAdvance(t *testing.T) {
	t.Parallel()
	for _, kind := range []errorfs.OpKind{errorfs.OpFileWriteAt, errorfs.OpFileSyncData} {
		mem := vfs.NewMem()
		makeRecord(t, memOptions(mem, true), 3)
		fault := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == kind {
				return syscall.EIO
			}
			return nil
		})}
		r := mustOpen(t, memOptions(errorfs.Wrap(mem, fault), false))
		fault.On()
		if err := r.Advance(mark(3), mark(4)); !errors.Is(err, syscall.EIO) {
			t.Errorf("operation %d: %v", kind, err)
		}
		fault.Off()
		for _, old := range []Mark{mark(3), mark(4)} {
			if err := r.Advance(old, mark(5)); !errors.Is(err, ErrFailed) {
				t.Errorf("operation %d, and then from %d: %v", kind, old.Seqno, err)
			}
		}
		mustClose(t, r)
		r = mustOpen(t, memOptions(mem, false))
		if m := r.Mark(); m != mark(3) && m != mark(4) {
			t.Errorf("operation %d left %d", kind, m.Seqno)
		}
		mustClose(t, r)
	}
}

// The power may go before any operation on the disk and take some of what was not
// synced: a record that was made is there, stands where it was left or one step on,
// and can be made if it had not been.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	for _, percent := range []int{0, 10, 50, 100} {
		for seed := range 10 {
			testPowerLoss(t, percent, seed)
		}
	}
}

func testPowerLoss(t *testing.T, percent, seed int) {
	type crash struct {
		fs    vfs.FS
		made  bool
		at    Mark
		where string
	}
	rng := rand.New(rand.NewPCG(uint64(percent), uint64(seed)))
	mem := vfs.NewCrashableMem()
	var found []crash
	made, at := false, Mark{}
	cut := func(where string) {
		found = append(found, crash{
			mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}), made, at, where,
		})
	}
	disk := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		cut(fmt.Sprintf("operation %d on %s", op.Kind, op.Path))
		return nil
	}))
	for life := range 4 {
		r := mustOpen(t, memOptions(disk, life == 0 || life == 2)) // 2 adopts
		made = true
		for range 4 {
			next := mark(int(at.Seqno) + 1)
			mustAdvance(t, r, at, next)
			at = next
		}
		mustClose(t, r)
	}
	cut("nothing")
	if len(found) < 50 {
		t.Errorf("only %d crashes", len(found))
	}
	for _, c := range found {
		r, err := Open(memOptions(c.fs, false))
		if err != nil && (c.made || !errors.Is(err, ErrMissing)) {
			t.Errorf("%d percent, before %s at %d: %v", percent, c.where, c.at.Seqno, err)
			continue
		}
		if err != nil {
			r = mustOpen(t, memOptions(c.fs, true))
		}
		if m := r.Mark(); m != c.at && m != mark(int(c.at.Seqno)+1) {
			t.Errorf("%d percent, before %s at %d: found at %d", percent, c.where, c.at.Seqno, m.Seqno)
		}
		mustAdvance(t, r, r.Mark(), mark(1000))
		mustClose(t, r)
	}
}

// The default record lies beside the folder, never inside it.
func TestDefaultPath(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"data", "data/", "./data", "/var/lib/keystead//", "/var/lib/keystead"} {
		got := DefaultPath(dir)
		if rel, err := filepath.Rel(dir, got); err != nil || !strings.HasPrefix(rel, "..") {
			t.Errorf("record of %s at %s", dir, got)
		}
	}
	if DefaultPath("x/data/") != DefaultPath("x/data") {
		t.Error("a slash makes another record")
	}
}

// FuzzSlot: bytes that are no slot are refused, and a slot reads as it was written.
func FuzzSlot(f *testing.F) {
	f.Add(slot{id: storeID, counter: 7, folder: 1, inode: 2, mark: mark(3)}.encode())
	f.Add(slot{}.encode())
	f.Add(make([]byte, slotBytes))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := decodeSlot(b); ok && !slices.Equal(s.encode(), b) {
			t.Errorf("%x reads as %+v", b, s)
		}
	})
}

// BenchmarkAdvance is the price of publishing a root: one small write and one sync.
func BenchmarkAdvance(b *testing.B) {
	o := realOptions(b)
	o.Create = true
	r := mustOpen(b, o)
	defer mustClose(b, r)
	at := Mark{}
	for i := 1; b.Loop(); i++ {
		mustAdvance(b, r, at, mark(i))
		at = mark(i)
	}
}
