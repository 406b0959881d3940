package keys

import (
	"encoding/binary"

	"github.com/keystead/keystead/compat/kbsig"
)

// Prefix bytes of the Merkle rooms.
const (
	prefixRoot     = 'r'
	prefixRootHash = 'h'
	prefixChanges  = 'o'
	prefixLeaf     = 'l'
	prefixNode     = 'e'
)

// Tree tells the Merkle trees apart.
type Tree byte

// The trees. Their ids have a fixed length each, so that keys of one tree never
// run into those of another.
const (
	TreeMain  Tree = 'm' // users and teams, 16-byte ids
	TreeNames Tree = 'u' // the legacy tree from name hashes to uids, 32-byte ids
)

// Root is the key of a signed root.
func Root(n kbsig.Seqno) []byte { return cat(prefixRoot, be64(uint64(n))) }

// Roots is the prefix of all signed roots, oldest first.
func Roots() []byte { return []byte{prefixRoot} }

// RootSeqno reads the number out of a Root key.
func RootSeqno(k []byte) (n kbsig.Seqno, ok bool) {
	if len(k) != 9 || k[0] != prefixRoot {
		return 0, false
	}
	return kbsig.Seqno(binary.BigEndian.Uint64(k[1:])), true
}

// RootHash is the key of a root's number, looked up by its hash.
func RootHash(h kbsig.HashMeta) []byte { return cat(prefixRootHash, h[:]) }

// RootHashOf reads the hash out of a RootHash key.
func RootHashOf(k []byte) (h kbsig.HashMeta, ok bool) {
	if len(k) != 1+len(h) || k[0] != prefixRootHash {
		return h, false
	}
	copy(h[:], k[1:])
	return h, true
}

// Leaf is the key of a leaf's value as of version n; of one id, newer versions come
// first. The first key at or after Leaf(t, id, n) within LeafVersions(t, id) is the
// value that was current at n.
func Leaf(t Tree, id []byte, n kbsig.Seqno) []byte {
	return AppendLeaf(make([]byte, 0, 2+len(id)+8), t, id, n)
}

// AppendLeaf appends a Leaf key to dst.
func AppendLeaf(dst []byte, t Tree, id []byte, n kbsig.Seqno) []byte {
	dst = append(dst, prefixLeaf, byte(t))
	dst = append(dst, id...)
	return binary.BigEndian.AppendUint64(dst, ^uint64(n))
}

// LeafVersions is the prefix of all values that a leaf ever had, newest first.
func LeafVersions(t Tree, id []byte) []byte { return cat(prefixLeaf, []byte{byte(t)}, id) }

// Leaves is the prefix of all leaf values of a tree, in id order.
func Leaves(t Tree) []byte { return []byte{prefixLeaf, byte(t)} }

// LeafOf reads tree, id and version out of a Leaf key. The id is a part of k.
func LeafOf(k []byte) (t Tree, id []byte, n kbsig.Seqno, ok bool) {
	if len(k) < 10 || k[0] != prefixLeaf {
		return 0, nil, 0, false
	}
	cut := len(k) - 8
	return Tree(k[1]), k[2:cut], kbsig.Seqno(^binary.BigEndian.Uint64(k[cut:])), true
}

// Node is the key of what changed at version n among the children of the interior
// node whose prefix is the first depth hex digits of id; newer versions come first.
func Node(t Tree, depth int, id []byte, n kbsig.Seqno) []byte {
	return AppendNode(make([]byte, 0, len(id)+NodeOverhead), t, depth, id, n)
}

// NodeOverhead is how many bytes longer than an id a Node or Leaf key is at most.
const NodeOverhead = 3 + 8

// AppendNode appends a Node key to dst.
func AppendNode(dst []byte, t Tree, depth int, id []byte, n kbsig.Seqno) []byte {
	return binary.BigEndian.AppendUint64(appendNodeVersions(dst, t, depth, id), ^uint64(n))
}

// NodeVersions is the prefix of all records of an interior node, newest first.
func NodeVersions(t Tree, depth int, id []byte) []byte {
	return appendNodeVersions(make([]byte, 0, len(id)+NodeOverhead), t, depth, id)
}

func appendNodeVersions(dst []byte, t Tree, depth int, id []byte) []byte {
	dst = append(dst, prefixNode, byte(t), byte(depth))
	dst = append(dst, id[:depth/2]...)
	if depth%2 == 1 {
		dst = append(dst, id[depth/2]&0xf0)
	}
	return dst
}

// Nodes is the prefix of all interior node records of a tree, top first.
func Nodes(t Tree) []byte { return []byte{prefixNode, byte(t)} }

// NodeOf reads tree, depth, prefix and version out of a Node key. The prefix is a
// part of k: depth hex digits, the last byte filled up with zero bits.
func NodeOf(k []byte) (t Tree, depth int, prefix []byte, n kbsig.Seqno, ok bool) {
	if len(k) < 11 || k[0] != prefixNode || len(k) != 11+(int(k[2])+1)/2 {
		return 0, 0, nil, 0, false
	}
	cut := len(k) - 8
	if k[2]%2 == 1 && k[cut-1]&0x0f != 0 {
		return 0, 0, nil, 0, false
	}
	return Tree(k[1]), int(k[2]), k[3:cut], kbsig.Seqno(^binary.BigEndian.Uint64(k[cut:])), true
}

// Changes is the key of the list of chains that grew in a root.
func Changes(n kbsig.Seqno) []byte { return cat(prefixChanges, be64(uint64(n))) }

// AllChanges is the prefix of these lists, oldest first.
func AllChanges() []byte { return []byte{prefixChanges} }

// ChangesSeqno reads the root out of a Changes key.
func ChangesSeqno(k []byte) (n kbsig.Seqno, ok bool) {
	if len(k) != 9 || k[0] != prefixChanges {
		return 0, false
	}
	return kbsig.Seqno(binary.BigEndian.Uint64(k[1:])), true
}
