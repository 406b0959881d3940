package roots

import (
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Newest is the number of the newest root that r sees; inside a transaction that is
// the root before the one that will cover it. The error is ErrNoRoot before the
// genesis.
func Newest(r store.Reader) (kbsig.Seqno, error) {
	var newest kbsig.Seqno
	err := r.ScanReverse(keys.Roots(), keys.End(keys.Roots()), func(k, _ []byte) error {
		var ok bool
		if newest, ok = keys.RootSeqno(k); !ok {
			return fmt.Errorf("root under a key of %d bytes: %w", len(k), ErrCorrupt)
		}
		return store.ErrStop
	})
	if err == nil && newest == 0 {
		err = ErrNoRoot
	}
	return newest, err
}
