package rooter

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("postsMax", postsMax, "posts", "of one name in a network for tests"),
		limits.Bytes("postBytesMax", postBytesMax, "of one post there"),
		limits.Bytes("nameBytesMax", nameBytesMax, "of a name there"),
	}
}
