package accounts

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/known"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
)

// Limits of mail addresses.
const (
	// MailBytesMax bounds an address. RFC 5321 allows 254.
	MailBytesMax = 254
	// mailTokenLifetime is how long the link in a verification mail is good.
	mailTokenLifetime = 7 * 24 * time.Hour
)

// Why something cannot be done with a mail address.
var (
	ErrBadMail      = errors.New("that is no mail address")
	ErrMailTaken    = errors.New("the mail address is taken")
	ErrMailOwn      = errors.New("the mail address is this account's already")
	ErrTooManyMails = errors.New("too many mail addresses")
	ErrMailPrimary  = errors.New("the primary mail address stays while there are others")
	ErrNoMail       = errors.New("the account has no such mail address")
	ErrMailVerified = errors.New("the mail address is verified already")
	ErrMailToken    = errors.New("no verification of a mail address waits for this token")
)

// Mail is one mail address of a user. The first of a list is the primary one.
type Mail struct {
	Address    string     `codec:"a"` // as typed; see NormalMail
	Visibility Visibility `codec:"v"`
	Added      int64      `codec:"ct"`           // unix seconds
	Verified   int64      `codec:"vt,omitempty"` // unix seconds; 0: not
	Asked      int64      `codec:"at,omitempty"` // when a verification mail was last made
	// Token is the hash of what stands in that mail.
	Token [32]byte `codec:"t"`
}

func (m *Mail) searchable() bool { return m.Verified != 0 && m.Visibility == Public }

// claims is who names a mail address as theirs.
type claims struct {
	Owner   *kbsig.UID  `codec:"o,omitempty"` // who has verified it; nil: nobody
	Waiting []kbsig.UID `codec:"w,omitempty"` // who has not, at most claimsKept
}

func claimsKey(address string) []byte {
	return keys.MailClaims(sha256.Sum256([]byte(NormalMail(address))))
}

func loadClaims(r store.Reader, address string) (claims, error) {
	c, err := store.Load[claims](r, claimsKey(address))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return c, fmt.Errorf("load who has a mail address: %w", err)
	}
	return c, nil
}

func saveClaims(tx *store.Tx, address string, c claims) {
	if k := claimsKey(address); c.Owner == nil && len(c.Waiting) == 0 {
		tx.Delete(k)
	} else {
		store.Save(tx, k, c)
	}
}

// ClaimedBy lists who names a mail address as theirs: who has verified it, or else those
// who have not. It is for writing to the address, never for answering a question.
func ClaimedBy(r store.Reader, address string) ([]kbsig.UID, error) {
	c, err := loadClaims(r, address)
	if err != nil || c.Owner == nil {
		return c.Waiting, err
	}
	return []kbsig.UID{*c.Owner}, nil
}

// HasVerified says whether a user has verified an address: a mail address, or a number
// with its plus.
func HasVerified(r store.Reader, u kbsig.UID, address string) (bool, error) {
	c, err := GetContact(r, u)
	if err != nil {
		return false, err
	}
	if i, err := c.mail(address); err == nil {
		return c.Mails[i].Verified != 0, nil
	}
	if i, err := c.phone(address); err == nil {
		return c.Phones[i].Verified != 0, nil
	}
	return false, nil
}

// mail finds one of the user's addresses.
func (c *Contact) mail(address string) (int, error) {
	i := slices.IndexFunc(c.Mails, func(m Mail) bool { return NormalMail(m.Address) == NormalMail(address) })
	if i < 0 {
		return i, ErrNoMail
	}
	return i, nil
}

// HasMail says whether an address is one of the user's.
func (c *Contact) HasMail(address string) bool {
	_, err := c.mail(address)
	return err == nil
}

// UnverifiedMail is the first of the user's addresses that waits to be verified, empty if
// none does.
func (c *Contact) UnverifiedMail() string {
	for _, m := range c.Mails {
		if m.Verified == 0 {
			return m.Address
		}
	}
	return ""
}

func (c *Contact) unverifiedMails() (n int) {
	for _, m := range c.Mails {
		if m.Verified == 0 {
			n++
		}
	}
	return n
}

// PlausibleMail is the client's own rule of what a mail address is, and that it can be
// written to. client: go/libkb/checkers.go:CheckEmail
func PlausibleMail(s string) bool {
	if len(s) <= 3 || len(s) > MailBytesMax {
		return false
	}
	at, dot := -1, -1
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c <= ' ' || c == 0x7f:
			return false
		case c == '@':
			if at < 0 {
				at = i
			}
		case c == '.':
			dot = i
		}
	}
	return at > 0 && dot > at+1 && dot < len(s)-1 && mail.AddressOK(s)
}

