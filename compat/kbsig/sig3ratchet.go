package kbsig

import (
	"crypto/hmac"
	"crypto/sha512"
	"fmt"
)

// Limits of ratchets.
const (
	// BlindingKeysMax is how many ratchets one request or reply explains.
	BlindingKeysMax = 10_000
	blindingBytes   = 160 // of one, encoded
)

// Ratchet is what a visible link says about the hidden chain: a MAC of its tail, which
// tells nothing without the key. client: go/teams/hidden/ratchet.go:SCTeamRatchet
type Ratchet [32]byte

// ParseRatchet reads a ratchet as it stands in a link.
func ParseRatchet(s string) (h Ratchet, err error) { return h, parseHex("ratchet", s, h[:]) }

// Blinding explains a ratchet: the tail, and the key under which the ratchet is its MAC.
type Blinding struct {
	Tail    Sig3Tail
	Ratchet Ratchet
	Key     [32]byte
}

// RatchetOf is the ratchet that a tail has under a key.
// client: go/teams/hidden/ratchet.go:RatchetBlind.compute
func RatchetOf(t Sig3Tail, key [32]byte) Ratchet {
	m := hmac.New(sha512.New, key[:])
	m.Write(t.append(nil, SeqTypeTeamHidden))
	return Ratchet(m.Sum(nil)[:32])
}

// ParseBlindings reads ratchet_blinding_keys and checks that each ratchet is what its
// tail and key give. The empty text has none.
// client: go/teams/hidden/ratchet.go:RatchetBlindingKeySet.UnmarshalJSON
func ParseBlindings(s string) ([]Blinding, error) {
	if s == "" {
		return nil, nil
	}
	raw, err := DecodeArmored(s, BlindingKeysMax*blindingBytes)
	if err != nil {
		return nil, fmt.Errorf("blinding keys: %w", err)
	}
	r := &msgpackReader{buf: raw}
	n := r.array(BlindingKeysMax, "blinding keys")
	var out []Blinding
	for range n {
		var b Blinding
		r.mapOf(3, "blinding key")
		r.text("b")
		var chain uint64
		b.Tail, chain = readSig3Tail(r)
		r.text("r")
		r.mapOf(2, "ratchet")
		r.text("k")
		copy(b.Key[:], r.binOf(len(b.Key), "blinding key"))
		r.text("r")
		copy(b.Ratchet[:], r.binOf(len(b.Ratchet), "ratchet"))
		r.text("v")
		version := r.uint(255, "version")
		if r.err != nil {
			break
		}
		if chain != SeqTypeTeamHidden || version != 1 || b.Tail.Seqno < 1 || RatchetOf(b.Tail, b.Key) != b.Ratchet {
			return nil, fmt.Errorf("blinding key of hidden link %d, chain %d, version %d, does not give its ratchet: %w", b.Tail.Seqno, chain, version, ErrSig3)
		}
		out = append(out, b)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("blinding keys: %w", err)
	}
	return out, nil
}

// EncodeBlindings is the inverse of ParseBlindings, for ratchet_blinding_keys in replies.
func EncodeBlindings(list []Blinding) string {
	if len(list) == 0 {
		return ""
	}
	b := appendArray(make([]byte, 0, 5+len(list)*blindingBytes), len(list))
	for i := range list {
		l := &list[i]
		b = l.Tail.append(appendText(append(b, mpFixMap|3), "b"), SeqTypeTeamHidden)
		b = append(appendText(b, "r"), mpFixMap|2)
		b = appendBin(appendText(b, "k"), l.Key[:])
		b = appendBin(appendText(b, "r"), l.Ratchet[:])
		b = append(appendText(b, "v"), 1)
	}
	return Armor(b)
}
