package directory

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

func openStore(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(store.Options{Dir: "s", FS: vfs.NewMem(), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// TestFollows proves, against a map, that both directions of a follow always agree,
// whatever is followed and dropped in whatever order, and that a follow counts for the
// incarnation that it was of, and no other.
func TestFollows(t *testing.T) {
	st, run := openStore(t), 0
	rapid.Check(t, func(t *rapid.T) {
		run++ // each with people of its own
		user := func(i int) kbsig.UID { return kbsig.UIDOf(kbsig.Username(fmt.Sprintf("u%dx%d", run, i))) }
		type edge struct{ a, b int }
		model := map[edge]kbsig.Seqno{}
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			e := edge{rapid.IntRange(0, 3).Draw(t, "a"), rapid.IntRange(0, 3).Draw(t, "b")}
			eldest := kbsig.Seqno(rapid.IntRange(0, 2).Draw(t, "eldest"))
			drop := rapid.Bool().Draw(t, "drop")
			err := st.Update(context.Background(), func(tx *store.Tx) error {
				if drop {
					DropFollow(tx, user(e.a), user(e.b))
				} else {
					SetFollow(tx, user(e.a), user(e.b), kbsig.LinkID{1}, eldest)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if model[e] = eldest; drop {
				delete(model, e)
			}
		}
		v := st.View()
		defer v.Close()
		for i := range 4 {
			of, by := 0, 0
			for j := range 4 {
				eldest, ok := model[edge{i, j}]
				if got, err := Follows(v, user(i), user(j)); err != nil || got != ok {
					t.Fatalf("%d follows %d: %v, %v", i, j, got, err)
				}
				for _, now := range []kbsig.Seqno{1, 2} {
					want := ok && (eldest == 0 || eldest == now)
					if got, err := FollowsNow(v, user(i), user(j), now); err != nil || got != want {
						t.Fatalf("%d follows incarnation %d of %d: %v, want %v (%v)", i, now, j, got, want, err)
					}
				}
				if ok {
					of++
				}
				if _, ok := model[edge{j, i}]; ok {
					by++
				}
			}
			following, beyond, err := FollowList(v, user(i), true)
			followers, beyond2, err2 := FollowList(v, user(i), false)
			if err != nil || err2 != nil || len(following) != of || len(followers) != by || beyond+beyond2 != 0 {
				t.Fatalf("%d follows %d and is followed by %d, want %d and %d", i, len(following), len(followers), of, by)
			}
			if few, err := FollowsOf(v, user(i), 1); err != nil || len(few) != min(of, 1) {
				t.Fatalf("one of those whom %d follows: %v, %v", i, few, err)
			}
		}
	})
}

// TestFindPGP proves that a key is found by every end of its fingerprint that is long
// enough, in any letter case, by nothing else, and that what is no end finds nothing.
func TestFindPGP(t *testing.T) {
	st := openStore(t)
	rapid.Check(t, func(t *rapid.T) {
		var prints []pgp.Fingerprint
		var made [][]byte
		err := st.Update(context.Background(), func(tx *store.Tx) error {
			for i, b := range rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom([]byte{0x00, 0xab, 0xff}), 20, 20), 1, 4).Draw(t, "prints") {
				f := pgp.Fingerprint(b)
				prints = append(prints, f)
				made = append(made, keys.PGPFinger(f.Reversed(), kbsig.KID{byte(i)}, kbsig.UIDOf("alice")))
				store.Save(tx, made[i], true)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			err := st.Update(context.Background(), func(tx *store.Tx) error {
				for _, k := range made {
					tx.Delete(k)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}()
		v := st.View()
		defer v.Close()
		whole := prints[0].String()
		end := whole[len(whole)-rapid.IntRange(pgpEndMin, len(whole)).Draw(t, "length"):]
		if rapid.Bool().Draw(t, "upper case") {
			end = strings.ToUpper(end)
		}
		want := 0
		for _, f := range prints {
			if strings.HasSuffix(f.String(), strings.ToLower(end)) {
				want++
			}
		}
		found, err := FindPGP(v, end)
		if err != nil || len(found) != want {
			t.Fatalf("%s finds %d keys, want %d: %v", end, len(found), want, err)
		}
		for _, f := range found {
			if !strings.HasSuffix(f.Fingerprint.String(), strings.ToLower(end)) {
				t.Fatalf("%s finds %s", end, f.Fingerprint)
			}
		}
		for _, none := range []string{"", whole[37:], whole + "0", "xyzw", whole[:39] + "g"} {
			if found, err := FindPGP(v, none); err != nil || len(found) != 0 {
				t.Fatalf("%q finds %d keys: %v", none, len(found), err)
			}
		}
	})
}
