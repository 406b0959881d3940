package tree

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// drawID draws ids that crowd: long common prefixes force deep nodes and splits.
func drawID(t *rapid.T) ID {
	var id ID
	copy(id[:], rapid.SliceOfN(rapid.SampledFrom([]byte{0x00, 0x01, 0x10, 0xff}), 3, 3).Draw(t, "head"))
	id[15] = rapid.Byte().Draw(t, "tail")
	if rapid.Bool().Draw(t, "spread") {
		id[0] = rapid.Byte().Draw(t, "first")
	}
	return id
}

// past is what the model remembers of a version.
type past struct {
	version kbsig.Seqno
	values  map[string]string
	root    kbsig.NodeHash
	tree    *Main
}

// Random batches of new and changed leaves give the root of a naive rebuild, every
// path and absence verifies by the client's rules, any path of any earlier version
// read back from the records equals the path that version gave when it was new, and
// a reload gives the same tree.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newRecords()
		now := past{values: map[string]string{}, tree: NewMain()}
		now.root = now.tree.Root()
		history := []past{now}
		versions := rapid.IntRange(1, 12).Draw(t, "versions")
		for v := 1; v <= versions; v++ {
			next := past{version: kbsig.Seqno(100 + 3*v), values: map[string]string{}}
			for k, val := range now.values {
				next.values[k] = val
			}
			var changes []Change[ID]
			for i := range rapid.IntRange(1, 120).Draw(t, "changes") {
				c := Change[ID]{drawID(t), fmt.Appendf(nil, "[2,[%d],[],null]", v*1000+i)}
				if rapid.IntRange(0, 9).Draw(t, "same") == 0 {
					if old := now.tree.Leaf(c.ID); old != nil {
						c.Leaf = old
					}
				}
				changes = append(changes, c)
				next.values[c.ID.String()] = string(c.Leaf)
			}
			tr, d, err := now.tree.Update(changes, nil)
			if err != nil {
				t.Fatal(err)
			}
			if d == nil {
				continue
			}
			d.Write(m, next.version)
			next.tree, next.root = tr, tr.Root()
			if want := naive(next.values, hex512); next.root.String() != want {
				t.Fatalf("version %d: root %s, naive rebuild %s", v, next.root, want)
			}
			if tr.Len() != len(next.values) {
				t.Fatalf("version %d: %d leaves, want %d", v, tr.Len(), len(next.values))
			}
			now = next
			history = append(history, next)
			if rapid.IntRange(0, 5).Draw(t, "reload") == 0 {
				now.tree = reload(t, m, now)
			}
		}
		reload(t, m, now)
		for range 30 {
			checkPast(t, m, now.tree, rapid.SampledFrom(history).Draw(t, "past"), drawID(t))
		}
	})
}

func reload(t *rapid.T, m *records, p past) *Main {
	tr, err := NewMain().Load(m)
	if err != nil {
		t.Fatal(err)
	}
	if tr.Root() != p.root || tr.Len() != len(p.values) {
		t.Fatalf("reload of version %d gives another tree", p.version)
	}
	return tr
}

// checkPast compares a path from the records with the path from the tree of then.
func checkPast(t *rapid.T, m *records, now *Main, p past, id ID) {
	then, leaf := p.tree.Path(id)
	value, known := p.values[id.String()]
	if (leaf != nil) != known || string(leaf) != value {
		t.Fatalf("leaf %s at %d: %q, want %q", id, p.version, leaf, value)
	}
	wire, again := p.tree.AppendPath([]byte("x"), id)
	if !bytes.Equal(wire, AppendPath([]byte("x"), then)) || !bytes.Equal(again, leaf) {
		t.Fatalf("two wire forms of the path of %s at %d", id, p.version)
	}
	got, err := verifyPath(wire[1:], p.root.String(), id.String())
	if known && (err != nil || string(got) != value) || !known && !errors.Is(err, errNoPath) {
		t.Fatalf("path of %s at %d proves %q, %v; want %q", id, p.version, got, err, value)
	}
	// With the help of the present tree, and without any.
	for _, from := range []*Main{now, NewMain()} {
		steps, again, err := from.PathAt(m, p.version, p.root, id)
		if err != nil {
			t.Fatalf("path of %s at %d: %v", id, p.version, err)
		}
		if !bytes.Equal(again, leaf) || !bytes.Equal(AppendPath(nil, steps), AppendPath(nil, then)) {
			t.Fatalf("path of %s at %d differs from the one it had", id, p.version)
		}
	}
	at, _, err := now.LeafAt(m, p.version, id)
	if known && string(at) != value || !known && !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("leaf %s at %d read as %q, %v", id, p.version, at, err)
	}
}

