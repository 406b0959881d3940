package audit

import (
	"bytes"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// changes is the pass over the lists of what each root changed: a list for each root
// with a tree of its own, in order, of just the leaves that have a value of that root.
func (a *auditor) changes() error {
	var listed numbers
	total := 0
	lo := keys.AllChanges()
	err := a.r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		if err := a.pause(); err != nil {
			return err
		}
		n, ok := keys.ChangesSeqno(k)
		if !ok || n < 1 {
			return nil // said by the pass over the keys
		}
		if !a.hasRoot(n) {
			a.problem("changes of root %d: there is no such root", n)
			return nil
		}
		listed.add(n - a.first)
		if len(v) == 0 || len(v)%idBytes != 0 {
			a.problem("changes of root %d: a list of %d bytes", n, len(v))
			return nil
		}
		var before []byte
		for id := range slices.Chunk(v, idBytes) {
			if before != nil && bytes.Compare(before, id) >= 0 {
				a.problem("changes of root %d: %x is out of order", n, id)
				continue
			}
			before = id
			there, err := store.Has(a.r, keys.Leaf(keys.TreeMain, id, n))
			if err != nil {
				return err
			}
			if there {
				total++
			} else {
				a.problem("changes of root %d: leaf %x has no value of it", n, id)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range kbsig.Seqno(len(a.hashes)) {
		if err := a.pause(); err != nil {
			return err
		}
		if a.treeChanged.has(i) && !listed.has(i) {
			a.problem("changes of root %d: missing", a.first+i)
		}
	}
	if total == a.keys.stored[keys.Leaves(keys.TreeMain)[0]] {
		return nil
	}
	return a.unlisted()
}

// unlisted names leaf values that are in no list.
func (a *auditor) unlisted() error {
	lo := keys.Leaves(keys.TreeMain)
	return a.r.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		_, id, n, ok := keys.LeafOf(k)
		if !ok || !isLeaf(k) {
			return nil // said by the pass over the keys
		}
		list, err := a.r.Get(keys.Changes(n))
		if err != nil || len(list)%idBytes != 0 {
			return a.pause() // said above
		}
		if !slices.ContainsFunc(slices.Collect(slices.Chunk(list, idBytes)), func(x []byte) bool { return bytes.Equal(x, id) }) {
			a.problem("changes of root %d: leaf %x is not listed", n, id)
		}
		return a.pause()
	})
}
