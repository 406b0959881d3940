#include "textflag.h"

// SHA-512 of eight independent messages at once: lane i of every vector belongs to
// message i. FIPS 180-4, section 6.4; the names of variables are those used there.
//
// Registers:
//	Z16-Z23  a to h
//	Z24-Z31  W[0] to W[7] of the running sixteen, Z0-Z7  W[8] to W[15]
//	Z8-Z15   scratch
//	AX BX CX R8-R12  the eight messages, R13 the round constants,
//	DI the state, DX blocks to go, SI rounds to go

#define T0 Z8
#define T1 Z9
#define T2 Z10
#define T3 Z11
#define T4 Z12
#define T5 Z13
#define T6 Z14
#define T7 Z15

// One round with the constant at k(R13). h becomes the new a, d the new e: the next
// round takes the names one place further. Σ and the choice and majority functions
// are one VPTERNLOGQ each over rotations (0x96: xor, 0xca: choose, 0xe8: majority).
#define ROUND(a, b, c, d, e, f, g, h, w, k) \
	VPADDQ.BCST k(R13), w, T4     \
	VPRORQ $14, e, T0             \
	VPRORQ $18, e, T1             \
	VPRORQ $41, e, T2             \
	VMOVDQA64 e, T3               \
	VPADDQ T4, h, h               \
	VPTERNLOGQ $0xca, g, f, T3    \
	VPTERNLOGQ $0x96, T2, T1, T0  \
	VPRORQ $28, a, T5             \
	VPADDQ T3, h, h               \
	VPRORQ $34, a, T6             \
	VPRORQ $39, a, T7             \
	VPADDQ T0, h, h               \
	VMOVDQA64 a, T4               \
	VPTERNLOGQ $0x96, T7, T6, T5  \
	VPADDQ h, d, d                \
	VPTERNLOGQ $0xe8, c, b, T4    \
	VPADDQ T5, h, h               \
	VPADDQ T4, h, h

// Sixteen words further: w0 += σ0(w1) + w9 + σ1(w14).
#define SCHEDULE(w0, w1, w9, w14) \
	VPRORQ $1, w1, T0             \
	VPRORQ $8, w1, T1             \
	VPSRLQ $7, w1, T2             \
	VPRORQ $19, w14, T5           \
	VPADDQ w9, w0, w0             \
	VPRORQ $61, w14, T6           \
	VPSRLQ $6, w14, T7            \
	VPTERNLOGQ $0x96, T2, T1, T0  \
	VPTERNLOGQ $0x96, T7, T6, T5  \
	VPADDQ T0, w0, w0             \
	VPADDQ T5, w0, w0

// Eight quadwords of each of eight messages, from off on, as rows in x0-x7, become
// eight vectors with one quadword of each message, in y0-y7. Both are overwritten.
#define TRANSPOSE(off, x0, x1, x2, x3, x4, x5, x6, x7, y0, y1, y2, y3, y4, y5, y6, y7) \
	VMOVDQU64 off(AX), x0          \
	VMOVDQU64 off(BX), x1          \
	VMOVDQU64 off(CX), x2          \
	VMOVDQU64 off(R8), x3          \
	VMOVDQU64 off(R9), x4          \
	VMOVDQU64 off(R10), x5         \
	VMOVDQU64 off(R11), x6         \
	VMOVDQU64 off(R12), x7         \
	VPUNPCKLQDQ x1, x0, y0         \
	VPUNPCKHQDQ x1, x0, y1         \
	VPUNPCKLQDQ x3, x2, y2         \
	VPUNPCKHQDQ x3, x2, y3         \
	VPUNPCKLQDQ x5, x4, y4         \
	VPUNPCKHQDQ x5, x4, y5         \
	VPUNPCKLQDQ x7, x6, y6         \
	VPUNPCKHQDQ x7, x6, y7         \
	VSHUFI64X2 $0x88, y2, y0, x0   \
	VSHUFI64X2 $0xdd, y2, y0, x1   \
	VSHUFI64X2 $0x88, y6, y4, x2   \
	VSHUFI64X2 $0xdd, y6, y4, x3   \
	VSHUFI64X2 $0x88, y3, y1, x4   \
	VSHUFI64X2 $0xdd, y3, y1, x5   \
	VSHUFI64X2 $0x88, y7, y5, x6   \
	VSHUFI64X2 $0xdd, y7, y5, x7   \
	VSHUFI64X2 $0x88, x2, x0, y0   \
	VSHUFI64X2 $0xdd, x2, x0, y4   \
	VSHUFI64X2 $0x88, x3, x1, y2   \
	VSHUFI64X2 $0xdd, x3, x1, y6   \
	VSHUFI64X2 $0x88, x6, x4, y1   \
	VSHUFI64X2 $0xdd, x6, x4, y5   \
	VSHUFI64X2 $0x88, x7, x5, y3   \
	VSHUFI64X2 $0xdd, x7, x5, y7

