package accounts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// SignupPolicy says who may make an account.
type SignupPolicy string

// The policies. The zero value is open.
const (
	SignupOpen       SignupPolicy = "open"       // anybody
	SignupInvitation SignupPolicy = "invitation" // who has a code
	SignupClosed     SignupPolicy = "closed"     // nobody
)

// Limits of invitations.
const (
	// invitationsMax bounds the invitations that are kept, dead ones included.
	invitationsMax = 10000
	// InvitationUsesMax bounds the sign-ups that one invitation is good for.
	InvitationUsesMax = 1000
	// InvitationLifetimeMax bounds how long one may be open; 0 is for ever.
	InvitationLifetimeMax = 10 * 365 * 24 * time.Hour
	// InvitationNoteBytesMax bounds what the operator writes beside one.
	InvitationNoteBytesMax = 200
	// invitationKept is how long one that nobody can use any more stays in the list.
	invitationKept = 365 * 24 * time.Hour

	// codeDigits is the length of a code without its dashes, 5 bits each.
	codeDigits = 20
	codeGroup  = 5
	// codeTypedMax bounds what a person types, with spaces and dashes.
	codeTypedMax = 64
)

// codeAlphabet is Crockford's: no letter that looks like a digit, no u.
const codeAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// Why an invitation does not let somebody in.
var (
	ErrNoInvitation        = errors.New("no such invitation")
	ErrInvitationUsed      = errors.New("the invitation is used up")
	ErrInvitationExpired   = errors.New("the invitation has expired")
	ErrInvitationWithdrawn = errors.New("the invitation has been withdrawn")
)

// Why an invitation cannot be made.
var (
	ErrTooManyInvitations = fmt.Errorf("there are %d invitations, and no more are kept; revoke some that were never used", invitationsMax)
	ErrInvitationSpec     = errors.New("an invitation cannot be like that")
)

// InvitationID is the public name of an invitation: the beginning of its code's
// hash, which is no help in guessing the code.
type InvitationID [5]byte

func (id InvitationID) String() string { return hex.EncodeToString(id[:]) }

// ParseInvitationID parses 10 hex characters.
func ParseInvitationID(s string) (id InvitationID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("invitation id: %w", kbsig.ErrBadID)
	}
	copy(id[:], b)
	return id, nil
}

// Invitation lets people sign up while the policy asks for one.
type Invitation struct {
	Note    string          `codec:"n,omitempty"`
	Uses    int             `codec:"u"` // sign-ups that it is good for
	Used    []InvitationUse `codec:"w,omitempty"`
	CTime   int64           `codec:"ct"`           // unix seconds
	Expires int64           `codec:"e,omitempty"`  // unix seconds; 0: never
	Revoked int64           `codec:"rv,omitempty"` // unix seconds; 0: not
}

// InvitationUse is one sign-up.
type InvitationUse struct {
	UID  kbsig.UID `codec:"u"`
	Time int64     `codec:"t"` // unix seconds
}

// Usable is nil if somebody can sign up with the invitation at the given time.
func (i *Invitation) Usable(now time.Time) error {
	switch {
	case i.Revoked != 0:
		return ErrInvitationWithdrawn
	case len(i.Used) >= i.Uses:
		return ErrInvitationUsed
	case i.Expires != 0 && now.Unix() >= i.Expires:
		return ErrInvitationExpired
	}
	return nil
}

// ended is when the invitation stopped to be of use, 0 if it has not.
func (i *Invitation) ended(now time.Time) int64 {
	switch i.Usable(now) {
	case nil:
		return 0
	case ErrInvitationWithdrawn:
		return i.Revoked
	case ErrInvitationExpired:
		return i.Expires
	}
	return i.Used[len(i.Used)-1].Time
}

// codeHash is the hash under which a typed code is stored. Case, dashes and spaces do
// not count, and letters that look like a digit are that digit.
func codeHash(typed string) (h [32]byte, ok bool) {
	if len(typed) > codeTypedMax {
		return h, false
	}
	var digits strings.Builder
	for _, r := range strings.ToLower(typed) {
		switch {
		case r == '-' || unicode.IsSpace(r):
			continue
		case r == 'i' || r == 'l':
			r = '1'
		case r == 'o':
			r = '0'
		}
		if !strings.ContainsRune(codeAlphabet, r) {
			return h, false
		}
		digits.WriteRune(r)
	}
	if digits.Len() != codeDigits {
		return h, false
	}
	return sha256.Sum256([]byte("invitation " + digits.String())), true
}

// newCode makes a code of 100 random bits in groups, such as 7kqm2-....
func newCode(rand io.Reader) (string, error) {
	var raw [codeDigits]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", err
	}
	var b strings.Builder
	for i, r := range raw {
		if i > 0 && i%codeGroup == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(codeAlphabet[r%byte(len(codeAlphabet))])
	}
	return b.String(), nil
}

// InvitationSpec is what the operator wants of a new invitation.
type InvitationSpec struct {
	Note     string        // for the operator's own list
	Uses     int           // 1 to InvitationUsesMax
	Lifetime time.Duration // 0: for ever
}

