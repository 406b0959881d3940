package client

import (
	"cmp"
	"slices"
	"sync"
)

// SeenRoot is what is known about one root for ever.
type SeenRoot struct {
	Seqno    Seqno
	HashMeta HashMeta
	Ctime    int64  // 0 when only a younger root's skip table named it
	Hash512  string // "" likewise
	Node     NodeHash
	Prev     string
}

// Witness remembers every root seen on the wire and every older root that a
// signed skip table named: one seqno, one hash. It may be shared by all
// verifiers of a run, and its dump compared between runs.
type Witness struct {
	mu     sync.Mutex
	roots  map[Seqno]SeenRoot
	byHash map[HashMeta]Seqno
	// TimeSlack is how far ctimes of roots may run back, in seconds. Harnesses
	// that know the server's clock set 0 (no running back at all).
	TimeSlack int64
	firstRoot Seqno
}

// NewWitness knows nothing yet.
func NewWitness() *Witness {
	return &Witness{roots: make(map[Seqno]SeenRoot), byHash: make(map[HashMeta]Seqno), TimeSlack: skipDriftMax}
}

// see compares a verified root with all that is known and remembers it.
func (w *Witness) see(r *Root, firstRoot Seqno) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.firstRoot = max(w.firstRoot, firstRoot)
	if old, ok := w.roots[r.Seqno]; ok && old.HashMeta != r.HashMeta {
		return violated(RuleFork, r.subject(), "hash %s, but %s was known", r.HashMeta, old.HashMeta)
	}
	for s, hash := range r.Skips {
		old, ok := w.roots[s]
		switch {
		case hash.IsZero() && (ok || s >= w.firstRoot && w.firstRoot > 0):
			return violated(RuleSkipTable, r.subject(), "dummy skip to %d, which exists", s)
		case hash.IsZero():
		case !ok:
			w.put(SeenRoot{Seqno: s, HashMeta: hash})
		case old.HashMeta != hash:
			return violated(RuleFork, r.subject(), "skip to %d says %s, but %s was known", s, hash, old.HashMeta)
		}
	}
	if err := w.neighbours(r); err != nil {
		return err
	}
	w.put(SeenRoot{r.Seqno, r.HashMeta, r.Ctime, r.Hash512, r.Node, r.Prev})
	return nil
}

func (w *Witness) put(r SeenRoot) {
	w.roots[r.Seqno] = r
	w.byHash[r.HashMeta] = r.Seqno
}

// named looks a root up by its hash.
func (w *Witness) named(h HashMeta) (SeenRoot, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.byHash[h]
	return w.roots[s], ok
}

// neighbours checks prev and time against the roots next to r, where known.
func (w *Witness) neighbours(r *Root) error {
	before, after := w.roots[r.Seqno-1], w.roots[r.Seqno+1]
	if before.Hash512 != "" && r.Prev != before.Hash512 {
		return violated(RulePrev, r.subject(), "prev is not the hash of root %d", before.Seqno)
	}
	if after.Hash512 != "" && after.Prev != r.Hash512 {
		return violated(RulePrev, r.subject(), "root %d has another prev", after.Seqno)
	}
	if before.Ctime > r.Ctime+w.TimeSlack || (after.Ctime != 0 && r.Ctime > after.Ctime+w.TimeSlack) {
		return violated(RuleRootTime, r.subject(), "ctime %d between %d and %d", r.Ctime, before.Ctime, after.Ctime)
	}
	return nil
}

// seen looks up one root.
func (w *Witness) seen(s Seqno) (SeenRoot, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.roots[s]
	return r, ok
}

// Dump lists all that is known, by seqno.
func (w *Witness) Dump() []SeenRoot {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]SeenRoot, 0, len(w.roots))
	for _, r := range w.roots {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b SeenRoot) int { return cmp.Compare(a.Seqno, b.Seqno) })
	return out
}

// Merge adds what another witness knew, for instance one of an earlier process,
// and reports the first contradiction.
func (w *Witness) Merge(known []SeenRoot) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range known {
		old, ok := w.roots[r.Seqno]
		if ok && old.HashMeta != r.HashMeta {
			return violated(RuleFork, "witness", "root %d is %s and %s", r.Seqno, old.HashMeta, r.HashMeta)
		}
		if !ok || old.Hash512 == "" {
			w.put(r)
		}
	}
	return nil
}
