// Package accounts holds what the server knows of a user that nobody signs:
// password verifiers, salts, sessions and accepted tokens, device server halves,
// mail addresses and telephone numbers, versions that tell clients to fetch again.
//
// Every function takes a store.Reader or a store.Tx and leaves the rest to the
// caller's transaction. Invariants: a name once taken is never freed; IDVersion and
// PrivateVersion only grow; no password-equivalent is stored (of pwh only the public
// key derived from it); tokens and invitation codes are stored as hashes.
//
// Nobody learns from an answer whether an address is somebody's unless it is verified
// and public (one that is taken is refused, but only after it was verified).
//
// It writes the key families A, N, E, C, m, n, D, d, S, Y, T, K, I and t of engine/keys.
package accounts

import (
	"errors"
	"fmt"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Status of an account. client: go/protocol/keybase1/constants.go:StatusCode
const (
	StatusActive  = 0
	StatusDeleted = 216
)

// Errors of this package.
var (
	ErrNameTaken = errors.New("the name is taken")
	// ErrNameDeleted says that the name is that of a deleted account.
	ErrNameDeleted = errors.New("the name is that of a deleted account")
	ErrNoUser      = errors.New("no such user")
	ErrNoDevice    = errors.New("no such device")
	ErrNoSession   = errors.New("no such session")
	ErrNoToken     = errors.New("no such token")
)

// Account is what the server holds of one user.
type Account struct {
	UID    kbsig.UID      `codec:"u"`
	Name   kbsig.Username `codec:"n"`
	Cased  string         `codec:"c"` // the name as typed at sign-up
	Status int            `codec:"st"`

	Salt       [16]byte  `codec:"sa"` // of the passphrase stream
	PwhVersion int       `codec:"pv"` // 3
	PDPKA4     kbsig.KID `codec:"p4"` // derived from pwh, which is not kept
	PDPKA5     kbsig.KID `codec:"p5"`
	Generation int       `codec:"g"` // of the passphrase, from 1
	// Epoch grows with each reset; sessions of an earlier one are over.
	Epoch    int  `codec:"ep,omitempty"`
	RandomPW bool `codec:"rp"`

	// Invitation is the public name of the invitation that was used, never its code;
	// empty where sign-up was open.
	Invitation string `codec:"i,omitempty"`

	FullName string `codec:"fn,omitempty"`
	Bio      string `codec:"bi,omitempty"`
	Location string `codec:"lo,omitempty"`

	// Picture is what others see of the user, and PictureBefore what they saw before;
	// zero: none. See engine/people.
	Picture       [16]byte `codec:"pi,omitempty"`
	PictureBefore [16]byte `codec:"pb,omitempty"`
	// PictureSource is the service whose picture of them the user would rather show,
	// by its number in engine/people; 0: the picture here.
	PictureSource int `codec:"ps,omitempty"`

	BotTokens []BotToken `codec:"bt,omitempty"`
	// BotOf is who signed the account up as a bot; zero: nobody.
	BotOf    kbsig.UID `codec:"bo"`
	Features []Feature `codec:"fe,omitempty"` // set by tests

	// IDVersion grows with every change that user/lookup shows; clients fetch
	// again when merkle/path names a higher one.
	IDVersion int64 `codec:"iv"`
	// PrivateVersion grows with every change that key/fetch_private shows.
	PrivateVersion int64 `codec:"kv"`
	// TrackVersion grows with every change of the user's follower lists.
	TrackVersion int64 `codec:"tv"`

	CTime        int64 `codec:"ct"` // unix seconds
	MTime        int64 `codec:"mt"`
	LastIDChange int64 `codec:"lc"`
}

// Get loads a user's account; the error is ErrNoUser if there is none.
func Get(r store.Reader, u kbsig.UID) (*Account, error) {
	a, err := store.Load[Account](r, keys.Account(u))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoUser
	}
	if err != nil {
		return nil, fmt.Errorf("load account %s: %w", u, err)
	}
	return &a, nil
}

// ByName loads the account of a name; the error is ErrNoUser if nobody has it.
func ByName(r store.Reader, n kbsig.Username) (*Account, error) {
	u, err := store.Load[kbsig.UID](r, keys.Name(n))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoUser
	}
	if err != nil {
		return nil, fmt.Errorf("load name: %w", err)
	}
	return owner(r, u, "name")
}

// owner loads the account that an index leads to. None is damage, not a stranger.
func owner(r store.Reader, u kbsig.UID, index string) (*Account, error) {
	a, err := Get(r, u)
	if errors.Is(err, ErrNoUser) {
		return nil, fmt.Errorf("a %s belongs to %s, who has no account", index, u)
	}
	return a, err
}

// Create writes a new account under its name. The name and the uid must be free.
func Create(tx *store.Tx, a *Account) error {
	holder, err := ByName(tx, a.Name)
	switch {
	case err == nil && holder.Status == StatusDeleted:
		return ErrNameDeleted
	case err == nil:
		return ErrNameTaken
	case !errors.Is(err, ErrNoUser):
		return err
	}
	// The uid is a hash of the name cut to 15 bytes: a second name with the same
	// uid is as good as impossible, and must not overwrite the first.
	taken, err := store.Has(tx, keys.Account(a.UID))
	if err != nil {
		return err
	} else if taken {
		return ErrNameTaken
	}
	a.CTime = tx.Now().Unix()
	a.MTime, a.LastIDChange = a.CTime, a.CTime
	a.IDVersion, a.PrivateVersion, a.TrackVersion = 1, 1, 1
	store.Save(tx, keys.Name(a.Name), a.UID)
	Put(tx, a)
	return nil
}

// Put writes an account back.
func Put(tx *store.Tx, a *Account) { store.Save(tx, keys.Account(a.UID), a) }

// TouchIdentity notes a change that user/lookup shows.
func (a *Account) TouchIdentity(now time.Time) {
	a.IDVersion++
	a.MTime, a.LastIDChange = now.Unix(), now.Unix()
}

// TouchPrivate notes a change that key/fetch_private shows.
func (a *Account) TouchPrivate() { a.PrivateVersion++ }
