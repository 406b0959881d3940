package blindtree

import (
	"errors"
	"fmt"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
)

// Prove shows what a version says about a team, as of a root that carries it: the tail,
// or that it knows none. It is what clients take as enc_value_with_proof, before base64:
// the value, or nil, and what is needed to compute the version's hash from it.
// client: go/teams/hidden/hidden.go:ParseAndVerifyCommittedHiddenLinkID
func (v *Version) Prove(r store.Reader, team Key) ([]byte, error) {
	w := walk{team: team, root: v.Root}
	p, err := v.topPage(r)
	if err != nil {
		return nil, err
	}
	for depth := 0; ; depth++ {
		end := w.page(p, digit(&team, depth))
		if end.kind != deep {
			return v.proof(r, &w, end)
		}
		if depth+1 == depthMax {
			return nil, fmt.Errorf("path of %x in the blind tree has no end: %w", team, ErrCorrupt)
		}
		if p, err = readPage(r, depth+1, team, v.Root, end.sum); err != nil {
			return nil, err
		}
	}
}

// walk is the path from the top towards a team.
type walk struct {
	team     Key
	root     kbsig.Seqno
	siblings []*Sum // from the top
}

// page walks through one page along a digit, to the page's end or to where nothing more
// than one leaf is below.
func (w *walk) page(p *page, d int) slot {
	lo, n := 0, 16
	for {
		switch only, k := p.only(lo, n); {
		case k == none:
			return slot{}
		case k == leaf:
			return *only
		case n == 1:
			return p.slots[lo]
		}
		n /= 2
		if d&n != 0 {
			w.siblings = append(w.siblings, p.node(lo, n))
			lo += n
		} else {
			w.siblings = append(w.siblings, p.node(lo+n, n))
		}
	}
}

// proof encodes what the walk found at its end.
// client: go/merkletree2/interfaces.go:GetValueWithProofResponse, go/merkletree2/tree.go:MerkleInclusionProof
func (v *Version) proof(r store.Reader, w *walk, end slot) ([]byte, error) {
	b := make([]byte, 0, 256+34*len(w.siblings)+34*len(v.skips))
	b = append(b, 0x92)
	switch {
	case end.kind == leaf && end.team == w.team:
		tail, secret, _, err := leafAt(r, w.team, v.Root)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("blind leaf of %x is missing: %w", w.team, ErrCorrupt)
		}
		if err != nil {
			return nil, err
		}
		value := appendValue(nil, tail)
		if mac(secret[:], value) != end.sum {
			return nil, fmt.Errorf("blind leaf of %x at root %d: %w", w.team, v.Root, ErrCorrupt)
		}
		b = appendBin(b, value)
		b = append(b, 0x94)
		b = appendBin(b, secret[:])
		b = append(b, 0x90)
	case end.kind == leaf:
		// Another team hangs where this one would.
		b = append(b, mpNil, 0x94, mpNil, 0x91)
		b = appendPair(b, end.team, end.sum)
	case v.Teams == 0:
		// The tree without teams is a leaf without entries.
		b = append(b, mpNil, 0x94, mpNil, 0x90)
	default:
		b = append(b, mpNil, 0x94, mpNil, mpNil)
	}
	b = appendArray(b, len(w.siblings))
	slices.Reverse(w.siblings)
	for _, s := range w.siblings {
		b = appendHash(b, s)
	}
	return v.appendMeta(b, false), nil
}
