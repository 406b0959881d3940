package tree

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/hash"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// PathAt is Path in an older version, which had the given root hash. It starts from
// t, any later version in memory, only to save work: wherever the older version has
// a node that t still has, the rest of the path comes from t.
//
// It reads per level at most nodeDeltasMax+1 records of the node, and per leaf node
// that changed since at most leafIDsMax values.
func (t *Tree[K, H]) PathAt(r store.Reader, version kbsig.Seqno, root H, id K) (steps []Step, leaf []byte, err error) {
	digits := string(appendHex(nil, id))
	h := history[K, H]{kind: t.kind, r: r, version: version}
	want, now := root, t.top
	nowSum := t.root
	for depth := 0; depth < len(digits); depth++ {
		if now != nil && nowSum == want {
			steps, leaf = walkFrom(now, depth, id, digits, steps)
			return steps, leaf, nil
		}
		n, err := h.node(depth, id, digits, want)
		if err != nil {
			return nil, nil, fmt.Errorf("path of %s at version %d, depth %d: %w", digits, version, depth, err)
		}
		steps = append(steps, Step{digits[:depth+1], n.json})
		d := nibble(&id, depth)
		switch bit := uint16(1) << d; {
		case n.bits&bit == 0:
			return steps, nil, nil
		case n.deep&bit == 0:
			l := n.leaves[d]
			return append(steps, Step{"", l.json()}), leafValue(l, id), nil
		}
		want = n.sums[d]
		if now != nil {
			next, _ := now.child(d)
			if next != nil {
				nowSum = *now.sum(d)
			}
			now = next
		}
	}
	return nil, nil, fmt.Errorf("path of %s at version %d has no end: %w", digits, version, ErrCorrupt)
}

// history reads the records of one tree as of one version.
type history[K IDs, H Sums] struct {
	kind    kind[H]
	r       store.Reader
	version kbsig.Seqno
}

// pastNode is an interior node of an older version.
type pastNode[H Sums] struct {
	json       []byte
	bits, deep uint16
	sums       [16]H        // by digit
	leaves     [16]leafNode // of digits that are in bits but not in deep
}

// node rebuilds the interior node at depth above id and checks that its hash is want.
func (h *history[K, H]) node(depth int, id K, digits string, want H) (*pastNode[H], error) {
	n := new(pastNode[H])
	leafIDs, err := h.readNode(depth, id, n)
	if err != nil {
		return nil, err
	}
	for d, ids := range leafIDs {
		if len(ids) == 0 {
			continue
		}
		var entries [leafIDsMax]Change[K]
		for i, id := range ids {
			value, err := h.leaf(id)
			if err != nil {
				return nil, err
			}
			entries[i] = Change[K]{id, value}
		}
		n.leaves[d] = renderLeaf(entries[:len(ids)])
	}
	msgs := make([][]byte, 0, 16)
	for _, l := range n.leaves {
		if l != nil {
			msgs = append(msgs, l.json())
		}
	}
	sums := make([]H, len(msgs))
	h.kind.sum(sums, msgs)
	for d, l := range n.leaves {
		if l != nil {
			n.sums[d], sums = sums[0], sums[1:]
		}
	}
	all := make([]H, 0, 16)
	for rest := n.bits; rest != 0; rest &= rest - 1 {
		all = append(all, n.sums[bits.TrailingZeros16(rest)])
	}
	n.json = appendTable(nil, n.bits, all, digits[:depth], `"`)
	if h.kind.one(n.json) != want {
		return nil, fmt.Errorf("node hash: %w", ErrCorrupt)
	}
	return n, nil
}

// readNode merges a node's records, newest first, until one that is full. It fills
// in which children there are and the hashes of interior ones; the ids of leaf
// nodes it returns.
func (h *history[K, H]) readNode(depth int, id K, n *pastNode[H]) (leafIDs [16][]K, err error) {
	raw := hash.Bytes(&id)
	lo := keys.Node(h.kind.tree, depth, raw, h.version)
	hi := keys.End(keys.NodeVersions(h.kind.tree, depth, raw))
	err = h.r.Scan(lo, hi, func(_, v []byte) error {
		full, err := decodeNode(v, n, &leafIDs)
		if err == nil && full {
			err = store.ErrStop
		}
		return err
	})
	return leafIDs, err
}

// decodeNode reads one record. Children that are known already, from newer records,
// stay as they are.
func decodeNode[K IDs, H Sums](v []byte, n *pastNode[H], leafIDs *[16][]K) (full bool, err error) {
	if len(v) == 0 || v[0] > recordFull {
		return false, fmt.Errorf("node record: %w", ErrCorrupt)
	}
	full = v[0] == recordFull
	known := n.bits
	for v = v[1:]; len(v) > 0; {
		d, deep := v[0]&15, v[0]&^15 == childDeep
		bit := uint16(1) << d
		v = v[1:]
		if deep {
			var sum H
			if len(v) < len(sum) {
				return false, fmt.Errorf("node record cut short: %w", ErrCorrupt)
			}
			v = v[copy(hash.Bytes(&sum), v):]
			if known&bit == 0 {
				n.bits |= bit
				n.deep |= bit
				n.sums[d] = sum
			}
			continue
		}
		var id K
		if len(v) == 0 || v[0] == 0 || int(v[0]) > leafIDsMax || len(v) < 1+int(v[0])*len(id) {
			return false, fmt.Errorf("node record cut short: %w", ErrCorrupt)
		}
		ids := make([]K, v[0])
		v = v[1:]
		for i := range ids {
			v = v[copy(hash.Bytes(&ids[i]), v):]
		}
		if known&bit == 0 {
			n.bits |= bit
			leafIDs[d] = ids
		}
	}
	return full, nil
}

// leaf reads a value that must exist.
func (h *history[K, H]) leaf(id K) ([]byte, error) {
	value, _, err := leafAt(h.r, h.kind.tree, hash.Bytes(&id), h.version)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("no value of leaf %x: %w", id, ErrCorrupt)
	}
	return value, err
}

// leafAt reads a leaf's value as of version at, and since when it was that; the
// error is store.ErrNotFound if the tree had no such id then.
func leafAt(r store.Reader, tree keys.Tree, id []byte, at kbsig.Seqno) (value []byte, since kbsig.Seqno, err error) {
	found := false
	lo, hi := keys.Leaf(tree, id, at), keys.End(keys.LeafVersions(tree, id))
	err = r.Scan(lo, hi, func(k, v []byte) error {
		_, _, since, found = keys.LeafOf(k)
		value = append([]byte{}, v...)
		return store.ErrStop
	})
	if err == nil && !found {
		err = store.ErrNotFound
	}
	return value, since, err
}

// LeafAt reads a leaf's value as of an older version from the store, and the version
// that set it. The error is store.ErrNotFound if the tree had no such id then.
func (t *Tree[K, H]) LeafAt(r store.Reader, version kbsig.Seqno, id K) (value []byte, since kbsig.Seqno, err error) {
	return leafAt(r, t.kind.tree, hash.Bytes(&id), version)
}
