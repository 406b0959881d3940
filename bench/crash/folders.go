package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/keystead/keystead/bench/proc"
)

// older is where the copy of the data folder lies that an early cycle has left.
func (t *trial) older() string { return t.site.Dir + ".older" }

// olderCycle is the cycle after which that copy is made, so that others follow.
func (t *trial) olderCycle() int { return max(1, t.o.cycles/2) }

// folders tries what operators do to folders. Each time the server must refuse, by its
// exit status and with a word on what to do; and when the right folder is back in its
// place, it must serve everything.
func (t *trial) folders(ctx context.Context) error {
	before := t.judge.total()
	tried := 0
	try := func(s proc.Site, what, hint string) error {
		tried++
		return t.mustRefuse(ctx, s, what, hint)
	}
	if err := try(t.site, "a second process on the folder", "--data"); err != nil {
		return err
	}
	if !t.proc.Running() {
		t.judge.found(wrong, "the first process ended when a second one came: %v", t.proc.Err)
	}
	t.proc.Kill()
	for _, step := range []func(func(proc.Site, string, string) error) error{t.copied, t.missing, t.restored} {
		if err := step(try); err != nil {
			return err
		}
	}
	if t.o.cycles > t.olderCycle() {
		code, output, err := t.adoptOlder(ctx, try)
		if err != nil {
			return err
		}
		if tried++; code == 0 || !strings.Contains(output, "older copy") {
			t.judge.found(wrong, "the adoption of an older copy ends with status %d: %s", code, proc.LastLines(output, 4))
		}
	}
	if err := t.backToNormal(ctx); err != nil {
		return err
	}
	_, err := fmt.Fprintf(t.out, "folders: %d wrong ones refused with a word on what to do, %d not; the right one serves\n", tried, t.judge.total()-before)
	return err
}

// copied starts copies of the folder elsewhere, without and with the record.
func (t *trial) copied(try func(proc.Site, string, string) error) error {
	other := t.site
	other.Dir = t.site.Dir + ".copy"
	if err := copyTree(other.Dir, t.site.Dir); err != nil {
		return err
	}
	if err := try(other, "a copied folder", "keystead adopt"); err != nil {
		return err
	}
	if err := copyFile(other.Highwater(), t.site.Highwater()); err != nil {
		return err
	}
	if err := try(other, "a folder copied together with its record", "keystead adopt"); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(other.Dir), os.Remove(other.Highwater()))
}

// missing takes away, one after the other, the record, the key and the whole folder.
func (t *trial) missing(try func(proc.Site, string, string) error) error {
	for _, m := range []struct{ path, what, hint string }{
		{t.site.Highwater(), "a folder without its record", "keystead adopt"},
		{filepath.Join(t.site.Dir, "keys", "merkle.pem"), "a folder without its key", "backup"},
		{t.site.Dir, "an empty folder beside an old record", "keystead adopt"},
	} {
		away := m.path + ".away"
		if err := os.Rename(m.path, away); err != nil {
			return err
		}
		if err := try(t.site, m.what, m.hint); err != nil {
			return err
		}
		if err := errors.Join(os.RemoveAll(m.path), os.Rename(away, m.path)); err != nil {
			return err
		}
	}
	return nil
}

// restored puts the older files into the folder itself, so that only their content
// is old.
func (t *trial) restored(try func(proc.Site, string, string) error) error {
	if t.o.cycles <= t.olderCycle() {
		return nil
	}
	newest := t.site.Dir + ".newest"
	if err := copyTree(newest, t.site.Dir); err != nil {
		return err
	}
	if err := refill(t.site.Dir, t.older()); err != nil {
		return err
	}
	if err := try(t.site, "older files restored into the folder", "older copy"); err != nil {
		return err
	}
	return errors.Join(refill(t.site.Dir, newest), os.RemoveAll(newest))
}

// adoptOlder puts an older folder in the place of the newer, and asks to adopt it.
func (t *trial) adoptOlder(ctx context.Context, try func(proc.Site, string, string) error) (code int, output string, err error) {
	newest := t.site.Dir + ".newest"
	if err := errors.Join(os.Rename(t.site.Dir, newest), os.Rename(t.older(), t.site.Dir)); err != nil {
		return 0, "", err
	}
	if err := try(t.site, "an older folder in the place of the newer", "keystead adopt"); err != nil {
		return 0, "", err
	}
	if code, output, err = t.site.Verb(ctx, "adopt"); err != nil {
		return 0, "", err
	}
	if err := try(t.site, "an older folder after adoption was refused", "copy"); err != nil {
		return 0, "", err
	}
	return code, output, errors.Join(os.Rename(t.site.Dir, t.older()), os.Rename(newest, t.site.Dir))
}

// backToNormal starts the server on its right folder and looks at everybody. After a
// try to adopt another folder the right one has to be adopted too.
func (t *trial) backToNormal(ctx context.Context) error {
	err := t.start(ctx)
	var not *proc.NotServing
	if errors.As(err, &not) && strings.Contains(not.Stderr, "keystead adopt") {
		code, output, verbErr := t.site.Verb(ctx, "adopt")
		if verbErr != nil {
			return verbErr
		}
		if code != 0 {
			t.judge.found(wrong, "the adoption of the right folder ends with status %d: %s", code, proc.LastLines(output, 4))
		}
		err = t.start(ctx)
	}
	if err != nil {
		return err
	}
	if err := t.checker.check(ctx, t.book.all()); err != nil {
		return err
	}
	return t.checker.teams(ctx, t.book, t.book.allTeams(), t.load.reader)
}

// mustRefuse starts a server that must end with a status other than 0, in plain words
// with hint among them.
func (t *trial) mustRefuse(ctx context.Context, s proc.Site, what, hint string) error {
	p, err := s.Start(ctx)
	var not *proc.NotServing
	switch {
	case err == nil:
		p.Kill()
		t.judge.found(wrong, "%s is served", what)
	case !errors.As(err, &not):
		return fmt.Errorf("%s: %w", what, err)
	default:
		if fault := unclear(not, hint); fault != "" {
			t.judge.found(wrong, "%s is refused, but %s: %v", what, fault, err)
		}
	}
	return nil
}

// unclear says what is missing in the words of a refusal; "" for nothing.
func unclear(not *proc.NotServing, hint string) string {
	switch {
	case not.Code == 0:
		return "with status 0"
	case not.Code == 2 && strings.Contains(not.Stderr, "goroutine "), strings.Contains(not.Stderr, "\npanic:"):
		return "by a panic"
	case strings.TrimSpace(not.Stderr) == "":
		return "without a word"
	case !strings.Contains(not.Stderr, hint):
		return fmt.Sprintf("without %q", hint)
	}
	return ""
}

// copyTree makes to, a folder or file that must not be there, with everything of from
// and the same modes.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case e.Type()&fs.ModeSocket != 0:
			return nil // the process behind it is dead
		case !e.IsDir():
			return copyFile(target, path)
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return os.Mkdir(target, info.Mode().Perm())
	})
}

// copyFile writes the content of from into to, in place if it is there.
func copyFile(to, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, info.Mode().Perm())
}

// refill empties a folder and fills it with everything of from; the folder itself
// stays the same one.
func refill(dir, from string) error {
	for _, step := range []struct {
		of string
		do func(string) error
	}{
		{dir, func(name string) error { return os.RemoveAll(filepath.Join(dir, name)) }},
		{from, func(name string) error { return copyTree(filepath.Join(dir, name), filepath.Join(from, name)) }},
	} {
		entries, err := os.ReadDir(step.of)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := step.do(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}
