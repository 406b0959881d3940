package node

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("doorConnectionsMax", doorConnectionsMax, "connections", "of the REST door; fewer where the machine allows few open files"),
		limits.Count("doorConnectionsScarce", doorConnectionsScarce, "connections", "of the REST door where the machine allows too few open files for all devices"),
		limits.Count("devicesMax", devicesMax, "connections", "of the push door; fewer where the machine allows few open files"),
		limits.Bytes("serviceBytesMax", serviceBytesMax, "of a file about a service at which people prove names"),
		limits.Bytes("logsBytesMax", logsBytesMax, "of logs of clients that are kept for the operator; the oldest make room"),
		limits.Time("stopTimeout", stopTimeout, "for requests under way when the server is stopped"),
		limits.Count("sweepMax", sweepMax, "sessions", "deleted in one transaction after their end"),
		limits.Time("healthAgeMax", healthAgeMax, "of the newest root beyond the heartbeat, before the server calls itself unhealthy"),
		limits.Time("clockLeapMax", clockLeapMax, "that the machine's clock may leap"),
	}
}
