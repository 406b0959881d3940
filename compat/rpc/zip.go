package rpc

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"sync"
)

// Msgpackzip is an array of three: version 1, a document whose map keys are numbers,
// and a deflated map from these numbers to the keys. The library's own reader lets
// the key map grow to 128 MiB whatever the input's size, and its writer makes a new
// deflater, most of a megabyte, for every answer; so this door does both itself.
// client: github.com/keybase/msgpackzip/inflate.go, compress.go

// unzipMsgpack undoes msgpackzip.
func unzipMsgpack(in []byte, max int) ([]byte, error) {
	w := walker{buf: in, values: 8}
	n, err := w.arrayLen()
	if err != nil || n != 3 {
		return nil, fmt.Errorf("msgpackzip argument: %w", errMalformed)
	}
	version, err := w.integer()
	if err != nil || version != 1 {
		return nil, fmt.Errorf("msgpackzip version: %w", errMalformed)
	}
	data, err := w.text()
	if err != nil {
		return nil, fmt.Errorf("msgpackzip data: %w", err)
	}
	packed, err := w.text()
	if err != nil {
		return nil, fmt.Errorf("msgpackzip keys: %w", err)
	}
	fr := flate.NewReader(bytes.NewReader(packed))
	defer fr.Close()
	raw, err := readAtMost(fr, max)
	if err != nil {
		return nil, fmt.Errorf("msgpackzip keys: %w", err)
	}
	keys, err := readKeys(raw)
	if err != nil {
		return nil, fmt.Errorf("msgpackzip keys: %w", err)
	}
	u := unzipper{in: walker{buf: data}, keys: keys, max: max}
	u.out = make([]byte, 0, min(max, 2*len(data)+64))
	if err := u.value(depthMax); err != nil {
		return nil, fmt.Errorf("msgpackzip data: %w", err)
	}
	return u.out, nil
}

