package roots

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/blindtree"
)

// BlindProof is what a root says about the hidden chain of a team.
type BlindProof struct {
	// Proof is the value, if there is one, with its path; see blindtree.Version.Prove.
	Proof []byte
	// Hash names the version of the blind tree that Proof belongs to.
	Hash blindtree.Sum
	// InRoot says that the root itself carries Hash. Those from before the blind tree
	// do not: what they say is that of the empty tree.
	InRoot bool
	// Newest is the number of the newest link that any root commits to; 0 if there is
	// none.
	Newest kbsig.Seqno
}

// FirstBlind is the first root that carries a blind tree.
func (s *State) FirstBlind() kbsig.Seqno { return s.firstBlind }

// BlindProof proves what root n says about a team's hidden chain.
func (s *State) BlindProof(r store.Reader, team blindtree.Key, n kbsig.Seqno) (*BlindProof, error) {
	v, err := s.blindAt(r, n)
	if err != nil {
		return nil, err
	}
	out := &BlindProof{Hash: v.Hash(), InRoot: n >= s.firstBlind}
	if out.Proof, err = v.Prove(r, team); err != nil {
		return nil, err
	}
	tail, _, err := blindtree.TailAt(r, team, s.newest.Seqno)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	out.Newest = tail.Seqno
	return out, nil
}

func (s *State) blindAt(r store.Reader, n kbsig.Seqno) (*blindtree.Version, error) {
	if v := s.at(n); v != nil && n >= s.firstBlind {
		return v.blind, nil
	}
	if n < s.first || n > s.newest.Seqno {
		return nil, fmt.Errorf("root %d, there are %d to %d: %w", n, s.first, s.newest.Seqno, ErrNoRoot)
	}
	if n < s.firstBlind {
		return blindtree.Empty(), nil
	}
	return blindtree.VersionAt(r, n)
}

// BlindChangedAfter reports whether a team's hidden chain is longer now than root tail
// says, so that a client which holds tail must fetch a newer root first.
func (s *State) BlindChangedAfter(r store.Reader, team blindtree.Key, tail kbsig.Seqno) (bool, error) {
	if tail == s.newest.Seqno {
		return false, nil
	}
	_, since, err := blindtree.TailAt(r, team, s.newest.Seqno)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return since > tail, err
}
