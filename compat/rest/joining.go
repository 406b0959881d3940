package rest

import (
	"errors"
	"strings"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/merklehot/implicit"
	"github.com/keystead/keystead/merklehot/joining"
	"github.com/keystead/keystead/merklehot/showcase"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// Ways into teams: tokens, secrets, requests. Everything here changes only what the server
// keeps until a member's client has signed a link.

// joiningErrors are the statuses of refusals of ways into teams, and of names that
// implicit teams have already.
// client: go/protocol/keybase1/constants.go:StatusCode
var joiningErrors = []struct {
	err        error
	code       int
	name, desc string
}{
	{teams.ErrNoTeam, status.TeamNotFound, "TEAM_NOT_FOUND", "there is no such team"},
	{joining.ErrMember, status.TeamMemberExists, "TEAM_MEMBER_EXISTS", "you are a member of this team already"},
	{joining.ErrAsked, status.TeamTarDuplicate, "TEAM_TAR_DUPLICATE", "you have asked to join this team before; its admins have to answer"},
	{joining.ErrNotAsked, status.TeamTarNotFound, "TEAM_TAR_NOT_FOUND", "this user does not ask to join the team"},
	{joining.ErrBanned, status.TeamBanned, "TEAM_BANNED", "you were removed from this team; only its admins can let you in again"},
	{joining.ErrLeft, status.TeamPermanentlyLeft, "TEAM_PERMANENTLY_LEFT", "this user has left the team for good"},
	{joining.ErrClosed, status.InputError, "INPUT_ERROR", "this team takes no requests to join"},
	{joining.ErrFull, status.RateLimit, "RATE_LIMIT", "too many people wait to be let in; please try again later"},
	{joining.ErrNoInvite, status.TeamInviteBadToken, "TEAM_INVITE_BAD_TOKEN", "this invitation is unknown, has been used up, or has ended"},
	{joining.ErrInviteTaken, status.InputError, "INPUT_ERROR", "there is an invitation of this id already"},
	{joining.ErrBadNumber, status.InputError, "INPUT_ERROR", "bad phone number given"},
	{implicit.ErrTaken, status.TeamImplicitDuplicate, "TEAM_IMPLICIT_DUPLICATE", "these people have such a team already"},
	{joining.ErrUsed, status.TeamInviteTokenReused, "TEAM_INVITE_TOKEN_REUSED", "somebody else has used this invitation"},
	{joining.ErrNotAccepted, status.InputError, "INPUT_ERROR", "acceptance not found"},
	{joining.ErrOtherAnswer, status.InputError, "INPUT_ERROR", "invalid akey: the user has accepted with another one"},
	{joining.ErrNeedsKey, status.TeamSeitanInviteNeedPUK, "TEAM_SEITAN_INVITE_NEED_PUK", "your account has no per-user key yet"},
	{joining.ErrNotAdmin, status.TeamReadError, "TEAM_READ_ERROR", "only admins of the team may do that"},
}

// joiningError turns a refusal into its status.
func joiningError(err error) error {
	for _, row := range joiningErrors {
		if errors.Is(err, row.err) {
			return status.New(row.code, row.name, row.desc)
		}
	}
	return err
}

// teamNamed is the team that an argument names. A name that no team can have is the same
// as one that no team has.
func (c *call) teamNamed(arg string) (kbsig.TeamName, error) {
	text, err := c.str(arg)
	if err != nil {
		return kbsig.TeamName{}, err
	}
	n, err := kbsig.ParseTeamName(strings.ToLower(text))
	if err != nil {
		return n, joiningError(teams.ErrNoTeam)
	}
	return n, nil
}

// teamToken: POST team/token. client: go/teams/service_helper.go:AcceptServerTrustInvite
func teamToken(c *call) (any, error) {
	token, err := c.str("token")
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	return none{}, joiningError(c.s.Joining.AcceptToken(ctx, c.who.UID, token))
}

// answered reads what the three answers to secrets have in common.
func (c *call) answered(akey, stamp string, unit time.Duration) (a joining.Answer, err error) {
	if a.Invite, err = parsed(c, "invite_id", kbsig.ParseInviteID); err != nil {
		return a, err
	}
	if a.AKey, err = c.base64Max(akey, joining.AKeyBytesMax); err != nil {
		return a, err
	}
	if a.Ctime, err = c.integer(stamp, 0); err != nil {
		return a, err
	}
	if a.Ctime <= 0 || a.Ctime > stampMax {
		return a, status.InputField(stamp, "the argument "+stamp+" is no time")
	}
	a.At = time.UnixMilli(a.Ctime * int64(unit/time.Millisecond))
	return a, nil
}

// stampMax bounds a time as clients stamp it, in whatever unit.
const stampMax = 1 << 50

func (c *call) accept(a joining.Answer, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	return none{}, joiningError(c.s.Joining.Accept(ctx, c.who.UID, a))
}

// teamSeitan: POST team/seitan. client: go/teams/seitan_invite_helper.go:postSeitanV1
func teamSeitan(c *call) (any, error) { return c.accept(c.answered("akey", "now", time.Second)) }

// teamSeitanV2: POST team/seitan_v2. client: go/teams/seitan_invite_helper.go:postSeitanV2
func teamSeitanV2(c *call) (any, error) {
	a, err := c.answered("sig", "now", time.Millisecond)
	a.KeyNeeded = true
	return c.accept(a, err)
}

// teamSeitanLink: POST team/seitan_invitelink. client: go/teams/seitan_invite_helper.go:postSeitanInviteLink
func teamSeitanLink(c *call) (any, error) {
	a, err := c.answered("akey", "unix_timestamp", time.Second)
	a.Link = true
	return c.accept(a, err)
}

// teamRejectAcceptance: POST team/reject_invite_acceptance.
// client: go/teams/handler.go:rejectInviteLinkAcceptances
func teamRejectAcceptance(c *call) (any, error) {
	invite, err := parsed(c, "invite_id", kbsig.ParseInviteID)
	if err != nil {
		return nil, err
	}
	u, err := c.uid("uid")
	if err != nil {
		return nil, err
	}
	eldest, err := c.seqno("eldest_seqno")
	if err != nil {
		return nil, err
	}
	akey, err := c.base64Max("akey", joining.AKeyBytesMax)
	if err != nil {
		return nil, status.InputField("akey", "bad fields: akey")
	}
	ctx, cancel := c.context()
	defer cancel()
	return none{}, joiningError(c.s.Joining.Reject(ctx, c.who.UID, invite, kbsig.UserVersion{UID: u, Eldest: eldest}, akey))
}

// clientFormats are those in which clients show pictures. client: go/avatars/utils.go:AllFormats
var clientFormats = []string{"square_40", "square_192", "square_200", "square_256", "square_360", "square_960"}

// teamInviteDetails: GET team/get_invite_details: who holds an invite link is told what the
// team shows to those in it.
// client: go/teams/seitan_invitelink.go:GetInviteLinkDetails
func teamInviteDetails(c *call) (any, error) {
	invite, err := parsed(c, "invite_id", kbsig.ParseInviteID)
	if err != nil {
		return nil, err
	}
	d, err := joining.DetailsOf(c.view(), invite, c.s.Clock())
	if err != nil {
		return nil, joiningError(err)
	}
	out := struct {
		InviterGone bool              `json:"inviter_reset_or_del"`
		InviterUID  string            `json:"inviter_uid"`
		Inviter     string            `json:"inviter_username"`
		IsMember    bool              `json:"is_member"`
		Avatars     map[string]string `json:"team_avatars"`
		Description string            `json:"team_desc"`
		TeamID      string            `json:"team_id"`
		IsOpen      bool              `json:"team_is_open"`
		Name        string            `json:"team_name"`
		Members     int               `json:"team_num_members"`
	}{
		InviterGone: d.InviterGone, InviterUID: d.Inviter.String(), TeamID: d.Team.String(), IsOpen: d.Open, Name: d.Name.String(), Members: d.Members,
	}
	acct, err := accounts.Get(c.view(), d.Inviter)
	if err != nil {
		return nil, err
	}
	out.Inviter = string(acct.Name)
	shown, err := showcase.Of(c.view(), d.Team)
	if err != nil {
		return nil, err
	}
	out.Description, out.Avatars = shown.Description, c.shownPicture(d.Team, shown, clientFormats)
	if c.who != nil {
		standing, err := teams.StandingOf(c.view(), d.Team, c.who.UID)
		if err != nil {
			return nil, err
		}
		out.IsMember = standing.Role != teamchain.RoleNone
	}
	return out, nil
}

// teamRequestAccess: POST team/request_access. client: go/teams/service_helper.go:RequestAccess
func teamRequestAccess(c *call) (any, error) {
	name, err := c.teamNamed("team")
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	open, err := c.s.Joining.Ask(ctx, c.who.UID, name)
	if err != nil {
		return nil, joiningError(err)
	}
	return struct {
		Open bool `json:"is_open"`
	}{open}, nil
}

// accessRequest is a request as clients list it.
// client: go/teams/service_helper.go:accessRequest
type accessRequest struct {
	Name     string `json:"fq_name"`
	TeamID   string `json:"team_id"`
	UID      string `json:"uid"`
	Ctime    string `json:"ctime"` // RFC 3339
	Username string `json:"username"`
}

type accessRequests struct {
	Requests []accessRequest `json:"requests"`
}

func listRequests(list []joining.Request, err error) (any, error) {
	if err != nil {
		return nil, joiningError(err)
	}
	out := accessRequests{Requests: []accessRequest{}}
	for _, r := range list {
		out.Requests = append(out.Requests, accessRequest{
			r.Name.String(), r.Team.String(), r.UID.String(), r.At.UTC().Format(time.RFC3339Nano), string(r.User),
		})
	}
	return out, nil
}

// teamAccessRequests: GET team/access_requests. client: go/teams/service_helper.go:ListRequests
func teamAccessRequests(c *call) (any, error) {
	name, err := c.teamNamed("team")
	if err != nil {
		return nil, err
	}
	return listRequests(joining.Waiting(c.view(), c.who.UID, name))
}

// teamAllRequests: GET team/laar. client: go/teams/service_helper.go:ListRequests
func teamAllRequests(c *call) (any, error) {
	return listRequests(joining.WaitingEverywhere(c.view(), c.who.UID))
}

// teamMyRequests: GET team/my_access_requests. client: go/teams/service_helper.go:ListMyAccessRequests
func teamMyRequests(c *call) (any, error) {
	var only *kbsig.TeamName
	if c.has("team") {
		name, err := c.teamNamed("team")
		if err != nil {
			return nil, err
		}
		only = &name
	}
	return listRequests(joining.Mine(c.view(), c.who.UID, only))
}

// teamDenyAccess: POST team/deny_access. client: go/teams/service_helper.go:IgnoreRequest
func teamDenyAccess(c *call) (any, error) {
	name, err := c.teamNamed("team")
	if err != nil {
		return nil, err
	}
	u, err := c.uid("uid")
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	return none{}, joiningError(c.s.Joining.Ignore(ctx, c.who.UID, name, u))
}

// requestsDisabled is the answer of both forms of team/disable_tars.
// client: go/teams/service_helper.go:disableTARsRes
type requestsDisabled struct {
	Disabled bool `json:"disabled"`
}

// teamRequestsClosed: GET team/disable_tars. client: go/teams/service_helper.go:GetTarsDisabled
func teamRequestsClosed(c *call) (any, error) {
	id, err := parsed(c, "tid", kbsig.ParseTeamID)
	if err != nil {
		return nil, err
	}
	closed, err := joining.Closed(c.view(), c.who.UID, id)
	return requestsDisabled{closed}, joiningError(err)
}

// teamCloseRequests: POST team/disable_tars. client: go/teams/service_helper.go:SetTarsDisabled
func teamCloseRequests(c *call) (any, error) {
	id, err := parsed(c, "tid", kbsig.ParseTeamID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	closed := c.flag("disabled")
	return requestsDisabled{closed}, joiningError(c.s.Joining.SetClosed(ctx, c.who.UID, id, closed))
}

// teamBlocks: GET team/blocks: teams that the caller has left for good.
// client: go/engine/team_blocks_get.go:TeamBlocksGet.Run
func teamBlocks(c *call) (any, error) {
	list, err := joining.Blocked(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	type block struct {
		Name  string `json:"fq_name"`
		Ctime int64  `json:"ctime"` // milliseconds
	}
	out := struct {
		Blocks []block `json:"team_blocks"`
	}{[]block{}}
	for _, r := range list {
		out.Blocks = append(out.Blocks, block{r.Name.String(), r.At.UnixMilli()})
	}
	return out, nil
}

// accelerateRekeys: POST test/accelerate_team_rekeyd, in devel mode.
// client: go/systests/teams_test.go:kickTeamRekeyd
func accelerateRekeys(c *call) (any, error) {
	seconds, err := c.integer("work_time_sec", 1)
	if err != nil {
		return nil, err
	}
	if seconds > 3600 {
		return nil, status.InputField("work_time_sec", "the argument work_time_sec is out of range")
	}
	ctx, cancel := c.context()
	defer cancel()
	return none{}, c.s.Chores.Hurry(ctx, time.Duration(seconds)*time.Second)
}

// enableSweep: POST test/team_enable_open_sweep, in devel mode. Open teams are always
// swept here. client: go/systests/teams_test.go:enableOpenSweepForTeam
func enableSweep(c *call) (any, error) {
	_, err := parsed(c, "team_id", kbsig.ParseTeamID)
	return none{}, err
}

// testTokens: GET test/team/get_tokens, in devel mode: the secrets in mails to an address.
// client: go/systests/teams_test.go:readInviteEmails
func testTokens(c *call) (any, error) {
	address, err := c.str("email")
	if err != nil {
		return nil, err
	}
	c.s.codesMu.Lock()
	defer c.s.codesMu.Unlock()
	return struct {
		Tokens []string `json:"tokens"`
	}{append([]string{}, c.s.tokens[strings.ToLower(address)]...)}, nil
}

// RememberToken keeps the secret of an invitation for test/team/get_tokens, in devel mode
// only.
func (s *Server) RememberToken(address, token string) {
	if !s.Devel {
		return
	}
	s.codesMu.Lock()
	defer s.codesMu.Unlock()
	if s.tokens == nil || len(s.tokens) >= codesMax {
		s.tokens = make(map[string][]string)
	}
	address = strings.ToLower(address)
	s.tokens[address] = append(s.tokens[address], token)
}

// teamRoutes are the ways into teams, and implicit teams' names.
func joiningRoutes() []route {
	return []route{
		{"team/implicit", get, authOptional, rateRead, 0, reads, teamImplicit},
		{"team/conflict_info", get, authOptional, rateRead, 0, reads, teamConflictInfo},
		{"team/token", post, authRequired, ratePost, 0, natural, teamToken},
		{"team/seitan", post, authRequired, ratePost, 0, natural, teamSeitan},
		{"team/seitan_v2", post, authRequired, ratePost, 0, natural, teamSeitanV2},
		{"team/seitan_invitelink", post, authRequired, ratePost, 0, natural, teamSeitanLink},
		{"team/reject_invite_acceptance", post, authRequired, ratePost, 0, natural, teamRejectAcceptance},
		{"team/get_invite_details", get, authOptional, rateLookup, 0, reads, teamInviteDetails},
		{"team/request_access", post, authRequired, ratePost, 0, refused, teamRequestAccess},
		{"team/access_requests", get, authRequired, rateOwn, 0, reads, teamAccessRequests},
		{"team/laar", get, authRequired, rateOwn, 0, reads, teamAllRequests},
		{"team/my_access_requests", get, authRequired, rateOwn, 0, reads, teamMyRequests},
		{"team/deny_access", post, authRequired, ratePost, 0, refused, teamDenyAccess},
		{"team/disable_tars", get, authRequired, rateOwn, 0, reads, teamRequestsClosed},
		{"team/disable_tars", post, authRequired, ratePost, 0, natural, teamCloseRequests},
		{"team/blocks", get, authRequired, rateOwn, 0, reads, teamBlocks},
	}
}

// joiningHooks are the endpoints of devel mode about ways into teams.
func joiningHooks() []route {
	return []route{
		{"test/accelerate_team_rekeyd", post, authRequired, ratePost, 0, natural, accelerateRekeys},
		{"test/team_enable_open_sweep", post, authRequired, ratePost, 0, natural, enableSweep},
		{"test/team/get_tokens", get, authOptional, rateLookup, 0, reads, testTokens},
	}
}
