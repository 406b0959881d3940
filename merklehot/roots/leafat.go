package roots

import (
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/tree"
)

// LeafAt is the value of a leaf in root n; the error is store.ErrNotFound if there
// was no such id then.
func (s *State) LeafAt(r store.Reader, id tree.ID, n kbsig.Seqno) ([]byte, error) {
	if v := s.at(n); v != nil {
		if leaf := v.tree.Leaf(id); leaf != nil {
			return leaf, nil
		}
		return nil, store.ErrNotFound
	}
	value, _, err := s.tree().LeafAt(r, n, id)
	if err != nil {
		return nil, fmt.Errorf("leaf %s in root %d: %w", id, n, err)
	}
	return value, nil
}
