package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/highwater"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/roots"
)

// Adopt binds the high-water record to a data folder that was moved or restored, on
// the operator's word that it is the newest copy and the only one. A record that
// is there keeps its mark, so that a folder which is older than the record is still
// refused by the next start; one that is missing is made. Nothing else is changed.
func Adopt(cfg config.Config, out io.Writer) (err error) {
	// A folder without its key is no server; adopting it would only hide that.
	if _, err := keyfile.Load(cfg.Data.Dir); err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	if err := sameOwner(cfg.Data.Dir); err != nil {
		return err
	}
	st, err := store.Open(store.Options{Dir: storeDir(cfg.Data.Dir), Clock: clock.Monotone(clock.System()), Rand: rand.Reader})
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("a server runs on %s, so the folder needs no adoption: %w", cfg.Data.Dir, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	v := st.View()
	newest, err := roots.Newest(v)
	v.Close()
	if err != nil {
		return fmt.Errorf("the folder has no root to go on from: %w", err)
	}
	mark, err := highwater.Open(highwater.Options{
		FS: vfs.Default, Path: cfg.HighWaterPath(), StoreID: st.ID(), DataDir: cfg.Data.Dir, Create: true,
		// Asked first, so that a refused adoption of an old copy does not take the
		// record away from the right folder.
		Judge: func(shown highwater.Mark) error {
			if shown.Seqno > newest {
				return fmt.Errorf("the newest root of the folder is %d, but clients may have seen root %d: this is an older copy; put the newest one back", newest, shown.Seqno)
			}
			return nil
		},
	})
	if errors.Is(err, highwater.ErrForeign) {
		return fmt.Errorf("%w\nIf its data folder is gone for good, remove the record and adopt again", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mark.Close()) }()
	_, err = fmt.Fprintf(out, "adopted: %s, which goes on after root %d\n", cfg.Data.Dir, newest)
	return err
}
