package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
)

// A store that only the server has written holds together, whether a sample of paths
// is verified or all of them, and the summary counts what is there.
func TestSoundStorePasses(t *testing.T) {
	s := newScene(t)
	for _, o := range []Options{{}, {Paths: 10}, {Paths: AllPaths}} {
		out, err := s.audit(o)
		if err != nil {
			t.Fatalf("paths %d: %v\n%s", o.Paths, err, out)
		}
		if strings.Count(out, "\n") != 1 || !strings.HasSuffix(out, ": 0 problems\n") || !strings.Contains(out, " 15 accounts, ") {
			t.Errorf("paths %d: %s", o.Paths, out)
		}
	}
}

// A lease whose server ended between the lease's two writes has no root; that is no
// damage, and the lease is good for nothing.
func TestLeaseWithoutRootPasses(t *testing.T) {
	s := newScene(t)
	out, err := s.damaged(func(tx *store.Tx) {
		edit(s, tx, keys.Lease(s.alice.uid, s.lease), func(l *identity.Lease) { l.Root = 0 })
		if _, err := identity.LeaseOf(tx, s.alice.uid, s.lease); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a lease without a root can be used: %v", err)
		}
	})
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// prefixes of families whose every record the rest of the store determines.
func determined() string {
	var u kbsig.UID
	var k kbsig.KID
	var d kbsig.DeviceID
	var out []byte
	for _, key := range [][]byte{
		keys.Link(u, 1), keys.Chain(u), keys.KIDOwner(k), keys.SigID(kbsig.SigIDBase{}), keys.ActiveDevice(u, d),
		keys.Follow(u, u), keys.Follower(u, u), keys.Name("x"), keys.Mail("x"), keys.Root(1), keys.RootHash(kbsig.HashMeta{}), keys.Changes(1),
		keys.Leaf(keys.TreeMain, u[:], 1), keys.Node(keys.TreeMain, 0, u[:], 1),
	} {
		out = append(out, key[0])
	}
	return string(out)
}

// records lists the keys of families, by their prefix bytes.
func (s *scene) records(prefixes string) (out [][]byte) {
	v := s.st.View()
	defer v.Close()
	for _, p := range slices.Compact(slices.Sorted(slices.Values([]byte(prefixes)))) {
		s.must(v.Scan([]byte{p}, []byte{p + 1}, func(k, _ []byte) error {
			out = append(out, bytes.Clone(k))
			return nil
		}))
	}
	return out
}

// Any one bit that flips in a record of the truth or of its indexes is found.
func TestAnyFlippedBitIsFound(t *testing.T) {
	s := newScene(t)
	all := s.records(determined())
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom(all).Draw(t, "key")
		out, err := s.damaged(func(tx *store.Tx) {
			change(s, tx, k, func(v []byte) []byte {
				v[rapid.IntRange(0, len(v)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				return v
			})
		})
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("not found: %v\n%s", err, out)
		}
	})
}

// Any one record of the truth, its indexes, the accounts and the newest boxes that is
// lost is found.
func TestAnyLostRecordIsFound(t *testing.T) {
	s := newScene(t)
	all := s.records(determined() + string([]byte{keys.Accounts()[0], keys.PUKBox(kbsig.UID{}, 1, kbsig.KID{})[0], keys.PUKPrev(kbsig.UID{}, 1)[0]}))
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom(all).Draw(t, "key")
		out, err := s.damaged(func(tx *store.Tx) { tx.Delete(k) })
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("not found: %v\n%s", err, out)
		}
	})
}

// Whatever a record is replaced with, the audit reports or passes; it does not panic
// and does not fail to finish.
func TestGarbageDoesNotStopTheAudit(t *testing.T) {
	s := newScene(t)
	var every []byte
	for _, f := range families {
		every = append(every, f.key[0])
	}
	all := s.records(string(every))
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom(all).Draw(t, "key")
		out, err := s.damaged(func(tx *store.Tx) {
			change(s, tx, k, func(v []byte) []byte {
				cut := rapid.IntRange(0, len(v)).Draw(t, "cut")
				return append(v[:cut], rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "garbage")...)
			})
		})
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}

// An audit that finds too much stops after a bounded number of lines.
func TestManyProblemsEndTheAudit(t *testing.T) {
	s := newScene(t)
	out, err := s.damaged(func(tx *store.Tx) {
		for _, k := range s.records(determined()) {
			change(s, tx, k, flip(0))
		}
	})
	if !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	if n := strings.Count(out, "\n"); n != problemsMax+2 || !strings.Contains(out, "\nstopped after 100 problems\n") {
		t.Errorf("%d lines:\n%s", n, out)
	}
}

