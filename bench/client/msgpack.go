package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Limits on msgpack from outside.
const (
	packDepthMax    = 8
	packElementsMax = 64 // per array or map; no structure of the protocol has more
)

// packer writes msgpack the way the Keybase codec does with WriteExt: the
// shortest form of everything, byte strings as bin, non-negative ints unsigned.
type packer []byte

func (p *packer) array(n int)  { p.head(0x90, 0xdc, n) }
func (p *packer) object(n int) { p.head(0x80, 0xde, n) }

func (p *packer) head(fix, wide byte, n int) {
	if n < 16 {
		*p = append(*p, fix|byte(n))
		return
	}
	*p = append(*p, wide, byte(n>>8), byte(n))
}

func (p *packer) null() { *p = append(*p, 0xc0) }

func (p *packer) boolean(b bool) {
	if b {
		*p = append(*p, 0xc3)
	} else {
		*p = append(*p, 0xc2)
	}
}

func (p *packer) int(i int64) {
	switch {
	case i < -32:
		*p = binary.BigEndian.AppendUint64(append(*p, 0xd3), uint64(i))
	case i < 0:
		*p = append(*p, byte(i))
	case i <= math.MaxInt8:
		*p = append(*p, byte(i))
	case i <= math.MaxUint8:
		*p = append(*p, 0xcc, byte(i))
	case i <= math.MaxUint16:
		*p = binary.BigEndian.AppendUint16(append(*p, 0xcd), uint16(i))
	case i <= math.MaxUint32:
		*p = binary.BigEndian.AppendUint32(append(*p, 0xce), uint32(i))
	default:
		*p = binary.BigEndian.AppendUint64(append(*p, 0xcf), uint64(i))
	}
}

func (p *packer) bin(b []byte) {
	switch n := len(b); {
	case n <= math.MaxUint8:
		*p = append(*p, 0xc4, byte(n))
	case n <= math.MaxUint16:
		*p = binary.BigEndian.AppendUint16(append(*p, 0xc5), uint16(n))
	default:
		*p = binary.BigEndian.AppendUint32(append(*p, 0xc6), uint32(n))
	}
	*p = append(*p, b...)
}

// binOrNull writes nil for a nil slice.
func (p *packer) binOrNull(b []byte) {
	if b == nil {
		p.null()
		return
	}
	p.bin(b)
}

func (p *packer) str(s string) {
	switch n := len(s); {
	case n < 32:
		*p = append(*p, 0xa0|byte(n))
	case n <= math.MaxUint8:
		*p = append(*p, 0xd9, byte(n))
	case n <= math.MaxUint16:
		*p = binary.BigEndian.AppendUint16(append(*p, 0xda), uint16(n))
	default:
		*p = binary.BigEndian.AppendUint32(append(*p, 0xdb), uint32(n))
	}
	*p = append(*p, s...)
}

// packField is one entry of a decoded map, in the order received.
type packField struct {
	key   string
	value any
}

var errPack = errors.New("malformed msgpack")

// unpack decodes one whole value into nil, bool, int64, []byte, string, []any or
// []packField. Callers that need canonical bytes re-encode and compare.
func unpack(b []byte) (any, error) { return unpackUpTo(b, packElementsMax) }

// unpackUpTo is unpack of what may have more elements.
func unpackUpTo(b []byte, elements int) (any, error) {
	u := unpacker{b, elements}
	v, err := u.value(0)
	if err != nil {
		return nil, err
	}
	if len(u.b) != 0 {
		return nil, fmt.Errorf("%d bytes after the value: %w", len(u.b), errPack)
	}
	return v, nil
}

type unpacker struct {
	b   []byte
	max int // elements per array or map
}

func (u *unpacker) take(n int) ([]byte, error) {
	if n < 0 || n > len(u.b) {
		return nil, fmt.Errorf("cut short: %w", errPack)
	}
	out := u.b[:n:n]
	u.b = u.b[n:]
	return out, nil
}

func (u *unpacker) uint(n int) (int, error) {
	b, err := u.take(n)
	if err != nil {
		return 0, err
	}
	var x uint64
	for _, c := range b {
		x = x<<8 | uint64(c)
	}
	if x > math.MaxInt64 {
		return 0, fmt.Errorf("integer too large: %w", errPack)
	}
	return int(x), nil
}

func (u *unpacker) value(depth int) (any, error) {
	if depth > packDepthMax {
		return nil, fmt.Errorf("too deep: %w", errPack)
	}
	t, err := u.take(1)
	if err != nil {
		return nil, err
	}
	switch c := t[0]; {
	case c <= 0x7f:
		return int64(c), nil
	case c >= 0xe0:
		return int64(int8(c)), nil
	case c&0xf0 == 0x80:
		return u.fields(int(c&0x0f), depth)
	case c&0xf0 == 0x90:
		return u.elements(int(c&0x0f), depth)
	case c&0xe0 == 0xa0:
		return u.text(int(c & 0x1f))
	case c == 0xc0:
		return nil, nil
	case c == 0xc2 || c == 0xc3:
		return c == 0xc3, nil
	case c >= 0xc4 && c <= 0xc6:
		n, err := u.uint(1 << (c - 0xc4))
		if err != nil {
			return nil, err
		}
		return u.take(n)
	case c >= 0xcc && c <= 0xcf:
		n, err := u.uint(1 << (c - 0xcc))
		return int64(n), err
	case c >= 0xd9 && c <= 0xdb:
		n, err := u.uint(1 << (c - 0xd9))
		if err != nil {
			return nil, err
		}
		return u.text(n)
	case c == 0xdc || c == 0xde:
		n, err := u.uint(2)
		if err != nil {
			return nil, err
		}
		if c == 0xdc {
			return u.elements(n, depth)
		}
		return u.fields(n, depth)
	default:
		return nil, fmt.Errorf("type byte %02x: %w", c, errPack)
	}
}

func (u *unpacker) text(n int) (any, error) {
	b, err := u.take(n)
	return string(b), err
}

func (u *unpacker) elements(n, depth int) (any, error) {
	if n > u.max {
		return nil, fmt.Errorf("%d elements: %w", n, errPack)
	}
	out := make([]any, 0, n)
	for range n {
		v, err := u.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (u *unpacker) fields(n, depth int) (any, error) {
	if n > u.max {
		return nil, fmt.Errorf("%d fields: %w", n, errPack)
	}
	out := make([]packField, 0, n)
	for range n {
		k, err := u.value(depth + 1)
		if err != nil {
			return nil, err
		}
		key, ok := k.(string)
		if !ok {
			return nil, fmt.Errorf("map key that is not text: %w", errPack)
		}
		v, err := u.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, packField{key, v})
	}
	return out, nil
}

// as converts a decoded value to the wanted Go type or fails.
func as[T any](v any) (T, error) {
	t, ok := v.(T)
	if !ok {
		return t, fmt.Errorf("%T where %T belongs: %w", v, t, errPack)
	}
	return t, nil
}
