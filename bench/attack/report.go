//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keystead/keystead/bench/proc"
)

// outcome is what an attack did and got. Bounds that are zero are not checked.
type outcome struct {
	Connections int // at once, at the most
	Requests    int
	Refused     int // connections closed or requests refused
	// MemoryMax bounds the server's peak in all, PerConnectionMax what it grew by for
	// each connection; bytes.
	MemoryMax, PerConnectionMax int64
	// Wins is how often the attack got what it is after, WinsMax how often it may.
	Wins, WinsMax int
	Won           string // what a win is
	// CutAfter is after how long the last connection was cut, CutMax when it had to
	// be.
	CutAfter, CutMax time.Duration
	// CPUMax bounds the server's processor time for each request; the victim's is
	// counted in.
	CPUMax time.Duration
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
	goal          time.Duration // of the victim's p99
	took          time.Duration
	outcome       outcome
	victim        latencies
	before, after proc.Usage
}

// perConnection is what the server's peak grew by for each connection.
func (r *report) perConnection() int64 {
	if r.outcome.Connections == 0 {
		return 0
	}
	return (r.after.Peak - r.before.Peak) / int64(r.outcome.Connections)
}

func (r *report) cpuEach() time.Duration {
	return (r.after.CPU - r.before.CPU) / time.Duration(max(r.outcome.Requests, 1))
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
	fault(r.victim.quantile(0.99) > r.goal, "the victim's p99 is above %s", r.goal)
	fault(len(r.victim.errors) > 0, "%d of the victim's requests failed: %s", len(r.victim.errors), strings.Join(r.victim.errors[:min(2, len(r.victim.errors))], "; "))
	fault(o.MemoryMax > 0 && r.after.Peak > o.MemoryMax, "more than %s of memory", bytesText(o.MemoryMax))
	fault(o.PerConnectionMax > 0 && r.perConnection() > o.PerConnectionMax, "more than %s for each connection", bytesText(o.PerConnectionMax))
	fault(o.Wins > o.WinsMax, "%d %s, at most %d should be", o.Wins, o.Won, o.WinsMax)
	fault(o.CutMax > 0 && o.CutAfter > o.CutMax, "cut after %s only, not %s", o.CutAfter.Round(time.Millisecond), o.CutMax)
	fault(o.CPUMax > 0 && r.cpuEach() > o.CPUMax, "%s of processor time for each request", r.cpuEach())
	return out
}

func (r report) String() string {
	o := &r.outcome
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if o.Connections > 0 {
		add("%d connections", o.Connections)
	}
	if o.Requests > 0 {
		add("%d requests", o.Requests)
	}
	if o.Connections+o.Requests > 0 {
		add("%d refused", o.Refused)
	}
	if o.Won != "" {
		add("%d %s (limit %d)", o.Wins, o.Won, o.WinsMax)
	}
	add("victim p50 %s p99 %s of %d", ms(r.victim.quantile(0.5)), ms(r.victim.quantile(0.99)), len(r.victim.all))
	memory := "peak " + bytesText(r.after.Peak)
	if o.PerConnectionMax > 0 {
		memory += fmt.Sprintf(", %s each", bytesText(max(r.perConnection(), 0)))
	}
	add("%s", memory)
	if o.CutMax > 0 {
		add("all cut within %s", o.CutAfter.Round(100*time.Millisecond))
	}
	if o.CPUMax > 0 {
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
