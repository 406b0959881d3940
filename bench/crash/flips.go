package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/bench/proc"
)

const (
	// flipLoad is how long each of the two loads is that fill the folder.
	flipLoad = 800 * time.Millisecond
	// flipTail is how near to the end of a log a flip lands half of the time, in
	// bytes: a damaged end looks like one that a crash cut off.
	flipTail = 2048
)

// kinds of files in and beside the data folder, by how their names begin or end.
var fileKinds = []struct {
	name string
	fits func(base string) bool
}{
	{name: "log", fits: func(b string) bool { return strings.HasSuffix(b, ".log") }},
	{name: "table", fits: func(b string) bool { return strings.HasSuffix(b, ".sst") }},
	{name: "manifest", fits: func(b string) bool { return strings.HasPrefix(b, "MANIFEST-") }},
	{name: "options", fits: func(b string) bool { return strings.HasPrefix(b, "OPTIONS-") }},
	{name: "marker", fits: func(b string) bool { return strings.HasPrefix(b, "marker.") }},
	{name: "mark", fits: func(b string) bool { return b == "synced" }},
	{name: "high-water record", fits: func(b string) bool { return strings.HasSuffix(b, ".highwater") }},
	{name: "key", fits: func(b string) bool { return b == "merkle.pem" }},
	{name: "endpoints", fits: func(b string) bool { return b == "endpoints.json" }},
}

// flipped is one bit.
type flipped struct {
	kind, path string
	at         int64
	bit        uint
}

func (f flipped) String() string {
	return fmt.Sprintf("bit %d of byte %d of %s (%s)", f.bit, f.at, filepath.Base(f.path), f.kind)
}

// flipBits flips single bits in every kind of file of a folder that a crash has left,
// each time from the same state: the server refuses to start in plain words, or every
// acknowledged thing is still there, or the server itself says of what it cannot read
// that it cannot. Never a shorter history, never another answer.
func (t *trial) flipBits(ctx context.Context, dir string, now func() time.Time) error {
	x, err := t.fill(ctx, dir, now)
	if x != nil {
		defer func() {
			if x.proc != nil {
				x.proc.Kill()
			}
			_ = x.close() // nothing was written since fill looked
		}()
	}
	if err != nil {
		return err
	}
	pristine, mark, before := x.site.Dir+".pristine", x.site.Dir+".pristine.highwater", x.witness
	if err := errors.Join(copyTree(pristine, x.site.Dir), copyFile(mark, x.site.Highwater())); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(t.o.seed, 1<<40))
	results := make(map[string]int)
	for i := range t.o.flips {
		x.proc.Kill()
		if err := errors.Join(refill(x.site.Dir, pristine), copyFile(x.site.Highwater(), mark)); err != nil {
			return err
		}
		// Each time the world knows what it knew at the kill, and no more: what had no
		// answer then may come back or not.
		x.witness = before.clone()
		x.tap.witness = x.witness
		x.book = newBook(x.book.reader.path)
		if err := x.book.readOn(); err != nil {
			return err
		}
		f, err := x.flip(rng, i)
		if err != nil {
			return err
		}
		result, err := x.afterFlip(ctx, f)
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		results[result]++
		fmt.Fprintf(x.log, "crash: flip %d: %s: %s\n", i, f, result)
	}
	_, err = fmt.Fprintf(t.out, "flips: %d bits in %d kinds of files, with %d users: %d refused at the start, %d without effect, %d noticed later, %d wrong\n",
		t.o.flips, min(t.o.flips, len(fileKinds)), len(x.book.users), results["refused"], results["harmless"], results["noticed"], results["wrong"])
	return err
}

// fill makes a folder of its own with tables and a log in it, and leaves it as a kill
// leaves it.
func (t *trial) fill(ctx context.Context, dir string, now func() time.Time) (*trial, error) {
	x, err := newTrial(t.o, dir, now, t.out)
	if err != nil {
		return nil, err
	}
	x.judge = t.judge
	x.witness.found, x.load.judge, x.checker.judge = t.judge.found, t.judge, t.judge
	if err := x.begin(ctx); err != nil {
		return x, err
	}
	for cycle := 1; cycle <= 2; cycle++ {
		if err := x.loadAndEnd(ctx, cycle, flipLoad, false); err != nil {
			return x, err
		}
		if err := x.book.readOn(); err != nil {
			return x, err
		}
		if cycle == 2 {
			return x, nil
		}
		if err := x.start(ctx); err != nil {
			return x, err
		}
		if err := x.checker.check(ctx, x.book.all()); err != nil {
			return x, err
		}
		if err := x.checker.teams(ctx, x.book, x.book.allTeams(), x.load.reader); err != nil {
			return x, err
		}
	}
	return x, nil
}

