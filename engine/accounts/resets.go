package accounts

import (
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// EndIncarnation takes from an account what goes with its keys: all password sessions but
// keep, if that is not nil, what is held of its devices, and lockdown mode. The caller puts the account
// back. Tokens of devices end with the devices.
func EndIncarnation(tx *store.Tx, a *Account, keep *SessionTokens) error {
	ends := func(ListedSession) bool { return true }
	if keep != nil {
		s, err := FindSession(tx, *keep, tx.Now())
		if err != nil {
			return err
		}
		if s.UID != a.UID {
			return ErrNoSession
		}
		s.Epoch = a.Epoch + 1
		store.Save(tx, keys.Session(keep.hash()), s)
		ends = func(s ListedSession) bool { return s.ID != keep.ID() }
	}
	if _, err := EndSessions(tx, a.UID, ends); err != nil {
		return err
	}
	a.Epoch++
	tx.Delete(keys.Lockdown(a.UID)) // it was set by devices that are no more
	return dropAll(tx, keys.Devices(a.UID), keys.ActiveDevices(a.UID))
}

// Erase makes an account one that was deleted: nobody can log in to it, and what it held
// of a person is gone, the mail addresses and telephone numbers free. Name and id stay
// taken for ever.
func Erase(tx *store.Tx, a *Account) error {
	a.Status = StatusDeleted
	a.PDPKA4, a.PDPKA5 = kbsig.KID{}, kbsig.KID{}
	a.FullName, a.Bio, a.Location, a.PictureSource = "", "", "", 0
	for _, t := range a.BotTokens {
		tx.Delete(botTokenKey(t.Token))
	}
	a.BotTokens, a.Features = nil, nil
	return DropContact(tx, a.UID)
}

// dropAll deletes all records under the prefixes.
func dropAll(tx *store.Tx, prefixes ...[]byte) error {
	for _, lo := range prefixes {
		err := tx.Scan(lo, keys.End(lo), func(k, _ []byte) error {
			tx.Delete(append([]byte(nil), k...))
			return nil
		})
		if err != nil {
			return fmt.Errorf("drop records: %w", err)
		}
	}
	return nil
}

// ActiveDevices counts a user's active devices.
func ActiveDevices(r store.Reader, u kbsig.UID) (n int, err error) {
	lo := keys.ActiveDevices(u)
	err = r.Scan(lo, keys.End(lo), func(_, _ []byte) error { n++; return nil })
	return n, err
}
