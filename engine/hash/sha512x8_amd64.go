package hash

import (
	"crypto/sha512"
	"encoding/binary"
	"math/bits"
	"unsafe"

	"github.com/klauspost/cpuid/v2"
)

// SHA-512 of eight messages at once, for processors with AVX-512. Messages of any
// lengths share the lanes: a lane that is done takes the next message. 2.2 KB nodes
// of the Merkle tree take a quarter of the time that they take one by one.

const (
	lanes512 = 8
	block512 = sha512.BlockSize
	// aloneMax is up to how many messages are hashed one by one: eight lanes take
	// longer for a block than one alone, so a few messages do not fill them.
	aloneMax = 3
)

var fast512 = []batch[[Size512]byte]{{
	name:  "avx512 x 8",
	needs: []cpuid.FeatureID{cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL},
	many:  sum512x8,
}}

// blocks512x8 runs the compression function over so many blocks of each message.
//
//go:noescape
func blocks512x8(state *[8][lanes512]uint64, messages *[lanes512]unsafe.Pointer, blocks uint64)

// lanes is the work of one call.
type lanes struct {
	state    [8][lanes512]uint64 // word by word, lane by lane
	messages [lanes512]unsafe.Pointer
	left     [lanes512]int // blocks until the lane needs attention; 0: idle
	at       [lanes512]int // which message
	padded   [lanes512]int // blocks in tails that follow what left counts
	// tails hold the rest of each message behind its whole blocks, and the padding.
	tails [lanes512][2 * block512]byte
}

func sum512x8(dst [][Size512]byte, msgs [][]byte) {
	if len(msgs) <= aloneMax {
		for i, m := range msgs {
			dst[i] = sha512.Sum512(m)
		}
		return
	}
	var l lanes
	next, busy := 0, 0
	for lane := 0; lane < lanes512 && next < len(msgs); lane++ {
		l.begin(lane, next, msgs[next])
		next++
		busy++
	}
	for busy > 0 {
		n := l.step()
		blocks512x8(&l.state, &l.messages, uint64(n))
		for lane := range lanes512 {
			if l.left[lane] == 0 {
				continue
			}
			l.left[lane] -= n
			switch {
			case l.left[lane] > 0:
				l.messages[lane] = unsafe.Add(l.messages[lane], n*block512)
			case l.padded[lane] > 0:
				l.messages[lane] = unsafe.Pointer(&l.tails[lane])
				l.left[lane], l.padded[lane] = l.padded[lane], 0
			default:
				l.end(lane, &dst[l.at[lane]])
				if next < len(msgs) {
					l.begin(lane, next, msgs[next])
					next++
				} else {
					busy--
				}
			}
		}
	}
}

// step is how many blocks all busy lanes have in a row. Idle lanes are pointed at a
// busy one's message: what they compute is not used.
func (l *lanes) step() int {
	n, at := 0, 0
	for lane, left := range l.left {
		if left > 0 && (n == 0 || left < n) {
			n, at = left, lane
		}
	}
	for lane, left := range l.left {
		if left == 0 {
			l.messages[lane] = l.messages[at]
		}
	}
	return n
}

// begin gives a lane its next message.
func (l *lanes) begin(lane, at int, m []byte) {
	for i, v := range initial512 {
		l.state[i][lane] = v
	}
	whole := len(m) / block512
	tail := l.tails[lane][:]
	clear(tail[copy(tail, m[whole*block512:]):])
	rest := len(m) % block512
	tail[rest] = 0x80
	blocks := 1
	if rest+1+16 > block512 {
		blocks = 2
	}
	hi, lo := bits.Mul64(uint64(len(m)), 8)
	binary.BigEndian.PutUint64(tail[blocks*block512-16:], hi)
	binary.BigEndian.PutUint64(tail[blocks*block512-8:], lo)
	l.at[lane] = at
	if whole == 0 {
		l.messages[lane] = unsafe.Pointer(&l.tails[lane])
		l.left[lane], l.padded[lane] = blocks, 0
		return
	}
	l.messages[lane] = unsafe.Pointer(unsafe.SliceData(m))
	l.left[lane], l.padded[lane] = whole, blocks
}

// end takes a lane's digest.
func (l *lanes) end(lane int, dst *[Size512]byte) {
	for i := range l.state {
		binary.BigEndian.PutUint64(dst[8*i:], l.state[i][lane])
	}
}

// swap64 reverses the bytes of each quadword.
//
//lint:ignore U1000 the assembly reads it
var swap64 = func() (mask [64]byte) {
	for i := range mask {
		mask[i] = byte(i%16&8 + 7 - i%8)
	}
	return mask
}()

// initial512 and rounds512 are the constants of FIPS 180-4: the first 64 bits of the
// fractional parts of the square roots of the first 8 primes, and of the cube roots
// of the first 80.
var (
	initial512 = [8]uint64{
		0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
		0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
	}
	//lint:ignore U1000 the assembly reads it
	rounds512 = [80]uint64{
		0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
		0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
		0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
		0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
		0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
		0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
		0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
		0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
		0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
		0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
		0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
		0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
		0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
		0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
		0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
		0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
		0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
		0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
		0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
		0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
	}
)
