package keys

import (
	"encoding/binary"

	"github.com/keystead/keystead/compat/kbsig"
)

// Prefixes of the hidden chains of teams and of the blind tree over them.
const (
	prefixHiddenLink  = "0h"
	prefixHiddenChain = "0H"
	prefixTeamRatchet = "0f"
	prefixBlindLeaf   = "0B"
	prefixBlindPage   = "0D"
	prefixBlindRoot   = "0R"
)

// HiddenLink is the key of one hidden link of a team.
func HiddenLink(t kbsig.TeamID, n kbsig.Seqno) []byte {
	return cat2(prefixHiddenLink, t[:], be64(uint64(n)))
}

// HiddenLinks is the prefix of a team's hidden links, oldest first.
func HiddenLinks(t kbsig.TeamID) []byte { return cat2(prefixHiddenLink, t[:]) }

// AllHiddenLinks is the prefix of the hidden links of all teams.
func AllHiddenLinks() []byte { return []byte(prefixHiddenLink) }

// HiddenLinkOf reads team and number out of a HiddenLink key.
func HiddenLinkOf(k []byte) (t kbsig.TeamID, n kbsig.Seqno, ok bool) {
	if len(k) != 26 || string(k[:2]) != prefixHiddenLink {
		return t, 0, false
	}
	return kbsig.TeamID(k[2:18]), kbsig.Seqno(binary.BigEndian.Uint64(k[18:])), true
}

// HiddenChain is the key of what a team's hidden chain means.
func HiddenChain(t kbsig.TeamID) []byte { return cat2(prefixHiddenChain, t[:]) }

// HiddenChains is the prefix of these, in the order of teams.
func HiddenChains() []byte { return []byte(prefixHiddenChain) }

// HiddenChainOf reads the team out of a HiddenChain key.
func HiddenChainOf(k []byte) (t kbsig.TeamID, ok bool) {
	if len(k) != 18 || string(k[:2]) != prefixHiddenChain {
		return t, false
	}
	return kbsig.TeamID(k[2:]), true
}

// TeamRatchet is the key of what explains a ratchet in a visible link of a team.
func TeamRatchet(t kbsig.TeamID, h kbsig.Ratchet) []byte {
	return cat2(prefixTeamRatchet, t[:], h[:])
}

// TeamRatchets is the prefix of a team's ratchets.
func TeamRatchets(t kbsig.TeamID) []byte { return cat2(prefixTeamRatchet, t[:]) }

// TeamRatchetOf reads team and ratchet out of a TeamRatchet key.
func TeamRatchetOf(k []byte) (t kbsig.TeamID, h kbsig.Ratchet, ok bool) {
	if len(k) != 50 || string(k[:2]) != prefixTeamRatchet {
		return t, h, false
	}
	return kbsig.TeamID(k[2:18]), kbsig.Ratchet(k[18:]), true
}

// BlindLeaf is the key of what the blind tree says about a team as of root n; of one
// team, newer versions come first.
func BlindLeaf(team [16]byte, n kbsig.Seqno) []byte {
	return cat2(prefixBlindLeaf, team[:], be64(^uint64(n)))
}

// BlindLeafVersions is the prefix of all that the blind tree ever said about a team,
// newest first.
func BlindLeafVersions(team [16]byte) []byte { return cat2(prefixBlindLeaf, team[:]) }

// BlindLeaves is the prefix of all values of the blind tree, in the order of teams.
func BlindLeaves() []byte { return []byte(prefixBlindLeaf) }

// BlindLeafOf reads team and root out of a BlindLeaf key.
func BlindLeafOf(k []byte) (team [16]byte, n kbsig.Seqno, ok bool) {
	if len(k) != 26 || string(k[:2]) != prefixBlindLeaf {
		return team, 0, false
	}
	return [16]byte(k[2:18]), kbsig.Seqno(^binary.BigEndian.Uint64(k[18:])), true
}

// BlindPage is the key of what changed at root n in the page of the blind tree whose
// prefix is the first depth hex digits of id; newer versions come first.
func BlindPage(depth int, id [16]byte, n kbsig.Seqno) []byte {
	return binary.BigEndian.AppendUint64(BlindPageVersions(depth, id), ^uint64(n))
}

// BlindPageVersions is the prefix of all records of a page, newest first.
func BlindPageVersions(depth int, id [16]byte) []byte {
	k := make([]byte, 0, 3+len(id)+8)
	k = append(append(k, prefixBlindPage...), byte(depth))
	k = append(k, id[:depth/2]...)
	if depth%2 == 1 {
		k = append(k, id[depth/2]&0xf0)
	}
	return k
}

// BlindPages is the prefix of all pages of the blind tree, top first.
func BlindPages() []byte { return []byte(prefixBlindPage) }

// BlindPageOf reads depth, prefix and root out of a BlindPage key. The prefix is filled
// up with zero bits.
func BlindPageOf(k []byte) (depth int, prefix [16]byte, n kbsig.Seqno, ok bool) {
	if len(k) < 11 || string(k[:2]) != prefixBlindPage || k[2] > 31 || len(k) != 11+(int(k[2])+1)/2 {
		return 0, prefix, 0, false
	}
	cut := len(k) - 8
	if k[2]%2 == 1 && k[cut-1]&0x0f != 0 {
		return 0, prefix, 0, false
	}
	copy(prefix[:], k[3:cut])
	return int(k[2]), prefix, kbsig.Seqno(^binary.BigEndian.Uint64(k[cut:])), true
}

// BlindRoot is the key of the version of the blind tree that begins with root n.
func BlindRoot(n kbsig.Seqno) []byte { return cat2(prefixBlindRoot, be64(uint64(n))) }

// BlindRoots is the prefix of all versions of the blind tree, oldest first.
func BlindRoots() []byte { return []byte(prefixBlindRoot) }

// BlindRootSeqno reads the root out of a BlindRoot key.
func BlindRootSeqno(k []byte) (n kbsig.Seqno, ok bool) {
	if len(k) != 10 || string(k[:2]) != prefixBlindRoot {
		return 0, false
	}
	return kbsig.Seqno(binary.BigEndian.Uint64(k[2:])), true
}
