package identity

import (
	"errors"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// env answers what sigchain asks, out of the running transaction.
type env struct {
	tx     *store.Tx
	newest kbsig.Seqno
}

func newEnv(tx *store.Tx) (env, error) {
	newest, err := roots.Newest(tx)
	return env{tx, newest}, err
}

func (e env) Now() time.Time { return e.tx.Now() }

// Root finds a root in the store; one that is not durable yet counts, because this
// transaction cannot become durable before it.
func (e env) Root(n kbsig.Seqno) (sigchain.RootRef, bool, error) {
	r, err := roots.RootAt(e.tx, n)
	if errors.Is(err, roots.ErrNoRoot) {
		return sigchain.RootRef{}, false, nil
	}
	if err != nil {
		return sigchain.RootRef{}, false, err
	}
	return sigchain.RootRef{Seqno: r.Seqno, HashMeta: r.HashMeta, NodeHash: r.Hash, Ctime: r.Ctime}, true, nil
}

func (e env) LatestRoot() kbsig.Seqno { return e.newest }

func (e env) KIDTaken(k kbsig.KID) (bool, error) { return store.Has(e.tx, keys.KIDOwner(k)) }

// Bundle finds a PGP key in the record of the link that brought it.
func (e env) Bundle(u kbsig.UID, n kbsig.Seqno) (string, error) {
	rec, err := Record(e.tx, u, n)
	return string(rec.Bundle), err
}

func (e env) UserExists(u kbsig.UID) (bool, error) { return store.Has(e.tx, keys.Account(u)) }
