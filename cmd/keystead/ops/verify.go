package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
)

// Auditor replays everything in a data folder and writes what it found, a line a
// subject; an error says that something does not hold. Paths is how many paths in older
// roots are verified; 0 leaves the number to it, less than 0 asks for all.
type Auditor func(ctx context.Context, dataDir string, paths int, out io.Writer) error

// Verify checks a data folder while no server runs on it: the signing key is the
// one that clients were told, and all that is stored stands up to the audit.
func Verify(ctx context.Context, dataDir string, paths int, out io.Writer, audit Auditor) error {
	info, err := os.Stat(dataDir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s: %w", dataDir, ErrNotStarted)
	case err != nil:
		return fmt.Errorf("look at the data folder: %w", err)
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", dataDir)
	}
	key, err := keyfile.Load(dataDir)
	if errors.Is(err, keyfile.ErrNoKey) {
		return fmt.Errorf("%s: %w", dataDir, ErrNotStarted)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "key: %s is whole and private\n", keyfile.KIDOf(key))
	if err := audit(ctx, dataDir, paths, out); err != nil {
		return fmt.Errorf("audit of %s: %w", dataDir, err)
	}
	_, err = fmt.Fprintf(out, "verified: %s\n", dataDir)
	return err
}
