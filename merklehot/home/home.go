// Package home makes a person's home page, computed from what is so: what there still is
// to do (a paper key, an address to confirm, a picture, ...), who began to follow, whom
// one might follow, what the operator announces.
//
// A thing to do disappears when it is done, however it was done, and the badge for it
// rests for a day whenever the person did something that the page had asked for. Whoever
// changes a fact that the page shows calls Refresh, Followed or Unfollowed in the same
// transaction; what the person's devices must be told of the change goes out with it.
//
// Nobody is woken by an announcement: a client hears of it when it asks for its page, or
// when it looks by itself whether there is a new one, which it does every hour.
//
// It promises that the page's version grows with every change of the page, except for what
// time alone changes (clients ask again after an hour), and that nobody whom the person
// blocked is on it. It writes nothing but the record of
// engine/people. It imports engine/accounts, engine/people, engine/events,
// merklehot/directory and merklehot/sigchain.
//
// client: go/home/home.go:Home, go/badges/badgestate.go:BadgeState
package home

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// Todo is a kind of thing to do. client: go/protocol/keybase1/home.go:HomeScreenTodoType
type Todo int

// The kinds that this server can see to be done.
const (
	TodoBio         Todo = 1
	TodoDevice      Todo = 3
	TodoFollow      Todo = 4
	TodoPaperKey    Todo = 6
	TodoVerifyEmail Todo = 20
	TodoAddEmail    Todo = 22
	TodoAvatar      Todo = 23
)

// skippable are all kinds that clients know and may ask to skip, those too that this
// server never shows.
var skippable = []Todo{1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 18, 19, 20, 21, 22, 23, 24, 10000}

// Skippable reports whether clients know a kind.
func Skippable(t Todo) bool { return slices.Contains(skippable, t) }

const (
	// todosShownMax is how many things a page asks for at a time.
	todosShownMax = 2
	// announcementsShownMax is how many announcements a page shows at a time.
	announcementsShownMax = 3
	// badgeRest is how long no badge asks for the next thing after one was done.
	badgeRest = 24 * time.Hour
)

// Kinds of items: things to do, and what the operator announces.
// client: go/protocol/keybase1/home.go:HomeScreenItemType
const (
	ItemTodo         = 1
	ItemAnnouncement = 3
)

// chain loads what a user's chain means.
func chain(r store.Reader, u kbsig.UID) (*sigchain.State, error) {
	b, err := r.Get(keys.Chain(u))
	if errors.Is(err, store.ErrNotFound) {
		return nil, accounts.ErrNoUser
	}
	if err != nil {
		return nil, fmt.Errorf("load chain of %s: %w", u, err)
	}
	return sigchain.DecodeState(b)
}

// open are the things that somebody could do, most urgent first.
func open(acct *accounts.Account, contact *accounts.Contact, st *sigchain.State, skipped []int) []int {
	var paper, others int
	for _, d := range st.ActiveDevices() {
		if d.Type == sigchain.DeviceBackup {
			paper++
		} else {
			others++
		}
	}
	if paper+others == 0 {
		return nil // not yet, or no longer, somebody with keys
	}
	var out []int
	for _, t := range []struct {
		todo Todo
		open bool
	}{
		{TodoPaperKey, paper == 0},
		{TodoVerifyEmail, contact.UnverifiedMail() != ""},
		{TodoBio, acct.Bio == ""},
		{TodoAvatar, people.PictureID(acct.Picture).IsZero()},
		{TodoAddEmail, len(contact.Mails) == 0},
		{TodoFollow, len(st.Tracks) == 0},
		{TodoDevice, others == 1},
	} {
		if t.open && !slices.Contains(skipped, int(t.todo)) {
			out = append(out, int(t.todo))
		}
	}
	return out
}

// first are those of the open things that a page asks for.
func first(open []int) []int { return open[:min(len(open), todosShownMax)] }

