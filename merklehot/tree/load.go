package tree

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/keystead/keystead/engine/hash"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// olderValuesMax is how many older values of one leaf are read over before the scan
// is started again behind them: a few are cheaper to pass than a seek.
const olderValuesMax = 32

// Load rebuilds the newest version from the leaf values in the store, into t, which
// must be empty. The caller compares the root hash.
func (t *Tree[K, H]) Load(r store.Reader) (*Tree[K, H], error) {
	if t.count != 0 {
		return nil, errors.New("load a tree into one that has leaves")
	}
	all, err := newestLeaves[K](r, t.kind.tree)
	if err != nil {
		return nil, err
	}
	next, d, err := t.Update(all, nil)
	if err != nil {
		return nil, err
	}
	if d != nil {
		// Nothing is known of how many records follow each node's last full one.
		for _, p := range d.parts {
			for i := range p.nodes {
				p.nodes[i].node.stale = nodeDeltasMax
			}
		}
	}
	return next, nil
}

func newestLeaves[K IDs](r store.Reader, tree keys.Tree) ([]Change[K], error) {
	var all []Change[K]
	var room arena
	lo, hi := keys.Leaves(tree), keys.End(keys.Leaves(tree))
	for lo != nil {
		from := lo
		lo = nil
		older := 0
		var last []byte
		err := r.Scan(from, hi, func(k, v []byte) error {
			_, id, _, ok := keys.LeafOf(k)
			var c Change[K]
			if !ok || len(id) != len(c.ID) {
				return fmt.Errorf("leaf record under a key of %d bytes: %w", len(k), ErrCorrupt)
			}
			if bytes.Equal(id, last) {
				if older++; older < olderValuesMax {
					return nil
				}
				lo = keys.End(keys.LeafVersions(tree, id))
				return store.ErrStop
			}
			older, last = 0, append(last[:0], id...)
			copy(hash.Bytes(&c.ID), id)
			c.Leaf = room.copy(v)
			all = append(all, c)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("load the tree: %w", err)
		}
	}
	return all, nil
}

// arena copies many small values into a few large pieces of memory. They live until
// the tree has its own copies.
type arena struct{ room []byte }

const arenaBytes = 1 << 20

func (a *arena) copy(v []byte) []byte {
	if cap(a.room)-len(a.room) < len(v) {
		a.room = make([]byte, 0, max(arenaBytes, len(v)))
	}
	from := len(a.room)
	a.room = append(a.room, v...)
	return a.room[from:len(a.room):len(a.room)]
}
