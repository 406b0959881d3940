package main

import (
	"fmt"
	"io"
	"sync"
)

// kind is what can be wrong after a crash.
type kind string

const (
	lost      kind = "lost"      // acknowledged and not there
	doubled   kind = "doubled"   // there twice, or there although it was refused or never sent
	reordered kind = "reordered" // there in another order than it was acknowledged in
	forked    kind = "forked"    // two roots under one number, or roots or time went back
	wrong     kind = "wrong"     // anything else that must not be
	unread    kind = "unread"    // the server says that it cannot tell: damage that it noticed
)

// judge collects what was found and prints each finding when it is made.
type judge struct {
	mu     sync.Mutex
	out    io.Writer
	quiet  bool // count only
	seed   uint64
	cycle  int
	repeat string
	counts map[kind]int
	first  map[kind]string
}

func newJudge(out io.Writer, seed uint64, repeat string) *judge {
	return &judge{out: out, seed: seed, repeat: repeat, counts: make(map[kind]int), first: make(map[kind]string)}
}

// aside is a judge of its own for a trial that may fail.
func (j *judge) aside() *judge {
	return &judge{quiet: true, counts: make(map[kind]int), first: make(map[kind]string)}
}

func (j *judge) enter(cycle int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cycle = cycle
}

func (j *judge) found(k kind, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if j.counts[k]++; j.counts[k] == 1 {
		j.first[k] = text
	}
	if !j.quiet {
		fmt.Fprintf(j.out, "FAIL seed %d cycle %d: %s: %s\n  repeat: %s\n", j.seed, j.cycle, k, text, j.repeat)
	}
}

// total is how much was found.
func (j *judge) total() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, c := range j.counts {
		n += c
	}
	return n
}

func (j *judge) count(k kind) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.counts[k]
}

// worst is the first finding of a kind other than except, "" for none.
func (j *judge) worst(except kind) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, k := range []kind{lost, doubled, reordered, forked, wrong, unread} {
		if k != except && j.counts[k] > 0 {
			return string(k) + ": " + j.first[k]
		}
	}
	return ""
}
