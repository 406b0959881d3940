package keys

import (
	"encoding/binary"

	"github.com/keystead/keystead/compat/kbsig"
)

// The families of in-band messages kept for a user: the messages, what they are in
// all, and in which order they end or make room.
const (
	prefixGregor      = 'q'
	prefixGregorSum   = '\x05'
	prefixGregorPlace = '\x06'
)

// gregorMsgIDMax bounds a message id, in bytes; clients make 16.
const gregorMsgIDMax = 64

// Gregor is the key of one in-band message of a user. The message id is the last
// part, so it needs no length; it has 1 to 64 bytes.
func Gregor(u kbsig.UID, msgID []byte) []byte { return cat(prefixGregor, u[:], msgID) }

// Gregors is the prefix of all in-band messages of a user.
func Gregors(u kbsig.UID) []byte { return cat(prefixGregor, u[:]) }

// GregorOf reads user and message id out of a Gregor key. The id aliases k.
func GregorOf(k []byte) (u kbsig.UID, msgID []byte, ok bool) {
	n := len(k) - 1 - len(u)
	if n < 1 || n > gregorMsgIDMax || k[0] != prefixGregor {
		return u, nil, false
	}
	copy(u[:], k[1:])
	return u, k[1+len(u):], true
}

// GregorSum is the key of what a user's in-band messages are in all.
func GregorSum(u kbsig.UID) []byte { return cat(prefixGregorSum, u[:]) }

// GregorPlace is the key of a message's place in one of the orders that a user's
// in-band messages are kept in: by group, then by ctime, which no two messages of a user
// share and which is not negative. What orders and groups there are is the owner's.
func GregorPlace(u kbsig.UID, order byte, group [8]byte, ctime int64) []byte {
	return cat(prefixGregorPlace, u[:], []byte{order}, group[:], be64(uint64(ctime)))
}

// GregorOrder is the prefix of all places in one order.
func GregorOrder(u kbsig.UID, order byte) []byte { return cat(prefixGregorPlace, u[:], []byte{order}) }

// GregorGroup is the prefix of the places of one group in an order.
func GregorGroup(u kbsig.UID, order byte, group [8]byte) []byte {
	return cat(prefixGregorPlace, u[:], []byte{order}, group[:])
}

// GregorPlaces is the prefix of all places of a user's messages.
func GregorPlaces(u kbsig.UID) []byte { return cat(prefixGregorPlace, u[:]) }

// GregorPlaceOf reads a GregorPlace key.
func GregorPlaceOf(k []byte) (u kbsig.UID, order byte, group [8]byte, ctime int64, ok bool) {
	if len(k) != 1+len(u)+1+len(group)+8 || k[0] != prefixGregorPlace {
		return u, 0, group, 0, false
	}
	k = k[1+copy(u[:], k[1:]):]
	copy(group[:], k[1:])
	return u, k[0], group, int64(binary.BigEndian.Uint64(k[1+len(group):])), true
}
