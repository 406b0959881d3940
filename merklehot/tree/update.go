package tree

import (
	"bytes"
	"fmt"
	"math/bits"
	"runtime"
	"slices"
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
	// batchNodes is how many nodes are rendered and hashed at once: 140 KiB of JSON.
	batchNodes = 64
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
	defer u.done(t.pool)
	if err := u.run(t, check); err != nil {
		return nil, nil, err
	}
	main := u.workers[0]
	top, mask := main.assemble(t.top, 0, sorted, &u.kids)
	if top == t.top {
		return t, nil, nil
	}
	main.touch(top, 0, sorted[0].ID, mask)
	main.flush(1)
	d := &Delta[K, H]{kind: t.kind}
	next := &Tree[K, H]{kind: t.kind, pool: t.pool, top: top, root: t.kind.one(top.json(nil, 0, "")), count: t.count}
	for _, w := range u.workers {
		next.count += w.added
		d.bytes += w.bytes
		d.parts = append(d.parts, w.part)
	}
	return next, d, nil
}

// update is one Update on its way: the top node's digits are shared out to workers.
type update[K IDs, H Sums] struct {
	old     *interior[H]
	groups  [16][]Change[K]
	kids    kids[H]
	workers []*worker[K, H]
}

// run applies all groups below the top node, in parallel if that pays.
func (u *update[K, H]) run(t *Tree[K, H], check Check[K]) error {
	total := 0
	for _, g := range u.groups {
		total += len(g)
	}
	n := 1
	if total >= parallelChangesMin {
		n = min(runtime.GOMAXPROCS(0), workersMax)
	}
	for range n {
		w, _ := t.pool.Get().(*worker[K, H])
		if w == nil {
			w = new(worker[K, H])
		}
		w.kind, w.check = t.kind, check
		w.part.leaves = make([]Change[K], 0, total/n+total/16)
		u.workers = append(u.workers, w)
	}
	shares := share(&u.groups, total, n)
	var wg sync.WaitGroup
	for i, w := range u.workers[1:] {
		wg.Go(func() { u.work(w, shares[i+1], shares[i+2]) })
	}
	u.work(u.workers[0], shares[0], shares[1])
	wg.Wait()
	for _, w := range u.workers {
		if w.err != nil {
			return w.err
		}
	}
	return nil
}

// done gives the workers' queues to later updates.
func (u *update[K, H]) done(pool *sync.Pool) {
	for _, w := range u.workers {
		w.reset()
		pool.Put(w)
	}
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
type kid[H Sums] struct {
	touched bool // in or leaf is the new child
	newIDs  bool // the child is a leaf node with ids that it had not before
	in      *interior[H]
	leaf    leafNode
}

type kids[H Sums] [16]kid[H]

// worker applies changes to subtrees and hashes what it makes, level by level.
type worker[K IDs, H Sums] struct {
	kind    kind[H]
	check   Check[K]
	err     error // of check
	levels  []level[K, H]
	waiting int // nodes in levels
	batch   batch[H]
	merged  []Change[K]

	added int // ids
	bytes int // of new nodes
	part  part[K, H]
}

// reset empties w but for the room that it has.
func (w *worker[K, H]) reset() {
	levels := w.levels
	for i := range levels {
		levels[i].drop()
	}
	w.batch.drop()
	clear(w.merged[:cap(w.merged)])
	*w = worker[K, H]{levels: levels, batch: w.batch, merged: w.merged[:0]}
}

// level holds nodes of one depth that wait to be hashed, with the place in their
// parent where the hash belongs.
type level[K IDs, H Sums] struct {
	leaves []leafSlot[H]
	nodes  []nodeSlot[K, H]
}

// drop empties the level; it keeps no pointers to nodes.
func (lv *level[K, H]) drop() {
	clear(lv.leaves)
	clear(lv.nodes)
	lv.leaves, lv.nodes = lv.leaves[:0], lv.nodes[:0]
}

type leafSlot[H Sums] struct {
	leaf leafNode
	to   *H
}

type nodeSlot[K IDs, H Sums] struct {
	node *interior[H]
	id   K // under the node
	to   *H
}

// apply brings changes, all of which belong under one child at depth, into that
// child: an interior node, a leaf node, or nothing yet.
func (w *worker[K, H]) apply(in *interior[H], leaf leafNode, depth int, changes []Change[K]) kid[H] {
	if in != nil {
		next := w.interior(in, depth, changes)
		return kid[H]{touched: next != in, in: next}
	}
	old := 0
	merged := changes
	if leaf != nil {
		old = leaf.count()
		var same bool
		if merged, same = w.merge(leaf, changes); same {
			return kid[H]{leaf: leaf}
		}
	} else {
		w.part.leaves = append(w.part.leaves, changes...)
	}
	w.added += len(merged) - old
	if len(merged) > leafIDsMax {
		// Nothing below merges, so that merged stays valid.
		return kid[H]{touched: true, in: w.interior(nil, depth, merged)}
	}
	l := renderLeaf(merged)
	w.bytes += cap(l)
	return kid[H]{touched: true, newIDs: len(merged) > old, leaf: l}
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
		w.part.leaves = append(w.part.leaves, c)
	}
	merged = append(merged, old...)
	w.merged = merged
	return merged, same
}

