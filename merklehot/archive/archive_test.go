package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/faultfs"
)

// writer opens the archive, as a server does that starts.
func (w *world) writer(fs vfs.FS, partBytes int) *Writer {
	w.t.Helper()
	a, err := Open(fs, dir, w.st.ID())
	w.must(err)
	a.partBytes = partBytes
	return a
}

// follow lets a process live until the archive has caught up.
func (w *world) follow(fs vfs.FS, partBytes int) {
	w.t.Helper()
	a := w.writer(fs, partBytes)
	v := w.st.View()
	defer v.Close()
	w.must(errors.Join(a.Follow(w.t.Context(), v, w.clock.Now()), a.Close()))
}

// rebuilt fails unless the archive alone leads to the newest root, with everything.
func (w *world) rebuilt(fs vfs.FS) Summary {
	w.t.Helper()
	sum, err := w.summary(fs)
	w.whole(sum, err)
	return sum
}

func (w *world) whole(sum Summary, err error) {
	w.t.Helper()
	newest := w.newest()
	if err != nil || sum.HashMeta != newest.HashMeta || sum.Tree != newest.Hash {
		w.t.Fatalf("rebuilt root %d %s, newest is %d %s: %v", sum.Newest, sum.HashMeta, newest.Seqno, newest.HashMeta, err)
	}
	if sum.StoreID != w.st.ID() || sum.Users != len(w.users) || sum.Teams != len(w.teams) || sum.NoTeams {
		w.t.Fatalf("%d users and %d teams, rebuilt %+v", len(w.users), len(w.teams), sum)
	}
}

func (w *world) summary(fs vfs.FS) (Summary, error) { return Rebuild(fs, dir, w.seq.KID()) }

// live lets something happen to a user or a team.
func (w *world) live(kind int, pick func(n int) int) {
	w.t.Helper()
	var keyed []*person
	for _, p := range w.users {
		if p.device != nil {
			keyed = append(keyed, p)
		}
	}
	switch {
	case kind == 0:
		w.clock.Advance(2 * time.Hour)
		w.must(w.seq.Heartbeat(w.t.Context()))
	case kind == 1 || len(keyed) == 0:
		w.signUp(kind != 1)
	case kind == 2 || len(w.teams) == 0:
		w.create(keyed[pick(len(keyed))])
	case kind == 3:
		w.rotate(w.teams[pick(len(w.teams))])
	default:
		w.rotateHidden(w.teams[pick(len(w.teams))], w.teams[pick(len(w.teams))])
	}
}

// forget makes an archive what a build would have left that knew nothing of teams.
func (w *world) forget(fs vfs.FS) {
	w.t.Helper()
	var out bytes.Buffer
	at := position{store: w.st.ID()}
	fmt.Fprintf(&out, "%s %x %d %x\n", magicOld, at.store, at.seqno, at.hash)
	_, err := Read(fs, dir, func(b *Block) error {
		if b.Part {
			return errors.New("it had no teams before")
		}
		b.Team, b.Hidden, b.Blind = nil, nil, nil
		lines := b.encode()
		at.hash = seal(at.hash, lines)
		out.Write(lines)
		out.WriteString(b.endLine(at.hash))
		return nil
	})
	w.must(err)
	w.must(fs.RemoveAll(dir))
	w.put(fs, text{"2026-01-01.000000000000" + fileSuffix, out.Bytes()})
}

// text is one file of an archive.
type text struct {
	name  string
	bytes []byte
}

func (w *world) put(fs vfs.FS, files ...text) {
	w.t.Helper()
	w.must(fs.MkdirAll(dir, 0o700))
	for _, x := range files {
		f, err := fs.Create(path.Join(dir, x.name), vfs.WriteCategoryUnspecified)
		w.must(err)
		_, err = f.Write(bytes.Clone(x.bytes)) // a race build of the disk spoils what it was given
		w.must(errors.Join(err, f.Sync(), f.Close()))
	}
	for _, name := range []string{dir, ""} {
		d, err := fs.OpenDir(name)
		w.must(err)
		w.must(errors.Join(d.Sync(), d.Close()))
	}
}

