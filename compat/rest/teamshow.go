package rest

import (
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/showcase"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// mentionMembersMax bounds the members that the description of a team names.
const mentionMembersMax = 500

var (
	errTeamAdmins = status.New(status.TeamReadError, "TEAM_READ_ERROR", "only admins of the team can do that")
	errShowcase   = status.New(status.TeamShowcasePermDenied, "TEAM_SHOWCASE_PERM_DENIED", "you are not allowed to show being in this team")
)

// teamShowcase answers what a team shows, to those in it and, if it shows anything, to
// everybody. client: go/teams/showcase_helper.go:GetTeamShowcase
func (c *call) teamShowcase(id kbsig.TeamID) (any, error) {
	a, err := teams.AccessOf(c.view(), id, c.asker(), kbsig.TeamID{})
	if err != nil {
		return nil, teamError(err)
	}
	s, err := showcase.Of(c.view(), id)
	if err != nil {
		return nil, err
	}
	f, err := teams.FactsOf(c.view(), id)
	if err != nil {
		return nil, err
	}
	if !a.Chain() && (!s.Public || f.Deleted) {
		return nil, errTeamClosed
	}
	type shown struct {
		IsShowcased bool    `json:"is_showcased"`
		Description *string `json:"description"`
		SetByUID    *string `json:"set_by_uid"`
		AnyMember   bool    `json:"any_member_showcase"`
	}
	out := shown{IsShowcased: s.Public, AnyMember: s.AnyMember}
	if s.Description != "" {
		out.Description = &s.Description
	}
	if !s.SetBy.IsZero() {
		by := s.SetBy.String()
		out.SetByUID = &by
	}
	full, err := teams.FullName(c.view(), id)
	if err != nil {
		return nil, err
	}
	return struct {
		ID       string       `json:"id"`
		Name     teamNameJSON `json:"name"`
		Showcase shown        `json:"showcase"`
	}{id.String(), teamNameJSON{full.Parts()}, out}, nil
}

// teamShowcaseSet: POST team/team_showcase. It is news also if nothing is other than it was.
// client: go/teams/showcase_helper.go:SetTeamShowcase, go/systests/teams_test.go:TestTeamMetadataUpdateNotifications
func teamShowcaseSet(c *call) (any, error) {
	id, err := parsed(c, "tid", kbsig.ParseTeamID)
	if err != nil {
		return nil, err
	}
	if id.Public() {
		return nil, status.InputField("tid", "this team shows nothing but its chain")
	}
	return none{}, c.update(func(tx *store.Tx) error {
		if err := managedIn(tx, id, c.who.UID); err != nil {
			return err
		}
		if f, err := teams.FactsOf(tx, id); err != nil {
			return err
		} else if f.Implicit {
			return status.InputField("tid", "this team shows nothing")
		}
		s, err := showcase.Of(tx, id)
		if err != nil {
			return err
		}
		before := s
		if c.has("is_showcased") {
			s.Public = c.flag("is_showcased")
		}
		if c.has("any_member_showcase") {
			s.AnyMember = c.flag("any_member_showcase")
		}
		switch {
		case c.flag("clear_description"):
			s.Description = ""
		case c.has("description"):
			s.Description = c.raw("description")
		}
		if s == before {
			return teams.Changed(tx, id, teams.Change{Again: true})
		}
		s.SetBy = c.who.UID
		if err := showcase.Set(tx, id, s); err != nil {
			if errors.Is(err, showcase.ErrDescription) {
				return status.InputField("description", err.Error())
			}
			return err
		}
		return teams.Changed(tx, id, teams.Change{Misc: true})
	})
}

// mayPromote refuses who may not choose to show being in a team or not: that is for admins
// who are members by themselves, and for all members if the team allows it. Whom somebody
// talks to is no such team.
func mayPromote(r store.Reader, a teams.Access) error {
	if !a.Member() {
		return errShowcase
	}
	f, err := teams.FactsOf(r, a.Team)
	if err != nil {
		return err
	}
	s, err := showcase.Of(r, a.Team)
	if err == nil && (f.Implicit || !s.AnyMember && !a.Role.AtLeast(teamchain.RoleAdmin)) {
		err = errShowcase
	}
	return err
}

// memberShowcase: GET team/member_showcase.
// client: go/teams/showcase_helper.go:GetTeamAndMemberShowcase
func memberShowcase(c *call) (any, error) {
	a, err := c.teamAccess("tid")
	if err != nil {
		return nil, err
	}
	if err := mayPromote(c.view(), a); err != nil {
		return nil, err
	}
	shown, err := showcase.Promotes(c.view(), c.who.UID, a.Team)
	if err != nil {
		return nil, err
	}
	return struct {
		IsShowcased bool `json:"is_showcased"`
	}{shown}, nil
}

// memberShowcaseSet: POST team/member_showcase.
// client: go/teams/showcase_helper.go:SetTeamMemberShowcase
func memberShowcaseSet(c *call) (any, error) {
	id, err := parsed(c, "tid", kbsig.ParseTeamID)
	if err != nil {
		return nil, err
	}
	return none{}, c.update(func(tx *store.Tx) error {
		a, err := accessIn(tx, id, c.who.UID)
		if err != nil {
			return err
		}
		if err := mayPromote(tx, a); err != nil {
			return err
		}
		showcase.SetMember(tx, c.who.UID, id, c.flag("is_showcased"))
		return events.Add(tx, events.News{To: c.who.UID, Category: "team.member_showcase_change", Body: []byte("{}"), Replace: true})
	})
}

// teamItemJSON is a team that is found. client: go/protocol/keybase1/teamsearch.go:TeamSearchItem
type teamItemJSON struct {
	ID          string  `json:"id"`
	Name        string  `json:"name"`
	Description *string `json:"description,omitempty"`
	MemberCount int     `json:"memberCount"`
	// LastActive is when the team changed last, in milliseconds. What its members write
	// to each other is not told to those outside.
	LastActive int64 `json:"lastActive"`
	IsDemoted  bool  `json:"isDemoted"`
	InTeam     bool  `json:"inTeam"`
}

func (c *call) teamItem(f showcase.Found) (teamItemJSON, error) {
	out := teamItemJSON{ID: f.Team.String(), Name: f.Name, MemberCount: f.Members, LastActive: f.Changed}
	if f.Description != "" {
		out.Description = &f.Description
	}
	s, err := teams.StandingOf(c.view(), f.Team, c.who.UID)
	out.InTeam = s.Role != teamchain.RoleNone
	return out, err
}

// teamsearchRefresh: GET teamsearch/refresh: all open teams, unless the client has them.
// client: go/teams/opensearch/search.go:refreshOpenTeams
func teamsearchRefresh(c *call) (any, error) {
	list, err := showcase.Search(c.view(), "", 0)
	if err != nil {
		return nil, err
	}
	out := struct {
		Items     map[string]teamItemJSON `json:"items"`
		Suggested []string                `json:"suggested"`
	}{map[string]teamItemJSON{}, []string{}}
	suggested := showcase.Suggested(list)
	if c.raw("hash") == showcase.Hash(list, suggested) {
		return out, nil
	}
	for _, f := range list {
		if out.Items[f.Team.String()], err = c.teamItem(f); err != nil {
			return nil, err
		}
	}
	for _, f := range suggested {
		out.Suggested = append(out.Suggested, f.Team.String())
	}
	return out, nil
}

// teamsearchSearch: GET teamsearch/search. client: go/teams/opensearch/search.go:Remote
func teamsearchSearch(c *call) (any, error) {
	// Whatever somebody types. client: go/client/cmd_team_search.go:CmdTeamSearch.ParseArgv
	limit, err := c.signed("limit", 0)
	if err != nil {
		return nil, err
	}
	if limit < 0 || limit > mentionMembersMax {
		limit = mentionMembersMax
	}
	list, err := showcase.Search(c.view(), c.raw("query"), int(limit))
	if err != nil {
		return nil, err
	}
	results := []teamItemJSON{}
	for _, f := range list {
		item, err := c.teamItem(f)
		if err != nil {
			return nil, err
		}
		results = append(results, item)
	}
	return struct {
		Results []teamItemJSON `json:"results"`
	}{results}, nil
}

// publicMemberJSON is a member who shows being one.
// client: go/teams/teams.go:TeamInfo
type publicMemberJSON struct {
	Role     teamchain.Role `json:"role"`
	UID      string         `json:"uid"`
	Username string         `json:"username"`
	FullName string         `json:"full_name"`
}

// mentionJSON is what people see who find a team mentioned.
// client: go/chat/teammentionloader.go, go/teams/teams.go:TeamInfo
type mentionJSON struct {
	Name          string             `json:"name"`
	InTeam        bool               `json:"in_team"`
	Open          bool               `json:"open"`
	Description   string             `json:"description"`
	PublicAdmins  []string           `json:"public_admins"`
	NumMembers    int                `json:"num_members"`
	PublicMembers []publicMemberJSON `json:"public_members"`
}

// mentionDesc: GET team/mentiondesc: what a team shows, to anybody who knows its name.
// Of a subteam, only those in it learn that it is there.
// client: go/teams/teams.go:GetUntrustedTeamInfo
func mentionDesc(c *call) (any, error) {
	name, err := parsed(c, "name", kbsig.ParseTeamName)
	if err != nil {
		return nil, err
	}
	id, err := teams.ByName(c.view(), name)
	if err != nil {
		return nil, teamError(err)
	}
	a, err := teams.AccessOf(c.view(), id, c.who.UID, kbsig.TeamID{})
	if err != nil {
		return nil, err
	}
	st, err := teams.Load(c.view(), id)
	if err != nil {
		return nil, err
	}
	if st.Deleted() || !a.Chain() && (name.Depth() > 0 || st.Implicit()) {
		return nil, errNoTeam
	}
	s, err := showcase.Of(c.view(), id)
	if err != nil {
		return nil, err
	}
	_, open := st.Open()
	full, err := teams.FullName(c.view(), id)
	if err != nil {
		return nil, err
	}
	out := mentionJSON{Name: full.String(), InTeam: a.Role != teamchain.RoleNone, Open: open, PublicAdmins: []string{}, PublicMembers: []publicMemberJSON{}}
	if a.Chain() || open || s.Public {
		out.Description, out.NumMembers = s.Description, st.MemberCount()
	}
	err = st.Members(func(uv kbsig.UserVersion, role teamchain.Role) error { return c.mentionMember(&out, id, uv, role, s) })
	return out, err
}

// mentionMember adds a member who shows being one.
func (c *call) mentionMember(out *mentionJSON, id kbsig.TeamID, uv kbsig.UserVersion, role teamchain.Role, s showcase.Shown) error {
	if len(out.PublicMembers) == mentionMembersMax {
		return store.ErrStop
	}
	shown, err := showcase.Promotes(c.view(), uv.UID, id)
	if err != nil || !shown || !s.AnyMember && !role.AtLeast(teamchain.RoleAdmin) {
		return err
	}
	now, err := teams.StandingOf(c.view(), id, uv.UID)
	if err != nil || now.Role == teamchain.RoleNone {
		return err
	}
	acct, err := accounts.Get(c.view(), uv.UID)
	if err != nil {
		return err
	}
	if role.AtLeast(teamchain.RoleAdmin) {
		out.PublicAdmins = append(out.PublicAdmins, string(acct.Name))
	}
	if c.flag("include_all_members") {
		out.PublicMembers = append(out.PublicMembers, publicMemberJSON{role, uv.UID.String(), string(acct.Name), acct.FullName})
	}
	return nil
}

// promotedJSON is a team on somebody's profile.
// client: go/protocol/keybase1/identify_ui.go:UserTeamShowcase
type promotedJSON struct {
	Name         string         `json:"fq_name"`
	Open         bool           `json:"open"`
	IsShowcased  bool           `json:"team_is_showcased"`
	Description  string         `json:"description"`
	Role         teamchain.Role `json:"role"`
	PublicAdmins []string       `json:"public_admins"`
	NumMembers   int            `json:"num_members"`
}

// promotedTeams are the teams that somebody shows to be in, as everybody sees them: the
// member has said so, so that even a subteam's name is no secret.
func (c *call) promotedTeams(u kbsig.UID) ([]promotedJSON, error) {
	out := []promotedJSON{}
	err := showcase.Promoted(c.view(), u, func(t kbsig.TeamID, role teamchain.Role) error {
		st, err := teams.Load(c.view(), t)
		if err != nil || st.Implicit() {
			return err
		}
		name, err := teams.FullName(c.view(), t)
		if err != nil {
			return err
		}
		s, err := showcase.Of(c.view(), t)
		_, open := st.Open()
		out = append(out, promotedJSON{
			Name: name.String(), Open: open, IsShowcased: s.Public, Description: s.Description,
			Role: role, PublicAdmins: []string{}, NumMembers: st.MemberCount(),
		})
		return err
	})
	return out, err
}

// kbfsUnpinned: GET kbfs/unpinned: folders of teams whose links do not name them. Links
// have done so for longer than this server has been there.
// client: go/teams/kbfs_pin_tlfs.go
func kbfsUnpinned(*call) (any, error) {
	return struct {
		TLFs []none `json:"tlfs"`
	}{[]none{}}, nil
}
