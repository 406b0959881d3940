//go:build unix

package node

import "syscall"

// descriptors is how many files and connections the process may have open.
func descriptors() (int, bool) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	return int(min(l.Cur, 1<<30)), true
}
