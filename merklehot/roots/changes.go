package roots

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/tree"
)

// putChanges writes which leaves a root changed, so that whoever follows the roots
// one by one (the archive, mirrors) need not search for it.
func putChanges(tx *store.Tx, n kbsig.Seqno, d *tree.MainDelta) {
	var b []byte
	d.Leaves(func(c tree.Change[tree.ID]) { b = append(b, c.ID[:]...) })
	tx.Set(keys.Changes(n), b)
}

// Changes lists the leaves that root n changed, in the order of their ids.
func Changes(r store.Reader, n kbsig.Seqno) ([]tree.ID, error) {
	b, err := r.Get(keys.Changes(n))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("changes of root %d: %w", n, err)
	}
	if len(b)%len(tree.ID{}) != 0 {
		return nil, fmt.Errorf("changes of root %d: %w", n, ErrCorrupt)
	}
	ids := make([]tree.ID, len(b)/len(tree.ID{}))
	for i := range ids {
		copy(ids[i][:], b[i*len(tree.ID{}):])
	}
	return ids, nil
}
