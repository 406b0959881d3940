package sigchain

import (
	"encoding/binary"
)

// writer and reader are the encoding of records and states: fixed arrays as they
// are, integers as uvarints, byte strings and lists led by their length. The same
// value always gets the same bytes.
type writer struct{ b []byte }

func (w *writer) uint(v uint64)   { w.b = binary.AppendUvarint(w.b, v) }
func (w *writer) int(v int64)     { w.uint(uint64(v)) }
func (w *writer) raw(b []byte)    { w.b = append(w.b, b...) }
func (w *writer) bytes(b []byte)  { w.uint(uint64(len(b))); w.raw(b) }
func (w *writer) string(s string) { w.bytes([]byte(s)) }
func (w *writer) seqno(s int64)   { w.int(s) }
func (w *writer) bool(b bool) {
	if b {
		w.uint(1)
	} else {
		w.uint(0)
	}
}
func (w *writer) version(v uint64) { w.uint(v) }

// reader reads what writer wrote; the first error sticks.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = refuse(KindCorrupt, "stored %s is cut short or malformed", what)
	}
}

func (r *reader) uint(what string) uint64 {
	v, n := binary.Uvarint(r.b)
	if r.err != nil || n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.fail(what)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// int reads a non-negative integer.
func (r *reader) int(what string) int64 {
	v := r.uint(what)
	if v > 1<<62 {
		r.fail(what)
		return 0
	}
	return int64(v)
}

func (r *reader) bool(what string) bool {
	v := r.uint(what)
	if v > 1 {
		r.fail(what)
	}
	return v == 1
}

func (r *reader) raw(dst []byte, what string) {
	if r.err != nil || len(r.b) < len(dst) {
		r.fail(what)
		return
	}
	copy(dst, r.b)
	r.b = r.b[len(dst):]
}

// bytes returns a part of the input.
func (r *reader) bytes(what string) []byte {
	n := r.uint(what)
	if r.err != nil || n > uint64(len(r.b)) {
		r.fail(what)
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

// count reads a list's length; each element takes at least one byte.
func (r *reader) count(what string) int {
	n := r.uint(what)
	if n > uint64(len(r.b)) {
		r.fail(what)
		return 0
	}
	return int(n)
}

func (r *reader) end(what string) error {
	if r.err == nil && len(r.b) != 0 {
		r.fail(what)
	}
	return r.err
}
