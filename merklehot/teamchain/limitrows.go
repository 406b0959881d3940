package teamchain

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("seqnosMax", seqnosMax, "links", "in one team's chain"),
		limits.Count("namesMax", namesMax, "names", "that one team ever had"),
		limits.Count("depthMax", depthMax, "levels", "of subteams below a root team"),
		limits.Count("membersMax", membersMax, "members", "named in one link"),
		limits.Count("invitesMax", invitesMax, "invitations", "named in one link"),
		limits.Bytes("inviteNameMax", inviteNameMax, "of whom an invitation is for"),
		limits.Count("botsMax", botsMax, "bots", "set up by one link"),
		limits.Count("botListMax", botListMax, "triggers or conversations", "of one bot"),
		limits.Bytes("botTextMax", botTextMax, "of each of them"),
		limits.Count("ratchetsMax", ratchetsMax, "ratchets", "in one link"),
		limits.Bytes("packetBytesMax", packetBytesMax, "of a signature packet"),
		limits.Count("seqnoMax", seqnoMax, "seqnos", "of chains and roots that a link names"),
		limits.Count("expireInMax", expireInMax, "seconds", "of a link's own life"),
	}
}
