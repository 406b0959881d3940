package blindtree

import (
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// What stands at the lower end of a page under one digit.
type kind byte

const (
	none kind = iota
	leaf      // one team, wherever between the page's top and its end it hangs
	deep      // a page
)

type slot struct {
	kind kind
	team Key // of a leaf
	sum  Sum // of a leaf the hash of its value, else of the node below
}

// page is four levels of the tree. Where in them a team's leaf hangs follows from its
// neighbours: it is the highest node that no other team is under.
type page struct {
	slots  [16]slot
	deltas int // records since the last full one
}

// node is the hash of the node over slots [lo, lo+n), nil if there is nothing.
func (p *page) node(lo, n int) *Sum {
	if only, k := p.only(lo, n); k == none {
		return nil
	} else if k == leaf {
		h := leafNode(only.team, only.sum)
		return &h
	}
	if n == 1 {
		return &p.slots[lo].sum
	}
	h := innerNode(p.node(lo, n/2), p.node(lo+n/2, n/2))
	return &h
}

// only says what is under a node: nothing, one leaf, or more.
func (p *page) only(lo, n int) (s *slot, k kind) {
	for i := lo; i < lo+n; i++ {
		if p.slots[i].kind == none {
			continue
		}
		if s != nil || p.slots[i].kind == deep {
			return nil, deep
		}
		s, k = &p.slots[i], leaf
	}
	return s, k
}

// top is the hash of the page's top node; of an empty page, of the empty tree.
func (p *page) top() Sum {
	if h := p.node(0, 16); h != nil {
		return *h
	}
	return emptyNode()
}

// Record of a page, under keys.BlindPage: a byte that is 1 if it has all slots and 0 if
// it has those that changed, then per slot a byte with its kind in the high half and its
// digit in the low half, and the slot's team and hash, or its hash.
const (
	recordDelta = 0
	recordFull  = 1
)

// encode makes the record of a page of which the slots in changed are new.
func (p *page) encode(changed uint16) []byte {
	first := byte(recordDelta)
	if all := p.filled(); changed == all || p.deltas >= deltasMax {
		changed, first = all, recordFull
	}
	b := make([]byte, 1, 512)
	b[0] = first
	for d := range p.slots {
		if changed&(1<<d) == 0 {
			continue
		}
		s := &p.slots[d]
		b = append(b, byte(s.kind)<<4|byte(d))
		if s.kind == leaf {
			b = append(b, s.team[:]...)
		}
		b = append(b, s.sum[:]...)
	}
	return b
}

func (p *page) filled() (set uint16) {
	for d := range p.slots {
		if p.slots[d].kind != none {
			set |= 1 << d
		}
	}
	return set
}

// merge takes from an older record what newer ones did not say.
func (p *page) merge(b []byte) (full bool, err error) {
	if len(b) < 2 || b[0] > recordFull {
		return false, ErrCorrupt
	}
	known := p.filled()
	full, b = b[0] == recordFull, b[1:]
	for len(b) > 0 {
		k, d := kind(b[0]>>4), int(b[0]&15)
		s := slot{kind: k}
		b = b[1:]
		if k == leaf && len(b) >= len(s.team) {
			b = b[copy(s.team[:], b):]
		}
		if k != leaf && k != deep || len(b) < len(s.sum) {
			return false, ErrCorrupt
		}
		b = b[copy(s.sum[:], b):]
		if known&(1<<d) == 0 {
			p.slots[d] = s
		}
	}
	return full, nil
}

// readPage reads the page at depth above id as of a root, and checks that its top has
// the hash want.
func readPage(r store.Reader, depth int, id Key, root kbsig.Seqno, want Sum) (*page, error) {
	p, records, whole := new(page), 0, false
	lo, hi := keys.BlindPage(depth, id, root), keys.End(keys.BlindPageVersions(depth, id))
	err := r.Scan(lo, hi, func(_, b []byte) error {
		full, err := p.merge(b)
		if err != nil {
			return err
		}
		if records++; full {
			whole = true
			return store.ErrStop
		}
		return nil
	})
	if err == nil && (!whole || p.top() != want) {
		err = ErrCorrupt
	}
	if err != nil {
		return nil, fmt.Errorf("page of the blind tree, depth %d over %x at root %d: %w", depth, id, root, err)
	}
	p.deltas = records - 1
	return p, nil
}

// digit is the id's hex digit at depth.
func digit(id *Key, depth int) int {
	b := id[depth/2]
	if depth%2 == 0 {
		return int(b >> 4)
	}
	return int(b & 15)
}
