package teamchain

import (
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
)

// batch is a list of links under way.
type batch struct {
	env   Env
	after map[kbsig.TeamID]*State
}

// CheckBatch plays links, in order and of whatever teams, onto the chains as they are,
// and returns what those mean that grew. Links of parent and child that belong together
// must come together. The incarnation of each signer is filled in.
func CheckBatch(links []*Link, env Env) (map[kbsig.TeamID]*State, error) {
	b := &batch{env: env, after: make(map[kbsig.TeamID]*State)}
	for _, l := range links {
		if err := b.play(l); err != nil {
			return nil, fmt.Errorf("link %d of team %s: %w", l.Seqno, l.Team, err)
		}
	}
	return b.after, matchChildren(links)
}

// team is a team as it is by now.
func (b *batch) team(t kbsig.TeamID) (*State, error) {
	if s := b.after[t]; s != nil {
		return s, nil
	}
	return b.env.Team(t)
}

func (b *batch) play(l *Link) error {
	if err := b.identify(l); err != nil {
		return err
	}
	if err := b.env.Root(l.Root); err != nil {
		return err
	}
	s, err := b.team(l.Team)
	if err != nil {
		return err
	}
	var next *State
	if s == nil {
		if l.Seqno != 1 {
			return Refuse(KindNoTeam, "no team %s", l.Team)
		}
		if next, err = begin(l); err != nil {
			return err
		}
		if err := b.checkFirstAdmin(l); err != nil {
			return err
		}
	} else {
		if l.Seqno == 1 {
			return Refuse(KindExists, "team %s exists", l.Team)
		}
		g, err := b.authority(s, l)
		if err != nil {
			return err
		}
		generation, err := b.env.Hidden(l.Team)
		if err != nil {
			return err
		}
		if err := s.checkKeyset(l, generation); err != nil {
			return err
		}
		if next, err = s.apply(l, g, generation); err != nil {
			return err
		}
	}
	b.after[l.Team] = next
	return nil
}

// identify: the link is signed by a device of the user that it names.
// client: go/teams/loader2.go:TeamLoader.loadUserAndKeyFromLinkInnerAndVerify
func (b *batch) identify(l *Link) error {
	eldest, active, err := b.env.Device(l.Signer.UID, l.KID)
	if err != nil {
		return err
	}
	if !active || eldest < 1 {
		return Refuse(KindWrongKey, "signed by %s, which is no active device of %s", l.KID, l.Signer.UID)
	}
	l.Signer.Eldest = eldest
	name, err := b.env.Username(l.Signer.UID)
	if err != nil {
		return err
	}
	if name != l.Username {
		return Refuse(KindMismatch, "signed by %s, who is called otherwise", l.Signer.UID)
	}
	return nil
}

// authority is what a link's author may act as, as readers find it.
// client: go/teams/loader2.go:TeamLoader.verifyLink, TeamLoader.verifyAdminPermissions
func (b *batch) authority(s *State, l *Link) (g signer, err error) {
	if g.role, err = s.RoleOf(l.Signer); err != nil {
		return g, err
	}
	switch l.Type {
	case kbsig.LinkTeamLeave:
		return g, nil
	case kbsig.LinkTeamRotateKey, kbsig.LinkTeamKBFS:
		if g.role.AtLeast(RoleWriter) {
			return g, b.checkAdmin(s, l, true)
		}
	}
	if l.Admin == nil {
		return g, nil
	}
	if err := b.checkAdmin(s, l, false); err != nil {
		return g, err
	}
	g.implicit = l.Admin.Team != s.h.ID
	return g, nil
}

// checkAdmin: the admin section, if there is one, names the very link by which the
// author became an admin, here or in a team above, and is one still. Readers do not ask
// for it where the role is enough; then it may be missing but not wrong.
// client: go/teams/loader2.go:TeamLoader.walkUpToAdmin, go/teams/chain.go:TeamSigChainState.assertBecameAdminAt
func (b *batch) checkAdmin(s *State, l *Link, enough bool) error {
	if l.Admin == nil {
		return nil
	}
	at := s
	for depth := 0; at.h.ID != l.Admin.Team; depth++ {
		parent, ok := at.Parent()
		if !ok || depth > depthMax {
			return Refuse(KindAdminChain, "admin of %s, which is not above", l.Admin.Team)
		}
		var err error
		if at, err = b.team(parent); err != nil {
			return err
		}
		if at == nil {
			return Refuse(KindNoTeam, "no team %s", parent)
		}
	}
	if at.h.Deleted {
		return Refuse(KindDeleted, "team %s has been deleted", at.h.ID)
	}
	want := kbsig.SeqTypeSemiprivate
	if at.Public() {
		want = kbsig.SeqTypePublic
	}
	if l.Admin.SeqType != want {
		return Refuse(KindAdminChain, "seq_type %d of a chain of %d", l.Admin.SeqType, want)
	}
	points, err := at.RoleLog(l.Signer)
	if err != nil {
		return err
	}
	found := false
	for _, p := range points {
		switch {
		case p.Seqno == l.Admin.Seqno:
			found = p.Role.AtLeast(RoleAdmin)
		case p.Seqno > l.Admin.Seqno && !p.Role.AtLeast(RoleAdmin):
			found = false
			if !enough {
				return Refuse(KindPermission, "%s was an admin of team %s until link %d", l.Signer, at.h.ID, p.Seqno)
			}
		}
	}
	if !found {
		return Refuse(KindAdminChain, "%s did not become an admin with link %d of team %s", l.Signer, l.Admin.Seqno, at.h.ID)
	}
	return nil
}

