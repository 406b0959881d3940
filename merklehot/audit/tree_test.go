package audit

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/merklehot/tree"
)

// drawTree makes a tree of ids that often share many digits, and the same from the
// audit's own builder.
func drawTree(t *rapid.T) (*tree.Main, *shape, []tree.ID) {
	var shared tree.ID
	copy(shared[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "shared"))
	made := map[tree.ID][]byte{}
	for range rapid.IntRange(0, 60).Draw(t, "ids") {
		id := shared
		for i := rapid.IntRange(0, 15).Draw(t, "same bytes"); i < 16; i++ {
			id[i] = rapid.Byte().Draw(t, "byte")
		}
		made[id] = rapid.SampledFrom([][]byte{[]byte("[2,[],[],null]"), []byte(`[2,[1,"a","b"],[],null]`)}).Draw(t, "value")
	}
	var changes []tree.Change[tree.ID]
	var ids []tree.ID
	for id, value := range made {
		changes = append(changes, tree.Change[tree.ID]{ID: id, Leaf: value})
		ids = append(ids, id)
	}
	whole, _, err := tree.NewMain().Update(changes, nil)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(ids, func(a, b tree.ID) int { return bytes.Compare(a[:], b[:]) })
	own := &shape{}
	for _, id := range ids {
		if err := own.add(id, made[id]); err != nil {
			t.Fatal(err)
		}
	}
	return whole, own, ids
}

// The tree that the audit builds from sorted ids has the hash that the server signs.
func TestOwnTreeAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole, own, ids := drawTree(t)
		sum, err := own.finish()
		if err != nil {
			t.Fatal(err)
		}
		if sum != whole.Root() {
			t.Fatalf("%d ids give %s, the server's tree has %s", len(ids), sum, whole.Root())
		}
	})
}

// Paths of the server's tree verify and prove the right value or none; a path with one
// flipped bit, a step left out or another id's is never taken for one of another value.
func TestPathsVerify(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole, _, ids := drawTree(t)
		id := tree.ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "stranger"))
		if len(ids) > 0 && rapid.Bool().Draw(t, "known") {
			id = rapid.SampledFrom(ids).Draw(t, "id")
		}
		steps, leaf := whole.Path(id)
		got, err := verifyPath(whole.Root(), id.String(), steps)
		if err != nil || !bytes.Equal(got, leaf) {
			t.Fatalf("%q, %v; the tree says %q", got, err, leaf)
		}
		bent := slices.Clone(steps)
		at := rapid.IntRange(0, len(bent)-1).Draw(t, "step")
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			bent[at].Node = bytes.Clone(bent[at].Node)
			bent[at].Node[rapid.IntRange(0, len(bent[at].Node)-1).Draw(t, "byte")] ^= 1
		case 1:
			bent = slices.Delete(bent, at, at+1)
		case 2:
			bent[at].Prefix = bent[at].Prefix + "f"
		}
		if got, err := verifyPath(whole.Root(), id.String(), bent); err == nil && !bytes.Equal(got, leaf) {
			t.Fatalf("a bent path proves %q, the tree says %q", got, leaf)
		}
	})
}

// Bytes that are no tree record are refused or read as one without a panic, and what
// is read stays within the bounds of a node.
func FuzzReadNode(f *testing.F) {
	f.Add([]byte{1, 0x03, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	f.Add(append([]byte{0, 0x1f}, make([]byte, 64)...))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, v []byte) {
		kids, _, err := readNode(v)
		if err != nil {
			return
		}
		there := 0
		for _, k := range kids {
			if k.there {
				there++
			}
			if len(k.ids) > leafIDsMax || k.there && !k.deep && len(k.ids) == 0 {
				t.Errorf("a child of %d ids", len(k.ids))
			}
		}
		if there == 0 {
			t.Error("a record without children")
		}
	})
}
