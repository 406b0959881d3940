package vouches

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("listMax", listMax, "vouches", "in one list"),
		limits.Bytes("expansionBytesMax", expansionBytesMax, "of what is said in one vouch"),
		limits.Count("proofsMax", proofsMax, "proofs", "named in one vouch"),
	}
}
