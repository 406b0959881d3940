package joining

import (
	"errors"
	"fmt"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/consent"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// Unwilling refuses a post that puts people into a team who do not want the one who
// posts to come near. client: go/libkb/errors.go:TeamContactSettingsBlockError
type Unwilling struct {
	UIDs  []kbsig.UID
	Names []kbsig.Username
}

func (e *Unwilling) Error() string {
	names := make([]string, len(e.Names))
	for i, n := range e.Names {
		names[i] = string(n)
	}
	return "some people do not let you add them to teams: " + strings.Join(names, ", ")
}

// willing refuses a post that adds somebody against their contact settings. Nobody is
// asked who adds themselves, who asked to be let in or accepted an invitation, or who
// has been in the team: settings change nothing about the teams that one is in.
func willing(tx *store.Tx, f teams.PostFact) error {
	refused := new(Unwilling)
	asked := map[kbsig.UID]bool{f.By.UID: true}
	for _, l := range f.Links {
		for _, c := range l.Completed {
			asked[c.UV.UID] = true
		}
		for _, c := range l.Used {
			asked[c.UV.UID] = true
		}
		for _, u := range comers(l) {
			if asked[u] {
				continue
			}
			asked[u] = true
			ok, err := lets(tx, f.By.UID, u, l.Team, f.Before[l.Team])
			if err != nil {
				return fmt.Errorf("whether %s may be added to team %s: %w", u, l.Team, err)
			}
			if ok {
				continue
			}
			acct, err := accounts.Get(tx, u)
			if err != nil {
				return err
			}
			refused.UIDs, refused.Names = append(refused.UIDs, u), append(refused.Names, acct.Name)
		}
	}
	if len(refused.UIDs) > 0 {
		return refused
	}
	return nil
}

// comers are the users whom a link gives a role, or invites by their account.
func comers(l *teamchain.Link) (out []kbsig.UID) {
	for _, m := range l.Members {
		if m.Role != teamchain.RoleNone {
			out = append(out, m.UV.UID)
		}
	}
	if l.Invites == nil {
		return out
	}
	for _, i := range l.Invites.Added {
		if uv, ok := i.Keybase(); ok {
			out = append(out, uv.UID)
		}
	}
	return out
}

// lets reports whether to may be added by from to a team, which was before: nil if it is
// new.
func lets(tx *store.Tx, from, to kbsig.UID, t kbsig.TeamID, before *teamchain.State) (bool, error) {
	if before != nil {
		if _, in, err := before.CurrentUV(to); err != nil || in {
			return in, err
		}
		invited := false
		err := before.KeybaseInvites(to, func(i teamchain.InviteState) error {
			invited = invited || i.Good()
			return nil
		})
		if err != nil || invited {
			return invited, err
		}
		if o, err := OutsiderOf(tx, t, to); err != nil || o.Asked != 0 {
			return err == nil, err
		}
	}
	return consent.ContactAllowed(tx, from, to, func(other kbsig.TeamID) (bool, error) {
		for _, u := range []kbsig.UID{from, to} {
			s, err := teams.StandingOf(tx, other, u)
			if errors.Is(err, teams.ErrNoTeam) {
				return false, nil // settings may name what never was a team
			}
			if err != nil || s.Role == teamchain.RoleNone {
				return false, err
			}
		}
		return true, nil
	})
}
