package teams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// Limits of leases over members.
const (
	// leaseLifetime bounds the time between asking to demote and demoting; as long, those
	// concerned cannot act as admins.
	leaseLifetime = 2 * time.Minute
	// leaseMembersMax bounds whom one lease covers.
	leaseMembersMax = 5000
)

// A lease over members is given before they lose power: as long as it lasts they post
// nothing that rests on that power outside of the team's own chain, whose order speaks
// for itself. So the root which the demotion quotes, the lease's or a later one, proves
// to readers that whatever those members did came before.
// client: go/teams/loader2.go:TeamLoader.addProofsForAdminPermission

// held is the record of a lease over a member.
type held struct {
	By      kbsig.UID        `codec:"b"`
	Lease   identity.LeaseID `codec:"l"`
	Expires int64            `codec:"e"` // unix seconds
}

// NewLease opens a lease over members of a team for one of its admins, or for somebody
// who steps down; the root is one that shows all that the members have posted.
func (s *Service) NewLease(ctx context.Context, by kbsig.UID, t kbsig.TeamID, members []kbsig.UID) (identity.LeaseID, *roots.Root, error) {
	if n := len(members); n == 0 || n > leaseMembersMax {
		return identity.LeaseID{}, nil, teamchain.Refuse(teamchain.KindInput, "lease over %d members", n)
	}
	return s.id.LeaseMembers(ctx, by, t, members, leaseLifetime, func(tx *store.Tx, id identity.LeaseID) error {
		standing, err := StandingOf(tx, t, by)
		if err != nil {
			return err
		}
		if f, err := FactsOf(tx, t); err != nil {
			return err
		} else if f.Deleted {
			return teamchain.Refuse(teamchain.KindDeleted, "lease over members of team %s", t)
		}
		alone := len(members) == 1 && members[0] == by
		if !standing.Admin() && !(alone && standing.Any()) {
			return teamchain.Refuse(teamchain.KindPermission, "lease by %s, who is no admin of team %s", by, t)
		}
		for _, u := range members {
			if _, err := accounts.Get(tx, u); err != nil {
				return err
			}
			store.Save(tx, keys.TeamLease(u, t), held{By: by, Lease: id, Expires: tx.Now().Add(leaseLifetime).Unix()})
		}
		return nil
	})
}

// heldUp refuses links that must not come while a lease is open: by a device that is
// being revoked, or on the strength of a role that is being taken away.
func heldUp(tx *store.Tx, l *teamchain.Link) error {
	if leased, err := identity.KeyLeased(tx, l.Signer.UID, l.KID); err != nil {
		return err
	} else if leased {
		return teamchain.Refuse(teamchain.KindLeased, "the device that signed is being revoked")
	}
	if l.Admin == nil || l.Admin.Team == l.Team {
		return nil
	}
	h, err := store.Load[held](tx, keys.TeamLease(l.Signer.UID, l.Admin.Team))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("lease over %s: %w", l.Signer.UID, err)
	}
	if h.Expires <= tx.Now().Unix() {
		return nil
	}
	// The lease may have been taken back since.
	if open, err := identity.LeaseOpen(tx, h.By, h.Lease); err != nil || !open {
		return err
	}
	return teamchain.Refuse(teamchain.KindLeased, "the role of %s is being taken away", l.Signer.UID)
}

// checkDemotions: who loses the power of an admin does so under a lease, quoted by a link
// that rests on a root at which the lease held.
func checkDemotions(tx *store.Tx, by kbsig.UID, p *Post, b *batch) error {
	var lease *identity.Lease
	for _, l := range b.links {
		for _, c := range b.changes(l) {
			if !c.before.AtLeast(teamchain.RoleAdmin) || c.after.AtLeast(teamchain.RoleAdmin) {
				continue
			}
			if now, err := identity.EldestSeqno(tx, c.uv.UID); err != nil {
				return err
			} else if now != c.uv.Eldest {
				continue // reset since: nobody signs as this user any more
			}
			if lease == nil {
				var err error
				if lease, err = takeLease(tx, by, p.Lease); err != nil {
					return err
				}
			}
			switch {
			case lease.Team != l.Team || !slices.Contains(lease.Members, c.uv.UID):
				return teamchain.Refuse(teamchain.KindNoLease, "the lease does not cover %s", c.uv.UID)
			case l.Root.Seqno < lease.Root:
				return teamchain.Refuse(teamchain.KindNoLease, "quotes root %d, the lease begins at %d", l.Root.Seqno, lease.Root)
			}
		}
	}
	return nil
}

func takeLease(tx *store.Tx, by kbsig.UID, id *identity.LeaseID) (*identity.Lease, error) {
	if id == nil {
		return nil, teamchain.Refuse(teamchain.KindNoLease, "an admin is demoted without a lease")
	}
	lease, err := identity.LeaseOf(tx, by, *id)
	if errors.Is(err, store.ErrNotFound) || err == nil && lease.Expires <= tx.Now().Unix() {
		return nil, teamchain.Refuse(teamchain.KindNoLease, "no such lease, or it has expired")
	}
	if err != nil {
		return nil, err
	}
	tx.Delete(keys.Lease(by, *id))
	for _, u := range lease.Members {
		tx.Delete(keys.TeamLease(u, lease.Team))
	}
	return &lease, nil
}
