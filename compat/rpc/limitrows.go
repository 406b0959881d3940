package rpc

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	d := DefaultLimits()
	return []limits.Row{
		limits.Count("Conns", d.Conns, "connections", "open at once; beyond them the one that has been silent longest makes room"),
		limits.Count("ConnsPerAddress", d.ConnsPerAddress, "connections", "open at once of one address (IPv4 address, IPv6 /64); more are closed at once"),
		limits.Count("ConnsUnauthenticated", d.ConnsUnauthenticated, "connections", "that have not said who they are; beyond them the one silent longest makes room"),
		limits.Count("ConnsUnauthenticatedPerAddress", d.ConnsUnauthenticatedPerAddress, "connections", "of one address that have not said who they are; more are closed at once"),
		limits.Count("CallsPerConn", d.CallsPerConn, "calls", "running at once on one connection, pings not counted"),
		limits.Count("callsBeforeAuthMax", callsBeforeAuthMax, "calls", "running at once on a connection that has not said who it is"),
		limits.Count("authFailsMax", authFailsMax, "tokens", "that are not good, on one connection"),
		limits.Time("AuthWithin", d.AuthWithin, "for a connection to say who it is, TLS included"),
		limits.Time("IdleAfter", d.IdleAfter, "without a byte from a connection"),
		limits.Time("FrameWithin", d.FrameWithin, "from a frame's first byte to its last"),
		limits.Time("WriteWithin", d.WriteWithin, "to hand 256 KiB to the network"),
		limits.Time("CallWithin", d.CallWithin, "for a call to run"),
		limits.Time("Farewell", d.Farewell, "that a device whose session has ended stays connected, to hear of it"),
		limits.Bytes("FrameBeforeAuth", d.FrameBeforeAuth, "of a frame of a connection that has not said who it is"),
		limits.Bytes("FrameAfterAuth", d.FrameAfterAuth, "of a frame"),
		limits.Bytes("AnswerBytes", d.AnswerBytes, "of an answer before compression"),
		limits.Bytes("QueueBytes", d.QueueBytes, "that wait to be written to one connection; a slower reader is dropped"),
		limits.Bytes("QueueBytesBeforeAuth", d.QueueBytesBeforeAuth, "that wait to be written to a connection that has not said who it is"),
		limits.Bytes("BufferedBytes", d.BufferedBytes, "of frames being read, running or waiting, over all connections"),
		limits.Bytes("methodBytesMax", methodBytesMax, "of a method's name"),
		limits.Bytes("tokenBytesMax", tokenBytesMax, "of a session token"),
		limits.Count("depthMax", depthMax, "levels", "of nesting in an argument"),
		limits.Count("depthAnswerMax", depthAnswerMax, "levels", "of nesting in an answer that is compressed"),
		limits.Count("inflateRatio", inflateRatio, "times", "its compressed size that an argument may have beyond 64 KiB, and never more than its class"),
		limits.Bytes("classSmall", classSmall.bytes, "of a small argument after decompression"),
		limits.Count("classSmall", classSmall.values, "values", "in a small argument"),
		limits.Bytes("classMedium", classMedium.bytes, "of a middle-sized argument after decompression"),
		limits.Count("classMedium", classMedium.values, "values", "in a middle-sized argument"),
		limits.Bytes("classLarge", classLarge.bytes, "of a large argument after decompression"),
		limits.Count("classLarge", classLarge.values, "values", "in a large argument"),
		limits.Bytes("storedBytesMax", storedBytesMax, "of an answer that is not compressed"),
		limits.Count("describedUsersMax", describedUsersMax, "users", "in one question for who is connected"),
	}
}
