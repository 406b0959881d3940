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

// tailBytes is how much of a file's end is looked at first; it is doubled until the
// last whole block is in it.
const tailBytes = 1 << 20

// lastBlock finds and checks the last whole block of a file, or the place before its
// first one. ok is false for a file whose header is not whole: it counts as absent.
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
	head := make([]byte, min(size, 512))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return at, false, fmt.Errorf("read %s: %w", path, err)
	}
	line, _, whole := bytes.Cut(head, []byte("\n"))
	if !whole {
		return at, false, nil
	}
	if at.store, at.hash, err = parseHeader(string(line)); err != nil {
		return at, false, damaged(path, 1, "%v", err)
	}
	body := int64(len(line)) + 1
	for n := int64(tailBytes); ; n *= 2 {
		from := max(body, size-n)
		tail := make([]byte, size-from)
		if _, err := f.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
			return at, false, fmt.Errorf("read %s: %w", path, err)
		}
		got, found, err := at.last(tail, from == body)
		if err != nil {
			return at, false, fmt.Errorf("%s: %w", path, err)
		}
		if found {
			return got, true, nil
		}
	}
}

// last finds the last whole block in the end of a file; start says that tail begins
// where the first block does. found is false if more of the file is needed.
func (at position) last(tail []byte, start bool) (got position, found bool, err error) {
	stop := bytes.LastIndexByte(tail, '\n') + 1
	endAt := lastEnd(tail[:stop])
	if endAt < 0 {
		return at, start, nil
	}
	after := endAt + bytes.IndexByte(tail[endAt:], '\n') + 1
	before, begin := lastEnd(tail[:endAt]), 0
	switch {
	case before >= 0:
		begin = before + bytes.IndexByte(tail[before:], '\n') + 1
		if _, at.hash, err = parseEnd(tail[before:begin]); err != nil {
			return at, false, err
		}
	case !start:
		return at, false, nil
	}
	n, hash, err := parseEnd(tail[endAt:after])
	if err != nil {
		return at, false, err
	}
	if hash != seal(at.hash, tail[begin:endAt]) {
		return at, false, fmt.Errorf("block %d does not have its hash: %w", n, ErrDamaged)
	}
	at.hash, at.seqno = hash, n
	return at, true, nil
}

// lastEnd finds the last line that ends a block, at its first byte, or -1.
func lastEnd(b []byte) int {
	for {
		i := bytes.LastIndex(b, []byte("end "))
		if i <= 0 {
			return i
		}
		if b[i-1] == '\n' {
			return i
		}
		b = b[:i]
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
