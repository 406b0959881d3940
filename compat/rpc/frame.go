package rpc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/keybase/go-codec/codec"
)

// kind is the first element of a frame.
// client: github.com/keybase/go-framed-msgpack-rpc/rpc/protocol.go:MethodType
type kind int64

const (
	kindCall           kind = 0 // [0, seqid, method, [arg], tags?]
	kindResponse       kind = 1 // [1, seqid, error, result]
	kindNotify         kind = 2 // [2, method, [arg], tags?]
	kindCancel         kind = 3 // [3, seqid, method]
	kindCallCompressed kind = 4 // [4, seqid, ctype, method, arg, tags?]
)

// frame is a frame's head and, for calls, the bytes after it. Tags and whatever
// else follows the argument are not looked at: clients may add to them.
type frame struct {
	kind   kind
	seqid  int64
	ctype  compression
	method string
	rest   []byte // from the argument to the end of the frame
}

// Errors that end a connection.
var (
	errFrame    = errors.New("bad frame")
	errBuffered = errors.New("too much is buffered in all")
)

// budget counts bytes that are buffered over all connections.
type budget struct {
	max  int64
	used atomic.Int64
}

func (b *budget) take(n int) bool {
	if b.used.Add(int64(n)) > b.max {
		b.used.Add(int64(-n))
		return false
	}
	return true
}

func (b *budget) give(n int) { b.used.Add(int64(-n)) }

// readLength reads a frame's length: one msgpack integer of any width. started is
// called after its first byte.
func readLength(r *bufio.Reader, started func()) (int64, error) {
	c, err := r.ReadByte()
	if err != nil {
		return 0, err
	}
	started()
	var b [9]byte
	b[0] = c
	n := 1
	switch {
	case c <= 0x7f:
	case c >= 0xcc && c <= 0xcf:
		n += 1 << (c - 0xcc)
	case c >= 0xd0 && c <= 0xd3:
		n += 1 << (c - 0xd0)
	default:
		return 0, fmt.Errorf("length begins with 0x%02x: %w", c, errFrame)
	}
	if _, err := io.ReadFull(r, b[1:n]); err != nil {
		return 0, err
	}
	w := walker{buf: b[:n]}
	v, err := w.integer()
	if err != nil || v <= 0 {
		return 0, fmt.Errorf("length is not positive: %w", errFrame)
	}
	return v, nil
}

// readBody reads n bytes. The buffer grows with what arrives and is paid for from
// the budget; the caller gives cap(body) back when done with it, on errors nothing
// is owed.
func readBody(r io.Reader, n int, b *budget) (body []byte, err error) {
	paid := 0
	defer func() {
		if err != nil {
			b.give(paid)
		}
	}()
	for len(body) < n {
		if len(body) == cap(body) {
			grown := min(n, max(readStep, 2*cap(body)))
			if !b.take(grown - paid) {
				return nil, errBuffered
			}
			paid = grown
			body = append(make([]byte, 0, grown), body...)
		}
		m, err := io.ReadFull(r, body[len(body):cap(body)])
		body = body[:len(body)+m]
		if err != nil {
			return nil, err
		}
	}
	return body, nil
}

// parseFrame reads the head of a frame's content. The frame aliases content.
func parseFrame(content []byte) (frame, error) {
	var f frame
	if len(content) == 0 || content[0] < 0x91 || content[0] > 0x9f {
		return f, fmt.Errorf("content is not a short array: %w", errFrame)
	}
	elements := int(content[0] & 0x0f)
	w := walker{buf: content, off: 1}
	k, err := w.integer()
	if err != nil {
		return f, fmt.Errorf("frame kind: %w", err)
	}
	f.kind = kind(k)
	needed := map[kind]int{kindCall: 4, kindResponse: 4, kindNotify: 3, kindCancel: 3, kindCallCompressed: 5}[f.kind]
	if needed == 0 || elements < needed {
		return f, fmt.Errorf("%d elements of kind %d: %w", elements, k, errFrame)
	}
	if f.kind != kindNotify {
		if f.seqid, err = w.integer(); err != nil {
			return f, fmt.Errorf("sequence number: %w", err)
		}
	}
	if f.kind == kindResponse {
		return f, nil
	}
	if f.kind == kindCallCompressed {
		c, err := w.integer()
		if err != nil {
			return f, fmt.Errorf("compression: %w", err)
		}
		f.ctype = compression(c)
	}
	name, err := w.text()
	if err != nil {
		return f, fmt.Errorf("method: %w", err)
	}
	if len(name) > methodBytesMax {
		return f, fmt.Errorf("method of %d bytes: %w", len(name), errFrame)
	}
	f.method, f.rest = string(name), content[w.off:]
	return f, nil
}

// argument returns the checked msgpack of the call's one argument.
func (f *frame) argument(c class) ([]byte, error) {
	w := walker{buf: f.rest, values: c.values}
	if f.ctype == compressNone {
		return firstElement(&w, c)
	}
	packed, err := w.text()
	if err != nil {
		return nil, err
	}
	if len(packed) == 0 {
		// Clients' library takes this for an argument of zero values.
		return []byte{0x80}, nil
	}
	plain, err := f.ctype.inflate(packed, c.bytes)
	if err != nil {
		return nil, err
	}
	return firstElement(&walker{buf: plain, values: c.values}, c)
}

// firstElement reads the array around an argument and steps over the argument.
func firstElement(w *walker, c class) ([]byte, error) {
	n, err := w.arrayLen()
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return []byte{0x80}, nil
	}
	arg, err := w.value(depthMax)
	if err != nil {
		return nil, err
	}
	if len(arg) > c.bytes {
		return nil, fmt.Errorf("argument of %d bytes: %w", len(arg), errTooLarge)
	}
	return arg, nil
}

// wireHandle is the dialect of arguments and results.
// client: github.com/keybase/go-framed-msgpack-rpc/rpc/codec.go
var wireHandle = &codec.MsgpackHandle{WriteExt: true, RawToString: true}

func encode(v any) ([]byte, error) {
	var b []byte
	if err := codec.NewEncoderBytes(&b, wireHandle).Encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return b, nil
}

// decode fills *v from a value that a walker has stepped over.
func decode[T any](b []byte) (v T, err error) {
	if err := codec.NewDecoderBytes(b, wireHandle).Decode(&v); err != nil {
		return v, fmt.Errorf("argument that is no %T: %w", v, errMalformed)
	}
	return v, nil
}

// framed puts the length in front of parts.
func framed(parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b := appendInt(make([]byte, 0, n+9), int64(n))
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// responseFrame spells an answer. status is nil's encoding or a Status; result is
// msgpack, which a compressed call's answer carries as one compressed bin.
func responseFrame(seqid int64, c compression, status, result []byte) ([]byte, error) {
	head := appendInt([]byte{0x94, byte(kindResponse)}, seqid)
	if c == compressNone {
		return framed(head, status, result), nil
	}
	packed, err := c.deflate(result)
	if err != nil {
		return nil, err
	}
	return framed(head, status, appendBinHead(nil, len(packed)), packed), nil
}

// callFrame spells an uncompressed call with one argument.
func callFrame(seqid int64, method string, arg []byte) []byte {
	head := appendStr(appendInt([]byte{0x94, byte(kindCall)}, seqid), method)
	return framed(head, []byte{0x91}, arg)
}
