package keys

import (
	"crypto/sha256"

	"github.com/keystead/keystead/compat/kbsig"
)

// Prefix bytes of what is proven about other services.
const (
	prefixProof      = 'w'
	prefixProofOwner = 'O'
	prefixKit        = 'U'
	prefixPost       = '7'
)

// ServiceName is the digest under which a name at a service is found.
func ServiceName(service, name string) [32]byte {
	return sha256.Sum256([]byte(service + "\x00" + name))
}

// Proof is the key of what the server knows of one remote proof of a user.
func Proof(u kbsig.UID, sig kbsig.SigIDBase) []byte { return cat(prefixProof, u[:], sig[:]) }

// Proofs is the prefix of all remote proofs of a user.
func Proofs(u kbsig.UID) []byte { return cat(prefixProof, u[:]) }

// ProofOwner is the key that says that a user has proven a name at a service.
func ProofOwner(name [32]byte, u kbsig.UID) []byte { return cat(prefixProofOwner, name[:], u[:]) }

// ProofOwners is the prefix of all users who have proven a name at a service.
func ProofOwners(name [32]byte) []byte { return cat(prefixProofOwner, name[:]) }

// ProofOwnerOf reads the name's digest and the user out of a ProofOwner key.
func ProofOwnerOf(k []byte) (name [32]byte, u kbsig.UID, ok bool) {
	if len(k) != 1+len(name)+len(u) || k[0] != prefixProofOwner {
		return name, u, false
	}
	copy(name[:], k[1:])
	copy(u[:], k[1+len(name):])
	return name, u, true
}

// Kit is the key of a document that roots name, by the first half of its SHA-512.
func Kit(half [32]byte) []byte { return cat(prefixKit, half[:]) }

// Post is the key of a post of a user in a network that exists only in tests.
func Post(name [32]byte, id [16]byte) []byte { return cat(prefixPost, name[:], id[:]) }

// Posts is the prefix of all posts of a user in such a network.
func Posts(name [32]byte) []byte { return cat(prefixPost, name[:]) }

// PostOf reads the digest of network and name, and the id, out of a Post key.
func PostOf(k []byte) (name [32]byte, id [16]byte, ok bool) {
	if len(k) != 1+len(name)+len(id) || k[0] != prefixPost {
		return name, id, false
	}
	copy(name[:], k[1:])
	copy(id[:], k[1+len(name):])
	return name, id, true
}