// badges is how many badges ask for something.
func badges(h *people.Home, now time.Time) int {
	if len(h.Open) == 0 || now.UnixMilli()-h.Acted < badgeRest.Milliseconds() {
		return 0
	}
	return 1
}

// Refresh brings a page in step with what is so, and tells the person's devices if that
// changed anything for them.
func Refresh(tx *store.Tx, u kbsig.UID) error {
	acct, err := accounts.Get(tx, u)
	if err != nil {
		return err
	}
	st, err := chain(tx, u)
	if err != nil {
		return err
	}
	return RefreshFrom(tx, acct, st)
}

// RefreshFrom is Refresh by somebody who has account and chain at hand.
func RefreshFrom(tx *store.Tx, acct *accounts.Account, st *sigchain.State) error {
	if acct.Status == accounts.StatusDeleted {
		return nil // change would find out, too, but the account may not be put back yet
	}
	contact, err := accounts.GetContact(tx, acct.UID)
	if err != nil {
		return err
	}
	return change(tx, acct.UID, func(h *people.Home) bool {
		now := open(acct, contact, st, h.Skipped)
		changed := !slices.Equal(now, h.Open)
		h.Open = now
		left := slices.DeleteFunc(slices.Clone(h.Shown), func(t int) bool { return !slices.Contains(now, t) })
		if len(left) < len(h.Shown) {
			h.Acted, h.Shown = tx.Now().UnixMilli(), left
		}
		return changed
	})
}

// change changes what is kept of a page. If fn says that the page shows something else
// now, its version grows; the devices are told of that, and of another number of badges.
// A deleted account has no page, whatever others still do that would be on it.
func change(tx *store.Tx, u kbsig.UID, fn func(*people.Home) bool) error {
	acct, err := accounts.Get(tx, u)
	if err != nil || acct.Status == accounts.StatusDeleted {
		return err
	}
	h, err := people.HomeOf(tx, u)
	if err != nil {
		return err
	}
	isNew, before := h.Open == nil && h.Version == 1, *h
	changed := fn(h)
	current, version, err := announced(tx, h, tx.Now())
	if err != nil {
		return err
	}
	if version != h.Announced {
		changed, h.Announced = true, version
	}
	h.Unread = unread(current, h)
	if changed {
		h.Version++
	}
	h.Badged = badges(h, tx.Now())
	same := !changed && h.Badged == before.Badged && h.LastViewed == before.LastViewed && slices.Equal(h.Unread, before.Unread)
	if same && h.Acted == before.Acted && slices.Equal(h.Shown, before.Shown) {
		return nil
	}
	people.PutHome(tx, u, h)
	if same {
		return nil
	}
	if err := tell(tx, u, h, "home.state"); err != nil || isNew || !changed {
		return err
	}
	return tell(tx, u, h, "home.update")
}

// tell puts the state of a page into the news for its person's devices. The newest
// state is all that counts. client: go/libkb/homestate.go:HomeStateBody
func tell(tx *store.Tx, u kbsig.UID, h *people.Home, category string) error {
	body := struct {
		Version              int64                  `json:"version"`
		BadgeCountMap        map[int]map[string]int `json:"badge_count_map"`
		LastViewedTime       int64                  `json:"last_viewed_time"`
		AnnouncementsVersion int64                  `json:"announcements_version"`
	}{h.Version, map[int]map[string]int{}, h.LastViewed, h.Announced}
	if h.Badged > 0 {
		body.BadgeCountMap[ItemTodo] = map[string]int{fmt.Sprint(h.Open[0]): h.Badged}
	}
	for _, id := range h.Unread {
		if body.BadgeCountMap[ItemAnnouncement] == nil {
			body.BadgeCountMap[ItemAnnouncement] = map[string]int{}
		}
		body.BadgeCountMap[ItemAnnouncement][fmt.Sprint(id)] = 1
	}
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return events.Add(tx, events.News{To: u, Category: category, Body: b, Replace: true})
}

