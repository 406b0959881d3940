package faultfs

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// write does five operations: create, write, sync, sync the folder, rename.
func write(fs vfs.FS, text string) error {
	f, err := fs.Create("new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write([]byte(text)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	dir, err := fs.OpenDir("")
	if err != nil {
		return err
	}
	defer dir.Close()
	return errors.Join(dir.Sync(), fs.Rename("new", "name"))
}

func read(fs vfs.FS, name string) string {
	f, err := fs.Open(name)
	if err != nil {
		return "-"
	}
	defer f.Close()
	b, _ := io.ReadAll(f)
	return string(b)
}

// TestEachOperationFails proves that just the operation that was asked for fails, and
// that it has happened, half happened or not happened, as was asked for.
func TestEachOperationFails(t *testing.T) {
	want := map[Kind]string{ // what "new" and "name" hold after operation 0, 1, 2, 3, 4 failed
		Lost: "[- -] [ -] [12345678 -] [- 12345678] [12345678 -] none",
		Done: "[ -] [12345678 -] [12345678 -] [- 12345678] [- 12345678] none",
		Torn: "[- -] [1234 -] [12345678 -] [- 12345678] [12345678 -] none",
		Dead: "[- -] [ -] [12345678 -] [12345678 -] [12345678 -] none",
		Last: "[ -] [12345678 -] [12345678 -] [12345678 -] [- 12345678] none",
	}
	for _, kind := range Kinds {
		got := ""
		for n := 0; ; n++ {
			mem := vfs.NewMem()
			told := 0
			d := &Disk{FS: mem, FailAt: n, Kind: kind, Failed: func(op Op) {
				if told++; op.N != n {
					t.Errorf("%s: %s failed instead of %d", kind, op, n)
				}
			}}
			if err := write(d, "12345678"); errors.Is(err, ErrDisk) != (told == 1) || d.HasFailed() != (told == 1) {
				t.Errorf("%s %d: told %d times, error %v", kind, n, told, err)
			}
			if told == 0 {
				got += "none"
				break
			}
			got += fmt.Sprintf("[%s %s] ", read(mem, "new"), read(mem, "name"))
		}
		if got != want[kind] {
			t.Errorf("%s: %s, want %s", kind, got, want[kind])
		}
	}
}

// TestPowerCuts proves that a cutter cuts before the operation that it names, keeps
// what was known before, and stops when it is told.
func TestPowerCuts(t *testing.T) {
	mem := vfs.NewCrashableMem()
	known := 0
	c := &Cutter[int]{Mem: mem, RNG: rand.New(rand.NewPCG(1, 1)), Percent: 0, OneIn: 1, Known: func() int { return known }}
	d := &Disk{FS: mem, FailAt: -1, Before: func(op Op) { known++; c.Before(op) }}
	if err := write(d, "text"); err != nil {
		t.Fatal(err)
	}
	c.Cut("at the end")
	got := ""
	for _, crash := range c.Found() {
		got += fmt.Sprintf("%d: [%s %s] ", crash.Known, read(crash.FS, "new"), read(crash.FS, "name"))
	}
	if want := "1: [- -] 2: [- -] 3: [- -] 4: [- -] 5: [text -] 5: [text -] "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	before := len(c.Found())
	if err := write(d, "more"); err != nil || len(c.Found()) != before {
		t.Errorf("%v; %d crashes, want %d", err, len(c.Found()), before)
	}
}

// TestFlip proves that a flip changes one byte and no other.
func TestFlip(t *testing.T) {
	mem := vfs.NewMem()
	if err := write(mem, "abc"); err != nil {
		t.Fatal(err)
	}
	if err := Flip(mem, "name", 1, 1); err != nil || read(mem, "name") != "acc" {
		t.Errorf("%q, %v", read(mem, "name"), err)
	}
}
