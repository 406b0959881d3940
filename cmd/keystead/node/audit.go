package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/archive"
	"github.com/keystead/keystead/merklehot/audit"
	"github.com/keystead/keystead/merklehot/roots"
)

// Audit replays everything that the data folder holds and writes what it found,
// one line a subject, to out; the error says that something does not hold. No server
// may run on the folder meanwhile. Paths: see ops.Auditor.
func Audit(ctx context.Context, dir string, paths int, out io.Writer) error {
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
	return errors.Join(audit.RunWith(ctx, v, audit.Options{KID: kid, Paths: paths}, out), auditArchive(st, v, filepath.Join(dir, "archive"), kid, out))
}

// auditArchive rebuilds the tree from the archive alone and compares it with the
// store. An archive in another place is checked where it lies, with a copy of the
// data folder beside it.
func auditArchive(st *store.Store, v *store.View, dir string, kid kbsig.KID, out io.Writer) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(out, "archive: none in %s\n", dir)
		return nil
	}
	sum, err := archive.Rebuild(vfs.Default, dir, kid)
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if sum.Roots == 0 {
		fmt.Fprintln(out, "archive: empty")
		return nil
	}
	root, err := roots.RootAt(v, sum.Newest)
	if err != nil || sum.StoreID != st.ID() || root.HashMeta != sum.HashMeta {
		return fmt.Errorf("archive: it ends with root %d %s, which is not the store's: %w", sum.Newest, sum.HashMeta, errors.Join(err, archive.ErrForeign))
	}
	fmt.Fprintf(out, "archive: %d roots, %d users and %d links, %d teams and %d links of theirs rebuild the trees of root %d%s\n",
		sum.Roots, sum.Users, sum.Links, sum.Teams, sum.TeamLinks, sum.Newest, teamsIn(sum))
	return nil
}

// teamsIn says what an archive lacks of teams that was begun before it had any.
func teamsIn(sum archive.Summary) string {
	switch {
	case sum.NoTeams:
		return "; it has the leaves of teams only, their links come with the next root that the server writes"
	case sum.TeamsFrom > 0:
		return fmt.Sprintf("; links of teams stand in it from root %d on, with all from before", sum.TeamsFrom)
	}
	return ""
}
