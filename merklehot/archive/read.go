package archive

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
)

// headerBytesMax bounds the first line of a file.
const headerBytesMax = 512

// files lists the archive's files, oldest first.
func files(fs vfs.FS, dir string) ([]string, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list the archive: %w", err)
	}
	var out []string
	for _, n := range names {
		if strings.HasSuffix(n, fileSuffix) {
			out = append(out, filepath.Join(dir, n))
		}
	}
	slices.Sort(out)
	return out, nil
}

// damaged makes the error for a line that does not hold.
func damaged(path string, line int, format string, args ...any) error {
	return fmt.Errorf("%s line %d: %s: %w", filepath.Base(path), line, fmt.Sprintf(format, args...), ErrDamaged)
}

// begun is a file whose first line has been read.
type begun struct {
	path  string
	at    position    // where it goes on from
	teams kbsig.Seqno // the first block with all of teams, or noTeams
	body  int64       // where its first block begins
	torn  bool        // the first line was cut short; the rest is empty
	fault error       // the first line is not one
}

func begin(fs vfs.FS, path string) (begun, error) {
	b := begun{path: path}
	f, err := fs.Open(path)
	if err != nil {
		return b, fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close()
	head := make([]byte, headerBytesMax)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return b, fmt.Errorf("read %s: %w", path, err)
	}
	line, _, whole := bytes.Cut(head[:n], []byte("\n"))
	b.torn = !whole && n < headerBytesMax
	b.body = int64(len(line)) + 1
	if !b.torn {
		if b.at, b.teams, err = parseHeader(string(line)); err != nil {
			b.fault = damaged(path, 1, "%v", err)
		}
	}
	return b, nil
}

// ending is how the reading of one file ended.
type ending struct {
	at position // behind the last block that holds
	// torn says why the rest of the file does not hold, if it has a rest that is more
	// than a block that was begun and not finished.
	torn error
}

// read reads the blocks of one file, to its end or, if upTo is given, to that place.
func (b begun) read(fs vfs.FS, upTo *position, fn func(*Block) error) (ending, error) {
	e := ending{at: b.at}
	f, err := fs.Open(b.path)
	if err != nil {
		return e, fmt.Errorf("open %s: %w", b.path, err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(io.NewSectionReader(f, b.body, 1<<62), lineBytesMax)
	block, lines := &Block{}, sealing(e.at.hash)
	for n := 2; upTo == nil || e.at != *upTo; n++ {
		raw, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return e, nil
		case errors.Is(err, bufio.ErrBufferFull):
			e.torn = damaged(b.path, n, "it has no end")
			return e, nil
		case err != nil:
			return e, fmt.Errorf("read %s: %w", b.path, err)
		}
		hash, err := block.add(string(raw[:len(raw)-1]))
		if err != nil {
			e.torn = damaged(b.path, n, "%v", err)
			return e, nil
		}
		if hash == nil {
			lines.Write(raw)
			continue
		}
		if *hash != [32]byte(lines.Sum(nil)) || (e.at.seqno != 0 && block.Seqno != e.at.seqno+1) {
			e.torn = damaged(b.path, n, "block %d does not have its hash or number", block.Seqno)
			return e, nil
		}
		next, err := e.at.after(block, *hash)
		if err != nil || block.Part && b.teams != block.Seqno {
			e.torn = damaged(b.path, n, "a part of block %d does not belong there: %v", block.Seqno, err)
			return e, nil
		}
		block.Teams = b.teams != noTeams && block.Seqno >= b.teams
		if err := fn(block); err != nil {
			return e, fmt.Errorf("block %d: %w", block.Seqno, err)
		}
		e.at, block, lines = next, &Block{}, sealing(next.hash)
	}
	return e, nil
}

// Read calls fn for every block of the archive in dir that counts, oldest first,
// checking the chain of hashes from its first byte. ErrDamaged says that what the last
// file holds is more than whole blocks and the beginning of one, or that a file does
// not go on from a block of the file before it, or takes another block for the first with
// teams.
func Read(fs vfs.FS, dir string, fn func(*Block) error) (store [16]byte, err error) {
	paths, err := files(fs, dir)
	if err != nil {
		return store, err
	}
	var all []begun
	var fault error // of the files that nothing has gone on from yet
	for _, p := range paths {
		b, err := begin(fs, p)
		switch {
		case err != nil:
			return store, err
		case b.torn:
		case b.fault != nil:
			fault = errors.Join(fault, b.fault)
		default:
			all, fault = append(all, b), nil
		}
	}
	var at position
	teams := noTeams
	for i, b := range all {
		if i == 0 {
			at.store = b.at.store
		}
		if b.at != at {
			return store, damaged(b.path, 1, "it does not go on from a block of the file before it")
		}
		if teams == noTeams && (b.teams == 0 && at.seqno == 0 || b.teams == at.seqno+1 && at.seqno > 0) {
			teams = b.teams
		}
		if b.teams != teams {
			return store, damaged(b.path, 1, "it names block %d as the first with teams", b.teams)
		}
		var upTo *position
		if i+1 < len(all) {
			upTo = &all[i+1].at
		}
		e, err := b.read(fs, upTo, fn)
		if err != nil {
			return store, err
		}
		at, store = e.at, e.at.store
		if e.torn != nil && (upTo == nil || at != *upTo) {
			return store, e.torn
		}
	}
	return store, fault
}
