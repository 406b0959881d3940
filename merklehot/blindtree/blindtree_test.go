package blindtree_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/blindtree"
)

// records is a store of records in memory.
type records map[string][]byte

func (m records) Set(k, v []byte) { m[string(k)] = bytes.Clone(v) }

func (m records) Get(k []byte) ([]byte, error) {
	if v, ok := m[string(k)]; ok {
		return v, nil
	}
	return nil, store.ErrNotFound
}

func (m records) between(lo, hi []byte) []string {
	all := slices.Sorted(maps.Keys(m))
	i := sort.SearchStrings(all, string(lo))
	return all[i:max(i, sort.SearchStrings(all, string(hi)))]
}

func (m records) Scan(lo, hi []byte, fn func(k, v []byte) error) error {
	return m.visit(m.between(lo, hi), fn)
}

func (m records) ScanReverse(lo, hi []byte, fn func(k, v []byte) error) error {
	in := m.between(lo, hi)
	slices.Reverse(in)
	return m.visit(in, fn)
}

func (m records) visit(ks []string, fn func(k, v []byte) error) error {
	for _, k := range ks {
		if err := fn([]byte(k), m[k]); errors.Is(err, store.ErrStop) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// history is a tree with what it must say at each of its versions.
type history struct {
	m     records
	v     *blindtree.Version
	rng   *rand.ChaCha8
	roots []kbsig.Seqno
	said  []map[blindtree.Key]blindtree.Tail
}

func newHistory() *history {
	h := &history{m: records{}, v: blindtree.Empty().At(5), rng: rand.NewChaCha8([32]byte{1})}
	h.v.Put(h.m)
	h.roots, h.said = []kbsig.Seqno{5}, []map[blindtree.Key]blindtree.Tail{{}}
	return h
}

func (h *history) update(t interface{ Fatal(...any) }, step kbsig.Seqno, changes ...blindtree.Change) {
	root := h.roots[len(h.roots)-1] + step
	v, d, err := h.v.Update(h.m, root, changes, h.rng)
	if err != nil {
		t.Fatal(err)
	}
	d.Write(h.m)
	h.v = v
	said := maps.Clone(h.said[len(h.said)-1])
	for _, c := range changes {
		said[c.Team] = c.Tail
	}
	h.roots, h.said = append(h.roots, root), append(h.said, said)
}

// check proves a team at a version and has an independent client verify it.
func (h *history) check(t interface{ Fatal(...any) }, at int, team blindtree.Key) {
	v, err := blindtree.VersionAt(h.m, h.roots[at])
	if err != nil {
		t.Fatal(err)
	}
	proof, err := v.Prove(h.m, team)
	if err != nil {
		t.Fatal(err)
	}
	sum := v.Hash()
	got, err := client.VerifyBlind(hex.EncodeToString(sum[:]), team, base64.StdEncoding.EncodeToString(proof))
	if err != nil {
		t.Fatal(fmt.Sprintf("team %x at root %d: %v", team, h.roots[at], err))
	}
	want, known := h.said[at][team]
	if known != (got != nil) || known && (kbsig.Seqno(got.Seqno) != want.Seqno || kbsig.LinkID(got.LinkID) != want.Link) {
		t.Fatal(fmt.Sprintf("team %x at root %d: the proof says %v, not %v", team, h.roots[at], got, want))
	}
	if teams := int64(len(h.said[at])); v.Teams != teams {
		t.Fatal(fmt.Sprintf("root %d: %d teams, not %d", h.roots[at], v.Teams, teams))
	}
}

// drawKey draws ids that share long beginnings with each other.
func drawKey(t *rapid.T) (k blindtree.Key) {
	b := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x10, 0x80, 0xff}), 0, 16).Draw(t, "id")
	copy(k[:], b)
	return k
}

func tailOf(k blindtree.Key, n kbsig.Seqno) blindtree.Tail {
	return blindtree.Tail{Seqno: n, Link: kbsig.LinkIDOf(fmt.Appendf(nil, "%x %d", k, n))}
}

