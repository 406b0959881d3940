// Package autoreset keeps the resets that people have asked for without a device of
// theirs, and that wait so that whoever has a device can object.
//
// A reset is asked for by somebody who knows the password, or by anybody who knows the
// name and then opens a link in a mail to the account's address. From then on it waits
// for days. The owner hears of it: a badge on every device, mails at the beginning, before
// the end and when it is ready. It can be cancelled all the time, from any device, with
// the password or by the link in the mails. When it is ready, it is done by who asked:
// with the password in the client, or by the link in the mail, which gives a new password.
//
//	nothing ──enter by name──► start ──link, or password──► verify ──days──► ready ──► done
//	   └──────enter with password──────────────────────────────┘
//	start, verify, ready ──cancel, or nobody comes──► nothing
//
// Contract:
//   - At most one reset of a user waits. What moves it on is a job (engine/jobs) of the
//     same transaction, so that a restart neither forgets nor hurries it.
//   - Links carry a MAC over user, reset and purpose: nothing secret is stored of them,
//     and they end with the reset that they belong to.
//   - Mail is best effort: a full queue keeps nobody from cancelling.
//
// It writes the key family W of engine/keys. That the account is really reset is
// merklehot/identity's; see Take.
// client: go/engine/account_reset.go:AccountReset.Run, go/libkb/constants.go:AutoresetEventStart
package autoreset

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Limits of waiting resets.
const (
	// warnBefore is how long before the end of the wait the owner is reminded.
	warnBefore = 24 * time.Hour
	// readyLifetime is how long a reset stays ready: then nobody came.
	readyLifetime = 14 * 24 * time.Hour
	// mailPause is how often somebody who enters by name again makes another mail.
	mailPause = time.Hour
	// linkBytes is the length of what makes a link secret, before hex.
	linkBytes = 16
	// TravelMax is how far a test may move a reset at a time.
	TravelMax = 366 * 24 * time.Hour
)

// Errors of this package.
var (
	// ErrNone says that no reset of the user waits.
	ErrNone = errors.New("no reset is under way")
	// ErrNotReady says that the reset has to wait.
	ErrNotReady = errors.New("the reset is not ready")
	// ErrBadLink says that a link was not made by this server, or that its reset is over.
	ErrBadLink = errors.New("the link does not belong to a reset that is under way")
)

// Event is how far a reset has come. client: go/libkb/constants.go:AutoresetEventStart
type Event int

// Events that a waiting reset can be at. Clients know others, which end it.
const (
	EventStart  Event = 0 // asked for by name; nobody has shown anything yet
	EventVerify Event = 1 // by somebody who may; waits
	EventReady  Event = 4
)

// Reset is one that waits.
type Reset struct {
	UID   kbsig.UID `codec:"u"`
	ID    [16]byte  `codec:"i"`
	Event Event     `codec:"e"`
	Since int64     `codec:"s"` // when it came to Event, unix seconds
	Delay int64     `codec:"d"` // seconds from there to the next step
	// Warned says that the owner has been reminded, and Mailed when the link to verify
	// was sent last, unix seconds.
	Warned bool  `codec:"w,omitempty"`
	Mailed int64 `codec:"m,omitempty"`
}

// End is when the present step ends.
func (r *Reset) End() time.Time { return time.Unix(r.Since+r.Delay, 0) }

// wake is when something is to be done.
func (r *Reset) wake() time.Time {
	if r.Event == EventVerify && !r.Warned {
		return r.End().Add(-warnBefore)
	}
	return r.End()
}

// Options is what a Service works with.
type Options struct {
	Store *store.Store
	Rand  io.Reader
	// Delay is how long a reset waits, DelayOne where the account has one device or none,
	// and Verify how long somebody has to open the link in the first mail.
	Delay, DelayOne, Verify time.Duration
	// Texts says that text messages leave this server.
	Texts bool
	// Site is the server's own address for people, without a slash at the end.
	Site func() string
}

// Service keeps the waiting resets. It is safe for concurrent use.
type Service struct {
	o      Options
	secret []byte // keys the links
}

// Kind is the kind of the jobs.
const Kind = "autoreset"

