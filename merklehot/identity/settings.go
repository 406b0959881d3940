package identity

import (
	"context"
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// SignSettings replaces u's primary mail address on the word of one of u's devices:
// statement is a signed update_settings, shaped like the next link of the chain. It is
// judged like one and not appended: clients do not advance their chain by it. also is
// given the address that was replaced, empty if there was none, in the same transaction.
// client: go/engine/email_change.go:EmailChange.Run, go/libkb/kbsig.go:UpdateEmailProof
func (s *Service) SignSettings(ctx context.Context, u kbsig.UID, statement *sigchain.SettingsStatement, also func(tx *store.Tx, old string) error) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		st, err := Chain(tx, u)
		if err != nil {
			return err
		}
		env, err := newEnv(tx)
		if err != nil {
			return err
		}
		if err := st.JudgeSettings(statement, env); err != nil {
			return err
		}
		old, err := accounts.ReplacePrimaryMail(tx, u, statement.Email)
		if errors.Is(err, accounts.ErrMailOwn) {
			return nil // sent again, or nothing to change
		}
		if err != nil {
			return err
		}
		return also(tx, old)
	})
}
