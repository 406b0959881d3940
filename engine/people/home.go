package people

import (
	"errors"
	"fmt"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

const (
	// newFollowersMax bounds the followers that a home page remembers.
	newFollowersMax = 50
	// contactsMax bounds the contacts that a home page remembers.
	contactsMax = 50
	// contactBytesMax bounds one of them.
	contactBytesMax = 4 << 10
	// dismissedMax bounds the announcements whose dismissal is remembered.
	dismissedMax = 100
)

// Home is what the server keeps of a person's home page; the rest of the page follows
// from what is so. merklehot/home makes the page.
type Home struct {
	// Version grows with every change that the page shows.
	Version int64 `codec:"v"`
	// LastViewed is when the person last looked, in milliseconds.
	LastViewed int64 `codec:"lv,omitempty"`
	Visits     int64 `codec:"n,omitempty"`
	// Open are all things to do, and Shown those of them that the person was asked to.
	Open  []int `codec:"o,omitempty"`
	Shown []int `codec:"w,omitempty"`
	// Skipped are the things to do that the person does not want to.
	Skipped []int `codec:"s,omitempty"`
	// Acted is when one was last done or skipped, in milliseconds.
	Acted int64 `codec:"a,omitempty"`
	// Badged is how many badges the person's devices were told of.
	Badged int `codec:"b,omitempty"`
	// Dismissed are announcements that are not to be shown any more, and Unread those
	// that the person's devices were told of as new. Announced is the version of the
	// announcements that they were told of.
	Dismissed []int   `codec:"d,omitempty"`
	Unread    []int64 `codec:"ar,omitempty"`
	Announced int64   `codec:"av,omitempty"`

	Followers []NewFollower `codec:"f,omitempty"` // newest last
	Contacts  []Contact     `codec:"c,omitempty"` // newest last
}

// NewFollower is somebody who began to follow.
type NewFollower struct {
	UID  kbsig.UID `codec:"u"`
	Time int64     `codec:"t"` // milliseconds
}

// Contact is somebody from a person's address book who was found, as the client of the
// person encrypted it.
type Contact struct {
	Blob string `codec:"b"` // base64
	Time int64  `codec:"t"` // milliseconds
}

// HomeOf loads what is kept of a home page; of one that nobody touched yet the version
// is 1.
func HomeOf(r store.Reader, u kbsig.UID) (*Home, error) {
	h, err := store.Load[Home](r, keys.Home(u))
	if errors.Is(err, store.ErrNotFound) {
		return &Home{Version: 1}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("home page of %s: %w", u, err)
	}
	return &h, nil
}

// PutHome writes it back.
func PutHome(tx *store.Tx, u kbsig.UID, h *Home) { store.Save(tx, keys.Home(u), h) }

// Skip notes that the person does not want to do something, and reports whether that
// is new.
func (h *Home) Skip(todo int) bool {
	if slices.Contains(h.Skipped, todo) {
		return false
	}
	h.Skipped = append(h.Skipped, todo)
	return true
}

// Dismiss notes that an announcement is not to be shown any more, and reports whether
// that is new.
func (h *Home) Dismiss(id int) bool {
	if slices.Contains(h.Dismissed, id) {
		return false
	}
	h.Dismissed = append(h.Dismissed, id)
	if over := len(h.Dismissed) - dismissedMax; over > 0 {
		h.Dismissed = slices.Delete(h.Dismissed, 0, over)
	}
	return true
}

// Follow notes a new follower.
func (h *Home) Follow(u kbsig.UID, nowMs int64) {
	h.Unfollow(u)
	h.Followers = append(h.Followers, NewFollower{u, nowMs})
	if over := len(h.Followers) - newFollowersMax; over > 0 {
		h.Followers = slices.Delete(h.Followers, 0, over)
	}
}

// Unfollow forgets one.
func (h *Home) Unfollow(u kbsig.UID) {
	h.Followers = slices.DeleteFunc(h.Followers, func(f NewFollower) bool { return f.UID == u })
}

// Meet notes contacts that were found.
func (h *Home) Meet(blobs []string, nowMs int64) error {
	if len(blobs) > contactsMax {
		return Fault(fmt.Sprintf("too many contacts at once, at most %d", contactsMax))
	}
	for _, b := range blobs {
		if b == "" || len(b) > contactBytesMax {
			return Fault(fmt.Sprintf("a contact has at most %d bytes", contactBytesMax))
		}
		if slices.ContainsFunc(h.Contacts, func(c Contact) bool { return c.Blob == b }) {
			continue
		}
		h.Contacts = append(h.Contacts, Contact{b, nowMs})
	}
	if over := len(h.Contacts) - contactsMax; over > 0 {
		h.Contacts = slices.Delete(h.Contacts, 0, over)
	}
	return nil
}
