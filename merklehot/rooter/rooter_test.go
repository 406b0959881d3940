package rooter

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// TestPosts proves, against a map, that what is posted under a name is found under that
// name in that network only, in whatever letter case it is asked for, until it is deleted.
func TestPosts(t *testing.T) {
	st, err := store.Open(store.Options{Dir: "s", FS: vfs.NewMem(), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++ // each with names of its own
		update := func(fn func(tx *store.Tx) error) error { return st.Update(context.Background(), fn) }
		type place struct{ network, name string }
		model := map[place]map[string]string{}
		networks, names := rapid.SampledFrom([]string{Network, "gubble_social"}), rapid.SampledFrom([]string{"alice", "Alice", "bob"})
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			p := Post{Network: networks.Draw(t, "network"), Name: names.Draw(t, "name") + strconv.Itoa(run), Text: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "text")}
			at := place{p.Network, strings.ToLower(p.Name)}
			var gone string
			for id := range model[at] {
				gone = max(gone, id)
			}
			if gone != "" && rapid.Bool().Draw(t, "delete") {
				for _, want := range []error{nil, ErrNoPost} {
					if err := update(func(tx *store.Tx) error { return Delete(tx, gone) }); !errors.Is(err, want) {
						t.Fatalf("delete: %v, want %v", err, want)
					}
				}
				delete(model[at], gone)
				continue
			}
			var id string
			err := update(func(tx *store.Tx) (err error) { id, err = Put(tx, rand.Reader, p); return err })
			if err != nil {
				t.Fatal(err)
			}
			if model[at] == nil {
				model[at] = map[string]string{}
			}
			model[at][id] = p.Text
		}
		v := st.View()
		defer v.Close()
		for at, want := range model {
			for _, name := range []string{at.name, strings.ToUpper(at.name)} {
				got, err := Posts(v, at.network, name)
				if err != nil || len(got) != len(want) {
					t.Fatalf("%s at %s has %d posts, want %d: %v", name, at.network, len(got), len(want), err)
				}
				for _, p := range got {
					if want[p.ID] != p.Text {
						t.Fatalf("post %s of %s is %q, want %q", p.ID, name, p.Text, want[p.ID])
					}
				}
			}
		}
	})
}

// TestBadPosts proves that nothing is kept under names that are none, nor more or longer
// posts than there may be.
func TestBadPosts(t *testing.T) {
	st, err := store.Open(store.Options{Dir: "s", FS: vfs.NewMem(), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	put := func(p Post) error {
		return st.Update(t.Context(), func(tx *store.Tx) error { _, err := Put(tx, rand.Reader, p); return err })
	}
	for _, p := range []Post{
		{Network: "", Name: "alice"}, {Network: "Rooter", Name: "alice"}, {Network: "a/b", Name: "alice"}, {Network: Network},
		{Network: Network, Name: "a b"}, {Network: Network, Name: strings.Repeat("a", nameBytesMax+1)},
		{Network: Network, Name: "alice", Text: strings.Repeat("x", postBytesMax+1)},
	} {
		if err := put(p); !errors.Is(err, ErrBadPost) {
			t.Errorf("%.40v: %v", p, err)
		}
	}
	err = st.Update(t.Context(), func(tx *store.Tx) error {
		for i := range postsMax {
			id := [16]byte{byte(i), byte(i >> 8)}
			store.Save(tx, keys.Post(keys.ServiceName(Network, "alice"), id), Post{Network: Network, Name: "alice"})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := put(Post{Network: Network, Name: "ALICE"}); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	for _, id := range []string{"", "zz", strings.Repeat("00", 48), strings.Repeat("0", 95)} {
		if err := st.Update(t.Context(), func(tx *store.Tx) error { return Delete(tx, id) }); !errors.Is(err, ErrNoPost) {
			t.Errorf("delete %q: %v", id, err)
		}
	}
}
