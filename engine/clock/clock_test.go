package clock

import (
	"sync"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

// Whatever the clock underneath does, a monotone one never goes back, and never runs
// ahead of the latest reading.
func TestMonotoneNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fake := NewFake(time.Unix(1_000_000, 0))
		now := Monotone(fake.Now)
		last, latest := now(), fake.Now()
		for _, step := range rapid.SliceOf(rapid.Int64Range(-1e12, 1e12)).Draw(t, "steps in ns") {
			fake.Advance(time.Duration(step))
			if fake.Now().After(latest) {
				latest = fake.Now()
			}
			got := now()
			if got.Before(last) || !got.Equal(latest) {
				t.Fatalf("after %v: %v, the latest reading was %v", last, got, latest)
			}
			last = got
		}
	})
}

// The wall clock counts, also for readings of the machine's clock, whose own order is
// that of a counter that nobody can set back.
func TestMonotoneGoesByTheWallClock(t *testing.T) {
	if unsafe.Sizeof(time.Time{}) != 24 {
		t.Fatal("time.Time is laid out anew: find another way to set back its wall clock only")
	}
	later, earlier := time.Now(), time.Now()
	for !earlier.After(later) {
		earlier = time.Now()
	}
	// An hour back on the wall, where the first word counts seconds above 30 bits of
	// nanoseconds; the counter in the second word stays.
	*(*uint64)(unsafe.Pointer(&earlier)) -= 3600 << 30
	if !earlier.After(later) || earlier.Round(0).After(later.Round(0)) {
		t.Fatal("the reading was not made as intended")
	}
	readings := []time.Time{later, earlier}
	now := Monotone(func() time.Time { r := readings[0]; readings = readings[1:]; return r })
	first, second := now(), now()
	if second.Unix() < first.Unix() {
		t.Errorf("time went back from %d to %d", first.Unix(), second.Unix())
	}
	if first != first.Round(0) {
		t.Error("a reading carries the counter")
	}
}

// Readings from many goroutines are in order too.
func TestMonotoneTogether(t *testing.T) {
	now := Monotone(System())
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			last := now()
			for range 2000 {
				got := now()
				if got.Before(last) {
					t.Errorf("%v after %v", got, last)
				}
				last = got
			}
		}()
	}
	wg.Wait()
}

// A fake clock stands where it was put and moves as told.
func TestFake(t *testing.T) {
	f := NewFake(time.Unix(100, 0))
	f.Advance(5 * time.Second)
	f.Advance(-time.Second)
	if got := f.Now(); !got.Equal(time.Unix(104, 0)) || !f.Now().Equal(got) {
		t.Errorf("stands at %v", got)
	}
	var zero Fake
	if !zero.Now().IsZero() {
		t.Errorf("a clock that was never set stands at %v", zero.Now())
	}
}
