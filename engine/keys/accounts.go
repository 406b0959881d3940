package keys

import (
	"encoding/binary"

	"github.com/keystead/keystead/compat/kbsig"
)

// Prefix bytes, one per record family; the package comment is their map.
const (
	prefixMeta         = 'M'
	prefixAccount      = 'A'
	prefixName         = 'N'
	prefixDevice       = 'D'
	prefixSession      = 'S'
	prefixNIST         = 'T'
	prefixLink         = 'c'
	prefixChain        = 's'
	prefixKID          = 'k'
	prefixSigID        = 'g'
	prefixFollow       = 'f'
	prefixFollower     = 'F'
	prefixPUKBox       = 'b'
	prefixPUKPrev      = 'p'
	prefixDeviceEK     = 'x'
	prefixUserEK       = 'y'
	prefixUserEKBox    = 'z'
	prefixPrivateKey   = 'v'
	prefixLease        = 'L'
	prefixActiveDevice = 'd'
	prefixFavorite     = 'a'
	prefixMail         = 'E'
)

func cat(prefix byte, parts ...[]byte) []byte { return catParts([]byte{prefix}, parts) }

// roomTeams is the first byte of all families of the rooms of teams; the second is the
// family's own.
const roomTeams = '0'

// cat2 makes a key of a family whose prefix is two bytes.
func cat2(prefix string, parts ...[]byte) []byte { return catParts([]byte(prefix), parts) }

