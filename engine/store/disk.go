package store

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk stands between the database and the file system for two reasons.
//
// A log, a manifest or a folder that fails to be written or synced is the end: the
// page cache may say afterwards that all is well. Pebble panics at some of these,
// with or without a word of the cause, and always after other goroutines may have
// gone on; here the store hears of it first, and can say which file it was.
//
// Pebble names its current manifest in the name of a marker file, and syncs the
// folder only after making the marker and removing the one before. On file systems
// that do not keep the order of such changes a power cut may leave a marker that
// names a manifest which is not there, and no database to open; here the folder is
// synced first.
type disk struct {
	vfs.FS
	failed func(error) // a log, a manifest or a folder failed
	minor  func(error) // something else failed, which Pebble can live with once it runs
}

// Create implements vfs.FS.
func (d disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	base := d.FS.PathBase(name)
	if strings.HasPrefix(base, "marker.") {
		dir, err := d.OpenDir(d.FS.PathDir(name))
		if err != nil {
			return nil, err
		}
		err = dir.Sync()
		if closeErr := dir.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, err
		}
	}
	f, err := d.FS.Create(name, category)
	return d.watch(base, f, err)
}

// ReuseForWrite implements vfs.FS.
func (d disk) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(from, to, category)
	return d.watch(d.FS.PathBase(to), f, err)
}

// Rename implements vfs.FS.
func (d disk) Rename(from, to string) error {
	err := d.FS.Rename(from, to)
	if err != nil {
		d.minor(err)
	}
	return err
}

// OpenDir implements vfs.FS.
func (d disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return watched{f, name, d.failed}, nil
}

// Unwrap implements vfs.FS.
func (d disk) Unwrap() vfs.FS { return d.FS }

// watch takes a file under watch, or reports that there is none. The truth hangs on
// logs and manifests; tables are written anew when they fail.
func (d disk) watch(base string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		d.minor(err)
		return nil, err
	}
	if strings.HasSuffix(base, ".log") || strings.HasPrefix(base, "MANIFEST-") {
		return watched{f, base, d.failed}, nil
	}
	return watched{f, base, d.minor}, nil
}

type watched struct {
	vfs.File
	name   string
	failed func(error)
}

func (w watched) say(doing string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s %s: %w", doing, w.name, err)
		w.failed(err)
	}
	return err
}

// Write implements vfs.File.
func (w watched) Write(b []byte) (int, error) {
	n, err := w.File.Write(b)
	return n, w.say("write", err)
}

// Sync implements vfs.File.
func (w watched) Sync() error { return w.say("sync", w.File.Sync()) }

// SyncData implements vfs.File.
func (w watched) SyncData() error { return w.say("sync", w.File.SyncData()) }

// SyncTo implements vfs.File.
func (w watched) SyncTo(length int64) (bool, error) {
	full, err := w.File.SyncTo(length)
	return full, w.say("sync", err)
}
