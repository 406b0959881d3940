package proofs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/store"
)

// When a proof is looked for again without anybody asking: after a quarter of the time
// for which nothing has changed, within these bounds.
const (
	lookingMin = time.Minute // since the statement was made
	lookingMax = 24 * time.Hour
	holdsMin   = 6 * time.Hour // since it came to hold
	holdsMax   = 7 * 24 * time.Hour
	shakyMin   = 30 * time.Minute // while it is not seen, but was
	shakyMax   = 6 * time.Hour
	goneMin    = 12 * time.Hour // since it was seen
	goneMax    = 14 * 24 * time.Hour
	// lookingEnd and goneEnd are when nobody looks any more unless asked.
	lookingEnd = 60 * 24 * time.Hour
	goneEnd    = 180 * 24 * time.Hour
	// jitterParts: a look is put off by up to a part of its interval, so that those
	// of one moment do not stay together.
	jitterParts = 8
	// lanes is how many background checks may go on at a time.
	lanes = 4
)

// next is when a proof is looked for again; the zero time means not by itself.
func (p *Proof) next(now time.Time) time.Time {
	since, lo, hi, end := p.Ctime*1000, lookingMin, lookingMax, lookingEnd
	switch p.State {
	case StateOK:
		since, lo, hi, end = p.Since, holdsMin, holdsMax, 0
	case StateTempFailure:
		since, lo, hi, end = p.Seen, shakyMin, shakyMax, 0
	case StatePermFailure:
		since, lo, hi, end = p.Seen, goneMin, goneMax, goneEnd
	}
	age := now.Sub(time.UnixMilli(since))
	if end != 0 && age > end {
		return time.Time{}
	}
	wait := min(max(age/4, lo), hi)
	wait += wait / jitterParts * time.Duration(p.SigID[0]) / 256
	return now.Add(wait)
}

// job is the kind and the name of the background checks of a proof.
func (p *Proof) job() (kind, key string) {
	return laneKind(int(p.SigID[1]) % lanes), p.UID.String() + "/" + p.SigID.String()
}

func laneKind(lane int) string { return fmt.Sprintf("proof-%d", lane) }

// schedule puts the next background check of a proof where it belongs.
func schedule(tx *store.Tx, p *Proof) error {
	at := p.next(tx.Now())
	if at.IsZero() {
		return unschedule(tx, p)
	}
	kind, key := p.job()
	return jobs.Add(tx, jobs.Job{Kind: kind, Key: key, At: at})
}

func unschedule(tx *store.Tx, p *Proof) error {
	kind, key := p.job()
	return jobs.Drop(tx, kind, key)
}

// Work gives the background checks to a runner.
func (b *Book) Work(r *jobs.Runner) {
	for lane := range lanes {
		r.Handle(laneKind(lane), b.recheck)
	}
}

func (b *Book) recheck(ctx context.Context, j jobs.Job) error {
	uid, sig, _ := strings.Cut(j.Key, "/")
	u, err := kbsig.ParseUID(uid)
	if err != nil {
		return jobs.GiveUp(err)
	}
	s, err := kbsig.ParseSigIDBase(sig)
	if err != nil {
		return jobs.GiveUp(err)
	}
	_, err = b.Check(ctx, u, s)
	if errors.Is(err, ErrNoProof) {
		return nil // taken back meanwhile
	}
	return err
}
