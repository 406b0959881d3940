package postman

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Time("smtpTimeout", smtpTimeout, "for the talk with the SMTP server about one mail"),
		limits.Time("hookTimeout", hookTimeout, "for a call of the web hook for text messages"),
		limits.Bytes("hookReplyMax", hookReplyMax, "read of its answer"),
		limits.Bytes("passwordFileMax", passwordFileMax, "read of a file with a password"),
	}
}
