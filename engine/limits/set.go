package limits

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/keystead/keystead/engine/clock"
)

// Options is what a Set is given. Clock is needed.
type Options struct {
	Clock   clock.Clock
	Exempt  []netip.Prefix // who is never refused
	Refused func(Name)     // told of each refusal; nil: nobody is
	KeysMax int            // 0: KeysMax
}

// Set is the counts of a table's limits. It is safe for concurrent use; the nil Set
// refuses nobody.
type Set struct {
	o      Options
	limits map[Name]*limit
}

type limit struct {
	Limit
	buckets *buckets // nil: off
}

// New makes a Set in which nobody has done anything. The table is one that With
// made, or Table itself: a rate out of bounds is a panic.
func New(table []Limit, o Options) *Set {
	if o.KeysMax == 0 {
		o.KeysMax = KeysMax
	}
	s := &Set{o: o, limits: make(map[Name]*limit, len(table))}
	for _, l := range table {
		if err := l.check(); err != nil {
			panic(fmt.Sprintf("limits: %s: %v", l.Name, err))
		}
		m := &limit{Limit: l}
		if l.Burst > 0 {
			m.buckets = newBuckets(l.Rate, o.KeysMax)
		}
		s.limits[l.Name] = m
	}
	return s
}

// Exempt reports whether an address is never refused.
func (s *Set) Exempt(a netip.Addr) bool { return s == nil || Within(s.o.Exempt, a) }

// Refused is the error of a Take that a limit did not allow.
type Refused struct {
	Name Name
	// Wait is after how long one event will be allowed, if nothing else happens.
	Wait time.Duration
}

func (e *Refused) Error() string {
	return fmt.Sprintf("refused by the limit %s for %s", e.Name, e.Wait.Round(time.Second))
}

// ticketMax is how many limits one Take may name.
const ticketMax = 6

// Ticket is what a Take took. The zero Ticket is nothing.
type Ticket struct {
	set   *Set
	taken [ticketMax]struct {
		from *limit
		key  Key
	}
	n int
}

// Take counts one event against each of the named limits, in order, or against none
// of them if one is used up; the error is then a *Refused. Names that are not in
// the table are a mistake of the caller: a panic.
func (s *Set) Take(w Who, names ...Name) (t Ticket, err error) {
	if len(names) == 0 || s.Exempt(w.Addr) {
		return Ticket{}, nil
	}
	now := s.o.Clock().UnixNano()
	t.set = s
	for _, name := range names {
		l := s.limits[name]
		if l == nil {
			panic("limits: there is no limit " + string(name))
		}
		key, applies := w.key(l.Scope)
		if l.buckets == nil || !applies || s.spared(l, &w, now) {
			continue
		}
		wait, ok := l.buckets.take(key, now)
		if !ok {
			t.Return()
			if s.o.Refused != nil {
				s.o.Refused(name)
			}
			return Ticket{}, &Refused{Name: name, Wait: wait}
		}
		t.taken[t.n].from, t.taken[t.n].key = l, key
		t.n++
	}
	return t, nil
}

// spared reports whether a limit lets somebody pass who left another untouched.
func (s *Set) spared(l *limit, w *Who, now int64) bool {
	other := s.limits[l.Spares]
	if other == nil || other.buckets == nil {
		return false
	}
	key, applies := w.key(other.Scope)
	return applies && other.buckets.untouched(key, now)
}

// Return gives back what was taken, once.
func (t *Ticket) Return() {
	if t.n == 0 {
		return
	}
	now := t.set.o.Clock().UnixNano()
	for _, k := range t.taken[:t.n] {
		k.from.buckets.give(k.key, now)
	}
	t.n = 0
}

// Kept is how many counts a limit keeps at the moment.
func (s *Set) Kept(name Name) int {
	if l := s.limits[name]; l != nil && l.buckets != nil {
		return l.buckets.len()
	}
	return 0
}
