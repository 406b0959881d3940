package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/keyboxes"
)

// What clients were told before a server came to its end, and what is looked for after.

// promise is something that a client has been told.
type promise struct {
	uid     client.UID
	seqno   client.Seqno // with link: of a link
	link    client.LinkID
	session *client.Session
	until   time.Time       // with session
	device  client.DeviceID // with ek: of a device's ephemeral key
	ek      int             // generation
	userEK  int
	// told is what the account was when the promise was made: a reset ends what was
	// bound to its keys, another password the sessions of the old one.
	told told
}

// told is what somebody was told that their account is.
type told struct {
	resets, generation int
	mails              string // as mailRow puts it, the primary address first
}

// mailRow is one mail address in told.
func mailRow(text string, verified bool) string {
	return text + map[bool]string{true: " verified", false: ""}[verified] + "\n"
}

// book is what all clients together have been told, in order.
type book struct {
	witness  *client.Witness
	mu       sync.Mutex
	promises []promise
	group    uint64 // the newest that was published
	// sure is what was acknowledged of each account, maybe what it is besides if what
	// was asked for last has happened.
	sure, maybe map[client.UID]told
}

func newBook() *book {
	return &book{witness: strictWitness(), sure: map[client.UID]told{}, maybe: map[client.UID]told{}}
}

// change asks for something that changes what an account is. Nobody else may change the
// account meanwhile.
func (b *book) change(u client.UID, how func(*told), ask func() error) error {
	b.mu.Lock()
	t := b.sure[u]
	how(&t)
	b.maybe[u] = t
	b.mu.Unlock()
	err := ask()
	if err == nil {
		b.mu.Lock()
		b.sure[u] = t
		b.mu.Unlock()
	}
	return err
}

// joined notes a new account.
func (b *book) joined(u client.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sure[u], b.maybe[u] = told{generation: 1}, told{generation: 1}
}

func (b *book) published(group uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.group = max(b.group, group)
}

func (b *book) add(p ...promise) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range p {
		p[i].told = b.sure[p[i].uid]
	}
	b.promises = append(b.promises, p...)
}

func (b *book) addLinks(u client.UID, links []*client.SignedLink) {
	for _, l := range links {
		b.add(promise{uid: u, seqno: l.Spec.Seqno, link: l.ID})
	}
}

// sessionLife is less than what a session lives.
const sessionLife = 20 * time.Hour

func (b *book) addSession(r *run, u client.UID, s *client.Session) {
	b.add(promise{uid: u, session: s, until: r.lab.time().Add(sessionLife)})
}

// page is the book at one moment.
type page struct {
	promises []promise
	roots    []client.SeenRoot
	group    uint64 // published by then

	sure, maybe map[client.UID]told
}

// page is the book now; the roots may be some more.
func (b *book) page() page {
	b.mu.Lock()
	defer b.mu.Unlock()
	return page{promises: b.promises[:len(b.promises):len(b.promises)], roots: b.witness.Dump(), group: b.group, sure: maps.Clone(b.sure), maybe: maps.Clone(b.maybe)}
}

// check starts a server on what a crash left and compares it with what was promised.
func (p page) check(l *lab, rng *rand.Rand) (err error) {
	r, err := l.start()
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	stopped := false
	defer func() {
		if !stopped {
			err = errors.Join(err, r.stop())
		}
	}()
	if err := r.audit(); err != nil {
		return err
	}
	if err := p.holds(r, rng); err != nil {
		return err
	}
	// And it goes on from there.
	ctx := context.Background()
	w := strictWitness()
	if err := w.Merge(p.roots); err != nil {
		return err
	}
	_, err = client.Signup(ctx, r.verifier(w), client.SignupOptions{
		Name: "afterwards", Stream: client.CheapStream(nil), DeviceName: "the device",
	})
	if err != nil {
		return fmt.Errorf("sign up afterwards: %w", err)
	}
	stopped = true
	if err := r.stop(); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return l.rebuild(r.newest())
}

