package roots

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("payloadBytesMax", payloadBytesMax, "of a root's signed payload"),
		limits.Count("recentTreesMax", recentTreesMax, "trees", "kept in memory"),
		limits.Bytes("recentBytesMax", recentBytesMax, "of trees kept in memory beside the newest"),
		limits.Count("checkedRootsMax", checkedRootsMax, "roots", "checked at the start"),
		limits.Count("hashesMax", hashesMax, "hashes", "of the newest roots kept in memory"),
	}
}
