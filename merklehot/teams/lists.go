package teams

import (
	"maps"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// StandingsOf are the live teams in which a user is anything: members by themselves and
// admins by being one further up, in the order of the ids.
func StandingsOf(r store.Reader, u kbsig.UID) ([]TeamStanding, error) {
	found := make(map[kbsig.TeamID]TeamStanding)
	var admin []kbsig.TeamID
	err := TeamsOf(r, u, func(t kbsig.TeamID, role teamchain.Role) error {
		found[t] = TeamStanding{}
		if role.AtLeast(teamchain.RoleAdmin) {
			admin = append(admin, t)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range admin {
		err := Descendants(r, t, func(d kbsig.TeamID) error {
			found[d] = TeamStanding{}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	out := make([]TeamStanding, 0, len(found))
	for _, t := range slices.SortedFunc(maps.Keys(found), compareTeams) {
		s, err := StandingOf(r, t, u)
		if err != nil {
			return nil, err
		}
		out = append(out, TeamStanding{Team: t, Standing: s})
	}
	return out, nil
}

// TeamStanding is what a user is in one team.
type TeamStanding struct {
	Team kbsig.TeamID
	Standing
}

func compareTeams(a, b kbsig.TeamID) int { return slices.Compare(a[:], b[:]) }

// RootOf is the root team that a team lies under, itself if it is one.
func RootOf(r store.Reader, t kbsig.TeamID) (kbsig.TeamID, error) {
	above, err := Ancestors(r, t)
	if err != nil || len(above) == 0 {
		return t, err
	}
	return above[len(above)-1], nil
}
