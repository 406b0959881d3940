package rpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// errMalformed reports bytes that are not what they should be.
var errMalformed = errors.New("malformed msgpack")

// walker steps over msgpack without building anything: every declared length is
// checked against the bytes that are there before it is believed. What it returns
// aliases its input.
type walker struct {
	buf    []byte
	off    int
	values int // how many values may still be stepped over
}

func (w *walker) fail(what string) error {
	return fmt.Errorf("%s at byte %d: %w", what, w.off, errMalformed)
}

func (w *walker) take(n uint64) ([]byte, error) {
	if n > uint64(len(w.buf)-w.off) {
		return nil, w.fail("value cut short")
	}
	b := w.buf[w.off : w.off+int(n)]
	w.off += int(n)
	return b, nil
}

func (w *walker) byte() (byte, error) {
	b, err := w.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// length reads a big endian number of 1, 2 or 4 bytes.
func (w *walker) length(width int) (uint64, error) {
	b, err := w.take(uint64(width))
	if err != nil {
		return 0, err
	}
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n, nil
}

// integer reads an integer of any width that fits int64.
func (w *walker) integer() (int64, error) {
	c, err := w.byte()
	if err != nil {
		return 0, err
	}
	switch {
	case c <= 0x7f || c >= 0xe0:
		return int64(int8(c)), nil
	case c >= 0xcc && c <= 0xcf:
		b, err := w.take(1 << (c - 0xcc))
		if err != nil {
			return 0, err
		}
		n := bigEndian(b)
		if n > math.MaxInt64 {
			return 0, w.fail("integer too large")
		}
		return int64(n), nil
	case c >= 0xd0 && c <= 0xd3:
		b, err := w.take(1 << (c - 0xd0))
		if err != nil {
			return 0, err
		}
		shift := 64 - 8*len(b)
		return int64(bigEndian(b)<<shift) >> shift, nil
	}
	w.off--
	return 0, w.fail("not an integer")
}

func bigEndian(b []byte) uint64 {
	var p [8]byte
	copy(p[8-len(b):], b)
	return binary.BigEndian.Uint64(p[:])
}

// text reads a str or bin.
func (w *walker) text() ([]byte, error) {
	c, err := w.byte()
	if err != nil {
		return nil, err
	}
	var n uint64
	switch {
	case c >= 0xa0 && c <= 0xbf:
		n = uint64(c & 0x1f)
	case c >= 0xc4 && c <= 0xc6:
		n, err = w.length(1 << (c - 0xc4))
	case c >= 0xd9 && c <= 0xdb:
		n, err = w.length(1 << (c - 0xd9))
	default:
		w.off--
		return nil, w.fail("neither text nor bytes")
	}
	if err != nil {
		return nil, err
	}
	return w.take(n)
}

// value steps over one value of any kind, nested at most depth containers deep, and
// returns its bytes.
func (w *walker) value(depth int) ([]byte, error) {
	start := w.off
	if err := w.skip(depth); err != nil {
		return nil, err
	}
	return w.buf[start:w.off], nil
}

func (w *walker) skip(depth int) error {
	if w.values--; w.values < 0 {
		return w.fail("too many values")
	}
	c, err := w.byte()
	if err != nil {
		return err
	}
	switch {
	case c <= 0x7f, c >= 0xe0, c == 0xc0, c == 0xc2, c == 0xc3:
		return nil
	case c <= 0x8f:
		return w.skipMany(2*uint64(c&0x0f), depth)
	case c <= 0x9f:
		return w.skipMany(uint64(c&0x0f), depth)
	case c <= 0xbf, c >= 0xc4 && c <= 0xc6, c >= 0xd9 && c <= 0xdb:
		w.off--
		_, err = w.text()
		return err
	case c >= 0xc7 && c <= 0xc9:
		n, err := w.length(1 << (c - 0xc7))
		if err != nil {
			return err
		}
		_, err = w.take(n + 1)
		return err
	case c == 0xca, c == 0xcb:
		_, err = w.take(4 << (c - 0xca))
		return err
	case c >= 0xcc && c <= 0xcf:
		_, err = w.take(1 << (c - 0xcc))
		return err
	case c >= 0xd0 && c <= 0xd3:
		_, err = w.take(1 << (c - 0xd0))
		return err
	case c >= 0xd4 && c <= 0xd8:
		_, err = w.take(1<<(c-0xd4) + 1)
		return err
	case c == 0xdc, c == 0xdd:
		n, err := w.length(2 << (c - 0xdc))
		if err != nil {
			return err
		}
		return w.skipMany(n, depth)
	case c == 0xde, c == 0xdf:
		n, err := w.length(2 << (c - 0xde))
		if err != nil {
			return err
		}
		return w.skipMany(2*n, depth)
	}
	w.off--
	return w.fail("unknown lead byte")
}

func (w *walker) skipMany(n uint64, depth int) error {
	if depth <= 0 {
		return w.fail("nested too deep")
	}
	// A value has at least one byte.
	if n > uint64(len(w.buf)-w.off) || n > uint64(max(w.values, 0)) {
		return w.fail("more elements declared than can be")
	}
	for ; n > 0; n-- {
		if err := w.skip(depth - 1); err != nil {
			return err
		}
	}
	return nil
}

// arrayLen reads an array's head.
func (w *walker) arrayLen() (uint64, error) {
	c, err := w.byte()
	if err != nil {
		return 0, err
	}
	switch {
	case c >= 0x90 && c <= 0x9f:
		return uint64(c & 0x0f), nil
	case c == 0xdc, c == 0xdd:
		return w.length(2 << (c - 0xdc))
	}
	w.off--
	return 0, w.fail("not an array")
}

// mapLen reads a map's head.
func (w *walker) mapLen() (uint64, error) {
	c, err := w.byte()
	if err != nil {
		return 0, err
	}
	switch {
	case c >= 0x80 && c <= 0x8f:
		return uint64(c & 0x0f), nil
	case c == 0xde, c == 0xdf:
		return w.length(2 << (c - 0xde))
	}
	w.off--
	return 0, w.fail("not a map")
}

// appendInt appends the shortest encoding of n.
func appendInt(b []byte, n int64) []byte {
	switch {
	case n >= 0 && n <= 0x7f, n < 0 && n >= -32:
		return append(b, byte(n))
	case n < 0:
		return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(n))
	case n <= math.MaxUint8:
		return append(b, 0xcc, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), uint64(n))
}

// appendBinHead appends the head of a bin of n bytes.
func appendBinHead(b []byte, n int) []byte {
	switch {
	case n <= math.MaxUint8:
		return append(b, 0xc4, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xc5), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0xc6), uint32(n))
}

// appendStr appends text of at most 255 bytes.
func appendStr(b []byte, s string) []byte {
	if len(s) < 32 {
		return append(append(b, 0xa0|byte(len(s))), s...)
	}
	return append(append(b, 0xd9, byte(len(s))), s...)
}

// appendMapHead appends the head of a map of n entries.
func appendMapHead(b []byte, n int) []byte {
	switch {
	case n <= 15:
		return append(b, 0x80|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xde), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0xdf), uint32(n))
}
