package client

import (
	"errors"
	"fmt"
	"slices"
)

// RolePoint is one change of somebody's role, by a link of the chain.
type RolePoint struct {
	Role   TeamRole
	Seqno  Seqno
	Merkle rootRef // that the link quotes
}

// TeamPTK is what a chain says of one generation of the per-team key.
type TeamPTK struct {
	Signing, DH KID
	Seqno       Seqno
	Summary     string    // box_summary_hash, empty if the link has none
	Check       *[32]byte // SHA-256 of the seed check, in hidden links
}

// TeamInvite is one invitation of a chain.
type TeamInvite struct {
	ID, Type, Name string
	Role           TeamRole
	MaxUses        int64 // 0: old style, -1: no limit
	Uses           int64
	Active         bool
	Seqno          Seqno
}

func (i *TeamInvite) newStyle() bool { return i.MaxUses != 0 }

// SubteamPoint is a name that a subteam was given by a link of its parent.
type SubteamPoint struct {
	Name  string
	Seqno Seqno
}

// TeamChain is what a team's visible chain means.
// client: go/teams/chain.go:TeamSigChainState
type TeamChain struct {
	ID       TeamID
	Root     string // first part of the name
	Depth    int
	NameLog  []SubteamPoint // last part of the name
	Parent   TeamID         // zero for a root team
	Implicit bool
	Deleted  bool
	Links    []*TeamLink
	Roles    map[UserVersion][]RolePoint
	Subteams map[TeamID][]SubteamPoint
	Gone     map[TeamID]bool // deleted subteams
	PTKs     map[int]TeamPTK
	Newest   int // newest generation of this chain
	Invites  map[string]*TeamInvite
	Open     bool
	JoinAs   TeamRole
	TLFs     []string
	Keysets  map[TeamApplication]TeamKeyset // adopted keys, the newest of each application
	Bots     map[UserVersion]object
	stubs    bool
}

// Tail is the last link.
func (c *TeamChain) Tail() *TeamLink { return c.Links[len(c.Links)-1] }

// Role is somebody's role now.
func (c *TeamChain) Role(u UserVersion) TeamRole {
	if p := c.Roles[u]; len(p) > 0 {
		return p[len(p)-1].Role
	}
	return RoleNone
}

// Members lists who has a role.
func (c *TeamChain) Members() map[UserVersion]TeamRole {
	out := make(map[UserVersion]TeamRole)
	for u := range c.Roles {
		if r := c.Role(u); r != RoleNone {
			out[u] = r
		}
	}
	return out
}

// Current is the version of a user that is a member.
func (c *TeamChain) Current(uid UID) (UserVersion, bool) {
	for u := range c.Roles {
		if u.UID == uid && c.Role(u) != RoleNone {
			return u, true
		}
	}
	return UserVersion{}, false
}

// teamRules says per type which sections must (R) and may (O) stand in a link, in the
// order of teamSections; a dash is a section that must not.
// client: go/teams/chain.go:LinkRules
var teamSections = []string{
	"name", "members", "parent", "subteam", "per_team_key", "admin", "invites",
	"completed_invites", "settings", "kbfs", "box_summary_hash", "bot_settings",
}

var teamRules = map[string]struct {
	sections string
	implicit bool
	first    bool
}{
	"team.root":              {"RR--R-O-O-O-", true, true},
	"team.change_membership": {"-R--OO-O--O-", true, false},
	"team.rotate_key":        {"----RO----O-", true, false},
	"team.leave":             {"------------", false, false},
	"team.new_subteam":       {"---R-O------", false, false},
	"team.subteam_head":      {"RRR-RO--O-O-", false, true},
	"team.rename_subteam":    {"---R-O------", false, false},
	"team.rename_up_pointer": {"R-R--O------", false, false},
	"team.delete_subteam":    {"---R-O------", false, false},
	"team.invite":            {"-----OR-----", true, false},
	"team.settings":          {"----OO--R---", true, false},
	"team.kbfs":              {"-----O---R--", true, false},
	"team.bot_settings":      {"-----O-----R", true, false},
}

