package home

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/directory"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// world is people in a store in memory, with a clock of its own.
type world struct {
	t     failer
	st    *store.Store
	clock *clock.Fake
	names map[kbsig.UID]string
	told  int // how many entries of the outbox were shown
}

type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}

func newWorld(t failer) *world {
	w := &world{t: t, clock: clock.NewFake(time.Unix(1_700_000_000, 0)), names: map[kbsig.UID]string{}}
	st, err := store.Open(store.Options{
		Dir: "s", FS: vfs.NewMem(), Clock: w.clock.Now, Rand: rand.NewChaCha8([32]byte{3}), CacheBytes: 1 << 20,
		Fatal: func(err error) { t.Errorf("unexpected fatal: %v", err) },
	})
	w.must(err)
	t.Cleanup(func() { _ = st.Close() })
	w.st = st
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) update(fn func(tx *store.Tx) error) {
	w.t.Helper()
	w.must(w.st.Update(context.Background(), fn))
}

func uidOf(name string) kbsig.UID { return kbsig.UIDOf(kbsig.Username(name)) }

// person makes an account without keys.
func (w *world) person(name string) {
	u := uidOf(name)
	w.names[u] = name
	w.update(func(tx *store.Tx) error {
		tx.Set(keys.Chain(u), sigchain.NewState(u, kbsig.Username(name)).Encode())
		return accounts.Create(tx, &accounts.Account{UID: u, Name: kbsig.Username(name)})
	})
}

// devices gives somebody so many devices and paper keys in place of those that there
// were, as far as this package looks at a chain.
func devices(tx *store.Tx, u kbsig.UID, computers, papers int) error {
	st, err := chain(tx, u)
	if err != nil {
		return err
	}
	st.Tail, st.EldestSeqno, st.Incarnation = 1, 1, 1
	st.Eldest = kbsig.NewKID(kbsig.KIDTypeEdDSA, sha256.Sum256(u[:]))
	st.Devices = nil
	for i := range computers + papers {
		d := sigchain.Device{ID: kbsig.DeviceID{byte(i)}, Incarnation: 1, Name: fmt.Sprint("device ", i), Type: sigchain.DeviceDesktop, Status: sigchain.DeviceActive, Sibkey: st.Eldest, AddedAt: 1}
		if i >= computers {
			d.Type = sigchain.DeviceBackup
		}
		st.Devices = append(st.Devices, d)
	}
	tx.Set(keys.Chain(u), st.Encode())
	return Refresh(tx, u)
}

// follow is what merklehot/identity does with a link that follows, or no longer.
func follow(tx *store.Tx, a, b kbsig.UID, on bool) error {
	st, err := chain(tx, a)
	if err != nil {
		return err
	}
	_, before := st.Follows(b)
	st.Tracks = slices.DeleteFunc(st.Tracks, func(t sigchain.Track) bool { return t.UID == b })
	if on {
		st.Tracks = append(st.Tracks, sigchain.Track{UID: b, Username: "somebody", Seqno: 1})
		slices.SortFunc(st.Tracks, func(x, y sigchain.Track) int { return bytes.Compare(x.UID[:], y.UID[:]) })
	}
	tx.Set(keys.Chain(a), st.Encode())
	if err := Refresh(tx, a); err != nil {
		return err
	}
	if on {
		directory.SetFollow(tx, a, b, kbsig.LinkID{1}, 1)
	} else {
		directory.DropFollow(tx, a, b)
	}
	switch {
	case on && !before:
		return Followed(tx, a, b)
	case !on && before:
		return Unfollowed(tx, a, b)
	}
	return nil
}

// block is what the door does with the wish of a, that changed something or not.
func block(tx *store.Tx, a, b kbsig.UID, chat, follow bool) error {
	if _, err := people.SetBlocks(tx, a, []people.BlockChange{{UID: b, Chat: &chat, Follow: &follow}}); err != nil {
		return err
	}
	return Blocks(tx, a)
}

// profile is what the door does with what somebody writes about themselves.
func profile(tx *store.Tx, u kbsig.UID, bio string) error {
	if _, err := people.SetProfile(tx, u, people.Profile{Bio: bio}); err != nil {
		return err
	}
	return Refresh(tx, u)
}

