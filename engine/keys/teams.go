package keys

import (
	"encoding/binary"

	"github.com/keystead/keystead/compat/kbsig"
)

// Prefixes of teams, but for hidden chains, ways in and out and what is only read.
const (
	prefixTeamLink    = "0c"
	prefixTeamChain   = "0s"
	prefixTeamRow     = "0m"
	prefixSubteam     = "0n"
	prefixMembership  = "0t"
	prefixTeamBox     = "0b"
	prefixTeamPrev    = "0v"
	prefixTeamMasks   = "0k"
	prefixRoleMap     = "0r"
	prefixTeamLease   = "0l"
	prefixTeamTLFKeys = "0u"
	prefixTeamFacts   = "0g"
)

// TeamLink is the key of one visible link of a team.
func TeamLink(t kbsig.TeamID, n kbsig.Seqno) []byte {
	return cat2(prefixTeamLink, t[:], be64(uint64(n)))
}

// TeamLinks is the prefix of a team's visible links, oldest first.
func TeamLinks(t kbsig.TeamID) []byte { return cat2(prefixTeamLink, t[:]) }

// TeamLinkOf reads team and number out of a TeamLink key.
func TeamLinkOf(k []byte) (t kbsig.TeamID, n kbsig.Seqno, ok bool) {
	if len(k) != 2+len(t)+8 || string(k[:2]) != prefixTeamLink {
		return t, 0, false
	}
	copy(t[:], k[2:])
	return t, kbsig.Seqno(binary.BigEndian.Uint64(k[2+len(t):])), true
}

// TeamChain is the key of the head of what a team's visible chain means.
func TeamChain(t kbsig.TeamID) []byte { return cat2(prefixTeamChain, t[:]) }

// TeamChains is the prefix of all these heads, in the order of the ids.
func TeamChains() []byte { return []byte(prefixTeamChain) }

// TeamChainOf reads the team out of a TeamChain key.
func TeamChainOf(k []byte) (t kbsig.TeamID, ok bool) {
	if len(k) != 2+len(t) || string(k[:2]) != prefixTeamChain {
		return t, false
	}
	copy(t[:], k[2:])
	return t, true
}

// TeamRow is the key of one row of what a team's visible chain means; the name of a
// row is the business of merklehot/teamchain.
func TeamRow(t kbsig.TeamID, row []byte) []byte { return cat2(prefixTeamRow, t[:], row) }

// TeamRows is the prefix of the rows whose names begin so.
func TeamRows(t kbsig.TeamID, row []byte) []byte { return cat2(prefixTeamRow, t[:], row) }

// TeamRowOf reads team and name out of a TeamRow key; the name is a part of k.
func TeamRowOf(k []byte) (t kbsig.TeamID, row []byte, ok bool) {
	if len(k) <= 2+len(t) || string(k[:2]) != prefixTeamRow {
		return t, nil, false
	}
	copy(t[:], k[2:])
	return t, k[2+len(t):], true
}

// Subteam is the key by which a team's subteam is found: the last part of its name in
// lower case.
func Subteam(parent kbsig.TeamID, part string) []byte {
	return cat2(prefixSubteam, parent[:], []byte(part))
}

// Subteams is the prefix of a team's subteams, in the order of their names.
func Subteams(parent kbsig.TeamID) []byte { return cat2(prefixSubteam, parent[:]) }

// SubteamOf reads parent and name out of a Subteam key.
func SubteamOf(k []byte) (parent kbsig.TeamID, part string, ok bool) {
	if len(k) <= 2+len(parent) || string(k[:2]) != prefixSubteam {
		return parent, "", false
	}
	copy(parent[:], k[2:])
	return parent, string(k[2+len(parent):]), true
}

// Membership is the key of what a user is in a team.
func Membership(u kbsig.UID, t kbsig.TeamID) []byte { return cat2(prefixMembership, u[:], t[:]) }

// Memberships is the prefix of what a user is in all teams.
func Memberships(u kbsig.UID) []byte { return cat2(prefixMembership, u[:]) }

// MembershipOf reads user and team out of a Membership key.
func MembershipOf(k []byte) (u kbsig.UID, t kbsig.TeamID, ok bool) {
	if len(k) != 2+len(u)+len(t) || string(k[:2]) != prefixMembership {
		return u, t, false
	}
	copy(u[:], k[2:])
	copy(t[:], k[2+len(u):])
	return u, t, true
}

// TeamBox is the key of the newest box that a user has of a team's key.
func TeamBox(t kbsig.TeamID, u kbsig.UID) []byte { return cat2(prefixTeamBox, t[:], u[:]) }

// TeamBoxes is the prefix of the newest boxes of a team's members.
func TeamBoxes(t kbsig.TeamID) []byte { return cat2(prefixTeamBox, t[:]) }

// TeamPrev is the key of the seed before a generation of a team's key, sealed under
// that generation.
func TeamPrev(t kbsig.TeamID, generation int64) []byte {
	return cat2(prefixTeamPrev, t[:], be64(uint64(generation)))
}

// TeamPrevs is the prefix of a team's sealed seeds, oldest first.
func TeamPrevs(t kbsig.TeamID) []byte { return cat2(prefixTeamPrev, t[:]) }

// TeamMasks is the key of the masks of one generation of a team's key, for all
// applications.
func TeamMasks(t kbsig.TeamID, generation int64) []byte {
	return cat2(prefixTeamMasks, t[:], be64(uint64(generation)))
}

// AllTeamMasks is the prefix of a team's masks, oldest first.
func AllTeamMasks(t kbsig.TeamID) []byte { return cat2(prefixTeamMasks, t[:]) }

// TeamPrevOf reads the generation out of a TeamPrev key.
func TeamPrevOf(k []byte) (generation int64, ok bool) { return generationOf(k, prefixTeamPrev) }

// TeamMasksOf reads the generation out of a TeamMasks key.
func TeamMasksOf(k []byte) (generation int64, ok bool) { return generationOf(k, prefixTeamMasks) }

func generationOf(k []byte, prefix string) (generation int64, ok bool) {
	const at = 2 + len(kbsig.TeamID{})
	if len(k) != at+8 || string(k[:2]) != prefix {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(k[at:])), true
}

// RoleMap is the key of the version of a user's map of roles.
func RoleMap(u kbsig.UID) []byte { return cat2(prefixRoleMap, u[:]) }

// TeamLease is the key of the lease over a member of a team.
func TeamLease(u kbsig.UID, t kbsig.TeamID) []byte { return cat2(prefixTeamLease, u[:], t[:]) }

// TeamLeases is the prefix of the leases over a user, in all teams.
func TeamLeases(u kbsig.UID) []byte { return cat2(prefixTeamLease, u[:]) }

// TeamTLFKeys is the key of the old keys of a folder that a link of a team adopts.
func TeamTLFKeys(t kbsig.TeamID, n kbsig.Seqno) []byte {
	return cat2(prefixTeamTLFKeys, t[:], be64(uint64(n)))
}

// AllTeamTLFKeys is the prefix of all adopted keys of a team, oldest first.
func AllTeamTLFKeys(t kbsig.TeamID) []byte { return cat2(prefixTeamTLFKeys, t[:]) }

// TeamFacts is the key of what the server knows of a team beside its chains.
func TeamFacts(t kbsig.TeamID) []byte { return cat2(prefixTeamFacts, t[:]) }
