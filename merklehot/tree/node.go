package tree

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/keystead/keystead/engine/hash"
)

// interior is an interior node. It is immutable once its tree is published. Its JSON
// is rendered when it is hashed or served: keeping it would double what an update
// copies and allocates.
type interior[H Sums] struct {
	bits uint16 // which hex digits have a child
	deep uint16 // which of them are interior nodes
	// stale counts the records of this node since the last full one; see Delta.
	stale uint8
	// sums are the hashes of all children, nodes and leaves the children by kind,
	// in order of their digits.
	sums   []H
	nodes  []*interior[H]
	leaves []leafNode
}

// child returns the child for a hex digit: an interior node, a leaf node, or nothing.
func (n *interior[H]) child(digit byte) (*interior[H], leafNode) {
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

// sum is the hash of the child for a hex digit, which must exist.
func (n *interior[H]) sum(digit byte) *H { return &n.sums[rank(n.bits, digit)] }

// json appends the node's JSON; the first depth characters of digits are its prefix.
func (n *interior[H]) json(dst []byte, depth int, digits string) []byte {
	return appendTable(dst, n.bits, n.sums, digits[:depth], `"`)
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
	leafClose  = `},"type":2}`
	emptyTable = tabOpen + `},"type":1}`
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

// appendTable appends the JSON of an interior node with the given prefix and, for
// each set bit of digits, the hash of that child. quote is how a quotation mark is
// spelled: alone, or escaped where the JSON becomes a string in other JSON.
func appendTable[H Sums, P string | []byte](dst []byte, digits uint16, sums []H, prefix P, quote string) []byte {
	var h H
	q := len(quote)
	entry := 4*q + len(prefix) + 1 + len(":") + 2*len(h)
	size := len(emptyTable) - 4 + 4*q + len(sums)*(entry+1) - min(len(sums), 1)
	dst = slices.Grow(dst, size)
	b := dst[len(dst) : len(dst)+size]

	at := copy(b, "{")
	at += copy(b[at:], quote)
	at += copy(b[at:], "tab")
	at += copy(b[at:], quote)
	at += copy(b[at:], ":{")
	// What stands before each hash differs in one character.
	var room [96]byte
	lead := append(room[:0], quote...)
	lead = append(lead, prefix...)
	lead = append(lead, '?')
	digit := len(lead) - 1
	lead = append(lead, quote...)
	lead = append(lead, ':')
	lead = append(lead, quote...)
	for i := range sums {
		if i > 0 {
			b[at] = ','
			at++
		}
		lead[digit] = hexDigits[bits.TrailingZeros16(digits)]
		digits &= digits - 1
		at += copy(b[at:], lead)
		at += putSum(b[at:], &sums[i])
		at += copy(b[at:], quote)
	}
	at += copy(b[at:], "},")
	at += copy(b[at:], quote)
	at += copy(b[at:], "type")
	at += copy(b[at:], quote)
	at += copy(b[at:], ":1}")
	return dst[:len(dst)+at]
}

// tableBytesMax is how long the JSON of an interior node is at most.
func tableBytesMax(children, depth, sumBytes int) int {
	return len(emptyTable) + children*(depth+1+6+2*sumBytes)
}

// putSum writes a hash in hex and returns its length.
func putSum[H Sums](dst []byte, h *H) int {
	n := len(*h)
	hash.PutHex(dst, hash.Bytes(h))
	return 2 * n
}

const hexDigits = "0123456789abcdef"

// hexValue is the inverse of hexDigits for characters that are hex digits.
var hexValue = func() (t [256]byte) {
	for i, c := range []byte(hexDigits) {
		t[c] = byte(i)
	}
	return t
}()

// appendHex appends an id in hex.
func appendHex[K IDs](dst []byte, id K) []byte {
	n := len(id)
	dst = slices.Grow(dst, 2*n)
	hash.PutHex(dst[len(dst):len(dst)+2*n], hash.Bytes(&id))
	return dst[:len(dst)+2*n]
}

// nibble is the hex digit of id at position i.
func nibble[K IDs](id *K, i int) byte {
	if i&1 == 0 {
		return (*id)[i>>1] >> 4
	}
	return (*id)[i>>1] & 15
}
