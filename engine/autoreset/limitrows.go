package autoreset

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Time("warnBefore", warnBefore, "before the end of a reset's wait, when the owner is reminded"),
		limits.Time("readyLifetime", readyLifetime, "that a reset stays ready"),
		limits.Time("mailPause", mailPause, "between two mails to somebody who asks for a reset by name"),
		limits.Time("TravelMax", TravelMax, "that a test may move a reset at a time"),
		limits.Bytes("linkBytes", linkBytes, "of the secret part of a link about a reset"),
	}
}
