package people

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/pictures"
	"github.com/keystead/keystead/engine/store"
)

// TestBlocks proves, over random changes, that a block is what its owner made of it last,
// each part by itself; that nobody else's blocks change with it; and that a change which
// is none is not reported as one.
func TestBlocks(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := newScene(t)
		everybody := s.people("alice", "bobby", "carol")
		type parts struct{ chat, follow bool }
		want := map[[2]kbsig.UID]parts{}
		for range rapid.IntRange(1, 20).Draw(r, "steps") {
			a, b := rapid.SampledFrom(everybody).Draw(r, "who"), rapid.SampledFrom(everybody).Draw(r, "whom")
			part := func(label string) *bool {
				return rapid.SampledFrom([]*bool{nil, new(bool), func() *bool { v := true; return &v }()}).Draw(r, label)
			}
			c := BlockChange{UID: b, Chat: part("chat"), Follow: part("follow")}
			var changed []kbsig.UID
			err := s.store.Update(context.Background(), func(tx *store.Tx) (err error) {
				changed, err = SetBlocks(tx, a, []BlockChange{c})
				return err
			})
			if f := Fault(""); a == b {
				if !errors.As(err, &f) {
					r.Fatalf("a block of oneself: %v", err)
				}
				continue
			}
			if err != nil {
				r.Fatal(err)
			}
			was := want[[2]kbsig.UID{a, b}]
			now := was
			if c.Chat != nil {
				now.chat = *c.Chat
			}
			if c.Follow != nil {
				now.follow = *c.Follow
			}
			if (len(changed) == 1) != (now != was) {
				r.Fatalf("reported %v of a change from %v to %v", changed, was, now)
			}
			want[[2]kbsig.UID{a, b}] = now
			v := s.store.View()
			for _, x := range everybody {
				for _, y := range everybody {
					got, err := BlockOf(v, x, y)
					if p := want[[2]kbsig.UID{x, y}]; err != nil || got.Chat != p.chat || got.Follow != p.follow {
						r.Fatalf("%v, %v, want %v", got, err, p)
					}
				}
			}
			v.Close()
		}
	})
}

// TestBlocksRefuse proves that nobody can block somebody who is not there, nor more at
// once than one request may, and that such a request changes nothing.
func TestBlocksRefuse(t *testing.T) {
	s := newScene(t)
	everybody := s.people("alice", "bobby")
	yes := true
	set := func(changes ...BlockChange) error {
		return s.store.Update(t.Context(), func(tx *store.Tx) error { _, err := SetBlocks(tx, everybody[0], changes); return err })
	}
	if err := set(BlockChange{UID: everybody[1], Chat: &yes}, BlockChange{UID: kbsig.UIDOf("nobody"), Chat: &yes}); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("nobody: %v", err)
	}
	if f := Fault(""); !errors.As(set(make([]BlockChange, BlocksPerPostMax+1)...), &f) {
		t.Error("too many were taken")
	}
	v := s.store.View()
	defer v.Close()
	if all, err := Blocks(v, everybody[0]); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// TestSearch proves that people are found by the beginning of their name and by the words
// of what they call themselves now, whatever the case; and not by what they once did, by
// nothing, or when they are gone.
func TestSearch(t *testing.T) {
	s := newScene(t)
	everybody := s.people("alice", "alina", "bobby")
	name := func(u kbsig.UID, full string) {
		t.Helper()
		s.do(func(tx *store.Tx) error { _, err := SetProfile(tx, u, Profile{FullName: full}); return err })
	}
	finds := func(text string, want ...string) {
		t.Helper()
		v := s.store.View()
		defer v.Close()
		found, err := Search(v, Query{Text: text, Wanted: 10})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range found {
			got = append(got, string(f.Account.Name))
		}
		slices.Sort(got)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q finds %v, not %v", text, got, want)
		}
	}
	name(everybody[2], "Robert Äpfel")
	finds("ali", "alice", "alina")
	finds("ALICE", "alice")
	finds("robert", "bobby")
	finds("äpfel rob", "bobby")
	finds("robert nobody")
	finds("")
	finds("\x00")
	finds(strings.Repeat("a", queryBytesMax+1))
	name(everybody[2], "Bob")
	finds("robert")
	finds("bob", "bobby")
	s.do(func(tx *store.Tx) error {
		a, err := accounts.Get(tx, everybody[0])
		if err != nil {
			return err
		}
		a.Status = accounts.StatusDeleted
		accounts.Put(tx, a)
		return nil
	})
	finds("ali", "alina")
}

// TestPictureSizes proves that of somebody's pictures the present one and the one before
// are there in all sizes, nothing of older ones is, and nothing at all once the account is
// forgotten.
func TestPictureSizes(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := newScene(t)
		u := s.people("alice")[0]
		var shown []int
		for range rapid.IntRange(1, 8).Draw(r, "pictures") {
			n := rapid.IntRange(0, 3).Draw(r, "picture")
			sizes := []pictures.Picture{{Size: 40, JPEG: []byte{byte(n)}}, {Size: 200, JPEG: []byte{byte(n), 1}}}
			s.do(func(tx *store.Tx) error { _, err := SetPicture(tx, u, sizes); return err })
			if len(shown) == 0 || shown[len(shown)-1] != n {
				shown = append(shown, n)
			}
			want := map[int]bool{}
			for _, n := range shown[max(0, len(shown)-2):] {
				want[n] = true
			}
			if kept := s.pictures(u); kept != 2*len(want) {
				r.Fatalf("%d pictures after %v", kept, shown)
			}
		}
		s.do(func(tx *store.Tx) error { return Forget(tx, u) })
		if kept := s.pictures(u); kept != 0 {
			r.Fatalf("%d pictures of nobody", kept)
		}
	})
}

// pictures counts the pictures that are kept of somebody.
func (s *scene) pictures(u kbsig.UID) (n int) {
	s.t.Helper()
	v := s.store.View()
	defer v.Close()
	lo := keys.PictureSizes(u, [16]byte{})[:17]
	if err := v.Scan(lo, keys.End(lo), func(_, _ []byte) error { n++; return nil }); err != nil {
		s.t.Fatal(err)
	}
	return n
}
