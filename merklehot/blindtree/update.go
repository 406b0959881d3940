package blindtree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Writer takes records; it may keep key and value.
type Writer interface {
	Set(key, value []byte)
}

// Delta is what an update changed: what must be stored with the new version.
type Delta struct {
	version *Version
	records []record
}

type record struct{ key, value []byte }

// Write writes the records.
func (d *Delta) Write(w Writer) {
	for _, r := range d.records {
		w.Set(r.key, r.value)
	}
	d.version.Put(w)
}

// Update is the version after v, first carried by a root that is newer than all before,
// in which the teams have new tails. Of several changes of a team the last counts. The
// error is ErrBackwards if a chain does not grow. Without changes it is a version of its
// own over the same tree.
func (v *Version) Update(r store.Reader, root kbsig.Seqno, changes []Change, rand io.Reader) (*Version, *Delta, error) {
	var master Sum
	if _, err := io.ReadFull(rand, master[:]); err != nil {
		return nil, nil, fmt.Errorf("secret of the blind tree: %w", err)
	}
	changes = slices.Clone(changes)
	slices.SortStableFunc(changes, func(a, b Change) int { return bytes.Compare(a.Team[:], b.Team[:]) })
	u := update{r: r, root: root, teams: v.Teams}
	var entries []entry
	for i, c := range changes {
		if i+1 < len(changes) && changes[i+1].Team == c.Team {
			if next := changes[i+1].Tail.Seqno; next <= c.Tail.Seqno {
				return nil, nil, fmt.Errorf("team %x, from hidden link %d to %d: %w", c.Team, c.Tail.Seqno, next, ErrBackwards)
			}
			continue
		}
		e, err := u.entry(c, &master)
		if err != nil {
			return nil, nil, err
		}
		entries = append(entries, e)
	}
	top, err := v.topPage(r)
	if err != nil {
		return nil, nil, err
	}
	if len(entries) > 0 {
		if err := u.page(top, 0, entries); err != nil {
			return nil, nil, err
		}
	}
	for i := range entries {
		u.set(keys.BlindLeaf(entries[i].team, root), entries[i].record)
	}
	n := v.next(root, top.top(), u.teams)
	return n, &Delta{n, u.records}, nil
}

// update is one on its way.
type update struct {
	r       store.Reader
	root    kbsig.Seqno
	teams   int64
	records []record
}

// entry is a leaf that must go somewhere: new, or pushed down by one that is.
type entry struct {
	team   Key
	value  Sum    // hash of the value
	record []byte // of a new one
}

func (u *update) set(k, v []byte) { u.records = append(u.records, record{k, v}) }

// entry makes a change's leaf, under a secret of its own.
func (u *update) entry(c Change, master *Sum) (entry, error) {
	before, _, err := TailAt(u.r, c.Team, u.root)
	if errors.Is(err, store.ErrNotFound) {
		u.teams++
	} else if err != nil {
		return entry{}, err
	}
	if c.Tail.Seqno <= before.Seqno || c.Tail.Seqno < 1 {
		return entry{}, fmt.Errorf("team %x, from hidden link %d to %d: %w", c.Team, before.Seqno, c.Tail.Seqno, ErrBackwards)
	}
	secret := mac(master[:], c.Team[:])
	return entry{c.Team, mac(secret[:], appendValue(nil, c.Tail)), encodeLeaf(c.Tail, secret)}, nil
}

// page puts entries, which all lie under p, into it and the pages below, and writes it.
func (u *update) page(p *page, depth int, entries []entry) error {
	if depth >= depthMax {
		return fmt.Errorf("two teams of one id: %w", ErrCorrupt)
	}
	id := entries[0].team
	var changed uint16
	for len(entries) > 0 {
		d := digit(&entries[0].team, depth)
		n := 1
		for n < len(entries) && digit(&entries[n].team, depth) == d {
			n++
		}
		if err := u.slot(&p.slots[d], depth, entries[:n]); err != nil {
			return err
		}
		changed |= 1 << d
		entries = entries[n:]
	}
	p.deltas++
	u.set(keys.BlindPage(depth, id, u.root), p.encode(changed))
	return nil
}

// slot puts entries of one digit where they belong: one by itself is a leaf, several
// need a page below, to which a leaf that was here moves down.
func (u *update) slot(s *slot, depth int, entries []entry) error {
	id, below := entries[0].team, new(page)
	if s.kind == leaf && (len(entries) > 1 || s.team != id) {
		entries = withOld(entries, s)
	}
	if s.kind != deep && len(entries) == 1 {
		*s = slot{leaf, id, entries[0].value}
		return nil
	}
	if s.kind == deep {
		var err error
		if below, err = readPage(u.r, depth+1, id, u.root, s.sum); err != nil {
			return err
		}
	}
	if err := u.page(below, depth+1, entries); err != nil {
		return err
	}
	*s = slot{deep, Key{}, below.top()}
	return nil
}

// withOld adds the leaf that was in a slot to the entries, unless they replace it.
func withOld(entries []entry, s *slot) []entry {
	at, replaced := slices.BinarySearchFunc(entries, s.team, func(e entry, k Key) int { return bytes.Compare(e.team[:], k[:]) })
	if replaced {
		return entries
	}
	return slices.Insert(slices.Clone(entries), at, entry{team: s.team, value: s.sum})
}
