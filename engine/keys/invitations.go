package keys

// prefixInvitation is the family of invitations to sign up.
const prefixInvitation = 'I'

// Invitation is the key of an invitation, named by the hash of its code.
func Invitation(codeHash [32]byte) []byte { return cat(prefixInvitation, codeHash[:]) }

// Invitations is the prefix of all invitations.
func Invitations() []byte { return []byte{prefixInvitation} }

// InvitationsFrom is the prefix of the invitations whose hash begins with start.
func InvitationsFrom(start []byte) []byte { return cat(prefixInvitation, start) }

// InvitationOf reads the hash of the code out of an Invitation key.
func InvitationOf(k []byte) (codeHash [32]byte, ok bool) {
	if len(k) != 1+len(codeHash) || k[0] != prefixInvitation {
		return codeHash, false
	}
	copy(codeHash[:], k[1:])
	return codeHash, true
}
