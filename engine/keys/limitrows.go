package keys

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("gregorMsgIDMax", gregorMsgIDMax, "of the id of a push message"),
	}
}
