package hidden

import (
	"context"
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/blindtree"
	"github.com/keystead/keystead/merklehot/roots"
)

// stateRecord is a State as stored.
type stateRecord struct {
	Seqno      kbsig.Seqno  `codec:"n"`
	Link       kbsig.LinkID `codec:"l"`
	Generation int64        `codec:"g"`
	Signing    kbsig.KID    `codec:"s"`
	Encryption kbsig.KID    `codec:"e"`
	Parent     kbsig.Seqno  `codec:"p"`
}

func (s *State) record() stateRecord {
	return stateRecord{s.tail.Seqno, s.tail.Link, s.ptk.Generation, s.ptk.Signing, s.ptk.Encryption, s.parent}
}

func (r *stateRecord) state() *State {
	return &State{
		tail:   kbsig.Sig3Tail{Seqno: r.Seqno, Link: r.Link},
		ptk:    PTK{r.Generation, r.Signing, r.Encryption, r.Seqno},
		parent: r.Parent,
	}
}

// Load reads what a team's hidden chain means; of a team that has none, the zero State.
func Load(r store.Reader, team kbsig.TeamID) (*State, error) {
	rec, err := store.Load[stateRecord](r, keys.HiddenChain(team))
	if errors.Is(err, store.ErrNotFound) {
		return new(State), nil
	}
	if err != nil {
		return nil, fmt.Errorf("hidden chain of team %s: %w", team, err)
	}
	return rec.state(), nil
}

// Append writes a link that Apply took, with the state after it, and notes it for the
// blind tree of the next root.
func Append(tx *store.Tx, next *State, l *Link) error {
	if next.tail != (kbsig.Sig3Tail{Seqno: l.Seqno, Link: l.ID}) {
		return fmt.Errorf("hidden link %d of team %s: the state is of link %d", l.Seqno, l.Team, next.tail.Seqno)
	}
	store.Save(tx, keys.HiddenLink(l.Team, l.Seqno), l.record)
	store.Save(tx, keys.HiddenChain(l.Team), next.record())
	tx.Note(roots.BlindChange{Team: blindtree.Key(l.Team), Tail: blindtree.Tail{Seqno: l.Seqno, Link: l.ID}})
	return nil
}

// Links calls fn for the links of a team with higher numbers than low, in order. fn ends
// it with store.ErrStop.
func Links(r store.Reader, team kbsig.TeamID, low kbsig.Seqno, fn func(kbsig.Seqno, Record) error) error {
	low = max(low, 0)
	return r.Scan(keys.HiddenLink(team, low+1), keys.End(keys.HiddenLinks(team)), func(k, v []byte) error {
		_, n, ok := keys.HiddenLinkOf(k)
		rec, err := store.Decode[Record](v)
		if err != nil || !ok {
			return refuse(KindCorrupt, "hidden link %d of team %s: %w", n, team, errors.Join(err, errRecord))
		}
		return fn(n, rec)
	})
}

var errRecord = errors.New("the record does not decode")

// Recommit notes, for the blind tree, the chains whose end no root commits to: those that
// waited for it when the process ended. A server whose roots wait calls it at the start.
func Recommit(ctx context.Context, st *store.Store) error {
	return st.Update(ctx, func(tx *store.Tx) error {
		newest, err := roots.Newest(tx)
		if err != nil {
			return err
		}
		lo := keys.HiddenChains()
		return tx.Scan(lo, keys.End(lo), func(k, v []byte) error {
			team, ok := keys.HiddenChainOf(k)
			rec, err := store.Decode[stateRecord](v)
			if err != nil || !ok {
				return refuse(KindCorrupt, "hidden chain of team %s: %w", team, errors.Join(err, errRecord))
			}
			tail, _, err := blindtree.TailAt(tx, blindtree.Key(team), newest)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if tail.Seqno < rec.Seqno {
				tx.Note(roots.BlindChange{Team: blindtree.Key(team), Tail: blindtree.Tail{Seqno: rec.Seqno, Link: rec.Link}})
			}
			return nil
		})
	})
}

// linkID is the id of one link.
func linkID(r store.Reader, team kbsig.TeamID, n kbsig.Seqno) (kbsig.LinkID, error) {
	rec, err := store.Load[Record](r, keys.HiddenLink(team, n))
	if err != nil {
		return kbsig.LinkID{}, fmt.Errorf("hidden link %d of team %s: %w", n, team, err)
	}
	return kbsig.LinkIDOf(rec.Outer), nil
}
