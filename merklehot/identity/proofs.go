package identity

import (
	"slices"

	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// ProofKeeper keeps what follows from the proofs in chains: whether they were found
// where they should be, and who is who elsewhere.
type ProofKeeper interface {
	// ProofsChanged is called within the transaction that changes a user's proofs,
	// with the chain before and after it, whose Proofs differ. An error refuses what
	// changed them: a proof of a service that is not known, or a name that cannot be.
	ProofsChanged(tx *store.Tx, before, after *sigchain.State) error
}

// KeepProofs says who keeps proofs. Without anybody no proof is taken. It must be
// called before the first request.
func (s *Service) KeepProofs(k ProofKeeper) { s.proofs = k }

// syncProofs tells the keeper of proofs that came or went, by a post or by a reset.
func (s *Service) syncProofs(tx *store.Tx, before, after *sigchain.State) error {
	switch {
	case slices.Equal(before.Proofs, after.Proofs):
		return nil
	case s.proofs != nil:
		return s.proofs.ProofsChanged(tx, before, after)
	case len(after.Proofs) > len(before.Proofs):
		return sigchain.Refuse(sigchain.KindNotAvailable, "proofs of other identities are not taken")
	}
	return nil
}
