package identity

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Time("leaseLifetime", leaseLifetime, "from asking to revoke until revoking"),
		limits.Count("leasesMax", leasesMax, "leases", "of one user"),
		limits.Count("leaseTargetsMax", leaseTargetsMax, "targets", "of one lease"),
		limits.Time("ekRootAgeMax", ekRootAgeMax, "of the root that a new ephemeral key quotes"),
	}
}
