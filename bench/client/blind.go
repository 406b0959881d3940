package client

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
)

// RuleBlind: what the blind tree says of a hidden chain hashes to what the root names.
const RuleBlind Rule = "blind"

// Constants of the blind tree. client: go/blindtree/defaults.go:GetCurrentBlindTreeConfig
const (
	blindDepthMax  = 128
	hiddenSeqType  = 17
	blindValueTeam = 1
)

// HiddenTail is the end of a team's hidden chain.
type HiddenTail struct {
	Seqno  Seqno
	LinkID LinkID
}

// BlindProof is enc_value_with_proof, decoded: what a version of the blind tree says of
// one team. client: go/merkletree2/tree.go:MerkleInclusionProof
type BlindProof struct {
	value    []byte // nil: the team is not there
	secret   []byte
	others   []any // other pairs in the leaf; nil: no leaf is there
	siblings []any // from the leaf up
	meta     []any
}

// VerifyBlind checks a proof against the hash that a root carries, and returns what the
// root says of the team's hidden chain: its tail, or nil if it has none.
// client: go/merkletree2/proof_verifier.go:MerkleProofVerifier.VerifyInclusionProof
func VerifyBlind(rootHash string, team [16]byte, encoded string) (*HiddenTail, error) {
	subject := fmt.Sprintf("hidden chain of %x", team)
	p, err := parseBlindProof(encoded)
	if err != nil {
		return nil, under(RuleBlind, subject, err)
	}
	var tail *HiddenTail
	if p.value != nil {
		if tail, err = parseBlindValue(p.value); err != nil {
			return nil, under(RuleBlind, subject, err)
		}
	}
	got, err := p.root(team)
	if err != nil {
		return nil, under(RuleBlind, subject, err)
	}
	if hex.EncodeToString(got) != rootHash {
		return nil, violated(RuleBlind, subject, "the proof hashes to %x, the root names %s", got, rootHash)
	}
	return tail, nil
}

func parseBlindProof(encoded string) (*BlindProof, error) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	v, err := unpackUpTo(raw, blindDepthMax)
	if err != nil {
		return nil, err
	}
	pair, err := as[[]any](v)
	if err != nil || len(pair) != 2 {
		return nil, fmt.Errorf("not a value and a proof: %w", errPack)
	}
	parts, err := as[[]any](pair[1])
	if err != nil || len(parts) != 4 {
		return nil, fmt.Errorf("not a proof of four parts: %w", errPack)
	}
	p := new(BlindProof)
	if pair[0] != nil {
		if p.value, err = as[[]byte](pair[0]); err != nil || len(p.value) == 0 {
			return nil, fmt.Errorf("value: %w", errPack)
		}
	}
	if parts[0] != nil {
		if p.secret, err = as[[]byte](parts[0]); err != nil {
			return nil, err
		}
	}
	if parts[1] != nil {
		if p.others, err = as[[]any](parts[1]); err != nil {
			return nil, err
		}
	}
	if p.siblings, err = as[[]any](parts[2]); err != nil {
		return nil, err
	}
	p.meta, err = as[[]any](parts[3])
	if err == nil && (len(p.meta) != 6 || p.meta[0] != int64(1) || p.meta[1] != int64(1) || p.meta[3] != nil || p.meta[5] != nil) {
		err = fmt.Errorf("metadata: %w", errPack)
	}
	return p, err
}

// parseBlindValue reads a team's value: type 1, then a list of a map from the chain's
// type to its tail. client: go/blindtree/values.go:TeamV1Value
func parseBlindValue(b []byte) (*HiddenTail, error) {
	head := []byte{blindValueTeam, 0x91, 0x81, hiddenSeqType}
	if !bytes.HasPrefix(b, head) {
		return nil, fmt.Errorf("value %x: %w", b, errPack)
	}
	t, err := unpackTail(b[len(head):], hiddenSeqType)
	if err != nil {
		return nil, err
	}
	if again := append(head, t.pack(hiddenSeqType)...); !bytes.Equal(again, b) {
		return nil, fmt.Errorf("value %x is not canonical: %w", b, errPack)
	}
	return t, nil
}

