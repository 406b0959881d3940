package teams

import (
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// Access says what somebody may see of a team. It is decided here and nowhere else; the
// methods are the columns of the table.
type Access struct {
	Standing
	Team kbsig.TeamID
	// Below is set if the right to read rests on being in a team below, and on nothing
	// else.
	Below bool

	public, implicit, deleted bool
}

// AccessOf decides about a user and a team; u is the zero UID for somebody unknown, and
// below names a team under t as a member of which the user wants to read t; zero: none.
// The error is ErrNoTeam if there is no such team.
func AccessOf(r store.Reader, t kbsig.TeamID, u kbsig.UID, below kbsig.TeamID) (Access, error) {
	a := Access{Team: t, public: t.Public()}
	f, err := FactsOf(r, t)
	if err != nil {
		return a, err
	}
	a.implicit, a.deleted = f.Implicit, f.Deleted
	if u.IsZero() {
		return a, nil
	}
	if a.Standing, err = StandingOf(r, t, u); err != nil || a.Any() || below.IsZero() || below == t {
		return a, err
	}
	a.Below, err = isBelow(r, t, u, below)
	return a, err
}

// isBelow reports whether a user is in a live team that lies under t.
func isBelow(r store.Reader, t kbsig.TeamID, u kbsig.UID, below kbsig.TeamID) (bool, error) {
	f, err := FactsOf(r, below)
	if errors.Is(err, ErrNoTeam) || err == nil && f.Deleted {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	above, err := Ancestors(r, below)
	if err != nil {
		return false, err
	}
	for _, a := range above {
		if a == t {
			s, err := StandingOf(r, below, u)
			return s.Any(), err
		}
	}
	return false, nil
}

// Member reports a member by itself, of any role.
func (a Access) Member() bool { return !a.deleted && a.Role != teamchain.RoleNone }

// Chain reports whether the visible chain may be read at all.
func (a Access) Chain() bool { return !a.deleted && (a.public || a.Any() || a.Below) }

// Whole reports whether all of it may be read. Who is in an implicit team must know its
// invitations, because they are in its name, and it has no subteams.
// client: go/teams/loader2.go:TeamLoader.checkStubbed
func (a Access) Whole() bool { return a.Chain() && (a.implicit || a.Admin()) }

// Keys reports whether the key of the team is the user's to have: members, but restricted
// bots, and admins of the teams above.
func (a Access) Keys() bool {
	return !a.deleted && (a.Role.AtLeast(teamchain.RoleBot) || a.Implicit.AtLeast(teamchain.RoleAdmin))
}

// Masks reports whether the server's half of the application keys is the user's to have:
// those who work in the team, which admins of the teams above do not.
// client: go/teams/loader2.go:TeamLoader.checkReaderKeyMaskCoverage
func (a Access) Masks() bool { return !a.deleted && a.Role.AtLeast(teamchain.RoleBot) }

// Hidden reports whether the hidden chain may be read. It tells of keys only, and without
// their secrets: restricted bots must know them, because keys that members make for them
// are signed with the newest, and visible links that they see commit to it.
// client: go/teambot/bot_keyer.go:BotKeyer.GetLatestTeambotKey, go/teams/hidden/loader.go:LoaderPackage.CheckUpdatesAgainstSeeds
func (a Access) Hidden() bool { return a.Keys() || a.Member() }

// Managed reports whether the user may do what admins do, and know what admins know.
func (a Access) Managed() bool { return !a.deleted && a.Admin() }

// Branches are the teams that a user is in, all below those where the user is an admin,
// and all above: those whose names the user knows anyway.
func Branches(r store.Reader, u kbsig.UID) (map[kbsig.TeamID]bool, error) {
	out := make(map[kbsig.TeamID]bool)
	list, err := StandingsOf(r, u)
	for _, s := range list {
		if out[s.Team] {
			continue
		}
		out[s.Team] = true
		above, err := Ancestors(r, s.Team)
		if err != nil {
			return nil, err
		}
		for _, a := range above {
			out[a] = true
		}
	}
	return out, err
}
