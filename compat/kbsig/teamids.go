package kbsig

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Suffix bytes of teams and invitations.
const (
	teamSuffix          = 0x24
	subteamSuffix       = 0x25
	publicTeamSuffix    = 0x2e
	publicSubteamSuffix = 0x2f
	inviteSuffix        = 0x27
)

// Sequence types of chains of teams. client: go/protocol/keybase1/common.go:SeqType
const (
	SeqTypeSemiprivate = 3
	SeqTypeTeamHidden  = 17
)

// TeamID names a team: a root team's follows from its name, a subteam's is random; the
// last byte tells which it is and whether the team is public.
// client: go/protocol/keybase1/extras.go:TeamIDFromString
type TeamID [16]byte

// InviteID names an invitation to a team.
type InviteID [16]byte

// ParseTeamID parses 32 lower-case hex characters with a team's suffix byte.
func ParseTeamID(s string) (t TeamID, err error) {
	if err := parseHex("team id", s, t[:]); err != nil {
		return TeamID{}, err
	}
	switch t[len(t)-1] {
	case teamSuffix, subteamSuffix, publicTeamSuffix, publicSubteamSuffix:
		return t, nil
	}
	return TeamID{}, fmt.Errorf("team id with a foreign suffix: %w", ErrBadID)
}

func (t TeamID) String() string { return hex.EncodeToString(t[:]) }

// IsZero reports the zero value, which names no team.
func (t TeamID) IsZero() bool { return t == TeamID{} }

// Public reports whether anybody may read the team's chain.
func (t TeamID) Public() bool {
	s := t[len(t)-1]
	return s == publicTeamSuffix || s == publicSubteamSuffix
}

// Subteam reports whether it is the id of a subteam.
func (t TeamID) Subteam() bool {
	s := t[len(t)-1]
	return s == subteamSuffix || s == publicSubteamSuffix
}

// ParseInviteID parses 32 lower-case hex characters with an invitation's suffix byte.
func ParseInviteID(s string) (i InviteID, err error) {
	if err := parseHex("invite id", s, i[:]); err != nil {
		return InviteID{}, err
	}
	if i[len(i)-1] != inviteSuffix {
		return InviteID{}, fmt.Errorf("invite id with a foreign suffix: %w", ErrBadID)
	}
	return i, nil
}

func (i InviteID) String() string { return hex.EncodeToString(i[:]) }

// UserVersion is one incarnation of a user: the user, and the link that began it.
type UserVersion struct {
	UID    UID   `codec:"u"`
	Eldest Seqno `codec:"e"`
}

// ParseUserVersion parses a uid, a percent sign and a number; a uid alone is the first
// incarnation of old. client: go/protocol/keybase1/extras.go:ParseUserVersion
func ParseUserVersion(s string) (uv UserVersion, err error) {
	uid, number, found := strings.Cut(s, "%")
	if uv.UID, err = ParseUID(uid); err != nil {
		return UserVersion{}, fmt.Errorf("user version: %w", err)
	}
	if !found {
		uv.Eldest = 1
		return uv, nil
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != number {
		return UserVersion{}, fmt.Errorf("user version: %w", ErrBadID)
	}
	uv.Eldest = Seqno(n)
	return uv, nil
}

func (uv UserVersion) String() string { return fmt.Sprintf("%s%%%d", uv.UID, uv.Eldest) }

// implicitPrefix begins the names of implicit teams.
const implicitPrefix = "__keybase_implicit_team__"

// TeamName is a name of a team with those of the teams above it, in lower case.
type TeamName struct{ text string }

// Limits of names of teams.
const (
	teamPartMin = 2
	teamPartMax = 16
	// teamNameBytesMax bounds a whole name, in bytes.
	teamNameBytesMax = 1024
)

// ParseTeamName checks a name as clients do and takes it in lower case: parts of
// letters and digits joined by single underscores, 2 to 16 characters each, with dots
// between them; or the name of an implicit team.
// client: go/protocol/keybase1/extras.go:TeamNameFromString
func ParseTeamName(s string) (TeamName, error) {
	if len(s) > teamNameBytesMax {
		return TeamName{}, fmt.Errorf("team name of %d characters: %w", len(s), ErrBadID)
	}
	low := strings.ToLower(s)
	if rest, ok := strings.CutPrefix(low, implicitPrefix); ok {
		var suffix [16]byte
		if err := parseHex("team name", rest, suffix[:]); err != nil {
			return TeamName{}, err
		}
		return TeamName{low}, nil
	}
	for part := range strings.SplitSeq(low, ".") {
		if err := checkTeamPart(part); err != nil {
			return TeamName{}, err
		}
	}
	return TeamName{low}, nil
}

func checkTeamPart(s string) error {
	if len(s) < teamPartMin || len(s) > teamPartMax {
		return fmt.Errorf("part of a team name of %d characters, not %d to %d: %w", len(s), teamPartMin, teamPartMax, ErrBadID)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c == '_' && i > 0 && s[i-1] != '_':
		default:
			return fmt.Errorf("team name with a character that is not allowed: %w", ErrBadID)
		}
	}
	return nil
}

func (n TeamName) String() string { return n.text }

// IsZero reports the zero value, which is no name.
func (n TeamName) IsZero() bool { return n.text == "" }

// Key is what equal names have in common.
func (n TeamName) Key() string { return n.text }

// Parts are the root's name and those below it.
func (n TeamName) Parts() []string { return strings.Split(n.text, ".") }

// Depth is how many teams are above.
func (n TeamName) Depth() int { return strings.Count(n.text, ".") }

// Root is the name of the topmost team.
func (n TeamName) Root() TeamName {
	root, _, _ := strings.Cut(n.text, ".")
	return TeamName{root}
}

// Parent is the name of the team above; the zero name if there is none.
func (n TeamName) Parent() TeamName {
	if i := strings.LastIndexByte(n.text, '.'); i >= 0 {
		return TeamName{n.text[:i]}
	}
	return TeamName{}
}

// Last is the last part.
func (n TeamName) Last() string { return n.text[strings.LastIndexByte(n.text, '.')+1:] }

// Implicit reports the name of an implicit team.
func (n TeamName) Implicit() bool { return strings.HasPrefix(n.text, implicitPrefix) }

// TeamIDOf derives a root team's id from its name, as clients do.
// client: go/protocol/keybase1/extras.go:TeamName.ToTeamID
func TeamIDOf(name TeamName, public bool) (t TeamID) {
	h := sha256.Sum256([]byte(name.text))
	copy(t[:], h[:15])
	t[15] = teamSuffix
	if public {
		t[15] = publicTeamSuffix
	}
	return t
}
