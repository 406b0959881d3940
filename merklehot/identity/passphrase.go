package identity

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// ReplacePassphrase changes u's passphrase after the caller has seen the proof of the
// old one. Generation in c is the one that the proof was made with.
// Secrets are the secret keys kept with the server, sealed anew.
func (s *Service) ReplacePassphrase(ctx context.Context, u kbsig.UID, c accounts.PassphraseChange, secrets []keyboxes.PrivateKey) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		st, err := Chain(tx, u)
		if err != nil {
			return err
		}
		if err := replaceSecrets(tx, st, secrets); err != nil {
			return err
		}
		return accounts.ChangePassphrase(tx, u, c, st.ActiveEncryptionKIDs())
	})
}

// SignPassphrase changes u's passphrase on the word of one of u's devices: statement is
// a signed update_passphrase_hash, shaped like the next link of the chain. It is judged
// like one and not appended: clients neither expect it in the chain nor advance theirs.
// client: go/engine/passphrase_change.go:forceUpdatePassphrase,
// go/libkb/kbsig.go:UpdatePassphraseProof
func (s *Service) SignPassphrase(ctx context.Context, u kbsig.UID, c accounts.PassphraseChange, statement *sigchain.PassphraseStatement, secrets []keyboxes.PrivateKey) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		st, err := Chain(tx, u)
		if err != nil {
			return err
		}
		acct, err := accounts.Get(tx, u)
		if err != nil {
			return err
		}
		env, err := newEnv(tx)
		if err != nil {
			return err
		}
		if err := st.JudgePassphrase(statement, env); err != nil {
			return err
		}
		if statement.Hash != hex.EncodeToString(c.Pwh[:]) || statement.PDPKA5 != c.PDPKA5 {
			return sigchain.Refuse(sigchain.KindMismatch, "the signed passphrase is not the one that was sent")
		}
		if statement.Generation != int64(acct.Generation)+1 {
			return fmt.Errorf("signed for generation %d, it is %d: %w", statement.Generation, acct.Generation, accounts.ErrStaleGeneration)
		}
		if err := replaceSecrets(tx, st, secrets); err != nil {
			return err
		}
		c.Generation = acct.Generation
		return accounts.ChangePassphrase(tx, u, c, st.ActiveEncryptionKIDs())
	})
}
