package clock

import (
	"sync"
	"testing"
	"time"

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

// Readings of the machine's clock lose the counter that they carry, by which Go would
// take a reading for later though the wall clock had been set back.
func TestMonotoneDropsTheCounter(t *testing.T) {
	reading := time.Now()
	if reading == reading.Round(0) {
		t.Fatal("this machine's readings carry no counter")
	}
	if got := Monotone(func() time.Time { return reading })(); got != reading.Round(0) {
		t.Errorf("%v became %v", reading, got)
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
