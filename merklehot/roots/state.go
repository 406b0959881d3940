package roots

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/blindtree"
	"github.com/keystead/keystead/merklehot/tree"
)

// State is what is published with a group of the store: its newest root, the tree
// under it and some older trees. It is immutable. A State goes with the view it
// came from, which its methods take for what is not in memory.
type State struct {
	newest *Root
	first  kbsig.Seqno
	names  *tree.Names
	kits   *Kits
	recent []version // without a gap, the newest last
	// firstBlind is the first root that carries a blind tree; 0 if none does yet.
	firstBlind kbsig.Seqno
	bytes      int // of recent
	// verified says once whether newest's signature holds; Durable reads it.
	verified <-chan error
}

// version is a root with its tree.
type version struct {
	root  *Root
	tree  *tree.Main
	blind *blindtree.Version // that the root carries, or that the next one will
	// bytes is what the version before cost when this one replaced it.
	bytes int
}

// StateOf is the state that belongs to a view; nil before the genesis.
func StateOf(v *store.View) *State {
	s, _ := v.Sealed().(*State)
	return s
}

// Root is the newest root.
func (s *State) Root() *Root { return s.newest }

// First is the number of the first root.
func (s *State) First() kbsig.Seqno { return s.first }

// Len is the number of leaves in the newest tree.
func (s *State) Len() int { return s.tree().Len() }

// Kits are the documents whose hashes stand in the newest root.
func (s *State) Kits() *Kits { return s.kits }

func (s *State) tree() *tree.Main { return s.recent[len(s.recent)-1].tree }

func (s *State) blind() *blindtree.Version { return s.recent[len(s.recent)-1].blind }

// at is the version of root n if it is in memory.
func (s *State) at(n kbsig.Seqno) *version {
	oldest := s.recent[0].root.Seqno
	if n < oldest || n > s.newest.Seqno {
		return nil
	}
	return &s.recent[n-oldest]
}

// next is the state after s with one more root. It shares all it can.
func (s *State) next(root *Root, t *tree.Main, blind *blindtree.Version, madeBytes int) *State {
	n := &State{
		newest: root, first: s.first, firstBlind: s.firstBlind,
		names: s.names, kits: s.kits, bytes: s.bytes + madeBytes,
	}
	if n.firstBlind == 0 && blind != nil {
		n.firstBlind = root.Seqno
	}
	old := s.recent
	for len(old) > 0 && (len(old) >= recentTreesMax || n.bytes > recentBytesMax) {
		// Without its predecessor a version costs nothing beyond what its
		// successors share.
		old = old[1:]
		if len(old) > 0 {
			n.bytes -= old[0].bytes
		} else {
			n.bytes = 0
		}
	}
	if len(old) == 0 {
		madeBytes, n.bytes = 0, 0
	}
	n.recent = make([]version, 0, len(old)+1)
	n.recent = append(n.recent, old...)
	n.recent = append(n.recent, version{root, t, blind, madeBytes})
	return n
}

// Leaf is the newest value of a leaf, or nil if there is no such id.
func (s *State) Leaf(id tree.ID) []byte { return s.tree().Leaf(id) }

// RootAt is any root; the error is ErrNoRoot for numbers that have none.
func (s *State) RootAt(r store.Reader, n kbsig.Seqno) (*Root, error) {
	if v := s.at(n); v != nil {
		return v.root, nil
	}
	if n < s.first || n > s.newest.Seqno {
		return nil, fmt.Errorf("root %d, there are %d to %d: %w", n, s.first, s.newest.Seqno, ErrNoRoot)
	}
	return RootAt(r, n)
}

// SeqnoByHashMeta finds a root's number by its hash; the error is ErrNoRoot if there
// never was one.
func (s *State) SeqnoByHashMeta(r store.Reader, h kbsig.HashMeta) (kbsig.Seqno, error) {
	if h == s.newest.HashMeta {
		return s.newest.Seqno, nil
	}
	return SeqnoByHashMeta(r, h)
}

// SkipsBetween are the payloads that connect two roots, newest first, without the
// two: what clients need to be sure that the older one is an ancestor.
func (s *State) SkipsBetween(r store.Reader, older, newer kbsig.Seqno) ([]string, error) {
	if older > newer || older < s.first || newer > s.newest.Seqno {
		return nil, fmt.Errorf("skips from root %d to %d, there are %d to %d: %w", newer, older, s.first, s.newest.Seqno, ErrNoRoot)
	}
	out := []string{}
	for _, n := range skipPath(older, newer) {
		root, err := s.RootAt(r, n)
		if err != nil {
			return nil, fmt.Errorf("skips from root %d to %d: %w", newer, older, err)
		}
		out = append(out, root.Payload)
	}
	return out, nil
}

// Path proves what root n says about id: its leaf, or, with a nil leaf, that there
// is none.
func (s *State) Path(r store.Reader, id tree.ID, n kbsig.Seqno) (steps []tree.Step, leaf []byte, err error) {
	if v := s.at(n); v != nil {
		steps, leaf = v.tree.Path(id)
		return steps, leaf, nil
	}
	root, err := s.RootAt(r, n)
	if err != nil {
		return nil, nil, err
	}
	return s.tree().PathAt(r, n, root.Hash, id)
}

// AppendPath appends the same in the form of merkle/path, without the steps between.
func (s *State) AppendPath(dst []byte, r store.Reader, id tree.ID, n kbsig.Seqno) (path, leaf []byte, err error) {
	if v := s.at(n); v != nil {
		path, leaf = v.tree.AppendPath(dst, id)
		return path, leaf, nil
	}
	steps, leaf, err := s.Path(r, id, n)
	if err != nil {
		return nil, nil, err
	}
	return tree.AppendPath(dst, steps), leaf, nil
}

// LeafChangedAfter reports whether a leaf has another value now than in root tail,
// so that a client which holds tail must fetch a newer root first. A tail that is
// not ours, or newer than the newest root, has seen nothing.
func (s *State) LeafChangedAfter(r store.Reader, id tree.ID, tail kbsig.Seqno) (bool, error) {
	if tail == s.newest.Seqno {
		return false, nil
	}
	if v := s.at(tail); v != nil {
		return !bytes.Equal(v.tree.Leaf(id), s.Leaf(id)), nil
	}
	_, since, err := s.tree().LeafAt(r, s.newest.Seqno, id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("last change of leaf %s: %w", id, err)
	}
	return since > tail, nil
}

// NamesPath proves that the legacy tree does not know a user name: it is empty,
// since every user's id is the hash of the name.
// client: go/libkb/merkle_client.go:verifyUsername
func (s *State) NamesPath(name kbsig.Username) []tree.Step {
	steps, _ := s.names.Path(tree.NameHashOf(name))
	return steps
}
