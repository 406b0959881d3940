package roots

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/highwater"
)

// The sequencer's life as transcripts: what makes a root, what stands in it, what is
// still answered about older ones, and which starts are refused. Everything random
// comes from a seed, so hashes are part of the transcript.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		s := &script{w: newWorld(t, 7)}
		datadriven.RunTest(t, path, s.run)
		if s.open {
			s.w.close()
		}
	})
}

type script struct {
	w    *world
	open bool
	old  *vfs.MemFS // from backup
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "open":
		if d.HasArg("first") {
			s.w.cfg.First = arg(t, d, "first")
		}
		if err := s.w.open(); err != nil {
			return fmt.Sprintf("refused: %v", err)
		}
		s.open = true
		return s.newest()
	case "close":
		s.stop()
		return "closed"
	case "crash":
		left := s.w.fs.CrashClone(vfs.CrashCloneCfg{})
		s.stop()
		s.w.fs = left
		return "what was not synced is gone"
	case "backup":
		s.old = s.w.fs.CrashClone(vfs.CrashCloneCfg{})
		return "copied"
	case "restore":
		s.stop()
		s.w.fs = s.old
		return "copied back"
	case "forget-mark":
		s.w.mark.mark = highwater.Mark{}
		return "adopted"
	case "clock":
		d, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		s.w.clock.Advance(d)
		return s.w.clock.Now().UTC().Format(time.RFC3339)
	case "leaves":
		return s.note(leavesOf(t, d.Input)...)
	case "beat":
		return s.note(Beat{})
	case "root", "skips", "path", "changed":
		return s.ask(t, d)
	}
	t.Fatalf("unknown command %q", d.Cmd)
	return ""
}

func (s *script) stop() {
	if s.open {
		s.w.close()
		s.open = false
	}
}

func (s *script) newest() string {
	st, v := s.w.state()
	defer v.Close()
	return fmt.Sprintf("newest root %d, %d leaves", st.Root().Seqno, st.Len())
}

func (s *script) note(notes ...any) string {
	if err := s.w.note(notes...); err != nil {
		return fmt.Sprintf("stopped: %v", s.w.fatal)
	}
	return s.newest()
}

// leavesOf reads lines "user link", which set the end of a user's chain.
func leavesOf(t *testing.T, input string) (notes []any) {
	for line := range strings.Lines(input) {
		var i byte
		var n kbsig.Seqno
		if _, err := fmt.Sscan(line, &i, &n); err != nil {
			t.Fatal(err)
		}
		notes = append(notes, at(i, n))
	}
	return notes
}

func (s *script) ask(t *testing.T, d *datadriven.TestData) string {
	st, v := s.w.state()
	defer v.Close()
	switch d.Cmd {
	case "root":
		r, err := st.RootAt(v, arg(t, d, "n"))
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("hash %.16s\n%s", r.HashMeta, strings.ReplaceAll(shorten(r.Payload), ",", ",\n"))
	case "skips":
		payloads, err := st.SkipsBetween(v, arg(t, d, "from"), arg(t, d, "to"))
		if err != nil {
			return err.Error()
		}
		var out []string
		for _, p := range payloads {
			seen, err := parseSeen(p)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprint(seen.seqno()))
		}
		if out == nil {
			return "none"
		}
		return strings.Join(out, " ")
	case "path":
		wire, leaf, err := st.AppendPath(nil, v, user(byte(arg(t, d, "user"))), arg(t, d, "n"))
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("leaf %s\n%s", shorten(string(leaf)), strings.ReplaceAll(shorten(string(wire)), "},{", "},\n{"))
	default:
		changed, err := st.LeafChangedAfter(v, user(byte(arg(t, d, "user"))), arg(t, d, "after"))
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(changed)
	}
}

// shorten cuts every run of more than 16 hex digits.
func shorten(s string) string {
	var out strings.Builder
	run := 0
	for _, c := range s {
		if strings.ContainsRune("0123456789abcdef", c) {
			run++
		} else {
			if run > 16 {
				out.WriteString("~")
			}
			run = 0
		}
		if run <= 16 {
			out.WriteRune(c)
		}
	}
	return out.String()
}

func arg(t *testing.T, d *datadriven.TestData, name string) kbsig.Seqno {
	var n int
	d.ScanArgs(t, name, &n)
	return kbsig.Seqno(n)
}
