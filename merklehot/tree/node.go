package tree

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
)

// interior is an interior node. It is immutable once its tree is published.
type interior struct {
	json []byte // with the children's hashes in place
	bits uint16 // which hex digits have a child
	deep uint16 // which of them are interior nodes
	// stale counts the records of this node since the last full one; see Delta.
	stale uint8
	// nodes and leaves are the children in order of their digits.
	nodes  []*interior
	leaves []leafNode
}

// child returns the child for a hex digit: an interior node, a leaf node, or nothing.
func (n *interior) child(digit byte) (*interior, leafNode) {
	bit := uint16(1) << digit
	switch {
	case n.deep&bit != 0:
		return n.nodes[rank(n.deep, digit)], nil
	case n.bits&bit != 0:
		return nil, n.leaves[rank(n.bits&^n.deep, digit)]
	default:
		return nil, nil
	}
}

// rank is how many set bits of set are below digit.
func rank(set uint16, digit byte) int { return bits.OnesCount16(set & (1<<digit - 1)) }

// leafNode is a leaf node's JSON followed by what finds the values in it: for each
// id the offset at which its value ends, two bytes, and the number of ids, one byte.
// It is one allocation without pointers, because there are nearly as many leaf nodes
// as leaves.
type leafNode []byte

const (
	tabOpen    = `{"tab":{`
	deepClose  = `},"type":1}`
	leafClose  = `},"type":2}`
	emptyTable = tabOpen + deepClose
)

func (l leafNode) count() int { return int(l[len(l)-1]) }

func (l leafNode) json() []byte {
	end := len(l) - 1 - 2*l.count()
	return l[:end:end]
}

// entry returns where the i-th id's hex digits and its value stand.
func (l leafNode) entry(i, idBytes int) (id, value []byte) {
	ends := l[len(l)-1-2*l.count():]
	start := len(tabOpen)
	if i > 0 {
		start = int(binary.BigEndian.Uint16(ends[2*i-2:])) + 1 // and the comma
	}
	end := int(binary.BigEndian.Uint16(ends[2*i:]))
	valueAt := start + 2*idBytes + 3
	return l[start+1 : valueAt-2], l[valueAt:end:end]
}

// leafValue finds id in a leaf node; nil if it is not there.
func leafValue[K IDs](l leafNode, id K) []byte {
	var digits [64]byte
	want := appendHex(digits[:0], id)
	for i := range l.count() {
		if got, value := l.entry(i, len(id)); bytes.Equal(got, want) {
			return value
		}
	}
	return nil
}

// appendEntries appends a leaf node's ids and values, which point into the node.
func appendEntries[K IDs](dst []Change[K], l leafNode) []Change[K] {
	for i := range l.count() {
		var c Change[K]
		var digits []byte
		digits, c.Leaf = l.entry(i, len(c.ID))
		for j := range len(c.ID) {
			c.ID[j] = hexValue[digits[2*j]]<<4 | hexValue[digits[2*j+1]]
		}
		dst = append(dst, c)
	}
	return dst
}

// renderLeaf makes the leaf node of sorted entries.
func renderLeaf[K IDs](entries []Change[K]) leafNode {
	var k K
	size := len(tabOpen) + len(leafClose) - 1 + 2*len(entries) + 1
	for _, e := range entries {
		size += 2*len(k) + 4 + len(e.Leaf)
	}
	l := make(leafNode, 0, size)
	l = append(l, tabOpen...)
	var ends [2 * leafIDsMax]byte
	for i, e := range entries {
		if i > 0 {
			l = append(l, ',')
		}
		l = append(l, '"')
		l = appendHex(l, e.ID)
		l = append(l, '"', ':')
		l = append(l, e.Leaf...)
		binary.BigEndian.PutUint16(ends[2*i:], uint16(len(l)))
	}
	l = append(l, leafClose...)
	l = append(l, ends[:2*len(entries)]...)
	return append(l, byte(len(entries)))
}

// children are the hashes of an interior node's children by hex digit.
type children[H Sums] struct {
	bits uint16
	sums [16]H
}

// renderInterior makes the JSON of an interior node; the first depth digits of id
// are its prefix.
func renderInterior[K IDs, H Sums](depth int, id K, c *children[H]) []byte {
	b := make([]byte, 0, interiorBytes[H](depth, bits.OnesCount16(c.bits)))
	b = append(b, tabOpen...)
	var digits [64]byte
	prefix := appendHex(digits[:0], id)[:depth+1]
	for d := range byte(16) {
		if c.bits&(1<<d) == 0 {
			continue
		}
		if len(b) > len(tabOpen) {
			b = append(b, ',')
		}
		prefix[depth] = hexDigits[d]
		b = append(b, '"')
		b = append(b, prefix...)
		b = append(b, '"', ':', '"')
		b = appendHexSum(b, &c.sums[d])
		b = append(b, '"')
	}
	return append(b, deepClose...)
}

// interiorBytes is the length of an interior node's JSON with n children.
func interiorBytes[H Sums](depth, n int) int {
	size := len(emptyTable)
	if n > 0 {
		size += n*(entryBytes[H](depth)+1) - 1
	}
	return size
}

// entryBytes is the length of one entry of an interior node's table: quoted prefix,
// colon, quoted hash.
func entryBytes[H Sums](depth int) int {
	var h H
	return depth + 1 + 5 + 2*len(h)
}

// sumSlot is where the hash of the i-th child stands in an interior node's JSON.
func sumSlot[H Sums](json []byte, depth, i int) []byte {
	at := len(tabOpen) + i*(entryBytes[H](depth)+1) + depth + 1 + 4
	var h H
	return json[at : at+2*len(h) : at+2*len(h)]
}

// childSum reads the hash of the child for a hex digit, which must exist.
func childSum[H Sums](n *interior, depth int, digit byte) (h H) {
	slot := sumSlot[H](n.json, depth, rank(n.bits, digit))
	for i := range len(h) {
		h[i] = hexValue[slot[2*i]]<<4 | hexValue[slot[2*i+1]]
	}
	return h
}

const hexDigits = "0123456789abcdef"

// hexPairs is every byte in hex; one look-up writes two digits.
var hexPairs = func() (t [256][2]byte) {
	for i := range t {
		t[i] = [2]byte{hexDigits[i>>4], hexDigits[i&15]}
	}
	return t
}()

// hexValue is the inverse of hexDigits for characters that are hex digits.
var hexValue = func() (t [256]byte) {
	for i, c := range []byte(hexDigits) {
		t[c] = byte(i)
	}
	return t
}()

func appendHex[K IDs](dst []byte, id K) []byte {
	for i := range len(id) {
		p := &hexPairs[id[i]]
		dst = append(dst, p[0], p[1])
	}
	return dst
}

func appendHexBytes(dst, b []byte) []byte { return hex.AppendEncode(dst, b) }

func appendHexSum[H Sums](dst []byte, h *H) []byte {
	for i := range len(*h) {
		p := &hexPairs[(*h)[i]]
		dst = append(dst, p[0], p[1])
	}
	return dst
}

// putHexSum writes h in hex over slot, which has just that length.
func putHexSum[H Sums](slot []byte, h *H) {
	_ = slot[2*len(*h)-1]
	for i := range len(*h) {
		p := &hexPairs[(*h)[i]]
		slot[2*i], slot[2*i+1] = p[0], p[1]
	}
}

// nibble is the hex digit of id at position i.
func nibble[K IDs](id *K, i int) byte {
	if i&1 == 0 {
		return (*id)[i>>1] >> 4
	}
	return (*id)[i>>1] & 15
}
