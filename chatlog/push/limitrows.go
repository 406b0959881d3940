package push

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("tokenBytesMax", tokenBytesMax, "of a token by which a device is woken"),
		limits.Count("tokensMax", tokensMax, "tokens", "of one user; the oldest makes room"),
		limits.Bytes("bodyBytesMax", bodyBytesMax, "of a notification"),
		limits.Time("tooOld", tooOld, "after which a notification wakes nobody"),
	}
}
