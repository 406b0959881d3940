package identity

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// Limits of leases.
const (
	// leaseLifetime bounds the time between asking to revoke and revoking.
	leaseLifetime = 30 * time.Minute
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
	Root    kbsig.Seqno       `codec:"r"`
	KIDs    []kbsig.KID       `codec:"k,omitempty"`
	SigIDs  []kbsig.SigIDBase `codec:"s,omitempty"`
	Expires int64             `codec:"e"` // unix seconds
}

// NewLease opens a lease over keys or signatures of u's own chain, at the newest
// root that u can see.
func (s *Service) NewLease(ctx context.Context, u kbsig.UID, kids []kbsig.KID, sigs []kbsig.SigIDBase) (LeaseID, *roots.Root, error) {
	var id LeaseID
	if _, err := io.ReadFull(s.rand, id[:]); err != nil {
		return id, nil, err
	}
	if n := len(kids) + len(sigs); n == 0 || n > leaseTargetsMax {
		return id, nil, sigchain.Refuse(sigchain.KindInput, "lease over %d targets", n)
	}
	v := s.store.View()
	root := roots.StateOf(v).Root()
	v.Close()
	err := s.store.Update(ctx, func(tx *store.Tx) error {
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
		if err := sweepLeases(tx, u); err != nil {
			return err
		}
		store.Save(tx, keys.Lease(u, id), Lease{
			Root: root.Seqno, KIDs: kids, SigIDs: sigs, Expires: tx.Now().Add(leaseLifetime).Unix(),
		})
		return nil
	})
	return id, root, err
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
	l, err := store.Load[Lease](tx, keys.Lease(u, *id))
	if errors.Is(err, store.ErrNotFound) || (err == nil && l.Expires <= tx.Now().Unix()) {
		return nil, sigchain.Refuse(sigchain.KindNoLease, "no such lease, or it has expired")
	}
	if err != nil {
		return nil, err
	}
	tx.Delete(keys.Lease(u, *id))
	return &sigchain.Lease{Root: l.Root, KIDs: l.KIDs, SigIDs: l.SigIDs}, nil
}