// New reads the secret of the links from the store, making it on the first start.
func New(ctx context.Context, o Options) (*Service, error) {
	s := &Service{o: o}
	err := o.Store.Update(ctx, func(tx *store.Tx) error {
		b, err := tx.Get(keys.Meta("reset-secret"))
		if errors.Is(err, store.ErrNotFound) {
			b = make([]byte, 32)
			if _, err := io.ReadFull(o.Rand, b); err != nil {
				return err
			}
			tx.Set(keys.Meta("reset-secret"), b)
			err = nil
		}
		s.secret = b
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("secret of the links: %w", err)
	}
	return s, nil
}

// Handle gives the runner the work of this package.
func (s *Service) Handle(r *jobs.Runner) {
	r.Handle(Kind, func(ctx context.Context, j jobs.Job) error {
		u, err := kbsig.ParseUID(j.Key)
		if err != nil {
			return jobs.GiveUp(err)
		}
		return s.o.Store.Update(ctx, func(tx *store.Tx) error { return s.Move(tx, u) })
	})
}

// Get is the reset of u that waits, or ErrNone.
func Get(r store.Reader, u kbsig.UID) (*Reset, error) {
	out, err := store.Load[Reset](r, keys.Autoreset(u))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("load the reset of %s: %w", u, err)
	}
	return &out, nil
}

// Waiting lists whose resets wait.
func Waiting(r store.Reader) (out []kbsig.UID, err error) {
	lo := keys.Autoresets()
	err = r.Scan(lo, keys.End(lo), func(_, v []byte) error {
		w, err := store.Decode[Reset](v)
		out = append(out, w.UID)
		return err
	})
	return out, err
}

// save keeps a reset with the job that moves it on.
func save(tx *store.Tx, r *Reset) error {
	store.Save(tx, keys.Autoreset(r.UID), r)
	return jobs.Add(tx, jobs.Job{Kind: Kind, Key: r.UID.String(), At: r.wake()})
}

// Drop forgets the reset of u, if there is one: the account has been reset or deleted in
// another way, or has lost what it was asked for.
func Drop(tx *store.Tx, u kbsig.UID) error {
	if _, err := Get(tx, u); errors.Is(err, ErrNone) {
		return nil
	} else if err != nil {
		return err
	}
	tx.Delete(keys.Autoreset(u))
	if err := jobs.Drop(tx, Kind, u.String()); err != nil {
		return err
	}
	return badge(tx, u, nil)
}

// Enter asks for a reset of u, with the password (self) or by name alone. One that waits
// already goes on as it is, except that the password verifies it.
func (s *Service) Enter(tx *store.Tx, u kbsig.UID, self bool) error {
	acct, err := accounts.Get(tx, u)
	if err != nil {
		return err
	}
	r, err := Get(tx, u)
	switch {
	case errors.Is(err, ErrNone):
		r = &Reset{UID: u}
		if _, err := io.ReadFull(s.o.Rand, r.ID[:]); err != nil {
			return err
		}
	case err != nil:
		return err
	case r.Event != EventStart:
		return nil
	}
	if self {
		return s.verify(tx, acct, r)
	}
	now := tx.Now()
	if r.Mailed != 0 && now.Unix() < r.Mailed+int64(mailPause/time.Second) {
		return nil
	}
	r.Since, r.Delay, r.Mailed = now.Unix(), int64(s.o.Verify/time.Second), now.Unix()
	if err := s.write(tx, acct, r, mailVerify); err != nil {
		return err
	}
	return save(tx, r)
}

// verify begins the wait.
func (s *Service) verify(tx *store.Tx, acct *accounts.Account, r *Reset) error {
	delay := s.o.Delay
	n, err := accounts.ActiveDevices(tx, r.UID)
	if err != nil {
		return err
	}
	if n <= 1 {
		delay = s.o.DelayOne
	}
	r.Event, r.Since, r.Delay = EventVerify, tx.Now().Unix(), int64(delay/time.Second)
	if err := s.write(tx, acct, r, mailWaiting); err != nil {
		return err
	}
	if err := badge(tx, r.UID, r); err != nil {
		return err
	}
	return save(tx, r)
}

// Cancel ends the reset of u; ErrNone if there is none.
func (s *Service) Cancel(tx *store.Tx, u kbsig.UID) error {
	r, err := Get(tx, u)
	if err != nil {
		return err
	}
	acct, err := accounts.Get(tx, u)
	if err != nil {
		return err
	}
	if r.Event != EventStart {
		if err := s.write(tx, acct, r, mailCancelled); err != nil {
			return err
		}
	}
	return Drop(tx, u)
}

