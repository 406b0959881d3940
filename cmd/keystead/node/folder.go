package node

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// makeFolder makes a folder that a power cut does not take away again: what is synced
// below it is lost all the same if the entry that leads to it is. Entries that an
// earlier start made, and did not live to sync, are synced too, unless the folder above
// them is somebody else's and cannot be read.
func makeFolder(fs vfs.FS, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	missing := map[string]bool{}
	for d := dir; d != filepath.Dir(d); d = filepath.Dir(d) {
		if _, err := fs.Stat(d); err == nil {
			break
		}
		missing[d] = true
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for d := dir; d != filepath.Dir(d); d = filepath.Dir(d) {
		if err := syncFolder(fs, filepath.Dir(d)); err != nil && (missing[d] || !errors.Is(err, os.ErrPermission)) {
			return err
		}
	}
	return nil
}

func syncFolder(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