// Followed puts a new follower on a person's page, unless the person blocked them, and
// notes on the follower's that this is somebody whom they follow back.
func Followed(tx *store.Tx, follower, followee kbsig.UID) error {
	if err := back(tx, follower, followee); err != nil {
		return err
	}
	b, err := people.BlockOf(tx, followee, follower)
	if err != nil || b.Any() {
		return err
	}
	return change(tx, followee, func(h *people.Home) bool {
		h.Follow(follower, tx.Now().UnixMilli())
		return true
	})
}

// Unfollowed takes somebody from a person's page who no longer follows.
func Unfollowed(tx *store.Tx, follower, followee kbsig.UID) error {
	if err := back(tx, follower, followee); err != nil {
		return err
	}
	return change(tx, followee, func(h *people.Home) bool {
		n := len(h.Followers)
		h.Unfollow(follower)
		return len(h.Followers) < n
	})
}

// back notes that a person follows somebody now, or no longer: the page says it of its
// followers.
func back(tx *store.Tx, u, other kbsig.UID) error {
	h, err := people.HomeOf(tx, u)
	if err != nil || !slices.ContainsFunc(h.Followers, func(f people.NewFollower) bool { return f.UID == other }) {
		return err
	}
	return change(tx, u, func(*people.Home) bool { return true })
}

// Blocks notes that a person's page may show other people now.
func Blocks(tx *store.Tx, u kbsig.UID) error {
	return change(tx, u, func(*people.Home) bool { return true })
}

// Skip notes that a person does not want to do something.
func Skip(tx *store.Tx, u kbsig.UID, t Todo) error {
	err := change(tx, u, func(h *people.Home) bool {
		if h.Skip(int(t)) {
			h.Acted = tx.Now().UnixMilli()
			return true
		}
		return false
	})
	if err != nil {
		return err
	}
	return Refresh(tx, u)
}

// announced are the announcements that a person's page shows, newest first, and the
// version of all announcements.
func announced(r store.Reader, h *people.Home, now time.Time) (shown []people.Announcement, version int64, err error) {
	all, version, err := people.Announcements(r)
	if err != nil {
		return nil, 0, err
	}
	for i := len(all) - 1; i >= 0 && len(shown) < announcementsShownMax; i-- {
		if a := all[i]; a.Open(now) && !slices.Contains(h.Dismissed, int(a.ID)) {
			shown = append(shown, a)
		}
	}
	return shown, version, nil
}

// unread are those of them that were made after the person last looked.
func unread(shown []people.Announcement, h *people.Home) (ids []int64) {
	for _, a := range shown {
		if a.CTime > h.LastViewed {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

// Dismiss notes that a person has read an announcement.
func Dismiss(tx *store.Tx, u kbsig.UID, id int) error {
	return change(tx, u, func(h *people.Home) bool { return h.Dismiss(id) })
}

// Visit notes that a person looks at the page.
func Visit(tx *store.Tx, u kbsig.UID) error {
	return change(tx, u, func(h *people.Home) bool {
		h.LastViewed = tx.Now().UnixMilli()
		h.Visits++
		return false
	})
}

// Meet puts people from a person's address book on the page, encrypted as the person's
// client sent them.
func Meet(tx *store.Tx, u kbsig.UID, blobs []string) error {
	var refused error
	err := change(tx, u, func(h *people.Home) bool {
		before := slices.Clone(h.Contacts)
		refused = h.Meet(blobs, tx.Now().UnixMilli())
		return !slices.Equal(h.Contacts, before)
	})
	return errors.Join(refused, err)
}

// Seen notes that a page was delivered, and which things to do it asked for.
func Seen(tx *store.Tx, u kbsig.UID, todos []int) error {
	return change(tx, u, func(h *people.Home) bool {
		h.Shown = todos
		return false
	})
}
