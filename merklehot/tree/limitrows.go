package tree

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("LeafBytesMax", LeafBytesMax, "of a leaf of the Merkle tree"),
	}
}
