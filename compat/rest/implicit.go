package rest

import (
	"errors"
	"slices"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/implicit"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// Implicit teams by their names. Clients recompute the name from the chain, and make the
// team themselves if there is none.

// noImplicitTeam is the answer upon which a client makes the team.
// client: go/teams/implicit.go:loadImpteamFromServer
func noImplicitTeam() error {
	return status.New(status.TeamReadError, "TEAM_READ_ERROR", "there is no such team, or you are not in it")
}

func (c *call) displayName() (implicit.Name, error) {
	text, err := c.str("display_name")
	if err != nil {
		return implicit.Name{}, err
	}
	n, err := implicit.ParseName(text, c.flag("public"))
	if err != nil {
		return n, status.InputField("display_name", "that is "+err.Error())
	}
	return n, nil
}

// implicitConflict is another team of the same people. client: go/teams/implicit.go:implicitTeamConflict
type implicitConflict struct {
	TeamID     string `json:"team_id"`
	Generation int    `json:"generation"`
	Date       string `json:"conflict_date"`
}

// teamImplicit: GET team/implicit. client: go/teams/implicit.go:loadImpteamFromServer
func teamImplicit(c *call) (any, error) {
	name, err := c.displayName()
	if err != nil {
		return nil, err
	}
	// Somebody whom the name calls by a name elsewhere may be a user by now.
	name, err = name.With(func(service, at string) (kbsig.Username, error) {
		u, ok, err := c.s.Joining.WhoIs(c.view(), service, at)
		if err != nil || !ok {
			return "", err
		}
		acct, err := accounts.Get(c.view(), u)
		if err != nil {
			return "", err
		}
		return acct.Name, nil
	})
	if err != nil {
		return nil, err
	}
	place, err := implicit.Find(c.view(), name)
	if err != nil {
		return nil, err
	}
	out := struct {
		TeamID    string             `json:"team_id"`
		Name      string             `json:"display_name"`
		Private   bool               `json:"is_private"`
		Conflicts []implicitConflict `json:"conflicts,omitempty"`
	}{Name: name.String(), Private: !name.Public}
	for _, h := range place.Have {
		may, err := c.mayReadImplicit(h.Team)
		if err != nil {
			return nil, err
		}
		switch {
		case !may:
		case h.Generation == 0:
			out.TeamID = h.Team.String()
		default:
			day := time.UnixMilli(h.Since).UTC().Format(time.DateOnly)
			out.Conflicts = append(out.Conflicts, implicitConflict{h.Team.String(), h.Generation, day})
		}
	}
	if out.TeamID != "" {
		return out, nil
	}
	return nil, c.implicitComing(place, name)
}

// mayReadImplicit: whoever may read a team's chain may know that the team has a name, and
// which. Clients ask about teams whose chain they have loaded, or are about to load.
func (c *call) mayReadImplicit(t kbsig.TeamID) (bool, error) {
	a, err := teams.AccessOf(c.view(), t, c.asker(), kbsig.TeamID{})
	if errors.Is(err, teams.ErrNoTeam) {
		return false, nil
	}
	return a.Chain(), err
}

// implicitComing says why there is no team of a name yet: one of these people is about to
// be let into a team that will have it, or is named by it and has no key.
func (c *call) implicitComing(place implicit.Place, name implicit.Name) error {
	if c.who == nil {
		return noImplicitTeam()
	}
	for _, t := range place.Coming {
		standing, err := teams.StandingOf(c.view(), t, c.who.UID)
		if err != nil {
			return err
		}
		if standing.Role.AtLeast(teamchain.RoleWriter) {
			return status.New(status.TeamProvisionalCanKey, "TEAM_PROVISIONAL_CAN_KEY", "somebody is about to be let into this team; please try again in a moment")
		}
	}
	acct, err := accounts.Get(c.view(), c.who.UID)
	if err != nil {
		return err
	}
	self := implicit.Person{User: acct.Name}
	named := slices.Contains(name.Writers, self) || slices.Contains(name.Readers, self)
	_, taken := place.Plain()
	if named && (len(place.Coming) > 0 || taken && !c.keyedNow()) {
		return status.New(status.TeamProvisionalCannotKey, "TEAM_PROVISIONAL_CANNOT_KEY", "you are about to be let into this team; one of its members has to come online")
	}
	return noImplicitTeam()
}

// keyedNow says whether the caller has a per-user key.
func (c *call) keyedNow() bool {
	chain, err := identity.Chain(c.view(), c.who.UID)
	if err != nil {
		return false
	}
	_, ok := chain.LatestPUK()
	return ok
}

// teamConflictInfo: GET team/conflict_info. client: go/teams/conflicts.go:GetConflictInfo
func teamConflictInfo(c *call) (any, error) {
	id, err := parsed(c, "tid", kbsig.ParseTeamID)
	if err != nil {
		return nil, err
	}
	type info struct {
		Generation int   `json:"generation"`
		Time       int64 `json:"time"` // milliseconds
	}
	out := struct {
		Info *info `json:"conflict_info"`
	}{}
	may, err := c.mayReadImplicit(id)
	if err != nil {
		return nil, err
	}
	if !may {
		return nil, noImplicitTeam()
	}
	called, err := implicit.CalledOf(c.view(), id)
	if errors.Is(err, implicit.ErrNone) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	if h := called.Holder; h.Generation > 0 {
		out.Info = &info{h.Generation, h.Since}
	}
	return out, nil
}
