package node

import (
	"context"
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/joining"
	"github.com/keystead/keystead/merklehot/proofs"
)

// openWays makes the ways into teams and out of them, and lets them hear of what happens to
// users.
func (n *node) openWays(ids *identity.Service) {
	n.chores = chores.New(chores.Options{
		Store: n.store, Logger: n.log,
		Connected: func(u kbsig.UID) bool { return len(n.gregor.Connected(u)) > 0 },
	})
	n.joining = joining.New(joining.Options{
		Store: n.store, Identity: ids, Teams: n.teams, Queue: n.chores, Rand: n.Rand, Known: knownAs,
		Letter: func(to string, from kbsig.Username, team, token, message string) mail.Message {
			return n.rest.TeamLetter(to, from, team, token, message)
		},
		Text: func(to string, from kbsig.Username, team string) mail.Text {
			return n.rest.TeamText(to, from, team)
		},
		TokenMade: func(address, token string) { n.rest.RememberToken(address, token) },
	})
	n.chores.Handle(n.jobs)
	n.joining.Handle(n.jobs)
}

// knownAs is the user who has proven a name at a service.
func knownAs(r store.Reader, service, name string) (u kbsig.UID, ok bool, err error) {
	u, err = proofs.Owner(r, service, name)
	if errors.Is(err, proofs.ErrNoProof) {
		return u, false, nil
	}
	return u, err == nil, err
}

// arrived is told of each connection of a user.
func (n *node) arrived(ctx context.Context, u kbsig.UID) {
	if n.chores != nil {
		n.chores.Arrived(ctx, u)
	}
}
