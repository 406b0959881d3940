package archive

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/blindtree"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/tree"
)

// collectTeam gathers the visible links of a team between two values of its leaf, of
// which the older one may be missing.
func (b *Block) collectTeam(v *store.View, t kbsig.TeamID, before, now []byte) error {
	var from tree.Triple
	var err error
	if before != nil {
		if from, err = teamTail(t, before); err != nil {
			return err
		}
	}
	to, err := teamTail(t, now)
	if err != nil {
		return err
	}
	for s := from.Seqno + 1; s <= to.Seqno; s++ {
		raw, err := v.Get(keys.TeamLink(t, s))
		if err != nil {
			return fmt.Errorf("link %d: %w", s, err)
		}
		rec, err := teamchain.DecodeRecord(raw)
		if err != nil {
			return fmt.Errorf("link %d: %w", s, err)
		}
		b.Team = append(b.Team, TeamLink{t, s, rec})
	}
	return nil
}

// teamTail is the end of a team's chain that a leaf names.
func teamTail(t kbsig.TeamID, leaf []byte) (tree.Triple, error) {
	v, err := tree.ParseLeaf(leaf)
	if t.Public() {
		return v.Public, err
	}
	return v.Private, err
}

// collectHidden gathers what the version of the blind tree that begins with root n
// changed, if one does.
func (b *Block) collectHidden(v *store.View, n kbsig.Seqno) error {
	return blindtree.Changed(v, n, func(c blindtree.Committed) error {
		before, _, err := blindtree.TailAt(v, c.Team, n-1)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return b.commit(v, c, before.Seqno)
	})
}

// commit takes what the blind tree says of a team, and the links of its hidden chain
// after one.
func (b *Block) commit(v *store.View, c blindtree.Committed, after kbsig.Seqno) error {
	b.Blind = append(b.Blind, c)
	t := kbsig.TeamID(c.Team)
	for s := after + 1; s <= c.Tail.Seqno; s++ {
		rec, err := store.Load[hidden.Record](v, keys.HiddenLink(t, s))
		if err != nil {
			return fmt.Errorf("hidden link %d of team %s: %w", s, t, err)
		}
		b.Hidden = append(b.Hidden, HiddenLink{t, s, rec})
	}
	return nil
}

// collectTeams gathers all that there was of teams at root n.
func (b *Block) collectTeams(v *store.View, st *roots.State, n kbsig.Seqno) error {
	b.Team, b.Hidden, b.Blind = nil, nil, nil
	err := v.Scan(keys.TeamChains(), keys.End(keys.TeamChains()), func(k, _ []byte) error {
		t, ok := keys.TeamChainOf(k)
		if !ok {
			return errors.New("malformed key of a team's chain")
		}
		now, err := leafAt(v, st, tree.ID(t), n)
		if err != nil || now == nil {
			return err
		}
		if err := b.collectTeam(v, t, nil, now); err != nil {
			return fmt.Errorf("team %s: %w", t, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.Scan(keys.HiddenChains(), keys.End(keys.HiddenChains()), func(k, _ []byte) error {
		t, ok := keys.HiddenChainOf(k)
		if !ok {
			return errors.New("malformed key of a hidden chain")
		}
		c, err := blindtree.CommittedAt(v, blindtree.Key(t), n)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return b.commit(v, c, 0)
	})
}
