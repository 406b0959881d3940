package joining

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("requestsMax", requestsMax, "requests", "that wait at one team"),
		limits.Count("myRequestsMax", myRequestsMax, "teams", "at which one user asks to be let in"),
		limits.Count("acceptancesMax", acceptancesMax, "acceptances of invites", "that wait at one team"),
		limits.Count("offeredMax", offeredMax, "people", "whom a member is asked to let in at a time"),
		limits.Count("listMax", listMax, "requests", "in one list"),
		limits.Bytes("tokenBytesMax", tokenBytesMax, "of the token of an invite"),
		limits.Bytes("AKeyBytesMax", AKeyBytesMax, "of the answer to a secret invite"),
		limits.Bytes("inviteMessageMax", inviteMessageMax, "of what somebody writes to a person who is invited"),
		limits.Time("clockSlack", clockSlack, "that the clock of somebody who accepts may be off"),
		limits.Count("teamsAtOnce", teamsAtOnce, "teams", "of a user gone through in one transaction"),
	}
}
