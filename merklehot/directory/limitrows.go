package directory

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("pgpEndMin", pgpEndMin, "hex characters", "of a fingerprint's end, at least, to find keys by"),
		limits.Count("pgpFoundMax", pgpFoundMax, "PGP keys", "found by the end of a fingerprint"),
		limits.Count("followListMax", followListMax, "followers", "shown at once"),
	}
}
