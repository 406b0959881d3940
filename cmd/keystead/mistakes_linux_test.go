package main

import (
	"os"
	"runtime"
	"syscall"
)

// nobody is an account without any rights.
const nobody = 65534

// asNobody takes from the calling goroutine the rights of root on files, until undone.
// An account that is not root has none.
func asNobody() (back func()) {
	if os.Geteuid() != 0 {
		return func() {}
	}
	runtime.LockOSThread()
	if syscall.Setfsgid(nobody) != nil || syscall.Setfsuid(nobody) != nil {
		runtime.UnlockOSThread()
		return nil
	}
	return func() {
		_ = syscall.Setfsuid(0)
		_ = syscall.Setfsgid(0)
		runtime.UnlockOSThread()
	}
}

// smallDisk mounts a disk on a folder that has no room, which only root can.
func smallDisk(dir string) (back func()) {
	if syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k") != nil {
		return nil
	}
	return func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }
}