// readKeys returns the encoded keys by number. Numbers are dense: there are as many
// keys as the map has entries.
func readKeys(raw []byte) ([][]byte, error) {
	w := walker{buf: raw, values: len(raw)}
	n, err := w.mapLen()
	if err != nil {
		return nil, err
	}
	if n > uint64(len(raw)-w.off)/2 {
		return nil, w.fail("more keys declared than can be")
	}
	keys := make([][]byte, n)
	for range n {
		i, err := w.integer()
		if err != nil {
			return nil, err
		}
		if i < 0 || uint64(i) >= n || keys[i] != nil {
			return nil, w.fail("key number out of place")
		}
		if keys[i], err = w.value(0); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// unzipper rewrites the document with its keys put back.
type unzipper struct {
	in   walker
	keys [][]byte
	out  []byte
	max  int
}

func (u *unzipper) emit(b []byte) error {
	if len(u.out)+len(b) > u.max {
		return errTooLarge
	}
	u.out = append(u.out, b...)
	return nil
}

func (u *unzipper) key(n int64) error {
	if n < 0 || n >= int64(len(u.keys)) {
		return u.in.fail("unknown key number")
	}
	return u.emit(u.keys[n])
}

func (u *unzipper) value(depth int) error {
	start := u.in.off
	c, err := u.in.byte()
	if err != nil {
		return err
	}
	u.in.off--
	switch {
	case c >= 0x80 && c <= 0x8f, c == 0xde, c == 0xdf:
		n, err := u.in.mapLen()
		if err != nil {
			return err
		}
		return u.elements(u.in.buf[start:u.in.off], n, depth, true)
	case c >= 0x90 && c <= 0x9f, c == 0xdc, c == 0xdd:
		n, err := u.in.arrayLen()
		if err != nil {
			return err
		}
		return u.elements(u.in.buf[start:u.in.off], n, depth, false)
	}
	if c >= 0xc7 && c <= 0xc9 || c >= 0xd4 && c <= 0xd8 {
		return u.reference(c)
	}
	u.in.values = 1
	b, err := u.in.value(0)
	if err != nil {
		return err
	}
	return u.emit(b)
}

// elements copies a container's head and rewrites what is in it.
func (u *unzipper) elements(head []byte, n uint64, depth int, isMap bool) error {
	if depth <= 0 {
		return u.in.fail("nested too deep")
	}
	if n > uint64(len(u.in.buf)-u.in.off) {
		return u.in.fail("more elements declared than can be")
	}
	if err := u.emit(head); err != nil {
		return err
	}
	for ; n > 0; n-- {
		if isMap {
			k, err := u.in.integer()
			if err != nil {
				return err
			}
			if err := u.key(k); err != nil {
				return err
			}
		}
		if err := u.value(depth - 1); err != nil {
			return err
		}
	}
	return nil
}

// reference resolves a string value that is also a key: a lead byte as of an ext of
// 1, 2 or 4 bytes, then the key's number and, unlike an ext, no type.
func (u *unzipper) reference(c byte) error {
	if c < 0xd4 || c > 0xd6 {
		return u.in.fail("bad reference")
	}
	if _, err := u.in.byte(); err != nil {
		return err
	}
	n, err := u.in.length(1 << (c - 0xd4))
	if err != nil {
		return err
	}
	return u.key(int64(n))
}

var deflaters = sync.Pool{New: func() any {
	z, _ := flate.NewWriter(io.Discard, flate.BestSpeed)
	return z
}}

// zipMsgpack compresses a document's keys. Equal documents give equal bytes.
func zipMsgpack(doc []byte) ([]byte, error) {
	z := zipper{in: walker{buf: doc}, numbers: make(map[string]int64)}
	z.out = make([]byte, 0, len(doc))
	if err := z.value(depthAnswerMax); err != nil {
		return nil, fmt.Errorf("msgpackzip answer: %w", err)
	}
	var packed bytes.Buffer
	fw := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(fw)
	fw.Reset(&packed)
	if _, err := fw.Write(append(appendMapHead(nil, len(z.numbers)), z.keys...)); err != nil {
		return nil, fmt.Errorf("msgpackzip keys: %w", err)
	}
	if err := fw.Close(); err != nil {
		return nil, fmt.Errorf("msgpackzip keys: %w", err)
	}
	b := make([]byte, 0, len(z.out)+packed.Len()+16)
	b = append(appendBinHead(append(b, 0x93, 1), len(z.out)), z.out...)
	return append(appendBinHead(b, packed.Len()), packed.Bytes()...), nil
}

// depthAnswerMax bounds the nesting of what we compress; clients stop at 256.
const depthAnswerMax = 64

// zipper rewrites a document with numbers for keys, counted by first appearance.
type zipper struct {
	in      walker
	numbers map[string]int64
	keys    []byte // the entries of the key map
	out     []byte
}

func (z *zipper) value(depth int) error {
	start := z.in.off
	c, err := z.in.byte()
	if err != nil {
		return err
	}
	z.in.off--
	var n uint64
	isMap := false
	switch {
	case c >= 0x80 && c <= 0x8f, c == 0xde, c == 0xdf:
		isMap = true
		n, err = z.in.mapLen()
	case c >= 0x90 && c <= 0x9f, c == 0xdc, c == 0xdd:
		n, err = z.in.arrayLen()
	case c >= 0xc7 && c <= 0xc9, c >= 0xd4 && c <= 0xd8:
		return z.in.fail("an ext has another meaning here")
	default:
		z.in.values = 1
		_, err = z.in.value(0)
	}
	if err != nil {
		return err
	}
	z.out = append(z.out, z.in.buf[start:z.in.off]...)
	if n > 0 && depth <= 0 {
		return z.in.fail("nested too deep")
	}
	for ; n > 0; n-- {
		if isMap {
			if err := z.key(); err != nil {
				return err
			}
		}
		if err := z.value(depth - 1); err != nil {
			return err
		}
	}
	return nil
}

func (z *zipper) key() error {
	z.in.values = 1
	k, err := z.in.value(0)
	if err != nil {
		return err
	}
	n, ok := z.numbers[string(k)]
	if !ok {
		n = int64(len(z.numbers))
		z.numbers[string(k)] = n
		z.keys = append(appendInt(z.keys, n), k...)
	}
	z.out = appendInt(z.out, n)
	return nil
}
