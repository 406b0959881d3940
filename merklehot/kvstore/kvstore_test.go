package kvstore

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/engine/store"
)

// TestRevisions proves, against a map, that an entry is written and deleted only as the
// revision after its last, that lists show exactly what is not deleted, and that a refusal
// changes nothing.
func TestRevisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st, err := store.Open(store.Options{Dir: "/store", FS: vfs.NewMem(), Rand: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		type state struct {
			revision int64
			text     string
		}
		model := make(map[ID]state)
		names := rapid.SampledFrom([]string{"a", "ab", "b", "\xff"})
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			id := ID{Namespace: names.Draw(t, "namespace"), Name: names.Draw(t, "name")}
			was := model[id]
			e := Entry{Revision: was.revision + rapid.SampledFrom([]int64{-1, 0, 1, 1, 1, 2}).Draw(t, "step")}
			remove := rapid.Bool().Draw(t, "delete")
			if !remove {
				e.Ciphertext = rapid.SampledFrom([]string{"x", "y"}).Draw(t, "text")
			}
			err := st.Update(context.Background(), func(tx *store.Tx) error {
				if remove {
					return Delete(tx, id, e)
				}
				return Put(tx, id, e)
			})
			next := e.Revision == was.revision+1
			var revision *RevisionError
			switch {
			case remove && (was.revision == 0 || was.text == "" && next):
				if !errors.Is(err, ErrNone) {
					t.Fatalf("deleting nothing: %v", err)
				}
			case !next:
				if !errors.As(err, &revision) {
					t.Fatalf("revision %d after %d: %v", e.Revision, was.revision, err)
				}
			case err != nil:
				t.Fatal(err)
			default:
				model[id] = state{e.Revision, e.Ciphertext}
			}
		}
		v := st.View()
		defer v.Close()
		live := 0
		for id, want := range model {
			if got, err := Get(v, id); err != nil || got.Revision != want.revision || got.Ciphertext != want.text {
				t.Fatalf("%v is %+v, want %+v: %v", id, got, want, err)
			}
			if want.text != "" {
				live++
			}
		}
		spaces, err := Namespaces(v, ID{}.Team)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range spaces {
			list, err := Names(v, ID{}.Team, n)
			if err != nil || len(list) == 0 {
				t.Fatalf("namespace %q: %v, %v", n, list, err)
			}
			for _, e := range list {
				if model[ID{Namespace: n, Name: e.Name}] != (state{e.Revision, model[ID{Namespace: n, Name: e.Name}].text}) {
					t.Fatalf("%q/%q is listed with revision %d", n, e.Name, e.Revision)
				}
			}
			live -= len(list)
		}
		if live != 0 {
			t.Fatalf("the lists miss %d entries", live)
		}
	})
}