// interior applies changes to the interior node old at depth, which may be new
// (nil). It returns old itself if nothing is different.
func (w *worker[K, H]) interior(old *interior[H], depth int, changes []Change[K]) *interior[H] {
	var ks kids[H]
	fresh := old == nil
	if fresh {
		old = new(interior[H])
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
func (w *worker[K, H]) plant(depth int, entries []Change[K]) kid[H] {
	if len(entries) > leafIDsMax {
		return kid[H]{touched: true, in: w.interior(nil, depth, entries)}
	}
	l := renderLeaf(entries)
	w.bytes += cap(l)
	return kid[H]{touched: true, newIDs: true, leaf: l}
}

// assemble makes the node at depth that has ks where they were touched and old's
// children elsewhere, and queues the touched ones for hashing. It returns old
// itself if none was touched. changes are all under the node.
func (w *worker[K, H]) assemble(old *interior[H], depth int, changes []Change[K], ks *kids[H]) (*interior[H], changedKids) {
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
	n := &interior[H]{bits: newBits, deep: newDeep, stale: old.stale}
	n.sums = make([]H, bits.OnesCount16(newBits))
	n.nodes = make([]*interior[H], 0, bits.OnesCount16(newDeep))
	n.leaves = make([]leafNode, 0, bits.OnesCount16(newBits&^newDeep))
	lv := w.level(depth + 1)
	i := 0
	for rest := newBits; rest != 0; rest &= rest - 1 {
		d := byte(bits.TrailingZeros16(rest))
		in, leaf := ks[d].in, ks[d].leaf
		switch {
		case !ks[d].touched:
			in, leaf = old.child(d)
			n.sums[i] = *old.sum(d)
		case in != nil:
			lv.nodes = append(lv.nodes, nodeSlot[K, H]{in, idUnder(changes, depth, d), &n.sums[i]})
			w.waiting++
		default:
			lv.leaves = append(lv.leaves, leafSlot[H]{leaf, &n.sums[i]})
			w.waiting++
		}
		if in != nil {
			n.nodes = append(n.nodes, in)
		} else {
			n.leaves = append(n.leaves, leaf)
		}
		i++
	}
	var h H
	w.bytes += 80 + len(h)*cap(n.sums) + 8*cap(n.nodes) + 24*cap(n.leaves)
	return n, mask
}

// level is the queue of a depth; it is valid until the next call.
func (w *worker[K, H]) level(depth int) *level[K, H] {
	for len(w.levels) <= depth {
		w.levels = append(w.levels, level[K, H]{})
	}
	return &w.levels[depth]
}

// idUnder is an id among changes that has digit d at depth.
func idUnder[K IDs](changes []Change[K], depth int, d byte) (id K) {
	i, _ := slices.BinarySearchFunc(changes, d, func(c Change[K], d byte) int {
		return int(nibble(&c.ID, depth)) - int(d)
	})
	return changes[i].ID
}

// flush hashes all waiting nodes at depth top and below, deepest first.
func (w *worker[K, H]) flush(top int) {
	for depth := len(w.levels) - 1; depth >= top; depth-- {
		lv := &w.levels[depth]
		w.waiting -= len(lv.leaves) + len(lv.nodes)
		for _, s := range lv.leaves {
			w.batch.add(w.kind, s.leaf.json(), s.to)
		}
		var room [64]byte
		for i := range lv.nodes {
			s := &lv.nodes[i]
			prefix := appendHex(room[:0], s.id)[:depth]
			w.batch.render(w.kind, s.node, prefix, s.to)
		}
		w.batch.run(w.kind)
		lv.drop()
	}
}

// batch is a number of messages that are hashed together.
type batch[H Sums] struct {
	msgs    [][]byte
	to      []*H
	sums    []H
	scratch []byte // of rendered nodes
}

func (b *batch[H]) add(k kind[H], msg []byte, to *H) {
	b.msgs, b.to = append(b.msgs, msg), append(b.to, to)
	if len(b.msgs) == batchNodes {
		b.run(k)
	}
}

// render adds an interior node's JSON. It moves on to new scratch space when the old
// is used up, because messages point into it.
func (b *batch[H]) render(k kind[H], n *interior[H], prefix []byte, to *H) {
	var h H
	if most := tableBytesMax(len(n.sums), len(prefix), len(h)); cap(b.scratch)-len(b.scratch) < most {
		b.scratch = make([]byte, 0, max(most, batchNodes*tableBytesMax(16, 8, len(h))))
	}
	from := len(b.scratch)
	b.scratch = appendTable(b.scratch, n.bits, n.sums, prefix, `"`)
	b.add(k, b.scratch[from:], to)
}

// run hashes what was added.
func (b *batch[H]) run(k kind[H]) {
	b.sums = slices.Grow(b.sums[:0], len(b.msgs))[:len(b.msgs)]
	k.sum(b.sums, b.msgs)
	for i, to := range b.to {
		*to = b.sums[i]
	}
	b.drop()
}

func (b *batch[H]) drop() {
	clear(b.msgs)
	clear(b.to)
	b.msgs, b.to, b.scratch = b.msgs[:0], b.to[:0], b.scratch[:0]
}
