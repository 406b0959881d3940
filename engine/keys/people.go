package keys

import (
	"encoding/binary"

	"github.com/keystead/keystead/compat/kbsig"
)

// The families of what people see of each other.
const (
	prefixPicture  = 'i'
	prefixHome     = 'u'
	prefixBlock    = 'B'
	prefixBotToken = 't'
	prefixSearch   = 'X'
	prefixWallet   = 'j'
)

// Picture is the key of one size, in pixels, of a picture. Its owner is a user, or a
// team under its 16 bytes.
func Picture(owner kbsig.UID, id [16]byte, size uint16) []byte {
	return cat(prefixPicture, owner[:], id[:], binary.BigEndian.AppendUint16(nil, size))
}

// PictureSizes is the prefix of all sizes of a picture.
func PictureSizes(owner kbsig.UID, id [16]byte) []byte { return cat(prefixPicture, owner[:], id[:]) }

// PictureOf reads owner, picture and size out of a Picture key.
func PictureOf(k []byte) (owner kbsig.UID, id [16]byte, size uint16, ok bool) {
	if len(k) != 1+16+16+2 || k[0] != prefixPicture {
		return owner, id, 0, false
	}
	copy(owner[:], k[1:])
	copy(id[:], k[17:])
	return owner, id, binary.BigEndian.Uint16(k[33:]), true
}

// Home is the key of what the server keeps of a user's home page.
func Home(u kbsig.UID) []byte { return cat(prefixHome, u[:]) }

// Block is the key of "a has blocked b, or once had".
func Block(a, b kbsig.UID) []byte { return cat(prefixBlock, a[:], b[:]) }

// Blocks is the prefix of a user's blocks.
func Blocks(a kbsig.UID) []byte { return cat(prefixBlock, a[:]) }

// BotToken is the key of a token to sign up bots with, named by its hash.
func BotToken(tokenHash [32]byte) []byte { return cat(prefixBotToken, tokenHash[:]) }

// Wallet is the key of a user's encrypted wallet.
func Wallet(u kbsig.UID) []byte { return cat(prefixWallet, u[:]) }

// searchEnd stands between a word and the user: no word holds it, so that the words
// that begin with another come together, the shortest first.
const searchEnd = 0

// Search is the key of the entry that leads from a word, under a service, to a user.
// Neither service nor word holds a zero byte.
func Search(service, word string, u kbsig.UID) []byte {
	return cat(prefixSearch, []byte(service), []byte{searchEnd}, []byte(word), []byte{searchEnd}, u[:])
}

// SearchExactly is the prefix of all users under one word.
func SearchExactly(service, word string) []byte {
	return cat(prefixSearch, []byte(service), []byte{searchEnd}, []byte(word), []byte{searchEnd})
}

// SearchFrom is the prefix of all words that begin with start.
func SearchFrom(service, start string) []byte {
	return cat(prefixSearch, []byte(service), []byte{searchEnd}, []byte(start))
}

// SearchOf reads service, word and user out of a Search key.
func SearchOf(k []byte) (service, word string, u kbsig.UID, ok bool) {
	if len(k) < 1+1+1+len(u) || k[0] != prefixSearch {
		return "", "", u, false
	}
	at := len(k) - len(u)
	copy(u[:], k[at:])
	text := k[1:at]
	var cuts []int
	for i, c := range text {
		if c == searchEnd {
			cuts = append(cuts, i)
		}
	}
	if len(cuts) != 2 || cuts[1] != len(text)-1 {
		return "", "", u, false
	}
	return string(text[:cuts[0]]), string(text[cuts[0]+1 : cuts[1]]), u, true
}
