package keys

import "github.com/keystead/keystead/compat/kbsig"

// Families of the ways to reach people.
const (
	prefixContact    = 'C'
	prefixMailClaims = 'm'
	prefixPhoneOwner = 'n'
)

// Contact is the key of the ways to reach a user.
func Contact(u kbsig.UID) []byte { return cat(prefixContact, u[:]) }

// MailClaims is the key of who names a mail address as theirs, by the hash of its
// comparable form.
func MailClaims(normalHash [32]byte) []byte { return cat(prefixMailClaims, normalHash[:]) }

// PhoneOwner is the key of who has verified a telephone number, in the form of E.164.
func PhoneOwner(number string) []byte { return cat(prefixPhoneOwner, []byte(number)) }