func (l *TeamLink) checkSections() error {
	rule, ok := teamRules[l.Type]
	if !ok {
		return nil
	}
	for i, name := range teamSections {
		v, has := l.team.at(name)
		switch {
		case has && v == nil:
			return fmt.Errorf("%s is null", name)
		case rule.sections[i] == 'R' && !has:
			return fmt.Errorf("%s without %s", l.Type, name)
		case rule.sections[i] == '-' && has:
			return fmt.Errorf("%s with %s", l.Type, name)
		}
	}
	if l.implicit() && !rule.implicit {
		return fmt.Errorf("%s in an implicit team", l.Type)
	}
	return nil
}

// play appends a link. implicitAdmin says that the signer was shown to be admin of an
// ancestor. client: go/teams/chain.go:appendChainLinkHelper, addInnerLink
func (c *TeamChain) play(l *TeamLink, implicitAdmin bool) error {
	subject := l.subject()
	var prev LinkID
	if n := len(c.Links); n > 0 {
		prev = c.Tail().ID
	}
	switch {
	case l.Seqno != Seqno(len(c.Links)+1):
		return violated(RuleSeqno, subject, "after %d links", len(c.Links))
	case l.Prev != prev:
		return violated(RulePrevLink, subject, "prev %s, but the link before is %s", l.Prev, prev)
	case c.Deleted:
		return violated(RuleTeamLink, subject, "after the end of the team")
	}
	if l.Stubbed {
		c.stubs = true
	} else if err := c.inner(l, implicitAdmin); err != nil {
		return under(RuleTeamLink, subject, err)
	}
	c.Links = append(c.Links, l)
	return nil
}

