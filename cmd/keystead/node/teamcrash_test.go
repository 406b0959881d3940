package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/faultfs"
)

// TestTeamsAreWhole proves that an operation on several chains happens as a whole or not
// at all: each write that one of them leads to is made to fail, in every way, and the
// power is cut before each. What another server finds then is what everybody saw before
// the operation, in all chains, indexes, boxes, chores and news, or what everybody sees
// after it, and the latter if it was acknowledged; and where there is nothing of it, it
// succeeds when it is asked for again.
func TestTeamsAreWhole(t *testing.T) {
	t.Parallel()
	h := newHamlet(t)
	before, err := h.sightOf(h.lab.on(faultfs.Clone(h.lab.mem, 100, rand.New(rand.NewPCG(*seedFlag, 0)))))
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range teamActs {
		if testing.Short() && i%4 != 0 {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			w := &whole{hamlet: h, act: a, before: before, rng: rand.New(rand.NewPCG(*seedFlag, uint64(i)))}
			w.cutPower(t)
			if *nthFlag > 0 {
				w.failEach(t)
			} else if i%4 == 0 && !testing.Short() && !t.Failed() {
				w.fail(t, w.rng.IntN(w.writes), faultfs.Kinds[i%len(faultfs.Kinds)])
			}
			t.Logf("%d writes; all of it was there %d times, nothing %d times", w.writes, w.all, w.none)
		})
	}
}

// whole looks whether one operation happens as a whole.
type whole struct {
	*hamlet
	act           act
	before, after sight
	writes        int // that a run of it makes
	rng           *rand.Rand
	all, none     int // how often a crash left which
}

// sightOf is what a server on a disk shows.
func (h *hamlet) sightOf(l *lab) (p sight, err error) {
	r, err := l.start()
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.settle(h.now); err != nil {
		return nil, err
	}
	return h.on(r, nil).look(context.Background())
}

// on puts the hamlet on a server; acked is called when an operation is acknowledged.
func (h *hamlet) on(r *run, acked func(endpoint string)) *hall {
	s := &hall{hamlet: h, run: r, people: map[string]*client.Account{}}
	if acked != nil {
		r.client.HTTP.Transport = tap{r.client.HTTP.Transport, func(endpoint string, body []byte) {
			if acknowledged(body) {
				acked(endpoint)
			}
		}}
	}
	r.client.HTTP.Timeout = standStill
	eyes := s.eyes()
	for name, a := range h.people {
		s.people[name] = a.With(eyes)
	}
	return s
}

// attempt is one run of an operation on a disk.
type attempt struct {
	disk  *faultfs.Disk
	mem   *vfs.MemFS
	acked atomic.Bool
	how   string
}

// attempt does the operation on a copy of the past; arm is called before it begins.
func (w *whole) attempt(d *faultfs.Disk, arm func(*attempt)) (*attempt, error) {
	a := &attempt{disk: d, mem: faultfs.Clone(w.lab.mem, 100, w.rng)}
	d.FS = a.mem
	l := w.lab.on(a.mem)
	l.fs = d
	dead := make(chan struct{})
	d.Fatal = func(op faultfs.Op) bool {
		if op.What != faultfs.SyncFolder || !strings.HasPrefix(op.Path, path.Join(l.cfg.Data.Dir, "store")) {
			return false
		}
		close(dead)
		return true
	}
	r, err := l.start()
	if err != nil {
		return nil, err
	}
	if err := r.settle(w.now); err != nil {
		return nil, err
	}
	s := w.on(r, func(endpoint string) {
		if endpoint == w.act.endpoint {
			a.acked.Store(true)
		}
	})
	arm(a)
	lived := make(chan error, 1)
	go func() { lived <- w.live(s) }()
	select {
	case err = <-lived:
		a.how = "lived"
		if ended := (*endedError)(nil); errors.As(err, &ended) {
			a.how, err = ended.how, nil
		}
	case <-dead:
		a.how = "panicked"
	case <-time.After(4 * standStill):
		err = errors.New("the server stands still")
	}
	return a, err
}

// live does the operation and all that follows from it, and stops the server.
func (w *whole) live(s *hall) error {
	err := w.act.do(context.Background(), s)
	if err == nil {
		err = s.run.settle(w.now)
	}
	if err == nil && w.after == nil {
		w.after, err = w.on(s.run, nil).look(context.Background())
	}
	return (&scenario{r: s.run}).end(err)
}

