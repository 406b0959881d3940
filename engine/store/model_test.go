package store_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/engine/store"
)

// boundary is what the model holds after a group; the sealer puts it on the view.
type boundary struct {
	number int
	model  map[string]string
}

// model follows the store as a plain map. Its state is changed only on the
// committer, where transactions are alone.
type model struct {
	t     *rapid.T
	state map[string]string
	last  *boundary
	order []any // notes of accepted transactions since the last seal

	mu   sync.Mutex
	seen []*boundary // as Durable was told
}

// Seal checks that the notes are those of the accepted transactions, in order.
func (m *model) Seal(_ *store.Tx, notes []any) (any, error) {
	if !slices.Equal(notes, m.order) {
		m.t.Errorf("sealer was given the notes %v, not %v", notes, m.order)
	}
	m.order = nil
	m.last = &boundary{number: m.last.number + 1, model: maps.Clone(m.state)}
	return m.last, nil
}

func (m *model) Durable(sealed any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = append(m.seen, sealed.(*boundary))
	return nil
}

// op is one step of a transaction.
type op struct {
	kind   string
	lo, hi string // hi is the end of a range
	value  string
	limit  int // records after which a scan stops; 0 none
}

var errRefused = errors.New("refused")

var drawKey = rapid.Custom(func(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "a", "aa", "ab", "b", "b\x00", "c", "d", "\xff"}).Draw(t, "key")
})

var drawOp = rapid.Custom(func(t *rapid.T) op {
	o := op{lo: drawKey.Draw(t, "lo"), hi: drawKey.Draw(t, "hi"), limit: rapid.IntRange(0, 4).Draw(t, "limit")}
	o.kind = rapid.SampledFrom([]string{
		"set", "set", "set", "delete", "delete", "get", "scan", "scan", "reverse", "reverse", "broken scan",
	}).Draw(t, "kind")
	o.value = rapid.StringN(0, 3, -1).Draw(t, "value")
	return o
})

var drawTx = rapid.Custom(func(t *rapid.T) []op {
	ops := rapid.SliceOfN(drawOp, 0, 8).Draw(t, "ops")
	switch rapid.IntRange(0, 9).Draw(t, "end") {
	case 0:
		ops = append(ops, op{kind: "refuse"})
	case 1:
		ops = append(ops, op{kind: "panic"})
	}
	return ops
})

// run is the body of one transaction: it does the same to tx and to the model.
func (m *model) run(tx *store.Tx, number int, ops []op) error {
	work := maps.Clone(m.state)
	for _, o := range ops {
		switch o.kind {
		case "set":
			tx.Set(key(o.lo), []byte(o.value))
			work[o.lo] = o.value
		case "delete":
			tx.Delete(key(o.lo))
			delete(work, o.lo)
		case "get":
			v, err := tx.Get(key(o.lo))
			want, ok := work[o.lo]
			if ok && (err != nil || string(v) != want) || !ok && !errors.Is(err, store.ErrNotFound) {
				m.t.Errorf("get %q: %q, %v; the model has %q, %v", o.lo, v, err, want, ok)
			}
		case "scan", "reverse", "broken scan":
			m.scan(tx, o, work)
		case "refuse":
			return errRefused
		case "panic":
			panic("as asked")
		}
	}
	tx.Note(number)
	m.order = append(m.order, number)
	m.state = work
	return nil
}

