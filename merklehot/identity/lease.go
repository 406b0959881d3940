package identity

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// Limits of leases.
const (
	// leaseLifetime bounds the time between asking to revoke and revoking; as long, what
	// is to be revoked signs nothing for teams.
	leaseLifetime = 5 * time.Minute
	// leasesMax bounds a user's open leases.
	leasesMax = 50
	// leaseTargetsMax bounds what one lease covers.
	leaseTargetsMax = 100
)

// A lease is the server's promise, given before a revocation, that nothing after the
// named root will need what is about to be revoked; the revocation must quote that
// root or a later one. client: go/libkb/downgrade_leases.go

// LeaseID names a lease.
type LeaseID [16]byte

// ParseLeaseID parses 32 hex characters.
func ParseLeaseID(s string) (id LeaseID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("lease id: %w", kbsig.ErrBadID)
	}
	copy(id[:], b)
	return id, nil
}

func (id LeaseID) String() string { return hex.EncodeToString(id[:]) }

// Lease is an open lease.
type Lease struct {
	Root    kbsig.Seqno       `codec:"r"` // 0 until the lease is durable, see Service.lease
	KIDs    []kbsig.KID       `codec:"k,omitempty"`
	SigIDs  []kbsig.SigIDBase `codec:"s,omitempty"`
	Expires int64             `codec:"e"` // unix seconds
	// Team and Members are what a lease over members of a team covers.
	Team    kbsig.TeamID `codec:"t"`
	Members []kbsig.UID  `codec:"m,omitempty"`
}

// NewLease opens a lease over keys or signatures of u's own chain. The root that it
// begins at shows all that was posted before.
func (s *Service) NewLease(ctx context.Context, u kbsig.UID, kids []kbsig.KID, sigs []kbsig.SigIDBase) (LeaseID, *roots.Root, error) {
	if n := len(kids) + len(sigs); n == 0 || n > leaseTargetsMax {
		return LeaseID{}, nil, sigchain.Refuse(sigchain.KindInput, "lease over %d targets", n)
	}
	return s.lease(ctx, u, Lease{KIDs: kids, SigIDs: sigs}, leaseLifetime, func(tx *store.Tx, _ LeaseID) error {
		st, err := Chain(tx, u)
		if err != nil {
			return err
		}
		for _, k := range kids {
			if key, ok := st.Key(k); !ok || !st.KeyActive(key) {
				return sigchain.Refuse(sigchain.KindKeyNotFound, "lease over %s, which is no active key of %s", k, u)
			}
		}
		for _, sig := range sigs {
			place, err := store.Load[SigPlace](tx, keys.SigID(sig))
			if errors.Is(err, store.ErrNotFound) || (err == nil && place.UID != u) {
				return sigchain.Refuse(sigchain.KindKeyNotFound, "lease over a signature that is not in the chain of %s", u)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// LeaseMembers opens a lease over members of a team, if check lets it.
func (s *Service) LeaseMembers(
	ctx context.Context, u kbsig.UID, t kbsig.TeamID, members []kbsig.UID, lasts time.Duration, check func(*store.Tx, LeaseID) error,
) (LeaseID, *roots.Root, error) {
	return s.lease(ctx, u, Lease{Team: t, Members: members}, lasts, check)
}

// lease writes a lease, which from then on holds others up, and when that is durable
// gives it the root that is the newest then: nothing that is held up can stand in a
// later one.
func (s *Service) lease(
	ctx context.Context, u kbsig.UID, l Lease, lasts time.Duration, check func(*store.Tx, LeaseID) error,
) (id LeaseID, root *roots.Root, err error) {
	if _, err := io.ReadFull(s.rand, id[:]); err != nil {
		return id, nil, err
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if err := check(tx, id); err != nil {
			return err
		}
		l.Expires = tx.Now().Add(lasts).Unix()
		if err := sweepLeases(tx, u); err != nil {
			return err
		}
		store.Save(tx, keys.Lease(u, id), l)
		return nil
	})
	if err != nil {
		return id, nil, err
	}
	v := s.store.View()
	root = roots.StateOf(v).Root()
	v.Close()
	l.Root = root.Seqno
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		store.Save(tx, keys.Lease(u, id), l)
		return nil
	})
	return id, root, err
}

// LeaseOf loads a lease that u has opened; the error is store.ErrNotFound if there is
// none, or if it has no root yet and so is good for nothing.
func LeaseOf(r store.Reader, u kbsig.UID, id LeaseID) (Lease, error) {
	l, err := store.Load[Lease](r, keys.Lease(u, id))
	if err == nil && l.Root == 0 {
		err = store.ErrNotFound
	}
	return l, err
}

// LeaseOpen reports whether a lease that u has opened holds others up.
func LeaseOpen(r store.Reader, u kbsig.UID, id LeaseID) (bool, error) {
	return store.Has(r, keys.Lease(u, id))
}

// KeyLeased reports whether a key of a user is about to be revoked under a lease: nothing
// else may be signed with it meanwhile, since nobody could prove that it came before.
func KeyLeased(tx *store.Tx, u kbsig.UID, k kbsig.KID) (leased bool, err error) {
	lo := keys.Leases(u)
	err = tx.Scan(lo, keys.End(lo), func(_, v []byte) error {
		l, err := store.Decode[Lease](v)
		if err == nil && l.Expires > tx.Now().Unix() && slices.Contains(l.KIDs, k) {
			leased = true
			return store.ErrStop
		}
		return err
	})
	return leased, err
}

// sweepLeases drops expired leases, and refuses a new one while too many are open.
func sweepLeases(tx *store.Tx, u kbsig.UID) error {
	open := 0
	lo := keys.Leases(u)
	err := tx.Scan(lo, keys.End(lo), func(k, v []byte) error {
		l, err := store.Decode[Lease](v)
		if err != nil {
			return err
		}
		if l.Expires <= tx.Now().Unix() {
			tx.Delete(append([]byte(nil), k...))
		} else {
			open++
		}
		return nil
	})
	if err == nil && open >= leasesMax {
		return sigchain.Refuse(sigchain.KindTooMany, "too many revocations begun and not finished")
	}
	return err
}

// CancelLease drops a lease; one that is not there is no error.
func (s *Service) CancelLease(ctx context.Context, u kbsig.UID, id LeaseID) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		tx.Delete(keys.Lease(u, id))
		return nil
	})
}

// useLease takes a lease for the post that quotes it; nil if none was quoted.
func useLease(tx *store.Tx, u kbsig.UID, id *LeaseID) (*sigchain.Lease, error) {
	if id == nil {
		return nil, nil
	}
	l, err := LeaseOf(tx, u, *id)
	if errors.Is(err, store.ErrNotFound) || (err == nil && l.Expires <= tx.Now().Unix()) {
		return nil, sigchain.Refuse(sigchain.KindNoLease, "no such lease, or it has expired")
	}
	if err != nil {
		return nil, err
	}
	tx.Delete(keys.Lease(u, *id))
	return &sigchain.Lease{Root: l.Root, KIDs: l.KIDs, SigIDs: l.SigIDs}, nil
}
