package chores

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Time("pauseFirst", pauseFirst, "until another member is asked to do what a team needs; doubles each time"),
		limits.Time("pauseMax", pauseMax, "between two members who are asked at most"),
		limits.Time("pauseNobody", pauseNobody, "until somebody is looked for again when nobody is connected"),
		limits.Time("settleTime", settleTime, "for further facts to gather before a member is asked again"),
		limits.Count("toldMax", toldMax, "members", "who are asked for the same thing at a time"),
		limits.Count("resetsMax", resetsMax, "users", "whom one request names as reset"),
		limits.Count("arrivalsMax", arrivalsMax, "chores", "that are looked through for a user who connects"),
	}
}
