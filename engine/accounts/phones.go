package accounts

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/known"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
)

// Limits of telephone numbers.
const (
	// phoneCodeLifetime is how long a code that was sent is good, and phoneTriesMax how
	// many wrong ones end it before.
	phoneCodeLifetime = 30 * time.Minute
	phoneTriesMax     = 5
	// phoneCodeDigits is the length of a code.
	phoneCodeDigits = 6
)

// Why something cannot be done with a telephone number.
var (
	ErrBadPhone      = errors.New("that is no telephone number")
	ErrNoPhone       = errors.New("the account has no such telephone number")
	ErrPhoneVerified = errors.New("the telephone number is verified already")
	ErrTooManyPhones = errors.New("too many telephone numbers")
	ErrCodeExpired   = errors.New("the verification code is good no more")
	ErrCodeWrong     = errors.New("the verification code is not the one that was sent")
)

// Phone is one telephone number of a user.
type Phone struct {
	Number     string     `codec:"n"` // E.164, with the plus
	Visibility Visibility `codec:"v"`
	Added      int64      `codec:"ct"`           // unix milliseconds
	Verified   int64      `codec:"vt,omitempty"` // unix milliseconds; 0: not
	Lost       int64      `codec:"vl,omitempty"` // Verified until somebody else had verified it

	Salt  [16]byte `codec:"s"` // of Code
	Code  [32]byte `codec:"c"` // hash of the code that was sent
	Sent  int64    `codec:"st,omitempty"`
	Tries int      `codec:"t,omitempty"` // wrong codes since
}

func (p *Phone) searchable() bool { return p.Verified != 0 && p.Visibility == Public }

// phoneOwner is who has verified a number last.
type phoneOwner struct {
	UID kbsig.UID `codec:"u"`
	At  int64     `codec:"t"` // unix milliseconds
}

func loadPhoneOwner(r store.Reader, number string) (*phoneOwner, error) {
	o, err := store.Load[phoneOwner](r, keys.PhoneOwner(number))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load who has a telephone number: %w", err)
	}
	return &o, nil
}

// Superseded says whether somebody else has verified one of u's numbers after u named it.
func (p *Phone) Superseded(r store.Reader, u kbsig.UID) (bool, error) {
	o, err := loadPhoneOwner(r, p.Number)
	return o != nil && o.UID != u && o.At >= p.Added, err
}

func (c *Contact) phone(number string) (int, error) {
	i := slices.IndexFunc(c.Phones, func(p Phone) bool { return p.Number == number })
	if i < 0 {
		return i, ErrNoPhone
	}
	return i, nil
}

func (c *Contact) unverifiedPhones() (n int) {
	for _, p := range c.Phones {
		if p.Verified == 0 {
			n++
		}
	}
	return n
}

// AddPhone gives a user a number, or begins the verification of one anew that the user
// has, and returns the code that must be sent there; only its salted hash is kept. That
// others have the number too is no hindrance and not to be seen. rand must be
// cryptographic.
func AddPhone(tx *store.Tx, rand io.Reader, u kbsig.UID, number string, v Visibility) (code string, err error) {
	if !mail.NumberOK(number) {
		return "", ErrBadPhone
	}
	c, err := GetContact(tx, u)
	if err != nil {
		return "", err
	}
	i, err := c.phone(number)
	fresh := err != nil
	switch {
	case !fresh && c.Phones[i].Verified != 0:
		return "", ErrPhoneVerified
	case fresh && len(c.Phones) >= PhonesMax:
		return "", ErrTooManyPhones
	case fresh:
		c.Phones = append(c.Phones, Phone{Number: number})
		i = len(c.Phones) - 1
	}
	p := &c.Phones[i]
	var raw [24]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", fmt.Errorf("make a verification code: %w", err)
	}
	code = fmt.Sprintf("%0*d", phoneCodeDigits, binary.BigEndian.Uint64(raw[:8])%1_000_000)
	copy(p.Salt[:], raw[8:])
	now := tx.Now().UnixMilli()
	p.Visibility, p.Added, p.Sent, p.Tries = v, now, now, 0
	p.Code = p.hash(code)
	putContact(tx, u, c)
	if fresh {
		err = tell(tx, u, "phone.added", "phone", number)
	} else {
		err = nil
	}
	return code, errors.Join(err, badge(tx, u, "phone.unverified_count", c.unverifiedPhones()))
}

func (p *Phone) hash(code string) [32]byte {
	return sha256.Sum256(append(append([]byte("phone verification "), p.Salt[:]...), code...))
}

