package redact

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("textBytesMax", textBytesMax, "of one text in the log; the rest is cut"),
	}
}
