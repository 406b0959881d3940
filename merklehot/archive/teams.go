package archive

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/blindtree"
	"github.com/keystead/keystead/merklehot/hidden"
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
		if _, err := b.addTeamLink(v, t, s); err != nil {
			return err
		}
	}
	return nil
}

// addTeamLink takes a visible link, and says how many bytes it has.
func (b *Block) addTeamLink(v *store.View, t kbsig.TeamID, s kbsig.Seqno) (bytes int, err error) {
	raw, err := v.Get(keys.TeamLink(t, s))
	if err != nil {
		return 0, fmt.Errorf("link %d of team %s: %w", s, t, err)
	}
	rec, err := teamchain.DecodeRecord(raw)
	if err != nil {
		return 0, fmt.Errorf("link %d of team %s: %w", s, t, err)
	}
	b.Team = append(b.Team, TeamLink{t, s, rec})
	return len(raw), nil
}

// addHiddenLink likewise takes a hidden one.
func (b *Block) addHiddenLink(v *store.View, t kbsig.TeamID, s kbsig.Seqno) (bytes int, err error) {
	raw, err := v.Get(keys.HiddenLink(t, s))
	if err != nil {
		return 0, fmt.Errorf("hidden link %d of team %s: %w", s, t, err)
	}
	rec, err := store.Decode[hidden.Record](raw)
	if err != nil {
		return 0, fmt.Errorf("hidden link %d of team %s: %w", s, t, err)
	}
	b.Hidden = append(b.Hidden, HiddenLink{t, s, rec})
	return len(raw), nil
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
		t := kbsig.TeamID(c.Team)
		for s := before.Seqno + 1; s <= c.Tail.Seqno; s++ {
			if _, err := b.addHiddenLink(v, t, s); err != nil {
				return err
			}
		}
		b.Blind = append(b.Blind, c)
		return nil
	})
}
