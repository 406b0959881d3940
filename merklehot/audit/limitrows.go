package audit

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("problemsMax", problemsMax, "problems", "told before an audit gives up"),
		limits.Count("rootGapMax", rootGapMax, "roots", "missing in a row behind which an audit goes on"),
		limits.Bytes("lineBytesMax", lineBytesMax, "of a line about a problem"),
		limits.Count("usersAheadMax", usersAheadMax, "users", "audited ahead of the one whose turn it is"),
		limits.Count("pastUsersMax", pastUsersMax, "users", "kept at hand while chains of teams are audited"),
		limits.Count("commitWithin", commitWithin, "seconds", "that a hidden link may be old before a root must commit to it"),
	}
}