// cutPower does the operation once as it should be, which gives the sight of afterwards,
// and looks at what the power cuts on the way would have left.
func (w *whole) cutPower(t *testing.T) {
	t.Helper()
	percents, oneIn := []int{0, 50, 100}, 1
	if *cutsFlag == 0 {
		percents, oneIn = percents[w.rng.IntN(3):][:1], 4
	}
	for _, percent := range percents {
		var a *attempt
		var armed atomic.Bool
		cutter := &faultfs.Cutter[bool]{RNG: w.rng, Percent: percent, OneIn: oneIn, Known: func() bool { return a.acked.Load() }}
		var count atomic.Int64
		d := &faultfs.Disk{FailAt: -1, Before: func(op faultfs.Op) {
			if armed.Load() {
				count.Add(1)
				cutter.Before(op)
			}
		}}
		var err error
		a, err = w.attempt(d, func(begun *attempt) {
			a, cutter.Mem = begun, begun.mem
			armed.Store(true)
		})
		if err != nil || a.how != "lived" {
			t.Fatalf("the operation: %s, %v", a.how, err)
		}
		w.writes = int(count.Load())
		if w.before.against(w.after) == "" {
			t.Fatal("nobody sees that anything has happened")
		}
		found := cutter.Found()
		w.rng.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
		for _, c := range found[:min(max(*cutsFlag, 1), len(found))] {
			if err := w.check(w.lab.on(c.FS), c.Known); err != nil {
				t.Errorf("%s: %v", c.What, err)
			}
		}
	}
}

// failEach lets every n-th write fail in each way.
func (w *whole) failEach(t *testing.T) {
	t.Helper()
	for _, kind := range faultfs.Kinds {
		ends := map[string]int{}
		for n := w.rng.IntN(*nthFlag); !t.Failed(); n += *nthFlag {
			how := w.fail(t, n, kind)
			if ends[how]++; how == "no such operation" {
				break
			}
		}
		t.Logf("%s: %v", kind, ends)
	}
}

// fail lets one write fail, and says how that ended.
func (w *whole) fail(t *testing.T, n int, kind faultfs.Kind) string {
	t.Helper()
	at := "none"
	d := &faultfs.Disk{FailAt: -1, Kind: kind, Failed: func(op faultfs.Op) { at = op.String() }}
	a, err := w.attempt(d, func(*attempt) { d.Arm(n) })
	if err != nil {
		t.Errorf("%s, %s: %v", kind, at, err)
		return "fault"
	}
	if !d.HasFailed() {
		return "no such operation"
	}
	percent := []int{0, 100}[w.rng.IntN(2)]
	if err := w.check(w.lab.on(faultfs.Clone(a.mem, percent, w.rng)), a.acked.Load()); err != nil {
		t.Errorf("%s, %s, %s, %d%% kept: %v", kind, at, a.how, percent, err)
	}
	return a.how
}

// check starts a server on what is left: it shows all of the operation or nothing, and
// from there everything goes on.
func (w *whole) check(l *lab, acked bool) (err error) {
	r, err := l.start()
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	stopped := false
	defer func() {
		if !stopped {
			err = errors.Join(err, r.stop())
		}
	}()
	if err := r.audit(); err != nil {
		return err
	}
	if err := r.settle(w.now); err != nil {
		return err
	}
	ctx := context.Background()
	s := w.on(r, nil)
	p, err := s.look(ctx)
	if err != nil {
		return err
	}
	if diff := w.after.against(p); diff != "" {
		if none := w.before.against(p); acked || none != "" {
			return fmt.Errorf("acknowledged: %t; it is not what it was before:\n%s\nnor what it is after:\n%s", acked, none, diff)
		}
		w.none++
		if err := w.act.do(ctx, s); err != nil {
			return fmt.Errorf("nothing of it is there, and it does not succeed now: %w", err)
		}
		if err := r.settle(w.now); err != nil {
			return err
		}
		if p, err = w.on(r, nil).look(ctx); err != nil {
			return err
		}
		if diff := w.after.against(p); diff != "" {
			return fmt.Errorf("done again it is not the same:\n%s", diff)
		}
		if err := r.audit(); err != nil {
			return err
		}
	} else {
		w.all++
	}
	stopped = true
	if err := r.stop(); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return l.rebuild(r.newest())
}
