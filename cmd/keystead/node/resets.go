package node

import (
	"context"
	"fmt"

	"github.com/keystead/keystead/engine/autoreset"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
)

// startResets makes the keeper of resets that wait. An account that is reset or deleted
// in another way has none waiting.
func (n *node) startResets(ids *identity.Service) (*autoreset.Service, error) {
	c := n.cfg.Reset
	s, err := autoreset.New(context.Background(), autoreset.Options{
		Store: n.store, Rand: n.Rand, Delay: c.Delay, DelayOne: c.DelayOneDevice, Verify: c.VerifyWithin, Site: n.site,
	})
	if err != nil {
		return nil, fmt.Errorf("resets: %w", err)
	}
	s.Handle(n.jobs)
	ids.OnReset(func(tx *store.Tx, f identity.ResetFact) error { return autoreset.Drop(tx, f.Account.UID) })
	return s, nil
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
