// Package preset makes the accounts that the client's own tests expect to find on a
// server: t_alice, t_bob and others. A server has them in devel mode only.
//
// They are accounts like any other. Their links are made here as a client makes them and
// go the way of every post, so that nothing is in the store which the rules of chains
// would not allow. Their keys come from a seed that everybody knows, and their passwords
// from nowhere: whoever wants to be t_alice derives her keys. PGP keys alone are random, and
// nobody has their secret halves.
//
// Make continues where it was interrupted: how long a chain is tells what its owner has
// done. It imports the rooms that it works with and is imported by cmd/keystead/node.
package preset

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/curve25519"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/proofs"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// seed is what all secrets are made of. It protects nothing.
var seed = []byte("keystead ready-made users, for tests of clients")

// maker makes people.
type maker struct {
	store    *store.Store
	identity *identity.Service
	book     *proofs.Book
	rand     io.Reader
}

// Make makes the accounts that are not there yet and finishes those that are not whole.
// Another account of one of their names is left alone.
func Make(ctx context.Context, st *store.Store, id *identity.Service, book *proofs.Book, rand io.Reader) error {
	m := maker{st, id, book, rand}
	for _, p := range people {
		if err := m.make(ctx, p); err != nil {
			return fmt.Errorf("make %s: %w", p.name, err)
		}
	}
	return nil
}

func (m maker) make(ctx context.Context, p person) error {
	acct, err := m.account(ctx, p)
	if err != nil || acct.PDPKA5 != signer(p.name, "password").kid {
		return err
	}
	st, err := m.chain(p.name)
	if err != nil {
		return err
	}
	if _, keyed := st.LatestPUK(); keyed {
		return m.assume(ctx, p) // made by a build that gave them per-user keys, and left so
	}
	var n int64
	for _, d := range p.deeds {
		if n += d.links(); n <= int64(st.Tail) {
			continue
		}
		if st, err = m.do(ctx, p, st, d); err != nil {
			return err
		}
	}
	return m.assume(ctx, p)
}

// account finds or signs up a person.
func (m maker) account(ctx context.Context, p person) (*accounts.Account, error) {
	v := m.store.View()
	acct, err := accounts.ByName(v, p.name)
	v.Close()
	if !errors.Is(err, accounts.ErrNoUser) {
		return acct, err
	}
	salt := secret(p.name, "salt")
	acct, _, err = m.identity.SignUp(ctx, identity.SignUp{
		Name: p.name, Cased: string(p.name), Salt: [16]byte(salt[:16]),
		Pwh: secret(p.name, "password hash"), PDPKA5: signer(p.name, "password").kid,
	})
	if err != nil || p.fullName == "" {
		return acct, err
	}
	return acct, m.store.Update(ctx, func(tx *store.Tx) error {
		a, err := accounts.Get(tx, acct.UID)
		if err != nil {
			return err
		}
		a.FullName = p.fullName
		a.TouchIdentity(tx.Now())
		accounts.Put(tx, a)
		return nil
	})
}

func (m maker) chain(n kbsig.Username) (*sigchain.State, error) {
	v := m.store.View()
	defer v.Close()
	return identity.Chain(v, kbsig.UIDOf(n))
}

// secret derives a secret of a person.
func secret(n kbsig.Username, purpose string) (out [32]byte) {
	h := hmac.New(sha256.New, seed)
	fmt.Fprintf(h, "%s\x00%s", n, purpose)
	h.Sum(out[:0])
	return out
}

// signKey and boxKey are the two kinds of keys.
type signKey struct {
	private ed25519.PrivateKey
	kid     kbsig.KID
}

type boxKey struct {
	private [32]byte
	kid     kbsig.KID
}

func newSigner(from [32]byte) signKey {
	k := ed25519.NewKeyFromSeed(from[:])
	return signKey{k, kbsig.KIDOfPrivate(k)}
}

func newBoxKey(from [32]byte) (boxKey, error) {
	public, err := curve25519.X25519(from[:], curve25519.Basepoint)
	if err != nil {
		return boxKey{}, fmt.Errorf("derive a key: %w", err)
	}
	k := boxKey{private: from}
	k.kid[0], k.kid[1], k.kid[34] = 0x01, 0x21, 0x0a
	copy(k.kid[2:], public)
	return k, nil
}

func signer(n kbsig.Username, purpose string) signKey { return newSigner(secret(n, purpose)) }

// device is one device of a person, all of it derived from its name.
type device struct {
	id         kbsig.DeviceID
	name, kind string
	sign       signKey
	box        boxKey
}

func newDevice(n kbsig.Username, name, kind string) (device, error) {
	d := device{name: name, kind: kind, sign: signer(n, "sign "+name)}
	id := secret(n, "id "+name)
	copy(d.id[:], id[:])
	d.id[15] = 0x18
	var err error
	d.box, err = newBoxKey(secret(n, "box "+name))
	return d, err
}

// rootNow is the newest published root, as links quote it.
func (m maker) rootNow() map[string]any {
	v := m.store.View()
	defer v.Close()
	r := roots.StateOf(v).Root()
	return map[string]any{"ctime": r.Ctime, "seqno": int64(r.Seqno), "hash_meta": r.HashMeta.String(), "hash": r.Hash.String()}
}

func compact(v any) ([]byte, error) {
	b, err := json.Marshal(v) // keys sorted, as signed JSON is
	if err != nil {
		return nil, fmt.Errorf("spell a link: %w", err)
	}
	return b, nil
}
