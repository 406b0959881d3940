package identity

import (
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// CheckSettings judges a device's word for other settings as the next link of u's
// chain would be, within the transaction that acts on it. It is not appended: clients
// do not expect it in the chain. client: go/engine/email_change.go
func CheckSettings(tx *store.Tx, u kbsig.UID, statement *sigchain.SettingsStatement) error {
	st, err := Chain(tx, u)
	if err != nil {
		return err
	}
	env, err := newEnv(tx)
	if err != nil {
		return err
	}
	return st.JudgeSettings(statement, env)
}
