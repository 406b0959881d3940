// Package keyboxes keeps encrypted key material for others: per-user-key boxes and
// the chain of earlier generations, device and user ephemeral keys with their boxes,
// synced secret keys, encrypted wallets. The server can open none of it.
//
// Functions take the caller's transaction. What may be stored, and for whom, has
// been decided before: by the chain for per-user keys, by the signed statement for
// ephemeral keys.
//
// It writes the key families b, p, x, y, z, v, j, 0b, 0v and 0k of engine/keys.
package keyboxes

import (
	"errors"
	"fmt"
	"math"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Box is a per-user-key seed encrypted to one device.
// client: go/protocol/keybase1/kex2provisionee2.go:PerUserKeyBox
type Box struct {
	Generation int       `codec:"g"`
	Box        string    `codec:"b"` // base64 of an encryption packet
	Receiver   kbsig.KID `codec:"r"`
}

// Prev is the seed of one generation encrypted under the next.
type Prev struct {
	Generation int    `codec:"g"` // of the seed inside
	Ciphertext string `codec:"c"`
}

// PutBox stores one box, replacing that of the same receiver and generation.
func PutBox(tx *store.Tx, u kbsig.UID, b Box) {
	store.Save(tx, keys.PUKBox(u, b.Generation, b.Receiver), b)
}

// PutGeneration stores the boxes of a new generation, and prev, which holds the
// seed of the one before and is empty for the first. Boxes of the generation before
// are dropped: whoever has a box of the new one reaches the old seed through prev.
// With the first generation everything is dropped: what is there is of an account
// that was reset.
func PutGeneration(tx *store.Tx, u kbsig.UID, generation int, boxes []Box, prev string) error {
	var err error
	if generation > 1 {
		err = drop(tx, keys.PUKBoxes(u, generation-1), keys.PUKBoxes(u, generation))
	} else {
		err = errors.Join(
			drop(tx, keys.PUKBoxes(u, 0), keys.End(keys.PUKBoxes(u, math.MaxInt))),
			drop(tx, keys.PUKPrev(u, 0), keys.End(keys.PUKPrev(u, math.MaxInt))),
		)
	}
	if err != nil {
		return err
	}
	for _, b := range boxes {
		if b.Generation != generation {
			return fmt.Errorf("box of generation %d among those of %d", b.Generation, generation)
		}
		PutBox(tx, u, b)
	}
	if prev != "" {
		store.Save(tx, keys.PUKPrev(u, generation), Prev{Generation: generation - 1, Ciphertext: prev})
	}
	return nil
}

// drop deletes the records from lo up to hi.
func drop(tx *store.Tx, lo, hi []byte) error {
	return tx.Scan(lo, hi, func(k, _ []byte) error {
		tx.Delete(append([]byte(nil), k...))
		return nil
	})
}

// Secrets returns what a device that holds generation have needs to reach the
// newest generation: the newest box for receiver and the ciphertexts newest-1 ...
// have+1, newest first. Both are empty if the device is up to date; the box is nil if
// there is none for receiver.
// client: go/libkb/per_user_key.go:PerUserKeyring.fetchBoxesLocked
func Secrets(r store.Reader, u kbsig.UID, newest, have int, receiver kbsig.KID) (*Box, []Prev, error) {
	if have >= newest {
		return nil, nil, nil
	}
	b, err := store.Load[Box](r, keys.PUKBox(u, newest, receiver))
	var box *Box
	switch {
	case err == nil:
		box = &b
	case !errors.Is(err, store.ErrNotFound):
		return nil, nil, fmt.Errorf("load per-user-key box of %s: %w", u, err)
	}
	var prevs []Prev
	for g := newest; g-1 > max(have, 0); g-- {
		p, err := store.Load[Prev](r, keys.PUKPrev(u, g))
		if err != nil {
			return nil, nil, fmt.Errorf("load per-user-key %d of %s: %w", g-1, u, err)
		}
		prevs = append(prevs, p)
	}
	return box, prevs, nil
}

// PrivateKey is a secret key that its owner chose to keep with the server,
// encrypted to the owner. client: go/libkb/sync_secret.go:ServerPrivateKey
type PrivateKey struct {
	KID    kbsig.KID `codec:"k"`
	Bundle string    `codec:"b"` // base64 of a secret-key packet
	CTime  int64     `codec:"ct"`
	MTime  int64     `codec:"mt"`
}

// PrivateKeys loads all synced secret keys of a user.
func PrivateKeys(r store.Reader, u kbsig.UID) ([]PrivateKey, error) {
	var out []PrivateKey
	lo := keys.PrivateKeys(u)
	err := r.Scan(lo, keys.End(lo), func(_, v []byte) error {
		p, err := store.Decode[PrivateKey](v)
		out = append(out, p)
		return err
	})
	return out, err
}

// DropAll deletes everything of a user whose keys are no more, the wallet too: nobody
// can open it.
func DropAll(tx *store.Tx, u kbsig.UID) error {
	for _, lo := range [][]byte{
		keys.PUKBoxesOf(u), keys.PUKPrevs(u), keys.DeviceEKs(u), keys.UserEKs(u), keys.UserEKBoxesOf(u), keys.PrivateKeys(u),
		keys.Wallet(u),
	} {
		if err := drop(tx, lo, keys.End(lo)); err != nil {
			return fmt.Errorf("drop the boxes of %s: %w", u, err)
		}
	}
	return nil
}

// PutPrivateKey keeps a secret key, in place of the one of the same key id. Its times
// are set here.
func PutPrivateKey(tx *store.Tx, u kbsig.UID, p PrivateKey) error {
	old, err := store.Load[PrivateKey](tx, keys.PrivateKey(u, p.KID))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("load secret key of %s: %w", u, err)
	}
	p.MTime = tx.Now().Unix()
	if p.CTime = old.CTime; p.CTime == 0 {
		p.CTime = p.MTime
	}
	store.Save(tx, keys.PrivateKey(u, p.KID), p)
	return nil
}

// DropPrivateKey forgets a secret key; one that is not kept is no error.
func DropPrivateKey(tx *store.Tx, u kbsig.UID, k kbsig.KID) { tx.Delete(keys.PrivateKey(u, k)) }
