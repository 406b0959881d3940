package implicit

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
)

// Names are read as clients spell them, whatever order and case they come in, and nothing
// else is a name.
func TestNamesAreReadAndSpelled(t *testing.T) {
	for in, want := range map[string]string{
		"alice":                             "alice",
		"bob,Alice":                         "alice,bob",
		"alice,bob,alice":                   "alice,bob",
		"bob#alice,Charlie":                 "bob#alice,charlie",
		"alice,bob#alice":                   "alice,bob",
		"alice,bob@Twitter":                 "alice,bob@twitter",
		"alice,twitter:bob":                 "alice,bob@twitter",
		"alice,dns://example.org":           "alice,example.org@dns",
		"zoe,[zoe@example.org]@email,alice": "[zoe@example.org]@email,alice,zoe",
		"alice,14155550100@phone":           "14155550100@phone,alice",
		"alice,bob@keybase":                 "alice,bob",
		"a_b,ab,a1":                         "a1,a_b,ab",
		"alice,bob@gubble.social":           "alice,bob@gubble.social",
	} {
		n, err := ParseName(in, false)
		if err != nil || n.String() != want {
			t.Errorf("%s is read as %s, %v; want %s", in, n, err, want)
		}
	}
	for _, in := range []string{
		"", ",", "alice,", "#alice", "alice#", "alice#bob#charlie", "alice bob", "alice (conflicted copy 2017-03-04 #1)",
		"bob@", "@twitter", "bob@twit ter", "bob@twitter@email", "zoe@example.org@email", "[zoe]@twitter", "[]@email",
		"alice_,bob!", "x", "alice,[a,b@example.org]@email", "bob@1twitter", "uid:" + strings.Repeat("a", 400),
		strings.Repeat("alice,", 1001) + "bob",
	} {
		if n, err := ParseName(in, false); !errors.Is(err, ErrBadName) {
			t.Errorf("%.40q is read as %s, %v", in, n, err)
		}
	}
}

// What is spelled is read as the same name, and neither order nor case of what was typed
// makes a difference.
func TestNamesAreNormal(t *testing.T) {
	person := rapid.SampledFrom([]string{"alice", "bob", "carol", "dave", "bob@twitter", "carol@github", "[a+b@example.org]@email", "14155550100@phone", "x.y@dns"})
	rapid.Check(t, func(t *rapid.T) {
		writers := rapid.SliceOfN(person, 1, 6).Draw(t, "writers")
		readers := rapid.SliceOfN(person, 0, 4).Draw(t, "readers")
		spell := func() string {
			s := strings.Join(rapid.Permutation(writers).Draw(t, "w"), ",")
			if len(readers) > 0 {
				s += "#" + strings.Join(rapid.Permutation(readers).Draw(t, "r"), ",")
			}
			if rapid.Bool().Draw(t, "upper") {
				s = strings.ToUpper(s)
			}
			return s
		}
		a, err := ParseName(spell(), true)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ParseName(spell(), true)
		if err != nil || a.String() != b.String() {
			t.Fatalf("%s and %s, %v", a, b, err)
		}
		again, err := ParseName(a.String(), true)
		if err != nil || again.String() != a.String() {
			t.Fatalf("%s is read as %s, %v", a, again, err)
		}
		for _, p := range a.Writers {
			if slices.Contains(a.Readers, p) {
				t.Fatalf("%s writes and reads in %s", p, a)
			}
		}
	})
}

// People who turn out to be users are called by their names, once, and a reader who writes
// under another name is no reader any more.
func TestNamesResolve(t *testing.T) {
	users := map[string]kbsig.Username{"bob@twitter": "bob", "b2@github": "bob", "c@dns": "carol"}
	find := func(service, name string) (kbsig.Username, error) { return users[name+"@"+service], nil }
	for in, want := range map[string]string{
		"alice,bob@twitter":        "alice,bob",
		"alice,bob@github":         "alice,bob@github",
		"alice,bob#bob@twitter":    "alice,bob",
		"bob@twitter,b2@github":    "bob",
		"alice,c@dns#bob@twitter":  "alice,carol#bob",
		"alice#bob@twitter,b@nope": "alice#b@nope,bob",
	} {
		n, err := ParseName(in, false)
		if err != nil {
			t.Fatal(err)
		}
		got, err := n.With(find)
		if err != nil || got.String() != want {
			t.Errorf("%s resolves to %s, %v; want %s", in, got, err, want)
		}
	}
}

// No text makes the parser fail otherwise than by saying so, and what it accepts it spells
// so that it reads it again.
func FuzzParseName(f *testing.F) {
	for _, s := range []string{"alice,bob", "alice,bob@twitter#carol", "[a@b.c]@email,x1", "dns://example.org,ab", "alice (conflicted copy 2020-01-01 #2)", "a,b#c#d", "@:,#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s, false)
		if err != nil {
			if !errors.Is(err, ErrBadName) {
				t.Fatal(err)
			}
			return
		}
		again, err := ParseName(n.String(), false)
		if err != nil || again.String() != n.String() {
			t.Fatalf("%q is spelled %s and read as %s, %v", s, n, again, err)
		}
	})
}