// Check says what is wrong with a wish.
func (s InvitationSpec) Check() error {
	switch {
	case s.Uses < 1 || s.Uses > InvitationUsesMax:
		return fmt.Errorf("%w: it is good for 1 to %d sign-ups, not %d", ErrInvitationSpec, InvitationUsesMax, s.Uses)
	case s.Lifetime < 0 || s.Lifetime > InvitationLifetimeMax:
		return fmt.Errorf("%w: it lasts up to %d days, or 0 for ever", ErrInvitationSpec, InvitationLifetimeMax/(24*time.Hour))
	case s.Lifetime > 0 && s.Lifetime < time.Second:
		return fmt.Errorf("%w: it lasts at least a second", ErrInvitationSpec)
	case len(s.Note) > InvitationNoteBytesMax:
		return fmt.Errorf("%w: its note has at most %d bytes", ErrInvitationSpec, InvitationNoteBytesMax)
	case !utf8.ValidString(s.Note) || strings.ContainsFunc(s.Note, unicode.IsControl):
		return fmt.Errorf("%w: its note is one line of text", ErrInvitationSpec)
	}
	return nil
}

// NewInvitation makes an invitation. The code is returned here and never again. rand
// must be cryptographic.
func NewInvitation(tx *store.Tx, rand io.Reader, spec InvitationSpec) (code string, id InvitationID, err error) {
	if err := spec.Check(); err != nil {
		return "", id, err
	}
	if err := makeRoom(tx); err != nil {
		return "", id, err
	}
	if code, err = newCode(rand); err != nil {
		return "", id, fmt.Errorf("make an invitation: %w", err)
	}
	h, _ := codeHash(code)
	copy(id[:], h[:])
	inv := Invitation{Note: spec.Note, Uses: spec.Uses, CTime: tx.Now().Unix()}
	if spec.Lifetime > 0 {
		inv.Expires = tx.Now().Add(spec.Lifetime).Unix()
	}
	store.Save(tx, keys.Invitation(h), inv)
	return code, id, nil
}

// makeRoom drops invitations that have long been of no use, and refuses when there
// are too many still.
func makeRoom(tx *store.Tx) error {
	n, old := 0, tx.Now().Add(-invitationKept).Unix()
	err := eachInvitation(tx, keys.Invitations(), func(k []byte, inv *Invitation) error {
		if end := inv.ended(tx.Now()); end != 0 && end < old {
			tx.Delete(k)
		} else {
			n++
		}
		return nil
	})
	if err == nil && n >= invitationsMax {
		return ErrTooManyInvitations
	}
	return err
}

func eachInvitation(r store.Reader, prefix []byte, fn func(k []byte, inv *Invitation) error) error {
	return r.Scan(prefix, keys.End(prefix), func(k, v []byte) error {
		inv, err := store.Decode[Invitation](v)
		if err != nil {
			return fmt.Errorf("invitation %x: %w", k, err)
		}
		return fn(append([]byte(nil), k...), &inv)
	})
}

// FindInvitation returns the invitation of a code that somebody typed, usable or not;
// the error is ErrNoInvitation if there is none.
func FindInvitation(r store.Reader, typed string) (InvitationID, *Invitation, error) {
	var id InvitationID
	h, ok := codeHash(typed)
	if !ok {
		return id, nil, ErrNoInvitation
	}
	inv, err := store.Load[Invitation](r, keys.Invitation(h))
	if errors.Is(err, store.ErrNotFound) {
		return id, nil, ErrNoInvitation
	}
	if err != nil {
		return id, nil, fmt.Errorf("load an invitation: %w", err)
	}
	copy(id[:], h[:])
	return id, &inv, nil
}

// UseInvitation takes one use of the invitation of a typed code for u, who signs up
// in the same transaction.
func UseInvitation(tx *store.Tx, typed string, u kbsig.UID) (InvitationID, error) {
	id, inv, err := FindInvitation(tx, typed)
	if err != nil {
		return id, err
	}
	if err := inv.Usable(tx.Now()); err != nil {
		return id, err
	}
	inv.Used = append(inv.Used, InvitationUse{UID: u, Time: tx.Now().Unix()})
	h, _ := codeHash(typed)
	store.Save(tx, keys.Invitation(h), inv)
	return id, nil
}

// Invitations calls fn for every invitation, in no order that means anything.
func Invitations(r store.Reader, fn func(InvitationID, *Invitation) error) error {
	return eachInvitation(r, keys.Invitations(), func(k []byte, inv *Invitation) error {
		h, ok := keys.InvitationOf(k)
		if !ok {
			return fmt.Errorf("malformed key of an invitation: %x", k)
		}
		return fn(InvitationID(h[:len(InvitationID{})]), inv)
	})
}

// RevokeInvitation ends an invitation. One that was never used is forgotten; one that
// was stays in the list for its uses. It returns the invitation as it is now.
func RevokeInvitation(tx *store.Tx, id InvitationID) (found *Invitation, err error) {
	err = eachInvitation(tx, keys.InvitationsFrom(id[:]), func(k []byte, inv *Invitation) error {
		if inv.Revoked == 0 {
			inv.Revoked = tx.Now().Unix()
		}
		if len(inv.Used) == 0 {
			tx.Delete(k)
		} else {
			store.Save(tx, k, inv)
		}
		found = inv
		return nil
	})
	if err == nil && found == nil {
		err = ErrNoInvitation
	}
	return found, err
}
