package keys

import "github.com/keystead/keystead/compat/kbsig"

// prefixGregor is the family of in-band messages kept for a user.
const prefixGregor = 'q'

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
