package audit

import (
	"bytes"
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/hidden"
)

// commitWithin is how old a hidden link that no root commits to may get, in seconds:
// half of what clients bear.
const commitWithin = 7 * 24 * 3600 / 2

// hiddenChain is the hidden chain of one team on its way through the pass.
type hiddenChain struct {
	team kbsig.TeamID
	ids  []kbsig.LinkID
	last *hidden.Link // nil behind a link that does not play
	torn bool
}

// hiddenChains is the pass over all hidden chains: their links verify and follow each
// other, and the stored states and the blind tree are what they give.
func (a *auditor) hiddenChains() error {
	var c *hiddenChain
	lo := keys.AllHiddenLinks()
	err := a.r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		if err := a.pause(); err != nil {
			return err
		}
		team, n, ok := keys.HiddenLinkOf(k)
		if !ok || n < 1 {
			return nil // said by the pass over the keys
		}
		if c == nil || c.team != team {
			if err := a.hiddenEnd(c); err != nil {
				return err
			}
			c = &hiddenChain{team: team}
		}
		a.hiddenLink(c, n, v)
		return nil
	})
	if err == nil {
		err = a.hiddenEnd(c)
	}
	if err == nil {
		err = a.strays(keys.HiddenChains(), "hidden chain state")
	}
	if err == nil {
		err = a.ratchets()
	}
	if err == nil {
		err = a.wholeBlindTree()
	}
	return err
}

func (a *auditor) hiddenLink(c *hiddenChain, n kbsig.Seqno, v []byte) {
	bad := func(format string, args ...any) {
		a.problem("hidden link %d of team %s: "+format, append([]any{n, c.team}, args...)...)
		c.torn = true
	}
	for n > kbsig.Seqno(len(c.ids))+1 && len(c.ids) < rootGapMax {
		bad("the links from %d on are missing", len(c.ids)+1)
		c.ids = append(c.ids, make([]kbsig.LinkID, n-kbsig.Seqno(len(c.ids))-1)...)
	}
	rec, err := store.Decode[hidden.Record](v)
	var l *hidden.Link
	if err == nil {
		l, err = rec.Link()
	}
	if err == nil && !bytes.Equal(store.Encode(l.Record()), v) {
		err = errors.New("the record is not what it decodes to")
	}
	c.ids = append(c.ids, kbsig.LinkIDOf(rec.Outer))
	if err != nil {
		bad("%v", err)
		c.last = nil
		return
	}
	a.links++
	switch before := c.last; {
	case l.Team != c.team:
		bad("it is one of team %s", l.Team)
	case l.Seqno != n:
		bad("it says that it is link %d", l.Seqno)
	case n == 1 && l.Prev != (kbsig.LinkID{}) || n > 1 && l.Prev != c.ids[n-2]:
		bad("it does not follow the one before")
	case before != nil && l.PTK.Generation <= before.PTK.Generation:
		bad("brings generation %d after %d", l.PTK.Generation, before.PTK.Generation)
	case before != nil && l.Parent.Seqno < before.Parent.Seqno:
		bad("stands on visible link %d, the one before on %d", l.Parent.Seqno, before.Parent.Seqno)
	}
	c.last = l
}

// hiddenEnd compares what is stored of a chain with what its links give.
func (a *auditor) hiddenEnd(c *hiddenChain) error {
	if c == nil {
		return nil
	}
	st, err := hidden.Load(a.r, c.team)
	if err != nil {
		a.problem("hidden chain of team %s: %v", c.team, err)
	}
	known, err2 := store.Has(a.r, keys.HiddenChain(c.team))
	switch {
	case err2 != nil:
		return err2
	case !known:
		a.problem("hidden chain of team %s: no state is stored", c.team)
	case err == nil && c.last != nil && !c.torn:
		if want := hidden.StateAfter(c.last); *st != *want {
			a.problem("hidden chain of team %s: the state is not that of link %d", c.team, c.last.Seqno)
		}
	}
	if known {
		a.keys.right[prefixIndex(keys.HiddenChain(c.team))]++
	}
	late := c.last == nil || a.newestCtime-c.last.Ctime > commitWithin
	return a.blindLeaves(c.team, c.ids, late)
}

// ratchets checks that what explains a ratchet does, by a link that is there.
func (a *auditor) ratchets() error {
	lo := keys.TeamRatchets(kbsig.TeamID{})[:2]
	return a.r.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		team, h, ok := keys.TeamRatchetOf(k)
		if !ok {
			return nil
		}
		if err := hidden.CheckStored(a.r, team, h); err != nil {
			a.problem("ratchet %x of team %s: %v", h[:8], team, err)
		}
		return a.pause()
	})
}

// prefixIndex is the prefix of a key.
func prefixIndex(k []byte) prefix {
	p, _ := prefixOf(k)
	return p
}
