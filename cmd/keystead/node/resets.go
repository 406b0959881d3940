package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/chatlog/push"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/autoreset"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/kbfsblocks/tlf"
	"github.com/keystead/keystead/merklehot/identity"
)

// startResets makes the keeper of resets that wait. An account that is reset or deleted
// in another way has none waiting.
func (n *node) startResets(ids *identity.Service) (*autoreset.Service, error) {
	c := n.cfg.Reset
	s, err := autoreset.New(context.Background(), autoreset.Options{
		Store: n.store, Rand: n.Rand, Delay: c.Delay, DelayOne: c.DelayOneDevice, Verify: c.VerifyWithin, Site: n.site, Texts: n.post.Texts(),
	})
	if err != nil {
		return nil, fmt.Errorf("resets: %w", err)
	}
	s.Handle(n.jobs)
	ids.OnReset(func(tx *store.Tx, f identity.ResetFact) error { return autoreset.Drop(tx, f.Account.UID) })
	ids.OnReset(forget)
	return s, nil
}

// forget takes away what the rooms above hold of an account's devices, and of an account
// that is deleted.
func forget(tx *store.Tx, f identity.ResetFact) error {
	u := f.Account.UID
	if err := push.Forget(tx, u); err != nil || f.Account.Status != accounts.StatusDeleted {
		return err
	}
	return errors.Join(tlf.Forget(tx, u), gregor.Deleted(tx, u))
}

// gone reports an account that was deleted.
func (n *node) gone(u kbsig.UID) (bool, error) {
	v := n.store.View()
	defer v.Close()
	acct, err := accounts.Get(v, u)
	if errors.Is(err, accounts.ErrNoUser) {
		return false, nil
	}
	return err == nil && acct.Status == accounts.StatusDeleted, err
}

// active reports a device of the account that is not revoked.
func (n *node) active(u kbsig.UID, d kbsig.DeviceID) (bool, error) {
	v := n.store.View()
	defer v.Close()
	_, err := accounts.ActiveKID(v, u, d)
	if errors.Is(err, accounts.ErrNoDevice) {
		return false, nil
	}
	return err == nil, err
}

// site is where people find this server.
func (n *node) site() string {
	switch {
	case n.cfg.HTTP.PublicURL != "":
		return n.cfg.HTTP.PublicURL
	case n.cfg.HTTP.TLSCert != "":
		return "https://" + n.httpLn.Addr().String()
	}
	return "http://" + n.httpLn.Addr().String()
}