func catParts(prefix []byte, parts [][]byte) []byte {
	n := len(prefix)
	for _, p := range parts {
		n += len(p)
	}
	k := append(make([]byte, 0, n), prefix...)
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

func be64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// End is the smallest key after all keys that start with prefix; nil means that
// there is none.
func End(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// Meta is the key of a named fact about the store itself.
func Meta(name string) []byte { return cat(prefixMeta, []byte(name)) }

// Account is the key of a user's account record.
func Account(u kbsig.UID) []byte { return cat(prefixAccount, u[:]) }

// Accounts is the prefix of all account records, in uid order.
func Accounts() []byte { return []byte{prefixAccount} }

// AccountUID reads the user out of an Account key.
func AccountUID(k []byte) (u kbsig.UID, ok bool) {
	if len(k) != 1+len(u) || k[0] != prefixAccount {
		return u, false
	}
	copy(u[:], k[1:])
	return u, true
}

// Name is the key of a taken user name; names are never freed.
func Name(n kbsig.Username) []byte { return cat(prefixName, []byte(n)) }

// Device is the key of what the server holds of a device apart from its chain.
func Device(u kbsig.UID, d kbsig.DeviceID) []byte { return cat(prefixDevice, u[:], d[:]) }

// Devices is the prefix of all device records of a user.
func Devices(u kbsig.UID) []byte { return cat(prefixDevice, u[:]) }

// DeviceOf reads the device out of a Device key.
func DeviceOf(k []byte) (d kbsig.DeviceID, ok bool) {
	if len(k) != 1+16+len(d) || k[0] != prefixDevice {
		return d, false
	}
	copy(d[:], k[17:])
	return d, true
}

// ActiveDevice is the key of an active device's signing KID.
func ActiveDevice(u kbsig.UID, d kbsig.DeviceID) []byte { return cat(prefixActiveDevice, u[:], d[:]) }

// Session is the key of a password session, named by the hash of its token.
func Session(tokenHash [32]byte) []byte { return cat(prefixSession, tokenHash[:]) }

// NIST is the key of an accepted NIST, named by its short hash.
func NIST(h [19]byte) []byte { return cat(prefixNIST, h[:]) }

// NISTs is the prefix of all accepted NISTs.
func NISTs() []byte { return []byte{prefixNIST} }

// Sessions is the prefix of all password sessions.
func Sessions() []byte { return []byte{prefixSession} }

// Link is the key of a chain link.
func Link(u kbsig.UID, n kbsig.Seqno) []byte { return cat(prefixLink, u[:], be64(uint64(n))) }

// Links is the prefix of a user's chain, in order.
func Links(u kbsig.UID) []byte { return cat(prefixLink, u[:]) }

// AllLinks is the prefix of every chain.
func AllLinks() []byte { return []byte{prefixLink} }

// LinkOf reads user and seqno out of a Link key.
func LinkOf(k []byte) (u kbsig.UID, n kbsig.Seqno, ok bool) {
	if len(k) != 1+len(u)+8 || k[0] != prefixLink {
		return u, 0, false
	}
	copy(u[:], k[1:])
	return u, kbsig.Seqno(binary.BigEndian.Uint64(k[1+len(u):])), true
}

// Chain is the key of a user's chain state.
func Chain(u kbsig.UID) []byte { return cat(prefixChain, u[:]) }

// KIDOwner is the key of the record that says whose a key is; a KID has one owner for ever.
func KIDOwner(k kbsig.KID) []byte { return cat(prefixKID, k[:]) }

// SigID is the key of the place of a signature: user and seqno.
func SigID(b kbsig.SigIDBase) []byte { return cat(prefixSigID, b[:]) }

// Follow is the key of "a follows b".
func Follow(a, b kbsig.UID) []byte { return cat(prefixFollow, a[:], b[:]) }

// Follows is the prefix of all whom a follows.
func Follows(a kbsig.UID) []byte { return cat(prefixFollow, a[:]) }

// Follower is the key of "b is followed by a".
func Follower(b, a kbsig.UID) []byte { return cat(prefixFollower, b[:], a[:]) }

// Followers is the prefix of all who follow b.
func Followers(b kbsig.UID) []byte { return cat(prefixFollower, b[:]) }

// OtherUser reads the second user out of a Follow or Follower key.
func OtherUser(k []byte) (u kbsig.UID, ok bool) {
	if len(k) != 33 || (k[0] != prefixFollow && k[0] != prefixFollower) {
		return u, false
	}
	copy(u[:], k[17:])
	return u, true
}

// PUKBox is the key of a per-user-key box for one device key.
func PUKBox(u kbsig.UID, generation int, receiver kbsig.KID) []byte {
	return cat(prefixPUKBox, u[:], be64(uint64(generation)), receiver[:])
}

// PUKBoxes is the prefix of the boxes of one generation.
func PUKBoxes(u kbsig.UID, generation int) []byte {
	return cat(prefixPUKBox, u[:], be64(uint64(generation)))
}

// PUKPrev is the key of the ciphertext of generation-1 under generation.
func PUKPrev(u kbsig.UID, generation int) []byte {
	return cat(prefixPUKPrev, u[:], be64(uint64(generation)))
}

// DeviceEK is the key of a device's newest ephemeral key statement.
func DeviceEK(u kbsig.UID, d kbsig.DeviceID) []byte { return cat(prefixDeviceEK, u[:], d[:]) }

// DeviceEKs is the prefix of a user's device ephemeral keys.
func DeviceEKs(u kbsig.UID) []byte { return cat(prefixDeviceEK, u[:]) }

// UserEK is the key of a user ephemeral key statement.
func UserEK(u kbsig.UID, generation int) []byte {
	return cat(prefixUserEK, u[:], be64(uint64(generation)))
}

// UserEKs is the prefix of a user's ephemeral keys, oldest first.
func UserEKs(u kbsig.UID) []byte { return cat(prefixUserEK, u[:]) }

// UserEKBox is the key of a user ephemeral key's box for one device.
func UserEKBox(u kbsig.UID, generation int, d kbsig.DeviceID) []byte {
	return cat(prefixUserEKBox, u[:], be64(uint64(generation)), d[:])
}

// UserEKBoxes is the prefix of the boxes of one generation.
func UserEKBoxes(u kbsig.UID, generation int) []byte {
	return cat(prefixUserEKBox, u[:], be64(uint64(generation)))
}

// Lease is the key of a downgrade lease.
func Lease(u kbsig.UID, id [16]byte) []byte { return cat(prefixLease, u[:], id[:]) }

// Leases is the prefix of a user's downgrade leases.
func Leases(u kbsig.UID) []byte { return cat(prefixLease, u[:]) }

// PrivateKey is the key of a synced secret key's bundle.
func PrivateKey(u kbsig.UID, k kbsig.KID) []byte { return cat(prefixPrivateKey, u[:], k[:]) }

// PrivateKeys is the prefix of a user's synced secret keys.
func PrivateKeys(u kbsig.UID) []byte { return cat(prefixPrivateKey, u[:]) }

// Favorite is the key of a folder in a user's favourites.
func Favorite(u kbsig.UID, folderType byte, name string) []byte {
	return cat(prefixFavorite, u[:], []byte{folderType}, []byte(name))
}

// Favorites is the prefix of a user's favourites.
func Favorites(u kbsig.UID) []byte { return cat(prefixFavorite, u[:]) }

// FavoriteOf reads folder type and name out of a Favorite key.
func FavoriteOf(k []byte) (folderType byte, name string, ok bool) {
	if len(k) < 19 || k[0] != prefixFavorite {
		return 0, "", false
	}
	return k[17], string(k[18:]), true
}

// Mail is the key of a mail address, in its comparable form, or of a telephone number,
// that leads anybody who asks to its user.
func Mail(normal string) []byte { return cat(prefixMail, []byte(normal)) }
