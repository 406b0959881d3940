// Package reports keeps what people send to whoever runs the server: the logs of a
// client that does not work, and complaints about others. Each is a folder of plain
// files below one folder, for the operator to read and to delete; the server never
// reads them again.
//
// It promises to use no more of the disk than it was told to. When that is used up, the
// oldest logs make room for others; complaints, which only people with an account can
// send, are refused instead of forgotten.
//
// File names are its own: nothing of what is sent decides where it is written.
package reports

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/engine/limits"
)

const (
	// filesMax bounds the files of one report.
	filesMax = 30
	// complaintsBytesMax bounds all complaints.
	complaintsBytesMax = 256 << 20
	// nameBytesMax bounds a file's name.
	nameBytesMax = 40
)

// ErrFull says that there is no room for a report.
var ErrFull = errors.New("there is no room for more reports")

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("filesMax", filesMax, "files", "in one report"),
		limits.Bytes("nameBytesMax", nameBytesMax, "of the name of a file in it"),
		limits.Bytes("complaintsBytesMax", complaintsBytesMax, "of complaints about others; more are refused"),
	}
}

// Kind is what kind of report it is, and the name of its folder.
type Kind string

// The kinds.
const (
	Logs       Kind = "logs"
	Complaints Kind = "complaints"
)

// File is a part of a report. Of its name only letters, digits, _ and . count.
type File struct {
	Name string
	Data []byte
}

// Options is what a Box works with.
type Options struct {
	FS    vfs.FS
	Dir   string
	Clock func() time.Time
	Rand  io.Reader
	// LogsBytesMax bounds all logs; 0 takes none.
	LogsBytesMax int64
}

// Box is the folder. It is safe for concurrent use.
type Box struct {
	Options
	mu   sync.Mutex
	held map[Kind][]report // oldest first
}

type report struct {
	name  string
	bytes int64
}

// Open opens the folder, or makes it.
func Open(o Options) (*Box, error) {
	b := &Box{Options: o, held: map[Kind][]report{}}
	for _, k := range []Kind{Logs, Complaints} {
		if err := b.load(k); err != nil {
			return nil, fmt.Errorf("reports in %s: %w", o.Dir, err)
		}
	}
	return b, nil
}

func (b *Box) dir(k Kind) string { return b.FS.PathJoin(b.Dir, string(k)) }

// load looks at what is there already.
func (b *Box) load(k Kind) error {
	if err := b.FS.MkdirAll(b.dir(k), 0o700); err != nil {
		return err
	}
	names, err := b.FS.List(b.dir(k))
	if err != nil {
		return err
	}
	slices.Sort(names) // they begin with the time
	for _, n := range names {
		at := b.FS.PathJoin(b.dir(k), n)
		files, err := b.FS.List(at)
		if err != nil {
			continue // a file of the operator's
		}
		r := report{name: n}
		for _, f := range files {
			if info, err := b.FS.Stat(b.FS.PathJoin(at, f)); err == nil {
				r.bytes += info.Size()
			}
		}
		b.held[k] = append(b.held[k], r)
	}
	return nil
}

// Keep keeps a report and returns its id. about is written beside the files, as JSON.
func (b *Box) Keep(k Kind, about any, files []File) (id string, err error) {
	if len(files) > filesMax {
		return "", fmt.Errorf("a report of %d files: %w", len(files), ErrFull)
	}
	said, err := json.MarshalIndent(about, "", "  ")
	if err != nil {
		return "", fmt.Errorf("a report: %w", err)
	}
	files = append([]File{{"about.json", said}}, files...)
	r := report{}
	for _, f := range files {
		r.bytes += int64(len(f.Data))
	}
	var raw [16]byte
	if _, err := io.ReadFull(b.Rand, raw[:]); err != nil {
		return "", fmt.Errorf("name a report: %w", err)
	}
	id = hex.EncodeToString(raw[:])
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.makeRoom(k, r.bytes); err != nil {
		return "", err
	}
	r.name = b.Clock().UTC().Format("20060102-150405.000-") + id
	if err := b.write(b.FS.PathJoin(b.dir(k), r.name), files); err != nil {
		return "", fmt.Errorf("keep report %s: %w", id, err)
	}
	b.held[k] = append(b.held[k], r)
	return id, nil
}

func (b *Box) makeRoom(k Kind, bytes int64) error {
	most := int64(complaintsBytesMax)
	if k == Logs {
		most = b.LogsBytesMax
	}
	if bytes > most {
		return ErrFull
	}
	used := func() (n int64) {
		for _, r := range b.held[k] {
			n += r.bytes
		}
		return n
	}
	if k != Logs {
		if used()+bytes > most {
			return ErrFull
		}
		return nil
	}
	for used()+bytes > most {
		oldest := b.held[k][0]
		if err := b.FS.RemoveAll(b.FS.PathJoin(b.dir(k), oldest.name)); err != nil {
			return fmt.Errorf("make room for a report: %w", err)
		}
		b.held[k] = b.held[k][1:]
	}
	return nil
}

func (b *Box) write(dir string, files []File) error {
	if err := b.FS.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		out, err := b.FS.Create(b.FS.PathJoin(dir, safeName(f.Name)), vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		_, err = out.Write(f.Data)
		if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
			return err
		}
	}
	return nil
}

// safeName is what is left of a name that is safe to write under.
func safeName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '.' {
			return r
		}
		return -1
	}, strings.ToLower(s))
	s = strings.TrimLeft(s, ".")
	if len(s) > nameBytesMax {
		s = s[:nameBytesMax]
	}
	if s == "" {
		return "part"
	}
	return s
}
