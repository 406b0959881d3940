package teams

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("PostLinksMax", PostLinksMax, "links", "of all chains posted together"),
		limits.Count("DepthMax", DepthMax, "levels", "of subteams below a root team"),
		limits.Time("leaseLifetime", leaseLifetime, "between asking to demote members and demoting them"),
		limits.Count("leaseMembersMax", leaseMembersMax, "members", "that one lease covers"),
	}
}
