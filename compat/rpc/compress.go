package rpc

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/keybase/msgpackzip"
)

// compression is the ctype of a compressed call.
// client: github.com/keybase/go-framed-msgpack-rpc/rpc/protocol.go
type compression int64

const (
	compressNone       compression = 0
	compressGzip       compression = 1
	compressMsgpackzip compression = 2
)

// errTooLarge reports an argument or answer beyond its limit.
var errTooLarge = errors.New("too large")

// inflate decompresses an argument into at most max bytes and at most what
// inflateRatio allows for its size.
func (c compression) inflate(in []byte, max int) ([]byte, error) {
	max = min(max, inflateFloor+inflateRatio*len(in))
	switch c {
	case compressGzip:
		return gunzip(in, max)
	case compressMsgpackzip:
		return unzipMsgpack(in, max)
	}
	return nil, fmt.Errorf("compression %d: %w", c, errMalformed)
}

// deflate compresses an answer. It never returns an empty result, not even for nil:
// clients would read on in the exhausted frame and drop the connection.
// client: github.com/keybase/go-framed-msgpack-rpc/rpc/message.go:DecodeMessage
func (c compression) deflate(out []byte) ([]byte, error) {
	switch c {
	case compressGzip:
		return gzipped(out)
	case compressMsgpackzip:
		z, err := msgpackzip.Compress(out)
		if err != nil {
			return nil, fmt.Errorf("compress an answer: %w", err)
		}
		return z, nil
	}
	return nil, fmt.Errorf("compression %d: %w", c, errMalformed)
}

var gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}

func gunzip(in []byte, max int) ([]byte, error) {
	z := gzipReaders.Get().(*gzip.Reader)
	defer gzipReaders.Put(z)
	if err := z.Reset(bytes.NewReader(in)); err != nil {
		return nil, fmt.Errorf("gzip argument: %w", errMalformed)
	}
	out, err := readAtMost(z, max)
	if err != nil {
		return nil, fmt.Errorf("gzip argument: %w", err)
	}
	return out, nil
}

// readAtMost reads all of r, or fails beyond max bytes. Memory grows with what has
// been read, not with what is promised.
func readAtMost(r io.Reader, max int) ([]byte, error) {
	out := make([]byte, 0, min(max, 512)+1)
	for {
		n, err := r.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		if len(out) > max {
			return nil, errTooLarge
		}
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, errMalformed
		}
		if len(out) == cap(out) {
			out = append(make([]byte, 0, min(2*cap(out), max+1)), out...)
		}
	}
}

var gzipWriters = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	return z
}}

func gzipped(out []byte) ([]byte, error) {
	if len(out) <= storedBytesMax {
		return gzipStored(out), nil
	}
	var buf bytes.Buffer
	z := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(z)
	z.Reset(&buf)
	if _, err := z.Write(out); err != nil {
		return nil, fmt.Errorf("compress an answer: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress an answer: %w", err)
	}
	return buf.Bytes(), nil
}

// gzipStored wraps a short answer into the gzip form as one stored block: most
// answers are a few bytes, and a compressor's tables cost more than they save.
func gzipStored(out []byte) []byte {
	b := make([]byte, 0, len(out)+23)
	b = append(b, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff) // no name, no time, unknown system
	b = append(b, 1)                                     // last block, stored
	b = binary.LittleEndian.AppendUint16(b, uint16(len(out)))
	b = binary.LittleEndian.AppendUint16(b, ^uint16(len(out)))
	b = append(b, out...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(out))
	return binary.LittleEndian.AppendUint32(b, uint32(len(out)))
}

// unzipMsgpack undoes msgpackzip: an array of version 1, a document whose map keys
// are numbers, and a deflated map from these numbers to the keys. The library's own
// reader lets the key map grow to 128 MiB whatever the input's size, so this door
// reads it itself. client: github.com/keybase/msgpackzip/inflate.go
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
