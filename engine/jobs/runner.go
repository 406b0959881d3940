package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sort"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Handler does one job. It is given at most runTimeout, and must stop when ctx ends.
type Handler func(ctx context.Context, j Job) error

// hopeless is an error after which a job is not tried again.
type hopeless struct{ error }

func (h hopeless) Unwrap() error { return h.error }

// GiveUp marks an error as one that no further try can mend: the job is dropped,
// counted and logged.
func GiveUp(err error) error { return hopeless{err} }

// Hopeless says whether GiveUp has marked an error.
func Hopeless(err error) bool { return errors.As(err, new(hopeless)) }

// Options is what a Runner works with.
type Options struct {
	Store   *store.Store
	Clock   clock.Clock
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil: none are kept
}

// Runner runs jobs. Handlers are given to it before Run.
type Runner struct {
	o        Options
	mu       sync.Mutex
	handlers map[string]Handler
	done     *prometheus.CounterVec
}

// NewRunner makes a runner without handlers.
func NewRunner(o Options) *Runner {
	r := &Runner{o: o, handlers: map[string]Handler{}}
	r.done = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keystead_jobs_runs_total",
		Help: "Runs of background jobs by kind and outcome: done, failed (tried again later), given up.",
	}, []string{"kind", "outcome"})
	if o.Metrics != nil {
		o.Metrics.MustRegister(r.done, backlog{r})
	}
	return r
}

// Handle names who does the jobs of a kind. A second handler of a kind is a mistake of
// the programmer.
func (r *Runner) Handle(kind string, h Handler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handlers[kind] != nil || (Job{Kind: kind, Key: "x"}).check() != nil {
		panic("jobs: a second handler, or a bad name, of the kind " + kind)
	}
	r.handlers[kind] = h
}

func (r *Runner) kinds() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for k := range r.handlers {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// Run does jobs until ctx ends; the runs that are under way are told to stop, and are
// waited for.
func (r *Runner) Run(ctx context.Context) {
	var lanes sync.WaitGroup
	for _, kind := range r.kinds() {
		lanes.Go(func() {
			look := time.NewTicker(lookInterval)
			defer look.Stop()
			for {
				if _, err := r.lane(ctx, kind); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrStopped) {
					r.o.Logger.Error("background work failed", "kind", kind, "err", err)
				}
				select {
				case <-ctx.Done():
					return
				case <-look.C:
				}
			}
		})
	}
	lanes.Wait()
}

// RunDue does what is due now, once, and returns how many runs that were. It must not be
// called while Run runs.
func (r *Runner) RunDue(ctx context.Context) (runs int, err error) {
	for _, kind := range r.kinds() {
		n, err := r.lane(ctx, kind)
		runs += n
		if err != nil {
			return runs, err
		}
	}
	return runs, nil
}

// waiting is a job that is due, with the record that says so.
type waiting struct {
	Job
	rec record
}

// lane does the due jobs of a kind in order, as they were when it looked.
func (r *Runner) lane(ctx context.Context, kind string) (runs int, err error) {
	r.mu.Lock()
	h := r.handlers[kind]
	r.mu.Unlock()
	due, err := r.due(kind)
	if err != nil {
		return 0, err
	}
	for _, w := range due {
		if ctx.Err() != nil {
			return runs, nil
		}
		ran, err := r.one(ctx, h, w)
		if err != nil {
			return runs, err
		}
		if ran {
			runs++
		}
	}
	return runs, nil
}

// due lists the jobs of a kind whose time has come, the earliest first.
func (r *Runner) due(kind string) (list []waiting, err error) {
	v := r.o.Store.View()
	defer v.Close()
	id, now := kindID(kind), r.o.Clock().UnixMilli()
	lo := keys.DueJobs(id)
	err = v.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		_, at, key, ok := keys.DueJobOf(k)
		if !ok {
			return fmt.Errorf("malformed key of a due job: %x", k)
		}
		if at > now || len(list) >= turnMax {
			return store.ErrStop
		}
		rec, found, err := load(v, id, key)
		if err != nil {
			return err
		}
		if !found || rec.At != at {
			return fmt.Errorf("a place among the due leads to no job: %s %q", kind, key)
		}
		list = append(list, waiting{Job{Kind: kind, Key: key, At: time.UnixMilli(at), Body: rec.Body}, rec})
		return nil
	})
	return list, err
}

// one runs a job and writes down what became of it. The error is of the writing. It did
// not run if it has been replaced or dropped since it was looked up.
func (r *Runner) one(ctx context.Context, h Handler, w waiting) (ran bool, err error) {
	v := r.o.Store.View()
	now, found, err := load(v, kindID(w.Kind), w.Key)
	v.Close()
	if err != nil || !found || now.Serial != w.rec.Serial {
		return false, err
	}
	failure := r.call(ctx, h, w.Job)
	outcome := "done"
	switch {
	case failure == nil:
	case Hopeless(failure):
		outcome = "given up"
		r.o.Logger.Warn("a job is given up", "kind", w.Kind, "tries", w.rec.Tries+1, "err", failure)
	case ctx.Err() != nil:
		return true, nil // the server stops; the job stays as it was
	default:
		outcome = "failed"
		r.o.Logger.Info("a job failed and is tried again", "kind", w.Kind, "tries", w.rec.Tries+1, "pause", pause(w.rec.Tries+1), "err", failure)
	}
	r.done.WithLabelValues(w.Kind, outcome).Inc()
	return true, r.o.Store.Update(ctx, func(tx *store.Tx) error { return r.settle(tx, w, outcome == "failed") })
}

// settle removes a job that has been done, or moves one that failed to its next time,
// unless another has taken its place.
func (r *Runner) settle(tx *store.Tx, w waiting, again bool) error {
	id := kindID(w.Kind)
	rec, found, err := load(tx, id, w.Key)
	if err != nil || !found || rec.Serial != w.rec.Serial {
		return err
	}
	remove(tx, id, w.Key, rec)
	if again {
		rec.Tries++
		rec.At = tx.Now().Add(pause(rec.Tries)).UnixMilli()
		put(tx, id, w.Key, rec)
	}
	return nil
}

// call runs a handler within its time; a panic is a failure.
func (r *Runner) call(ctx context.Context, h Handler, j Job) (err error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			r.o.Logger.Error("a job panicked", "kind", j.Kind, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return h(ctx, j)
}

// pause is the wait after so many failures.
func pause(failures int) time.Duration {
	p := pauseMin
	for range failures - 1 {
		if p *= 2; p >= pauseMax {
			return pauseMax
		}
	}
	return p
}
