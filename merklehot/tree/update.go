package tree

import (
	"bytes"
	"fmt"
	"math/bits"
	"runtime"
	"sync"
)

const (
	// parallelChangesMin is from how many changes on an update uses more than one
	// processor; below it starting them costs more than it saves.
	parallelChangesMin = 48
	// workersMax bounds the processors of one update: one per digit of the top.
	workersMax = 16
	// flushNodes is how many nodes wait before they are hashed. Few enough that
	// their JSON is still in the processor's cache, many enough to fill the lanes
	// of a multi-lane hash at every level.
	flushNodes = 192
)

// Change sets the value of one leaf, exact JSON of at most LeafBytesMax bytes. It
// must not be modified before the Delta has been written.
type Change[K IDs] struct {
	ID   K
	Leaf []byte
}

// Check judges whether after may replace before, the value of id so far.
type Check[K IDs] func(id K, before, after []byte) error

// Update returns the tree in which changes hold, and what that changed. Of several
// changes to one id the last one counts. If nothing changes it returns t and a nil
// Delta.
//
// check, if not nil, is asked about every value that replaces another one, also
// within changes; its error ends the update. It is called from several goroutines.
func (t *Tree[K, H]) Update(changes []Change[K], check Check[K]) (*Tree[K, H], *Delta[K, H], error) {
	for _, c := range changes {
		if err := checkLeaf(c.Leaf); err != nil {
			return nil, nil, fmt.Errorf("leaf %x: %w", c.ID, err)
		}
	}
	sorted, err := sortChanges(changes, check)
	if err != nil {
		return nil, nil, err
	}
	u := &update[K, H]{old: t.top, groups: split(sorted, 0)}
	if err := u.run(t.kind, check); err != nil {
		return nil, nil, err
	}
	main := &u.workers[0]
	top, mask := main.assemble(t.top, 0, sorted, &u.kids)
	if top == t.top {
		return t, nil, nil
	}
	main.touch(top, 0, sorted[0].ID, mask)
	main.flush(1)
	d := &Delta[K, H]{kind: t.kind}
	next := &Tree[K, H]{kind: t.kind, top: top, root: t.kind.one(top.json), count: t.count}
	for i := range u.workers {
		w := &u.workers[i]
		next.count += w.added
		d.bytes += w.bytes
		d.leaves = append(d.leaves, w.leaves...)
		d.nodes = append(d.nodes, w.touched...)
	}
	return next, d, nil
}

// update is one Update on its way: the top node's digits are shared out to workers.
type update[K IDs, H Sums] struct {
	old     *interior
	groups  [16][]Change[K]
	kids    kids
	workers []worker[K, H]
}

// run applies all groups below the top node, in parallel if that pays.
func (u *update[K, H]) run(k kind[H], check Check[K]) error {
	total := 0
	for _, g := range u.groups {
		total += len(g)
	}
	n := 1
	if total >= parallelChangesMin {
		n = min(runtime.GOMAXPROCS(0), workersMax)
	}
	u.workers = make([]worker[K, H], n)
	shares := share(&u.groups, total, n)
	var wg sync.WaitGroup
	for i := range u.workers {
		w := &u.workers[i]
		w.kind, w.check = k, check
		if i == 0 {
			continue
		}
		wg.Go(func() { u.work(w, shares[i], shares[i+1]) })
	}
	u.work(&u.workers[0], shares[0], shares[1])
	wg.Wait()
	for i := range u.workers {
		if err := u.workers[i].err; err != nil {
			return err
		}
	}
	return nil
}

// work applies the groups of digits from lo to hi. Workers write different elements
// of kids.
func (u *update[K, H]) work(w *worker[K, H], lo, hi int) {
	for d := lo; d < hi; d++ {
		if len(u.groups[d]) > 0 {
			in, leaf := u.old.child(byte(d))
			u.kids[d] = w.apply(in, leaf, 1, u.groups[d])
		}
	}
	// The hashes of depth 1 belong into the top node, which does not exist yet.
	w.flush(2)
}

// share cuts the 16 groups into n runs of about equal size; run i is the digits
// from cuts[i] to cuts[i+1].
func share[K IDs](groups *[16][]Change[K], total, n int) (cuts [workersMax + 1]int) {
	d, done := 0, 0
	for i := range n {
		cuts[i] = d
		for d < 16 && (done+len(groups[d])/2)*n < total*(i+1) {
			done += len(groups[d])
			d++
		}
	}
	cuts[n] = 16
	return cuts
}