func (c *TeamChain) inner(l *TeamLink, implicitAdmin bool) error {
	if err := l.checkSections(); err != nil {
		return err
	}
	first := len(c.Links) == 0
	if rule, ok := teamRules[l.Type]; ok && rule.first != first {
		return fmt.Errorf("%s as link %d", l.Type, l.Seqno)
	}
	if first {
		return c.begin(l)
	}
	if l.implicit() != c.Implicit {
		return errors.New("is_implicit changes")
	}
	role := c.Role(l.By)
	admin := role.atLeast(RoleAdmin) || implicitAdmin
	needs := func(ok bool) error {
		if !ok {
			return violated(RuleTeamRole, l.subject(), "%s by %s, who is %s", l.Type, l.By, role)
		}
		return nil
	}
	switch l.Type {
	case "team.change_membership":
		return firstError(needs(admin), c.change(l, role == RoleOwner))
	case "team.rotate_key":
		return firstError(needs(role.atLeast(RoleWriter) || implicitAdmin), c.key(l))
	case "team.leave":
		if err := needs(role != RoleNone); err != nil {
			return err
		}
		c.set(l, l.By, RoleNone)
		return nil
	case "team.new_subteam", "team.rename_subteam", "team.delete_subteam":
		return firstError(needs(admin), c.child(l))
	case "team.rename_up_pointer":
		return firstError(needs(admin), c.renamed(l))
	case "team.invite":
		return firstError(needs(admin), c.invite(l, role == RoleOwner))
	case "team.settings":
		return firstError(needs(admin), c.settings(l), c.key(l))
	case "team.kbfs":
		return firstError(needs(role.atLeast(RoleWriter)), c.kbfs(l))
	case "team.bot_settings":
		return firstError(needs(admin), c.bots(l))
	case "team.delete_root", "team.delete_up_pointer":
		c.Deleted = true
		return needs(role == RoleOwner || l.Type == "team.delete_up_pointer" && admin)
	}
	return nil // an unknown type that may be ignored
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// begin plays team.root and team.subteam_head.
func (c *TeamChain) begin(l *TeamLink) error {
	if l.Type != "team.root" && l.Type != "team.subteam_head" {
		return fmt.Errorf("a chain that begins with %s", l.Type)
	}
	name, err := l.team.str("name")
	if err != nil {
		return err
	}
	parts, err := teamParts(name)
	if err != nil {
		return err
	}
	root := l.Type == "team.root"
	implicit := len(parts[0]) == len(implicitNamePrefix)+2*implicitSuffixBytes
	switch {
	case root != (len(parts) == 1), root == c.ID.Subteam():
		return fmt.Errorf("name %q in %s of %s", name, l.Type, c.ID)
	case root && TeamIDOf(name, c.ID.Public()) != c.ID:
		return fmt.Errorf("id %s does not belong to %q", c.ID, name)
	case implicit != l.implicit(), c.ID.Public() && !implicit:
		return fmt.Errorf("%q as a team that is implicit=%v, public=%v", name, l.implicit(), c.ID.Public())
	}
	c.Root, c.Depth, c.Implicit = parts[0], len(parts), implicit
	c.NameLog = []SubteamPoint{{parts[len(parts)-1], 1}}
	if !root {
		if c.Parent, err = l.parent(); err != nil {
			return err
		}
	}
	c.Roles, c.Subteams, c.Gone = make(map[UserVersion][]RolePoint), make(map[TeamID][]SubteamPoint), make(map[TeamID]bool)
	c.PTKs, c.Invites, c.Bots = make(map[int]TeamPTK), make(map[string]*TeamInvite), make(map[UserVersion]object)
	updates, err := l.members()
	if err != nil {
		return err
	}
	owners := 0
	for u, role := range updates {
		switch {
		case role == RoleNone:
			return errors.New("a first link that removes somebody")
		case role == RoleOwner && !root:
			return errors.New("a subteam with an owner")
		case implicit && role != RoleOwner && role != RoleReader && role != RoleBot && role != RoleRestrictedBot:
			return fmt.Errorf("role %s in an implicit team", role)
		case role == RoleOwner:
			owners++
		}
		c.set(l, u, role)
	}
	if root && (owners == 0 || c.Role(l.By) != RoleOwner) {
		return errors.New("a root team whose creator is no owner")
	}
	if l.team.has("invites") {
		if !implicit {
			return errors.New("invites in the first link")
		}
		if err := c.invite(l, true); err != nil {
			return err
		}
	}
	return firstError(c.settings(l), c.key(l))
}

// parent reads the parent section of a link of a subteam.
func (l *TeamLink) parent() (t TeamID, err error) {
	id, err := l.team.str("parent", "id")
	if err != nil {
		return t, err
	}
	if t, err = ParseTeamID(id); err != nil {
		return t, err
	}
	n, err := l.team.int("parent", "seqno")
	if err != nil || n < 1 {
		return t, fmt.Errorf("parent seqno %d: %v", n, err)
	}
	return t, nil
}

// members reads the members section; nobody may stand there twice.
// client: go/teams/chain.go:sanityCheckMembers
func (l *TeamLink) members() (map[UserVersion]TeamRole, error) {
	out := make(map[UserVersion]TeamRole)
	m, err := l.team.sub("members")
	if err != nil {
		return nil, err
	}
	for name, v := range m {
		role, ok := roleNames[name]
		list, isList := v.([]any)
		if !ok || !isList {
			return nil, fmt.Errorf("members.%s", name)
		}
		for _, x := range list {
			s, _ := x.(string)
			u, err := ParseUserVersion(s)
			if err != nil {
				return nil, fmt.Errorf("members.%s: %w", name, err)
			}
			if _, twice := out[u]; twice {
				return nil, fmt.Errorf("%s stands twice among the members", u)
			}
			out[u] = role
		}
	}
	return out, nil
}

func (c *TeamChain) set(l *TeamLink, u UserVersion, role TeamRole) {
	c.Roles[u] = append(slices.Clip(c.Roles[u]), RolePoint{role, l.Seqno, l.Merkle})
	if role != RoleRestrictedBot {
		delete(c.Bots, u)
	}
}

// key plays a new per-team key, if there is one.
func (c *TeamChain) key(l *TeamLink) error {
	if !l.team.has("per_team_key") {
		return nil
	}
	gen, err := l.team.int("per_team_key", "generation")
	if err != nil {
		return err
	}
	signing, err1 := l.team.kid("per_team_key", "signing_kid")
	dh, err2 := l.team.kid("per_team_key", "encryption_kid")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if _, known := c.PTKs[int(gen)]; known || int(gen) <= c.Newest || !dh.IsDH() || len(c.Links) == 0 && gen != 1 {
		return violated(RuleTeamKey, l.subject(), "generation %d after %d", gen, c.Newest)
	}
	p := TeamPTK{Signing: signing, DH: dh, Seqno: l.Seqno}
	if l.team.has("box_summary_hash") {
		if p.Summary, err = l.team.str("box_summary_hash"); err != nil {
			return err
		}
	}
	c.PTKs[int(gen)], c.Newest = p, int(gen)
	return nil
}
