package hash

import "github.com/klauspost/cpuid/v2"

//lint:ignore U1000 the assembly reads it
var hexTable = [16]byte([]byte(hexDigits))

//lint:ignore U1000 the assembly reads it
var lowHalves = [16]byte{0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f}

var fastHex = cpuid.CPU.Supports(cpuid.AVX2)

// hex16 writes the hex digits of 16*blocks bytes at src to dst; blocks is not 0.
//
//go:noescape
func hex16(dst, src *byte, blocks uint64)

func putHex(dst, src []byte) {
	n := 0
	if blocks := len(src) / 16; blocks > 0 && fastHex {
		n = 16 * blocks
		_ = dst[2*n-1]
		hex16(&dst[0], &src[0], uint64(blocks))
	}
	putHexPortable(dst[2*n:], src[n:])
}
