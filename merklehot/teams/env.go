package teams

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/tree"
)

var errNoUser = accounts.ErrNoUser

// env answers what teamchain asks, out of the running transaction.
type env struct {
	tx *store.Tx
	b  *batch
	// roots is the newest published state, which knows all roots but perhaps the last.
	roots *roots.State
	view  *store.View
}

func (e env) Device(u kbsig.UID, k kbsig.KID) (eldest kbsig.Seqno, active bool, err error) {
	st, err := e.b.user(e.tx, u)
	if err != nil {
		return 0, false, err
	}
	return st.EldestSeqno, st.ActiveSibkey(k), nil
}

func (e env) Username(u kbsig.UID) (kbsig.Username, error) {
	acct, err := accounts.Get(e.tx, u)
	if err != nil {
		return "", err
	}
	return acct.Name, nil
}

// Root: the quoted root is one of ours, as quoted.
func (e env) Root(ref teamchain.RootRef) error {
	r, err := roots.RootAt(e.tx, ref.Seqno)
	if errors.Is(err, roots.ErrNoRoot) {
		return teamchain.Refuse(teamchain.KindOrder, "quotes root %d, which was never published", ref.Seqno)
	}
	if err != nil {
		return err
	}
	if r.HashMeta != ref.HashMeta || r.Ctime != ref.Ctime {
		return teamchain.Refuse(teamchain.KindOrder, "quotes root %d otherwise than it was published", ref.Seqno)
	}
	return nil
}

// Team is another chain as it was before the batch; teamchain keeps what the batch makes
// of it.
func (e env) Team(t kbsig.TeamID) (*teamchain.State, error) {
	if st, ok := e.b.before[t]; ok {
		return st, nil
	}
	st, err := Load(e.tx, t)
	if errors.Is(err, ErrNoTeam) {
		e.b.before[t] = nil
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e.b.before[t] = st
	return st, nil
}

func (e env) Hidden(t kbsig.TeamID) (int64, error) {
	st, err := hidden.Load(e.tx, t)
	if err != nil {
		return 0, err
	}
	return st.PTK().Generation, nil
}

// checkAdminRoots: readers find, in the root which a link quotes, that its signer was an
// admin of the team above by then.
// client: go/teams/loader2.go:TeamLoader.addProofsForAdminPermission, go/teams/proofs.go:proof.check
func (e env) checkAdminRoots(links []*teamchain.Link) error {
	for _, l := range links {
		if l.Admin == nil || l.Admin.Team == l.Team {
			continue
		}
		leaf, err := e.leafAt(tree.ID(l.Admin.Team), l.Root.Seqno)
		if err != nil {
			return err
		}
		seen := leaf.Private.Seqno
		if l.Admin.Team.Public() {
			seen = leaf.Public.Seqno
		}
		if seen < l.Admin.Seqno {
			return teamchain.Refuse(teamchain.KindOrder,
				"quotes root %d, by which its signer was no admin of team %s", l.Root.Seqno, l.Admin.Team)
		}
	}
	return nil
}

// checkResetAdmins: an admin who was reset is demoted without a lease, for nobody signs
// as that user any more; but what was signed before must be in the root that the demotion
// quotes, and so the reset must.
// client: go/teams/loader2.go:TeamLoader.addProofsForAdminPermission
func (e env) checkResetAdmins() error {
	for _, l := range e.b.links {
		for _, c := range e.b.changes(l) {
			if !c.before.AtLeast(teamchain.RoleAdmin) || c.after.AtLeast(teamchain.RoleAdmin) {
				continue
			}
			st, err := e.b.user(e.tx, c.uv.UID)
			if err != nil {
				return err
			}
			if st.EldestSeqno == c.uv.Eldest {
				continue
			}
			leaf, err := e.leafAt(tree.ID(c.uv.UID), l.Root.Seqno)
			if err != nil {
				return err
			}
			if leaf.Reset.Seqno < st.Resets.Seqno {
				return teamchain.Refuse(teamchain.KindOrder, "quotes root %d, in which %s is not reset yet", l.Root.Seqno, c.uv)
			}
		}
	}
	return nil
}

// leafAt is a leaf in a root that has been published; the zero value if there was none.
func (e env) leafAt(id tree.ID, n kbsig.Seqno) (tree.Value, error) {
	if newest := e.roots.Root().Seqno; n > newest {
		return tree.Value{}, teamchain.Refuse(teamchain.KindOrder, "quotes root %d, the newest is %d", n, newest)
	}
	b, err := e.roots.LeafAt(e.view, id, n)
	if errors.Is(err, store.ErrNotFound) {
		return tree.Value{}, nil
	}
	if err != nil {
		return tree.Value{}, err
	}
	v, err := tree.ParseLeaf(b)
	if err != nil {
		return v, fmt.Errorf("leaf %s in root %d: %w", id, n, err)
	}
	return v, nil
}
