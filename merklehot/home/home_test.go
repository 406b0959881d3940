package home

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
)

// TestTranscripts proves what there is to do, what is badged, who is on a page and what
// devices are told of it, as the transcripts tell it.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		w := newWorld(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return w.run(t, d) })
	})
}

// run does one command, and answers with what devices are told.
func (w *world) run(t *testing.T, d *datadriven.TestData) string {
	word := func(i int) string {
		if i >= len(d.CmdArgs) {
			return ""
		}
		return d.CmdArgs[i].Key
	}
	u, arg := uidOf(word(0)), word(1)
	n, _ := strconv.Atoi(arg) // what is no number is not used as one
	switch d.Cmd {
	case "person":
		for i := range d.CmdArgs {
			w.person(word(i))
		}
		return ""
	case "devices":
		papers, err := strconv.Atoi(word(2))
		w.must(err)
		w.update(func(tx *store.Tx) error { return devices(tx, u, n, papers) })
	case "bio":
		w.update(func(tx *store.Tx) error { return profile(tx, u, arg) })
	case "picture":
		w.update(func(tx *store.Tx) error { return picture(tx, u, 1) })
	case "mail":
		w.update(func(tx *store.Tx) error {
			return errors.Join(accounts.AddMail(tx, u, arg, accounts.Private), Refresh(tx, u))
		})
	case "verify":
		w.update(func(tx *store.Tx) error { return errors.Join(accounts.VerifyMail(tx, u, arg), Refresh(tx, u)) })
	case "follow", "unfollow":
		w.update(func(tx *store.Tx) error { return follow(tx, u, uidOf(arg), d.Cmd == "follow") })
	case "block":
		w.update(func(tx *store.Tx) error { return block(tx, u, uidOf(arg), word(2) == "chat", word(2) == "follow") })
	case "delete":
		w.update(func(tx *store.Tx) error { return remove(tx, u) })
	case "announce":
		lasts, err := time.ParseDuration(arg)
		w.must(err)
		w.update(func(tx *store.Tx) error {
			_, err := people.Announce(tx, people.Announcement{Text: word(0)}, lasts)
			return err
		})
	case "withdraw":
		id, err := strconv.ParseInt(word(0), 10, 64)
		w.must(err)
		w.update(func(tx *store.Tx) error { _, err := people.Withdraw(tx, id); return err })
	case "skip":
		w.alone(func(tx *store.Tx) error { return Skip(tx, u, todoNamed(arg)) })
	case "dismiss":
		w.alone(func(tx *store.Tx) error { return Dismiss(tx, u, n) })
	case "visit":
		w.alone(func(tx *store.Tx) error { return Visit(tx, u) })
	case "poll":
		w.alone(func(tx *store.Tx) error { return Refresh(tx, u) })
	case "meet":
		w.alone(func(tx *store.Tx) error { return Meet(tx, u, strings.Fields(d.Input)) })
	case "wait":
		pause, err := time.ParseDuration(word(0))
		w.must(err)
		w.clock.Advance(pause)
	case "page":
		p := w.page(word(0))
		return fmt.Sprintf("version %d, announcements %d, visits %d\n%s", p.Version, p.Announced, p.Visits, p.text())
	case "suggest":
		return w.suggested(word(0), n)
	default:
		d.Fatalf(t, "no such command")
	}
	return w.news()
}

func todoNamed(name string) Todo {
	for t, n := range todoNames {
		if n == name {
			return t
		}
	}
	return 0
}

func (w *world) suggested(name string, n int) string {
	v := w.st.View()
	defer v.Close()
	list, err := Suggest(v, uidOf(name), n)
	w.must(err)
	if len(list) == 0 {
		return "nobody\n"
	}
	var names []string
	for _, a := range list {
		names = append(names, string(a.Name))
	}
	return strings.Join(names, " ") + "\n"
}