func (w *world) texts(fs vfs.FS) (out []text) {
	w.t.Helper()
	paths, err := files(fs, dir)
	w.must(err)
	for _, p := range paths {
		f, err := fs.Open(p)
		w.must(err)
		b, err := io.ReadAll(f)
		w.must(errors.Join(err, f.Close()))
		out = append(out, text{path.Base(p), b})
	}
	return out
}

// on is another disk with these files.
func (w *world) on(files []text) *vfs.MemFS {
	w.t.Helper()
	fs := vfs.NewCrashableMem()
	w.put(fs, files...)
	return fs
}

// patience is a context that is over after it was asked a number of times.
type patience struct {
	context.Context
	left int
}

func (p *patience) Err() error {
	if p.left--; p.left < 0 {
		return context.Canceled
	}
	return nil
}

// Whatever happens to users and teams, and whenever the server stops, crashes or loses
// power while it writes, the archive leads to the newest root and to all chains; also one
// that a build has begun which knew nothing of teams, in parts of any size.
func TestAnyHistoryIsRebuilt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "which") }
		size := rapid.SampledFrom([]int{1, 2000, 6000, partBytesMax})
		some := func() {
			for range rapid.IntRange(1, 6).Draw(t, "steps") {
				w.live(rapid.IntRange(0, 5).Draw(t, "what"), pick)
			}
		}
		for range rapid.IntRange(0, 2).Draw(t, "rounds before") {
			some()
			w.follow(w.disk, size.Draw(t, "part"))
		}
		if rapid.Bool().Draw(t, "old") {
			if _, err := w.disk.List(dir); err == nil {
				w.forget(w.disk)
			}
		}
		for range rapid.IntRange(0, 3).Draw(t, "stops") {
			some()
			a := w.writer(w.disk, size.Draw(t, "part"))
			v := w.st.View()
			ctx := &patience{t.Context(), rapid.IntRange(0, 12).Draw(t, "patience")}
			if err := a.Follow(ctx, v, w.clock.Now()); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			v.Close()
			spared := rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "spared")
			w.disk = faultfs.Clone(w.disk, spared, rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "cut"))))
		}
		some()
		w.live(0, pick) // an old archive gets what it lacks with the next root
		w.follow(w.disk, size.Draw(t, "part"))
		w.rebuilt(w.disk)
	})
}

// oldScene is a world whose archive knows nothing of its teams yet.
func oldScene(t tb) *world {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, kind := range []int{5, 1, 5, 2, 4, 4, 3, 5, 2, 3, 4, 1, 0, 2, 3, 4, 4, 5} {
		w.live(kind, rng.IntN)
	}
	w.follow(w.disk, partBytesMax)
	w.forget(w.disk)
	return w
}

// What an old archive lacks of teams comes in parts of no more than they may have, each
// synced before the next begins, and a server that stops after any of them goes on there.
func TestOldArchiveCatchesUpInParts(t *testing.T) {
	w := oldScene(t)
	sum, err := w.summary(w.disk)
	if err != nil || !sum.NoTeams {
		t.Fatalf("before: %+v, %v", sum, err)
	}
	old := w.texts(w.disk)
	w.live(3, func(int) int { return 0 })
	const partBytes = 2500
	whole := w.on(old)
	w.follow(whole, partBytes)
	want := w.rebuilt(whole)
	if want.TeamsFrom != sum.Newest+1 {
		t.Errorf("teams from root %d, want %d", want.TeamsFrom, sum.Newest+1)
	}
	parts := w.parts(whole)
	for i, b := range parts {
		bytes, last := 0, 0
		for _, l := range b.Team {
			last = len(l.Record.Encode())
			bytes += last
		}
		for _, l := range b.Hidden {
			last = len(l.Record.Inner) + len(l.Record.Outer)
			bytes += last
		}
		if bytes-last >= partBytes {
			t.Errorf("part %d has %d bytes of links, and %d with the last", i, bytes-last, bytes)
		}
	}
	if len(parts) < 5 {
		t.Fatalf("%d parts are too few for this test", len(parts))
	}
	for stop := range len(parts) + 2 {
		fs := w.on(old)
		a := w.writer(fs, partBytes)
		v := w.st.View()
		if err := a.Follow(&patience{t.Context(), stop}, v, w.clock.Now()); !errors.Is(err, context.Canceled) {
			t.Fatalf("stop %d: %v", stop, err)
		}
		v.Close()
		fs = faultfs.Clone(fs, 0, rand.New(rand.NewPCG(1, 1))) // what was synced
		if got := len(w.parts(fs)); got != min(stop, len(parts)) {
			t.Errorf("stop %d: %d parts are on the disk", stop, got)
		}
		w.follow(fs, partBytes)
		if got := w.rebuilt(fs); got != want {
			t.Errorf("stop %d: %+v, want %+v", stop, got, want)
		}
		if got := len(w.parts(fs)); got != len(parts) {
			t.Errorf("stop %d: %d parts, without a stop there are %d", stop, got, len(parts))
		}
	}
}

