package rest

import (
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/showcase"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// implicitRoleJSON is what somebody is by being an admin further up.
// client: go/protocol/keybase1/teams.go:ImplicitRole
type implicitRoleJSON struct {
	Role     teamchain.Role `json:"role"`
	Ancestor string         `json:"ancestor"`
}

// memberInfoJSON is a team in a list. client: go/protocol/keybase1/teams.go:MemberInfo
type memberInfoJSON struct {
	UID             string            `json:"uid"`
	TeamID          string            `json:"team_id"`
	Name            string            `json:"fq_name"`
	IsImplicitTeam  bool              `json:"is_implicit_team"`
	IsOpenTeam      bool              `json:"is_open_team"`
	Role            teamchain.Role    `json:"role"`
	Implicit        *implicitRoleJSON `json:"implicit,omitempty"`
	MemberCount     int               `json:"member_count"`
	AllowPromote    bool              `json:"allow_profile_promote"`
	MemberShowcased bool              `json:"is_member_showcased"`
}

// teamsForUser: GET team/for_user: the teams that the caller, or somebody else in teams
// of the caller's, is in. client: go/teams/list.go:getTeamsListFromServer,
// go/teams/team_role_map.go:TeamRoleMapManager.load
func teamsForUser(c *call) (any, error) {
	if c.flag("compact") {
		return c.roleMap()
	}
	rows, err := c.teamRows()
	if err != nil {
		return nil, err
	}
	return teamList(rows), nil
}

func teamList(rows []memberInfoJSON) any {
	return struct {
		Teams []memberInfoJSON `json:"teams"`
	}{append([]memberInfoJSON{}, rows...)}
}

// listedTeam is a team that a list is about.
type listedTeam struct {
	teams.TeamStanding
	name string
	st   *teamchain.State
}

// listedTeams are the teams of somebody, as far as they concern the caller and pass the
// filters of the request.
func (c *call) listedTeams(u kbsig.UID) ([]listedTeam, error) {
	list, err := teams.StandingsOf(c.view(), u)
	if err != nil {
		return nil, err
	}
	var root kbsig.TeamID
	if c.has("root_team_id") {
		if root, err = parsed(c, "root_team_id", kbsig.ParseTeamID); err != nil {
			return nil, err
		}
	}
	var out []listedTeam
	for _, s := range list {
		f, err := teams.FactsOf(c.view(), s.Team)
		if err != nil {
			return nil, err
		}
		if f.Implicit && !c.flag("include_implicit_teams") {
			continue
		}
		if !root.IsZero() {
			if at, err := teams.RootOf(c.view(), s.Team); err != nil || at != root {
				if err != nil {
					return nil, err
				}
				continue
			}
		}
		if u != c.who.UID {
			mine, err := teams.StandingOf(c.view(), s.Team, c.who.UID)
			if err != nil {
				return nil, err
			}
			if !mine.Any() {
				continue
			}
		}
		name, err := teams.FullName(c.view(), s.Team)
		if err != nil {
			return nil, err
		}
		st, err := teams.Load(c.view(), s.Team)
		if err != nil {
			return nil, err
		}
		out = append(out, listedTeam{s, name.String(), st})
	}
	return out, nil
}

func (c *call) teamRows() ([]memberInfoJSON, error) {
	u := c.who.UID
	if c.has("uid") {
		var err error
		if u, err = c.uid("uid"); err != nil {
			return nil, err
		}
	}
	list, err := c.listedTeams(u)
	if err != nil {
		return nil, err
	}
	var out []memberInfoJSON
	for _, l := range list {
		row, err := c.teamRow(l, u)
		if err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}

func (c *call) teamRow(l listedTeam, u kbsig.UID) (memberInfoJSON, error) {
	_, open := l.st.Open()
	row := memberInfoJSON{
		UID: u.String(), TeamID: l.Team.String(), Name: l.name, IsImplicitTeam: l.st.Implicit(), IsOpenTeam: open,
		Role: l.Role, MemberCount: l.st.MemberCount(),
	}
	if l.Implicit != teamchain.RoleNone {
		row.Implicit = &implicitRoleJSON{l.Implicit, l.Ancestor.String()}
	}
	if l.st.Implicit() {
		return row, nil
	}
	s, err := showcase.Of(c.view(), l.Team)
	if err != nil {
		return row, err
	}
	row.AllowPromote = l.Role.AtLeast(teamchain.RoleAdmin) || s.AnyMember && l.Role != teamchain.RoleNone
	if row.AllowPromote {
		row.MemberShowcased, err = showcase.Promotes(c.view(), u, l.Team)
	}
	return row, err
}

// roleMap is what the caller is in all teams, unless the client knows.
func (c *call) roleMap() (any, error) {
	version, err := teams.RoleMapVersion(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	if c.has("user_team_version") {
		known, err := c.integer("user_team_version", 0)
		if err != nil {
			return nil, err
		}
		if known == version {
			return nil, status.New(status.NoUpdate, "NO_UPDATE", "nothing has changed")
		}
	}
	list, err := teams.StandingsOf(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	type roles struct {
		Role     teamchain.Role `json:"role"`
		Implicit teamchain.Role `json:"implicit_role"`
	}
	out := make(map[string]roles, len(list))
	for _, s := range list {
		out[s.Team.String()] = roles{s.Role, s.Implicit}
	}
	return struct {
		Teams   map[string]roles `json:"teams"`
		Version int64            `json:"user_team_version"`
	}{out, version}, nil
}

// teammatesForUser: GET team/teammates_for_user: everybody in the caller's teams.
// client: go/teams/list.go:ListAll
func teammatesForUser(c *call) (any, error) {
	list, err := c.listedTeams(c.who.UID)
	if err != nil {
		return nil, err
	}
	var out []memberInfoJSON
	for _, l := range list {
		_, open := l.st.Open()
		err := l.st.Members(func(uv kbsig.UserVersion, role teamchain.Role) error {
			acct, err := accounts.Get(c.view(), uv.UID)
			if err != nil || acct.Status == accounts.StatusDeleted {
				return err
			}
			if len(out) == teamRowsMax {
				return status.Input("there are more than %d people in these teams", teamRowsMax)
			}
			out = append(out, memberInfoJSON{
				UID: uv.UID.String(), TeamID: l.Team.String(), Name: l.name, IsImplicitTeam: l.st.Implicit(),
				IsOpenTeam: open, Role: role, MemberCount: l.st.MemberCount(),
			})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return teamList(out), nil
}

// teamRowsMax bounds the rows of a list of members of teams.
const teamRowsMax = 100_000

// listProfileAdd: GET team/list_profile_add: the caller's teams, to which somebody could
// be added. client: go/teams/service_helper.go:TeamProfileAddList
func listProfileAdd(c *call) (any, error) {
	them, err := c.uid("uid")
	if err != nil {
		return nil, err
	}
	list, err := c.listedTeams(c.who.UID)
	if err != nil {
		return nil, err
	}
	type row struct {
		TeamID      string `json:"team_id"`
		Name        string `json:"fq_name"`
		IsOpenTeam  bool   `json:"is_open_team"`
		CallerAdmin bool   `json:"caller_admin"`
		ThemMember  bool   `json:"them_member"`
	}
	out := []row{}
	for _, l := range list {
		if l.st.Implicit() {
			continue
		}
		s, err := teams.StandingOf(c.view(), l.Team, them)
		if err != nil {
			return nil, err
		}
		_, open := l.st.Open()
		out = append(out, row{l.Team.String(), l.name, open, l.Admin(), s.Role != teamchain.RoleNone})
	}
	return struct {
		Teams []row `json:"teams"`
	}{out}, nil
}

// teamOfTLF: GET team/id: the team that a folder belongs to. client: go/chat/teams.go:tlfIDToTeamIDMap.Lookup
func teamOfTLF(c *call) (any, error) {
	tlf, err := c.str("tlf_id")
	if err != nil {
		return nil, err
	}
	id, err := teams.ByTLF(c.view(), tlf)
	if err != nil {
		return nil, teamError(err)
	}
	a, err := teams.AccessOf(c.view(), id, c.who.UID, kbsig.TeamID{})
	if err != nil {
		return nil, teamError(err)
	}
	if !a.Chain() {
		return nil, errTeamClosed
	}
	return struct {
		TeamID string `json:"team_id"`
	}{id.String()}, nil
}

// tlfOfTeam: GET team/tlfid. client: go/chat/teams.go:tlfIDToTeamIDMap.LookupTLFID
func tlfOfTeam(c *call) (any, error) {
	a, err := c.teamAccess("team_id")
	if err != nil {
		return nil, err
	}
	if !a.Chain() {
		return nil, errTeamClosed
	}
	st, err := teams.Load(c.view(), a.Team)
	if err != nil {
		return nil, err
	}
	if st.TLF() == "" {
		return nil, status.Missing("the folder of this team")
	}
	return struct {
		TLFID string `json:"tlf_id"`
	}{st.TLF()}, nil
}

// teamExists: GET team/exists: whether a name is taken. Names of subteams are nobody's
// business but their members' and admins'. client: go/teams/teams.go:GetUntrustedTeamExists
func teamExists(c *call) (any, error) {
	name, err := parsed(c, "teamName", kbsig.ParseTeamName)
	if err != nil {
		return nil, err
	}
	out := struct {
		Exists bool `json:"exists"`
		Status int  `json:"sc"`
	}{}
	id, err := teams.ByName(c.view(), name)
	switch {
	case errors.Is(err, teams.ErrNoTeam):
		return out, nil
	case err != nil:
		return nil, err
	}
	if name.Depth() > 0 {
		a, err := teams.AccessOf(c.view(), id, c.who.UID, kbsig.TeamID{})
		if err != nil {
			return nil, err
		}
		if !a.Chain() {
			return out, nil
		}
	}
	f, err := teams.FactsOf(c.view(), id)
	if err != nil {
		return nil, err
	}
	out.Exists = true
	if f.Deleted {
		out.Status = status.Deleted
	}
	return out, nil
}

// accessIn decides again inside a transaction that changes what stands beside a chain:
// the right to do so may have gone meanwhile.
func accessIn(tx *store.Tx, t kbsig.TeamID, u kbsig.UID) (teams.Access, error) {
	a, err := teams.AccessOf(tx, t, u, kbsig.TeamID{})
	return a, teamError(err)
}

// managedIn is accessIn for what admins alone may do.
func managedIn(tx *store.Tx, t kbsig.TeamID, u kbsig.UID) error {
	a, err := accessIn(tx, t, u)
	if err == nil && !a.Managed() {
		err = errTeamAdmins
	}
	return err
}