// holds compares a server with what was promised, by the eyes of a strict client that
// remembers every root.
func (p page) holds(r *run, rng *rand.Rand) error {
	ctx := context.Background()
	v := r.store.View()
	defer v.Close()
	group, err := groupOf(v)
	if err != nil {
		return err
	}
	if group < p.group {
		return fmt.Errorf("group %d was published, the store ends with %d", p.group, group)
	}
	w := strictWitness()
	if err := w.Merge(p.roots); err != nil {
		return err
	}
	eyes := r.verifier(w)
	newest, err := eyes.RefreshRoot(ctx)
	if err != nil {
		return fmt.Errorf("newest root: %w", err)
	}
	for i, seen := range p.roots {
		if seen.Seqno > newest.Seqno {
			return fmt.Errorf("root %d was seen, the newest is %d", seen.Seqno, newest.Seqno)
		}
		if i < len(p.roots)-5 && rng.IntN(len(p.roots)) > 5 {
			continue
		}
		// The verifier compares it with the one that was seen.
		if seen.Seqno < eyes.Server().FirstRoot {
			continue
		}
		if _, err := eyes.RootAt(ctx, seen.Seqno); err != nil {
			return fmt.Errorf("root %d, seen before: %w", seen.Seqno, err)
		}
	}
	users := map[client.UID]*client.User{}
	is := map[client.UID]told{}
	look := func(uid client.UID) error {
		if users[uid] != nil {
			return nil
		}
		if users[uid], err = eyes.LoadUser(ctx, uid, client.LoadOptions{}); err != nil {
			return fmt.Errorf("load %s: %w", uid, err)
		}
		is[uid], err = toldOf(v, users[uid])
		return err
	}
	for uid, sure := range p.sure {
		if err := look(uid); err != nil {
			return err
		}
		if t := is[uid]; t != sure && t != p.maybe[uid] {
			return fmt.Errorf("%s is %+v, acknowledged as %+v, perhaps %+v", users[uid].Username, t, sure, p.maybe[uid])
		}
	}
	for _, made := range p.promises {
		if err := look(made.uid); err != nil {
			return err
		}
		if err := made.holds(ctx, r, users[made.uid], is[made.uid]); err != nil {
			return err
		}
	}
	return nil
}

// toldOf is what an account is.
func toldOf(v store.Reader, u *client.User) (told, error) {
	t := told{resets: len(u.Resets), generation: u.PassphraseGeneration}
	contact, err := accounts.GetContact(v, kbsig.UID(u.UID))
	if err != nil {
		return t, err
	}
	for _, m := range contact.Mails {
		t.mails += mailRow(m.Address, m.Verified != 0)
	}
	return t, nil
}

// holds looks for what one promise was about.
func (p promise) holds(ctx context.Context, r *run, u *client.User, is told) error {
	switch uid := kbsig.UID(p.uid); {
	case p.seqno > 0:
		if l := u.Link(p.seqno); l == nil || l.ID != p.link {
			return fmt.Errorf("link %d of %s was acknowledged as %s and is not there", p.seqno, u.Username, p.link)
		}
	case is.resets > p.told.resets:
		return nil // it went with the incarnation
	case p.session != nil:
		if p.until.Before(r.lab.time()) || is.generation > p.told.generation {
			return nil
		}
		if err := r.client.CheckSession(ctx, p.session); err != nil {
			return fmt.Errorf("session of %s: %w", u.Username, err)
		}
	case p.ek > 0:
		v := r.store.View()
		defer v.Close()
		if d := u.Family.Device(p.device); d == nil || d.Revoked {
			return nil // its key went with it
		}
		ek, err := keyboxes.GetDeviceEK(v, uid, kbsig.DeviceID(p.device))
		if err != nil || ek.Generation < p.ek {
			return fmt.Errorf("device ephemeral key %d of %s is not there: %v", p.ek, u.Username, err)
		}
	case p.userEK > 0:
		v := r.store.View()
		defer v.Close()
		ek, err := keyboxes.NewestUserEK(v, uid)
		if err != nil || ek == nil || ek.Generation < p.userEK {
			return fmt.Errorf("user ephemeral key %d of %s is not there: %v", p.userEK, u.Username, err)
		}
	}
	return nil
}
