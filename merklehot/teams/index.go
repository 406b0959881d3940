package teams

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/tree"
)

func lower(part string) string { return strings.ToLower(part) }

// reserved are names that no team may take: they would be taken for something else.
var reserved = []string{"keybase", "admin", "root", "support", "security", "team", "teams", "public", "private"}

// Reserved reports a name that is kept.
func Reserved(name kbsig.TeamName) bool { return slices.Contains(reserved, name.String()) }

// write stores the links of a batch, what the chains mean after them, and the indexes
// over that.
func (b *batch) write(tx *store.Tx) error {
	for _, l := range b.links {
		tx.Set(keys.TeamLink(l.Team, l.Seqno), l.Record().Encode())
		if err := indexTLF(tx, l); err != nil {
			return err
		}
	}
	for _, t := range b.teams() {
		st := b.after[t]
		putState(tx, st)
		if err := b.indexNames(tx, t); err != nil {
			return err
		}
		tx.Note(roots.LeafChange{ID: tree.ID(t), Leaf: Leaf(st)})
	}
	for _, t := range b.teams() {
		if err := b.indexMembers(tx, t); err != nil {
			return err
		}
	}
	return nil
}

// Leaf is a team's leaf in the Merkle tree.
// client: go/libkb/merkle_client.go:parseMerkleTeamLeaf
func Leaf(st *teamchain.State) tree.TeamLeaf {
	n, link, sig := st.Tail()
	tail := tree.Triple{Seqno: n, Link: link, Sig: sig}
	if st.Public() {
		return tree.TeamLeaf{Public: tail}
	}
	return tree.TeamLeaf{Private: tail}
}

// indexNames keeps a team's facts, and the names below its parent, in step.
func (b *batch) indexNames(tx *store.Tx, t kbsig.TeamID) error {
	st := b.after[t]
	name := st.Name()
	f := Facts{Part: name.Last(), Implicit: st.Implicit(), Deleted: st.Deleted()}
	if parent, ok := st.Parent(); ok {
		f.Parent = parent
	}
	old, err := FactsOf(tx, t)
	switch {
	case errors.Is(err, ErrNoTeam):
		if err := checkFree(tx, t, f, name); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		f.Offchain, f.Told, f.Changed = old.Offchain, old.Told, old.Changed
		if f.Parent != old.Parent {
			return fmt.Errorf("team %s moved: %w", t, ErrCorrupt)
		}
		if f.Parent != (kbsig.TeamID{}) && lower(old.Part) != lower(f.Part) {
			if err := checkFree(tx, t, f, name); err != nil {
				return err
			}
			tx.Delete(keys.Subteam(f.Parent, lower(old.Part)))
		}
	}
	if f.Parent != (kbsig.TeamID{}) {
		store.Save(tx, keys.Subteam(f.Parent, lower(f.Part)), subteam{ID: t, Deleted: f.Deleted})
	}
	putFacts(tx, t, f)
	return nil
}

// checkFree: nobody else has the name, or, of root teams and users, has had it. A name
// below a team is free again once its team has another or is deleted.
// client: go/teams/rename_test.go:TestRenameIntoMovedSubteam, go/teams/delete_test.go:TestRecreateSubteam
func checkFree(tx *store.Tx, t kbsig.TeamID, f Facts, name kbsig.TeamName) error {
	if f.Parent != (kbsig.TeamID{}) {
		sub, err := loadSubteam(tx, f.Parent, lower(f.Part))
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil
		case err != nil:
			return err
		case sub.ID != t && !sub.Deleted:
			return teamchain.Refuse(teamchain.KindExists, "the name %s is taken", name)
		}
		return nil
	}
	if f.Implicit {
		return nil
	}
	if Reserved(name) {
		return teamchain.Refuse(teamchain.KindReserved, "the name %s is reserved", name)
	}
	user, err := kbsig.ParseUsername(name.String())
	if err != nil {
		return nil // longer or shorter than a user's name may be
	}
	taken, err := userNamed(tx, user)
	if err != nil {
		return err
	}
	if taken {
		return teamchain.Refuse(teamchain.KindUserName, "%s is the name of a user", name)
	}
	return nil
}

func userNamed(tx *store.Tx, name kbsig.Username) (bool, error) {
	_, err := accounts.ByName(tx, name)
	if errors.Is(err, accounts.ErrNoUser) {
		return false, nil
	}
	return err == nil, err
}

// NameTaken reports whether a root team has a user's name, so that no user can take it.
func NameTaken(r store.Reader, name kbsig.Username) (bool, error) {
	team, err := kbsig.ParseTeamName(string(name))
	if err != nil {
		return false, nil
	}
	_, err = rootByName(r, team)
	if errors.Is(err, ErrNoTeam) {
		return false, nil
	}
	return err == nil, err
}

// indexMembers keeps what users are in a team, found by user, in step; and counts the
// change for all whose map of roles is another now.
func (b *batch) indexMembers(tx *store.Tx, t kbsig.TeamID) error {
	concerned := make(map[kbsig.UID]bool)
	changes := b.allChanges(t)
	now, err := b.standings(t, changes)
	if err != nil {
		return err
	}
	for _, c := range changes {
		if c.before == c.after {
			continue
		}
		concerned[c.uv.UID] = true
		if m, ok := now[c.uv.UID]; ok {
			store.Save(tx, keys.Membership(c.uv.UID, t), m)
		} else {
			tx.Delete(keys.Membership(c.uv.UID, t))
		}
	}
	renamed := b.before[t] != nil && b.before[t].Name().String() != b.after[t].Name().String()
	made := b.before[t] == nil
	gone := b.before[t] != nil && !b.before[t].Deleted() && b.after[t].Deleted()
	if renamed || gone {
		err := b.after[t].Members(func(uv kbsig.UserVersion, _ teamchain.Role) error {
			concerned[uv.UID] = true
			return nil
		})
		if err != nil {
			return err
		}
	}
	if renamed || gone || made {
		if err := b.aboveAdmins(tx, t, func(u kbsig.UID) { concerned[u] = true }); err != nil {
			return err
		}
	}
	return bumpRoleMaps(tx, concerned)
}

// aboveAdmins calls fn for the admins of the teams above a team.
func (b *batch) aboveAdmins(tx *store.Tx, t kbsig.TeamID, fn func(kbsig.UID)) error {
	parent, ok := b.after[t].Parent()
	for ok {
		above, err := b.team(tx, parent)
		if err != nil {
			return err
		}
		err = above.Members(func(uv kbsig.UserVersion, r teamchain.Role) error {
			if r.AtLeast(teamchain.RoleAdmin) {
				fn(uv.UID)
			}
			return nil
		})
		if err != nil {
			return err
		}
		parent, ok = above.Parent()
	}
	return nil
}