func (w *world) parts(fs vfs.FS) (parts []*Block) {
	w.t.Helper()
	_, err := Read(fs, dir, func(b *Block) error {
		if b.Part {
			parts = append(parts, b)
		}
		return nil
	})
	w.must(err)
	return parts
}

// fullScene is an archive with lines of every kind in several files, one of which goes on
// from a part.
func fullScene(t tb) (*world, []text) {
	w := oldScene(t)
	a := w.writer(w.disk, 3000)
	w.live(4, func(int) int { return 1 })
	v := w.st.View()
	if err := a.Follow(&patience{t.Context(), 2}, v, w.clock.Now()); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	v.Close()
	w.follow(w.disk, 3000)
	for _, kind := range []int{3, 4, 2, 5} {
		w.live(kind, func(int) int { return 0 })
	}
	w.follow(w.disk, 3000)
	w.rebuilt(w.disk)
	return w, w.texts(w.disk)
}

// An archive whose file was cut at any byte is gone on from, and leads to the newest root
// again; or, if later files rest on what is gone, it is refused with a sentence that names
// the file.
func TestAnyCutIsContinuedOrRefused(t *testing.T) {
	w, whole := fullScene(t)
	rapid.Check(t, func(t *rapid.T) {
		w.t = t
		files := slices.Clone(whole)
		i := rapid.IntRange(0, len(files)-1).Draw(t, "file")
		if rapid.IntRange(0, 2).Draw(t, "newest") > 0 {
			i = len(files) - 1
		}
		at := rapid.IntRange(0, len(files[i].bytes)).Draw(t, "at")
		if rapid.Bool().Draw(t, "from the end") {
			at = len(files[i].bytes) - at
		}
		files[i].bytes = files[i].bytes[:at]
		fs := w.on(files)
		a, err := Open(fs, dir, w.st.ID())
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		v := w.st.View()
		defer v.Close()
		if err := errors.Join(a.Follow(t.Context(), v, w.clock.Now()), a.Close()); err != nil {
			t.Fatalf("go on: %v", err)
		}
		sum, err := w.summary(fs)
		switch {
		case i == len(files)-1 || err == nil:
			w.whole(sum, err)
		case !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), fileSuffix) || !strings.Contains(err.Error(), " line "):
			t.Fatalf("it does not say where: %v (%+v)", err, sum)
		}
	})
}

