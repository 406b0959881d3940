package teams

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// indexTLF notes whose a folder is; it stays with the team that named it first.
func indexTLF(tx *store.Tx, l *teamchain.Link) error {
	if l.KBFS == nil || l.KBFS.TLF == "" {
		return nil
	}
	k := keys.TeamOfTLF(l.KBFS.TLF)
	if known, err := store.Has(tx, k); err != nil || known {
		return err
	}
	tx.Set(k, l.Team[:])
	return nil
}

// ByTLF finds the team that a folder belongs to; the error is ErrNoTeam if no team has
// named it.
func ByTLF(r store.Reader, tlf string) (t kbsig.TeamID, err error) {
	v, err := r.Get(keys.TeamOfTLF(tlf))
	if errors.Is(err, store.ErrNotFound) {
		return t, ErrNoTeam
	}
	if err != nil {
		return t, fmt.Errorf("team of a folder: %w", err)
	}
	if len(v) != len(t) {
		return t, fmt.Errorf("team of a folder: %w", ErrCorrupt)
	}
	return kbsig.TeamID(v), nil
}
