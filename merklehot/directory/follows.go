// Package directory answers questions whose answers follow from chains, kept as
// indexes in the batches that append the links: who follows whom, who has which PGP key.
//
// It writes the key families f and F of engine/keys, always as a pair, and P.
package directory

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// followListMax bounds a follower list that is shown at once.
const followListMax = 10000

// Follow is one row of a follower list.
type Follow struct {
	UID   kbsig.UID    `codec:"u"` // the other user
	Link  kbsig.LinkID `codec:"l"` // the track link
	Ctime int64        `codec:"t"` // unix seconds
	// Eldest is the first link of the incarnation that is followed, 0 if there was none.
	Eldest kbsig.Seqno `codec:"e,omitempty"`
}

// Stale reports that who is followed was reset since; now is the first link of the
// present incarnation. Clients follow nobody over a reset, and want nobody listed.
// client: go/engine/list_tracking.go:ListTrackingEngine.Run
func (f Follow) Stale(now kbsig.Seqno) bool { return f.Eldest != 0 && f.Eldest != now }

// SetFollow notes that a follows b since link, in the incarnation of b that eldest began.
func SetFollow(tx *store.Tx, a, b kbsig.UID, link kbsig.LinkID, eldest kbsig.Seqno) {
	now := tx.Now().Unix()
	store.Save(tx, keys.Follow(a, b), Follow{UID: b, Link: link, Ctime: now, Eldest: eldest})
	store.Save(tx, keys.Follower(b, a), Follow{UID: a, Link: link, Ctime: now, Eldest: eldest})
}

// DropFollow notes that a no longer follows b.
func DropFollow(tx *store.Tx, a, b kbsig.UID) {
	tx.Delete(keys.Follow(a, b))
	tx.Delete(keys.Follower(b, a))
}

// FollowList lists whom u follows, or else who follows u, and says how many more there
// are than fit into a list.
func FollowList(r store.Reader, u kbsig.UID, following bool) (list []Follow, beyond int, err error) {
	lo := keys.Followers(u)
	if following {
		lo = keys.Follows(u)
	}
	err = r.Scan(lo, keys.End(lo), func(_, v []byte) error {
		if len(list) == followListMax {
			beyond++
			return nil
		}
		f, err := store.Decode[Follow](v)
		list = append(list, f)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("follows of %s: %w", u, err)
	}
	return list, beyond, nil
}

// Follows reports whether a follows b.
func Follows(r store.Reader, a, b kbsig.UID) (bool, error) { return store.Has(r, keys.Follow(a, b)) }

// FollowsNow is Follows, of the incarnation of b that eldest began.
func FollowsNow(r store.Reader, a, b kbsig.UID, eldest kbsig.Seqno) (bool, error) {
	f, err := store.Load[Follow](r, keys.Follow(a, b))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("follow of %s by %s: %w", b, a, err)
	}
	return !f.Stale(eldest), nil
}

// FollowsOf lists at most n of the people whom u follows, by their ids.
func FollowsOf(r store.Reader, u kbsig.UID, n int) ([]kbsig.UID, error) {
	var out []kbsig.UID
	lo := keys.Follows(u)
	err := r.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		other, ok := keys.OtherUser(k)
		if !ok {
			return fmt.Errorf("malformed key of a follow of %s", u)
		}
		if out = append(out, other); len(out) >= n {
			return store.ErrStop
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("follows of %s: %w", u, err)
	}
	return out, nil
}
