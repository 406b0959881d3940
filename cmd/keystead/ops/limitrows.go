package ops

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("endpointsBytesMax", endpointsBytesMax, "read of endpoints.json"),
		limits.Bytes("healthBytesMax", healthBytesMax, "shown of an answer about health"),
		limits.Bytes("rootsBytesMax", rootsBytesMax, "of a file of certificates that clients are told to trust"),
	}
}
