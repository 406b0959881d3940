// Package identity turns what a user does with an account into one transaction:
// sign-up, posting links with the boxes and keys that belong to them, follows,
// leases. It asks merklehot/sigchain whether the links may stand, and writes the
// chain, its indexes, the key boxes, the account's versions and the Merkle leaf in
// the same batch, so that all of it happens or none.
//
// Links are parsed and their signatures verified before the transaction; inside it
// only state is compared. The package writes the key families c, s, k, g, R and L of
// engine/keys and leaves the rest to their owners.
package identity

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/tree"
)

// PwhVersion is the version of password hashes that clients send.
// client: go/libkb/constants.go:ClientTriplesecVersion
const PwhVersion = 3

// Service runs the actions. It is safe for concurrent use.
type Service struct {
	store   *store.Store
	rand    io.Reader
	proofs  ProofKeeper
	names   []func(store.Reader, kbsig.Username) (bool, error)
	onReset []func(*store.Tx, ResetFact) error
	onPost  []func(tx *store.Tx, before, after *sigchain.State) error
}

// New returns the service over a store that the sequencer seals.
func New(st *store.Store, rand io.Reader) *Service {
	return &Service{store: st, rand: rand}
}

// RefuseNames registers what else has names that a new user must not take. It is called
// before the service is used.
func (s *Service) RefuseNames(taken func(store.Reader, kbsig.Username) (bool, error)) {
	s.names = append(s.names, taken)
}

func (s *Service) nameFree(r store.Reader, name kbsig.Username) error {
	for _, taken := range s.names {
		if yes, err := taken(r, name); err != nil {
			return err
		} else if yes {
			return accounts.ErrNameTaken
		}
	}
	return nil
}

// SignUp is a request for a new account.
type SignUp struct {
	Name     kbsig.Username
	Cased    string
	Salt     [16]byte
	Pwh      [32]byte // seed of the pdpka4 key; not kept
	PDPKA5   kbsig.KID
	RandomPW bool
	// Invited says that nobody gets in without an invitation; Invitation is the
	// code, as typed, which counts for nothing otherwise.
	Invited    bool
	Invitation string
	// BotToken signs a bot up for its owner; empty: it is no bot.
	BotToken string
	// Also is what else the new account needs, in the same transaction; nil: nothing.
	Also func(tx *store.Tx, u kbsig.UID) error
}

// SignUp makes an account without keys, its empty leaf in the tree, and a session.
// It fails with accounts.ErrNameTaken, with what Also returns, or with what is wrong
// with the invitation; one is used only by a sign-up that succeeds.
func (s *Service) SignUp(ctx context.Context, req SignUp) (*accounts.Account, accounts.SessionTokens, error) {
	acct := &accounts.Account{
		UID: kbsig.UIDOf(req.Name), Name: req.Name, Cased: req.Cased, Salt: req.Salt,
		PwhVersion: PwhVersion,
		PDPKA4:     kbsig.KIDOfPrivate(ed25519.NewKeyFromSeed(req.Pwh[:])),
		PDPKA5:     req.PDPKA5, Generation: 1, RandomPW: req.RandomPW,
	}
	var tokens accounts.SessionTokens
	err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
		if req.Invited {
			id, err := accounts.UseInvitation(tx, req.Invitation, acct.UID)
			if err != nil {
				return err
			}
			acct.Invitation = id.String()
		}
		if req.BotToken != "" {
			if acct.BotOf, err = accounts.BotTokenOwner(tx, req.BotToken); err != nil {
				return err
			}
		}
		if err = s.nameFree(tx, acct.Name); err != nil {
			return err
		}
		if err = accounts.Create(tx, acct); err != nil {
			return err
		}
		if req.Also != nil {
			if err = req.Also(tx, acct.UID); err != nil {
				return err
			}
		}
		st := sigchain.NewState(acct.UID, acct.Name)
		tx.Set(keys.Chain(acct.UID), st.Encode())
		noteLeaf(tx, st)
		tokens, err = accounts.NewSession(tx, s.rand, acct.UID)
		return err
	})
	if err != nil {
		return nil, tokens, fmt.Errorf("sign up: %w", err)
	}
	return acct, tokens, nil
}

// Chain loads what a user's chain means; a user without links has an empty one.
func Chain(r store.Reader, u kbsig.UID) (*sigchain.State, error) {
	b, err := r.Get(keys.Chain(u))
	if errors.Is(err, store.ErrNotFound) {
		return nil, accounts.ErrNoUser
	}
	if err != nil {
		return nil, fmt.Errorf("load chain of %s: %w", u, err)
	}
	st, err := sigchain.DecodeState(b)
	if err != nil {
		return nil, fmt.Errorf("chain of %s: %w", u, err)
	}
	return st, nil
}

// EldestSeqno is the first link of a user's current incarnation, 0 without one.
func EldestSeqno(r store.Reader, u kbsig.UID) (kbsig.Seqno, error) {
	st, err := Chain(r, u)
	if err != nil {
		return 0, err
	}
	return st.EldestSeqno, nil
}

// OwnerOf finds whose a key is, whatever its role; nil if nobody's.
func OwnerOf(r store.Reader, k kbsig.KID) (*kbsig.UID, error) {
	u, err := store.Load[kbsig.UID](r, keys.KIDOwner(k))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return &u, err
}

// Record loads one link of a chain as it was received.
func Record(r store.Reader, u kbsig.UID, n kbsig.Seqno) (sigchain.Record, error) {
	b, err := r.Get(keys.Link(u, n))
	if err != nil {
		return sigchain.Record{}, fmt.Errorf("link %d of %s: %w", n, u, err)
	}
	return sigchain.DecodeRecord(b)
}

// Records calls fn for the links of a chain after low, in order.
func Records(r store.Reader, u kbsig.UID, low kbsig.Seqno, fn func(kbsig.Seqno, sigchain.Record) error) error {
	return r.Scan(keys.Link(u, max(low, 0)+1), keys.End(keys.Links(u)), func(k, v []byte) error {
		_, n, ok := keys.LinkOf(k)
		if !ok {
			return fmt.Errorf("malformed link key in the chain of %s", u)
		}
		rec, err := sigchain.DecodeRecord(v)
		if err != nil {
			return fmt.Errorf("link %d of %s: %w", n, u, err)
		}
		return fn(n, rec)
	})
}

// noteLeaf tells the sealer what a user's leaf is now.
func noteLeaf(tx *store.Tx, st *sigchain.State) {
	tx.Note(roots.LeafChange{ID: tree.ID(st.UID), Leaf: Leaf(st)})
}

// Leaf is a user's leaf in the Merkle tree.
func Leaf(st *sigchain.State) tree.UserLeaf {
	return tree.UserLeaf{
		Seqno: st.Tail, Link: st.TailLink, Sig: st.TailSig, Eldest: st.Eldest,
		Reset: tree.ResetTail{Seqno: st.Resets.Seqno, Hash: st.Resets.Hash},
	}
}
