package hash

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
