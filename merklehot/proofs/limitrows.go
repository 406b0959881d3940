package proofs

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Time("checkTimeout", checkTimeout, "for one check of one proof, all its pages together"),
		limits.Time("checkAgainMin", checkAgainMin, "that the answer of a check stands, whoever asks"),
		limits.Count("hardFailuresMax", hardFailuresMax, "times", "in a row that a proof may be missing before it counts as gone"),
		limits.Time("softGrace", softGrace, "that a proof which cannot be looked at goes on to hold"),
		limits.Time("lookingMin", lookingMin, "between the server's own looks for a proof that was never seen, at least; it grows"),
		limits.Time("lookingMax", lookingMax, "between them at most"),
		limits.Time("lookingEnd", lookingEnd, "after which the server looks for such a proof only when asked"),
		limits.Time("holdsMin", holdsMin, "between looks at a proof that holds, at least; it grows"),
		limits.Time("holdsMax", holdsMax, "between them at most"),
		limits.Time("shakyMin", shakyMin, "between looks for a proof that was seen before, but not the last time, at least; it grows"),
		limits.Time("shakyMax", shakyMax, "between them at most"),
		limits.Time("goneMin", goneMin, "between looks for a proof that is gone, at least; it grows"),
		limits.Time("goneMax", goneMax, "between them at most"),
		limits.Time("goneEnd", goneEnd, "after which the server looks for such a proof only when asked"),
		limits.Count("jitterParts", jitterParts, "parts", "of an interval, of which up to one is added by chance"),
		limits.Count("lanes", lanes, "checks", "that the server makes by itself at a time"),
		limits.Count("candidatesMax", candidatesMax, "posts", "of a user that are looked at for one proof"),
		limits.Count("followersToldMax", followersToldMax, "followers", "who are told at once that somebody's proofs have changed"),
		limits.Bytes("reasonBytesMax", reasonBytesMax, "kept of why a check failed"),
		limits.Bytes("hostnameBytesMax", hostnameBytesMax, "of a host or a domain that is proven"),
		limits.Bytes("serviceBytesMax", serviceBytesMax, "of a service's domain"),
		limits.Bytes("nameBytesMax", nameBytesMax, "of a name at a generic service"),
		limits.Bytes("configBytesMax", configBytesMax, "of the configuration of a generic service"),
		limits.Count("selectorsMax", selectorsMax, "selectors", "of a path in what a generic service answers"),
	}
}
