package people

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Limits of announcements.
const (
	// announcementsMax bounds the announcements that are kept.
	announcementsMax          = 50
	announcementTextBytesMax  = 500
	announcementLinkBytesMax  = 500
	announcementLabelBytesMax = 40
	announcementLifetimeMax   = 366 * 24 * time.Hour
)

// announcementIDsAfter is below all numbers of announcements: clients count smaller ones as
// things to do. client: go/badges/badgestate.go:countKnownBadges
const announcementIDsAfter = 10_000

// usualLabel is that of a link without one.
const usualLabel = "Read more"

// Why there is no announcement.
var (
	ErrNoAnnouncement       = errors.New("there is no such announcement, or it was taken back")
	ErrTooManyAnnouncements = fmt.Errorf("there are %d announcements that have not ended, and no more are kept; take one back first", announcementsMax)
)

// Announcement is what the operator tells everybody on their home pages, until it ends,
// is taken back, or is dismissed by who has read it.
type Announcement struct {
	ID    int64  `codec:"i"`           // above announcementIDsAfter, growing
	Text  string `codec:"t"`           // one paragraph
	Link  string `codec:"l,omitempty"` // a web address
	Label string `codec:"b,omitempty"` // of the button that leads there
	CTime int64  `codec:"c"`           // milliseconds
	Until int64  `codec:"u"`           // milliseconds
	// Withdrawn is when it was taken back, in milliseconds; 0: it was not. Changed grows
	// with every announcement that is made or taken back.
	Withdrawn int64 `codec:"w,omitempty"`
	Changed   int64 `codec:"n"`
}

// Open reports whether an announcement is to be shown.
func (a *Announcement) Open(now time.Time) bool {
	return a.Withdrawn == 0 && now.UnixMilli() < a.Until
}

func (a *Announcement) check(lifetime time.Duration) error {
	switch {
	case a.Text == "" || len(a.Text) > announcementTextBytesMax || !line(a.Text):
		return Fault(fmt.Sprintf("the text is one paragraph of at most %d bytes", announcementTextBytesMax))
	case len(a.Label) > announcementLabelBytesMax || !line(a.Label):
		return Fault(fmt.Sprintf("the label is a few words of at most %d bytes", announcementLabelBytesMax))
	case a.Label != "" && a.Link == "":
		return Fault("the label belongs to a link, and there is none")
	case a.Link != "" && !webAddress(a.Link):
		return Fault(fmt.Sprintf("the link is an address that begins with https:// or http://, of at most %d bytes", announcementLinkBytesMax))
	case lifetime < time.Second || lifetime > announcementLifetimeMax:
		return Fault("an announcement is shown for a second at least and a year at most")
	}
	return nil
}

func line(s string) bool {
	return utf8.ValidString(s) && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, unicode.IsControl)
}

func webAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && len(s) <= announcementLinkBytesMax && line(s) && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http")
}

// Announcements are all that are kept, oldest first, and the version of the whole, which
// grows with every change.
func Announcements(r store.Reader) (all []Announcement, version int64, err error) {
	lo := keys.Announcements()
	err = r.Scan(lo, keys.End(lo), func(_, v []byte) error {
		a, err := store.Decode[Announcement](v)
		all = append(all, a)
		version = max(version, a.Changed)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("announcements: %w", err)
	}
	return all, version, nil
}

// Announce tells everybody something for a time; a Fault says what is wrong with it. Text,
// link and label are those of a, all else is set here.
func Announce(tx *store.Tx, a Announcement, lifetime time.Duration) (*Announcement, error) {
	if a.Link != "" && a.Label == "" {
		a.Label = usualLabel
	}
	if err := a.check(lifetime); err != nil {
		return nil, err
	}
	all, version, err := Announcements(tx)
	if err != nil {
		return nil, err
	}
	// The newest is kept for its number, whatever became of it.
	for i := 0; len(all) >= announcementsMax; i++ {
		if i >= len(all)-1 {
			return nil, ErrTooManyAnnouncements
		}
		if old := all[i]; !old.Open(tx.Now()) && old.Changed != version {
			tx.Delete(keys.Announcement(old.ID))
			break
		}
	}
	a.ID, a.Changed, a.Withdrawn = announcementIDsAfter+version+1, version+1, 0
	a.CTime = tx.Now().UnixMilli()
	a.Until = a.CTime + lifetime.Milliseconds()
	store.Save(tx, keys.Announcement(a.ID), a)
	return &a, nil
}

// Withdraw takes an announcement back; ErrNoAnnouncement if there is none.
func Withdraw(tx *store.Tx, id int64) (*Announcement, error) {
	a, err := store.Load[Announcement](tx, keys.Announcement(id))
	if errors.Is(err, store.ErrNotFound) || err == nil && !a.Open(tx.Now()) {
		return nil, ErrNoAnnouncement
	}
	if err != nil {
		return nil, fmt.Errorf("announcement %d: %w", id, err)
	}
	_, version, err := Announcements(tx)
	if err != nil {
		return nil, err
	}
	a.Withdrawn, a.Changed = tx.Now().UnixMilli(), version+1
	store.Save(tx, keys.Announcement(id), a)
	return &a, nil
}