// Whatever teams change in whatever groups, each version goes on to prove, for ever and
// to a client that shares no code with us, just what it said: tails and absences.
func TestEveryVersionIsProven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory()
		ids := rapid.SliceOfN(rapid.Custom(drawKey), 1, 30).Draw(t, "ids")
		for range rapid.IntRange(0, 40).Draw(t, "groups") {
			var changes []blindtree.Change
			said := maps.Clone(h.said[len(h.said)-1])
			for range rapid.IntRange(1, 5).Draw(t, "changes") {
				k := rapid.SampledFrom(ids).Draw(t, "team")
				said[k] = tailOf(k, said[k].Seqno+kbsig.Seqno(rapid.IntRange(1, 300).Draw(t, "links")))
				changes = append(changes, blindtree.Change{Team: k, Tail: said[k]})
			}
			h.update(t, kbsig.Seqno(rapid.IntRange(1, 3).Draw(t, "step")), changes...)
		}
		for range 10 {
			k := rapid.OneOf(rapid.SampledFrom(ids), rapid.Custom(drawKey)).Draw(t, "asked")
			h.check(t, rapid.IntRange(0, len(h.roots)-1).Draw(t, "version"), k)
		}
	})
}

// A team that changes hundreds of times leaves records of bounded size, and all its
// versions stay provable through full and partial records.
func TestManyVersionsOfOneTeam(t *testing.T) {
	h := newHistory()
	a, b := blindtree.Key{1}, blindtree.Key{1, 0, 1}
	h.update(t, 1, blindtree.Change{Team: b, Tail: tailOf(b, 1)})
	for n := kbsig.Seqno(1); n <= 200; n++ {
		h.update(t, 1, blindtree.Change{Team: a, Tail: tailOf(a, n)})
	}
	for at := range h.roots {
		h.check(t, at, a)
		h.check(t, at, b)
		h.check(t, at, blindtree.Key{1, 0, 2})
	}
}

// Each version names the versions whose numbers are the sums of the high bits of the
// number before it, so that any two are a few steps apart; the numbers grow by one.
func TestVersionsNameOlderOnes(t *testing.T) {
	h := newHistory()
	k := blindtree.Key{7}
	hashes := []blindtree.Sum{{}, h.v.Hash()}
	for n := int64(2); n <= 70; n++ {
		h.update(t, 1, blindtree.Change{Team: k, Tail: tailOf(k, kbsig.Seqno(n))})
		if h.v.Number != n {
			t.Fatalf("version %d after %d", h.v.Number, n-1)
		}
		var want []byte
		for at, bit := int64(0), int64(64); bit > 0; bit /= 2 {
			if (n-1)&bit != 0 {
				at += bit
				want = append(want, hashes[at][:]...)
			}
		}
		rec := h.m[string(keys.BlindRoot(h.v.Root))]
		if got := rec[len(rec)-len(want):]; !bytes.Equal(got, want) || len(rec) != 81+len(want) {
			t.Fatalf("version %d names others", n)
		}
		hashes = append(hashes, h.v.Hash())
	}
}

