package teamchain

import "fmt"

// Role is what somebody is in a team; the number is the one that clients send.
// client: go/protocol/keybase1/teams.go:TeamRole
type Role uint8

// Roles. Their numbers are no order of power: that is Power.
const (
	RoleNone Role = iota
	RoleReader
	RoleWriter
	RoleAdmin
	RoleOwner
	RoleBot
	RoleRestrictedBot
)

var roleNames = [...]string{"none", "reader", "writer", "admin", "owner", "bot", "restricted_bot"}

// String is the name that links give a role.
func (r Role) String() string {
	if int(r) >= len(roleNames) {
		return fmt.Sprintf("role %d", uint8(r))
	}
	return roleNames[r]
}

// ParseRole reads the name that links give a role.
func ParseRole(s string) (Role, error) {
	for i, n := range roleNames {
		if s == n {
			return Role(i), nil
		}
	}
	return RoleNone, fmt.Errorf("role of %d characters that is none", len(s))
}

// Power orders roles: an owner has most, RoleNone 0.
func (r Role) Power() int {
	switch r {
	case RoleRestrictedBot:
		return 1
	case RoleBot:
		return 2
	case RoleReader:
		return 3
	case RoleWriter:
		return 4
	case RoleAdmin:
		return 5
	case RoleOwner:
		return 6
	}
	return 0
}

// AtLeast reports whether r has the power of o. client: go/protocol/keybase1/extras.go:TeamRole.IsOrAbove
func (r Role) AtLeast(o Role) bool { return r.Power() >= o.Power() }
