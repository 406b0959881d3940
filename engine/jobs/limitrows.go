package jobs

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("kindBytesMax", kindBytesMax, "of the name of a kind of background work"),
		limits.Bytes("nameBytesMax", nameBytesMax, "of the name of a job within its kind"),
		limits.Bytes("bodyBytesMax", bodyBytesMax, "of what a job carries"),
		limits.Time("runTimeout", runTimeout, "for one run of a job"),
		limits.Time("pauseMin", pauseMin, "between the first failure of a job and the next try; twice as long after each further one"),
		limits.Time("pauseMax", pauseMax, "between two tries of a job, at most"),
		limits.Count("turnMax", turnMax, "jobs", "of a kind that are taken at a look"),
		limits.Count("countedMax", countedMax, "jobs", "counted for the metrics"),
	}
}