// split cuts sorted changes into runs by their digit at depth.
func split[K IDs](changes []Change[K], depth int) (groups [16][]Change[K]) {
	for lo := 0; lo < len(changes); {
		d := nibble(&changes[lo].ID, depth)
		hi := lo + 1
		for hi < len(changes) && nibble(&changes[hi].ID, depth) == d {
			hi++
		}
		groups[d] = changes[lo:hi]
		lo = hi
	}
	return groups
}

// kid is what became of one child of a node.
type kid struct {
	touched bool // in or leaf is the new child
	newIDs  bool // the child is a leaf node with ids that it had not before
	in      *interior
	leaf    leafNode
}

type kids [16]kid

// worker applies changes to subtrees and hashes what it makes, level by level.
type worker[K IDs, H Sums] struct {
	kind    kind[H]
	check   Check[K]
	err     error // of check
	levels  []level
	waiting int // nodes in levels
	sums    []H
	merged  []Change[K]

	added   int // ids
	bytes   int // of new nodes
	leaves  []Change[K]
	touched []touched[K]
}

// level holds nodes of one depth that wait to be hashed, with the place in their
// parent where the hash belongs.
type level struct{ msgs, slots [][]byte }

// apply brings changes, all of which belong under one child at depth, into that
// child: an interior node, a leaf node, or nothing yet.
func (w *worker[K, H]) apply(in *interior, leaf leafNode, depth int, changes []Change[K]) kid {
	if in != nil {
		next := w.interior(in, depth, changes)
		return kid{touched: next != in, in: next}
	}
	old := 0
	merged := changes
	if leaf != nil {
		old = leaf.count()
		var same bool
		if merged, same = w.merge(leaf, changes); same {
			return kid{leaf: leaf}
		}
	} else {
		w.leaves = append(w.leaves, changes...)
	}
	w.added += len(merged) - old
	if len(merged) > leafIDsMax {
		// Nothing below merges, so that merged stays valid.
		return kid{touched: true, in: w.interior(nil, depth, merged)}
	}
	l := renderLeaf(merged)
	w.bytes += cap(l)
	return kid{touched: true, newIDs: len(merged) > old, leaf: l}
}

// merge brings changes into a leaf node's entries. The result is valid until the
// next call. same says that nothing is different.
func (w *worker[K, H]) merge(leaf leafNode, changes []Change[K]) (merged []Change[K], same bool) {
	var entries [leafIDsMax]Change[K]
	old := appendEntries(entries[:0], leaf)
	merged, same = w.merged[:0], true
	for _, c := range changes {
		for len(old) > 0 && compareIDs(&old[0].ID, &c.ID) < 0 {
			merged = append(merged, old[0])
			old = old[1:]
		}
		merged = append(merged, c)
		if len(old) > 0 && old[0].ID == c.ID {
			before := old[0].Leaf
			old = old[1:]
			if bytes.Equal(before, c.Leaf) {
				continue
			}
			if w.check != nil && w.err == nil {
				w.err = w.check(c.ID, before, c.Leaf)
			}
		}
		same = false
		w.leaves = append(w.leaves, c)
	}
	merged = append(merged, old...)
	w.merged = merged
	return merged, same
}

// interior applies changes to the interior node old at depth, which may be new
// (nil). It returns old itself if nothing is different.
func (w *worker[K, H]) interior(old *interior, depth int, changes []Change[K]) *interior {
	var ks kids
	fresh := old == nil
	if fresh {
		old = new(interior)
	}
	for lo := 0; lo < len(changes); {
		d := nibble(&changes[lo].ID, depth)
		hi := lo + 1
		for hi < len(changes) && nibble(&changes[hi].ID, depth) == d {
			hi++
		}
		in, leaf := old.child(d)
		if fresh {
			// These ids have been counted and noted by the caller.
			ks[d] = w.plant(depth+1, changes[lo:hi])
		} else {
			ks[d] = w.apply(in, leaf, depth+1, changes[lo:hi])
		}
		// Everything below the child just made has its parent by now.
		if w.waiting >= flushNodes && depth <= 2 {
			w.flush(depth + 2)
		}
		lo = hi
	}
	n, mask := w.assemble(old, depth, changes, &ks)
	if n != old {
		w.touch(n, depth, changes[0].ID, mask)
	}
	return n
}

