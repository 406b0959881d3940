package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// outcome is what an attack did and got. Bounds that are zero are not checked.
type outcome struct {
	connections int // at once, at the most
	requests    int
	refused     int // connections closed or requests refused
	// memoryMax bounds the server's peak in all, perConnectionMax what it grew by for
	// each connection; bytes.
	memoryMax, perConnectionMax int64
	// wins is how often the attack got what it is after, winsMax how often it may.
	wins, winsMax int
	won           string // what a win is
	// cutAfter is after how long the last connection was cut, cutMax when it had to
	// be.
	cutAfter, cutMax time.Duration
	// cpuMax bounds the server's processor time for each request; the victim's is
	// counted in.
	cpuMax time.Duration
}

// latencies are what the victim saw.
type latencies struct {
	all    []time.Duration
	errors []string
}

func (l *latencies) quantile(q float64) time.Duration {
	if len(l.all) == 0 {
		return 0
	}
	s := slices.Clone(l.all)
	slices.Sort(s)
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

// report is the line about one attack.
type report struct {
	name          string
	took          time.Duration
	outcome       outcome
	victim        latencies
	before, after usage
}

// perConnection is what the server's peak grew by for each connection.
func (r *report) perConnection() int64 {
	if r.outcome.connections == 0 {
		return 0
	}
	return (r.after.peak - r.before.peak) / int64(r.outcome.connections)
}

func (r *report) cpuEach() time.Duration {
	return (r.after.cpu - r.before.cpu) / time.Duration(max(r.outcome.requests, 1))
}

// faults lists the goals that were missed.
func (r *report) faults() (out []string) {
	fault := func(missed bool, format string, args ...any) {
		if missed {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	o := &r.outcome
	fault(len(r.victim.all) == 0, "the victim did nothing")
	fault(r.victim.quantile(0.99) > goalP99, "the victim's p99 is above %s", goalP99)
	fault(len(r.victim.errors) > 0, "%d of the victim's requests failed: %s", len(r.victim.errors), strings.Join(r.victim.errors[:min(2, len(r.victim.errors))], "; "))
	fault(o.memoryMax > 0 && r.after.peak > o.memoryMax, "more than %s of memory", bytesText(o.memoryMax))
	fault(o.perConnectionMax > 0 && r.perConnection() > o.perConnectionMax, "more than %s for each connection", bytesText(o.perConnectionMax))
	fault(o.wins > o.winsMax, "%d %s, at most %d should be", o.wins, o.won, o.winsMax)
	fault(o.cutMax > 0 && o.cutAfter > o.cutMax, "cut after %s only, not %s", o.cutAfter.Round(time.Millisecond), o.cutMax)
	fault(o.cpuMax > 0 && r.cpuEach() > o.cpuMax, "%s of processor time for each request", r.cpuEach())
	return out
}

func (r report) String() string {
	o := &r.outcome
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if o.connections > 0 {
		add("%d connections", o.connections)
	}
	if o.requests > 0 {
		add("%d requests", o.requests)
	}
	add("%d refused", o.refused)
	if o.won != "" {
		add("%d %s (limit %d)", o.wins, o.won, o.winsMax)
	}
	add("victim p50 %s p99 %s of %d", ms(r.victim.quantile(0.5)), ms(r.victim.quantile(0.99)), len(r.victim.all))
	memory := "peak " + bytesText(r.after.peak)
	if o.perConnectionMax > 0 {
		memory += fmt.Sprintf(", %s each", bytesText(max(r.perConnection(), 0)))
	}
	add("%s", memory)
	if o.cutMax > 0 {
		add("all cut within %s", o.cutAfter.Round(100*time.Millisecond))
	}
	if o.cpuMax > 0 {
		add("%s cpu each", r.cpuEach().Round(time.Microsecond))
	}
	verdict := "PASS"
	if f := r.faults(); len(f) > 0 {
		verdict = "FAIL: " + strings.Join(f, "; ")
	}
	return fmt.Sprintf("%-17s %5.1fs  %s  %s", r.name, r.took.Seconds(), strings.Join(parts, ", "), verdict)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1fms", float64(d)/1e6) }

func bytesText(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
