// Package known passes on that a user has come to be known, or is known no more, under an
// address or under a name elsewhere: others may have waited for that somebody.
//
// Contract:
//   - Say belongs to the transaction of the fact, so that neither is without the other.
//   - Who listens is told of each fact at least once, after it; facts about one user and
//     name that come close together are one. The listener looks itself at what holds now.
//
// It is a kind of engine/jobs, and needs no records of its own.
package known

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/store"
)

// kind is the kind of the jobs.
const kind = "known"

// The services whose names are addresses. All others are names of proofs.
const (
	Mail  = "email" // the address
	Phone = "phone" // the number, E.164 without the plus
)

// Fact is a name that may have changed hands.
type Fact struct {
	UID     kbsig.UID `codec:"u"`
	Service string    `codec:"s"`
	Name    string    `codec:"n"`
}

// Say keeps a fact to be passed on.
func Say(tx *store.Tx, f Fact) error {
	what := sha256.Sum256([]byte(f.Service + "\x00" + f.Name))
	err := jobs.Add(tx, jobs.Job{Kind: kind, Key: f.UID.String() + "/" + hex.EncodeToString(what[:16]), Body: store.Encode(f)})
	if err != nil {
		return fmt.Errorf("pass on a name at %.40s of %s: %w", f.Service, f.UID, err)
	}
	return nil
}

// Listen names who is told.
func Listen(r *jobs.Runner, hear func(ctx context.Context, f Fact) error) {
	r.Handle(kind, func(ctx context.Context, j jobs.Job) error {
		f, err := store.Decode[Fact](j.Body)
		if err != nil {
			return jobs.GiveUp(err)
		}
		return hear(ctx, f)
	})
}
