package chores

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/store"
)

// TestTranscripts proves who is asked for what, when, how often, and when it is taken
// back, as the transcripts tell it.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		w := newWorld(t)
		datadriven.RunTest(t, path, func(_ *testing.T, d *datadriven.TestData) string { return w.run(d) })
	})
}

func (w *world) run(d *datadriven.TestData) string {
	word := func(i int) string {
		if i >= len(d.CmdArgs) {
			d.Fatalf(w.t, "a word is missing")
		}
		return d.CmdArgs[i].Key
	}
	kind := func() Kind { return Kind(word(0)[0]) }
	uid := func() kbsig.UID { return kbsig.UIDOf(kbsig.Username(word(0))) }
	switch d.Cmd {
	case "team":
		roles := map[string][]string{}
		for _, a := range d.CmdArgs {
			roles[a.Key] = a.Vals
		}
		w.create(roles)
		return ""
	case "want":
		w.todo[kind()] = true
		w.update(func(tx *store.Tx) error {
			if kind() == Rotate {
				return WantRotation(tx, w.team, 1)
			}
			return Want(tx, w.team, kind())
		})
	case "done":
		w.todo[kind()] = false
		if !w.clock.Now().Before(w.later) {
			w.later = time.Time{}
		}
		w.update(func(tx *store.Tx) error { return Look(tx, w.team) })
	case "later":
		pause, err := time.ParseDuration(word(0))
		w.must(err)
		w.later = w.clock.Now().Add(pause)
		return ""
	case "hurry":
		pause, err := time.ParseDuration(word(0))
		w.must(err)
		w.must(w.q.Hurry(w.t.Context(), pause))
	case "come":
		w.here[uid()] = true
		w.q.Arrived(w.t.Context(), uid())
	case "go":
		w.here[uid()] = false
		return ""
	case "reset":
		w.person(word(0), 9, true)
		return ""
	case "restart":
		w.restart()
	case "again":
		// As after a crash between a job's work and the note that it was done.
		w.must(w.q.run(w.t.Context(), jobs.Job{Kind: jobKind, Key: jobKey(w.team, kind())}))
		return w.news()
	case "forget":
		w.update(func(tx *store.Tx) error { return Forget(tx, w.team) })
	case "wait":
		pause, err := time.ParseDuration(word(0))
		w.must(err)
		return w.work(pause)
	case "chore":
		return w.chore(kind())
	default:
		d.Fatalf(w.t, "no such command")
	}
	return w.work(0)
}

func (w *world) chore(k Kind) string {
	v := w.st.View()
	defer v.Close()
	c, err := Load(v, w.team, k)
	w.must(err)
	if c == nil {
		return "none\n"
	}
	out := fmt.Sprintf("tried %d times, next in %s", c.Tries, time.Duration(c.Next-w.clock.Now().UnixMilli())*time.Millisecond)
	for _, told := range c.Told {
		out += ", " + w.names[told.UID]
	}
	return out + "\n"
}

// TestJobKeys proves that the name of a chore's job says which it is, and that nothing
// else is taken for one.
func TestJobKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var team kbsig.TeamID
		copy(team[:], rapid.SliceOfN(rapid.Byte(), 15, 15).Draw(t, "team"))
		team[15] = rapid.SampledFrom([]byte{0x24, 0x25, 0x2e, 0x2f}).Draw(t, "tag")
		k := rapid.SampledFrom([]Kind{Rotate, Sweep, People, Requests, Tokens}).Draw(t, "kind")
		key := jobKey(team, k)
		if gotTeam, got, err := parseJobKey(key); err != nil || gotTeam != team || got != k {
			t.Fatalf("%s: %v, %c, %v", key, gotTeam, got, err)
		}
		other := rapid.StringMatching(`[0-9a-f]{0,33}/?[a-z]?`).Draw(t, "other")
		if gotTeam, got, err := parseJobKey(other); err == nil && jobKey(gotTeam, got) != other {
			t.Fatalf("%q is taken for %s", other, jobKey(gotTeam, got))
		}
	})
}

// TestPauses proves that pauses double from the first on, that the last is as long as may
// be, and that a hurry replaces all of them.
func TestPauses(t *testing.T) {
	q := &Queue{}
	want := pauseFirst
	for n := range 40 {
		if got := q.pause(&Chore{Pause: n}); got != want {
			t.Fatalf("pause %d is %s, want %s", n, got, want)
		}
		want = min(2*want, pauseMax)
	}
	q.hurry.Store(1500)
	if got := q.pause(&Chore{Pause: 20}); got != 1500*time.Millisecond {
		t.Errorf("in a hurry: %s", got)
	}
}

// TestBoundedChores proves that a chore remembers no more members and resets than it may,
// whatever comes, and that what it forgets of members is taken back.
func TestBoundedChores(t *testing.T) {
	w := newWorld(t)
	var many []string
	for i := range toldMax + 3 {
		many = append(many, fmt.Sprintf("writer%d", i))
	}
	w.create(map[string][]string{"owner": {"alice"}, "writer": many})
	for _, n := range many {
		w.here[kbsig.UIDOf(kbsig.Username(n))] = true
	}
	w.todo[Rotate] = true
	var resets []Reset
	for i := range resetsMax + 10 {
		resets = append(resets, Reset{UID: kbsig.UIDOf(kbsig.Username(fmt.Sprint("gone", i))), Member: 1}, Reset{UID: kbsig.UIDOf("gone0"), Member: 1})
	}
	w.update(func(tx *store.Tx) error { return WantRotation(tx, w.team, 1, resets...) })
	asked, back := 0, 0
	for range toldMax + 3 {
		for line := range strings.Lines(w.work(pauseMax)) {
			if strings.Contains(line, "score") {
				asked++
			}
			if strings.Contains(line, "taken back") {
				back++
			}
		}
	}
	v := w.st.View()
	defer v.Close()
	c, err := Load(v, w.team, Rotate)
	w.must(err)
	if len(c.Told) != toldMax || len(c.Resets) != resetsMax || asked != toldMax+3 || back != 3 {
		t.Errorf("%d members and %d resets remembered, %d asked, %d taken back", len(c.Told), len(c.Resets), asked, back)
	}
}
