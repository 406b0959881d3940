package people

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/engine/store"
)

// TestAnnouncements proves, over random lives of a board, that numbers are never used
// twice, that the version grows with every change and only then, that what is open is
// what was made and neither ended nor was taken back, and that a full board loses only
// what is over.
func TestAnnouncements(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := newScene(t)
		type note struct {
			until     time.Time
			withdrawn bool
		}
		all := map[int64]*note{}
		version := int64(0)
		for range rapid.IntRange(1, 120).Draw(r, "steps") {
			switch rapid.SampledFrom([]string{"new", "new", "new", "withdraw", "wait"}).Draw(r, "step") {
			case "new":
				lifetime := time.Duration(rapid.IntRange(1, 48).Draw(r, "hours")) * time.Hour
				open := 0
				for _, n := range all {
					if !n.withdrawn && s.clock.Now().Before(n.until) {
						open++
					}
				}
				var a *Announcement
				err := s.store.Update(context.Background(), func(tx *store.Tx) (err error) {
					a, err = Announce(tx, Announcement{Text: "hear, hear"}, lifetime)
					return err
				})
				if errors.Is(err, ErrTooManyAnnouncements) && open >= announcementsMax-1 {
					continue
				}
				if err != nil {
					r.Fatalf("%v, with %d open", err, open)
				}
				if all[a.ID] != nil {
					r.Fatalf("number %d a second time", a.ID)
				}
				all[a.ID] = &note{until: s.clock.Now().Add(lifetime)}
				version++
			case "withdraw":
				id := announcementIDsAfter + rapid.Int64Range(1, version+1).Draw(r, "id")
				n := all[id]
				err := s.store.Update(context.Background(), func(tx *store.Tx) error { _, err := Withdraw(tx, id); return err })
				if ok := n != nil && !n.withdrawn && s.clock.Now().Before(n.until); ok != (err == nil) || err != nil && !errors.Is(err, ErrNoAnnouncement) {
					r.Fatalf("withdraw %d: %v", id, err)
				}
				if err == nil {
					n.withdrawn = true
					version++
				}
			case "wait":
				s.clock.Advance(time.Duration(rapid.IntRange(1, 30).Draw(r, "hours")) * time.Hour)
			}
			v := s.store.View()
			kept, got, err := Announcements(v)
			v.Close()
			if err != nil || got != version || len(kept) > announcementsMax {
				r.Fatalf("%d kept, version %d, want %d: %v", len(kept), got, version, err)
			}
			open := map[int64]bool{}
			for _, a := range kept {
				open[a.ID] = a.Open(s.clock.Now())
			}
			for id, n := range all {
				if want := !n.withdrawn && s.clock.Now().Before(n.until); open[id] != want {
					r.Fatalf("announcement %d is open: %v, want %v", id, open[id], want)
				}
			}
		}
	})
}

// TestAnnouncementFaults proves that what clients could not show, or would follow
// somewhere else than into a browser, is refused with a sentence.
func TestAnnouncementFaults(t *testing.T) {
	s := newScene(t)
	for name, tc := range map[string]struct {
		a        Announcement
		lifetime time.Duration
	}{
		"no text":       {Announcement{}, time.Hour},
		"long text":     {Announcement{Text: strings.Repeat("x", announcementTextBytesMax+1)}, time.Hour},
		"two lines":     {Announcement{Text: "two\nlines"}, time.Hour},
		"not UTF-8":     {Announcement{Text: "\xff"}, time.Hour},
		"spaces around": {Announcement{Text: " x"}, time.Hour},
		"script":        {Announcement{Text: "x", Link: "javascript:alert(1)"}, time.Hour},
		"relative link": {Announcement{Text: "x", Link: "/x"}, time.Hour},
		"no host":       {Announcement{Text: "x", Link: "https:///x"}, time.Hour},
		"label alone":   {Announcement{Text: "x", Label: "y"}, time.Hour},
		"long label":    {Announcement{Text: "x", Link: "https://example.org", Label: strings.Repeat("x", announcementLabelBytesMax+1)}, time.Hour},
		"no time":       {Announcement{Text: "x"}, 0},
		"for ever":      {Announcement{Text: "x"}, announcementLifetimeMax + 1},
	} {
		err := s.store.Update(context.Background(), func(tx *store.Tx) error { _, err := Announce(tx, tc.a, tc.lifetime); return err })
		if f := Fault(""); !errors.As(err, &f) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
