package auth

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Time("loginSessionLifetime", loginSessionLifetime, "in which the challenge of getsalt can be answered"),
	}
}