// Take ends the reset of u in the transaction that really resets the account; ErrNotReady
// if it has to wait, ErrNone if there is none.
func (s *Service) Take(tx *store.Tx, u kbsig.UID) error {
	r, err := Get(tx, u)
	if err != nil {
		return err
	}
	if r.Event == EventVerify && !tx.Now().Before(r.End()) {
		r.Event = EventReady // the job is late
	}
	if r.Event != EventReady {
		return ErrNotReady
	}
	acct, err := accounts.Get(tx, u)
	if err != nil {
		return err
	}
	if err := s.write(tx, acct, r, mailDone); err != nil {
		return err
	}
	return Drop(tx, u)
}

// Move does what has become due for u. Doing it twice is doing it once.
func (s *Service) Move(tx *store.Tx, u kbsig.UID) error {
	r, err := Get(tx, u)
	if errors.Is(err, ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	acct, err := accounts.Get(tx, u)
	if err != nil {
		return err
	}
	now := tx.Now()
	switch {
	case now.Before(r.wake()):
		return save(tx, r)
	case r.Event == EventVerify && !now.Before(r.End()):
		r.Event, r.Since, r.Delay = EventReady, now.Unix(), int64(readyLifetime/time.Second)
		if err := s.write(tx, acct, r, mailReady); err != nil {
			return err
		}
		if err := badge(tx, u, r); err != nil {
			return err
		}
	case r.Event == EventVerify:
		r.Warned = true
		if err := s.write(tx, acct, r, mailWarning); err != nil {
			return err
		}
	default: // nobody came
		return Drop(tx, u)
	}
	return save(tx, r)
}

// Travel moves the reset of u by d towards its end, for tests.
func (s *Service) Travel(tx *store.Tx, u kbsig.UID, d time.Duration) error {
	r, err := Get(tx, u)
	if err != nil {
		return err
	}
	r.Since -= int64(d / time.Second)
	return save(tx, r)
}

// Purpose is what a link is for.
type Purpose string

// Purposes of links.
const (
	LinkVerify Purpose = "verify" // I asked for it
	LinkCancel Purpose = "cancel" // I don't want it
	LinkFinish Purpose = "finish" // do it, and give me a new password
)

// Link is the path of a link, below the server's own address.
func (s *Service) Link(r *Reset, p Purpose) string {
	return PathPrefix + string(p) + "/" + r.UID.String() + "/" + hex.EncodeToString(s.mac(r, p))
}

// PathPrefix is where the links lead.
const PathPrefix = "/_/account-reset/"

func (s *Service) mac(r *Reset, p Purpose) []byte {
	h := hmac.New(sha256.New, s.secret)
	fmt.Fprintf(h, "%s %x %x", p, r.UID, r.ID)
	return h.Sum(nil)[:linkBytes]
}

// Open reads the path of a link; the error is ErrBadLink unless it was made for a reset
// that waits.
func (s *Service) Open(r store.Reader, path string) (*Reset, Purpose, error) {
	rest, ok := strings.CutPrefix(path, PathPrefix)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return nil, "", ErrBadLink
	}
	u, err := kbsig.ParseUID(parts[1])
	if err != nil {
		return nil, "", ErrBadLink
	}
	got, err := hex.DecodeString(parts[2])
	if err != nil {
		return nil, "", ErrBadLink
	}
	w, err := Get(r, u)
	if errors.Is(err, ErrNone) {
		return nil, "", ErrBadLink
	}
	if err != nil {
		return nil, "", err
	}
	p := Purpose(parts[0])
	if !hmac.Equal(got, s.mac(w, p)) {
		return nil, "", ErrBadLink
	}
	return w, p, nil
}

// Verify begins the wait of a reset whose link was opened. Once is as good as twice.
func (s *Service) Verify(tx *store.Tx, u kbsig.UID) error {
	r, err := Get(tx, u)
	if err != nil || r.Event != EventStart {
		return err
	}
	acct, err := accounts.Get(tx, u)
	if err != nil {
		return err
	}
	return s.verify(tx, acct, r)
}
