package implicit

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/store"
)

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func open(t testing.TB) *store.Store {
	t.Helper()
	now := time.Unix(1_700_000_000, 0)
	clk := clock.Clock(func() time.Time { now = now.Add(time.Second); return now })
	st, err := store.Open(store.Options{Dir: "s", FS: vfs.NewMem(), Clock: clk, Rand: zeros{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

func team(i int) kbsig.TeamID { return kbsig.TeamID{byte(i), 15: 0x24} }

func named(t testing.TB, s string) Name {
	t.Helper()
	n, err := ParseName(s, false)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Two teams of the same people come about when a name elsewhere turns out to be a user:
// the one that had the plain name keeps it, and the other is a copy for ever.
func TestConflictsHaveOneWinner(t *testing.T) {
	st := open(t)
	social, plain := named(t, "alice,bob@rooter"), named(t, "alice,bob")
	update := func(fn func(tx *store.Tx) error) error { return st.Update(t.Context(), fn) }
	must := func(fn func(tx *store.Tx) error) {
		t.Helper()
		if err := update(fn); err != nil {
			t.Fatal(err)
		}
	}
	must(func(tx *store.Tx) error { return Make(tx, team(1), social, social) })
	must(func(tx *store.Tx) error { return Make(tx, team(2), plain, plain) })
	for _, n := range []Name{social, plain} {
		if err := update(func(tx *store.Tx) error { return Make(tx, team(3), n, n) }); !errors.Is(err, ErrTaken) {
			t.Errorf("a second team of %s: %v", n, err)
		}
	}
	// bob proves the name; later an admin's client completes the invite.
	must(func(tx *store.Tx) error { return Call(tx, team(1), social, plain) })
	must(func(tx *store.Tx) error { return Call(tx, team(1), plain, plain) })
	v := st.View()
	defer v.Close()
	p, err := Find(v, plain)
	if err != nil {
		t.Fatal(err)
	}
	if w, ok := p.Plain(); !ok || w != team(2) || len(p.Have) != 2 || len(p.Coming) != 0 {
		t.Errorf("the place is %+v", p)
	}
	c, err := CalledOf(v, team(1))
	if err != nil || c.Holder.Generation != 1 || c.Holder.Since == 0 || c.Name != plain.String() {
		t.Errorf("the copy is %+v, %v", c, err)
	}
	if p, err := Find(v, social); err != nil || len(p.Have) != 0 {
		t.Errorf("the old name has %+v, %v", p, err)
	}
}

// While somebody is about to be let in, nobody makes a second team of the same people;
// once the first has nobody left, anybody does.
func TestComingNamesAreHeld(t *testing.T) {
	st := open(t)
	social, plain := named(t, "alice,bob@rooter"), named(t, "alice,bob")
	try := func(fn func(tx *store.Tx) error) error { return st.Update(t.Context(), fn) }
	if err := try(func(tx *store.Tx) error { return Make(tx, team(1), social, plain) }); err != nil {
		t.Fatal(err)
	}
	second := func(tx *store.Tx) error { return Make(tx, team(2), plain, plain) }
	if err := try(second); !errors.Is(err, ErrTaken) {
		t.Errorf("a second team: %v", err)
	}
	if err := try(func(tx *store.Tx) error { _, err := Forget(tx, team(1)); return err }); err != nil {
		t.Fatal(err)
	}
	if err := try(second); err != nil {
		t.Errorf("after the first was forgotten: %v", err)
	}
	v := st.View()
	defer v.Close()
	if _, err := CalledOf(v, team(1)); !errors.Is(err, ErrNone) {
		t.Errorf("a forgotten team: %v", err)
	}
}

// In random histories a name has at most one plain holder, who has what name agrees in
// both directions, and the number of a copy never changes while it keeps its name.
func TestNamesAndHoldersAgree(t *testing.T) {
	names := []string{"alice", "alice,bob", "alice,bob@rooter", "alice#bob", "bob"}
	var all []Name
	for _, n := range names {
		all = append(all, named(t, n))
	}
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_700_000_000, 0)
		clk := clock.Clock(func() time.Time { now = now.Add(time.Second); return now })
		st, err := store.Open(store.Options{Dir: "s", FS: vfs.NewMem(), Clock: clk, Rand: zeros{}})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		called := map[int]Called{}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			i := rapid.IntRange(0, 4).Draw(t, "team")
			name, coming := rapid.SampledFrom(all).Draw(t, "name"), rapid.SampledFrom(all).Draw(t, "coming")
			old, lives := called[i]
			forget := rapid.Bool().Draw(t, "forget")
			err := st.Update(t.Context(), func(tx *store.Tx) error {
				switch {
				case !lives:
					return Make(tx, team(i), name, coming)
				case forget:
					_, err := Forget(tx, team(i))
					return err
				}
				return Call(tx, team(i), name, coming)
			})
			if err != nil && (lives || !errors.Is(err, ErrTaken)) {
				t.Fatal(err)
			}
			v := st.View()
			if c, err := CalledOf(v, team(i)); err == nil {
				if lives && old.Name == c.Name && old.Holder != c.Holder {
					t.Fatalf("team %d was %+v and is %+v", i, old, c)
				}
				called[i] = c
			} else {
				delete(called, i)
			}
			if err := agree(v, all, called); err != nil {
				t.Fatal(err)
			}
			v.Close()
		}
	})
}

func agree(r store.Reader, all []Name, called map[int]Called) error {
	have, coming := 0, 0
	for _, n := range all {
		p, err := Find(r, n)
		if err != nil {
			return err
		}
		plain := 0
		for _, h := range p.Have {
			have++
			if h.Generation == 0 {
				plain++
			}
			if c := called[int(h.Team[0])]; c.Name != n.String() || c.Holder != h {
				return fmt.Errorf("%s is had by %+v, who is called %+v", n, h, c)
			}
		}
		for _, t := range p.Coming {
			coming++
			if c := called[int(t[0])]; c.Coming != n.String() {
				return fmt.Errorf("%s comes to %s, who is called %+v", n, t, c)
			}
		}
		if plain > 1 {
			return fmt.Errorf("%s has %d plain holders", n, plain)
		}
	}
	wait := 0
	for _, c := range called {
		if c.Coming != "" {
			wait++
		}
	}
	if have != len(called) || coming != wait {
		return fmt.Errorf("%d holders and %d comers for %+v", have, coming, called)
	}
	return nil
}