func newLeaves(d *Delta[ID, kbsig.NodeHash]) (out []Change[ID]) {
	d.Leaves(func(c Change[ID]) { out = append(out, c) })
	return out
}

// randomTree builds a tree of n random user leaves.
func randomTree(tb testing.TB, n int, rng *rand.Rand) (*Main, []ID) {
	ids := make([]ID, n)
	changes := make([]Change[ID], n)
	for i := range ids {
		ids[i] = randomID(rng)
		changes[i] = Change[ID]{ids[i], randomLeaf(rng, 1).Encode()}
	}
	tr, _, err := NewMain().Update(changes, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return tr, ids
}

func randomID(rng *rand.Rand) (id ID) {
	for i := range id {
		id[i] = byte(rng.Uint32())
	}
	id[15] = 0x19
	return id
}

func randomLeaf(rng *rand.Rand, seqno kbsig.Seqno) Leaf {
	var raw [32]byte
	for i := range raw {
		raw[i] = byte(rng.Uint32())
	}
	return UserLeaf{seqno, raw, raw, kbsig.NewKID(kbsig.KIDTypeEdDSA, raw), ResetTail{}}
}

// A large update uses several workers and flushes many times; the result is the one
// of the same changes made one by one, and every path of it verifies.
func TestLargeUpdateEqualsSmallOnes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	base, ids := randomTree(t, 5000, rng)
	var changes []Change[ID]
	for i := range 3000 {
		id := ids[rng.IntN(len(ids))]
		if i%3 == 0 {
			id = randomID(rng)
		}
		changes = append(changes, Change[ID]{id, randomLeaf(rng, 2).Encode()})
	}
	large, d, err := base.Update(changes, nil)
	if err != nil {
		t.Fatal(err)
	}
	small := base
	for _, c := range changes {
		if small, _, err = small.Update([]Change[ID]{c}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if large.Root() != small.Root() || large.Len() != small.Len() {
		t.Fatal("one large update and many small ones differ")
	}
	changed := newLeaves(d)
	if len(changed) > len(changes) || len(changed) < len(changes)/2 {
		t.Fatalf("%d leaves changed by %d changes", len(changed), len(changes))
	}
	for i, c := range changed {
		if i > 0 && bytes.Compare(changed[i-1].ID[:], c.ID[:]) >= 0 {
			t.Fatal("changed leaves out of order")
		}
		steps, leaf := large.Path(c.ID)
		got, err := verifyPath(AppendPath(nil, steps), large.Root().String(), c.ID.String())
		if err != nil || !bytes.Equal(got, leaf) || !bytes.Equal(leaf, c.Leaf) {
			t.Fatalf("path of %s: %q, %v", c.ID, got, err)
		}
	}
}

// Values that are already there change nothing: no new version, no records.
func TestNoChange(t *testing.T) {
	tr, ids := randomTree(t, 100, rand.New(rand.NewPCG(3, 4)))
	same, d, err := tr.Update([]Change[ID]{{ids[7], tr.Leaf(ids[7])}, {ids[9], tr.Leaf(ids[9])}}, nil)
	if err != nil || same != tr || d != nil {
		t.Fatalf("got %p and %v for %p, %v", same, d, tr, err)
	}
	if same, d, err = tr.Update(nil, nil); err != nil || same != tr || d != nil {
		t.Fatal("an empty update changes something")
	}
}

// A reader of an old version reads few records however often a node changed since,
// because full records come at intervals.
func TestOldPathsReadLittle(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	m := newRecords()
	tr := NewMain()
	var ids []ID
	var seed []Change[ID]
	for range 2000 {
		ids = append(ids, randomID(rng))
		seed = append(seed, Change[ID]{ids[len(ids)-1], randomLeaf(rng, 1).Encode()})
	}
	roots := map[kbsig.Seqno]kbsig.NodeHash{}
	for v := kbsig.Seqno(1); v <= 600; v++ {
		changes := []Change[ID]{{ids[rng.IntN(len(ids))], randomLeaf(rng, v+1).Encode()}}
		if v == 1 {
			changes = seed
		}
		next, d, err := tr.Update(changes, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.Write(m, v)
		tr, roots[v] = next, next.Root()
	}
	worst := 0
	for range 300 {
		v := kbsig.Seqno(1 + rng.IntN(600))
		m.reads = 0
		steps, _, err := NewMain().PathAt(m, v, roots[v], ids[rng.IntN(len(ids))])
		if err != nil {
			t.Fatal(err)
		}
		interior := len(steps) - 1
		if max := interior*(nodeDeltasMax+1) + 16*leafIDsMax; m.reads > max {
			t.Fatalf("%d records read for %d levels", m.reads, interior)
		}
		worst = max(worst, m.reads)
	}
	t.Logf("at most %d records read for a path of 600 versions", worst)
}

// A server that restarts often writes full records often, so that old paths stay as
// cheap; and a leaf that changed very often costs a start no more than others.
func TestManyRestarts(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	m := newRecords()
	tr := NewMain()
	var seed []Change[ID]
	for range 100 {
		seed = append(seed, Change[ID]{randomID(rng), randomLeaf(rng, 1).Encode()})
	}
	roots := map[kbsig.Seqno]kbsig.NodeHash{}
	const versions = 400
	hot := seed[50].ID
	for v := kbsig.Seqno(1); v <= versions; v++ {
		changes := seed
		if v > 1 {
			changes = []Change[ID]{{hot, randomLeaf(rng, v).Encode()}}
		}
		next, d, err := tr.Update(changes, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.Write(m, v)
		tr, roots[v] = next, next.Root()
		if v%10 == 0 {
			m.reads = 0
			if tr, err = NewMain().Load(m); err != nil {
				t.Fatal(err)
			}
			if m.reads > len(seed)+olderValuesMax+2 {
				t.Fatalf("%d records read for %d leaves", m.reads, len(seed))
			}
		}
	}
	for v := kbsig.Seqno(1); v <= versions; v += 7 {
		m.reads = 0
		steps, _, err := NewMain().PathAt(m, v, roots[v], hot)
		if err != nil {
			t.Fatal(err)
		}
		if most := (len(steps)-1)*(nodeDeltasMax+1) + 16*leafIDsMax; m.reads > most {
			t.Fatalf("%d records read for version %d", m.reads, v)
		}
	}
}

// Damage to any record a path rests on is found before the path is given out.
func TestDamagedRecordsAreRefused(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	m := newRecords()
	tr, d, err := NewMain().Update([]Change[ID]{{randomID(rng), []byte("[2,[],[],null]")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.Write(m, 1)
	for v := kbsig.Seqno(2); v < 60; v++ {
		if tr, d, err = tr.Update([]Change[ID]{{randomID(rng), randomLeaf(rng, 1).Encode()}}, nil); err != nil {
			t.Fatal(err)
		}
		d.Write(m, v)
	}
	id := newLeaves(d)[0].ID
	good, _, err := NewMain().PathAt(m, 59, tr.Root(), id)
	if err != nil {
		t.Fatal(err)
	}
	want := AppendPath(nil, good)
	harmless := 0
	for k, v := range m.values {
		for _, bit := range []int{0, 9, rng.IntN(8 * len(v))} {
			bit %= 8 * len(v)
			v[bit/8] ^= 1 << (bit % 8)
			steps, _, err := NewMain().PathAt(m, 59, tr.Root(), id)
			v[bit/8] ^= 1 << (bit % 8)
			switch {
			case err == nil && bytes.Equal(AppendPath(nil, steps), want):
				harmless++ // the path does not rest on this record
			case err == nil:
				t.Fatalf("record %x with bit %d flipped gives a wrong path", k, bit)
			case !errors.Is(err, ErrCorrupt):
				t.Fatalf("record %x with bit %d flipped: %v", k, bit, err)
			}
		}
	}
	if harmless == 3*len(m.values) {
		t.Fatal("no damage was noticed")
	}
}

// The legacy tree is the same tree over SHA-256 and 32-byte ids; the empty one has
// the hash of the empty table and proves that nobody is in it.
func TestNamesTree(t *testing.T) {
	tr := NewNames()
	if want := hex256([]byte(`{"tab":{},"type":1}`)); tr.Root().String() != want {
		t.Fatalf("empty root %s, want %s", tr.Root(), want)
	}
	id := NameHash{0xab, 0xcd}
	steps, leaf := tr.Path(id)
	if leaf != nil || len(steps) != 1 {
		t.Fatalf("path in the empty tree: %d steps", len(steps))
	}
	if _, err := verifyPath(AppendPath(nil, steps), tr.Root().String(), hex.EncodeToString(id[:])); !errors.Is(err, errNoPath) {
		t.Fatalf("absence does not verify: %v", err)
	}
	values := map[string]string{}
	m := newRecords()
	for i := range 300 {
		id := NameHash{byte(i % 7), byte(i % 3), 31: byte(i)}
		next, d, err := tr.Update([]Change[NameHash]{{id, fmt.Appendf(nil, `"%030d19"`, i)}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.Write(m, kbsig.Seqno(i+1))
		values[hex.EncodeToString(id[:])] = fmt.Sprintf(`"%030d19"`, i)
		tr = next
	}
	if want := naive(values, hex256); tr.Root().String() != want {
		t.Fatalf("root %s, naive rebuild %s", tr.Root(), want)
	}
	steps, _, err := NewNames().PathAt(m, 300, tr.Root(), NameHash{1, 1, 31: 1})
	if err != nil {
		t.Fatal(err)
	}
	got, err := verifyPath(AppendPath(nil, steps), tr.Root().String(), hex.EncodeToString(append(append([]byte{1, 1}, make([]byte, 29)...), 1)))
	if err != nil || string(got) != `"00000000000000000000000000000119"` {
		t.Fatalf("legacy path proves %s, %v", got, err)
	}
}

// The worked example of the protocol: the first user's leaf and its node. A tree of
// one user has other interior nodes than the example, which is allowed; the leaf
// node is the same to the byte.
func TestWorkedExample(t *testing.T) {
	var id ID
	hex.Decode(id[:], []byte("2bd806c97f0e00af1a1fc3328fa76319"))
	link, _ := kbsig.ParseLinkID("c15b91a6e2a45aa243c87267c1e9c10d527dc9cc5e8755b0e73ab4646501d81b")
	sig, _ := kbsig.ParseSigIDBase("7c748e28ef09bd993feac490dbb23c2cfe5ec4e53eef8e7cfa458fd467334b17")
	kid, _ := kbsig.ParseKID("0120759cb0fb2af733bcf3bf2f4e10dbaf2621444781420b89821a3fdb7590b0468f0a")
	leaf := UserLeaf{3, link, sig, kid, ResetTail{}}
	tr, _, err := NewMain().Update([]Change[ID]{{id, leaf.Encode()}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	steps, _ := tr.Path(id)
	if got, want := hex512(steps[1].Node), "51a6a735e96ae664b964e630506d9940d37728696a1c89b6b0fe7c69eb26e845049be10aedb0f87d7a6f81f84eca41ee27abe13a0f11737a1898e9999e6ca834"; got != want {
		t.Fatalf("leaf node %s hashes to %s", steps[1].Node, got)
	}
	if got, want := hex512([]byte(emptyTable)), NewMain().Root().String(); got != want || want[:8] != "ab3208ee" {
		t.Fatalf("empty tree has root %s", want)
	}
}

// Leaves that are empty, too long or would break the wire form are refused.
func TestBadLeaves(t *testing.T) {
	for _, leaf := range []string{"", `"\n"`, string(make([]byte, LeafBytesMax+1))} {
		if _, _, err := NewMain().Update([]Change[ID]{{ID{}, []byte(leaf)}}, nil); !errors.Is(err, ErrBadLeaf) {
			t.Errorf("leaf of %d bytes: %v", len(leaf), err)
		}
	}
	longest := append(append([]byte{'"'}, bytes.Repeat([]byte("a"), LeafBytesMax-2)...), '"')
	var changes []Change[ID]
	for i := range byte(leafIDsMax) {
		changes = append(changes, Change[ID]{ID{15: i}, longest})
	}
	tr, _, err := NewMain().Update(changes, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := tr.Leaf(ID{15: 3}); !bytes.Equal(got, longest) {
		t.Fatalf("longest leaf came back with %d bytes", len(got))
	}
}

// A key of another shape among the leaves is damage, not a leaf.
func TestLoadRefusesForeignKeys(t *testing.T) {
	m := newRecords()
	m.Set(keys.Leaf(keys.TreeMain, make([]byte, 15), 1), []byte("[]"))
	if _, err := NewMain().Load(m); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("loaded: %v", err)
	}
}
