package home

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/limits"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/directory"
)

const (
	// followersShownMax bounds the followers that one item names.
	followersShownMax = 5
	// followersShownFor is how long a follower stays on the page.
	followersShownFor = 30 * 24 * time.Hour
	// SuggestionsMax bounds the people that a page suggests to follow.
	SuggestionsMax = 100
	// friendsAskedMax and friendsOfEachMax bound whom suggestions are taken from.
	friendsAskedMax  = 30
	friendsOfEachMax = 100
)

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("todosShownMax", todosShownMax, "things to do", "on a home page at a time"),
		limits.Count("announcementsShownMax", announcementsShownMax, "announcements", "on a home page at a time"),
		limits.Time("badgeRest", badgeRest, "without a badge on the home page after something was done"),
		limits.Count("followersShownMax", followersShownMax, "followers", "named in one item of a home page; the others are counted"),
		limits.Time("followersShownFor", followersShownFor, "that a new follower stays on a home page"),
		limits.Count("SuggestionsMax", SuggestionsMax, "people", "that a home page suggests to follow"),
		limits.Count("friendsAskedMax", friendsAskedMax, "people", "whom suggestions are taken from"),
		limits.Count("friendsOfEachMax", friendsOfEachMax, "follows", "of each of them that count"),
	}
}

// Page is a home page.
type Page struct {
	Version    int64
	LastViewed int64 // milliseconds
	Visits     int64
	Todos      []TodoItem
	// Unseen and Seen are the followers that the person has not, and has seen, newest
	// first.
	Unseen, Seen Followers
	Contacts     []ContactItem
	// Announcements are newest first; Announced is the version of all that there are.
	Announcements []AnnouncementItem
	Announced     int64
}

// AnnouncementItem is something that the operator announces.
type AnnouncementItem struct {
	people.Announcement
	Badged bool
}

// TodoItem is a thing to do.
type TodoItem struct {
	Todo   Todo
	Badged bool
	// Email is the address to verify.
	Email string
}

// Followers are people who began to follow.
type Followers struct {
	Named  []Follower
	Others int
}

// Follower is one of them.
type Follower struct {
	Account      *accounts.Account
	Time         int64 // milliseconds
	FollowedBack bool
}

// ContactItem is somebody from the person's address book.
type ContactItem struct {
	people.Contact
	Badged bool
}

// PageOf makes the page of u. It also returns what was kept of it, to tell whether the
// things to do were shown before.
func PageOf(r store.Reader, u kbsig.UID, now time.Time) (*Page, *people.Home, error) {
	h, err := people.HomeOf(r, u)
	if err != nil {
		return nil, nil, err
	}
	acct, err := accounts.Get(r, u)
	if err != nil {
		return nil, nil, err
	}
	st, err := chain(r, u)
	if err != nil {
		return nil, nil, err
	}
	contact, err := accounts.GetContact(r, u)
	if err != nil {
		return nil, nil, err
	}
	p := &Page{Version: h.Version, LastViewed: h.LastViewed, Visits: h.Visits}
	current := *h
	current.Open = open(acct, contact, st, h.Skipped)
	badged := badges(&current, now)
	for i, t := range first(current.Open) {
		item := TodoItem{Todo: Todo(t), Badged: i < badged}
		if item.Todo == TodoVerifyEmail {
			item.Email = contact.UnverifiedMail()
		}
		p.Todos = append(p.Todos, item)
	}
	if err := p.addFollowers(r, u, h, now); err != nil {
		return nil, nil, err
	}
	shown, version, err := announced(r, h, now)
	if err != nil {
		return nil, nil, err
	}
	p.Announced = version
	for _, a := range shown {
		p.Announcements = append(p.Announcements, AnnouncementItem{a, a.CTime > h.LastViewed})
	}
	for i := len(h.Contacts) - 1; i >= 0; i-- {
		p.Contacts = append(p.Contacts, ContactItem{h.Contacts[i], h.Contacts[i].Time > h.LastViewed})
	}
	return p, h, nil
}

// Shown are the things to do that a page asks for.
func (p *Page) Shown() []int {
	var out []int
	for _, t := range p.Todos {
		out = append(out, int(t.Todo))
	}
	return out
}

func (p *Page) addFollowers(r store.Reader, u kbsig.UID, h *people.Home, now time.Time) error {
	oldest := now.Add(-followersShownFor).UnixMilli()
	for i := len(h.Followers) - 1; i >= 0; i-- {
		f := h.Followers[i]
		if f.Time < oldest {
			break
		}
		b, err := people.BlockOf(r, u, f.UID)
		if err != nil {
			return err
		}
		acct, err := accounts.Get(r, f.UID)
		if err != nil && !errors.Is(err, accounts.ErrNoUser) {
			return err
		}
		if b.Any() || err != nil || acct.Status == accounts.StatusDeleted {
			continue
		}
		into := &p.Seen
		if f.Time > h.LastViewed {
			into = &p.Unseen
		}
		if len(into.Named) >= followersShownMax {
			into.Others++
			continue
		}
		back, err := directory.Follows(r, u, f.UID)
		if err != nil {
			return err
		}
		into.Named = append(into.Named, Follower{acct, f.Time, back})
	}
	return nil
}

// Suggest suggests at most n people to follow: those whom most of the people follow whom
// u follows.
func Suggest(r store.Reader, u kbsig.UID, n int) ([]*accounts.Account, error) {
	n = min(n, SuggestionsMax)
	if n <= 0 {
		return nil, nil
	}
	friends, err := directory.FollowsOf(r, u, friendsAskedMax)
	if err != nil {
		return nil, err
	}
	votes := map[kbsig.UID]int{}
	for _, f := range friends {
		theirs, err := directory.FollowsOf(r, f, friendsOfEachMax)
		if err != nil {
			return nil, err
		}
		for _, t := range theirs {
			votes[t]++
		}
	}
	delete(votes, u)
	order := make([]kbsig.UID, 0, len(votes))
	for v := range votes {
		order = append(order, v)
	}
	slices.SortFunc(order, func(a, b kbsig.UID) int {
		if c := cmp.Compare(votes[b], votes[a]); c != 0 {
			return c
		}
		return slices.Compare(a[:], b[:])
	})
	var out []*accounts.Account
	for _, v := range order {
		if len(out) == n {
			break
		}
		already, err := directory.Follows(r, u, v)
		if err != nil {
			return nil, err
		}
		b, err := people.BlockOf(r, u, v)
		if err != nil {
			return nil, err
		}
		if already || b.Any() {
			continue
		}
		acct, err := accounts.Get(r, v)
		if err != nil {
			return nil, err
		}
		if acct.Status != accounts.StatusDeleted {
			out = append(out, acct)
		}
	}
	return out, nil
}
