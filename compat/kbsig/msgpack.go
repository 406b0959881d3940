package kbsig

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrMsgpack reports bytes that are not the one msgpack encoding stock clients
// produce and re-check. client: go/kbcrypto/kbpackets.go:DecodePacketFromBytes
var ErrMsgpack = errors.New("not canonical msgpack")

// Msgpack lead bytes used by signed things: byte strings are "bin", text is
// "str", integers take the shortest unsigned form.
const (
	mpNil    = 0xc0
	mpFalse  = 0xc2
	mpTrue   = 0xc3
	mpBin8   = 0xc4
	mpBin16  = 0xc5
	mpBin32  = 0xc6
	mpUint8  = 0xcc
	mpUint16 = 0xcd
	mpUint32 = 0xce
	mpUint64 = 0xcf
	mpFixMap = 0x80
	mpFixArr = 0x90
	mpFixStr = 0xa0
	mpStr8   = 0xd9
	mpArr16  = 0xdc
	mpArr32  = 0xdd
)

// msgpackReader reads canonical msgpack front to back. Each method accepts only
// the shortest encoding of its kind, so a value that was read has exactly one
// encoding and no re-encoding is needed to prove it. Nothing is allocated by a
// declared length: what is returned aliases the input. The first error sticks.
type msgpackReader struct {
	buf []byte
	off int
	err error
}

func (r *msgpackReader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s at byte %d: %w", what, r.off, ErrMsgpack)
	}
}

func (r *msgpackReader) take(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.buf)-r.off {
		r.fail(what + " cut short")
		return nil
	}
	b := r.buf[r.off : r.off+n]
	r.off += n
	return b
}

func (r *msgpackReader) lead(what string) byte {
	if b := r.take(1, what); b != nil {
		return b[0]
	}
	return 0
}

// peek returns the next lead byte without consuming it; mpNil after the end.
func (r *msgpackReader) peek() byte {
	if r.err != nil || r.off >= len(r.buf) {
		return mpNil
	}
	return r.buf[r.off]
}

// fixed consumes one byte that must be lead.
func (r *msgpackReader) fixed(lead byte, what string) {
	if got := r.lead(what); r.err == nil && got != lead {
		r.off--
		r.fail(what + " expected")
	}
}

func (r *msgpackReader) mapOf(n int, what string)   { r.fixed(mpFixMap|byte(n), what) }
func (r *msgpackReader) arrayOf(n int, what string) { r.fixed(mpFixArr|byte(n), what) }

// text consumes the short string want, as map keys and constants are.
func (r *msgpackReader) text(want string) {
	r.fixed(mpFixStr|byte(len(want)), want)
	if b := r.take(len(want), want); r.err == nil && string(b) != want {
		r.fail("string " + want + " expected")
	}
}

// uint consumes a shortest-form unsigned integer not above max.
func (r *msgpackReader) uint(max uint64, what string) uint64 {
	lead := r.lead(what)
	if r.err != nil {
		return 0
	}
	var v, least uint64
	switch {
	case lead < 0x80:
		v = uint64(lead)
	case lead == mpUint8:
		if b := r.take(1, what); b != nil {
			v, least = uint64(b[0]), 0x80
		}
	case lead == mpUint16:
		if b := r.take(2, what); b != nil {
			v, least = uint64(binary.BigEndian.Uint16(b)), 0x100
		}
	case lead == mpUint32:
		if b := r.take(4, what); b != nil {
			v, least = uint64(binary.BigEndian.Uint32(b)), 0x10000
		}
	case lead == mpUint64:
		if b := r.take(8, what); b != nil {
			v, least = binary.BigEndian.Uint64(b), 0x100000000
		}
	default:
		r.off--
		r.fail(what + ": integer expected")
	}
	if r.err == nil && (v < least || v > max) {
		r.fail(what + ": integer out of form or range")
	}
	if r.err != nil {
		return 0
	}
	return v
}

func (r *msgpackReader) bool(what string) bool {
	lead := r.lead(what)
	if r.err == nil && lead != mpTrue && lead != mpFalse {
		r.off--
		r.fail(what + ": boolean expected")
	}
	return lead == mpTrue
}

