package blindtree

import (
	"encoding/binary"
	"math"
)

// Constants of the format. client: go/merkletree2/tree.go:Node.CodecEncodeSelf,
// go/merkletree2/encoders.go:EncodingTypeBlindedSHA512_256v1, go/blindtree/values.go:ValueTypeTeamV1
const (
	kindInner    = 1
	kindLeaf     = 2
	rootVersion  = 1
	encodingType = 1
	valueTeam    = 1
	hiddenChain  = 17 // the type of a team's hidden chain

	mpNil = 0xc0
)

// emptyNode is the hash of the tree without teams: a leaf node without entries.
func emptyNode() Sum { return sum([]byte{kindLeaf, mpNil}) }

// leafNode is the hash of the leaf node of one team.
func leafNode(team Key, value Sum) Sum {
	b := make([]byte, 0, 56)
	b = append(b, kindLeaf, 0x91)
	return sum(appendPair(b, team, value))
}

// innerNode is the hash of a node with two children, of which one may be missing.
func innerNode(left, right *Sum) Sum {
	b := make([]byte, 0, 72)
	b = append(b, kindInner, 0x92)
	return sum(appendHash(appendHash(b, left), right))
}

// appendPair appends a team with the hash of its value.
func appendPair(b []byte, team Key, value Sum) []byte {
	b = append(b, 0x92)
	return appendBin(appendBin(b, team[:]), value[:])
}

// appendValue appends a team's value: its tails by the type of the chain.
func appendValue(b []byte, t Tail) []byte {
	b = append(b, valueTeam, 0x91, 0x81, hiddenChain, 0x83, 0xa1, 'h')
	b = appendBin(b, t.Link[:])
	b = appendUint(append(b, 0xa1, 's'), uint64(t.Seqno))
	return append(b, 0xa1, 't', hiddenChain)
}

// appendMeta appends the metadata of a version. Proofs leave the hash of the top node
// out: whoever verifies computes it.
// client: go/merkletree2/tree.go:RootMetadata
func (v *Version) appendMeta(b []byte, top bool) []byte {
	b = appendUint(append(b, 0x96, rootVersion, encodingType), uint64(v.Number))
	if top {
		b = appendBin(b, v.top[:])
	} else {
		b = append(b, mpNil)
	}
	if len(v.skips) == 0 {
		return append(b, mpNil, mpNil)
	}
	table := appendArray(make([]byte, 0, 3+34*len(v.skips)), len(v.skips))
	for i := range v.skips {
		table = appendBin(table, v.skips[i][:])
	}
	h := sum(table)
	return append(appendBin(b, h[:]), mpNil)
}

func appendHash(b []byte, h *Sum) []byte {
	if h == nil {
		return append(b, mpNil)
	}
	return appendBin(b, h[:])
}

// appendBin appends a byte string of less than 64 KiB.
func appendBin(b, s []byte) []byte {
	if len(s) <= math.MaxUint8 {
		b = append(b, 0xc4, byte(len(s)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0xc5), uint16(len(s)))
	}
	return append(b, s...)
}

// appendArray appends the head of an array of less than 64 Ki elements.
func appendArray(b []byte, n int) []byte {
	if n < 16 {
		return append(b, 0x90|byte(n))
	}
	return binary.BigEndian.AppendUint16(append(b, 0xdc), uint16(n))
}

func appendUint(b []byte, v uint64) []byte {
	switch {
	case v < 0x80:
		return append(b, byte(v))
	case v <= math.MaxUint8:
		return append(b, 0xcc, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), v)
}
