package adminapi

import (
	"context"
	"time"

	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
)

// Names of the methods of announcements.
const (
	AnnounceNew      = "announce.new"
	AnnounceList     = "announce.list"
	AnnounceWithdraw = "announce.withdraw"
)

// Announcements are the methods about what everybody reads on the home page.
type Announcements struct {
	Store *store.Store
	Clock func() time.Time
}

// Methods is the table of them.
func (a Announcements) Methods() Methods {
	return Methods{AnnounceNew: typed(a.make), AnnounceList: typed(a.list), AnnounceWithdraw: typed(a.withdraw)}
}

// NewAnnouncement is the argument of announce.new.
type NewAnnouncement struct {
	Text            string `json:"text"`
	Link            string `json:"link,omitempty"`
	Label           string `json:"label,omitempty"`
	LifetimeSeconds int64  `json:"lifetime_s"`
}

// ListedAnnouncement is an announcement.
type ListedAnnouncement struct {
	ID    int64  `json:"id"`
	State string `json:"state"` // "open", "ended", "withdrawn"
	Text  string `json:"text"`
	Link  string `json:"link,omitempty"`
	Label string `json:"label,omitempty"`
	Made  int64  `json:"made"`  // unix seconds
	Until int64  `json:"until"` // unix seconds
}

func listed(n *people.Announcement, now time.Time) ListedAnnouncement {
	state := "open"
	switch {
	case n.Withdrawn != 0:
		state = "withdrawn"
	case !n.Open(now):
		state = "ended"
	}
	return ListedAnnouncement{ID: n.ID, State: state, Text: n.Text, Link: n.Link, Label: n.Label, Made: n.CTime / 1000, Until: n.Until / 1000}
}

func (a Announcements) make(ctx context.Context, args NewAnnouncement) (made ListedAnnouncement, err error) {
	// What no duration can hold is refused like a year too many.
	lifetime := time.Duration(max(0, min(args.LifetimeSeconds, int64(100*366*24*time.Hour/time.Second)))) * time.Second
	err = a.Store.Update(ctx, func(tx *store.Tx) error {
		n, err := people.Announce(tx, people.Announcement{Text: args.Text, Link: args.Link, Label: args.Label}, lifetime)
		if err == nil {
			made = listed(n, tx.Now())
		}
		return err
	})
	return made, err
}

// AnnouncementList is the result of announce.list, the newest first.
type AnnouncementList struct {
	Announcements []ListedAnnouncement `json:"announcements"`
}

func (a Announcements) list(context.Context, struct{}) (AnnouncementList, error) {
	v := a.Store.View()
	defer v.Close()
	all, _, err := people.Announcements(v)
	out := AnnouncementList{Announcements: []ListedAnnouncement{}}
	for i := len(all) - 1; i >= 0; i-- {
		out.Announcements = append(out.Announcements, listed(&all[i], a.Clock()))
	}
	return out, err
}

// WithdrawAnnouncement is the argument of announce.withdraw.
type WithdrawAnnouncement struct {
	ID int64 `json:"id"`
}

func (a Announcements) withdraw(ctx context.Context, args WithdrawAnnouncement) (out ListedAnnouncement, err error) {
	err = a.Store.Update(ctx, func(tx *store.Tx) error {
		n, err := people.Withdraw(tx, args.ID)
		if err == nil {
			out = listed(n, tx.Now())
		}
		return err
	})
	return out, err
}