// bin consumes a byte string of at most max bytes; the result aliases the input.
func (r *msgpackReader) bin(max int, what string) []byte {
	lead := r.lead(what)
	if r.err != nil {
		return nil
	}
	var n, least int
	switch lead {
	case mpBin8:
		if b := r.take(1, what); b != nil {
			n = int(b[0])
		}
	case mpBin16:
		if b := r.take(2, what); b != nil {
			n, least = int(binary.BigEndian.Uint16(b)), 0x100
		}
	case mpBin32:
		if b := r.take(4, what); b != nil {
			v := binary.BigEndian.Uint32(b)
			if v > math.MaxInt32 {
				r.fail(what + " too long")
				return nil
			}
			n, least = int(v), 0x10000
		}
	default:
		r.off--
		r.fail(what + ": byte string expected")
	}
	if r.err == nil && (n < least || n > max) {
		r.fail(what + ": length out of form or range")
	}
	return r.take(n, what)
}

// binOf consumes a byte string of exactly n bytes.
func (r *msgpackReader) binOf(n int, what string) []byte {
	b := r.bin(n, what)
	if r.err == nil && len(b) != n {
		r.fail(what + ": wrong length")
	}
	if r.err != nil {
		return nil
	}
	return b
}

// str consumes text of at most max bytes, which is below 256.
func (r *msgpackReader) str(max int, what string) string {
	lead := r.lead(what)
	if r.err != nil {
		return ""
	}
	n, least := int(lead&31), 0
	switch {
	case lead&^31 == mpFixStr:
	case lead == mpStr8:
		least = 32
		if b := r.take(1, what); b != nil {
			n = int(b[0])
		}
	default:
		r.off--
		r.fail(what + ": text expected")
	}
	if r.err == nil && (n < least || n > max) {
		r.fail(what + ": length out of form or range")
	}
	return string(r.take(n, what))
}

// array consumes the head of an array of at most max elements.
func (r *msgpackReader) array(max int, what string) int {
	lead := r.lead(what)
	if r.err != nil {
		return 0
	}
	n, least := int(lead&15), 0
	switch {
	case lead&^15 == mpFixArr:
	case lead == mpArr16:
		least = 16
		if b := r.take(2, what); b != nil {
			n = int(binary.BigEndian.Uint16(b))
		}
	case lead == mpArr32:
		least = 1 << 16
		if b := r.take(4, what); b != nil {
			n = int(binary.BigEndian.Uint32(b))
		}
	default:
		r.off--
		r.fail(what + ": list expected")
	}
	if r.err == nil && (n < least || n > max) {
		r.fail(what + ": length out of form or range")
	}
	if r.err != nil {
		return 0
	}
	return n
}

// end reports the first error, or bytes left over.
func (r *msgpackReader) end() error {
	if r.err == nil && r.off != len(r.buf) {
		r.fail("bytes left over")
	}
	return r.err
}

func appendText(dst []byte, s string) []byte {
	return append(append(dst, mpFixStr|byte(len(s))), s...)
}

// appendStr appends text of less than 256 bytes.
func appendStr(dst []byte, s string) []byte {
	if len(s) < 32 {
		return appendText(dst, s)
	}
	return append(append(dst, mpStr8, byte(len(s))), s...)
}

// appendArray appends the head of an array.
func appendArray(dst []byte, n int) []byte {
	switch {
	case n < 16:
		return append(dst, mpFixArr|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, mpArr16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, mpArr32), uint32(n))
}

func appendUint(dst []byte, v uint64) []byte {
	switch {
	case v < 0x80:
		return append(dst, byte(v))
	case v <= math.MaxUint8:
		return append(dst, mpUint8, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, mpUint16), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, mpUint32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, mpUint64), v)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, mpTrue)
	}
	return append(dst, mpFalse)
}

func appendBin(dst, b []byte) []byte {
	switch n := len(b); {
	case n <= math.MaxUint8:
		dst = append(dst, mpBin8, byte(n))
	case n <= math.MaxUint16:
		dst = binary.BigEndian.AppendUint16(append(dst, mpBin16), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, mpBin32), uint32(n))
	}
	return append(dst, b...)
}
