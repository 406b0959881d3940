package proofs

import (
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/pvl"
)

// Assume notes that a proof was found at an address, without looking there, and has
// nobody look again. It is for the ready-made users of devel mode alone, whose posts at
// outside services were made by others.
func Assume(tx *store.Tx, u kbsig.UID, sig kbsig.SigIDBase, at string) error {
	p, err := Get(tx, u, sig)
	if err != nil {
		return err
	}
	p.State, p.Status, p.Hint = StateOK, pvl.StatusOK, at
	p.Checked, p.Since = tx.Now().UnixMilli(), tx.Now().UnixMilli()
	p.Seen, p.Checks = p.Checked, 1
	if err := put(tx, p); err != nil {
		return err
	}
	return unschedule(tx, p)
}
