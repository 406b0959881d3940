package keys

import "github.com/keystead/keystead/compat/kbsig"

const (
	// prefixUserSession is the family of the index of a user's password sessions.
	prefixUserSession = 'Y'
	// prefixLockdown is the family of lockdown modes.
	prefixLockdown = 'K'
)

// UserSession is the key of the index entry of a user's password session.
func UserSession(u kbsig.UID, tokenHash [32]byte) []byte {
	return cat(prefixUserSession, u[:], tokenHash[:])
}

// UserSessions is the prefix of the index entries of a user's password sessions.
func UserSessions(u kbsig.UID) []byte { return cat(prefixUserSession, u[:]) }

// UserSessionOf reads the hash of the token out of a UserSession key.
func UserSessionOf(k []byte) (tokenHash [32]byte, ok bool) {
	if len(k) != 1+16+len(tokenHash) || k[0] != prefixUserSession {
		return tokenHash, false
	}
	copy(tokenHash[:], k[17:])
	return tokenHash, true
}

// SessionOf reads the hash of the token out of a Session key.
func SessionOf(k []byte) (tokenHash [32]byte, ok bool) {
	if len(k) != 1+len(tokenHash) || k[0] != prefixSession {
		return tokenHash, false
	}
	copy(tokenHash[:], k[1:])
	return tokenHash, true
}

// Lockdown is the key of a user's lockdown mode and its history.
func Lockdown(u kbsig.UID) []byte { return cat(prefixLockdown, u[:]) }