// AddMail gives a user an address, which is the primary one if it is the first. That
// others name it as theirs without having verified it is no hindrance, and nothing that
// the caller sees tells of it. The errors are ErrBadMail, ErrMailOwn, ErrTooManyMails
// and, of an address that somebody else has verified, ErrMailTaken.
func AddMail(tx *store.Tx, u kbsig.UID, address string, v Visibility) error {
	address = strings.TrimSpace(address)
	if !PlausibleMail(address) {
		return ErrBadMail
	}
	c, err := GetContact(tx, u)
	if err != nil {
		return err
	}
	if _, err := c.mail(address); err == nil {
		return ErrMailOwn
	}
	if len(c.Mails) >= MailsMax {
		return ErrTooManyMails
	}
	held, err := loadClaims(tx, address)
	if err != nil {
		return err
	}
	if held.Owner != nil {
		return ErrMailTaken
	}
	if len(held.Waiting) < claimsKept {
		held.Waiting = append(held.Waiting, u)
		saveClaims(tx, address, held)
	}
	c.Mails = append(c.Mails, Mail{Address: address, Visibility: v, Added: tx.Now().Unix()})
	putContact(tx, u, c)
	return errors.Join(tell(tx, u, "email.added", "email", address), badge(tx, u, "email.unverified_count", c.unverifiedMails()))
}

// release takes an address out of the indexes.
func (c *Contact) release(tx *store.Tx, u kbsig.UID, m *Mail) error {
	held, err := loadClaims(tx, m.Address)
	if err != nil {
		return err
	}
	owned := held.Owner != nil && *held.Owner == u
	if owned {
		held.Owner = nil
	}
	held.Waiting = slices.DeleteFunc(held.Waiting, func(w kbsig.UID) bool { return w == u })
	saveClaims(tx, m.Address, held)
	if m.searchable() {
		publish(tx, u, m.Address, false)
	}
	if !owned {
		return nil
	}
	return known.Say(tx, known.Fact{UID: u, Service: known.Mail, Name: NormalMail(m.Address)})
}

// DeleteMail takes an address from a user. The primary one goes last.
func DeleteMail(tx *store.Tx, u kbsig.UID, address string) error {
	c, err := GetContact(tx, u)
	if err != nil {
		return err
	}
	i, err := c.mail(address)
	if err != nil {
		return err
	}
	if i == 0 && len(c.Mails) > 1 {
		return ErrMailPrimary
	}
	gone := c.Mails[i]
	if err := c.release(tx, u, &gone); err != nil {
		return err
	}
	c.Mails = slices.Delete(c.Mails, i, i+1)
	putContact(tx, u, c)
	return errors.Join(tell(tx, u, "email.deleted", "email", gone.Address), badge(tx, u, "email.unverified_count", c.unverifiedMails()))
}

// SetPrimaryMail makes one of the user's addresses the primary one.
func SetPrimaryMail(tx *store.Tx, u kbsig.UID, address string) error {
	c, err := GetContact(tx, u)
	if err != nil {
		return err
	}
	i, err := c.mail(address)
	if err != nil || i == 0 {
		return err
	}
	m := c.Mails[i]
	c.Mails = slices.Insert(slices.Delete(c.Mails, i, i+1), 0, m)
	putContact(tx, u, c)
	return tell(tx, u, "email.primary_changed", "email", m.Address)
}

// ReplacePrimaryMail puts a new address in the place of the primary one, which it
// returns; if the user has the new one already, it becomes the primary one and the old
// one goes. An address that is the primary one already is ErrMailOwn.
func ReplacePrimaryMail(tx *store.Tx, u kbsig.UID, address string) (old string, err error) {
	c, err := GetContact(tx, u)
	if err != nil {
		return "", err
	}
	if len(c.Mails) > 0 {
		old = c.Mails[0].Address
	}
	switch i, err := c.mail(address); {
	case i == 0:
		return "", ErrMailOwn
	case err != nil && old != "" && len(c.Mails) == MailsMax:
		// There is room, since the old one goes; it goes first.
		if !PlausibleMail(strings.TrimSpace(address)) {
			return "", ErrBadMail
		}
		if err := c.release(tx, u, &c.Mails[0]); err != nil {
			return "", err
		}
		c.Mails = c.Mails[1:]
		putContact(tx, u, c)
		if err := AddMail(tx, u, address, Private); err != nil {
			return "", err
		}
		return old, SetPrimaryMail(tx, u, address)
	case err != nil:
		if err := AddMail(tx, u, address, Private); err != nil {
			return "", err
		}
	}
	if err := SetPrimaryMail(tx, u, address); err != nil || old == "" {
		return old, err
	}
	return old, DeleteMail(tx, u, old)
}

