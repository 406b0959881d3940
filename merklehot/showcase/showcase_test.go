package showcase

import (
	"math"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
)

// TestFirstDigit proves that a count of members enters the name of a list as clients put
// it there: rounded down to its first digit.
// client: go/protocol/keybase1/extras.go:TeamSearchExport.Hash
func TestFirstDigit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1_000_000).Draw(t, "members")
		unit := int(math.Pow(10, math.Floor(math.Log10(float64(n)))))
		if got, want := firstDigit(n), strconv.Itoa(n/unit*unit); got != want {
			t.Fatalf("%d is %s, want %s", n, got, want)
		}
	})
}

// TestHash proves that the name of a list does not depend on the order of its teams, but
// on which are suggested, on who is in it, and on the first digit of how many.
func TestHash(t *testing.T) {
	a := Found{Team: kbsig.TeamID{1}, Members: 12}
	b := Found{Team: kbsig.TeamID{2}, Members: 300}
	list := []Found{a, b}
	h := Hash(list, list)
	if Hash([]Found{b, a}, list) != h {
		t.Error("the order matters")
	}
	grown := a
	grown.Members = 19
	if Hash([]Found{grown, b}, list) != h {
		t.Error("the second digit matters")
	}
	grown.Members = 20
	for what, other := range map[string]string{
		"a member more": Hash([]Found{grown, b}, list), "a team less": Hash([]Found{a}, list), "another suggestion": Hash(list, []Found{b, a}),
	} {
		if other == h {
			t.Errorf("%s changes nothing", what)
		}
	}
}
