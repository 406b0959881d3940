//go:build unix

package highwater

import (
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// inodeOf is the inode number of path, or 0 where the file system has none.
func inodeOf(fs vfs.FS, path string) uint64 {
	fi, err := fs.Stat(path)
	if err != nil {
		return 0
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Ino)
	}
	return 0
}