// Big-endian words to the processor's order; the mask is in Z8.
#define SWAP(y0, y1, y2, y3, y4, y5, y6, y7) \
	VPSHUFB Z8, y0, y0 \
	VPSHUFB Z8, y1, y1 \
	VPSHUFB Z8, y2, y2 \
	VPSHUFB Z8, y3, y3 \
	VPSHUFB Z8, y4, y4 \
	VPSHUFB Z8, y5, y5 \
	VPSHUFB Z8, y6, y6 \
	VPSHUFB Z8, y7, y7

// func blocks512x8(state *[8][8]uint64, messages *[8]unsafe.Pointer, blocks uint64)
// Requires: AVX512F, AVX512BW
TEXT ·blocks512x8(SB), NOSPLIT, $0-24
	MOVQ state+0(FP), DI
	MOVQ messages+8(FP), SI
	MOVQ blocks+16(FP), DX
	MOVQ 0(SI), AX
	MOVQ 8(SI), BX
	MOVQ 16(SI), CX
	MOVQ 24(SI), R8
	MOVQ 32(SI), R9
	MOVQ 40(SI), R10
	MOVQ 48(SI), R11
	MOVQ 56(SI), R12
	VMOVDQU64 0(DI), Z16
	VMOVDQU64 64(DI), Z17
	VMOVDQU64 128(DI), Z18
	VMOVDQU64 192(DI), Z19
	VMOVDQU64 256(DI), Z20
	VMOVDQU64 320(DI), Z21
	VMOVDQU64 384(DI), Z22
	VMOVDQU64 448(DI), Z23

block:
	TRANSPOSE(0, Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31)
	TRANSPOSE(64, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7)
	VMOVDQU64 ·swap64(SB), Z8
	SWAP(Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31)
	SWAP(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7)
	LEAQ ·rounds512(SB), R13
	MOVQ $4, SI

sixteen:
	ROUND(Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, 0)
	SCHEDULE(Z24, Z25, Z1, Z6)
	ROUND(Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z25, 8)
	SCHEDULE(Z25, Z26, Z2, Z7)
	ROUND(Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z26, 16)
	SCHEDULE(Z26, Z27, Z3, Z24)
	ROUND(Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z27, 24)
	SCHEDULE(Z27, Z28, Z4, Z25)
	ROUND(Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z28, 32)
	SCHEDULE(Z28, Z29, Z5, Z26)
	ROUND(Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z29, 40)
	SCHEDULE(Z29, Z30, Z6, Z27)
	ROUND(Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z30, 48)
	SCHEDULE(Z30, Z31, Z7, Z28)
	ROUND(Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z31, 56)
	SCHEDULE(Z31, Z0, Z24, Z29)
	ROUND(Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z0, 64)
	SCHEDULE(Z0, Z1, Z25, Z30)
	ROUND(Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z1, 72)
	SCHEDULE(Z1, Z2, Z26, Z31)
	ROUND(Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z2, 80)
	SCHEDULE(Z2, Z3, Z27, Z0)
	ROUND(Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z3, 88)
	SCHEDULE(Z3, Z4, Z28, Z1)
	ROUND(Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z4, 96)
	SCHEDULE(Z4, Z5, Z29, Z2)
	ROUND(Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z5, 104)
	SCHEDULE(Z5, Z6, Z30, Z3)
	ROUND(Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z6, 112)
	SCHEDULE(Z6, Z7, Z31, Z4)
	ROUND(Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z7, 120)
	SCHEDULE(Z7, Z24, Z0, Z5)
	ADDQ $128, R13
	DECQ SI
	JNZ  sixteen

	ROUND(Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, 0)
	ROUND(Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z25, 8)
	ROUND(Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z26, 16)
	ROUND(Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z27, 24)
	ROUND(Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z28, 32)
	ROUND(Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z29, 40)
	ROUND(Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z30, 48)
	ROUND(Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z31, 56)
	ROUND(Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z0, 64)
	ROUND(Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z1, 72)
	ROUND(Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z21, Z2, 80)
	ROUND(Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z20, Z3, 88)
	ROUND(Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z19, Z4, 96)
	ROUND(Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z18, Z5, 104)
	ROUND(Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z17, Z6, 112)
	ROUND(Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z16, Z7, 120)

	VPADDQ 0(DI), Z16, Z16
	VPADDQ 64(DI), Z17, Z17
	VPADDQ 128(DI), Z18, Z18
	VPADDQ 192(DI), Z19, Z19
	VPADDQ 256(DI), Z20, Z20
	VPADDQ 320(DI), Z21, Z21
	VPADDQ 384(DI), Z22, Z22
	VPADDQ 448(DI), Z23, Z23
	VMOVDQU64 Z16, 0(DI)
	VMOVDQU64 Z17, 64(DI)
	VMOVDQU64 Z18, 128(DI)
	VMOVDQU64 Z19, 192(DI)
	VMOVDQU64 Z20, 256(DI)
	VMOVDQU64 Z21, 320(DI)
	VMOVDQU64 Z22, 384(DI)
	VMOVDQU64 Z23, 448(DI)
	ADDQ $128, AX
	ADDQ $128, BX
	ADDQ $128, CX
	ADDQ $128, R8
	ADDQ $128, R9
	ADDQ $128, R10
	ADDQ $128, R11
	ADDQ $128, R12
	DECQ DX
	JNZ  block
	VZEROUPPER
	RET