// An audit ends when its context does, and says so.
func TestAuditEndsWithItsContext(t *testing.T) {
	s := newScene(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v := s.st.View()
	defer v.Close()
	if err := Run(ctx, v, s.seq.KID(), io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Roots that another key has signed are found, whoever asks.
func TestAnotherKeyIsFound(t *testing.T) {
	s := newScene(t)
	v := s.st.View()
	defer v.Close()
	var out bytes.Buffer
	err := Run(t.Context(), v, kbsig.NewKID(kbsig.KIDTypeEdDSA, [32]byte{3}), &out)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(out.String(), "root 5323658: signed by ") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// The audit knows every family of keys that engine/keys has, and no other: a new one
// gets an auditor before it gets records.
func TestEveryFamilyIsKnown(t *testing.T) {
	text, err := os.ReadFile("../../engine/keys/keys.go")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^//\t(?:0x([0-9a-f]{2})|([A-Za-z0-9]{1,2}))[ \t]+\S`).FindAllSubmatch(text, -1) {
		p := string(m[2])
		if len(m[1]) > 0 {
			n, err := strconv.ParseUint(string(m[1]), 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			p = string([]byte{byte(n)})
		}
		want[p] = true
	}
	if len(want) < 20 {
		t.Fatalf("the map in engine/keys was not understood: %d families", len(want))
	}
	for _, f := range families {
		_, n := prefixOf(f.key)
		if !want[string(f.key[:n])] {
			t.Errorf("family %q of %ss is not in the map, or twice here", f.key[:n], f.name)
		}
		delete(want, string(f.key[:n]))
		if f.parts == "" {
			continue
		}
		size := n
		for _, p := range []byte(f.parts) {
			size += partSizes[p]
		}
		if size != len(f.key) {
			t.Errorf("keys of a %s have %d bytes, its parts %d", f.name, len(f.key), size)
		}
	}
	for p := range want {
		t.Errorf("family %q of engine/keys has no auditor", p)
	}
}

// Records of families that the audit looks at by their form only pass when they are
// well formed, and are named when they are not.
func TestOtherFamilies(t *testing.T) {
	s := newScene(t)
	u, k := s.bob.uid, kbsig.KID(s.bobs.Sig.KID())
	put := func(tx *store.Tx) {
		store.Save(tx, keys.Favorite(u, 1, "bob,alice"), favorite{Since: 1})
		tx.Set(keys.Gregor(u, []byte("0123456789abcdef")), []byte("anything"))
		tx.Set(keys.Meta("a-fact"), []byte("anything"))
		store.Save(tx, keys.Session([32]byte{1}), accounts.Session{UID: u})
		store.Save(tx, keys.NIST([19]byte{1}), accounts.Accepted{UID: u})
	}
	if out, err := s.damaged(put); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, tc := range []struct {
		key, value []byte
		want       string
	}{
		{append(keys.Favorites(u), 1), nil, "malformed key of a favourite"},
		{keys.Gregors(u), nil, "malformed key of a message"},
		{keys.GregorPlaces(u), nil, "malformed key of a place of a message"},
		{keys.GregorPlace(u, 'o', [8]byte{}, 0), nil, "malformed key of a place of a message"},
		{keys.Gregor(kbsig.UIDOf("nobody"), []byte{1}), nil, "message of " + kbsig.UIDOf("nobody").String() + ": there is no such account"},
		{keys.Meta("a fact"), nil, "malformed key of a store fact"},
		{keys.PrivateKey(u, k), store.Encode(keyboxes.PrivateKey{}), "secret key under "},
		{keys.Session([32]byte{1}), []byte{0xc1}, "session under "},
		{keys.NIST([19]byte{1}), []byte{0xc1}, "token under "},
		{keys.Name("Carol"), nil, "malformed key of a name"},
	} {
		out, err := s.damaged(func(tx *store.Tx) { tx.Set(tc.key, tc.value) })
		if !errors.Is(err, ErrDamaged) || !strings.Contains(out, tc.want) {
			t.Errorf("not found: %s: %v\n%s", tc.want, err, out)
		}
	}
}

// Many processors find what one finds, in the same order.
func TestProcessorsAgree(t *testing.T) {
	s := newScene(t)
	s.must(s.st.Update(t.Context(), func(tx *store.Tx) error {
		for _, k := range [][]byte{keys.Link(s.alice.uid, 7), keys.Chain(s.bob.uid), keys.Name("carol"), keys.Chain(s.extras[7].uid)} {
			change(s, tx, k, flip(-1))
		}
		tx.Delete(keys.Chain(s.extras[9].uid))
		return nil
	}))
	many, err := s.audit(Options{})
	if !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	one, err := s.damaged(func(*store.Tx) {})
	if !errors.Is(err, ErrDamaged) || one != many {
		t.Errorf("one finds, %v:\n%smany find:\n%s", err, one, many)
	}
}

// An audit on many processors that finds too much or is told to end leaves nothing
// running.
func TestProcessorsStop(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := newScene(t)
	s.must(s.st.Update(t.Context(), func(tx *store.Tx) error {
		// All but the roots, so that it is the users who are too many.
		for _, k := range s.records(strings.ReplaceAll(determined(), string(keys.Roots()), "")) {
			tx.Set(k, []byte{1})
		}
		return nil
	}))
	out, err := s.audit(Options{})
	if !errors.Is(err, ErrDamaged) || strings.Count(out, "\n") != problemsMax+2 {
		t.Errorf("%v:\n%s", err, out)
	}
	s.must(s.st.Close())
}
