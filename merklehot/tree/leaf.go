package tree

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/keystead/keystead/compat/kbsig"
)

// Leaf is what can stand in the tree: a UserLeaf or a TeamLeaf.
type Leaf interface {
	// Encode is the leaf's JSON. Equal leaves give equal bytes.
	Encode() []byte
	leaf()
}

// Triple is the end of a chain: the number of its last link, that link's id and the
// base of its signature's id. The zero Triple is an empty chain.
// client: go/libkb/merkle_client.go:parseTriple
type Triple struct {
	Seqno kbsig.Seqno
	Link  kbsig.LinkID
	Sig   kbsig.SigIDBase
}

// ResetTail is the end of a user's reset chain: the number of the last reset link
// and SHA-512 of its JSON. The zero ResetTail says that there was no reset.
// client: go/libkb/merkle_reset_chain.go:parseV2LeafResetChainTail
type ResetTail struct {
	Seqno kbsig.Seqno
	Hash  [64]byte
}

// UserLeaf is a user's leaf: the end of the chain, the eldest key of the present
// incarnation, and the end of the reset chain. The zero UserLeaf is that of an
// account without links.
// client: go/libkb/merkle_client.go:parseV2
type UserLeaf struct {
	Seqno kbsig.Seqno
	Link  kbsig.LinkID
	Sig   kbsig.SigIDBase
	// Eldest is zero without keys and just after a reset.
	Eldest kbsig.KID
	Reset  ResetTail
}

// Encode implements Leaf.
func (l UserLeaf) Encode() []byte {
	return Value{Public: Triple{l.Seqno, l.Link, l.Sig}, Eldest: l.Eldest, Reset: l.Reset}.Encode()
}

func (UserLeaf) leaf() {}

// TeamLeaf is a team's leaf; the public chain is that of open teams. Its fourth
// element is null, which clients do not read.
// client: go/libkb/merkle_client.go:parseMerkleTeamLeaf
type TeamLeaf struct{ Public, Private Triple }

// Encode implements Leaf.
func (l TeamLeaf) Encode() []byte {
	return Value{Public: l.Public, Private: l.Private}.Encode()
}

func (TeamLeaf) leaf() {}

// Value is any leaf as read back.
type Value struct {
	Public, Private Triple
	Eldest          kbsig.KID
	Reset           ResetTail
}

// Encode is the leaf's JSON: [2,public,private,eldest] and, after a reset, the
// reset tail as a fifth element.
func (l Value) Encode() []byte {
	b := make([]byte, 0, 256)
	b = append(b, "[2,"...)
	b = appendTriple(b, l.Public)
	b = append(b, ',')
	b = appendTriple(b, l.Private)
	if l.Eldest.IsZero() {
		b = append(b, ",null"...)
	} else {
		b = append(b, ',')
		b = appendQuotedHex(b, l.Eldest[:])
	}
	if l.Reset.Seqno != 0 {
		b = append(b, ",["...)
		b = strconv.AppendInt(b, int64(l.Reset.Seqno), 10)
		b = append(b, ',')
		b = appendQuotedHex(b, l.Reset.Hash[:])
		b = append(b, ']')
	}
	return append(b, ']')
}

func appendTriple(b []byte, t Triple) []byte {
	if t.Seqno == 0 {
		return append(b, "[]"...)
	}
	b = append(b, '[')
	b = strconv.AppendInt(b, int64(t.Seqno), 10)
	b = append(b, ',')
	b = appendQuotedHex(b, t.Link[:])
	b = append(b, ',')
	b = appendQuotedHex(b, t.Sig[:])
	return append(b, ']')
}

func appendQuotedHex(b, raw []byte) []byte {
	b = append(b, '"')
	b = hex.AppendEncode(b, raw)
	return append(b, '"')
}

// ParseLeaf reads exactly what Encode writes; anything else is ErrBadLeaf.
func ParseLeaf(b []byte) (Value, error) {
	var l Value
	s := scanner{rest: b}
	s.skip("[2,")
	l.Public = s.triple()
	s.skip(",")
	l.Private = s.triple()
	if !s.try(",null") {
		s.skip(",")
		s.hex(l.Eldest[:])
		if _, err := kbsig.KIDFromBytes(l.Eldest[:]); err != nil {
			s.bad = true
		}
	}
	if s.try(",[") {
		l.Reset.Seqno = s.seqno()
		s.skip(",")
		s.hex(l.Reset.Hash[:])
		s.skip("]")
	}
	s.skip("]")
	if s.bad || len(s.rest) > 0 {
		return Value{}, fmt.Errorf("leaf of %d bytes does not parse: %w", len(b), ErrBadLeaf)
	}
	return l, nil
}

// scanner reads fixed JSON from left to right; after a mismatch bad stays set.
type scanner struct {
	rest []byte
	bad  bool
}

func (s *scanner) try(want string) bool {
	if s.bad || len(s.rest) < len(want) || string(s.rest[:len(want)]) != want {
		return false
	}
	s.rest = s.rest[len(want):]
	return true
}

func (s *scanner) skip(want string) {
	if !s.try(want) {
		s.bad = true
	}
}

func (s *scanner) triple() (t Triple) {
	if s.try("[]") {
		return t
	}
	s.skip("[")
	t.Seqno = s.seqno()
	s.skip(",")
	s.hex(t.Link[:])
	s.skip(",")
	s.hex(t.Sig[:])
	s.skip("]")
	return t
}

// seqno reads a number from 1 on without leading zeros.
func (s *scanner) seqno() kbsig.Seqno {
	n := 0
	for n < len(s.rest) && s.rest[n] >= '0' && s.rest[n] <= '9' {
		n++
	}
	if s.bad || n == 0 || s.rest[0] == '0' {
		s.bad = true
		return 0
	}
	v, err := strconv.ParseInt(string(s.rest[:n]), 10, 64)
	s.bad = err != nil
	s.rest = s.rest[n:]
	return kbsig.Seqno(v)
}

// hex reads quoted lower-case hex of just len(dst) bytes.
func (s *scanner) hex(dst []byte) {
	s.skip(`"`)
	if s.bad || len(s.rest) < 2*len(dst) {
		s.bad = true
		return
	}
	for i := range dst {
		hi, lo := s.rest[2*i], s.rest[2*i+1]
		if hexDigits[hexValue[hi]] != hi || hexDigits[hexValue[lo]] != lo {
			s.bad = true
			return
		}
		dst[i] = hexValue[hi]<<4 | hexValue[lo]
	}
	s.rest = s.rest[2*len(dst):]
	s.skip(`"`)
}
