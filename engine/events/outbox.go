package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Names of the outbox's metrics.
const (
	metricBacklog  = "keystead_events_backlog"
	metricFailures = "keystead_events_failures_total"
	metricPassed   = "keystead_events_passed_total"
)

// Options is what an Outbox is given from outside.
type Options struct {
	// Consumers are the names of all who read, 1 to 64 printable bytes each. A new
	// one begins at the oldest entry that is kept; the place of one that is no longer
	// named is forgotten, for nothing would ever be trimmed behind it.
	Consumers []string
	Logger    *slog.Logger          // default: discards
	Metrics   prometheus.Registerer // default: metrics are kept but not registered
}

// Outbox is the reading side. It is safe for concurrent use.
type Outbox struct {
	store    *store.Store
	opts     Options
	failures *prometheus.CounterVec // by consumer
	passed   *prometheus.CounterVec // by consumer
}

// Open gives each consumer its place.
func Open(ctx context.Context, st *store.Store, o Options) (*Outbox, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, name := range o.Consumers {
		if !validName(name) {
			return nil, fmt.Errorf("consumer %q of the outbox: %w", name, ErrMalformed)
		}
	}
	err := st.Update(ctx, func(tx *store.Tx) error { return seat(tx, o) })
	if err != nil {
		return nil, fmt.Errorf("open the outbox: %w", err)
	}
	b := &Outbox{store: st, opts: o}
	b.failures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: metricFailures, Help: "Batches of news that a consumer failed to handle and is given again.",
	}, []string{"consumer"})
	b.passed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: metricPassed, Help: "News that a consumer has handled.",
	}, []string{"consumer"})
	return b, b.register(o.Metrics)
}

func validName(name string) bool {
	return name != "" && len(name) <= consumerBytesMax &&
		!slices.ContainsFunc([]byte(name), func(c byte) bool { return c <= ' ' || c > '~' })
}

// seat makes the places of the consumers that are named, and no others.
func seat(tx *store.Tx, o Options) error {
	whole, err := loadPlace(tx, "")
	if err != nil {
		return err
	}
	known := map[string]bool{}
	prefix := keys.EventCursors()
	err = tx.Scan(prefix, keys.End(prefix), func(k, _ []byte) error {
		name, _ := keys.EventCursorOf(k)
		known[name] = true
		return nil
	})
	if err != nil {
		return err
	}
	delete(known, "")
	for _, name := range o.Consumers {
		if !known[name] {
			store.Save(tx, keys.EventCursor(name), place{Passed: whole.Passed})
		}
		delete(known, name)
	}
	for name := range known {
		o.Logger.Warn("events: a consumer is no longer there, its place is forgotten", "consumer", name)
		tx.Delete(keys.EventCursor(name))
	}
	return nil
}

func (b *Outbox) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	if err := errors.Join(r.Register(b.failures), r.Register(b.passed)); err != nil {
		return err
	}
	for _, name := range b.opts.Consumers {
		err := r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: metricBacklog, Help: "News that a consumer has not handled yet.",
			ConstLabels: prometheus.Labels{"consumer": name},
		}, func() float64 { return float64(b.Backlog(name)) }))
		if err != nil {
			return err
		}
	}
	return nil
}

// Backlog is how many entries a consumer has not passed.
func (b *Outbox) Backlog(consumer string) int64 {
	v := b.store.View()
	defer v.Close()
	whole, err := loadPlace(v, "")
	if err != nil {
		return 0
	}
	p, err := loadPlace(v, consumer)
	if err != nil {
		return 0
	}
	return whole.Added - p.Passed
}

// Passed waits until a consumer has passed all entries that there are now, or until ctx
// ends.
func (b *Outbox) Passed(ctx context.Context, consumer string) error {
	v := b.store.View()
	now, err := loadPlace(v, "")
	v.Close()
	for err == nil {
		later := b.store.Later()
		v := b.store.View()
		p, err := loadPlace(v, consumer)
		v.Close()
		if err != nil || p.Passed >= now.Added {
			return err
		}
		select {
		case <-later:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// Handler handles entries in order; it is given all users of a number together. All that
// it returned nil for is passed; after an error it is called again with the same entries,
// and perhaps more.
type Handler func(ctx context.Context, entries []Entry) error

// Run gives a consumer all its entries until ctx ends, and then returns nil. It must
// run once for each name at a time. Another error means that the store has stopped or
// cannot be read.
func (b *Outbox) Run(ctx context.Context, consumer string, handle Handler) error {
	if !slices.Contains(b.opts.Consumers, consumer) {
		return fmt.Errorf("consumer %q has no place in the outbox", consumer)
	}
	wait := retryFirst
	for ctx.Err() == nil {
		later := b.store.Later()
		entries, err := b.after(consumer)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			select {
			case <-later:
			case <-ctx.Done():
			}
			continue
		}
		if err := handle(ctx, entries); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			b.failures.WithLabelValues(consumer).Inc()
			b.opts.Logger.Error("events: a consumer failed and is asked again", "consumer", consumer,
				"entry", entries[0].Number, "wait", wait, "err", err)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
			wait = min(2*wait, retryMax)
			continue
		}
		wait = retryFirst
		if err := b.pass(consumer, entries[len(entries)-1].Number); err != nil {
			return err
		}
		b.passed.WithLabelValues(consumer).Add(float64(len(entries)))
	}
	return nil
}

// after reads the next entries of a consumer.
func (b *Outbox) after(consumer string) ([]Entry, error) {
	v := b.store.View()
	defer v.Close()
	p, err := loadPlace(v, consumer)
	if err != nil {
		return nil, err
	}
	whole, err := loadPlace(v, "")
	if err != nil || whole.Added == p.Passed {
		return nil, err
	}
	var out []Entry
	next, size := p.Passed+1, 0
	err = v.Scan(keys.Event(next), keys.Event(whole.Added+1), func(k, val []byte) error {
		n, ok := keys.EventNumber(k)
		if !ok || n != next {
			return fmt.Errorf("entry %d of the outbox is missing", next)
		}
		r, err := store.Decode[Record](val)
		if err != nil {
			return fmt.Errorf("entry %d of the outbox: %w", n, err)
		}
		es, err := r.entries(b.store.ID(), n)
		if err != nil {
			return fmt.Errorf("entry %d of the outbox: %w", n, err)
		}
		out = append(out, es...)
		next++
		if size += len(val); next-p.Passed > batchMax || size >= batchBytesMax || len(out) >= batchToldMax {
			return store.ErrStop
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	return out, nil
}

// pass moves a consumer's place behind entry n and deletes what nobody needs any more.
// It is not given up when the server stops: what was handled is handled.
func (b *Outbox) pass(consumer string, n int64) error {
	err := b.store.Update(context.Background(), func(tx *store.Tx) error {
		store.Save(tx, keys.EventCursor(consumer), place{Passed: n})
		whole, err := loadPlace(tx, "")
		if err != nil {
			return err
		}
		slowest := whole.Added
		for _, name := range b.opts.Consumers {
			p, err := loadPlace(tx, name)
			if err != nil {
				return err
			}
			slowest = min(slowest, p.Passed)
		}
		for range trimMax {
			if whole.Passed >= slowest {
				break
			}
			whole.Passed++
			tx.Delete(keys.Event(whole.Passed))
		}
		store.Save(tx, keys.EventCursor(""), whole)
		return nil
	})
	if err != nil {
		return fmt.Errorf("pass entry %d of the outbox: %w", n, err)
	}
	return nil
}
