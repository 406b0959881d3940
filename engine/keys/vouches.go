package keys

import "github.com/keystead/keystead/compat/kbsig"

const prefixVouch = 'Z'

// VouchSide tells the two entries of one vouch apart.
type VouchSide byte

// Sides of a vouch.
const (
	VouchFor VouchSide = 'f' // for the user by the other; the vouch
	VouchBy  VouchSide = 'y' // by the user for the other; an index
)

// Vouch is the key of a vouch between two users, on one side.
func Vouch(u kbsig.UID, side VouchSide, other kbsig.UID) []byte {
	return cat(prefixVouch, u[:], []byte{byte(side)}, other[:])
}

// Vouches is the prefix of a user's vouches on one side.
func Vouches(u kbsig.UID, side VouchSide) []byte { return cat(prefixVouch, u[:], []byte{byte(side)}) }

// VouchOf reads the users and the side out of a Vouch key.
func VouchOf(k []byte) (u kbsig.UID, side VouchSide, other kbsig.UID, ok bool) {
	if len(k) != 1+len(u)+1+len(other) || k[0] != prefixVouch {
		return u, 0, other, false
	}
	copy(u[:], k[1:])
	side = VouchSide(k[1+len(u)])
	copy(other[:], k[2+len(u):])
	return u, side, other, side == VouchFor || side == VouchBy
}