// A hidden chain that does not grow, or has two ends of one number, makes no version.
func TestTailsOnlyGrow(t *testing.T) {
	h := newHistory()
	k := blindtree.Key{9}
	h.update(t, 1, blindtree.Change{Team: k, Tail: tailOf(k, 3)})
	for name, changes := range map[string][]blindtree.Change{
		"same":       {{Team: k, Tail: tailOf(k, 3)}},
		"other end":  {{Team: k, Tail: tailOf(blindtree.Key{}, 3)}},
		"shorter":    {{Team: k, Tail: tailOf(k, 2)}},
		"none":       {{Team: blindtree.Key{8}, Tail: blindtree.Tail{}}},
		"one group":  {{Team: k, Tail: tailOf(k, 5)}, {Team: k, Tail: tailOf(k, 4)}},
		"twice five": {{Team: k, Tail: tailOf(k, 5)}, {Team: k, Tail: tailOf(k, 5)}},
	} {
		if _, _, err := h.v.Update(h.m, 99, changes, h.rng); !errors.Is(err, blindtree.ErrBackwards) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Any one bit that flips in a record is either noticed or does not matter to what is
// proven: a wrong proof is never served.
func TestDamageIsNotServed(t *testing.T) {
	h := newHistory()
	var ids []blindtree.Key
	for i := range byte(40) {
		k := blindtree.Key{i * 37, i, 0x24}
		ids = append(ids, k)
		h.update(t, 1, blindtree.Change{Team: k, Tail: tailOf(k, 1)}, blindtree.Change{Team: blindtree.Key{1}, Tail: tailOf(k, 1+kbsig.Seqno(i))})
	}
	all := slices.Sorted(maps.Keys(h.m))
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom(all).Draw(t, "record")
		good := h.m[k]
		defer func() { h.m[k] = good }()
		bad := bytes.Clone(good)
		bad[rapid.IntRange(0, len(bad)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		h.m[k] = bad
		at, team := rapid.IntRange(0, len(h.roots)-1).Draw(t, "version"), rapid.SampledFrom(ids).Draw(t, "team")
		v, err := blindtree.VersionAt(h.m, h.roots[at])
		if err != nil {
			if !errors.Is(err, blindtree.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if _, err := v.Prove(h.m, team); errors.Is(err, blindtree.ErrCorrupt) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		h.check(t, at, team)
	})
}

// The format is frozen: these versions have had these hashes since the first release.
// The empty tree's is that of stock clients.
func TestFrozenHashes(t *testing.T) {
	h := newHistory()
	for i, want := range []string{
		"5af86e9689dec927c1df3a64f3d20133d452fa686a8ab5791b87a0b8bfc547c3",
		"b6d50aeca42984b2bc569ba52cacbeb363c7a719fb87248fca98cb21520b43d9",
	} {
		if i > 0 {
			k := blindtree.Key{byte(i)}
			h.update(t, 1, blindtree.Change{Team: k, Tail: tailOf(k, 1)})
		}
		if sum := h.v.Hash(); hex.EncodeToString(sum[:]) != want {
			t.Errorf("version %d: %x", i+1, sum)
		}
	}
}

// Records of any bytes are read or refused, and never end the process.
func FuzzRecords(f *testing.F) {
	h := newHistory()
	k := blindtree.Key{1}
	h.update(f, 1, blindtree.Change{Team: k, Tail: tailOf(k, 1)}, blindtree.Change{Team: blindtree.Key{2}, Tail: tailOf(k, 1)})
	names := slices.Sorted(maps.Keys(h.m))
	for i, n := range names {
		f.Add(i, h.m[n])
	}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		m := maps.Clone(h.m)
		m[names[uint(i)%uint(len(names))]] = b
		if v, err := blindtree.VersionAt(m, h.v.Root); err == nil {
			_, _ = v.Prove(m, k)
			_, _, _ = v.Update(m, 99, []blindtree.Change{{Team: k, Tail: tailOf(k, 9)}}, rand.NewChaCha8([32]byte{}))
		}
	})
}

// What each version changed, taken in order, gives every version its name again, from the
// first one or from any later one on at which all teams are told.
func TestReplicaFollows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory()
		ids := rapid.SliceOfN(rapid.Custom(drawKey), 1, 20).Draw(t, "ids")
		names := []blindtree.Sum{h.v.Hash()}
		for range rapid.IntRange(1, 25).Draw(t, "groups") {
			var changes []blindtree.Change
			said := maps.Clone(h.said[len(h.said)-1])
			for range rapid.IntRange(0, 4).Draw(t, "changes") {
				k := rapid.SampledFrom(ids).Draw(t, "team")
				said[k] = tailOf(k, said[k].Seqno+1)
				changes = append(changes, blindtree.Change{Team: k, Tail: said[k]})
			}
			h.update(t, 2, changes...)
			names = append(names, h.v.Hash())
		}
		from := rapid.IntRange(0, len(h.roots)-1).Draw(t, "told from")
		var p blindtree.Replica
		for i, root := range h.roots {
			switch {
			case i > from || from == 0:
				set := 0
				if err := blindtree.Changed(h.m, root, func(c blindtree.Committed) error { set++; p.Set(c); return nil }); err != nil {
					t.Fatal(err)
				}
				if i > 0 && set == 0 && !maps.Equal(h.said[i], h.said[i-1]) {
					t.Fatal("what changed is not told")
				}
			case i == from:
				for k := range h.said[i] {
					c, err := blindtree.CommittedAt(h.m, k, root)
					if err != nil || c.Tail != h.said[i][k] {
						t.Fatal(c.Tail, err)
					}
					p.Set(c)
				}
			}
			for _, n := range []kbsig.Seqno{root, root + 1} { // the second changes nothing
				if err := p.Carry(n, names[i], i < from); err != nil {
					t.Fatal(err)
				}
			}
		}
		wrong := names[len(names)-1]
		wrong[7] ^= 1
		if err := p.Carry(h.v.Root+1, wrong, false); !errors.Is(err, blindtree.ErrCorrupt) {
			t.Fatal("another name is believed:", err)
		}
	})
}
