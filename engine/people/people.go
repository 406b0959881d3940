// Package people holds what people show of themselves and want of each other, none of
// it signed: the words of a profile, pictures, blocks, the words by which somebody is
// found, and what the server keeps for a person's home page.
//
// Every function takes a store.Reader or a store.Tx and leaves the rest to the caller's
// transaction. It promises:
//   - a picture is stored in all sizes or in none, and with its predecessor only: who
//     has an old address of it for a moment still gets a picture;
//   - of two people each decides about blocks of the other alone, and nobody learns of
//     a block of theirs;
//   - the search entries of a user are those of the profile, no more;
//   - what comes from outside is bounded here, whoever calls.
//
// It writes the key families i, u, B, X and 0x01 of engine/keys, and in an account the profile
// and the picture. It imports engine/accounts, engine/pictures, engine/keys and
// engine/store.
package people

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/limits"
	"github.com/keystead/keystead/engine/store"
)

// Limits of a profile.
const (
	fullNameBytesMax = 256
	locationBytesMax = 256
	bioBytesMax      = 2048
)

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("fullNameBytesMax", fullNameBytesMax, "of a full name"),
		limits.Bytes("locationBytesMax", locationBytesMax, "of the place in a profile"),
		limits.Bytes("bioBytesMax", bioBytesMax, "of what people write about themselves"),
		limits.Count("blocksMax", blocksMax, "people", "whom one person has ever blocked"),
		limits.Count("BlocksPerPostMax", BlocksPerPostMax, "blocks", "in one request"),
		limits.Bytes("queryBytesMax", queryBytesMax, "of a search, longer ones find nobody"),
		limits.Count("searchWordsMax", searchWordsMax, "words", "of a search or a full name that count"),
		limits.Bytes("wordBytesMax", wordBytesMax, "of a word that count in a search"),
		limits.Count("searchScanMax", searchScanMax, "entries", "looked at in one search, and as many names"),
		limits.Count("FoundMax", FoundMax, "people", "found by one search"),
		limits.Count("newFollowersMax", newFollowersMax, "followers", "remembered for a home page; the oldest make room"),
		limits.Count("contactsMax", contactsMax, "contacts", "remembered for a home page; the oldest make room"),
		limits.Bytes("contactBytesMax", contactBytesMax, "of a contact that a client found for a home page, encrypted"),
		limits.Count("announcementsMax", announcementsMax, "announcements", "of the operator that are kept"),
		limits.Bytes("announcementTextBytesMax", announcementTextBytesMax, "of an announcement"),
		limits.Bytes("announcementLinkBytesMax", announcementLinkBytesMax, "of the address that it leads to"),
		limits.Bytes("announcementLabelBytesMax", announcementLabelBytesMax, "of what stands on its button"),
		limits.Time("announcementLifetimeMax", announcementLifetimeMax, "that an announcement is shown at most"),
		limits.Count("dismissedMax", dismissedMax, "announcements", "that one person has dismissed; the oldest are forgotten"),
	}
}

// Fault is what is wrong with something from outside: a sentence for a person.
type Fault string

func (f Fault) Error() string { return string(f) }

// Profile is what people write about themselves.
type Profile struct {
	FullName, Location, Bio string
}

// Check says what is wrong with a profile.
func (p Profile) Check() error {
	for _, f := range []struct {
		what, text string
		most       int
		lines      bool
	}{
		{"full name", p.FullName, fullNameBytesMax, false},
		{"location", p.Location, locationBytesMax, false},
		{"bio", p.Bio, bioBytesMax, true},
	} {
		if len(f.text) > f.most {
			return Fault(fmt.Sprintf("the %s is too long; it has at most %d bytes", f.what, f.most))
		}
		if !utf8.ValidString(f.text) || strings.ContainsFunc(f.text, func(r rune) bool {
			return unicode.IsControl(r) && !(f.lines && (r == '\n' || r == '\r' || r == '\t'))
		}) {
			return Fault(fmt.Sprintf("the %s has characters that cannot be shown", f.what))
		}
	}
	return nil
}

// SetProfile replaces a user's profile, and reports whether anything changed.
func SetProfile(tx *store.Tx, u kbsig.UID, p Profile) (changed bool, err error) {
	p = Profile{strings.TrimSpace(p.FullName), strings.TrimSpace(p.Location), strings.TrimSpace(p.Bio)}
	if err := p.Check(); err != nil {
		return false, err
	}
	acct, err := accounts.Get(tx, u)
	if err != nil {
		return false, err
	}
	if (Profile{acct.FullName, acct.Location, acct.Bio}) == p {
		return false, nil
	}
	reindex(tx, u, ServiceFullName, Words(acct.FullName), Words(p.FullName))
	acct.FullName, acct.Location, acct.Bio = p.FullName, p.Location, p.Bio
	acct.TouchIdentity(tx.Now())
	accounts.Put(tx, acct)
	return true, nil
}

// Forget takes away what a user showed and wanted, for the deletion of the account.
func Forget(tx *store.Tx, u kbsig.UID) error {
	if _, err := SetProfile(tx, u, Profile{}); err != nil {
		return err
	}
	if err := dropPictures(tx, u); err != nil {
		return err
	}
	lo := keys.Blocks(u)
	err := tx.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		tx.Delete(slices.Clone(k))
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget the blocks of %s: %w", u, err)
	}
	tx.Delete(keys.Home(u))
	return nil
}
