package store

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// orderedFS makes a folder's earlier entries durable before a marker is made in it.
//
// Pebble names its current manifest in the name of a marker file, and syncs the
// folder only after making the marker and removing the one before. On file systems
// that do not keep the order of such changes a power cut may leave a marker that
// names a manifest which is not there, and no database to open.
type orderedFS struct{ vfs.FS }

const markerPrefix = "marker."

// Create implements vfs.FS.
func (o orderedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(o.FS.PathBase(name), markerPrefix) {
		if err := syncDir(o.FS, o.FS.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return o.FS.Create(name, category)
}

// Unwrap implements vfs.FS.
func (o orderedFS) Unwrap() vfs.FS { return o.FS }

func syncDir(fs vfs.FS, dir string) error {
	f, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