// plant makes the child at depth out of entries alone.
func (w *worker[K, H]) plant(depth int, entries []Change[K]) kid {
	if len(entries) > leafIDsMax {
		return kid{touched: true, in: w.interior(nil, depth, entries)}
	}
	l := renderLeaf(entries)
	w.bytes += cap(l)
	return kid{touched: true, newIDs: true, leaf: l}
}

// assemble makes the node at depth that has ks where they were touched and old's
// children elsewhere, and queues the touched ones for hashing. It returns old
// itself if none was touched. changes are all under the node.
func (w *worker[K, H]) assemble(old *interior, depth int, changes []Change[K], ks *kids) (*interior, changedKids) {
	var mask changedKids
	newBits, newDeep := old.bits, old.deep
	for d := range ks {
		if !ks[d].touched {
			continue
		}
		bit := uint16(1) << d
		newBits |= bit
		if ks[d].in != nil {
			newDeep |= bit
			mask.deep |= bit
		} else if ks[d].newIDs {
			mask.ids |= bit
		}
		mask.any |= bit
	}
	if mask.any == 0 {
		return old, mask
	}
	n := &interior{bits: newBits, deep: newDeep, stale: old.stale}
	n.nodes = make([]*interior, 0, bits.OnesCount16(newDeep))
	n.leaves = make([]leafNode, 0, bits.OnesCount16(newBits&^newDeep))
	for rest := newBits; rest != 0; rest &= rest - 1 {
		d := byte(bits.TrailingZeros16(rest))
		in, leaf := ks[d].in, ks[d].leaf
		if !ks[d].touched {
			in, leaf = old.child(d)
		}
		if in != nil {
			n.nodes = append(n.nodes, in)
		} else {
			n.leaves = append(n.leaves, leaf)
		}
	}
	if newBits == old.bits {
		n.json = bytes.Clone(old.json)
	} else {
		n.json = w.reshape(old, n, depth, changes[0].ID)
	}
	w.bytes += cap(n.json) + 80 + 8*cap(n.nodes) + 24*cap(n.leaves)
	w.enqueue(n, depth, mask.any, ks)
	return n, mask
}

// reshape renders the JSON of a node that has children which old had not. The
// hashes of touched children are filled in later.
func (w *worker[K, H]) reshape(old, n *interior, depth int, id K) []byte {
	c := children[H]{bits: n.bits}
	for rest := old.bits; rest != 0; rest &= rest - 1 {
		d := byte(bits.TrailingZeros16(rest))
		c.sums[d] = childSum[H](old, depth, d)
	}
	return renderInterior(depth, id, &c)
}

// enqueue puts n's touched children into line for hashing.
func (w *worker[K, H]) enqueue(n *interior, depth int, mask uint16, ks *kids) {
	for len(w.levels) <= depth+1 {
		w.levels = append(w.levels, level{})
	}
	lv := &w.levels[depth+1]
	for rest := mask; rest != 0; rest &= rest - 1 {
		d := byte(bits.TrailingZeros16(rest))
		msg := ks[d].leaf
		if ks[d].in != nil {
			msg = ks[d].in.json
		} else {
			msg = msg.json()
		}
		lv.msgs = append(lv.msgs, msg)
		lv.slots = append(lv.slots, sumSlot[H](n.json, depth, rank(n.bits, d)))
		w.waiting++
	}
}

// flush hashes all waiting nodes at depth top and below, deepest first.
func (w *worker[K, H]) flush(top int) {
	for depth := len(w.levels) - 1; depth >= top; depth-- {
		lv := &w.levels[depth]
		n := len(lv.msgs)
		if n == 0 {
			continue
		}
		if cap(w.sums) < n {
			w.sums = make([]H, max(n, 2*flushNodes))
		}
		sums := w.sums[:n]
		w.kind.sum(sums, lv.msgs)
		for i := range sums {
			putHexSum(lv.slots[i], &sums[i])
		}
		w.waiting -= n
		lv.msgs, lv.slots = lv.msgs[:0], lv.slots[:0]
	}
}
