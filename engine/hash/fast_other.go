//go:build !amd64

package hash

// There is no faster batch than the portable one here.
var fast512 []batch[[Size512]byte]

func putHex(dst, src []byte) { putHexPortable(dst, src) }
