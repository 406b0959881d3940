package hash

import "unsafe"

// Array is a digest or an id: an array of bytes under any name.
type Array interface {
	~[16]byte | ~[32]byte | ~[64]byte
}

// Bytes is the array behind a as a slice, not a copy. Generic code over arrays of
// different lengths cannot slice them otherwise.
func Bytes[A Array](a *A) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(a)), unsafe.Sizeof(*a))
}

const hexDigits = "0123456789abcdef"

// PutHex writes src in lower-case hex to dst, which has room for twice its length.
// Digests stand in hex in every node of the Merkle tree: at 64 bytes this takes a
// tenth of the time of encoding/hex.
func PutHex(dst, src []byte) {
	_ = dst[:2*len(src)]
	putHex(dst, src)
}

func putHexPortable(dst, src []byte) {
	for i, b := range src {
		dst[2*i], dst[2*i+1] = hexDigits[b>>4], hexDigits[b&15]
	}
}
