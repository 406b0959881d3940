package store

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// group is what shares one batch, one seal and one fsync.
type group struct {
	now     time.Time
	batch   *pebble.Batch
	members []*pending
	notes   []any
	sealed  any
	changed bool // sealed differs from the group before
	number  uint64
	view    *View
}

// commitLoop runs transactions one by one. Everything it reads includes what
// earlier groups wrote, durable or not: a group can only become durable after the
// ones before it, so building on them is safe; showing them to readers is not, and
// is left to durabilityLoop.
func (s *Store) commitLoop() {
	defer s.loops.Done()
	defer close(s.sync)
	for first := range s.queue {
		if s.stopErr.Load() != nil {
			first.done <- ErrStopped
			continue
		}
		g := &group{now: s.opts.Clock(), batch: s.db.NewIndexedBatch()}
		s.run(g, first)
		s.gather(g)
		if !s.finish(g) {
			for _, p := range g.members {
				p.done <- ErrStopped
			}
		}
	}
}

// gather adds whatever else is waiting now; it never waits for more.
func (s *Store) gather(g *group) {
	for len(g.members) < groupTxMax && g.batch.Len() < groupBytesMax && s.stopErr.Load() == nil {
		select {
		case p, ok := <-s.queue:
			if !ok {
				return
			}
			s.run(g, p)
		default:
			return
		}
	}
}

// run executes one transaction into the group, or records its refusal.
func (s *Store) run(g *group, p *pending) {
	g.members = append(g.members, p)
	tx := &Tx{now: g.now, base: reader{g.batch}}
	if p.err = call(p.fn, tx, s); p.err != nil {
		return
	}
	if p.err = tx.flush(g.batch); p.err != nil {
		s.fail(fmt.Errorf("fill the batch: %w", p.err))
		return
	}
	g.notes = append(g.notes, tx.notes...)
}

// call keeps a panic in one transaction from taking the others with it: its writes
// are still only in tx and are dropped.
func call(fn func(*Tx) error, tx *Tx, s *Store) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.opts.Logger.Error("store: a transaction panicked", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("transaction panicked: %v", r)
		}
	}()
	return fn(tx)
}

// finish seals the group and hands it to the log; false means that the store has
// stopped and that the group's transactions are to be told so.
func (s *Store) finish(g *group) bool {
	if err := s.seal(g); err != nil {
		s.fail(fmt.Errorf("seal a group of %d: %w", len(g.members), err))
	}
	if s.stopErr.Load() != nil {
		// A transaction may be half in the batch, or Pebble may have given up
		// meanwhile: nothing is written any more.
		return false
	}
	if g.batch.Empty() && !g.changed {
		// Nothing to make durable here, but refusals rest on earlier groups:
		// they are answered in order, behind them.
		s.sync <- g
		return true
	}
	s.group++
	g.number = s.group
	if err := number(g.batch, g.number); err != nil {
		s.fail(fmt.Errorf("fill the batch: %w", err))
		return false
	}
	if err := s.apply(g.batch); err != nil {
		s.fail(fmt.Errorf("commit a group of %d: %w", len(g.members), err))
	}
	if s.stopErr.Load() != nil {
		return false
	}
	// Taken here, between this group and the next, so that the view is exactly
	// this group's state.
	g.view = s.newView(g.sealed)
	s.sync <- g
	return true
}

// seal lets the sealer add its writes. A group that nothing was accepted in keeps
// the state that it found.
func (s *Store) seal(g *group) error {
	g.sealed = s.sealed
	if s.sealer == nil || s.stopErr.Load() != nil || (g.batch.Empty() && len(g.notes) == 0) {
		return nil
	}
	tx := &Tx{now: g.now, base: reader{g.batch}}
	sealed, err := s.sealer.Seal(tx, g.notes)
	if err != nil {
		return err
	}
	g.changed = sealed != s.sealed
	g.sealed, s.sealed = sealed, sealed
	return tx.flush(g.batch)
}

// apply hands a batch to the log. Where it cannot go on, Pebble calls Fatalf and
// then returns as if nothing had happened, or panics with its locks held.
func (s *Store) apply(b *pebble.Batch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.stuck = true
			err = fmt.Errorf("the database panicked: %v", r)
		}
	}()
	return s.db.ApplyNoSyncWait(b, pebble.Sync)
}

// durabilityLoop waits for each group's fsync, in order, then publishes it.
func (s *Store) durabilityLoop() {
	defer s.loops.Done()
	for g := range s.sync {
		if s.stopErr.Load() == nil {
			if err := s.settle(g); err != nil {
				s.fail(err)
			}
		}
		if s.stopErr.Load() != nil {
			if g.view != nil {
				g.view.Close()
			}
			for _, p := range g.members {
				p.done <- ErrStopped
			}
			continue
		}
		for _, p := range g.members {
			p.done <- p.err
		}
	}
}

func (s *Store) settle(g *group) error {
	if g.view == nil {
		return g.batch.Close()
	}
	if err := g.batch.SyncWait(); err != nil {
		return fmt.Errorf("fsync a group of %d: %w", len(g.members), err)
	}
	if err := s.mark.set(g.number); err != nil {
		return fmt.Errorf("mark group %d as synced: %w", g.number, err)
	}
	if s.sealer != nil && g.sealed != s.current.Load().sealed {
		if err := s.sealer.Durable(g.sealed); err != nil {
			return fmt.Errorf("after the fsync: %w", err)
		}
	}
	s.current.Swap(g.view).Close()
	g.view = nil
	later := make(chan struct{})
	close(*s.later.Swap(&later))
	return g.batch.Close()
}