// unpackTail reads {h, s, t}. client: go/sig3/prot.go:Tail
func unpackTail(b []byte, chain int64) (*HiddenTail, error) {
	v, err := unpack(b)
	if err != nil {
		return nil, err
	}
	f, err := as[[]packField](v)
	if err != nil || len(f) != 3 || f[0].key != "h" || f[1].key != "s" || f[2].key != "t" || f[2].value != chain {
		return nil, fmt.Errorf("tail: %w", errPack)
	}
	h, err := as[[]byte](f[0].value)
	n, err2 := as[int64](f[1].value)
	if err != nil || err2 != nil || len(h) != 32 || n < 1 {
		return nil, fmt.Errorf("tail: %w", errPack)
	}
	return &HiddenTail{Seqno(n), LinkID(h)}, nil
}

func (t *HiddenTail) pack(chain int64) []byte {
	var p packer
	p.object(3)
	p.str("h")
	p.bin(t.LinkID[:])
	p.str("s")
	p.int(int64(t.Seqno))
	p.str("t")
	p.int(chain)
	return p
}

// root computes the hash of the version from the proof.
func (p *BlindProof) root(team [16]byte) ([]byte, error) {
	if p.value != nil && len(p.others) > 0 || len(p.others) > 1 || len(p.siblings) > blindDepthMax {
		return nil, fmt.Errorf("%d other teams in the leaf, %d levels: %w", len(p.others), len(p.siblings), errPack)
	}
	node, err := p.leaf(team)
	if err != nil {
		return nil, err
	}
	depth := len(p.siblings)
	for i, s := range p.siblings {
		// The sibling is at level depth-i; bit depth-i-1 of the id says on which side.
		bit := depth - i - 1
		right := team[bit/8]>>(7-bit%8)&1 == 1
		var w packer
		w.int(1)
		w.array(2)
		if !right {
			w.binOrNull(node)
		}
		sibling, err := blindHash(s)
		if err != nil {
			return nil, err
		}
		w.binOrNull(sibling)
		if right {
			w.binOrNull(node)
		}
		node = blindSum(w)
	}
	var w packer
	w.array(6)
	w.int(1)
	w.int(1)
	n, err := as[int64](p.meta[2])
	if err != nil {
		return nil, err
	}
	w.int(n)
	w.binOrNull(node)
	skips, err := blindHash(p.meta[4])
	if err != nil {
		return nil, err
	}
	w.binOrNull(skips)
	w.null()
	return blindSum(w), nil
}

// leaf is the hash of the node where the team hangs or would hang; nil if there is none.
func (p *BlindProof) leaf(team [16]byte) ([]byte, error) {
	var w packer
	w.int(2)
	switch {
	case p.value != nil:
		m := hmac.New(sha512.New512_256, p.secret)
		m.Write(p.value)
		w.array(1)
		w.array(2)
		w.bin(team[:])
		w.bin(m.Sum(nil))
	case p.others == nil:
		return nil, nil
	case len(p.others) == 0:
		w.null()
	default:
		pair, err := as[[]any](p.others[0])
		if err != nil || len(pair) != 2 {
			return nil, fmt.Errorf("other team: %w", errPack)
		}
		id, err := as[[]byte](pair[0])
		if err != nil || len(id) != len(team) || bytes.Equal(id, team[:]) {
			return nil, fmt.Errorf("other team: %w", errPack)
		}
		sum, err := blindHash(pair[1])
		if err != nil || sum == nil {
			return nil, fmt.Errorf("other team: %w", errPack)
		}
		w.array(1)
		w.array(2)
		w.bin(id)
		w.bin(sum)
	}
	return blindSum(w), nil
}

func blindHash(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	b, err := as[[]byte](v)
	if err != nil || len(b) != 32 {
		return nil, fmt.Errorf("hash: %w", errPack)
	}
	return b, nil
}

func blindSum(b []byte) []byte {
	h := sha512.Sum512_256(b)
	return h[:]
}
