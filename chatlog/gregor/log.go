package gregor

import (
	"context"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// StoreLog keeps records in the server's store: one record per message, one
// transaction per Change.
func StoreLog(s *store.Store) Log { return storeLog{s} }

type storeLog struct{ store *store.Store }

func (l storeLog) Load(_ context.Context, u kbsig.UID) ([]Record, error) {
	v := l.store.View()
	defer v.Close()
	prefix := keys.Gregors(u)
	var recs []Record
	err := v.Scan(prefix, keys.End(prefix), func(k, b []byte) error {
		r, err := store.Decode[Record](b)
		if err != nil {
			return fmt.Errorf("record %x: %w", k, err)
		}
		recs = append(recs, r)
		return nil
	})
	return recs, err
}

func (l storeLog) Commit(ctx context.Context, u kbsig.UID, c Change) error {
	// Encoded before the transaction: the committer serves everybody.
	puts := make([][]byte, len(c.Put))
	for i, r := range c.Put {
		puts[i] = store.Encode(r)
	}
	return l.store.Update(ctx, func(tx *store.Tx) error {
		for i, b := range puts {
			tx.Set(keys.Gregor(u, c.Put[i].MsgID), b)
		}
		for _, id := range c.Delete {
			tx.Delete(keys.Gregor(u, id))
		}
		return nil
	})
}
