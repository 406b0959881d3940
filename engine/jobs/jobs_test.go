package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// bench is a store in memory, a clock that stands, and a runner.
type bench struct {
	st    *store.Store
	clock *clock.Fake
	run   *Runner
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func open(t interface{ Fatal(...any) }, fs vfs.FS, c *clock.Fake, m prometheus.Registerer) *bench {
	st, err := store.Open(store.Options{Dir: "store", FS: fs, Clock: c.Now, Rand: bytes.NewReader(make([]byte, 64)), Fatal: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{st, c, NewRunner(Options{Store: st, Clock: c.Now, Logger: slog.New(slog.DiscardHandler), Metrics: m})}
}

func (b *bench) update(t interface{ Fatal(...any) }, fn func(*store.Tx) error) {
	if err := b.st.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) add(t interface{ Fatal(...any) }, j Job) {
	b.update(t, func(tx *store.Tx) error { return Add(tx, j) })
}

func (b *bench) due(t interface{ Fatal(...any) }) int {
	n, err := b.run.RunDue(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// waits counts what is left, jobs and places among the due.
func (b *bench) waits(t interface{ Fatal(...any) }) (n int) {
	v := b.st.View()
	defer v.Close()
	places := 0
	for _, c := range []struct {
		prefix []byte
		n      *int
	}{{keys.Jobs(), &n}, {[]byte("H"), &places}} {
		if err := v.Scan(c.prefix, keys.End(c.prefix), func(_, _ []byte) error { *c.n++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if n != places {
		t.Fatal(fmt.Sprintf("%d jobs, but %d places among the due", n, places))
	}
	return n
}

// TestOrderAndTime proves that a job runs at its time and not before, and that those of
// a kind run in the order of their times.
func TestOrderAndTime(t *testing.T) {
	b := open(t, vfs.NewMem(), clock.NewFake(epoch), nil)
	defer b.st.Close()
	var ran []string
	b.run.Handle("a", func(_ context.Context, j Job) error { ran = append(ran, j.Key+"="+string(j.Body)); return nil })
	for key, after := range map[string]time.Duration{"late": 2 * time.Hour, "soon": time.Minute, "now": 0, "past": -time.Hour, "next": time.Hour} {
		b.add(t, Job{Kind: "a", Key: key, At: epoch.Add(after), Body: []byte(key)})
	}
	for _, want := range []string{"now=now past=past", "soon=soon", "next=next late=late", ""} {
		ran = nil
		b.due(t)
		if got := strings.Join(ran, " "); got != want {
			t.Errorf("at %s ran %q, not %q", b.clock.Now(), got, want)
		}
		b.clock.Advance(time.Minute)
		if want == "soon=soon" {
			b.clock.Advance(3 * time.Hour)
		}
	}
	if n := b.waits(t); n != 0 {
		t.Errorf("%d jobs are left", n)
	}
}

// TestFailuresAreTriedAgain proves that a job that fails comes again after growing
// pauses up to the longest, and that one which is hopeless, or panics, does no more harm
// than that.
func TestFailuresAreTriedAgain(t *testing.T) {
	b := open(t, vfs.NewMem(), clock.NewFake(epoch), nil)
	defer b.st.Close()
	fails := 0
	b.run.Handle("flaky", func(context.Context, Job) error {
		if fails++; fails == 3 {
			panic("broken")
		}
		if fails < 20 {
			return errors.New("no")
		}
		return nil
	})
	b.run.Handle("hopeless", func(context.Context, Job) error { return fmt.Errorf("wrapped: %w", GiveUp(errors.New("never"))) })
	b.add(t, Job{Kind: "flaky", Key: "x"})
	b.add(t, Job{Kind: "hopeless", Key: "x"})
	var pauses []time.Duration
	last := epoch
	for i := 0; i < 30*3600 && b.waits(t) > 0; i++ {
		before := fails
		b.due(t)
		if fails > before {
			pauses = append(pauses, b.clock.Now().Sub(last))
			last = b.clock.Now()
		}
		step := time.Second
		if len(pauses) > 6 {
			step = 10 * time.Minute
		}
		b.clock.Advance(step)
	}
	if fails != 20 {
		t.Fatalf("%d runs, not 20", fails)
	}
	if got, want := pauses[:5], []time.Duration{0, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}; !slices.Equal(got, want) {
		t.Errorf("pauses %v, not %v", got, want)
	}
	for _, p := range pauses {
		if p > pauseMax+10*time.Minute {
			t.Errorf("a pause of %s", p)
		}
	}
}

// TestReplacedWhileItRuns proves that the end of a run, good or bad, leaves a job alone
// that took its place meanwhile, and brings none back that was dropped.
func TestReplacedWhileItRuns(t *testing.T) {
	for _, failure := range []error{nil, errors.New("no"), GiveUp(errors.New("never"))} {
		b := open(t, vfs.NewMem(), clock.NewFake(epoch), nil)
		b.run.Handle("a", func(_ context.Context, j Job) error {
			if j.Key == "dropped" {
				b.update(t, func(tx *store.Tx) error { return Drop(tx, "a", "dropped") })
			} else {
				b.add(t, j) // the same once more
			}
			return failure
		})
		b.add(t, Job{Kind: "a", Key: "replaced", Body: []byte("1")})
		b.add(t, Job{Kind: "a", Key: "dropped"})
		if n := b.due(t); n != 2 {
			t.Errorf("%d runs, not 2", n)
		}
		v := b.st.View()
		if n, err := Count(v, "a", "", 10); n != 1 || err != nil {
			t.Errorf("after %v there are %d jobs, %v", failure, n, err)
		}
		v.Close()
		if n := b.due(t); n != 1 {
			t.Errorf("after %v the job that took the other's place ran %d times", failure, n)
		}
		b.st.Close()
	}
}

// TestCrashKeepsWork proves that whatever was acknowledged runs after the power failed at
// any point between, and that a job whose end was not written runs again.
func TestCrashKeepsWork(t *testing.T) {
	mem := vfs.NewCrashableMem()
	c := clock.NewFake(epoch)
	b := open(t, mem, c, nil)
	for i := range 20 {
		b.add(t, Job{Kind: "a", Key: fmt.Sprint(i), Body: []byte{byte(i)}})
	}
	ran := map[string]int{}
	var after *vfs.MemFS
	b.run.Handle("a", func(_ context.Context, j Job) error {
		ran[j.Key]++
		if len(ran) == 7 {
			after = mem.CrashClone(vfs.CrashCloneCfg{}) // the power fails in the middle of the seventh
		}
		return nil
	})
	b.due(t)
	b.st.Close()
	again := open(t, after, c, nil)
	defer again.st.Close()
	again.run.Handle("a", func(_ context.Context, j Job) error { ran[j.Key] += 100; return nil })
	if n := again.due(t); n < 14 {
		t.Errorf("only %d jobs ran after the crash", n)
	}
	for key, n := range ran {
		if n == 0 {
			t.Errorf("job %s was lost", key)
		}
	}
	if len(ran) != 20 || again.waits(t) != 0 {
		t.Errorf("%d of 20 jobs ran, %d wait", len(ran), again.waits(t))
	}
}

// TestAgainstModel proves that random additions, drops, runs and steps of the clock do
// what a plain map of jobs does.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := open(t, vfs.NewMem(), clock.NewFake(epoch), nil)
		defer b.st.Close()
		type entry struct {
			at   time.Time
			body string
		}
		model, ran := map[string]entry{}, map[string]string{}
		b.run.Handle("a", func(_ context.Context, j Job) error { ran[j.Key] = string(j.Body); return nil })
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			key := rapid.SampledFrom([]string{"x", "y", "xy"}).Draw(t, "key")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				at := b.clock.Now().Add(time.Duration(rapid.IntRange(-5, 20).Draw(t, "at")) * time.Second)
				body := rapid.SampledFrom([]string{"1", "2"}).Draw(t, "body")
				b.add(t, Job{Kind: "a", Key: key, At: at, Body: []byte(body)})
				model[key] = entry{at, body}
			case 1:
				b.update(t, func(tx *store.Tx) error { return Drop(tx, "a", key) })
				delete(model, key)
			case 2:
				b.clock.Advance(time.Duration(rapid.IntRange(0, 10).Draw(t, "step")) * time.Second)
			case 3:
				clear(ran)
				b.due(t)
				for k, e := range model {
					if e.at.After(b.clock.Now()) {
						continue
					}
					if ran[k] != e.body {
						t.Fatalf("job %s ran as %q, not %q", k, ran[k], e.body)
					}
					delete(model, k)
					delete(ran, k)
				}
				if len(ran) != 0 {
					t.Fatalf("ran for no reason: %v", ran)
				}
			}
			if n := b.waits(t); n != len(model) {
				t.Fatalf("%d jobs wait, not %d", n, len(model))
			}
		}
	})
}

// TestLimits proves that a job which breaks a limit is refused and keeps nothing.
func TestLimits(t *testing.T) {
	b := open(t, vfs.NewMem(), clock.NewFake(epoch), nil)
	defer b.st.Close()
	for _, j := range []Job{
		{Kind: "", Key: "x"}, {Kind: strings.Repeat("k", kindBytesMax+1), Key: "x"}, {Kind: "a\x00", Key: "x"},
		{Kind: "a", Key: ""}, {Kind: "a", Key: strings.Repeat("x", nameBytesMax+1)},
		{Kind: "a", Key: "x", Body: make([]byte, bodyBytesMax+1)},
	} {
		if err := b.st.Update(context.Background(), func(tx *store.Tx) error { return Add(tx, j) }); !errors.Is(err, ErrMalformed) {
			t.Errorf("a job with a kind of %d, a key of %d and a body of %d bytes: %v", len(j.Kind), len(j.Key), len(j.Body), err)
		}
	}
	b.add(t, Job{Kind: strings.Repeat("k", kindBytesMax), Key: strings.Repeat("x", nameBytesMax), Body: make([]byte, bodyBytesMax)})
	if n := b.waits(t); n != 1 {
		t.Errorf("%d jobs wait, not 1", n)
	}
}

// TestBacklogIsVisible proves that the metrics tell how much waits and how late it is,
// also of a kind that nobody handles, and that Run ends with its context.
func TestBacklogIsVisible(t *testing.T) {
	reg := prometheus.NewRegistry()
	b := open(t, vfs.NewMem(), clock.NewFake(epoch), reg)
	defer b.st.Close()
	ctx, cancel := context.WithCancel(context.Background())
	started := make(chan bool)
	b.run.Handle("slow", func(ctx context.Context, _ Job) error {
		close(started)
		<-ctx.Done()
		return ctx.Err()
	})
	b.add(t, Job{Kind: "slow", Key: "1"})
	b.add(t, Job{Kind: "orphan", Key: "1"})
	b.add(t, Job{Kind: "orphan", Key: "2", At: epoch.Add(time.Hour)})
	b.clock.Advance(90 * time.Second)
	ended := make(chan bool)
	go func() { b.run.Run(ctx); close(ended) }()
	<-started
	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"keystead_jobs_waiting slow": 1, "keystead_jobs_waiting orphan": 2,
		"keystead_jobs_late_seconds slow": 90, "keystead_jobs_late_seconds orphan": 90,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, not %v", name, got[name], want)
		}
	}
	cancel()
	<-ended
	if n := b.waits(t); n != 3 {
		t.Errorf("a job that was stopped with the server is gone: %d wait", n)
	}
}
