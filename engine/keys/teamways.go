package keys

import "github.com/keystead/keystead/compat/kbsig"

// Prefixes of the ways into teams and out of them, and of implicit teams' names.
const (
	prefixImplicitName = "0i"
	prefixImplicitTeam = "0I"
	prefixInviteLead   = "0j"
	prefixOutsider     = "0q"
	prefixOutsiderTeam = "0w"
	prefixAcceptance   = "0a"
	prefixTeamDoor     = "0d"
	prefixChore        = "0J"
)

// ImplicitName is the key of the implicit teams that have or had a display name, by the
// digest of publicness and name.
func ImplicitName(name [32]byte) []byte { return cat2(prefixImplicitName, name[:]) }

// ImplicitTeam is the key of the display name of an implicit team.
func ImplicitTeam(t kbsig.TeamID) []byte { return cat2(prefixImplicitTeam, t[:]) }

// InviteLead is the key that leads from something that is known of an invite (its id,
// whom it is for, a token) to the invite.
func InviteLead(what [32]byte, t kbsig.TeamID, invite kbsig.InviteID) []byte {
	return cat2(prefixInviteLead, what[:], t[:], invite[:])
}

// InviteLeads is the prefix of all invites to which one thing leads.
func InviteLeads(what [32]byte) []byte { return cat2(prefixInviteLead, what[:]) }

// InviteLeadOf reads what leads, the team and the invite out of an InviteLead key.
func InviteLeadOf(k []byte) (what [32]byte, t kbsig.TeamID, invite kbsig.InviteID, ok bool) {
	if len(k) != 2+len(what)+len(t)+len(invite) || string(k[:2]) != prefixInviteLead {
		return what, t, invite, false
	}
	copy(what[:], k[2:])
	copy(t[:], k[2+len(what):])
	copy(invite[:], k[2+len(what)+len(t):])
	return what, t, invite, true
}

// Outsider is the key of how a user who is no member stands to a team.
func Outsider(t kbsig.TeamID, u kbsig.UID) []byte { return cat2(prefixOutsider, t[:], u[:]) }

// Outsiders is the prefix of all who are no members of a team and stand to it somehow.
func Outsiders(t kbsig.TeamID) []byte { return cat2(prefixOutsider, t[:]) }

// OutsiderOf reads team and user out of an Outsider key.
func OutsiderOf(k []byte) (t kbsig.TeamID, u kbsig.UID, ok bool) {
	if len(k) != 2+len(t)+len(u) || string(k[:2]) != prefixOutsider {
		return t, u, false
	}
	copy(t[:], k[2:])
	copy(u[:], k[2+len(t):])
	return t, u, true
}

// OutsiderTeam is the key that says that a user stands to a team, or has accepted an
// invite to it.
func OutsiderTeam(u kbsig.UID, t kbsig.TeamID) []byte { return cat2(prefixOutsiderTeam, u[:], t[:]) }

// OutsiderTeams is the prefix of all teams to which a user stands so.
func OutsiderTeams(u kbsig.UID) []byte { return cat2(prefixOutsiderTeam, u[:]) }

// OutsiderTeamOf reads user and team out of an OutsiderTeam key.
func OutsiderTeamOf(k []byte) (u kbsig.UID, t kbsig.TeamID, ok bool) {
	if len(k) != 2+len(u)+len(t) || string(k[:2]) != prefixOutsiderTeam {
		return u, t, false
	}
	copy(u[:], k[2:])
	copy(t[:], k[2+len(u):])
	return u, t, true
}

// Acceptance is the key of a user's acceptance of an invite.
func Acceptance(t kbsig.TeamID, u kbsig.UID, invite kbsig.InviteID) []byte {
	return cat2(prefixAcceptance, t[:], u[:], invite[:])
}

// Acceptances is the prefix of all acceptances of invites to a team.
func Acceptances(t kbsig.TeamID) []byte { return cat2(prefixAcceptance, t[:]) }

// AcceptancesBy is the prefix of a user's acceptances of invites to a team.
func AcceptancesBy(t kbsig.TeamID, u kbsig.UID) []byte { return cat2(prefixAcceptance, t[:], u[:]) }

// AcceptanceOf reads team, user and invite out of an Acceptance key.
func AcceptanceOf(k []byte) (t kbsig.TeamID, u kbsig.UID, invite kbsig.InviteID, ok bool) {
	if len(k) != 2+len(t)+len(u)+len(invite) || string(k[:2]) != prefixAcceptance {
		return t, u, invite, false
	}
	copy(t[:], k[2:])
	copy(u[:], k[2+len(t):])
	copy(invite[:], k[2+len(t)+len(u):])
	return t, u, invite, true
}

// TeamDoor is the key of how a team treats those who ask to be let in.
func TeamDoor(t kbsig.TeamID) []byte { return cat2(prefixTeamDoor, t[:]) }

// Chore is the key of something that some member of a team is asked to do; kind is one
// of the letters of merklehot/chores.
func Chore(t kbsig.TeamID, kind byte) []byte { return cat2(prefixChore, t[:], []byte{kind}) }

// Chores is the prefix of a team's chores.
func Chores(t kbsig.TeamID) []byte { return cat2(prefixChore, t[:]) }

// AllChores is the prefix of the chores of all teams.
func AllChores() []byte { return []byte(prefixChore) }

// ChoreOf reads team and kind out of a Chore key.
func ChoreOf(k []byte) (t kbsig.TeamID, kind byte, ok bool) {
	if len(k) != 2+len(t)+1 || string(k[:2]) != prefixChore {
		return t, 0, false
	}
	copy(t[:], k[2:])
	return t, k[2+len(t)], true
}