// One bit that flips anywhere in an archive is found: it is damaged, or it is not the
// archive of this store's newest root.
func TestAnyFlippedBitIsFound(t *testing.T) {
	w, whole := fullScene(t)
	kinds := map[string][]place{}
	for i, x := range whole {
		at := 0
		for line := range bytes.Lines(x.bytes) {
			kind, _, _ := bytes.Cut(line, []byte(" "))
			kinds[string(kind)] = append(kinds[string(kind)], place{i, at, len(line)})
			at += len(line)
		}
	}
	names := []string{"blind", "end", "hidden", "keystead-archive", "leaf", "link", "name", "part", "root", "team"}
	for _, k := range names {
		if len(kinds[k]) == 0 {
			t.Fatalf("no line of kind %s", k)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		w.t = t
		p := rapid.SampledFrom(kinds[rapid.SampledFrom(names).Draw(t, "kind")]).Draw(t, "line")
		at := p.at + rapid.IntRange(0, p.bytes-1).Draw(t, "byte")
		files := slices.Clone(whole)
		files[p.file].bytes = bytes.Clone(files[p.file].bytes)
		files[p.file].bytes[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		sum, err := w.summary(w.on(files))
		if err == nil && sum.HashMeta == w.newest().HashMeta && sum.StoreID == w.st.ID() {
			t.Fatalf("byte %d of file %d is changed, and the archive believed", at, p.file)
		}
	})
}

// place is a line of a file.
type place struct{ file, at, bytes int }

// An archive of another store, or one that holds more than the store, is not gone on from.
func TestForeignArchives(t *testing.T) {
	w, _ := fullScene(t)
	if _, err := Open(w.disk, dir, [16]byte{1}); !errors.Is(err, ErrForeign) {
		t.Errorf("another store: %v", err)
	}
	a := w.writer(w.disk, partBytesMax)
	a.at.seqno++
	v := w.st.View()
	defer v.Close()
	if err := a.Follow(t.Context(), v, w.clock.Now()); !errors.Is(err, ErrForeign) {
		t.Errorf("a store that forgot: %v", err)
	}
}

// A part that brings what is there already, comes in the wrong place or says less than its
// links is refused, even if all hashes fit.
func TestPartsBelongInOnePlace(t *testing.T) {
	w := oldScene(t)
	old := w.texts(w.disk)
	w.live(3, func(int) int { return 0 })
	w.follow(w.disk, 3000)
	var blocks []*Block
	if _, err := Read(w.disk, dir, func(b *Block) error { blocks = append(blocks, b); return nil }); err != nil {
		t.Fatal(err)
	}
	first := slices.IndexFunc(blocks, func(b *Block) bool { return b.Part })
	end := len(blocks) - 1 // the block of the root
	write := func(list []*Block) error {
		at := position{store: w.st.ID()}
		teams := blocks[end].Seqno
		older := 0 // blocks in the old file
		for older < len(list) && !list[older].Part && list[older].Seqno < teams {
			at.hash, at.seqno = seal(at.hash, list[older].encode()), list[older].Seqno
			older++
		}
		if older != first {
			t.Fatal("this test writes other old blocks")
		}
		out := []byte(header(at, teams))
		for _, b := range list[older:] {
			lines := b.encode()
			at.hash = seal(at.hash, lines)
			out = append(append(out, lines...), b.endLine(at.hash)...)
		}
		_, err := w.summary(w.on([]text{old[0], {"2026-01-02.000000000001" + fileSuffix, out}}))
		return err
	}
	if err := write(blocks); err != nil {
		t.Fatalf("as it was written: %v", err)
	}
	cut := *blocks[end-1]
	cut.Hidden = cut.Hidden[:len(cut.Hidden)-1]
	named := *blocks[first]
	named.Names = []Name{{kbsig.UIDOf("somebody"), "somebody"}}
	late := *blocks[first]
	late.Seqno++
	for name, list := range map[string][]*Block{
		"left out":        slices.Delete(slices.Clone(blocks), first+1, first+2),
		"doubled":         slices.Insert(slices.Clone(blocks), first, blocks[first]),
		"the last cut":    append(slices.Clone(blocks[:end-1]), &cut, blocks[end]),
		"with a name":     append(append(slices.Clone(blocks[:first]), &named), blocks[first+1:]...),
		"of another root": append(append(slices.Clone(blocks[:first]), &late), blocks[first+1:]...),
		"after its root":  append(slices.Clone(blocks), &late),
		"another order":   append(append(slices.Clone(blocks[:first]), blocks[first+1], blocks[first]), blocks[first+2:]...),
	} {
		if err := write(list); err == nil {
			t.Errorf("a part %s: the archive is believed", name)
		}
	}
}

// Nothing that stands in a file makes a reader do more than refuse it, or a writer more
// than begin another.
func FuzzFile(f *testing.F) {
	w, whole := fullScene(f)
	for _, x := range whole {
		f.Add(x.bytes)
		f.Add(x.bytes[:len(x.bytes)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := vfs.NewMem()
		w.t = t
		w.put(fs, text{"2026-01-01.000000000000" + fileSuffix, b})
		blocks := 0
		if _, err := Read(fs, dir, func(*Block) error { blocks++; return nil }); err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("after %d blocks: %v", blocks, err)
		}
		_, _ = w.summary(fs)
		if a, err := Open(fs, dir, w.st.ID()); err == nil {
			_ = a.Close()
		} else if !errors.Is(err, ErrForeign) && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	})
}
