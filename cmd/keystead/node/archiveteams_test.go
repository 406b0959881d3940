package node

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/faultfs"
	"github.com/keystead/keystead/merklehot/archive"
)

// written is an archive as text, file by file.
type written struct {
	names []string
	texts []string
}

func readArchive(t *testing.T, l *lab) (w written) {
	t.Helper()
	names, err := l.fs.List(l.cfg.ArchivePath())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, n := range names {
		f, err := l.fs.Open(path.Join(l.cfg.ArchivePath(), n))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		w.names, w.texts = append(w.names, n), append(w.texts, string(b))
	}
	return w
}

// put writes the files anew, in place of those that are there.
func (w written) put(t *testing.T, l *lab) {
	t.Helper()
	if err := l.fs.RemoveAll(l.cfg.ArchivePath()); err != nil {
		t.Fatal(err)
	}
	if err := l.fs.MkdirAll(l.cfg.ArchivePath(), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, n := range w.names {
		f, err := l.fs.Create(path.Join(l.cfg.ArchivePath(), n), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write([]byte(w.texts[i]))
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// forged is the archive with other lines, as somebody would write it who knows its
// format: all hashes fit. edit sees each line but headers and ends.
func (w written) forged(old bool, edit func(line string) (string, bool)) written {
	out := written{names: w.names}
	var before [32]byte
	for _, text := range w.texts {
		lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
		head := strings.Fields(lines[0])
		// keystead-archive, layout, store, seqno, hash, first block with teams
		head[4] = fmt.Sprintf("%x", before)
		if old {
			head[1], head = "1", head[:5]
		}
		var file, block strings.Builder
		file.WriteString(strings.Join(head, " ") + "\n")
		for _, line := range lines[1:] {
			line = strings.TrimSuffix(line, "\n")
			if seqno, ok := strings.CutPrefix(line, "end "); ok {
				before = sha256.Sum256(append(before[:], block.String()...))
				fmt.Fprintf(&block, "end %s %x\n", strings.Fields(seqno)[0], before)
				file.WriteString(block.String())
				block.Reset()
				continue
			}
			if line, keep := edit(line); keep {
				block.WriteString(line + "\n")
			}
		}
		out.texts = append(out.texts, file.String())
	}
	return out
}

// live starts a server on a lab's disk, lets an operation happen, and stops it.
func (h *hamlet) live(t *testing.T, l *lab, name string) *run {
	t.Helper()
	r := l.mustStart(t)
	i := slices.IndexFunc(teamActs, func(a act) bool { return a.name == name })
	if err := teamActs[i].do(t.Context(), h.on(r, nil)); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	r.mustStop(t)
	return r
}

func (l *lab) summary() (archive.Summary, error) {
	return archive.Rebuild(l.fs, l.cfg.ArchivePath(), kbsig.KIDOfPrivate(l.key))
}

// TestArchiveHoldsTeams proves that the plain files alone give back every root of a server
// with teams of all kinds, and that no line can be changed, left out or doubled, of
// whatever kind, even by somebody who makes all hashes fit.
func TestArchiveHoldsTeams(t *testing.T) {
	t.Parallel()
	h := newHamlet(t)
	l := h.lab.on(faultfs.Clone(h.lab.mem, 100, rand.New(rand.NewPCG(1, 1))))
	h.live(t, l, "rotate on the hidden chain")
	r := h.live(t, l, "delete a subteam")
	if err := l.rebuild(r.newest()); err != nil {
		t.Fatal(err)
	}
	sum, err := l.summary()
	if err != nil || sum.Teams != len(h.teams) || sum.TeamLinks < 15 || sum.TeamsFrom != 0 || sum.NoTeams {
		t.Fatalf("%+v, %v", sum, err)
	}
	w := readArchive(t, l)
	same := w.forged(false, func(line string) (string, bool) { return line, true })
	if !slices.Equal(same.texts, w.texts) {
		t.Fatal("the archive is not what this test takes it for")
	}
	for _, kind := range []string{"name", "link", "team", "hidden", "blind", "leaf", "root"} {
		count := 0
		w.forged(false, func(line string) (string, bool) {
			if strings.HasPrefix(line, kind+" ") {
				count++
			}
			return line, true
		})
		if count == 0 {
			t.Errorf("no line of kind %s", kind)
		}
		for _, at := range []int{0, count / 2, count - 1} {
			for how, change := range map[string]func(line string) (string, bool){
				"left out": func(string) (string, bool) { return "", false },
				"doubled":  func(line string) (string, bool) { return line + "\n" + line, true },
				"changed":  func(line string) (string, bool) { return damage(line), true },
			} {
				if kind == "leaf" && how == "doubled" || kind == "root" && how == "doubled" {
					continue // says the same
				}
				n := 0
				forged := w.forged(false, func(line string) (string, bool) {
					if strings.HasPrefix(line, kind+" ") {
						if n++; n == at+1 {
							return change(line)
						}
					}
					return line, true
				})
				forged.put(t, l)
				if _, err := l.summary(); err == nil {
					t.Errorf("line %d of kind %s is %s, and the archive is believed", at, kind, how)
				}
			}
		}
	}
}

// damage changes one bit of what a line says last.
func damage(line string) string {
	i := strings.LastIndexByte(line, ' ') + 1
	if raw, err := base64.StdEncoding.DecodeString(line[i:]); err == nil && len(raw) > 64 {
		raw[len(raw)/2] ^= 1
		return line[:i] + base64.StdEncoding.EncodeToString(raw)
	}
	b := []byte(line)
	at := i + len(b[i:])/2
	if b[at] == '1' {
		b[at] = '2'
	} else {
		b[at] = '1'
	}
	return string(b)
}

// TestArchiveFromBeforeTeams proves that an archive which knows of teams no more than
// their leaves is taken for what it is, and that the next block brings once all that it
// lacks, also after a crash right before it.
func TestArchiveFromBeforeTeams(t *testing.T) {
	t.Parallel()
	h := newHamlet(t)
	l := h.lab.on(faultfs.Clone(h.lab.mem, 100, rand.New(rand.NewPCG(1, 2))))
	old := readArchive(t, l).forged(true, func(line string) (string, bool) {
		kind, _, _ := strings.Cut(line, " ")
		return line, kind != "team" && kind != "hidden" && kind != "blind"
	})
	old.put(t, l)
	sum, err := l.summary()
	if err != nil || !sum.NoTeams || sum.Teams != 0 {
		t.Fatalf("before: %+v, %v", sum, err)
	}
	r := h.live(t, l, "rename a subteam")
	sum, err = l.summary()
	if err != nil || sum.NoTeams || sum.Teams != len(h.teams) || sum.TeamsFrom == 0 || sum.Newest != r.newest().Seqno {
		t.Fatalf("after: %+v, %v", sum, err)
	}
	// The first line of the new file is all that was written.
	w := readArchive(t, l)
	newest := &w.texts[len(w.texts)-1]
	*newest = (*newest)[:strings.IndexByte(*newest, '\n')+1]
	w.put(t, l)
	h.live(t, l, "rotate on the hidden chain")
	again, err := l.summary()
	if err != nil || again.TeamsFrom != sum.TeamsFrom || again.Teams != sum.Teams {
		t.Fatalf("after a crash: %+v, %v", again, err)
	}
	r = h.live(t, l, "create a subteam")
	if err := l.rebuild(r.newest()); err != nil {
		t.Fatal(err)
	}
	// A later block without teams would hide what they did.
	w = readArchive(t, l)
	last := &w.texts[len(w.texts)-1]
	head, rest, _ := strings.Cut(*last, "\n")
	*last = strings.Replace(head[:strings.LastIndexByte(head, ' ')], "archive 2", "archive 1", 1) + "\n" + rest
	w.put(t, l)
	if _, err := l.summary(); err == nil {
		t.Error("a file of the old layout after one of the new is believed")
	}
}
