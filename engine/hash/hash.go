// Package hash computes every digest of the server: SHA-256 and SHA-512, which the
// protocol fixes, and BLAKE3 for records that are ours alone.
//
// Contract:
//   - The batch calls (Sum256Many, Sum512Many) give exactly what the single calls
//     give, message by message. Whoever has several independent messages uses them,
//     because an implementation may work on several at once; the Merkle tree hashes
//     level by level for that reason.
//   - Implementations stand in one table per function with the CPU features they
//     need; the first usable one is picked when the process starts and Picked names
//     it. All of a table's entries give equal results; the test runs them all.
//   - Everything here is pure and safe for concurrent use.
//
// The single calls are the standard library's: it uses the SHA extensions of amd64
// and arm64, and github.com/minio/sha256-simd, measured beside it, was not faster at
// the sizes of nodes (1-2 KiB) and blocks (512 KiB) and falls back to the standard
// library on processors without those extensions.
package hash

import (
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"slices"
	"unsafe"

	"github.com/klauspost/cpuid/v2"
	"github.com/zeebo/blake3"
)

// Sizes of digests in bytes.
const (
	Size256   = sha256.Size
	Size512   = sha512.Size
	SizeCheck = 32
)

// Sum256 is SHA-256 of b.
func Sum256(b []byte) [Size256]byte { return sha256.Sum256(b) }

// Sum512 is SHA-512 of b.
func Sum512(b []byte) [Size512]byte { return sha512.Sum512(b) }

// New256 is a running SHA-256, for bytes that arrive in pieces.
func New256() hash.Hash { return sha256.New() }

// Checksum is BLAKE3 of b, 32 bytes. It guards our own records and is never shown
// to clients, who do not know the function.
func Checksum(b []byte) [SizeCheck]byte { return blake3.Sum256(b) }

// Sum256Many sets dst[i] to SHA-256 of msgs[i]. The slices have equal length.
func Sum256Many[D ~[Size256]byte](dst []D, msgs [][]byte) {
	if len(dst) != len(msgs) {
		panic("hash: as many digests as messages, please")
	}
	// D and [Size256]byte have the same layout, which the constraint says.
	picked256.many(unsafe.Slice((*[Size256]byte)(unsafe.Pointer(unsafe.SliceData(dst))), len(dst)), msgs)
}

// Sum512Many sets dst[i] to SHA-512 of msgs[i]. The slices have equal length.
func Sum512Many[D ~[Size512]byte](dst []D, msgs [][]byte) {
	if len(dst) != len(msgs) {
		panic("hash: as many digests as messages, please")
	}
	picked512.many(unsafe.Slice((*[Size512]byte)(unsafe.Pointer(unsafe.SliceData(dst))), len(dst)), msgs)
}

// batch is one way to hash many messages into digests of type D.
type batch[D any] struct {
	name  string
	needs []cpuid.FeatureID // of the processor; none: runs everywhere
	many  func(dst []D, msgs [][]byte)
}

// Tables of implementations, best first. The last one needs nothing.
var (
	batches256 = []batch[[Size256]byte]{
		{name: "crypto/sha256", many: func(dst [][Size256]byte, msgs [][]byte) {
			for i, m := range msgs {
				dst[i] = sha256.Sum256(m)
			}
		}},
	}
	batches512 = append(slices.Clone(fast512), batch[[Size512]byte]{
		name: "crypto/sha512", many: func(dst [][Size512]byte, msgs [][]byte) {
			for i, m := range msgs {
				dst[i] = sha512.Sum512(m)
			}
		},
	})
)

var (
	picked256 = pick(batches256)
	picked512 = pick(batches512)
)

func (b *batch[D]) usable() bool { return cpuid.CPU.Supports(b.needs...) }

func pick[D any](table []batch[D]) *batch[D] {
	for i := range table {
		if table[i].usable() {
			return &table[i]
		}
	}
	panic("hash: a table of implementations without a portable one")
}

// Picked names the implementations in use, for the operator and for benchmarks.
func Picked() (sum256, sum512 string) { return picked256.name, picked512.name }
