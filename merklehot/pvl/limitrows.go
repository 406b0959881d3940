package pvl

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("registerBytesMax", registerBytesMax, "of one text that a program holds"),
		limits.Bytes("patternBytesMax", patternBytesMax, "of a pattern with what it quotes"),
	}
}
