package identity

import (
	"context"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/home"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/vouches"
)

// ResetRequest asks for the end of an account's incarnation, or of the account.
type ResetRequest struct {
	UID  kbsig.UID
	Kind sigchain.ResetKind
	// Session is the password session that asks; nil if it is another authority. It must
	// still hold when the transaction runs.
	Session *accounts.SessionTokens
	// Keep lets Session outlive the reset: its owner goes on to add a first device.
	Keep bool
	// Check says whether the account may be reset, in the transaction; nil: it may.
	Check func(*store.Tx, *accounts.Account) error
}

// ResetFact is what is known of a reset inside its transaction.
type ResetFact struct {
	Link    *sigchain.ResetLink
	Account *accounts.Account // afterwards
	// Eldest is the first link of the incarnation that ended, 0 if there was none: with
	// the uid it names the user whom teams knew.
	Eldest kbsig.Seqno
}

// OnReset registers what else has to happen in the transaction of each reset. It is
// called before the service is used.
func (s *Service) OnReset(fn func(*store.Tx, ResetFact) error) { s.onReset = append(s.onReset, fn) }

// Reset ends the present incarnation of an account, or deletes the account: a new entry
// of the reset chain and of the Merkle tree, and with it everything that was bound to the
// old keys: devices, sessions, boxes, ephemeral and synced keys, leases, follows. What it
// had signed stays on record. It returns the devices that have come to an end; the caller
// cuts their connections.
// client: go/libkb/reset_delete.go:resetOrDeleteAccount
func (s *Service) Reset(ctx context.Context, req ResetRequest) (ended []kbsig.DeviceID, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		ended, err = s.reset(tx, req)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", req.Kind, req.UID, err)
	}
	return ended, nil
}

func (s *Service) reset(tx *store.Tx, req ResetRequest) ([]kbsig.DeviceID, error) {
	if req.Kind == sigchain.KindDelete {
		if err := people.Forget(tx, req.UID); err != nil {
			return nil, err
		}
		if err := vouches.Forget(tx, req.UID); err != nil {
			return nil, err
		}
	}
	acct, err := accounts.Get(tx, req.UID)
	if err != nil {
		return nil, err
	}
	if req.Session != nil {
		if session, err := accounts.FindSession(tx, *req.Session, tx.Now()); err != nil {
			return nil, err
		} else if session.UID != req.UID {
			return nil, accounts.ErrNoSession
		}
	}
	if req.Check != nil {
		if err := req.Check(tx, acct); err != nil {
			return nil, err
		}
	}
	st, err := Chain(tx, req.UID)
	if err != nil {
		return nil, err
	}
	link, next, err := appendReset(tx, st, req.Kind)
	if err != nil {
		return nil, err
	}
	if err := endIncarnation(tx, acct, st, next, req); err != nil {
		return nil, err
	}
	acct.TouchIdentity(tx.Now())
	acct.TouchPrivate()
	if len(st.Tracks) > 0 {
		acct.TrackVersion++
	}
	accounts.Put(tx, acct)
	if err := s.syncProofs(tx, st, next); err != nil {
		return nil, err
	}
	if err := putWallet(tx, st, next, nil); err != nil {
		return nil, err
	}
	for _, fn := range s.onReset {
		if err := fn(tx, ResetFact{Link: link, Account: acct, Eldest: st.EldestSeqno}); err != nil {
			return nil, err
		}
	}
	if err := home.RefreshFrom(tx, acct, next); err != nil {
		return nil, err
	}
	if req.Kind != sigchain.KindDelete { // else there is nobody any more
		if err := tellReset(tx, acct); err != nil {
			return nil, err
		}
	}
	noteLeaf(tx, next)
	var ended []kbsig.DeviceID
	for _, d := range st.ActiveDevices() {
		ended = append(ended, d.ID)
	}
	return ended, nil
}

// appendReset writes the next entry of the reset chain and the state after it.
func appendReset(tx *store.Tx, st *sigchain.State, kind sigchain.ResetKind) (*sigchain.ResetLink, *sigchain.State, error) {
	env, err := newEnv(tx)
	if err != nil {
		return nil, nil, err
	}
	root, ok, err := env.Root(env.newest)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, fmt.Errorf("newest root %d is not there", env.newest)
	}
	link := st.NextReset(kind, root, env)
	next, err := st.ApplyReset(link, env)
	if err != nil {
		return nil, nil, err
	}
	tx.Set(keys.Reset(link.UID, link.Seqno), link.JSON())
	tx.Set(keys.Chain(next.UID), next.Encode())
	return link, next, nil
}

// endIncarnation takes away what only keys of the incarnation can use.
func endIncarnation(tx *store.Tx, acct *accounts.Account, st, next *sigchain.State, req ResetRequest) error {
	if err := syncDevices(tx, st, next); err != nil {
		return err
	}
	keep := req.Session
	if !req.Keep {
		keep = nil
	}
	if err := accounts.EndIncarnation(tx, acct, keep); err != nil {
		return err
	}
	if err := keyboxes.DropAll(tx, acct.UID); err != nil {
		return err
	}
	if err := dropLeases(tx, acct.UID); err != nil {
		return err
	}
	if req.Kind == sigchain.KindDelete {
		if err := accounts.Erase(tx, acct); err != nil {
			return err
		}
	}
	return syncFollows(tx, st, next)
}

// tellReset lets devices that are connected find out that they are no more, and takes
// back what was shown of devices: it was about others than there will be.
func tellReset(tx *store.Tx, acct *accounts.Account) error {
	for _, category := range []string{newsDevice, newsRevoked} {
		if err := events.Add(tx, events.News{To: acct.UID, Category: category, Replace: true}); err != nil {
			return err
		}
	}
	return add(tx, events.News{To: acct.UID, Category: newsKeys, Replace: true}, userNews{acct.UID.String(), string(acct.Name)})
}

func dropLeases(tx *store.Tx, u kbsig.UID) error {
	lo := keys.Leases(u)
	return tx.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		tx.Delete(append([]byte(nil), k...))
		return nil
	})
}

// ResetChain are the texts of the first n entries of a user's reset chain, oldest first.
func ResetChain(r store.Reader, u kbsig.UID, n kbsig.Seqno) ([]string, error) {
	out := []string{}
	err := r.Scan(keys.Reset(u, 1), keys.Reset(u, n+1), func(_, v []byte) error {
		out = append(out, string(v))
		return nil
	})
	if err == nil && len(out) != int(n) {
		err = fmt.Errorf("%d of %d are there", len(out), n)
	}
	if err != nil {
		return nil, fmt.Errorf("reset chain of %s: %w", u, err)
	}
	return out, nil
}
