package archive

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("lineBytesMax", lineBytesMax, "of a line of the archive"),
		limits.Bytes("headerBytesMax", headerBytesMax, "of the first line of a file of the archive"),
		limits.Bytes("unsyncedBytesMax", unsyncedBytesMax, "of the archive written without a sync, beside its last block"),
		limits.Bytes("partBytesMax", partBytesMax, "of links in one part of what an archive lacks of teams, beside the last link"),
	}
}
