package keys

import (
	"encoding/binary"

	"github.com/keystead/keystead/compat/kbsig"
)

// Prefixes of what belongs to teams beside their chains and keys.
const (
	prefixTeamEK      = "0e"
	prefixTeamEKBox   = "0E"
	prefixBotKey      = "0y"
	prefixPseudonym   = "0P"
	prefixEntry       = "0K"
	prefixShown       = "0S"
	prefixShownMember = "0z"
	prefixPublicTeam  = "0A"
	prefixTeamOfTLF   = "0Z"
)

// TeamEK is the key of one generation of a team's ephemeral key.
func TeamEK(t kbsig.TeamID, generation int64) []byte {
	return cat2(prefixTeamEK, t[:], be64(uint64(generation)))
}

// TeamEKs is the prefix of a team's ephemeral keys, oldest first.
func TeamEKs(t kbsig.TeamID) []byte { return cat2(prefixTeamEK, t[:]) }

// TeamEKBox is the key of a user's box of one of them.
func TeamEKBox(t kbsig.TeamID, generation int64, u kbsig.UID) []byte {
	return cat2(prefixTeamEKBox, t[:], be64(uint64(generation)), u[:])
}

// TeamEKBoxes is the prefix of all boxes of a generation.
func TeamEKBoxes(t kbsig.TeamID, generation int64) []byte {
	return cat2(prefixTeamEKBox, t[:], be64(uint64(generation)))
}

// BotKey is the key of one generation of a key that a team's members make for a
// restricted bot: of an application, or an ephemeral one.
func BotKey(t kbsig.TeamID, bot kbsig.UID, application byte, ephemeral bool, generation int64) []byte {
	return cat2(prefixBotKey, t[:], bot[:], []byte{application, flag(ephemeral)}, be64(uint64(generation)))
}

// BotKeys is the prefix of all generations of such a key.
func BotKeys(t kbsig.TeamID, bot kbsig.UID, application byte, ephemeral bool) []byte {
	return cat2(prefixBotKey, t[:], bot[:], []byte{application, flag(ephemeral)})
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// Pseudonym is the key of what a pseudonym of a key stands for.
func Pseudonym(p [32]byte) []byte { return cat2(prefixPseudonym, p[:]) }

// Entry is the key of an entry in a team's key-value store, named by namespace and name,
// neither of which holds a zero byte.
func Entry(t kbsig.TeamID, namespace, name string) []byte {
	return cat2(prefixEntry, t[:], []byte(namespace), []byte{entryEnd}, []byte(name))
}

const entryEnd = 0

// Entries is the prefix of all entries of a team, by namespace.
func Entries(t kbsig.TeamID) []byte { return cat2(prefixEntry, t[:]) }

// EntriesIn is the prefix of a namespace's entries.
func EntriesIn(t kbsig.TeamID, namespace string) []byte {
	return cat2(prefixEntry, t[:], []byte(namespace), []byte{entryEnd})
}

// EntryOf reads team, namespace and name out of an Entry key.
func EntryOf(k []byte) (t kbsig.TeamID, namespace, name string, ok bool) {
	if len(k) < 2+len(t)+1 || string(k[:2]) != prefixEntry {
		return t, "", "", false
	}
	copy(t[:], k[2:])
	rest := k[2+len(t):]
	for i, b := range rest {
		if b == entryEnd {
			return t, string(rest[:i]), string(rest[i+1:]), true
		}
	}
	return t, "", "", false
}

// Shown is the key of what a team shows of itself.
func Shown(t kbsig.TeamID) []byte { return cat2(prefixShown, t[:]) }

// ShownMember is the key of "this user shows being in this team".
func ShownMember(u kbsig.UID, t kbsig.TeamID) []byte { return cat2(prefixShownMember, u[:], t[:]) }

// ShownMembers is the prefix of the teams that a user shows.
func ShownMembers(u kbsig.UID) []byte { return cat2(prefixShownMember, u[:]) }

// PublicTeam is the key of a team that everybody may find by searching.
func PublicTeam(t kbsig.TeamID) []byte { return cat2(prefixPublicTeam, t[:]) }

// PublicTeams is the prefix of all of them.
func PublicTeams() []byte { return []byte(prefixPublicTeam) }

// PublicTeamOf reads the team out of a PublicTeam key.
func PublicTeamOf(k []byte) (t kbsig.TeamID, ok bool) {
	if len(k) != 2+len(t) || string(k[:2]) != prefixPublicTeam {
		return t, false
	}
	copy(t[:], k[2:])
	return t, true
}

// BotKeyOf reads the generation out of a BotKey key.
func BotKeyOf(k []byte) (generation int64, ok bool) {
	const at = 2 + 16 + 16 + 2
	if len(k) != at+8 || string(k[:2]) != prefixBotKey {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(k[at:])), true
}

// TeamOfTLF is the key of the team that a folder belongs to.
func TeamOfTLF(tlf string) []byte { return cat2(prefixTeamOfTLF, []byte(tlf)) }
