package keys

import "github.com/keystead/keystead/compat/kbsig"

// prefixPGP is the family of fingerprints of PGP keys.
const prefixPGP = 'P'

// PGPFinger is the key of "the PGP key k that u has added, or a subkey of it, has this
// fingerprint", given backwards: people look keys up by the end of it. Several users may
// have added the same key.
func PGPFinger(backwards [20]byte, k kbsig.KID, u kbsig.UID) []byte {
	return cat(prefixPGP, backwards[:], k[:], u[:])
}

// PGPFingers is the prefix of fingerprints that end in these bytes, given backwards.
func PGPFingers(backwards []byte) []byte { return cat(prefixPGP, backwards) }

// PGPFingerOf reads the parts out of a PGPFinger key.
func PGPFingerOf(k []byte) (backwards [20]byte, kid kbsig.KID, u kbsig.UID, ok bool) {
	if len(k) != 1+len(backwards)+len(kid)+len(u) || k[0] != prefixPGP {
		return backwards, kid, u, false
	}
	rest := k[1:]
	rest = rest[copy(backwards[:], rest):]
	rest = rest[copy(kid[:], rest):]
	copy(u[:], rest)
	return backwards, kid, u, true
}
