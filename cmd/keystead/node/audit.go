package node

import (
	"context"
	"fmt"
	"io"

	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/audit"
)

// Audit replays everything that the data folder holds and writes what it found,
// one line a subject, to out; the error says that something does not hold. No server
// may run on the folder meanwhile.
func Audit(ctx context.Context, dir string, out io.Writer) error {
	kid, err := keyfile.LoadKID(dir)
	if err != nil {
		return err
	}
	st, err := store.Open(store.Options{Dir: storeDir(dir), ReadOnly: true})
	if err != nil {
		return fmt.Errorf("open the store to read: %w", err)
	}
	defer st.Close()
	v := st.View()
	defer v.Close()
	return audit.Run(ctx, v, kid, out)
}