// TestVersions proves, over random lives of four people, that a page whose items are
// others than before has a greater version (of its own or of its announcements) or was
// looked at, which devices hear in that moment unless it is an announcement; and that
// neither the page nor the suggestions ever show somebody whom the person blocked, or who
// is deleted.
func TestVersions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		names := []string{"alice", "bob", "carol", "dave"}
		for _, n := range names {
			w.person(n)
		}
		name := rapid.SampledFrom(names)
		blocked, gone := map[[2]string]bool{}, map[string]bool{}
		before := map[string]*Page{}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			silent := w.step(t, name, blocked, gone)
			heard := w.news()
			for _, n := range names {
				if gone[n] {
					continue
				}
				p, old := w.page(n), before[n]
				if old != nil && !silent && p.text() != old.text() {
					if p.Version <= old.Version && p.Announced <= old.Announced && p.LastViewed <= old.LastViewed {
						t.Fatalf("version %d of the page of %s is not what it was:\n%s\nwas:\n%s", p.Version, n, p.text(), old.text())
					}
					if p.Announced == old.Announced && !strings.Contains(heard, n+": home.state") {
						t.Fatalf("%s hears nothing of the page\n%s\nwhich was\n%s", n, p.text(), old.text())
					}
				}
				if old != nil && p.Version < old.Version {
					t.Fatalf("the page of %s goes back from version %d to %d", n, old.Version, p.Version)
				}
				before[n] = p
				around := append(strings.Fields(p.text()), strings.Fields(w.suggested(n, SuggestionsMax))...)
				for _, other := range names {
					hidden := blocked[[2]string{n, other}] || gone[other]
					if hidden && (slices.Contains(around, other) || slices.Contains(around, other+",")) {
						t.Fatalf("%s sees %s:\n%s", n, other, around)
					}
				}
			}
		}
	})
}

// step does something that changes pages. It reports whether it is only time that went by,
// or somebody else's end, which no page is told of.
func (w *world) step(t *rapid.T, name *rapid.Generator[string], blocked map[[2]string]bool, gone map[string]bool) (silent bool) {
	a, b := name.Draw(t, "a"), name.Draw(t, "b")
	u, other := uidOf(a), uidOf(b)
	var do func(tx *store.Tx) error
	switch what := rapid.SampledFrom([]string{"devices", "bio", "picture", "skip", "follow", "follow", "follow", "unfollow", "block", "announce", "dismiss", "visit", "meet", "wait", "delete"}).Draw(t, "step"); what {
	case "devices":
		computers, papers := rapid.IntRange(1, 2).Draw(t, "computers"), rapid.IntRange(0, 1).Draw(t, "papers")
		do = func(tx *store.Tx) error { return devices(tx, u, computers, papers) }
	case "bio":
		bio := rapid.SampledFrom([]string{"", "hello"}).Draw(t, "bio")
		do = func(tx *store.Tx) error { return profile(tx, u, bio) }
	case "picture":
		which := rapid.Byte().Draw(t, "picture")
		do = func(tx *store.Tx) error { return picture(tx, u, which) }
	case "skip":
		todo := rapid.SampledFrom(skippable).Draw(t, "todo")
		do = func(tx *store.Tx) error { return Skip(tx, u, todo) }
	case "follow", "unfollow":
		if a == b || gone[b] {
			return false
		}
		do = func(tx *store.Tx) error { return follow(tx, u, other, what == "follow") }
	case "block":
		if a == b {
			return false
		}
		chat, follow := rapid.Bool().Draw(t, "chat"), rapid.Bool().Draw(t, "follow")
		do = func(tx *store.Tx) error { return block(tx, u, other, chat, follow) }
		if !gone[a] {
			blocked[[2]string{a, b}] = chat || follow
		}
	case "announce":
		w.update(func(tx *store.Tx) error {
			_, err := people.Announce(tx, people.Announcement{Text: "hear"}, time.Hour)
			return err
		})
		return false
	case "dismiss":
		id := 10_000 + rapid.IntRange(1, 3).Draw(t, "announcement")
		do = func(tx *store.Tx) error { return Dismiss(tx, u, id) }
	case "visit":
		w.clock.Advance(time.Millisecond)
		do = func(tx *store.Tx) error { return Visit(tx, u) }
	case "meet":
		n := rapid.SampledFrom([]int{1, 2, 30, 50}).Draw(t, "contacts")
		from := rapid.IntRange(0, 3).Draw(t, "from")
		var blobs []string
		for i := range n {
			blobs = append(blobs, fmt.Sprint("blob", from*20+i))
		}
		do = func(tx *store.Tx) error { return Meet(tx, u, blobs) }
	case "wait":
		// Some minutes more, so that no page changes by the millisecond of a visit.
		w.clock.Advance(time.Duration(rapid.IntRange(1, 40*24).Draw(t, "hours"))*time.Hour + 7*time.Minute)
		return true
	case "delete":
		if len(gone) > 0 {
			return false
		}
		gone[a] = true
		w.update(func(tx *store.Tx) error { return remove(tx, u) })
		return true
	}
	if gone[a] {
		return false
	}
	w.update(do)
	return false
}