// SetMailVisibility changes who finds the user by an address, or by all if it is empty.
func SetMailVisibility(tx *store.Tx, u kbsig.UID, address string, v Visibility) error {
	c, err := GetContact(tx, u)
	if err != nil {
		return err
	}
	only := -1
	if address != "" {
		if only, err = c.mail(address); err != nil {
			return err
		}
	}
	for i := range c.Mails {
		m := &c.Mails[i]
		if (only >= 0 && i != only) || m.Visibility == v {
			continue
		}
		before := m.searchable()
		m.Visibility = v
		if m.searchable() != before {
			publish(tx, u, m.Address, m.searchable())
		}
		if err := tell(tx, u, "email.visibility_changed", "email", m.Address); err != nil {
			return err
		}
	}
	putContact(tx, u, c)
	return nil
}

// NewMailToken makes the secret that a verification mail to one of the user's addresses
// holds; only its hash is kept, and an earlier one is good no more. rand must be
// cryptographic. The errors are ErrNoMail and ErrMailVerified.
func NewMailToken(tx *store.Tx, rand io.Reader, u kbsig.UID, address string) (token string, err error) {
	c, err := GetContact(tx, u)
	if err != nil {
		return "", err
	}
	i, err := c.mail(address)
	if err != nil {
		return "", err
	}
	if c.Mails[i].Verified != 0 {
		return "", ErrMailVerified
	}
	var raw [16]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", fmt.Errorf("make a verification token: %w", err)
	}
	token = hex.EncodeToString(raw[:])
	c.Mails[i].Token, c.Mails[i].Asked = mailTokenHash(token), tx.Now().Unix()
	putContact(tx, u, c)
	return token, nil
}

func mailTokenHash(token string) [32]byte { return sha256.Sum256([]byte("mail verification " + token)) }

// FindMailToken is the address that a token verifies; the error is ErrMailToken if it
// verifies none, or not any more.
func FindMailToken(r store.Reader, u kbsig.UID, token string, now time.Time) (address string, err error) {
	c, err := GetContact(r, u)
	if err != nil {
		return "", err
	}
	h := mailTokenHash(token)
	for _, m := range c.Mails {
		if subtle.ConstantTimeCompare(m.Token[:], h[:]) == 1 && now.Unix() < m.Asked+int64(mailTokenLifetime/time.Second) {
			return m.Address, nil
		}
	}
	return "", ErrMailToken
}

// VerifyMail notes that a user has shown to read the mail of one of the user's
// addresses. The errors are ErrNoMail, and ErrMailTaken if somebody else has shown it
// first.
func VerifyMail(tx *store.Tx, u kbsig.UID, address string) error {
	c, err := GetContact(tx, u)
	if err != nil {
		return err
	}
	i, err := c.mail(address)
	if err != nil {
		return err
	}
	m := &c.Mails[i]
	m.Token = [32]byte{}
	if m.Verified != 0 {
		putContact(tx, u, c)
		return nil
	}
	held, err := loadClaims(tx, m.Address)
	if err != nil {
		return err
	}
	if held.Owner != nil && *held.Owner != u {
		return ErrMailTaken
	}
	held.Owner = &u
	held.Waiting = slices.DeleteFunc(held.Waiting, func(w kbsig.UID) bool { return w == u })
	saveClaims(tx, m.Address, held)
	m.Verified = tx.Now().Unix()
	if m.searchable() {
		publish(tx, u, m.Address, true)
	}
	putContact(tx, u, c)
	if err := known.Say(tx, known.Fact{UID: u, Service: known.Mail, Name: NormalMail(m.Address)}); err != nil {
		return err
	}
	return errors.Join(tell(tx, u, "email.verified", "email", m.Address), badge(tx, u, "email.unverified_count", c.unverifiedMails()))
}

// PrimaryMail is where a user is written to, and whether the user is known to read it;
// empty if there is none. A verified address goes before one that is not.
func PrimaryMail(r store.Reader, u kbsig.UID) (address string, verified bool, err error) {
	c, err := GetContact(r, u)
	if err != nil || len(c.Mails) == 0 {
		return "", false, err
	}
	for _, m := range c.Mails {
		if m.Verified != 0 {
			return m.Address, true, nil
		}
	}
	return c.Mails[0].Address, false, nil
}
