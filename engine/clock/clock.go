// Package clock makes time a value that is passed in, so that tests choose it and
// a wrong system clock cannot make signed time go back.
package clock

import (
	"sync"
	"time"
)

// Clock tells the time. Every package that needs time takes one.
type Clock func() time.Time

// System reads the machine's clock.
func System() Clock { return time.Now }

// Monotone wraps c so that it never goes back: a reading before the last one is
// answered with the last one. It is safe for concurrent use.
//
// It goes by the wall clock, which is what gets signed. Go compares two readings of the
// machine's clock by the counter that they carry, which grows even while the wall clock
// is set back; so the counter is dropped.
func Monotone(c Clock) Clock {
	var mu sync.Mutex
	var last time.Time
	return func() time.Time {
		now := c().Round(0)
		mu.Lock()
		defer mu.Unlock()
		if now.After(last) {
			last = now
		}
		return last
	}
}

// Fake is a clock that moves only when told. The zero value stands at the zero time.
type Fake struct {
	mu  sync.Mutex
	now time.Time
}

// NewFake returns a clock that stands at t.
func NewFake(t time.Time) *Fake { return &Fake{now: t} }

// Now is a Clock.
func (f *Fake) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Advance moves the clock by d, which may be negative: clocks do go back.
func (f *Fake) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}