// flip flips a bit in a file of the i-th kind, counted around.
func (t *trial) flip(rng *rand.Rand, i int) (flipped, error) {
	kind := fileKinds[i%len(fileKinds)]
	var files []string
	err := filepath.WalkDir(filepath.Dir(t.site.Dir), func(path string, e fs.DirEntry, err error) error {
		inside := strings.HasPrefix(path, t.site.Dir+string(filepath.Separator)) || path == t.site.Highwater()
		if err == nil && inside && !e.IsDir() && kind.fits(e.Name()) {
			if info, err := e.Info(); err == nil && info.Size() > 0 {
				files = append(files, path)
			}
		}
		return err
	})
	if err != nil {
		return flipped{}, err
	}
	if len(files) == 0 {
		return flipped{kind: kind.name}, nil
	}
	slices.Sort(files)
	f := flipped{kind: kind.name, path: files[rng.IntN(len(files))], bit: uint(rng.IntN(8))}
	b, err := os.ReadFile(f.path)
	if err != nil {
		return f, err
	}
	f.at = place(b, rng)
	b[f.at] ^= 1 << f.bit
	info, err := os.Stat(f.path)
	if err != nil {
		return f, err
	}
	return f, os.WriteFile(f.path, b, info.Mode().Perm())
}

// place chooses a byte: one that is not zero nine times out of ten, and near the last
// such byte every other time.
func place(b []byte, rng *rand.Rand) int64 {
	var used []int64
	for i, x := range b {
		if x != 0 {
			used = append(used, int64(i))
		}
	}
	switch {
	case len(used) == 0 || rng.IntN(10) == 0:
		return rng.Int64N(int64(len(b)))
	case rng.IntN(2) == 0:
		used = used[max(0, len(used)-flipTail):]
	}
	return used[rng.IntN(len(used))]
}

// afterFlip starts the server and tells what has become of the flip.
func (t *trial) afterFlip(ctx context.Context, f flipped) (string, error) {
	err := t.start(ctx)
	var not *proc.NotServing
	if errors.As(err, &not) {
		if fault := unclear(not, ""); fault != "" {
			t.judge.found(wrong, "after flipping %s the start is refused, but %s: %v", f, fault, err)
			return "wrong", nil
		}
		return "refused", nil
	}
	if damaged := (*proc.Damaged)(nil); errors.As(err, &damaged) {
		return t.noticed(ctx, f)
	}
	if err != nil {
		t.judge.found(wrong, "after flipping %s: %v", f, err)
		return "wrong", ctx.Err()
	}
	aside := t.judge.aside()
	srv := t.checker.v.Server()
	w := client.NewWitness()
	w.TimeSlack = 0
	c := &checker{v: client.NewVerifier(srv, w), judge: aside, cycle: 2}
	if err = c.check(ctx, t.book.all()); err == nil {
		err = c.teams(ctx, t.book, t.book.allTeams(), t.load.reader)
	}
	switch worst := aside.worst(unread); {
	case worst != "":
		t.judge.found(wrong, "after flipping %s: %s", f, worst)
		return "wrong", nil
	case err != nil && t.proc.Running():
		return "", err
	case err != nil, aside.count(unread) > 0:
		t.proc.Kill()
		return t.noticed(ctx, f)
	}
	return "harmless", nil
}

// noticed holds verify to what a server, which has ended, said of a flip: it cannot read all.
func (t *trial) noticed(ctx context.Context, f flipped) (string, error) {
	code, _, err := t.site.Verb(ctx, "verify")
	if err == nil && code == 0 {
		t.judge.found(wrong, "after flipping %s the server cannot read all, but keystead verify finds nothing", f)
		return "wrong", nil
	}
	return "noticed", err
}
