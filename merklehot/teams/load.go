package teams

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// rows are the rows of one team's state in a store.
type rows struct {
	r store.Reader
	t kbsig.TeamID
}

func (s rows) Get(name []byte) ([]byte, error) {
	v, err := s.r.Get(keys.TeamRow(s.t, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return v, err
}

func (s rows) Scan(prefix []byte, fn func(name, value []byte) error) error {
	lo := keys.TeamRows(s.t, prefix)
	return s.r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		_, name, ok := keys.TeamRowOf(k)
		if !ok {
			return fmt.Errorf("row of team %s: %w", s.t, ErrCorrupt)
		}
		return fn(name, v)
	})
}

// Load reads what a team's visible chain means: the head only, the rest as it is asked
// for. The state is good for as long as r is. The error is ErrNoTeam if there is none.
func Load(r store.Reader, t kbsig.TeamID) (*teamchain.State, error) {
	b, err := r.Get(keys.TeamChain(t))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoTeam
	}
	if err != nil {
		return nil, fmt.Errorf("load team %s: %w", t, err)
	}
	st, err := teamchain.Decode(b, rows{r, t})
	if err != nil {
		return nil, fmt.Errorf("load team %s: %w", t, err)
	}
	return st, nil
}

// EachAbove calls fn for what the chains of the teams above a team mean, the nearest first.
func EachAbove(r store.Reader, t kbsig.TeamID, fn func(*teamchain.State) error) error {
	above, err := Ancestors(r, t)
	if err != nil {
		return err
	}
	for _, a := range above {
		st, err := Load(r, a)
		if err != nil {
			return err
		}
		if err := fn(st); err != nil {
			return err
		}
	}
	return nil
}

func putState(tx *store.Tx, st *teamchain.State) {
	t := st.ID()
	tx.Set(keys.TeamChain(t), st.Header())
	st.ChangedRows(func(name, value []byte) {
		if value == nil {
			tx.Delete(keys.TeamRow(t, name))
		} else {
			tx.Set(keys.TeamRow(t, name), value)
		}
	})
}

// Record loads one visible link as it was received.
func Record(r store.Reader, t kbsig.TeamID, n kbsig.Seqno) (teamchain.Record, error) {
	b, err := r.Get(keys.TeamLink(t, n))
	if err != nil {
		return teamchain.Record{}, fmt.Errorf("link %d of team %s: %w", n, t, err)
	}
	return teamchain.DecodeRecord(b)
}

// Records calls fn for the visible links of a team after low, in order. fn ends it with
// store.ErrStop.
func Records(r store.Reader, t kbsig.TeamID, low kbsig.Seqno, fn func(kbsig.Seqno, teamchain.Record) error) error {
	return r.Scan(keys.TeamLink(t, max(low, 0)+1), keys.End(keys.TeamLinks(t)), func(k, v []byte) error {
		_, n, ok := keys.TeamLinkOf(k)
		if !ok {
			return fmt.Errorf("link of team %s: %w", t, ErrCorrupt)
		}
		rec, err := teamchain.DecodeRecord(v)
		if err != nil {
			return fmt.Errorf("link %d of team %s: %w", n, t, err)
		}
		return fn(n, rec)
	})
}