// TryPhoneCode verifies a number with the code that was sent there. It returns a reason
// why not as refused, and then what it wrote (the try is counted) must be committed all
// the same; err is for what must not. Of two who verify a number the later one has it.
func TryPhoneCode(tx *store.Tx, u kbsig.UID, number, code string) (refused, err error) {
	c, err := GetContact(tx, u)
	if err != nil {
		return nil, err
	}
	i, err := c.phone(number)
	if err != nil {
		return err, nil
	}
	p := &c.Phones[i]
	now := tx.Now().UnixMilli()
	switch {
	case p.Verified != 0:
		return ErrPhoneVerified, nil
	case p.Tries >= phoneTriesMax || now >= p.Sent+phoneCodeLifetime.Milliseconds():
		return ErrCodeExpired, nil
	}
	if h := p.hash(code); subtle.ConstantTimeCompare(h[:], p.Code[:]) != 1 {
		p.Tries++
		putContact(tx, u, c)
		return ErrCodeWrong, nil
	}
	before, err := loadPhoneOwner(tx, number)
	if err != nil {
		return nil, err
	}
	if before != nil && before.UID != u {
		if err := supersede(tx, before.UID, number); err != nil {
			return nil, err
		}
	}
	store.Save(tx, keys.PhoneOwner(number), phoneOwner{u, now})
	p.Verified, p.Code, p.Salt, p.Tries = now, [32]byte{}, [16]byte{}, 0
	if p.searchable() {
		publish(tx, u, number, true)
	}
	putContact(tx, u, c)
	if err := sayPhone(tx, u, number); err != nil {
		return nil, err
	}
	return nil, errors.Join(tell(tx, u, "phone.verified", "phone", number), badge(tx, u, "phone.unverified_count", c.unverifiedPhones()))
}

// supersede takes a verified number from the user who had it: it stays in the list.
func supersede(tx *store.Tx, u kbsig.UID, number string) error {
	c, err := GetContact(tx, u)
	if err != nil {
		return err
	}
	i, err := c.phone(number)
	if errors.Is(err, ErrNoPhone) {
		return nil
	}
	p := &c.Phones[i]
	if p.searchable() {
		publish(tx, u, number, false)
	}
	p.Verified, p.Lost = 0, p.Verified
	putContact(tx, u, c)
	if err := sayPhone(tx, u, number); err != nil {
		return err
	}
	return tell(tx, u, "phone.superseded", "phone", number)
}

func (c *Contact) releasePhone(tx *store.Tx, u kbsig.UID, p *Phone) error {
	o, err := loadPhoneOwner(tx, p.Number)
	if err != nil {
		return err
	}
	owned := o != nil && o.UID == u
	if owned {
		tx.Delete(keys.PhoneOwner(p.Number))
	}
	if p.searchable() {
		publish(tx, u, p.Number, false)
	}
	if !owned {
		return nil
	}
	return sayPhone(tx, u, p.Number)
}

// sayPhone passes on that a number has come to be a user's, or is so no more.
func sayPhone(tx *store.Tx, u kbsig.UID, number string) error {
	return known.Say(tx, known.Fact{UID: u, Service: known.Phone, Name: number[1:]})
}

// DeletePhone takes a number from a user.
func DeletePhone(tx *store.Tx, u kbsig.UID, number string) error {
	c, err := GetContact(tx, u)
	if err != nil {
		return err
	}
	i, err := c.phone(number)
	if err != nil {
		return err
	}
	if err := c.releasePhone(tx, u, &c.Phones[i]); err != nil {
		return err
	}
	c.Phones = slices.Delete(c.Phones, i, i+1)
	putContact(tx, u, c)
	return errors.Join(tell(tx, u, "phone.deleted", "phone", number), badge(tx, u, "phone.unverified_count", c.unverifiedPhones()))
}

// SetPhoneVisibility changes who finds the user by a number, or by all if it is empty.
func SetPhoneVisibility(tx *store.Tx, u kbsig.UID, number string, v Visibility) error {
	c, err := GetContact(tx, u)
	if err != nil {
		return err
	}
	only := -1
	if number != "" {
		if only, err = c.phone(number); err != nil {
			return err
		}
	}
	for i := range c.Phones {
		p := &c.Phones[i]
		if (only >= 0 && i != only) || p.Visibility == v {
			continue
		}
		before := p.searchable()
		p.Visibility = v
		if p.searchable() != before {
			publish(tx, u, p.Number, p.searchable())
		}
		if err := tell(tx, u, "phone.visibility_changed", "phone", p.Number); err != nil {
			return err
		}
	}
	putContact(tx, u, c)
	return nil
}

// OwnPhone is a telephone number that u has verified and that nobody has verified since;
// empty: there is none.
func OwnPhone(r store.Reader, u kbsig.UID) (number string, err error) {
	c, err := GetContact(r, u)
	if err != nil {
		return "", err
	}
	for i := range c.Phones {
		p := &c.Phones[i]
		if p.Verified == 0 {
			continue
		}
		if lost, err := p.Superseded(r, u); err != nil || !lost {
			return p.Number, err
		}
	}
	return "", nil
}

// PhoneOwner is who has verified a number, nil if nobody has. It is for writing to the
// number, never for answering a question.
func PhoneOwner(r store.Reader, number string) (*kbsig.UID, error) {
	o, err := loadPhoneOwner(r, number)
	if o == nil {
		return nil, err
	}
	return &o.UID, nil
}
