package rpc

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
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
		return zipMsgpack(out)
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
