// Package consent answers whether somebody lets somebody else come near: put them into a
// team, or write to them for the first time.
//
// It decides from what the person asked for: blocks (engine/people), and the contact
// settings (engine/accounts), which name whom to let in by the person's follows
// (merklehot/directory) and by teams that both are in. It promises that a block counts
// more than a setting, that settings that are not switched on keep nobody out, and that
// a follow of somebody who was reset since lets nobody in. It owns no keys and writes
// nothing.
//
// client: go/protocol/keybase1/account.go:ContactSettings, go/libkb/contact_settings.go:SetContactSettings, go/libkb/errors.go:TeamContactSettingsBlockError
package consent

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/limits"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/directory"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// friendsAskedMax bounds the people of whom one question looks whether they follow
// somebody.
const friendsAskedMax = 2000

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("friendsAskedMax", friendsAskedMax, "followed people", "whose own follows count when somebody lets friends of friends in"),
	}
}

// Together reports whether two people are members of the same team, as more than
// somebody who is only invited.
type Together func(team kbsig.TeamID) (bool, error)

// ContactAllowed reports whether to lets from come near. together tells of teams that
// both are in; nil: there are none. Nobody is kept from what is their own.
func ContactAllowed(r store.Reader, from, to kbsig.UID, together Together) (bool, error) {
	if from == to {
		return true, nil
	}
	b, err := people.BlockOf(r, to, from)
	if err != nil || b.Chat {
		return false, err
	}
	c, err := accounts.GetContact(r, to)
	if err != nil {
		return false, err
	}
	s := c.Settings
	if !s.Enabled {
		return true, nil
	}
	if s.AllowFolloweeDegrees > 0 {
		if near, err := followed(r, from, to, s.AllowFolloweeDegrees); err != nil || near {
			return near, err
		}
	}
	if !s.AllowGoodTeams || together == nil {
		return false, nil
	}
	for _, t := range s.Teams {
		if !t.Enabled {
			continue
		}
		id, err := kbsig.ParseTeamID(t.TeamID)
		if err != nil {
			continue // settings may name what never was a team
		}
		if both, err := together(id); err != nil || both {
			return both, err
		}
	}
	return false, nil
}

// followed reports whether to follows from, or, at two degrees, somebody who does.
func followed(r store.Reader, from, to kbsig.UID, degrees int) (bool, error) {
	eldest, err := eldestOf(r, from)
	if err != nil {
		return false, err
	}
	if ok, err := directory.FollowsNow(r, to, from, eldest); err != nil || ok || degrees < 2 {
		return ok, err
	}
	friends, err := directory.FollowsOf(r, to, friendsAskedMax)
	if err != nil {
		return false, err
	}
	for _, f := range friends {
		ok, err := directory.FollowsNow(r, f, from, eldest)
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		// That somebody who was reset is still in the list is no word of theirs.
		now, err := eldestOf(r, f)
		if err != nil {
			return false, err
		}
		if ok, err := directory.FollowsNow(r, to, f, now); err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

// eldestOf is the first link of somebody's present incarnation, 0 if there is none.
func eldestOf(r store.Reader, u kbsig.UID) (kbsig.Seqno, error) {
	b, err := r.Get(keys.Chain(u))
	if errors.Is(err, store.ErrNotFound) {
		return 0, accounts.ErrNoUser
	}
	if err != nil {
		return 0, fmt.Errorf("load chain of %s: %w", u, err)
	}
	st, err := sigchain.DecodeState(b)
	if err != nil {
		return 0, fmt.Errorf("chain of %s: %w", u, err)
	}
	return st.EldestSeqno, nil
}
