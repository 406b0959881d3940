// Package tree is the Merkle tree that clients verify byte for byte: users and
// teams by id, and with the same code the legacy tree from name hashes to uids.
//
// What is hashed is JSON, exactly as it is served:
//
//	interior  {"tab":{"<prefix>":"<hash>",...},"type":1}
//	leaf      {"tab":{"<id>":<leaf value>,...},"type":2}
//
// Prefixes are hex digits of the full id from position 0, one more than the node is
// deep, and keys are sorted. The top node is always interior. Below it a prefix is
// an interior node if and only if more than leafIDsMax ids start with it. Ids are
// never removed, so the shape, and with it the root hash, follows from the set of
// ids and values alone, whatever the order in which they came.
//
// Contract:
//   - A Tree is immutable. Update returns a new one that shares every unchanged
//     node, so any number of readers keep any number of versions without locks.
//   - Interior nodes are kept as the hashes of their children and rendered when
//     they are hashed or served; leaf nodes are kept as the JSON they are. Hashing
//     goes level by level in batches (engine/hash) and, for large updates, on all
//     processors.
//   - Every version stays provable for ever: Update says what changed (Delta), the
//     caller writes that with the version, and PathAt rebuilds any path of any
//     version from those records. Nodes are hashed again while serving: a record
//     that does not give the signed hash is ErrCorrupt, never an answer.
//
// Memory: about 360 bytes per leaf at 1 M user leaves.
//
// The package writes keys.Leaf and keys.Node records and reads nothing else. It
// decides nothing about what a leaf may say; see merklehot/roots for that.
// client: go/libkb/merkle_client.go:VerifyPath
package tree

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/hash"
	"github.com/keystead/keystead/engine/keys"
)

// Limits of the tree.
const (
	// leafIDsMax is how many ids share a leaf node. It fixes the shape: changing
	// it changes every root hash.
	leafIDsMax = 4
	// LeafBytesMax bounds a leaf value, in bytes of JSON.
	LeafBytesMax = 4096
)

// Errors of the tree.
var (
	// ErrCorrupt says that stored records do not give the hash they must.
	ErrCorrupt = errors.New("the stored tree does not match its hash")
	// ErrBadLeaf says that a leaf value is empty, too long or malformed.
	ErrBadLeaf = errors.New("malformed leaf")
)

// IDs are what leaves are named by.
type IDs interface{ ~[16]byte | ~[32]byte }

// Sums are the hashes of nodes: SHA-256 or SHA-512.
type Sums interface {
	~[hash.Size256]byte | ~[hash.Size512]byte
}

// ID names a leaf of the main tree: a user or a team.
type ID [16]byte

// UserID is the leaf of a user.
func UserID(u kbsig.UID) ID { return ID(u) }

// String is the id in hex, as node tables have it.
func (id ID) String() string { return string(appendHex(nil, id)) }

// NameHash names a leaf of the legacy tree: SHA-256 of a lower-case user name.
type NameHash [32]byte

// NameHashOf is the leaf of a user name in the legacy tree.
func NameHashOf(n kbsig.Username) NameHash {
	return NameHash(hash.Sum256([]byte(strings.ToLower(string(n)))))
}

// ShortSum is a node hash of the legacy tree.
type ShortSum [hash.Size256]byte

// String is the hash in hex, as roots have it.
func (s ShortSum) String() string { return hex.EncodeToString(s[:]) }

// Main is the tree of users and teams; Names the legacy one.
type (
	Main      = Tree[ID, kbsig.NodeHash]
	MainDelta = Delta[ID, kbsig.NodeHash]
	Names     = Tree[NameHash, ShortSum]
)

// Tree is one version of a Merkle tree. Get the first from NewMain or NewNames.
type Tree[K IDs, H Sums] struct {
	kind  kind[H]
	pool  *sync.Pool // of *worker[K, H], shared by all versions
	top   *interior[H]
	root  H
	count int
}

type kind[H Sums] struct {
	tree keys.Tree
	sum  func(dst []H, msgs [][]byte)
}

// NewMain is the empty main tree.
func NewMain() *Main {
	return empty[ID](kind[kbsig.NodeHash]{keys.TreeMain, hash.Sum512Many[kbsig.NodeHash]})
}

// NewNames is the empty legacy tree.
func NewNames() *Names {
	return empty[NameHash](kind[ShortSum]{keys.TreeNames, hash.Sum256Many[ShortSum]})
}

func empty[K IDs, H Sums](k kind[H]) *Tree[K, H] {
	return &Tree[K, H]{kind: k, pool: new(sync.Pool), top: &interior[H]{}, root: k.one([]byte(emptyTable))}
}

func (k kind[H]) one(msg []byte) H {
	var dst [1]H
	k.sum(dst[:], [][]byte{msg})
	return dst[0]
}

// Root is the hash of the top node.
func (t *Tree[K, H]) Root() H { return t.root }

// Len is the number of leaves.
func (t *Tree[K, H]) Len() int { return t.count }

// Leaf is the value of id, or nil. It must not be modified.
func (t *Tree[K, H]) Leaf(id K) []byte {
	n := t.top
	for depth := 0; ; depth++ {
		next, l := n.child(nibble(&id, depth))
		if l != nil {
			return leafValue(l, id)
		}
		if next == nil {
			return nil
		}
		n = next
	}
}

// Step is one node of a path, from the top down.
type Step struct {
	// Prefix is the key to follow in an interior node's table; empty for a leaf
	// node, where the id itself is the key.
	Prefix string
	// Node is the JSON that is hashed. It must not be modified.
	Node []byte
}

// Path proves the value of id, or, when leaf is nil, that the tree has no such id:
// the path then ends in an interior node without a child for the id or in a leaf
// node of other ids. Clients take both as proof of absence. AppendPath is quicker.
// client: go/libkb/merkle_client.go:verifyUser
func (t *Tree[K, H]) Path(id K) (steps []Step, leaf []byte) {
	return walkFrom(t.top, 0, id, string(appendHex(nil, id)), make([]Step, 0, 8))
}

// walkFrom follows id, whose hex is digits, from the node n at depth.
func walkFrom[K IDs, H Sums](n *interior[H], depth int, id K, digits string, steps []Step) ([]Step, []byte) {
	for ; ; depth++ {
		steps = append(steps, Step{digits[:depth+1], n.json(nil, depth, digits)})
		next, l := n.child(nibble(&id, depth))
		if l != nil {
			return append(steps, Step{"", l.json()}), leafValue(l, id)
		}
		if next == nil {
			return steps, nil
		}
		n = next
	}
}

// checkLeaf bounds a value that is about to enter the tree. A backslash would need
// another escape than the one that AppendPath knows.
func checkLeaf(leaf []byte) error {
	if len(leaf) == 0 || len(leaf) > LeafBytesMax {
		return fmt.Errorf("leaf of %d bytes, not 1 to %d: %w", len(leaf), LeafBytesMax, ErrBadLeaf)
	}
	if bytes.IndexByte(leaf, '\\') >= 0 {
		return fmt.Errorf("leaf with a backslash: %w", ErrBadLeaf)
	}
	return nil
}
