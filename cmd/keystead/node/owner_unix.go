//go:build unix

package node

import (
	"io/fs"
	"syscall"
)

// ownerOf is the account that a file belongs to.
func ownerOf(info fs.FileInfo) (uid int, known bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}
