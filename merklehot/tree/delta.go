package tree

import (
	"math/bits"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/hash"
	"github.com/keystead/keystead/engine/keys"
)

// nodeDeltasMax is how many records of a node may follow a full one before the next
// full one: a reader of an old version looks at no more than this many and one.
const nodeDeltasMax = 15

// Record of an interior node, under keys.Node: one byte that says whether it is full
// (all children) or holds only what changed, then per child one byte with what it is
// in the high half and its hex digit in the low half, and
//
//	interior  its hash
//	leaf      one byte with the number of its ids, and the ids
//
// Leaf nodes carry no hash: it follows from their ids and the leaf values, and is
// checked with the node above. So a changed value of a known id costs its own record
// and one hash in each interior node above the lowest.
const (
	recordDelta = 0
	recordFull  = 1

	childLeaf = 0x00
	childDeep = 0x10
)

// changedKids says which children of a node changed, as sets of hex digits.
type changedKids struct {
	any  uint16
	deep uint16 // interior nodes
	ids  uint16 // leaf nodes whose set of ids changed
}

// touched is an interior node that an update made anew.
type touched[K IDs, H Sums] struct {
	node    *interior[H]
	id      K // its first depth digits are the node's prefix
	depth   int
	changed changedKids
	full    bool
}

// touch notes that n is new and decides what kind of record it needs.
func (w *worker[K, H]) touch(n *interior[H], depth int, id K, c changedKids) {
	if c.deep|c.ids == 0 {
		return // only values changed: their own records say it all
	}
	full := n.stale >= nodeDeltasMax || c.deep == n.deep && c.ids == n.bits&^n.deep
	if full {
		n.stale = 0
	} else {
		n.stale++
	}
	w.part.nodes = append(w.part.nodes, touched[K, H]{n, id, depth, c, full})
}

// Delta is what an Update changed: what must be stored with the new version so that
// it can be proven for ever.
type Delta[K IDs, H Sums] struct {
	kind  kind[H]
	parts []part[K, H]
	bytes int
}

// part is what one worker changed.
type part[K IDs, H Sums] struct {
	leaves []Change[K]
	nodes  []touched[K, H]
}

// Leaves calls fn for each value that is new, in id order. The value must not be
// modified.
func (d *Delta[K, H]) Leaves(fn func(Change[K])) {
	for _, p := range d.parts {
		for _, c := range p.leaves {
			fn(c)
		}
	}
}

// Records is how many records Write writes.
func (d *Delta[K, H]) Records() int {
	n := 0
	for _, p := range d.parts {
		n += len(p.leaves) + len(p.nodes)
	}
	return n
}

// Bytes is the memory of the nodes that were made: about what the older version
// costs while it is kept beside the newer one.
func (d *Delta[K, H]) Bytes() int { return d.bytes }

// Writer takes records; it may keep key and value.
type Writer interface {
	Set(key, value []byte)
}

// Write writes the records of the update under version, which must be higher than
// that of any update before. Keys and values share a few allocations.
func (d *Delta[K, H]) Write(w Writer, version kbsig.Seqno) {
	for _, p := range d.parts {
		p.write(w, d.kind.tree, version)
	}
}

func (p *part[K, H]) write(w Writer, tree keys.Tree, version kbsig.Seqno) {
	var id K
	buf := make([]byte, 0, (len(p.leaves)+len(p.nodes))*(len(id)+keys.NodeOverhead))
	cut := func() []byte {
		k := buf[:len(buf):len(buf)]
		buf = buf[len(buf):]
		return k
	}
	for i := range p.leaves {
		c := &p.leaves[i]
		buf = keys.AppendLeaf(buf, tree, hash.Bytes(&c.ID), version)
		w.Set(cut(), c.Leaf)
	}
	for i := range p.nodes {
		t := &p.nodes[i]
		buf = keys.AppendNode(buf, tree, t.depth, hash.Bytes(&t.id), version)
		w.Set(cut(), encodeNode(t))
	}
}

func encodeNode[K IDs, H Sums](t *touched[K, H]) []byte {
	n := t.node
	deep, ids, first := t.changed.deep, t.changed.ids, byte(recordDelta)
	if t.full {
		deep, ids, first = n.deep, n.bits&^n.deep, recordFull
	}
	var h H
	size := 1 + bits.OnesCount16(deep)*(1+len(h)) + bits.OnesCount16(ids)*(2+leafIDsMax*len(t.id))
	b := make([]byte, 1, size)
	b[0] = first
	for rest := deep | ids; rest != 0; rest &= rest - 1 {
		d := byte(bits.TrailingZeros16(rest))
		if deep&(1<<d) != 0 {
			b = append(b, childDeep|d)
			sum := n.sum(d)
			b = append(b, hash.Bytes(sum)...)
			continue
		}
		_, leaf := n.child(d)
		var entries [leafIDsMax]Change[K]
		b = append(b, childLeaf|d, byte(leaf.count()))
		for _, e := range appendEntries(entries[:0], leaf) {
			b = append(b, hash.Bytes(&e.ID)...)
		}
	}
	return b
}
