package blindtree

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Committed is what a version of the tree says anew of a team, with the secret under
// which it does.
type Committed struct {
	Team   Key
	Tail   Tail
	Secret Sum
}

// Changed calls fn for each team whose tail is new in the version that begins with a
// root; none if no version does. It costs what the version changed.
func Changed(r store.Reader, root kbsig.Seqno, fn func(Committed) error) error {
	return changedIn(r, 0, Key{}, root, fn)
}

func changedIn(r store.Reader, depth int, id Key, root kbsig.Seqno, fn func(Committed) error) error {
	raw, err := r.Get(keys.BlindPage(depth, id, root))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	p := new(page)
	if err == nil {
		_, err = p.merge(raw)
	}
	if err != nil {
		return fmt.Errorf("page of the blind tree, depth %d over %x at root %d: %w", depth, id, root, err)
	}
	for d := range p.slots {
		switch s := &p.slots[d]; s.kind {
		case leaf:
			b, err := r.Get(keys.BlindLeaf(s.team, root))
			if errors.Is(err, store.ErrNotFound) {
				continue // it was there before
			}
			if err != nil {
				return err
			}
			t, secret, err := decodeLeaf(b)
			if err != nil {
				return err
			}
			if err := fn(Committed{s.team, t, secret}); err != nil {
				return err
			}
		case deep:
			below := id
			if depth%2 == 0 {
				below[depth/2] = byte(d) << 4
			} else {
				below[depth/2] |= byte(d)
			}
			if err := changedIn(r, depth+1, below, root, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// CommittedAt is what a root says of a team; the error is store.ErrNotFound if it says
// nothing.
func CommittedAt(r store.Reader, team Key, root kbsig.Seqno) (Committed, error) {
	t, secret, _, err := leafAt(r, team, root)
	return Committed{team, t, secret}, err
}

// Replica is the tree in memory, built again from what it said of each team. The zero
// value is the tree before the first version.
type Replica struct {
	v     *Version
	top   *branch
	teams int64
}

// branch is a node: a team's leaf, or one with two places below.
type branch struct {
	team  Key
	value Sum // hash of a leaf's value
	below *[2]*branch
	hash  Sum
}

// Set takes what is new of a team.
func (p *Replica) Set(c Committed) {
	known := false
	n := &branch{team: c.Team, value: mac(c.Secret[:], appendValue(nil, c.Tail))}
	n.hash = leafNode(n.team, n.value)
	if p.top = p.top.set(n, 0, &known); !known {
		p.teams++
	}
}

// set puts a leaf at the highest place that no other team is under; known says that the
// team was there.
func (b *branch) set(n *branch, depth int, known *bool) *branch {
	switch {
	case b == nil:
		return n
	case b.below == nil && b.team == n.team:
		*known = true
		return n
	case b.below == nil:
		old := b
		b = &branch{below: new([2]*branch)}
		b.below[old.bit(depth)] = old
	}
	at := n.bit(depth)
	b.below[at] = b.below[at].set(n, depth+1, known)
	b.hash = innerNode(b.below[0].sum(), b.below[1].sum())
	return b
}

func (b *branch) bit(at int) int { return int(b.team[at/8] >> (7 - at%8) & 1) }

func (b *branch) sum() *Sum {
	if b == nil {
		return nil
	}
	return &b.hash
}

// Carry takes the version that a root names: the one before, or the next one over what
// was set since. trust says that not all teams are known: then the name counts. The error
// is ErrCorrupt if the tree does not have that name.
func (p *Replica) Carry(root kbsig.Seqno, name Sum, trust bool) error {
	if p.v == nil {
		if p.v = Empty().At(root); p.v.hash != name {
			return fmt.Errorf("the first blind tree, of root %d, is not empty: %w", root, ErrCorrupt)
		}
		return nil
	}
	if trust {
		if name != p.v.hash {
			p.v = p.v.next(root, Sum{}, 0)
			p.v.hash = name
		}
		return nil
	}
	top := emptyNode()
	if p.top != nil {
		top = p.top.hash
	}
	same := *p.v
	same.top = top
	if sum(same.appendMeta(nil, true)) == name {
		return nil
	}
	if p.v = p.v.next(root, top, p.teams); p.v.hash != name {
		return fmt.Errorf("the blind tree of root %d is not what its teams give: %w", root, ErrCorrupt)
	}
	return nil
}

// Hash names the version that is carried now; false if there is none yet.
func (p *Replica) Hash() (Sum, bool) {
	if p.v == nil {
		return Sum{}, false
	}
	return p.v.hash, true
}
