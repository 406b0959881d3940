package audit

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/keystead/keystead/compat/kbsig"
)

// blindShape builds the hash of the blind tree from teams in ascending order. What lies
// left of the newest team is kept as at most one node per level.
type blindShape struct {
	teams int64
	last  kbsig.TeamID
	value blindSum // of last
	nodes []blindNode
}

// blindNode is a node that is complete: depth bits of id are its place.
type blindNode struct {
	depth int
	id    kbsig.TeamID
	hash  blindSum
}

// add takes the next team with the hash of its value.
func (s *blindShape) add(team kbsig.TeamID, value blindSum) {
	if s.teams > 0 {
		s.close(common(&s.last, &team) + 1)
	}
	s.teams++
	s.last, s.value = team, value
}

// close makes a leaf of the newest team, no higher than depth, and joins nodes up to
// that depth: nothing more comes below.
func (s *blindShape) close(depth int) {
	at := depth
	if n := len(s.nodes); n > 0 {
		at = max(at, common(&s.nodes[n-1].id, &s.last)+1)
	}
	leaf := packBin([]byte{2, 0x91, 0x92}, s.last[:])
	s.nodes = append(s.nodes, blindNode{at, s.last, sha512.Sum512_256(packBin(leaf, s.value[:]))})
	for {
		top := &s.nodes[len(s.nodes)-1]
		if top.depth <= depth {
			return
		}
		up := blindNode{depth: top.depth - 1, id: top.id}
		switch before := s.before(); {
		case before != nil && before.depth == top.depth && common(&before.id, &top.id) == up.depth:
			up.hash = blindInner(before.hash[:], top.hash[:])
			s.nodes = s.nodes[:len(s.nodes)-1]
		case blindBit(&top.id, up.depth):
			up.hash = blindInner(nil, top.hash[:])
		default:
			up.hash = blindInner(top.hash[:], nil)
		}
		s.nodes[len(s.nodes)-1] = up
	}
}

func (s *blindShape) before() *blindNode {
	if n := len(s.nodes); n > 1 {
		return &s.nodes[n-2]
	}
	return nil
}

// finish is the hash of the whole tree.
func (s *blindShape) finish() (top blindSum, teams int64) {
	if s.teams == 0 {
		return blindEmpty, 0
	}
	s.close(0)
	return s.nodes[0].hash, s.teams
}

// common is how many bits two ids begin with in common.
func common(a, b *kbsig.TeamID) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return 8*i + bits.LeadingZeros8(x)
		}
	}
	return 8 * len(a)
}

func blindBit(id *kbsig.TeamID, at int) bool { return id[at/8]>>(7-at%8)&1 == 1 }

func blindInner(left, right []byte) blindSum {
	return sha512.Sum512_256(packBin(packBin([]byte{1, 0x92}, left), right))
}

var errBlindProof = errors.New("the proof does not lead to what the root names")

// verifyBlind verifies that a proof shows value for team in the version that has hash.
// client: go/merkletree2/proof_verifier.go:MerkleProofVerifier.verifyInclusionOrExclusionProof
func verifyBlind(proof []byte, team kbsig.TeamID, value []byte, hash blindSum) error {
	r := unpacker{b: proof}
	r.want(0x92)
	got := r.bin()
	r.want(0x94)
	secret := r.bin()
	r.want(0x90)
	leaf := packBin([]byte{2, 0x91, 0x92}, team[:])
	mac := blindMAC(secret, got)
	node := sha512.Sum512_256(packBin(leaf, mac[:]))
	depth := r.array()
	for at := depth - 1; at >= 0 && !r.bad; at-- {
		if sibling := r.bin(); at < 128 && blindBit(&team, at) {
			node = blindInner(sibling, node[:])
		} else {
			node = blindInner(node[:], sibling)
		}
	}
	head := r.b
	r.want(0x96)
	r.want(1)
	r.want(1)
	number := r.int()
	body := head[:len(head)-len(r.b)]
	r.want(0xc0)
	rest := bytes.Clone(r.b)
	older := r.bin()
	r.want(0xc0)
	if r.bad || len(r.b) != 0 || number < 1 || len(older) != 0 && len(older) != 32 || !bytes.Equal(got, value) {
		return errBlindProof
	}
	if sha512.Sum512_256(append(packBin(bytes.Clone(body), node[:]), rest...)) != hash {
		return errBlindProof
	}
	return nil
}

// unpacker reads msgpack as proofs have it.
type unpacker struct {
	b   []byte
	bad bool
}

func (r *unpacker) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *unpacker) want(c byte) { r.bad = r.take(1)[0] != c || r.bad }

// bin reads bytes; nil for nil.
func (r *unpacker) bin() []byte {
	switch c := r.take(1)[0]; c {
	case 0xc4:
		return r.take(int(r.take(1)[0]))
	case 0xc0:
	default:
		r.bad = true
	}
	return nil
}

func (r *unpacker) array() int {
	switch c := r.take(1)[0]; {
	case c>>4 == 9:
		return int(c & 15)
	case c == 0xdc:
		return int(binary.BigEndian.Uint16(r.take(2)))
	}
	r.bad = true
	return 0
}

func (r *unpacker) int() (n int64) {
	c := r.take(1)[0]
	if c < 0x80 {
		return int64(c)
	}
	if c < 0xcc || c > 0xcf {
		r.bad = true
		return 0
	}
	for _, x := range r.take(1 << (c - 0xcc)) {
		n = n<<8 | int64(x)
	}
	return n
}

// packBin appends bytes, or nil for nil.
func packBin(b, s []byte) []byte {
	if s == nil {
		return append(b, 0xc0)
	}
	return append(append(b, 0xc4, byte(len(s))), s...)
}

func packHead(b []byte, fix byte, n int) []byte {
	if n < 16 {
		return append(b, fix|byte(n))
	}
	return binary.BigEndian.AppendUint16(append(b, 0xdc), uint16(n))
}

func packInt(b []byte, n int64) []byte {
	switch {
	case n < 1<<7:
		return append(b, byte(n))
	case n < 1<<8:
		return append(b, 0xcc, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), uint64(n))
}
