package client

import (
	"context"
	"net/url"
	"strconv"
)

// AskToJoin asks to be let into a team; open says that it lets everybody in.
// client: go/teams/service_helper.go:RequestAccess
func (a *Account) AskToJoin(ctx context.Context, name string) (open bool, err error) {
	reply, err := a.postForm(ctx, "team/request_access", url.Values{"team": {name}}, a.credential())
	if err != nil {
		return false, err
	}
	return open, reply.into("is_open", &open)
}

// IgnoreRequest has admins no longer see somebody's request.
// client: go/teams/service_helper.go:IgnoreRequest
func (a *Account) IgnoreRequest(ctx context.Context, name string, uid UID) error {
	_, err := a.postForm(ctx, "team/deny_access", url.Values{"team": {name}, "uid": {uid.String()}}, a.credential())
	return err
}

// Requests lists who asks to be let into a team, as its admins see it.
// client: go/teams/service_helper.go:ListRequests
func (a *Account) Requests(ctx context.Context, name string) ([]string, error) {
	reply, err := a.Server().Get(ctx, "team/access_requests", url.Values{"team": {name}}, a.credential())
	if err != nil {
		return nil, err
	}
	var rows []struct {
		UID string `json:"uid"`
	}
	if err := reply.into("requests", &rows); err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rows {
		out = append(out, r.UID)
	}
	return out, nil
}

// AnswerInvite answers a secret invite: one for one person, or a link for many. What the
// answer is made of is the business of those who check it.
// client: go/teams/seitan_invite_helper.go:postSeitanV1, postSeitanInviteLink
func (a *Account) AnswerInvite(ctx context.Context, id, akey string, link bool) error {
	endpoint, stamp := "team/seitan", "now"
	if link {
		endpoint, stamp = "team/seitan_invitelink", "unix_timestamp"
	}
	_, err := a.postForm(ctx, endpoint, url.Values{
		"invite_id": {id}, "akey": {akey}, stamp: {strconv.FormatInt(a.Server().Now().Unix(), 10)},
	}, a.credential())
	return err
}

// ImplicitTeam asks which team some people have; the chain must then say so itself.
// client: go/teams/implicit.go:loadImpteamFromServer
func (a *Account) ImplicitTeam(ctx context.Context, display string, public bool) (id TeamID, err error) {
	args := url.Values{"display_name": {display}, "public": {"0"}}
	if public {
		args.Set("public", "1")
	}
	reply, err := a.Server().Get(ctx, "team/implicit", args, a.credential())
	if err != nil {
		return id, err
	}
	s, err := reply.text("team_id")
	if err != nil {
		return id, err
	}
	return ParseTeamID(s)
}

// MyRequests lists the names of the teams that the account has asked to be let into.
// client: go/teams/service_helper.go:ListMyAccessRequests
func (a *Account) MyRequests(ctx context.Context) ([]string, error) {
	reply, err := a.Server().Get(ctx, "team/my_access_requests", nil, a.credential())
	if err != nil {
		return nil, err
	}
	var rows []struct {
		Name string `json:"fq_name"`
	}
	if err := reply.into("requests", &rows); err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rows {
		out = append(out, r.Name)
	}
	return out, nil
}
