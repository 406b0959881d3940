package node

import (
	"context"
	"fmt"

	"github.com/keystead/keystead/cmd/keystead/preset"
	"github.com/keystead/keystead/merklehot/identity"
)

// makePeople makes the accounts that the client's own tests look for, in devel mode.
func (n *node) makePeople() error {
	if !n.cfg.Devel {
		return nil
	}
	ids := identity.New(n.store, n.Rand)
	ids.KeepProofs(n.proofs)
	if err := preset.Make(context.Background(), n.store, ids, n.proofs, n.Rand); err != nil {
		return fmt.Errorf("ready-made users: %w", err)
	}
	return nil
}
