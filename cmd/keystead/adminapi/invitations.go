package adminapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
)

// Names of the methods of invitations.
const (
	InviteNew    = "invite.new"
	InviteList   = "invite.list"
	InviteRevoke = "invite.revoke"
)

// guestsShown bounds the names that a list gives for one invitation.
const guestsShown = 10

// Invitations are the methods about who may sign up.
type Invitations struct {
	Store  *store.Store
	Rand   io.Reader
	Clock  func() time.Time
	Policy accounts.SignupPolicy
}

// Methods is the table of them.
func (i Invitations) Methods() Methods {
	return Methods{InviteNew: typed(i.make), InviteList: typed(i.list), InviteRevoke: typed(i.revoke)}
}

// NewInvitation is the argument of invite.new.
type NewInvitation struct {
	Note            string `json:"note,omitempty"`
	Uses            int    `json:"uses"`
	LifetimeSeconds int64  `json:"lifetime_s"` // 0: for ever
}

// MadeInvitation is the result of invite.new. The code is told here and never again.
type MadeInvitation struct {
	Code    string                `json:"code"`
	ID      string                `json:"id"`
	Expires int64                 `json:"expires,omitempty"` // unix seconds; 0: never
	Policy  accounts.SignupPolicy `json:"policy"`
}

func (i Invitations) make(ctx context.Context, args NewInvitation) (made MadeInvitation, err error) {
	lifetimeMax := int64(accounts.InvitationLifetimeMax / time.Second)
	if args.LifetimeSeconds < 0 || args.LifetimeSeconds > lifetimeMax {
		args.LifetimeSeconds = lifetimeMax + 1 // which the check refuses, and no multiplication overflows
	}
	spec := accounts.InvitationSpec{Note: args.Note, Uses: args.Uses, Lifetime: time.Duration(args.LifetimeSeconds) * time.Second}
	if err := spec.Check(); err != nil {
		return made, err
	}
	made.Policy = i.Policy
	err = i.Store.Update(ctx, func(tx *store.Tx) error {
		code, id, err := accounts.NewInvitation(tx, i.Rand, spec)
		made.Code, made.ID = code, id.String()
		if spec.Lifetime > 0 {
			made.Expires = tx.Now().Add(spec.Lifetime).Unix()
		}
		return err
	})
	return made, err
}

// InvitationList is the result of invite.list, the newest first.
type InvitationList struct {
	Policy      accounts.SignupPolicy `json:"policy"`
	Invitations []ListedInvitation    `json:"invitations"`
}

// ListedInvitation is one of them.
type ListedInvitation struct {
	ID      string  `json:"id"`
	Note    string  `json:"note,omitempty"`
	State   string  `json:"state"` // "open", "used", "expired", "revoked"
	Uses    int     `json:"uses"`
	Used    int     `json:"used"`
	Guests  []Guest `json:"guests,omitempty"` // the first of those who used it
	Made    int64   `json:"made"`             // unix seconds
	Expires int64   `json:"expires,omitempty"`
}

// Guest is somebody who signed up with an invitation.
type Guest struct {
	Name string `json:"name"`
	Time int64  `json:"time"` // unix seconds
}

func (i Invitations) list(context.Context, struct{}) (InvitationList, error) {
	v := i.Store.View()
	defer v.Close()
	out := InvitationList{Policy: i.Policy, Invitations: []ListedInvitation{}}
	err := accounts.Invitations(v, func(id accounts.InvitationID, inv *accounts.Invitation) error {
		row := ListedInvitation{
			ID: id.String(), Note: inv.Note, State: stateOf(inv.Usable(i.Clock())),
			Uses: inv.Uses, Used: len(inv.Used), Made: inv.CTime, Expires: inv.Expires,
		}
		for _, use := range inv.Used[:min(len(inv.Used), guestsShown)] {
			acct, err := accounts.Get(v, use.UID)
			if err != nil {
				return fmt.Errorf("who used invitation %s: %w", id, err)
			}
			row.Guests = append(row.Guests, Guest{Name: string(acct.Name), Time: use.Time})
		}
		out.Invitations = append(out.Invitations, row)
		return nil
	})
	slices.SortFunc(out.Invitations, func(a, b ListedInvitation) int {
		return cmp.Or(cmp.Compare(b.Made, a.Made), cmp.Compare(a.ID, b.ID))
	})
	return out, err
}

func stateOf(err error) string {
	switch {
	case errors.Is(err, accounts.ErrInvitationUsed):
		return "used"
	case errors.Is(err, accounts.ErrInvitationExpired):
		return "expired"
	case errors.Is(err, accounts.ErrInvitationWithdrawn):
		return "revoked"
	}
	return "open"
}

// RevokeInvitation is the argument of invite.revoke: an id, or a code as typed.
type RevokeInvitation struct {
	Invitation string `json:"invitation"`
}

// RevokedInvitation is the result of invite.revoke.
type RevokedInvitation struct {
	ID   string `json:"id"`
	Note string `json:"note,omitempty"`
	Used int    `json:"used"` // accounts made with it, which stay
}

func (i Invitations) revoke(ctx context.Context, args RevokeInvitation) (RevokedInvitation, error) {
	var out RevokedInvitation
	err := i.Store.Update(ctx, func(tx *store.Tx) error {
		id, err := accounts.ParseInvitationID(args.Invitation)
		if err != nil {
			if id, _, err = accounts.FindInvitation(tx, args.Invitation); err != nil {
				return err
			}
		}
		inv, err := accounts.RevokeInvitation(tx, id)
		if err != nil {
			return err
		}
		out = RevokedInvitation{ID: id.String(), Note: inv.Note, Used: len(inv.Used)}
		return nil
	})
	return out, err
}
