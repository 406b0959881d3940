package store

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"syscall"

	"github.com/keybase/go-codec/codec"
)

// recordHandle encodes our own records: msgpack maps by field name, so that a
// field may be added with a useful zero value and older records still read.
var recordHandle = func() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true, RawToString: true}
	h.Canonical = true
	h.MapType = reflect.TypeOf(map[string]any(nil))
	return h
}()

// Encode turns a record into bytes. Equal records give equal bytes.
func Encode(v any) []byte {
	var b []byte
	// Encoding into memory fails only for types that cannot be encoded, which is
	// a mistake of the programmer.
	if err := codec.NewEncoderBytes(&b, recordHandle).Encode(v); err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return b
}

// Decode reads a record that Encode wrote.
func Decode[T any](b []byte) (T, error) {
	var v T
	if err := codec.NewDecoderBytes(b, recordHandle).Decode(&v); err != nil {
		return v, fmt.Errorf("decode %T: %w", v, err)
	}
	return v, nil
}

// Load reads and decodes one record; the error is ErrNotFound if there is none.
func Load[T any](r Reader, key []byte) (T, error) {
	b, err := r.Get(key)
	if err != nil {
		var zero T
		return zero, err
	}
	return Decode[T](b)
}

// Has reports whether there is a record.
func Has(r Reader, key []byte) (bool, error) {
	switch _, err := r.Get(key); {
	case err == nil:
		return true, nil
	case errors.Is(err, ErrNotFound):
		return false, nil
	default:
		return false, err
	}
}

// Save encodes and writes one record.
func Save(tx *Tx, key []byte, v any) { tx.Set(key, Encode(v)) }

// isLockError tells "somebody else has the folder" from other failures to open. A
// lock that is held is a bare error number; EACCES with a path is a missing
// permission.
func isLockError(err error) bool {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return false
	}
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) ||
		strings.Contains(err.Error(), "lock held by current process")
}
