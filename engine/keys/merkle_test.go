package keys

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
)

func drawBytes(t *rapid.T, n int, name string) []byte {
	return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, name)
}

// Keys of the Merkle rooms decode to the parts they were built from.
func TestMerkleKeysRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := kbsig.Seqno(rapid.Int64Min(0).Draw(t, "seqno"))
		if got, ok := RootSeqno(Root(n)); !ok || got != n {
			t.Fatalf("root key of %d read as %d", n, got)
		}
		h := kbsig.HashMeta(drawBytes(t, 32, "hash"))
		if got, ok := RootHashOf(RootHash(h)); !ok || got != h {
			t.Fatal("root hash key did not round trip")
		}
		tree, size := TreeMain, 16
		if rapid.Bool().Draw(t, "names") {
			tree, size = TreeNames, 32
		}
		id := drawBytes(t, size, "id")
		gotTree, gotID, gotN, ok := LeafOf(Leaf(tree, id, n))
		if !ok || gotTree != tree || !bytes.Equal(gotID, id) || gotN != n {
			t.Fatal("leaf key did not round trip")
		}
		if !bytes.HasPrefix(Leaf(tree, id, n), LeafVersions(tree, id)) || !bytes.HasPrefix(LeafVersions(tree, id), Leaves(tree)) {
			t.Fatal("leaf key outside its ranges")
		}
		depth := rapid.IntRange(0, 2*size-1).Draw(t, "depth")
		gotTree, gotDepth, prefix, gotN, ok := NodeOf(Node(tree, depth, id, n))
		if !ok || gotTree != tree || gotDepth != depth || gotN != n {
			t.Fatal("node key did not round trip")
		}
		for i := range depth {
			if nibble(prefix, i) != nibble(id, i) {
				t.Fatalf("node key of %x at depth %d has prefix %x", id, depth, prefix)
			}
		}
		if !bytes.HasPrefix(Node(tree, depth, id, n), NodeVersions(tree, depth, id)) || !bytes.HasPrefix(NodeVersions(tree, depth, id), Nodes(tree)) {
			t.Fatal("node key outside its ranges")
		}
	})
}

func nibble(b []byte, i int) byte { return b[i/2] >> (4 * (1 - i%2)) & 15 }

// Roots sort by number; values of a leaf and records of a node sort newest first,
// and never between those of another id or prefix.
func TestMerkleKeysOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := kbsig.Seqno(rapid.Int64Range(0, 1<<40).Draw(t, "a"))
		b := a + kbsig.Seqno(rapid.Int64Range(1, 1<<40).Draw(t, "more"))
		if bytes.Compare(Root(a), Root(b)) >= 0 {
			t.Fatal("roots out of order")
		}
		x, y := drawBytes(t, 16, "x"), drawBytes(t, 16, "y")
		if bytes.Compare(Leaf(TreeMain, x, a), Leaf(TreeMain, x, b)) <= 0 {
			t.Fatal("a newer leaf value comes after an older one")
		}
		if c := bytes.Compare(x, y); c != 0 && bytes.Compare(Leaf(TreeMain, x, a), Leaf(TreeMain, y, b)) != c {
			t.Fatal("leaf values of two ids are mixed")
		}
		depth := rapid.IntRange(0, 31).Draw(t, "depth")
		if bytes.Compare(Node(TreeMain, depth, x, a), Node(TreeMain, depth, x, b)) <= 0 {
			t.Fatal("a newer node record comes after an older one")
		}
		px, py := NodeVersions(TreeMain, depth, x), NodeVersions(TreeMain, depth, y)
		if c := bytes.Compare(px, py); c != 0 && bytes.Compare(Node(TreeMain, depth, x, a), Node(TreeMain, depth, y, b)) != c {
			t.Fatal("records of two nodes are mixed")
		}
	})
}

// Bytes that are no key of a family are refused, whatever they are.
func FuzzMerkleKeyDecoders(f *testing.F) {
	f.Add(Root(7))
	f.Add(RootHash(kbsig.HashMeta{1}))
	f.Add(Leaf(TreeMain, make([]byte, 16), 7))
	f.Add(Node(TreeMain, 5, make([]byte, 16), 7))
	f.Fuzz(func(t *testing.T, k []byte) {
		if n, ok := RootSeqno(k); ok && !bytes.Equal(Root(n), k) {
			t.Error("accepted another root key")
		}
		if h, ok := RootHashOf(k); ok && !bytes.Equal(RootHash(h), k) {
			t.Error("accepted another root hash key")
		}
		if tree, id, n, ok := LeafOf(k); ok && !bytes.Equal(Leaf(tree, id, n), k) {
			t.Error("accepted another leaf key")
		}
		if tree, depth, prefix, n, ok := NodeOf(k); ok && !bytes.Equal(Node(tree, depth, prefix, n), k) {
			t.Error("accepted another node key")
		}
	})
}
