// Package push wakes devices that are not connected: it keeps the tokens by which they
// are reached and sends them what their people should hear of.
//
// It owns the key family "Q" of engine/keys and the jobs of kind "push", and promises:
//   - A notification belongs to the transaction that Send is called in; it is carried
//     after it, at least once to each device, and again with a growing pause while the
//     carrier says "not now".
//   - A token that its carrier calls gone is forgotten, unless it has been replaced.
//   - A device that is connected is not woken.
//   - A notification says no more than what the sender of it put into it: what is secret
//     has to be encrypted for the device before.
//
// How a token is reached is a Courier's business: one for each way. Tokens of a way
// without a courier are kept, and what is for them is counted and dropped.
//
// client: shared/constants/push.native.tsx, shared/constants/platform-specific/push.native.tsx
package push

import (
	"errors"
	"fmt"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Limits of waking.
const (
	// tokenBytesMax bounds a token; those of phones have up to 200 characters, a
	// UnifiedPush endpoint is a URL with keys.
	tokenBytesMax = 2048
	// tokensMax bounds the tokens of one user; the oldest makes room.
	tokensMax = 64
	// bodyBytesMax bounds what one notification carries: what every way takes.
	bodyBytesMax = 3000
	// tooOld is the age after which a notification wakes nobody any more.
	tooOld = 24 * time.Hour
)

// Way is how a token reaches its device.
type Way string

// The ways. Stock clients name the first three.
const (
	Apple       Way = "apple"
	AppleDevel  Way = "appledev"
	Android     Way = "androidplay"
	UnifiedPush Way = "unifiedpush"
)

// ParseWay reads the name of a way.
func ParseWay(s string) (Way, bool) {
	switch w := Way(s); w {
	case Apple, AppleDevel, Android, UnifiedPush:
		return w, true
	}
	return "", false
}

// Token is by what a device is woken.
type Token struct {
	Device kbsig.DeviceID `codec:"d"`
	Way    Way            `codec:"w"`
	Token  string         `codec:"t"`
	Since  int64          `codec:"s"` // unix seconds
}

// Errors of this package.
var (
	// ErrToken reports a token that cannot be kept.
	ErrToken = errors.New("not a token that can be kept")
	// ErrTooLong reports a notification that no way would carry.
	ErrTooLong = errors.New("the notification is too long")
	// ErrGone is a courier's word that a token will never reach anybody again.
	ErrGone = errors.New("the token is gone")
	// ErrRefused is a courier's word that this notification will never be carried.
	ErrRefused = errors.New("the notification is refused")
)

// Save keeps the token of one of u's devices, in place of the one it had.
func Save(tx *store.Tx, u kbsig.UID, t Token) error {
	if _, ok := ParseWay(string(t.Way)); !ok || t.Token == "" || len(t.Token) > tokenBytesMax {
		return fmt.Errorf("%q of %d bytes: %w", t.Way, len(t.Token), ErrToken)
	}
	all, err := Tokens(tx, u)
	if err != nil {
		return err
	}
	var oldest *Token
	n := 0
	for i := range all {
		if o := &all[i]; o.Device != t.Device {
			if n++; oldest == nil || o.Since < oldest.Since {
				oldest = o
			}
		}
	}
	if n >= tokensMax {
		tx.Delete(keys.PushToken(u, oldest.Device))
	}
	t.Since = tx.Now().Unix()
	store.Save(tx, keys.PushToken(u, t.Device), t)
	return nil
}

// Drop forgets the token of a device, if it is of this way; "" is any.
func Drop(tx *store.Tx, u kbsig.UID, d kbsig.DeviceID, way Way) error {
	t, err := store.Load[Token](tx, keys.PushToken(u, d))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("token of device %s of %s: %w", d, u, err)
	}
	if way == "" || way == t.Way {
		tx.Delete(keys.PushToken(u, d))
	}
	return nil
}

// Forget forgets the tokens of all devices of u, whose devices are no more.
func Forget(tx *store.Tx, u kbsig.UID) error {
	all, err := Tokens(tx, u)
	for _, t := range all {
		tx.Delete(keys.PushToken(u, t.Device))
	}
	return err
}

// Tokens are those of a user's devices.
func Tokens(r store.Reader, u kbsig.UID) (all []Token, err error) {
	lo := keys.PushTokens(u)
	err = r.Scan(lo, keys.End(lo), func(_, v []byte) error {
		t, err := store.Decode[Token](v)
		all = append(all, t)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tokens of %s: %w", u, err)
	}
	return all, nil
}
