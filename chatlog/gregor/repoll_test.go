package gregor

import (
	"fmt"
	"testing"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

// categories counts the items of a user's state.
func categories(t *testing.T, s *Service, u kbsig.UID) map[string]int {
	t.Helper()
	st, err := s.State(t.Context(), u, kbsig.DeviceID{}, gregor1.TimeOrOffset{}, "")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]int)
	for _, it := range st.Items {
		out[it.Item.Category]++
	}
	return out
}

func injectAll(t *testing.T, s *Service, clk interface{ Advance(time.Duration) }, category string, n int, lasts time.Duration) {
	t.Helper()
	for i := range n {
		in := Injection{UID: alice, Category: category, Body: []byte("x"), MsgID: fmt.Appendf(nil, "%s %d", category, i)}
		in.DTime.Offset = gregor1.DurationMsec(lasts.Milliseconds())
		if _, err := s.Inject(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		clk.Advance(time.Millisecond)
	}
}

// News of a team never makes room without a word: whoever has more of it than fits is
// told to ask about every team.
func TestNewsOfTeamsIsNotLost(t *testing.T) {
	_, l, s, clk := openLog(t)
	injectAll(t, s, clk, "team.change", 10, hintLasts)
	injectAll(t, s, clk, "follow", itemsMax-10, 0)
	if got := categories(t, s, alice); got["team.change"] != 10 || got[categoryRepoll] != 0 {
		t.Fatalf("before it is too much: %v", got)
	}
	injectAll(t, s, clk, "badge", 1, 0)
	if got := categories(t, s, alice); got["team.change"] != 0 || got[categoryRepoll] != 1 || got["follow"] != itemsMax-10 || got["badge"] != 1 {
		t.Errorf("when one did not fit: %v", got)
	}
	checkBook(t, l, alice)
	clk.Advance(hintLasts)
	if got := categories(t, s, alice); got[categoryRepoll] != 0 {
		t.Errorf("when the news would have ended: %v", got)
	}
}

// Only so many items of teams are told singly as a test of a client wants.
func TestCutoff(t *testing.T) {
	_, l, s, clk := openLog(t)
	s.SetCutoff(alice, 3)
	for i, want := range []map[string]int{
		{"team.change": 1}, {"team.change": 2}, {"team.change": 3},
		{"team.change": 1, categoryRepoll: 1}, {"team.change": 2, categoryRepoll: 1},
		{"team.change": 1, categoryRepoll: 1},
	} {
		in := Injection{UID: alice, Category: "team.change", Body: []byte("x"), MsgID: []byte{byte(i)}}
		for range 2 { // repeated news changes nothing
			if _, err := s.Inject(t.Context(), in); err != nil {
				t.Fatal(err)
			}
		}
		if got := categories(t, s, alice); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("after %d: %v, not %v", i+1, got, want)
		}
		clk.Advance(time.Millisecond)
	}
	checkBook(t, l, alice)
}
