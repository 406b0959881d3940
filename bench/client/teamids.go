package client

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// TeamID names a team: 15 bytes of SHA-256 of the lower-case name for a root team,
// 15 random bytes for a subteam, and a byte that tells the kind.
// client: go/protocol/keybase1/extras.go:TeamIDFromString
type TeamID [16]byte

// Last bytes of team ids. client: go/protocol/keybase1/extras.go:TEAMID_PRIVATE_SUFFIX
const (
	teamTagPrivate    = 0x24
	teamTagPublic     = 0x2e
	teamTagPrivateSub = 0x25
	teamTagPublicSub  = 0x2f
)

// ParseTeamID parses 32 lower-case hex characters with the tag of a team.
func ParseTeamID(s string) (t TeamID, err error) {
	if err = unhex("team id", s, t[:]); err != nil {
		return t, err
	}
	switch t[15] {
	case teamTagPrivate, teamTagPublic, teamTagPrivateSub, teamTagPublicSub:
		return t, nil
	}
	return t, fmt.Errorf("team id with suffix %02x", t[15])
}

// TeamIDOf is the id that belongs to the name of a root team.
// client: go/protocol/keybase1/extras.go:TeamName.ToTeamID
func TeamIDOf(name string, public bool) TeamID {
	h := sha256.Sum256([]byte(strings.ToLower(name)))
	var t TeamID
	copy(t[:], h[:15])
	t[15] = teamTagPrivate
	if public {
		t[15] = teamTagPublic
	}
	return t
}

func (t TeamID) String() string { return hex.EncodeToString(t[:]) }

// Public reports a team whose chain anybody may read.
func (t TeamID) Public() bool { return t[15] == teamTagPublic || t[15] == teamTagPublicSub }

// Subteam reports a team with a parent.
func (t TeamID) Subteam() bool { return t[15] == teamTagPrivateSub || t[15] == teamTagPublicSub }

// seqType is the kind of a team's visible chain.
// client: go/teams/sig.go:seqTypeForTeamPublicness
func (t TeamID) seqType() int64 {
	if t.Public() {
		return seqTypePublic
	}
	return seqTypeSemiprivate
}

// UserVersion is a user between two resets: whom a team means.
// client: go/protocol/keybase1/extras.go:UserVersion
type UserVersion struct {
	UID    UID
	Eldest Seqno
}

// ParseUserVersion parses uid%seqno; a bare uid means %1.
func ParseUserVersion(s string) (u UserVersion, err error) {
	id, n, cut := strings.Cut(s, "%")
	if u.UID, err = ParseUID(id); err != nil {
		return u, err
	}
	u.Eldest = 1
	if cut {
		i, err := strconv.ParseInt(n, 10, 64)
		if err != nil || i < 0 || strconv.FormatInt(i, 10) != n {
			return u, fmt.Errorf("eldest seqno %q", n)
		}
		u.Eldest = Seqno(i)
	}
	return u, nil
}

func (u UserVersion) String() string { return fmt.Sprintf("%s%%%d", u.UID, u.Eldest) }

// TeamRole is a role by its number on the wire.
// client: go/protocol/keybase1/teams.go:TeamRole
type TeamRole int

// The roles.
const (
	RoleNone          TeamRole = 0
	RoleReader        TeamRole = 1
	RoleWriter        TeamRole = 2
	RoleAdmin         TeamRole = 3
	RoleOwner         TeamRole = 4
	RoleBot           TeamRole = 5
	RoleRestrictedBot TeamRole = 6
)

// roleNames are the keys of a members section.
var roleNames = map[string]TeamRole{
	"owner": RoleOwner, "admin": RoleAdmin, "writer": RoleWriter, "reader": RoleReader,
	"bot": RoleBot, "restricted_bot": RoleRestrictedBot, "none": RoleNone,
}

func (r TeamRole) String() string {
	for name, x := range roleNames {
		if x == r {
			return name
		}
	}
	return strconv.Itoa(int(r))
}

// power orders roles: owner, admin, writer, reader, bot, restricted bot, none.
// client: go/protocol/keybase1/extras.go:TeamRole.teamRoleForOrderingOnly
func (r TeamRole) power() int { return [...]int{0, 3, 4, 5, 6, 2, 1}[r] }

func (r TeamRole) atLeast(o TeamRole) bool { return r.power() >= o.power() }

// Seq types of chains of teams.
const seqTypeSemiprivate = 3

// Numbers of team links. client: go/libkb/chain_link_v2.go:SigchainV2TypeTeamRoot
const (
	typeTeamRoot         = 33
	typeTeamNewSubteam   = 34
	typeTeamChange       = 35
	typeTeamRotate       = 36
	typeTeamLeave        = 37
	typeTeamHead         = 38
	typeTeamRename       = 39
	typeTeamInvite       = 40
	typeTeamRenamed      = 41
	typeTeamDeleteRoot   = 42
	typeTeamDeleteSub    = 43
	typeTeamDeleted      = 44
	typeTeamSettings     = 46
	typeTeamKBFS         = 47
	typeTeamBotSettings  = 48
	teamNameBytesMax     = 255
	implicitNamePrefix   = "__keybase_implicit_team__"
	implicitSuffixBytes  = 16
	teamNameDepthMax     = 16
	teamLinksPerReplyMax = 100_000
)

// teamTypes maps inner types to outer numbers, and says which links a server may
// send without their inner part. client: go/libkb/chain_link_v2.go:TeamAllowStubWithAdminFlag
var teamTypes = map[string]struct {
	number int64
	stubs  bool
}{
	"team.root":              {typeTeamRoot, false},
	"team.new_subteam":       {typeTeamNewSubteam, true},
	"team.change_membership": {typeTeamChange, false},
	"team.rotate_key":        {typeTeamRotate, false},
	"team.leave":             {typeTeamLeave, false},
	"team.subteam_head":      {typeTeamHead, false},
	"team.rename_subteam":    {typeTeamRename, true},
	"team.invite":            {typeTeamInvite, true},
	"team.rename_up_pointer": {typeTeamRenamed, false},
	"team.delete_root":       {typeTeamDeleteRoot, false},
	"team.delete_subteam":    {typeTeamDeleteSub, true},
	"team.delete_up_pointer": {typeTeamDeleted, false},
	"team.settings":          {typeTeamSettings, true},
	"team.kbfs":              {typeTeamKBFS, true},
	"team.bot_settings":      {typeTeamBotSettings, true},
}

func teamStubAllowed(number int64) bool {
	for _, t := range teamTypes {
		if t.number == number {
			return t.stubs
		}
	}
	return true
}

var teamPart = regexp.MustCompile(`^([a-zA-Z0-9][a-zA-Z0-9_]?)+$`)

// teamParts splits and checks a dotted name, in lower case.
// client: go/protocol/keybase1/extras.go:TeamNameFromString
func teamParts(name string) ([]string, error) {
	if len(name) > teamNameBytesMax {
		return nil, errors.New("team name too long")
	}
	name = strings.ToLower(name)
	if rest, ok := strings.CutPrefix(name, implicitNamePrefix); ok {
		if b, err := hex.DecodeString(rest); err != nil || len(b) != implicitSuffixBytes {
			return nil, fmt.Errorf("implicit team name %q", name)
		}
		return []string{name}, nil
	}
	parts := strings.Split(name, ".")
	if len(parts) > teamNameDepthMax {
		return nil, errors.New("team nested too deep")
	}
	for _, p := range parts {
		if len(p) < 2 || len(p) > 16 || !teamPart.MatchString(p) {
			return nil, fmt.Errorf("team name part %q", p)
		}
	}
	return parts, nil
}
