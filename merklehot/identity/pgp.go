package identity

import (
	"context"
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/directory"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// verifyPGP verifies PGP signatures before the transaction, with the keys as they are
// now. It only saves the transaction the work: there the chain says which key counts,
// and what was not verified here with just that one is verified then.
func (s *Service) verifyPGP(u kbsig.UID, links []*sigchain.Link) {
	v := s.store.View()
	defer v.Close()
	st, err := Chain(v, u)
	if err != nil {
		return
	}
	for _, l := range links {
		n := st.SignedWithPGP(l)
		if n == 0 {
			continue
		}
		rec, err := Record(v, u, n)
		if err != nil {
			continue
		}
		if k, err := pgp.ParseKey(string(rec.Bundle)); err == nil {
			_ = l.VerifyPGP(k) // the transaction says what is wrong
		}
	}
}

// indexPGP makes a PGP key known that a link brings. Device keys have one owner for
// ever; of those who have added the same PGP key, the index by key id names the first.
func indexPGP(tx *store.Tx, l *sigchain.Link) error {
	directory.NotePGP(tx, l.UID, l.Bundle())
	known, err := store.Has(tx, keys.KIDOwner(l.Key))
	if err == nil && !known {
		store.Save(tx, keys.KIDOwner(l.Key), l.UID)
	}
	return err
}

// Bundles calls fn for every version of every PGP key that a user ever had, oldest
// first, each once.
func Bundles(r store.Reader, st *sigchain.State, fn func(v sigchain.PGPVersion, bundle string)) error {
	seen := map[pgp.Hash]bool{}
	for _, v := range st.PGP {
		if seen[v.Hash] {
			continue
		}
		seen[v.Hash] = true
		rec, err := Record(r, st.UID, v.Seqno)
		if err != nil {
			return err
		}
		fn(v, string(rec.Bundle))
	}
	return nil
}

// ErrSecretKey says that a secret key cannot be kept: it is of no active PGP key.
var ErrSecretKey = errors.New("secret key of no active PGP key of the account")

// PutSecret keeps a secret key, sealed with the passphrase, of an active PGP key.
func (s *Service) PutSecret(ctx context.Context, u kbsig.UID, k keyboxes.PrivateKey) error {
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		st, err := Chain(tx, u)
		if err != nil {
			return err
		}
		if err := syncSecrets(tx, st, st, &k); err != nil {
			return err
		}
		acct, err := accounts.Get(tx, u)
		if err != nil {
			return err
		}
		acct.TouchPrivate()
		accounts.Put(tx, acct)
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep a secret key of %s: %w", u, err)
	}
	return nil
}

// syncSecrets drops the secret halves of keys that are no longer active, and keeps a new
// one.
func syncSecrets(tx *store.Tx, before, after *sigchain.State, added *keyboxes.PrivateKey) error {
	for _, v := range before.ActivePGP() {
		if !after.ActiveSibkey(v.KID) {
			keyboxes.DropPrivateKey(tx, after.UID, v.KID)
		}
	}
	if added == nil {
		return nil
	}
	if !pgp.IsKID(added.KID) || !after.ActiveSibkey(added.KID) {
		return ErrSecretKey
	}
	return keyboxes.PutPrivateKey(tx, after.UID, *added)
}

// replaceSecrets keeps just these secret keys: they are sealed with the new passphrase,
// and what is sealed with an old one no client can open any more.
func replaceSecrets(tx *store.Tx, st *sigchain.State, secrets []keyboxes.PrivateKey) error {
	for _, v := range st.ActivePGP() {
		keyboxes.DropPrivateKey(tx, st.UID, v.KID)
	}
	for i := range secrets {
		if err := syncSecrets(tx, st, st, &secrets[i]); err != nil {
			return err
		}
	}
	return nil
}
