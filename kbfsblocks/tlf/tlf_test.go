package tlf

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

var alice, bobby = kbsig.UIDOf("alice"), kbsig.UIDOf("bobby")

// openScene is a store with two people.
func openScene(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(store.Options{
		Dir: "data", FS: vfs.NewMem(), Rand: rand.NewChaCha8([32]byte{1}), Clock: clock.NewFake(time.Unix(1_800_000_000, 0)).Now,
		CacheBytes: 1 << 20, Fatal: func(err error) { t.Errorf("unexpected fatal: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	do(t, st, func(tx *store.Tx) error {
		return errors.Join(
			accounts.Create(tx, &accounts.Account{UID: alice, Name: "alice"}),
			accounts.Create(tx, &accounts.Account{UID: bobby, Name: "bobby"}))
	})
	return st
}

func do(t interface {
	Helper()
	Fatal(...any)
}, st *store.Store, fn func(*store.Tx) error,
) {
	t.Helper()
	if err := st.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// news counts the news that waits for somebody.
func news(v *store.View) (n int) {
	lo := keys.Events()
	_ = v.Scan(lo, keys.End(lo), func(_, _ []byte) error { n++; return nil })
	return n
}

// TestParseFolder proves which names are those of folders: what clients make of people,
// readers, teams and conflicts, and nothing that would be something else in a path.
func TestParseFolder(t *testing.T) {
	for _, tc := range []struct {
		kind, name string
		ok         bool
	}{
		{"1", "alice", true},
		{"1", "alice,bobby#carol,dora", true},
		{"1", "alice,bob@twitter", true},
		{"1", "alice,[bob@example.org]@email", true},
		{"1", "alice,bobby (conflicted copy 2016-03-14 #3)", true},
		{"1", "alice (files before dave account reset 2016-03-14)#bobby", true},
		{"2", "alice", true},
		{"2", "alice#public", true},
		{"3", "acme.sales", true},
		{"3", "alice,bobby#carol", true},
		{"0", "alice", false},
		{"4", "alice", false},
		{"-1", "alice", false},
		{"", "alice", false},
		{"1", "", false},
		{"1", "alice,", false},
		{"1", ",alice", false},
		{"1", "alice#", false},
		{"1", "#alice", false},
		{"1", "alice#bobby#carol", false},
		{"2", "alice#bobby", false},
		{"1", "alice/bobby", false},
		{"1", "alice\\bobby", false},
		{"1", "alice\x00", false},
		{"1", "al\xff", false},
		{"1", " alice", false},
		{"3", "acme ", false},
		{"1", strings.Repeat("a", nameBytesMax), true},
		{"1", strings.Repeat("a", nameBytesMax+1), false},
	} {
		_, err := ParseFolder(tc.kind, tc.name)
		if tc.ok != (err == nil) || err != nil && !errors.Is(err, ErrBadFolder) {
			t.Errorf("%s %.50q: %v, want ok %v", tc.kind, tc.name, err, tc.ok)
		}
	}
}

// FuzzParseFolder proves that a folder that was parsed parses again to the same folder,
// and comes back out of its key.
func FuzzParseFolder(f *testing.F) {
	for _, s := range []string{"alice", "alice,bobby#carol", "alice#public", "acme.sales", "a (conflicted copy 2016-03-14)"} {
		for _, kind := range []string{"1", "2", "3"} {
			f.Add(kind, s)
		}
	}
	f.Fuzz(func(t *testing.T, kind, name string) {
		got, err := ParseFolder(kind, name)
		if err != nil {
			return
		}
		again, err := ParseFolder(fmt.Sprint(int(got.Kind)), got.Name)
		if err != nil || again != got {
			t.Fatalf("%q %q: %v, then %v %v", kind, name, got, again, err)
		}
		k, n, ok := keys.FavoriteOf(keys.Favorite(alice, byte(got.Kind), got.Name))
		if !ok || Kind(k) != got.Kind || n != got.Name {
			t.Fatalf("%v came back as %d %q %v", got, k, n, ok)
		}
	})
}

// TestFavorites proves that a list is what its person made of it: against a plain map,
// with each folder once, the own ones there from the beginning, news of every change and
// of nothing else, and never anything in the list of somebody else.
func TestFavorites(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		st := openScene(t)
		want := map[Folder]bool{{Private, "alice"}: false, {Public, "alice"}: false}
		told := 0
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			f := Folder{
				Kind(rapid.IntRange(1, 3).Draw(r, "kind")),
				rapid.SampledFrom([]string{"alice", "alice,bobby", "bobby", "acme"}).Draw(r, "name"),
			}
			ignored := rapid.Bool().Draw(r, "ignored")
			if was, known := want[f]; !known || was != ignored {
				told++
			}
			want[f] = ignored
			do(r, st, func(tx *store.Tx) error { return SetFavorite(tx, alice, f, ignored) })
			v := st.View()
			list, err := Favorites(v, alice)
			if n := news(v); n != told {
				r.Fatalf("%d pieces of news of %d changes", n, told)
			}
			others, err2 := Favorites(v, bobby)
			v.Close()
			if err = errors.Join(err, err2); err != nil {
				r.Fatal(err)
			}
			got := map[Folder]bool{}
			for _, f := range list {
				got[f.Folder] = f.Ignored
			}
			if len(list) != len(want) || fmt.Sprint(got) != fmt.Sprint(want) {
				r.Fatalf("the list is %v, want %v", list, want)
			}
			if list[0].Folder != (Folder{Private, "alice"}) || list[1].Folder != (Folder{Public, "alice"}) || len(others) != 2 {
				r.Fatalf("own folders %v, list of somebody else %v", list[:2], others)
			}
		}
		do(r, st, func(tx *store.Tx) error { return Forget(tx, alice) })
		v := st.View()
		defer v.Close()
		if list, err := Favorites(v, alice); err != nil || len(list) != 2 || list[0].Ignored || list[1].Ignored {
			r.Fatalf("after it was forgotten: %v %v", list, err)
		}
	})
}

// TestFavoritesFull proves that a list has an end, at which folders that are in it can
// still be put away, and that what does not fit changes nothing.
func TestFavoritesFull(t *testing.T) {
	st := openScene(t)
	for part := range slices.Chunk(slices.Collect(func(yield func(int) bool) {
		for i := range favoritesMax {
			if !yield(i) {
				return
			}
		}
	}), 500) {
		do(t, st, func(tx *store.Tx) error {
			for _, i := range part {
				store.Save(tx, keys.Favorite(alice, byte(Private), fmt.Sprintf("alice,u%d", i)), record{})
			}
			return nil
		})
	}
	set := func(name string, ignored bool) error {
		return st.Update(t.Context(), func(tx *store.Tx) error { return SetFavorite(tx, alice, Folder{Private, name}, ignored) })
	}
	if err := set("alice,bobby", false); !errors.Is(err, ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
	if err := set("alice,u7", true); err != nil {
		t.Errorf("put away: %v", err)
	}
	v := st.View()
	defer v.Close()
	if list, err := Favorites(v, alice); err != nil || len(list) != favoritesMax+2 {
		t.Errorf("%d folders, %v", len(list), err)
	}
}
