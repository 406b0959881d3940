package adminapi

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("requestBytesMax", requestBytesMax, "of an operator's request to the running server"),
		limits.Bytes("replyBytesMax", replyBytesMax, "of its reply"),
		limits.Time("exchangeMax", exchangeMax, "for both"),
		limits.Count("connectionsMax", connectionsMax, "connections", "of operators at once; more wait"),
	}
}
