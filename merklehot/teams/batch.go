package teams

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// batch is a post under way: what its links make of the chains, and of their members.
type batch struct {
	by     kbsig.UserVersion
	links  []*teamchain.Link
	before map[kbsig.TeamID]*teamchain.State // nil: the batch makes the team
	after  map[kbsig.TeamID]*teamchain.State
	users  map[kbsig.UID]*sigchain.State
	// changed are the members whom each link names; see note.
	changed map[*teamchain.Link][]change
}

// change is what a link makes of one user version's role.
type change struct {
	uv            kbsig.UserVersion
	before, after teamchain.Role
}

// teams are the teams whose chains grow, in the order of their first links.
func (b *batch) teams() []kbsig.TeamID {
	var out []kbsig.TeamID
	seen := make(map[kbsig.TeamID]bool)
	for _, l := range b.links {
		if !seen[l.Team] {
			seen[l.Team] = true
			out = append(out, l.Team)
		}
	}
	return out
}

// note finds the members whom each link names, with the roles that they had before the
// batch and have after it.
func (b *batch) note() error {
	b.changed = make(map[*teamchain.Link][]change, len(b.links))
	for _, l := range b.links {
		var uvs []kbsig.UserVersion
		for _, m := range l.Members {
			uvs = append(uvs, m.UV)
		}
		if l.Type == kbsig.LinkTeamLeave {
			uvs = append(uvs, l.Signer)
		}
		for _, uv := range uvs {
			c := change{uv: uv}
			var err error
			if before := b.before[l.Team]; before != nil {
				if c.before, err = before.RoleOf(uv); err != nil {
					return err
				}
			}
			if c.after, err = b.after[l.Team].RoleOf(uv); err != nil {
				return err
			}
			b.changed[l] = append(b.changed[l], c)
		}
	}
	return nil
}

// changes are the members whom a link names.
func (b *batch) changes(l *teamchain.Link) []change { return b.changed[l] }

// allChanges are the members whom the batch's links of one team name, each once.
func (b *batch) allChanges(t kbsig.TeamID) []change {
	var out []change
	seen := make(map[kbsig.UserVersion]bool)
	for _, l := range b.links {
		if l.Team != t {
			continue
		}
		for _, c := range b.changes(l) {
			if !seen[c.uv] {
				seen[c.uv] = true
				out = append(out, c)
			}
		}
	}
	return out
}

// wholeAbove is the number of changes from which on all members are read at once: to find
// one goes through all that the batch has changed.
const wholeAbove = 50

// standings are what those whom changes are about are in a team after the batch, by the
// newest of their incarnations that is a member. Who is none is not among them.
func (b *batch) standings(t kbsig.TeamID, changes []change) (map[kbsig.UID]membership, error) {
	st, out := b.after[t], make(map[kbsig.UID]membership, len(changes))
	if len(changes) > wholeAbove {
		err := st.Members(func(uv kbsig.UserVersion, role teamchain.Role) error {
			out[uv.UID] = membership{Role: role, Eldest: uv.Eldest}
			return nil
		})
		return out, err
	}
	for _, c := range changes {
		uv, ok, err := st.CurrentUV(c.uv.UID)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		role, err := st.RoleOf(uv)
		if err != nil {
			return nil, err
		}
		out[uv.UID] = membership{Role: role, Eldest: uv.Eldest}
	}
	return out, nil
}

// keyed reports whether a role comes with the team's key.
func keyed(r teamchain.Role) bool { return r != teamchain.RoleNone && r != teamchain.RoleRestrictedBot }

// user is what a user's chain means now.
func (b *batch) user(tx *store.Tx, u kbsig.UID) (*sigchain.State, error) {
	if st, ok := b.users[u]; ok {
		return st, nil
	}
	st, err := identity.Chain(tx, u)
	if err != nil {
		return nil, err
	}
	b.users[u] = st
	return st, nil
}

// current reports whether a user version is its user's present incarnation.
func (b *batch) current(tx *store.Tx, uv kbsig.UserVersion) (bool, error) {
	st, err := b.user(tx, uv.UID)
	if err != nil {
		return false, err
	}
	return uv.Eldest != 0 && st.EldestSeqno == uv.Eldest && !st.Deleted, nil
}

// checkNewcomers: who becomes a member is there, in the present incarnation, and has a
// per-user key to be given the team's.
func (b *batch) checkNewcomers(tx *store.Tx) error {
	for _, t := range b.teams() {
		for _, c := range b.allChanges(t) {
			if c.before != teamchain.RoleNone || c.after == teamchain.RoleNone {
				continue
			}
			st, err := b.user(tx, c.uv.UID)
			if errors.Is(err, errNoUser) {
				return teamchain.Refuse(teamchain.KindMembership, "%s joins team %s and does not exist", c.uv.UID, t)
			}
			if err != nil {
				return err
			}
			if now, err := b.current(tx, c.uv); err != nil {
				return err
			} else if !now {
				return teamchain.Refuse(teamchain.KindMembership, "%s joins team %s and was reset or deleted", c.uv.UID, t)
			}
			if _, ok := st.LatestPUK(); !ok {
				return teamchain.Refuse(teamchain.KindMembership, "%s joins team %s without a per-user key", c.uv.UID, t)
			}
		}
	}
	return nil
}

// checkOwners: a root team that has an owner to act for it keeps one.
func (b *batch) checkOwners(tx *store.Tx) error {
	for _, t := range b.teams() {
		st := b.after[t]
		if _, sub := st.Parent(); sub || st.Implicit() || st.Deleted() {
			continue
		}
		lost := false
		for _, c := range b.allChanges(t) {
			if c.before != teamchain.RoleOwner || c.after == teamchain.RoleOwner {
				continue
			}
			now, err := b.current(tx, c.uv)
			if err != nil {
				return err
			}
			lost = lost || now
		}
		if !lost {
			continue
		}
		owned := false
		err := st.Members(func(uv kbsig.UserVersion, r teamchain.Role) error {
			owned = owned || r == teamchain.RoleOwner
			return nil
		})
		if err != nil {
			return fmt.Errorf("owners of team %s: %w", t, err)
		}
		if !owned {
			return teamchain.Refuse(teamchain.KindMembership, "team %s would have no owner", t)
		}
	}
	return nil
}
