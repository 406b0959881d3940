package rest

import (
	"errors"
	"strconv"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// Limits of a question for a team.
const (
	// teamNumbersMax bounds the links, or the generations, that one question names.
	teamNumbersMax = 4096
	// teamNewestMax bounds the newest generations that one question asks for.
	teamNewestMax = 100
)

// Refusals of questions about teams.
var (
	errNoTeam     = status.New(status.TeamNotFound, "TEAM_NOT_FOUND", "there is no such team")
	errTeamClosed = status.New(status.TeamReadError, "TEAM_READ_ERROR", "You are not a member of this team")
)

// teamError is what a client is told when a team is not found.
func teamError(err error) error {
	if errors.Is(err, teams.ErrNoTeam) {
		return errNoTeam
	}
	return err
}

// asker is who asks; the zero UID is nobody.
func (c *call) asker() (u kbsig.UID) {
	if c.who != nil {
		u = c.who.UID
	}
	return u
}

// teamAccess decides about the team of an argument.
func (c *call) teamAccess(argument string) (teams.Access, error) {
	id, err := parsed(c, argument, kbsig.ParseTeamID)
	if err != nil {
		return teams.Access{}, err
	}
	a, err := teams.AccessOf(c.view(), id, c.asker(), kbsig.TeamID{})
	return a, teamError(err)
}

// teamNameJSON is a team's name. client: go/protocol/keybase1/teams.go:TeamName
type teamNameJSON struct {
	Parts []string `json:"parts"`
}

// boxJSON is the box of a team's key. client: go/teams/box.go:TeamBox
type boxJSON struct {
	Nonce      []byte      `json:"nonce"`
	SenderKID  string      `json:"sender_kid"`
	Generation int64       `json:"generation"`
	Ctext      []byte      `json:"ctext"`
	PUKSeqno   kbsig.Seqno `json:"per_user_key_seqno"`
}

// maskJSON is the server's half of an application key.
// client: go/protocol/keybase1/teams.go:ReaderKeyMask
type maskJSON struct {
	Application int    `json:"application"`
	Generation  int64  `json:"generation"`
	Mask        []byte `json:"mask"`
}

// teamJSON is the answer of team/get. client: go/teams/loader_ctx.go:rawTeam
type teamJSON struct {
	ID            string               `json:"id"`
	Name          teamNameJSON         `json:"name"`
	Chain         []teamchain.WireLink `json:"chain"`
	Box           *boxJSON             `json:"box"`
	Prevs         map[string]string    `json:"prevs"`
	Masks         []maskJSON           `json:"reader_key_masks"`
	SubteamReader bool                 `json:"subteam_reader"`
	LegacyTLF     []legacyTLFJSON      `json:"legacy_tlf_upgrade"`
	Hidden        []hidden.WireLink    `json:"hidden"`
	Blindings     *string              `json:"ratchet_blinding_keys"`
}

// accessTo is the asker's access to a team, through the subteam that the request names, if
// it names one.
func (c *call) accessTo(id kbsig.TeamID) (a teams.Access, err error) {
	var below kbsig.TeamID
	if c.has("read_subteam_id") {
		if below, err = parsed(c, "read_subteam_id", kbsig.ParseTeamID); err != nil {
			return a, err
		}
	}
	a, err = teams.AccessOf(c.view(), id, c.asker(), below)
	return a, teamError(err)
}

// teamGet: GET team/get: a team's chains and keys, as much of them as the caller may see.
// client: go/teams/loader_ctx.go:LoaderContextG.getLinksFromServerCommon,
// go/teams/ftl.go:fastLoadArg.toHTTPArgs
func teamGet(c *call) (any, error) {
	if c.flag("lookup_only") {
		return c.teamLookup()
	}
	id, err := parsed(c, "id", kbsig.ParseTeamID)
	if err != nil {
		return nil, err
	}
	if c.flag("showcase_only") {
		return c.teamShowcase(id)
	}
	if c.who == nil && !id.Public() {
		return nil, status.New(status.LoginRequired, "LOGIN_REQUIRED", "you need to log in to do that")
	}
	a, err := c.accessTo(id)
	if err != nil {
		return nil, err
	}
	if !a.Chain() {
		return nil, errTeamClosed
	}
	st, err := teams.Load(c.view(), id)
	if err != nil {
		return nil, err
	}
	q, err := c.teamQuestion()
	if err != nil {
		return nil, err
	}
	g := &teamGetter{c: c, a: a, st: st, q: q}
	return g.answer()
}

// teamQuestion is what of a team is asked for.
type teamQuestion struct {
	fast     bool // of a fast load
	fill     bool // nothing but the links that are named
	low      kbsig.Seqno
	listed   map[kbsig.Seqno]bool
	keyLow   int64 // newest generation that the caller has
	hidden   bool
	hideLow  kbsig.Seqno
	wanted   map[int64]bool // generations; of a fast load
	newest   int64
	applied  map[int]bool // applications; of a fast load
	wantsKey bool
}

func (c *call) teamQuestion() (q teamQuestion, err error) {
	prefix, keyLow := "", "per_team_key_low"
	if q.fast = c.flag("ftl"); q.fast {
		prefix, keyLow = "ftl_", "ftl_seed_low"
	}
	q.listed = make(map[kbsig.Seqno]bool)
	listed, err := c.numbers(prefix + "seqnos")
	if err != nil {
		return q, err
	}
	for _, n := range listed {
		q.listed[kbsig.Seqno(n)] = true
	}
	q.fill = !q.fast && len(q.listed) > 0
	if q.low, err = c.seqno(prefix + "low"); err != nil {
		return q, err
	}
	if q.keyLow, err = c.integer(keyLow, 0); err != nil {
		return q, err
	}
	if q.hideLow, err = c.seqno(prefix + "hidden_low"); err != nil {
		return q, err
	}
	q.hidden = c.has(prefix + "hidden_low")
	if !q.fast {
		q.wantsKey = true
		return q, nil
	}
	return q, c.fastQuestion(&q)
}

func (c *call) fastQuestion(q *teamQuestion) error {
	q.wanted, q.applied = make(map[int64]bool), make(map[int]bool)
	generations, err := c.numbers("ftl_key_generations")
	if err != nil {
		return err
	}
	for _, n := range generations {
		q.wanted[n] = true
	}
	applications, err := c.numbers("ftl_include_applications")
	if err != nil {
		return err
	}
	for _, n := range applications {
		if n < 1 || n > keyboxes.TeamApplications {
			return status.InputField("ftl_include_applications", "there is no such application")
		}
		q.applied[int(n)] = true
	}
	if q.newest, err = c.integer("ftl_n_newest_key_generations", 0); err != nil {
		return err
	}
	if q.newest > teamNewestMax {
		return status.InputField("ftl_n_newest_key_generations", "that is no number of generations")
	}
	// Hidden links are checked against the seeds, also by who wants a name only.
	// client: go/teams/ftl.go:FastTeamChainLoader.processHidden
	q.wantsKey = q.newest > 0 || len(q.wanted) > 0 || q.hidden
	return nil
}

// numbers is an optional argument of comma-separated positive numbers.
func (c *call) numbers(name string) ([]int64, error) {
	v := c.raw(name)
	if v == "" {
		return nil, nil
	}
	parts := strings.Split(v, ",")
	if len(parts) > teamNumbersMax {
		return nil, status.InputField(name, "too many numbers in "+name)
	}
	out := make([]int64, 0, len(parts))
	for _, p := range parts {
		n, err := strconv.ParseInt(p, 10, 64)
		if err != nil || n < 1 {
			return nil, status.InputField(name, "the argument "+name+" is not a list of numbers")
		}
		out = append(out, n)
	}
	return out, nil
}

// lookedUp is the team that a look-up names; the loader of teams and the resolver of
// assertions call the arguments differently.
// client: go/libkb/resolve.go:ResolverImpl.resolveTeamViaServerLookup
func (c *call) lookedUp() (id kbsig.TeamID, err error) {
	for _, argument := range []string{"name", "team"} {
		if !c.has(argument) {
			continue
		}
		name, err := parsed(c, argument, kbsig.ParseTeamName)
		if err != nil {
			return id, err
		}
		if id, err = teams.ByName(c.view(), name); err != nil {
			return id, c.nameUnknown(name, err)
		}
		return id, nil
	}
	if c.has("tid") {
		return parsed(c, "tid", kbsig.ParseTeamID)
	}
	return parsed(c, "id", kbsig.ParseTeamID)
}

// teamLookup answers the id of a name, or the name of an id, to those in the team. Whose
// subteam's name is none of the caller's business gets the same answer for names that
// nobody has. client: go/teams/loader.go:TeamLoader.ResolveNameToIDUntrusted
func (c *call) teamLookup() (any, error) {
	id, err := c.lookedUp()
	if err != nil {
		return nil, err
	}
	a, err := c.accessTo(id)
	if err != nil {
		return nil, err
	}
	if !a.Chain() {
		known, err := c.knowsByBranch(id)
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, errTeamClosed
		}
	}
	full, err := teams.FullName(c.view(), id)
	if err != nil {
		return nil, err
	}
	return struct {
		ID   string       `json:"id"`
		Name teamNameJSON `json:"name"`
	}{id.String(), teamNameJSON{full.Parts()}}, nil
}

// knowsByBranch reports a team above one that the caller is in.
func (c *call) knowsByBranch(id kbsig.TeamID) (bool, error) {
	if c.who == nil {
		return false, nil
	}
	known, err := teams.Branches(c.view(), c.who.UID)
	return known[id], err
}

// nameUnknown is the answer for a name that no team has. Only admins of the teams that
// it would lie in learn that of a subteam.
func (c *call) nameUnknown(name kbsig.TeamName, err error) error {
	if !errors.Is(err, teams.ErrNoTeam) || name.Depth() == 0 {
		return teamError(err)
	}
	for n := name.Parent(); ; n = n.Parent() {
		id, err := teams.ByName(c.view(), n)
		switch {
		case err == nil:
			a, err := teams.AccessOf(c.view(), id, c.asker(), kbsig.TeamID{})
			if err != nil {
				return err
			}
			if a.Managed() {
				return errNoTeam
			}
			return errTeamClosed
		case !errors.Is(err, teams.ErrNoTeam):
			return err
		case n.Depth() == 0:
			return errNoTeam
		}
	}
}
