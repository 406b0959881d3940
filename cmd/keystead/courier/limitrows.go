package courier

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Time("timeout", timeout, "for one attempt to reach a push service"),
		limits.Time("keptFor", keptFor, "that a push service may keep a notification"),
		limits.Bytes("replyMax", replyMax, "read of its answer"),
		limits.Bytes("messageMax", messageMax, "of what is posted to it"),
	}
}
