package accounts

import (
	"fmt"

	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/store"
)

// tellPassphrase tells a user's devices that the passphrase is another one, and
// whether there is one that somebody knows.
// client: go/service/user_handler.go:userHandler.passphraseStateUpdate
func tellPassphrase(tx *store.Tx, acct *Account) error {
	state := 0 // known
	if acct.RandomPW {
		state = 1
	}
	err := events.Add(tx, events.News{
		To: acct.UID, Category: "user.password_change", Replace: true,
		Body: fmt.Appendf(nil, `{"passphrase_generation":%d}`, acct.Generation),
	})
	if err != nil {
		return err
	}
	// It stays: devices that come later go by it, too.
	return events.Add(tx, events.News{
		To: acct.UID, Category: "user.passphrase_state", Replace: true,
		Body: fmt.Appendf(nil, `{"state":%d}`, state),
	})
}
