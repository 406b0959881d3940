//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/proc"
)

// TestMain lets the test binary be the attacker, too: fork starts it again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == attackerFlag {
		os.Exit(attackerMain(context.Background(), os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// TestShortAttacks runs every attack against the built server in its short form and
// proves that the server holds its limits and goes on serving the victim.
func TestShortAttacks(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a dozen servers")
	}
	var out bytes.Buffer
	err := command(context.Background(), []string{"-short"}, io.MultiWriter(&out, testLog{t}))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "PASS\n"); n != len(attacks) {
		t.Errorf("%d attacks passed, there are %d", n, len(attacks))
	}
}

// testLog shows lines as they come.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// TestGoals proves that each goal that is missed is told, and that one that is met is
// not: a judge that sees nothing would pass everything.
func TestGoals(t *testing.T) {
	good := func() report {
		return report{
			name: "test", goal: time.Second,
			outcome: outcome{
				Connections: 10, Requests: 10, MemoryMax: 1 << 30, PerConnectionMax: 1 << 10, Wins: 5, WinsMax: 5,
				CutAfter: time.Second, CutMax: time.Second, CPUMax: time.Millisecond,
			},
			victim: latencies{all: slices.Repeat([]time.Duration{time.Millisecond}, 200)},
			before: proc.Usage{Peak: 1 << 20}, after: proc.Usage{Peak: 1<<20 + 10<<10, CPU: 10 * time.Millisecond},
		}
	}
	if r := good(); len(r.faults()) > 0 || !strings.HasSuffix(r.String(), "PASS") {
		t.Fatalf("%s", r)
	}
	for name, spoil := range map[string]func(*report){
		"did nothing":    func(r *report) { r.victim.all = nil },
		"p99":            func(r *report) { copy(r.victim.all, slices.Repeat([]time.Duration{time.Minute}, 3)) },
		"failed":         func(r *report) { r.victim.errors = []string{"reset"} },
		"of memory":      func(r *report) { r.outcome.MemoryMax = 1 << 20 },
		"each":           func(r *report) { r.outcome.PerConnectionMax = 1023 },
		"at most":        func(r *report) { r.outcome.Wins = 6 },
		"cut after":      func(r *report) { r.outcome.CutAfter++ },
		"processor time": func(r *report) { r.after.CPU++; r.outcome.CPUMax -= time.Nanosecond },
	} {
		r := good()
		spoil(&r)
		if f := r.faults(); len(f) != 1 || !strings.Contains(r.String(), "FAIL: ") || !strings.Contains(f[0], name) {
			t.Errorf("%s: %v", name, f)
		}
	}
}

// TestChoose proves that attacks are found by name and that a wrong name is told.
func TestChoose(t *testing.T) {
	if all, err := choose(nil); err != nil || len(all) != len(attacks) {
		t.Errorf("%d, %v", len(all), err)
	}
	if one, err := choose([]string{"bombs"}); err != nil || len(one) != 1 || one[0].name != "bombs" {
		t.Errorf("%v, %v", one, err)
	}
	if _, err := choose([]string{"peace"}); err == nil {
		t.Error("found what is not there")
	}
}

// TestPingFrame proves that the victim's ping is one whole frame: its length, then
// that many bytes.
func TestPingFrame(t *testing.T) {
	if n := int(pingFrame[0]); n != len(pingFrame)-1 || n > 0x7f {
		t.Errorf("a length of %d before %d bytes", n, len(pingFrame)-1)
	}
}
