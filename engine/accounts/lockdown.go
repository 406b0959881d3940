package accounts

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// lockdownHistoryMax bounds the changes of a user's lockdown mode that are kept; the
// oldest go first.
const lockdownHistoryMax = 500

// Lockdown is whether sessions made with the password alone are kept from changing the
// account, and who changed that. client: go/client/cmd_account_lockdown.go
type Lockdown struct {
	Enabled bool             `codec:"e"`
	History []LockdownChange `codec:"h"` // oldest first
}

// LockdownChange is one change of the mode.
type LockdownChange struct {
	Enabled bool           `codec:"e"`
	Time    int64          `codec:"t"` // unix milliseconds
	Device  kbsig.DeviceID `codec:"d"` // zero: none, such as a session of the password
}

// GetLockdown loads a user's lockdown mode; it is off until somebody sets it.
func GetLockdown(r store.Reader, u kbsig.UID) (Lockdown, error) {
	l, err := store.Load[Lockdown](r, keys.Lockdown(u))
	if errors.Is(err, store.ErrNotFound) {
		return Lockdown{}, nil
	}
	if err != nil {
		return l, fmt.Errorf("load lockdown mode of %s: %w", u, err)
	}
	return l, nil
}

// SetLockdown sets a user's lockdown mode and notes who did. Setting what is set
// already changes nothing.
func SetLockdown(tx *store.Tx, u kbsig.UID, enabled bool, by kbsig.DeviceID) error {
	l, err := GetLockdown(tx, u)
	if err != nil || l.Enabled == enabled {
		return err
	}
	l.Enabled = enabled
	l.History = append(l.History, LockdownChange{Enabled: enabled, Time: tx.Now().UnixMilli(), Device: by})
	if over := len(l.History) - lockdownHistoryMax; over > 0 {
		l.History = l.History[over:]
	}
	store.Save(tx, keys.Lockdown(u), l)
	return nil
}
