package implicit

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("nameBytesMax", nameBytesMax, "of the name of an implicit team"),
		limits.Count("partsMax", partsMax, "people", "whom such a name names"),
		limits.Bytes("partBytesMax", partBytesMax, "of one of them"),
	}
}