// scan compares one scan of r with the model, up to its limit.
func (m *model) scan(r store.Reader, o op, state map[string]string) {
	hi := key(o.hi)
	if o.hi == "" {
		hi = nil
	}
	var want, got []string
	for _, k := range slices.Sorted(maps.Keys(state)) {
		if k >= o.lo && (hi == nil || k < o.hi) {
			want = append(want, k+"="+state[k])
		}
	}
	scan := r.Scan
	if o.kind == "reverse" {
		slices.Reverse(want)
		scan = r.ScanReverse
	}
	var stop error
	if o.limit > 0 && len(want) >= o.limit {
		want = want[:o.limit]
		stop = fmt.Errorf("enough: %w", store.ErrStop)
		if o.kind == "broken scan" {
			stop = errRefused
		}
	}
	err := scan(key(o.lo), hi, func(k, v []byte) error {
		got = append(got, string(k[1:])+"="+string(v))
		if stop != nil && len(got) == o.limit {
			return stop
		}
		return nil
	})
	if stop == errRefused {
		if !errors.Is(err, errRefused) {
			m.t.Errorf("a scan swallowed its callback's error: %v", err)
		}
	} else if err != nil {
		m.t.Errorf("scan: %v", err)
	}
	if !slices.Equal(got, want) {
		m.t.Errorf("%s from %q to %q, limit %d: %q, the model has %q", o.kind, o.lo, o.hi, o.limit, got, want)
	}
}

// checkView compares everything that a view shows with the model at its boundary.
func checkView(t *rapid.T, v *store.View) {
	b := v.Sealed().(*boundary)
	got, err := contents(v)
	if err != nil {
		t.Errorf("read a view: %v", err)
	}
	if !maps.Equal(got, b.model) {
		t.Errorf("the view of group %d shows %q, the model had %q", b.number, got, b.model)
	}
}

// Whatever transactions run at once, each sees all earlier ones and its own writes,
// is kept whole or not at all, and each view is the state after some group and
// stays so.
func TestStoreFollowsModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		txs := rapid.SliceOfN(drawTx, 1, 40).Draw(t, "transactions")
		writers := rapid.IntRange(1, 6).Draw(t, "writers")
		fs := vfs.NewMem()
		o := memOptions(nil, fs)
		o.Fatal = func(err error) { t.Errorf("fatal: %v", err) }
		s, err := store.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		first := &boundary{model: map[string]string{}}
		m := &model{t: t, state: map[string]string{}, last: first}
		s.SetSealer(m, first)

		views := make(chan *store.View, len(txs)+1)
		views <- s.View()
		var wg sync.WaitGroup
		for w := range writers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				last := 0
				for i := w; i < len(txs); i += writers {
					m.check(s, i, txs[i])
					v := s.View()
					if n := v.Sealed().(*boundary).number; n < last {
						t.Errorf("after group %d a view shows group %d", last, n)
					} else {
						last = n
					}
					checkView(t, v)
					views <- v
				}
			}()
		}
		wg.Wait()
		close(views)
		for v := range views { // taken before later writes, read after them
			checkView(t, v)
			v.Close()
		}
		for i, b := range m.seen {
			if b.number != i+1 {
				t.Errorf("group %d became durable as number %d", b.number, i+1)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}

		if s, err = store.Open(o); err != nil {
			t.Fatal(err)
		}
		v := s.View()
		if got, err := contents(v); err != nil || !maps.Equal(got, m.state) {
			t.Errorf("reopened: %q, %v; the model has %q", got, err, m.state)
		}
		v.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// check runs one transaction and looks at what Update says of it.
func (m *model) check(s *store.Store, number int, ops []op) {
	var state map[string]string
	err := s.Update(ctx, func(tx *store.Tx) error {
		if err := m.run(tx, number, ops); err != nil {
			return err
		}
		state = m.state
		return nil
	})
	end := ""
	if len(ops) > 0 {
		end = ops[len(ops)-1].kind
	}
	switch {
	case end == "refuse" && err != errRefused:
		m.t.Errorf("a refusal came back as %v", err)
	case end == "panic" && (err == nil || !strings.Contains(err.Error(), "as asked")):
		m.t.Errorf("a panic came back as %v", err)
	case end != "refuse" && end != "panic" && err != nil:
		m.t.Errorf("update: %v", err)
	}
	if err == nil && state == nil {
		m.t.Errorf("transaction %d succeeded without running", number)
	}
}
