package config

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("fileBytesMax", fileBytesMax, "of a configuration file"),
		limits.Bytes("pathBytesMax", pathBytesMax, "of a path or an address in it"),
		limits.Count("servicesMax", servicesMax, "files", "about services at which people prove names"),
		limits.Bytes("botBytesMax", botBytesMax, "of a bot that is shown to everybody"),
		limits.Count("botsMax", botsMax, "bots", "shown to everybody"),
		limits.Bytes("featureMax", featureMax, "of the name of a client's switch"),
		limits.Count("featuresMax", featuresMax, "switches", "turned on for everybody"),
		limits.Time("resetDelayMax", resetDelayMax, "that a reset may be made to wait"),
		limits.Time("verifyWithinMax", verifyWithinMax, "that a reset may be made to wait for the link in its mail"),
		limits.Time("heartbeatMax", heartbeatMax, "between two roots when nothing changes"),
	}
}
