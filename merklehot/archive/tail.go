package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
)

// tailBytes is how much of a file's end is looked at first; it is doubled until it
// holds the last whole block and all before it that may not have been synced.
const tailBytes = 2 * unsyncedBytesMax

// headerBytesMax bounds the first line of a file.
const headerBytesMax = 512

// end finds where the archive in paths ends.
func end(fs vfs.FS, paths []string) (position, error) {
	for i := len(paths) - 1; i >= 0; i-- {
		at, ok, err := lastBlock(fs, paths[i])
		if errors.Is(err, ErrDamaged) {
			// A power cut may spare later bytes than it takes. What holds from the
			// file's beginning does count, if there is anything.
			at, ok, err = lastHeld(fs, paths[i])
		}
		if err != nil || ok {
			return at, err
		}
	}
	return position{}, nil
}

// lastHeld reads a file from its beginning, up to the last block that holds.
func lastHeld(fs vfs.FS, path string) (at position, ok bool, err error) {
	before, _, ok, err := readHeader(fs, path)
	if err != nil || !ok {
		return at, false, err
	}
	e, err := readFile(fs, path, before, func(*Block) error { return nil })
	return e.at, e.at.seqno != 0, err
}

// readHeader reads what a file says of the file before it. ok is false for a file whose
// header is not whole.
func readHeader(fs vfs.FS, path string) (at position, size int64, ok bool, err error) {
	f, err := fs.Open(path)
	if err != nil {
		return at, 0, false, fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close()
	head := make([]byte, headerBytesMax)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return at, 0, false, fmt.Errorf("read %s: %w", path, err)
	}
	line, _, whole := bytes.Cut(head[:n], []byte("\n"))
	if whole {
		at.store, at.hash, err = parseHeader(string(line))
		whole = err == nil
	}
	return at, int64(len(line)) + 1, whole, nil
}

// lastBlock finds the last whole block of a file and checks what a power cut can have
// touched before it. ok is false for a file that has none.
func lastBlock(fs vfs.FS, path string) (at position, ok bool, err error) {
	f, err := fs.Open(path)
	if err != nil {
		return at, false, fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return at, false, fmt.Errorf("look at %s: %w", path, err)
	}
	size := info.Size()
	at, body, ok, err := readHeader(fs, path)
	if err != nil || !ok {
		return at, false, err
	}
	for n := int64(tailBytes); ; n *= 2 {
		from := max(body, size-n)
		tail := make([]byte, max(size-from, 0))
		if _, err := f.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
			return at, false, fmt.Errorf("read %s: %w", path, err)
		}
		whole := from == body
		got, begin, err := at.play(tail, whole)
		if err != nil {
			return at, false, fmt.Errorf("%s: %w", path, err)
		}
		if whole || (got.seqno != 0 && begin >= unsyncedBytesMax) {
			return got, got.seqno != 0, nil
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
		if !bytes.HasPrefix(line, []byte("end ")) {
			continue
		}
		seqno, hash, err := parseEnd(line)
		if err != nil {
			return at, last, err
		}
		known := whole || at.seqno != 0
		if known && hash != seal(at.hash, tail[begin:off-n]) || at.seqno != 0 && seqno != at.seqno+1 {
			return at, last, fmt.Errorf("block %d does not have its hash or number: %w", seqno, ErrDamaged)
		}
		last, begin = begin, off
		at.hash, at.seqno = hash, seqno
	}
}

func parseEnd(line []byte) (kbsig.Seqno, [32]byte, error) {
	first, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(string(line), "end "), "\n"), " ")
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0, [32]byte{}, fmt.Errorf("end line: %w", ErrDamaged)
	}
	b := &Block{Seqno: kbsig.Seqno(n)}
	hash, err := b.add(strings.TrimSuffix(string(line), "\n"))
	if err != nil || hash == nil {
		return 0, [32]byte{}, fmt.Errorf("end line: %w", ErrDamaged)
	}
	return b.Seqno, *hash, nil
}
