package keys

import (
	"encoding/binary"

	"github.com/keystead/keystead/compat/kbsig"
)

// prefixReset is the family of reset chains.
const prefixReset = 'R'

// Reset is the key of an entry of a user's reset chain.
func Reset(u kbsig.UID, n kbsig.Seqno) []byte { return cat(prefixReset, u[:], be64(uint64(n))) }

// Resets is the prefix of a user's reset chain, in order.
func Resets(u kbsig.UID) []byte { return cat(prefixReset, u[:]) }

// ResetOf reads user and number out of a Reset key.
func ResetOf(k []byte) (u kbsig.UID, n kbsig.Seqno, ok bool) {
	if len(k) != 1+len(u)+8 || k[0] != prefixReset {
		return u, 0, false
	}
	copy(u[:], k[1:])
	return u, kbsig.Seqno(binary.BigEndian.Uint64(k[1+len(u):])), true
}

// ActiveDevices is the prefix of a user's active devices.
func ActiveDevices(u kbsig.UID) []byte { return cat(prefixActiveDevice, u[:]) }

// PUKBoxesOf is the prefix of all per-user-key boxes of a user.
func PUKBoxesOf(u kbsig.UID) []byte { return cat(prefixPUKBox, u[:]) }

// PUKPrevs is the prefix of the ciphertexts of a user's earlier per-user keys.
func PUKPrevs(u kbsig.UID) []byte { return cat(prefixPUKPrev, u[:]) }

// UserEKBoxesOf is the prefix of all boxes of a user's ephemeral keys.
func UserEKBoxesOf(u kbsig.UID) []byte { return cat(prefixUserEKBox, u[:]) }

// prefixAutoreset is the family of resets that wait.
const prefixAutoreset = 'W'

// Autoreset is the key of the reset that a user has asked for and that waits.
func Autoreset(u kbsig.UID) []byte { return cat(prefixAutoreset, u[:]) }

// Autoresets is the prefix of all resets that wait.
func Autoresets() []byte { return []byte{prefixAutoreset} }
