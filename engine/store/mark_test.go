package store

import (
	"bytes"
	"testing"
)

// Bytes that are no mark make no claim, and a mark reads as it was written.
func FuzzMark(f *testing.F) {
	f.Add(encodeMark([16]byte{1}, 7))
	f.Add(encodeMark([16]byte{}, 1<<64-1))
	f.Add(make([]byte, markBytes))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, group, ok := decodeMark(b); ok && !bytes.Equal(encodeMark(id, group), b) {
			t.Errorf("%x reads as group %d of %x", b, group, id)
		}
	})
}

// A mark with any one bit flipped makes no claim, rather than a wrong one.
func TestDamagedMark(t *testing.T) {
	t.Parallel()
	whole := encodeMark([16]byte{1, 2, 3}, 1234)
	for bit := range 8 * len(whole) {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		if _, group, ok := decodeMark(b); ok {
			t.Errorf("bit %d flipped: group %d", bit, group)
		}
	}
	for n := range whole {
		if _, _, ok := decodeMark(whole[:n]); ok {
			t.Errorf("cut to %d bytes, it reads", n)
		}
	}
}
