#include "textflag.h"

// func hex16(dst, src *byte, blocks uint64)
// Requires: AVX2
//
// Each block turns 16 bytes into 32 lower-case hex digits: a byte becomes a word
// with the high half first, and a shuffle looks both halves up at once.
TEXT ·hex16(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ blocks+16(FP), CX
	VBROADCASTI128 ·hexTable(SB), Y2
	VBROADCASTI128 ·lowHalves(SB), Y3

next:
	VPMOVZXBW (SI), Y0
	VPSLLW $8, Y0, Y1
	VPSRLW $4, Y0, Y0
	VPOR Y1, Y0, Y0
	VPAND Y3, Y0, Y0
	VPSHUFB Y0, Y2, Y0
	VMOVDQU Y0, (DI)
	ADDQ $16, SI
	ADDQ $32, DI
	DECQ CX
	JNZ next
	VZEROUPPER
	RET
