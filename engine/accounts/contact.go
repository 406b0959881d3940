package accounts

import (
	"errors"
	"fmt"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
)

// Limits of the ways to reach a user.
const (
	// MailsMax bounds the mail addresses of a user, and PhonesMax the telephone numbers.
	MailsMax  = 10
	PhonesMax = 10
	// claimsKept is how many of those who name an address as theirs without having
	// verified it are remembered with it.
	claimsKept = 20
)

// Visibility says who may find a user by an address.
// client: go/protocol/keybase1/common.go:IdentityVisibility
type Visibility int

// The visibilities.
const (
	Private Visibility = 0
	Public  Visibility = 1
)

// Contact is the ways to reach a user, and what the user wants of strangers.
type Contact struct {
	Mails    []Mail          `codec:"m,omitempty"`
	Phones   []Phone         `codec:"p,omitempty"`
	Settings ContactSettings `codec:"s"`
	Budgets  []Budget        `codec:"b,omitempty"`
}

// GetContact loads the ways to reach a user; a user of whom none is known has an empty
// one.
func GetContact(r store.Reader, u kbsig.UID) (*Contact, error) {
	c, err := store.Load[Contact](r, keys.Contact(u))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("load the addresses of %s: %w", u, err)
	}
	return &c, nil
}

func putContact(tx *store.Tx, u kbsig.UID, c *Contact) { store.Save(tx, keys.Contact(u), c) }

// ByAddress loads the account that a mail address or a telephone number leads to, for
// anybody who asks: it must be verified and public. The error is ErrNoUser else, and
// finding that out takes the same steps for an address that is private as for one that
// nobody has.
func ByAddress(r store.Reader, address string) (*Account, error) {
	u, err := store.Load[kbsig.UID](r, keys.Mail(NormalMail(address)))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoUser
	}
	if err != nil {
		return nil, fmt.Errorf("load an address: %w", err)
	}
	return owner(r, u, "mail address or telephone number")
}

// NormalMail is the form in which addresses are compared.
func NormalMail(mail string) string { return strings.ToLower(strings.TrimSpace(mail)) }

// publish writes or removes the index entry by which anybody finds the user.
func publish(tx *store.Tx, u kbsig.UID, address string, found bool) {
	if k := keys.Mail(NormalMail(address)); found {
		store.Save(tx, k, u)
	} else {
		tx.Delete(k)
	}
}

// PublicAddresses calls fn for each address by which anybody finds the user, in the form
// in which it is found.
func (c *Contact) PublicAddresses(fn func(normal string) error) error {
	for _, m := range c.Mails {
		if m.searchable() {
			if err := fn(NormalMail(m.Address)); err != nil {
				return err
			}
		}
	}
	for _, p := range c.Phones {
		if p.searchable() {
			if err := fn(p.Number); err != nil {
				return err
			}
		}
	}
	return nil
}

// DropContact forgets all ways to reach a user, so that others can have the addresses,
// and what waits to be sent there, unless others name the address as theirs: it may be
// for them.
func DropContact(tx *store.Tx, u kbsig.UID) error {
	c, err := GetContact(tx, u)
	if err != nil {
		return err
	}
	for i := range c.Mails {
		if err := c.release(tx, u, &c.Mails[i]); err != nil {
			return err
		}
		others, err := ClaimedBy(tx, c.Mails[i].Address)
		if err != nil {
			return err
		}
		if len(others) > 0 {
			continue
		}
		if err := mail.Forget(tx, c.Mails[i].Address); err != nil {
			return err
		}
	}
	for i := range c.Phones {
		if err := c.releasePhone(tx, u, &c.Phones[i]); err != nil {
			return err
		}
		other, err := PhoneOwner(tx, c.Phones[i].Number)
		if err != nil {
			return err
		}
		if other != nil {
			continue
		}
		if err := mail.Forget(tx, c.Phones[i].Number); err != nil {
			return err
		}
	}
	tx.Delete(keys.Contact(u))
	return nil
}

// tell sends news of an address to the user's devices.
func tell(tx *store.Tx, u kbsig.UID, category, field, address string) error {
	return events.Add(tx, events.News{To: u, Category: category, Body: []byte(`{"` + field + `":` + quoteJSON(address) + `}`)})
}

// badge tells the user's devices how many addresses wait to be verified.
// client: go/badges/badgestate.go:unverifiedCountBody
func badge(tx *store.Tx, u kbsig.UID, category string, n int) error {
	news := events.News{To: u, Category: category, Replace: true}
	if n > 0 {
		news.Body = fmt.Appendf(nil, `{"unverified_count":%d}`, n)
	}
	return events.Add(tx, news)
}

// quoteJSON spells a text without control characters as JSON.
func quoteJSON(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
