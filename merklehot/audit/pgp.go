package audit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// pgpIndexes checks that a PGP key that a link brings is found by its key id, though
// maybe as the key of somebody else who added it first, and by its fingerprints.
func (a *auditor) pgpIndexes(u *user, l *sigchain.Link) error {
	if u.indexed == nil {
		u.indexed = map[string]bool{}
	}
	byID := keys.KIDOwner(l.Key)
	if !u.indexed[string(byID)] {
		u.indexed[string(byID)] = true
		a.keyCount++
		v, err := a.r.Get(byID)
		switch {
		case errors.Is(err, store.ErrNotFound):
			a.problem("%s link %d: its key %s is not in the key index", u.subject(), l.Seqno, l.Key)
		case err != nil:
			return err
		case bytes.Equal(v, store.Encode(u.uid)):
			a.keys.right[byID[0]]++
		default:
			if owner, err := store.Decode[kbsig.UID](v); err != nil || !a.chainHas(owner, l.Key) {
				a.problem("%s link %d: the key index gives its key %s to another", u.subject(), l.Seqno, l.Key)
			}
		}
	}
	for _, f := range l.Bundle().All() {
		k := keys.PGPFinger(f.Reversed(), l.Key, u.uid)
		if u.indexed[string(k)] {
			continue
		}
		u.indexed[string(k)] = true
		found, err := store.Has(a.r, k)
		if err != nil {
			return err
		}
		if !found {
			a.problem("%s link %d: the fingerprint %s is not in the PGP index", u.subject(), l.Seqno, f)
			continue
		}
		a.keys.right[k[0]]++
	}
	return nil
}

// strayPGP names entries of the PGP index that no version of a key calls for.
func (a *auditor) strayPGP() error {
	lo := keys.PGPFingers(nil)
	return a.r.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		back, kid, u, ok := keys.PGPFingerOf(k)
		if !ok {
			return nil // said by the pass over the keys
		}
		f := pgp.Fingerprint(back).Reversed()
		called := false
		if st, err := identity.Chain(a.r, u); err == nil {
			err := identity.Bundles(a.r, st, func(v sigchain.PGPVersion, bundle string) {
				if key, err := pgp.ParseKey(bundle); err == nil && v.KID == kid {
					called = called || slices.Contains(key.All(), f)
				}
			})
			if err != nil {
				return nil // said when the chain was played
			}
		}
		if !called {
			a.problem("PGP index entry %s: %s has no such key", f, u)
		}
		return a.pause()
	})
}

// secretKeys checks that secret keys are kept of active PGP keys only, and are sealed.
func (a *auditor) secretKeys(u *user) error {
	if u.state == nil {
		return nil
	}
	return a.ofUser(keys.PrivateKey(u.uid, zero.kid), func(rest, v []byte) error {
		kid := kbsig.KID(rest)
		if !pgp.IsKID(kid) || !u.state.ActiveSibkey(kid) {
			a.problem("secret key %s of %s: no active PGP key", kid, u.uid)
			return nil
		}
		if err := checkSecret(kid, v); err != nil {
			a.problem("secret key %s of %s: %v", kid, u.uid, err)
		}
		return nil
	})
}

func checkSecret(kid kbsig.KID, v []byte) error {
	p, err := store.Decode[keyboxes.PrivateKey](v)
	if err != nil {
		return err
	}
	sealed, err := kbsig.DecodeArmoredSecretKey(p.Bundle)
	if err != nil {
		return err
	}
	inside, err := pgp.KIDOfPublic(sealed.Public)
	if err == nil && inside != kid {
		err = fmt.Errorf("it is of %s", inside)
	}
	return err
}
