package archive

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/blindtree"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/tree"
)

// part gathers the next of what there was of teams at a root.
type part struct {
	*Block
	v    *store.View
	st   *roots.State
	root kbsig.Seqno
	told cursor // what earlier parts have brought
	room int    // bytes that there is room for
}

// collectPart gathers what there was of teams at root n and comes after told, up to the
// link with which it has that many bytes. Since a root never changes, whoever goes on in a
// later process gathers what this one would have.
func collectPart(v *store.View, st *roots.State, n kbsig.Seqno, told cursor, bytes int) (*Block, error) {
	p := &part{Block: &Block{Part: true, Seqno: n + 1}, v: v, st: st, root: n, told: told, room: bytes}
	if told.kind != "hidden" {
		if err := p.visible(); err != nil {
			return nil, err
		}
	}
	return p.Block, p.hidden()
}

// visible gathers visible links, team by team.
func (p *part) visible() error {
	from := keys.TeamChains()
	if p.told.kind == "team" {
		from = keys.TeamChain(p.told.team)
	}
	return p.v.Scan(from, keys.End(keys.TeamChains()), func(k, _ []byte) error {
		t, ok := keys.TeamChainOf(k)
		if !ok {
			return errors.New("malformed key of a team's chain")
		}
		leaf, err := leafAt(p.v, p.st, tree.ID(t), p.root)
		if err != nil || leaf == nil {
			return err
		}
		end, err := teamTail(t, leaf)
		if err != nil {
			return fmt.Errorf("team %s: %w", t, err)
		}
		for s := p.next("team", t); s <= end.Seqno; s++ {
			if err := p.took(p.addTeamLink(p.v, t, s)); err != nil {
				return err
			}
		}
		return nil
	})
}

// hidden gathers hidden links, team by team, and after the last of a team what the blind
// tree says of it.
func (p *part) hidden() error {
	if p.room <= 0 {
		return nil
	}
	from := keys.HiddenChains()
	if p.told.kind == "hidden" {
		from = keys.HiddenChain(p.told.team)
	}
	return p.v.Scan(from, keys.End(keys.HiddenChains()), func(k, _ []byte) error {
		t, ok := keys.HiddenChainOf(k)
		if !ok {
			return errors.New("malformed key of a hidden chain")
		}
		c, err := blindtree.CommittedAt(p.v, blindtree.Key(t), p.root)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		for s := p.next("hidden", t); s <= c.Tail.Seqno; s++ {
			n, err := p.addHiddenLink(p.v, t, s)
			if s == c.Tail.Seqno {
				p.Blind = append(p.Blind, c)
			}
			if err := p.took(n, err); err != nil {
				return err
			}
		}
		return nil
	})
}

// next is the first link of a team that no earlier part has.
func (p *part) next(kind string, t kbsig.TeamID) kbsig.Seqno {
	if p.told.kind == kind && p.told.team == t {
		return p.told.seqno + 1
	}
	return 1
}

// took counts a link; store.ErrStop says that the part is full.
func (p *part) took(bytes int, err error) error {
	if p.room -= bytes; err == nil && p.room <= 0 {
		return store.ErrStop
	}
	return err
}