// checkFirstAdmin: the first link of a subteam says by what its author is an admin above.
// Stock readers look at the parent's half of the pair only; others look here too.
func (b *batch) checkFirstAdmin(l *Link) error {
	if l.Admin == nil {
		return nil
	}
	above, err := b.team(l.Parent.Team)
	if err != nil {
		return err
	}
	if above == nil {
		return Refuse(KindNoTeam, "no team %s", l.Parent.Team)
	}
	return b.checkAdmin(above, l, false)
}

// halves are the links of child chains that go with links of their parents'.
var halves = map[kbsig.LinkType]kbsig.LinkType{
	kbsig.LinkTeamSubteamHead:     kbsig.LinkTeamNewSubteam,
	kbsig.LinkTeamRenameUpPointer: kbsig.LinkTeamRenameSubteam,
	kbsig.LinkTeamDeleteUpPointer: kbsig.LinkTeamDeleteSubteam,
}

// matchChildren: what is said of a subteam is said in both chains, the parent's first.
// client: go/teams/loader2.go:TeamLoader.checkParentChildOperations
func matchChildren(links []*Link) error {
	waiting := make(map[kbsig.TeamID]*Link)
	for _, l := range links {
		if l.Subteam != nil {
			if waiting[l.Subteam.ID] != nil {
				return Refuse(KindBatch, "two links about subteam %s", l.Subteam.ID)
			}
			waiting[l.Subteam.ID] = l
			continue
		}
		half, ok := halves[l.Type]
		if !ok {
			continue
		}
		up := waiting[l.Team]
		switch {
		case up == nil || up.Type != half:
			return Refuse(KindBatch, "link of type %s without that of its parent", l.Type.TeamName())
		case up.Team != l.Parent.Team || up.Seqno != l.Parent.Seqno || up.SeqType != l.Parent.SeqType:
			return Refuse(KindMismatch, "link of type %s points at another link than its parent's", l.Type.TeamName())
		case up.Subteam.Name != *l.Name:
			return Refuse(KindMismatch, "parent and child give the subteam different names")
		case up.Signer != l.Signer:
			return Refuse(KindMismatch, "parent's and child's link by different authors")
		}
		delete(waiting, l.Team)
	}
	if len(waiting) > 0 {
		return Refuse(KindBatch, "a link about a subteam without that of the subteam")
	}
	return nil
}

// Rotation is what a hidden link says of who made it.
type Rotation struct {
	Team   kbsig.TeamID
	Signer kbsig.UserVersion
	KID    kbsig.KID
	Admin  *Place
	Root   RootRef
}

// CheckRotation: the author of a hidden link may rotate the team's key.
// client: go/teams/hidden/loader.go, go/teams/loader2.go:TeamLoader.verifyLink
func CheckRotation(r Rotation, env Env) error {
	b := &batch{env: env}
	eldest, active, err := env.Device(r.Signer.UID, r.KID)
	if err != nil {
		return err
	}
	if !active || eldest < 1 || eldest != r.Signer.Eldest {
		return Refuse(KindWrongKey, "signed by %s, which is no active device of %s", r.KID, r.Signer)
	}
	if err := env.Root(r.Root); err != nil {
		return err
	}
	s, err := b.team(r.Team)
	if err != nil {
		return err
	}
	if s == nil {
		return Refuse(KindNoTeam, "no team %s", r.Team)
	}
	if s.h.Deleted {
		return Refuse(KindDeleted, "team %s has been deleted", r.Team)
	}
	l := &Link{Team: r.Team, Type: kbsig.LinkTeamRotateKey, Signer: r.Signer, Admin: r.Admin}
	g, err := b.authority(s, l)
	if err != nil {
		return err
	}
	return s.permit(l, g)
}
