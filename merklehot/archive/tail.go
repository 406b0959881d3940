package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
)

// tailBytes is how much of a file's end is looked at first; it is doubled until it
// holds the last whole block and all before it that may not have been synced.
const tailBytes = 2 * unsyncedBytesMax

// end finds where the archive in paths ends, and which is the first block with all of
// teams, and makes sure that this does not go away again: what a process left in the
// kernel when it died has not been synced by anybody.
func end(fs vfs.FS, paths []string) (at position, teams kbsig.Seqno, err error) {
	for _, path := range slices.Backward(paths) {
		b, err := begin(fs, path)
		if err != nil {
			return position{}, 0, err
		}
		if b.torn || b.fault != nil {
			continue
		}
		if err := syncFile(fs, path); err != nil {
			return position{}, 0, err
		}
		at, err := b.last(fs)
		if errors.Is(err, ErrDamaged) {
			// A power cut may spare later bytes than it takes: what holds from the
			// file's beginning counts.
			e, err := b.read(fs, nil, func(*Block) error { return nil })
			return e.at, b.teams, err
		}
		return at, b.teams, err
	}
	return position{}, 0, nil
}

func syncFile(fs vfs.FS, path string) error {
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("fsync the archive: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("fsync the archive: %w", err)
	}
	return nil
}

// last finds the end of a file's last whole block, or of its first line, and checks what
// a power cut can have touched before it.
func (b begun) last(fs vfs.FS) (position, error) {
	f, err := fs.Open(b.path)
	if err != nil {
		return b.at, fmt.Errorf("open %s: %w", b.path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return b.at, fmt.Errorf("look at %s: %w", b.path, err)
	}
	size := info.Size()
	for n := int64(tailBytes); ; n *= 2 {
		from := max(b.body, size-n)
		tail := make([]byte, max(size-from, 0))
		if _, err := f.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
			return b.at, fmt.Errorf("read %s: %w", b.path, err)
		}
		whole := from == b.body
		at := b.at
		if !whole {
			at.seqno = 0 // not known before the first end line
		}
		got, begin, err := at.play(tail, whole)
		if err != nil {
			return b.at, fmt.Errorf("%s: %w", b.path, err)
		}
		if whole || (got.seqno != 0 && begin >= unsyncedBytesMax) {
			return got, nil
		}
	}
}

// play checks the blocks in the end of a file, each with the one before it; whole says
// that tail begins where the first block does. It returns where the last block ends,
// and where in tail it begins.
func (at position) play(tail []byte, whole bool) (_ position, last int, err error) {
	begin := 0
	for off := 0; ; {
		n := bytes.IndexByte(tail[off:], '\n') + 1
		if n == 0 {
			return at, last, nil
		}
		line := tail[off : off+n]
		off += n
		if !bytes.HasPrefix(line, []byte("end ")) && !bytes.HasPrefix(line, []byte("part ")) {
			continue
		}
		b, hash, err := parseEnd(line)
		if err != nil {
			return at, last, err
		}
		known := whole || at.seqno != 0
		if known && hash != seal(at.hash, tail[begin:off-n]) || at.seqno != 0 && b.Seqno != at.seqno+1 {
			return at, last, fmt.Errorf("block %d does not have its hash or number: %w", b.Seqno, ErrDamaged)
		}
		if at, err = at.beyond(b, hash, tail[begin:off-n], known); err != nil {
			return at, last, fmt.Errorf("part of block %d: %w: %w", b.Seqno, err, ErrDamaged)
		}
		last, begin = begin, off
	}
}

// beyond is the place behind a block of which only the last line has been read; known says
// that lines are all others.
func (at position) beyond(b *Block, hash [32]byte, lines []byte, known bool) (position, error) {
	if b.Part && !known {
		// How far it comes is not seen; it is not the last that is looked at.
		at.hash, at.seqno = hash, b.Seqno-1
		return at, nil
	}
	if b.Part {
		for line := range bytes.Lines(lines) {
			if _, err := b.add(string(bytes.TrimSuffix(line, []byte("\n")))); err != nil {
				return at, err
			}
		}
	}
	return at.after(b, hash)
}

// parseEnd reads the last line of a block.
func parseEnd(line []byte) (*Block, [32]byte, error) {
	text := strings.TrimSuffix(string(line), "\n")
	_, rest, _ := strings.Cut(text, " ")
	first, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return nil, [32]byte{}, fmt.Errorf("end line: %w", ErrDamaged)
	}
	b := &Block{Seqno: kbsig.Seqno(n)}
	hash, err := b.add(text)
	if err != nil || hash == nil {
		return nil, [32]byte{}, fmt.Errorf("end line: %w", ErrDamaged)
	}
	return b, *hash, nil
}
