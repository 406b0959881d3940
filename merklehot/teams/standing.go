package teams

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// membership is what a user is in a team: the newest incarnation that is a member.
type membership struct {
	Role   teamchain.Role `codec:"r"`
	Eldest kbsig.Seqno    `codec:"e"`
}

// Standing is what a user may be taken for in a team.
type Standing struct {
	UV kbsig.UserVersion // the user's present incarnation
	// Role is what the chain makes of that incarnation.
	Role teamchain.Role
	// Implicit is the role in Ancestor, the nearest team above where the user is an
	// admin or owner; RoleNone if there is none.
	Implicit teamchain.Role
	Ancestor kbsig.TeamID
}

// Admin reports whether the user may do what admins do.
func (s Standing) Admin() bool {
	return s.Role.AtLeast(teamchain.RoleAdmin) || s.Implicit.AtLeast(teamchain.RoleAdmin)
}

// Any reports whether the user is anything at all in the team.
func (s Standing) Any() bool {
	return s.Role != teamchain.RoleNone || s.Implicit != teamchain.RoleNone
}

// StandingOf tells what a user is in a team, deleted or not. Somebody who was reset
// since joining is nothing. The error is ErrNoTeam if there is no such team.
func StandingOf(r store.Reader, t kbsig.TeamID, u kbsig.UID) (Standing, error) {
	out := Standing{UV: kbsig.UserVersion{UID: u}}
	above, err := Ancestors(r, t)
	if err != nil {
		return out, err
	}
	if out.UV.Eldest, err = identity.EldestSeqno(r, u); err != nil {
		return out, err
	}
	if out.Role, err = roleIn(r, t, out.UV); err != nil {
		return out, err
	}
	for _, a := range above {
		role, err := roleIn(r, a, out.UV)
		if err != nil {
			return out, err
		}
		if role.AtLeast(teamchain.RoleAdmin) {
			out.Implicit, out.Ancestor = role, a
			break
		}
	}
	return out, nil
}

// roleIn is a user version's own role in a team.
func roleIn(r store.Reader, t kbsig.TeamID, uv kbsig.UserVersion) (teamchain.Role, error) {
	m, err := store.Load[membership](r, keys.Membership(uv.UID, t))
	if errors.Is(err, store.ErrNotFound) || err == nil && (m.Eldest != uv.Eldest || uv.Eldest == 0) {
		return teamchain.RoleNone, nil
	}
	if err != nil {
		return teamchain.RoleNone, fmt.Errorf("role of %s in team %s: %w", uv.UID, t, err)
	}
	return m.Role, nil
}

// TeamsOf calls fn for the teams, live ones, in which a user's present incarnation is a
// member by itself, in the order of their ids.
func TeamsOf(r store.Reader, u kbsig.UID, fn func(kbsig.TeamID, teamchain.Role) error) error {
	eldest, err := identity.EldestSeqno(r, u)
	if err != nil {
		return err
	}
	if eldest == 0 {
		return nil
	}
	return MembershipsOf(r, u, func(t kbsig.TeamID, uv kbsig.UserVersion, role teamchain.Role) error {
		if uv.Eldest != eldest {
			return nil
		}
		return fn(t, role)
	})
}

// MembershipsOf calls fn for the live teams whose chain names a user as a member, in
// whatever incarnation, the newest one that is named.
func MembershipsOf(r store.Reader, u kbsig.UID, fn func(kbsig.TeamID, kbsig.UserVersion, teamchain.Role) error) error {
	lo := keys.Memberships(u)
	err := r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		_, t, ok := keys.MembershipOf(k)
		if !ok {
			return fmt.Errorf("malformed key: %w", ErrCorrupt)
		}
		m, err := store.Decode[membership](v)
		if err != nil {
			return err
		}
		f, err := FactsOf(r, t)
		if err != nil || f.Deleted {
			return err
		}
		return fn(t, kbsig.UserVersion{UID: u, Eldest: m.Eldest}, m.Role)
	})
	if err != nil {
		return fmt.Errorf("teams of %s: %w", u, err)
	}
	return nil
}

// RoleMapVersion counts the changes of what a user is in teams, and of what those teams
// are called; 0 before the first.
// client: go/teams/team_role_map.go:TeamRoleMapManager
func RoleMapVersion(r store.Reader, u kbsig.UID) (int64, error) {
	n, err := store.Load[int64](r, keys.RoleMap(u))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("version of the roles of %s: %w", u, err)
	}
	return n, nil
}