// picture gives somebody a picture, or none.
func picture(tx *store.Tx, u kbsig.UID, on byte) error {
	acct, err := accounts.Get(tx, u)
	if err != nil {
		return err
	}
	acct.Picture = [16]byte{on}
	accounts.Put(tx, acct)
	return Refresh(tx, u)
}

// remove deletes an account, as far as this package looks at it.
func remove(tx *store.Tx, u kbsig.UID) error {
	acct, err := accounts.Get(tx, u)
	if err != nil {
		return err
	}
	acct.Status = accounts.StatusDeleted
	accounts.Put(tx, acct)
	tx.Delete(keys.Home(u))
	return Refresh(tx, u)
}

// page is the page that somebody gets who asks, as the door makes it: it is delivered,
// but not yet looked at.
func (w *world) page(name string) *Page {
	w.t.Helper()
	v := w.st.View()
	defer v.Close()
	p, kept, err := PageOf(v, uidOf(name), w.clock.Now())
	w.must(err)
	if shown := p.Shown(); !slices.Equal(shown, kept.Shown) {
		w.update(func(tx *store.Tx) error { return Seen(tx, uidOf(name), shown) })
	}
	return p
}

// text is what a page shows, a line for each item, a star for each badge; without its
// version and times.
func (p *Page) text() string {
	var b strings.Builder
	line := func(badged bool, format string, args ...any) {
		fmt.Fprintf(&b, format, args...)
		if badged {
			b.WriteString(" *")
		}
		b.WriteByte('\n')
	}
	for _, t := range p.Todos {
		line(t.Badged, "%s%s", todoNames[t.Todo], strings.TrimRight(" "+t.Email, " "))
	}
	for _, a := range p.Announcements {
		line(a.Badged, "announcement %d: %s", a.ID, a.Text)
	}
	for i, group := range []Followers{p.Unseen, p.Seen} {
		for _, f := range group.Named {
			back := ""
			if f.FollowedBack {
				back = ", followed back"
			}
			line(i == 0, "follower %s%s", f.Account.Name, back)
		}
		if group.Others > 0 {
			line(i == 0, "and %d other followers", group.Others)
		}
	}
	for _, c := range p.Contacts {
		line(c.Badged, "contact %s", c.Blob)
	}
	return b.String()
}

var todoNames = map[Todo]string{
	TodoBio: "bio", TodoDevice: "device", TodoFollow: "follow", TodoPaperKey: "paper-key",
	TodoVerifyEmail: "verify-email", TodoAddEmail: "add-email", TodoAvatar: "picture",
}

// news is what devices were told of pages since it was last asked.
func (w *world) news() string {
	v := w.st.View()
	defer v.Close()
	var b strings.Builder
	n := 0
	w.must(v.Scan(keys.Events(), keys.End(keys.Events()), func(_, value []byte) error {
		r, err := store.Decode[events.Record](value)
		if n++; err != nil || n <= w.told || !strings.HasPrefix(r.Category, "home.") {
			return err
		}
		if !r.Replace {
			return errors.New("an older state stays beside the newest")
		}
		fmt.Fprintf(&b, "%s: %s %s\n", w.names[r.To], r.Category, r.Body)
		return nil
	}))
	w.told = n
	if b.Len() == 0 {
		return "nothing\n"
	}
	return b.String()
}

// alone runs fn, and fails if that wrote anything but pages and news.
func (w *world) alone(fn func(tx *store.Tx) error) {
	w.t.Helper()
	others := func(tx *store.Tx) (map[string]string, error) {
		out := map[string]string{}
		err := tx.Scan([]byte{0}, []byte{0xff}, func(k, v []byte) error {
			if k[0] != keys.Events()[0] && !bytes.Equal(k, keys.EventCursor("")) {
				out[string(k)] = string(v)
			}
			return nil
		})
		for u := range w.names {
			delete(out, string(keys.Home(u)))
		}
		return out, err
	}
	w.update(func(tx *store.Tx) error {
		before, err := others(tx)
		if err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			return err
		}
		after, err := others(tx)
		if err == nil && !maps.Equal(before, after) {
			err = errors.New("more was written than pages and news")
		}
		return err
	})
}
