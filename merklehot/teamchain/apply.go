package teamchain

import (
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
)

// Env is what a chain does not say by itself.
type Env interface {
	// Device tells the present incarnation of a user, and whether a key is one of its
	// active device keys that sign.
	Device(u kbsig.UID, k kbsig.KID) (eldest kbsig.Seqno, active bool, err error)
	// Username is a user's name.
	Username(u kbsig.UID) (kbsig.Username, error)
	// Root refuses a Merkle root that was never published, or not as it is quoted.
	Root(ref RootRef) error
	// Team is a team as it was before the batch; nil if there is none.
	Team(t kbsig.TeamID) (*State, error)
	// Hidden is the newest hidden generation of a team's key, 0 without one.
	Hidden(t kbsig.TeamID) (generation int64, err error)
}

// begin is the state after a first link. client: go/teams/chain.go:teamSigchainPlayer.addInnerLink
func begin(l *Link) (*State, error) {
	if l.Name.Depth() > depthMax {
		return nil, Refuse(KindName, "a name of %d parts", l.Name.Depth()+1)
	}
	switch l.Type {
	case kbsig.LinkTeamRoot:
		if l.Name.Depth() != 0 || l.Team.Subteam() {
			return nil, Refuse(KindName, "a root team with the name of a subteam")
		}
		if l.Name.Implicit() != l.Implicit {
			return nil, Refuse(KindName, "is_implicit is %v", l.Implicit)
		}
		if kbsig.TeamIDOf(*l.Name, l.Team.Public()) != l.Team {
			return nil, Refuse(KindName, "the id is not that of the name")
		}
		if l.Invites != nil && !l.Implicit {
			return nil, Refuse(KindSection, "invitations in the first link")
		}
	case kbsig.LinkTeamSubteamHead:
		switch {
		case l.Team.Public() || !l.Team.Subteam():
			return nil, Refuse(KindName, "a subteam with the id of no private subteam")
		case l.Name.Depth() == 0 || l.Name.Implicit():
			return nil, Refuse(KindName, "a subteam with the name of a root team")
		}
	default:
		return nil, Refuse(KindSection, "link of type %s begins a chain", l.Type.TeamName())
	}
	if l.PTK.Generation != 1 {
		return nil, Refuse(KindGeneration, "the first key has generation %d", l.PTK.Generation)
	}
	s := &State{base: &base{rows: NoRows{}}, h: head{
		ID: l.Team, Implicit: l.Implicit, Name: l.Name.String(), Names: []namePoint{{l.Name.Last(), 1}}, First: l.Root.Seqno,
	}}
	if l.Parent != nil {
		p := l.Parent.Team
		s.h.Parent = &p
	}
	if err := s.setMembers(l, l.Type == kbsig.LinkTeamRoot, true); err != nil {
		return nil, err
	}
	if err := s.setPTK(l); err != nil {
		return nil, err
	}
	if l.Type == kbsig.LinkTeamRoot {
		role, err := s.RoleOf(l.Signer)
		if err != nil {
			return nil, err
		}
		if role != RoleOwner {
			return nil, Refuse(KindMembership, "the author is no owner of the new team")
		}
		if l.Invites != nil {
			if err := s.invite(l, true); err != nil {
				return nil, err
			}
		}
	}
	if err := s.setSettings(l); err != nil {
		return nil, err
	}
	s.end(l)
	return s, nil
}

// namesMax bounds how often a team is renamed; seqnosMax how long its chain gets.
const (
	namesMax  = 500
	seqnosMax = 1 << 20
)

// depthMax bounds how deep subteams nest, the root not counted.
const depthMax = 40

func (s *State) end(l *Link) {
	s.h.Tail, s.h.Link, s.h.Sig = l.Seqno, l.ID, l.SigID
	s.h.Root = max(s.h.Root, l.Root.Seqno)
}

// signer is what the author of a link may act as.
type signer struct {
	role     Role // in the team itself, before the link
	implicit bool // an admin of a team above
}

func (g signer) admin() bool { return g.role.AtLeast(RoleAdmin) || g.implicit }

// apply is the state after one more link.
func (s *State) apply(l *Link, g signer, hiddenPTK int64) (*State, error) {
	n := s.clone()
	if err := n.add(l, g, hiddenPTK); err != nil {
		return nil, err
	}
	return n, nil
}

// add changes a state that nobody else has yet; after an error it is good for nothing.
// client: go/teams/chain.go:teamSigchainPlayer.addInnerLink
func (s *State) add(l *Link, g signer, hiddenPTK int64) error {
	if s.h.Deleted {
		return Refuse(KindDeleted, "team %s has been deleted", s.h.ID)
	}
	if l.Seqno != s.h.Tail+1 || l.Prev != s.h.Link {
		return Refuse(KindOldSeqno, "link %d after %s, the chain ends with %d", l.Seqno, l.Prev, s.h.Tail)
	}
	if l.Seqno > seqnosMax {
		return Refuse(KindTooMany, "a chain of %d links", seqnosMax)
	}
	if l.Implicit != s.h.Implicit {
		return Refuse(KindMismatch, "is_implicit is %v", l.Implicit)
	}
	if l.Root.Seqno < s.h.Root {
		// Readers judge times by the roots that links quote.
		return Refuse(KindOrder, "quotes root %d after %d", l.Root.Seqno, s.h.Root)
	}
	if err := s.permit(l, g); err != nil {
		return err
	}
	newest := max(s.h.PTK.Generation, hiddenPTK)
	if l.PTK != nil && l.PTK.Generation != newest+1 {
		return Refuse(KindGeneration, "key generation %d after %d", l.PTK.Generation, newest)
	}
	var err error
	switch l.Type {
	case kbsig.LinkTeamChangeMembership:
		err = s.changeMembership(l, g)
	case kbsig.LinkTeamLeave:
		err = s.setRole(l.Signer, RoleNone, l)
	case kbsig.LinkTeamNewSubteam, kbsig.LinkTeamRenameSubteam, kbsig.LinkTeamDeleteSubteam:
		err = s.nameSubteam(l)
	case kbsig.LinkTeamRenameUpPointer:
		err = s.rename(l)
	case kbsig.LinkTeamInvite:
		err = s.invite(l, g.role == RoleOwner)
	case kbsig.LinkTeamSettings:
		err = s.setSettings(l)
	case kbsig.LinkTeamKBFS:
		err = s.setKBFS(l)
	case kbsig.LinkTeamBotSettings:
		err = s.setBots(l)
	case kbsig.LinkTeamDeleteRoot, kbsig.LinkTeamDeleteUpPointer:
		err = s.remove(l)
	}
	if err != nil {
		return err
	}
	if l.PTK != nil {
		if err := s.setPTK(l); err != nil {
			return err
		}
	}
	s.end(l)
	return nil
}

// permit: the author may make a link of this type.
// client: go/libkb/chain_link_v2.go:SigchainV2Type.RequiresAtLeastRole, go/teams/chain.go
func (s *State) permit(l *Link, g signer) error {
	ok := g.admin()
	switch l.Type {
	case kbsig.LinkTeamRotateKey:
		ok = ok || g.role.AtLeast(RoleWriter)
	case kbsig.LinkTeamLeave:
		ok = g.role != RoleNone
	case kbsig.LinkTeamKBFS:
		ok = g.role.AtLeast(RoleWriter)
	case kbsig.LinkTeamDeleteRoot:
		if ok = g.role == RoleOwner; !ok {
			return Refuse(KindOwnerOnly, "a team deleted by its %s", g.role)
		}
	}
	if !ok {
		return Refuse(KindPermission, "link of type %s by a %s", l.Type.TeamName(), g.role)
	}
	return nil
}

// setPTK takes a new key in. client: go/teams/chain.go:TeamSigChainState.checkNewPTK
func (s *State) setPTK(l *Link) error {
	s.h.PTK, s.h.PTKCtime = *l.PTK, l.Ctime
	return save(s, name(rowPTK, be(l.PTK.Generation)), *l.PTK)
}

// plain are the roles with keys and without power over others. What a member was between
// two of them is asked by nobody: admins are asked since when and until when they were,
// members since when they have the keys. So a log does not grow with each change of them.
func plain(r Role) bool { return r == RoleReader || r == RoleWriter || r == RoleBot }

// setRole adds to what a user version has been.
// client: go/teams/chain.go:TeamSigChainState.inform
func (s *State) setRole(uv kbsig.UserVersion, r Role, l *Link) error {
	points, err := s.RoleLog(uv)
	if err != nil {
		return err
	}
	old := RoleNone
	if len(points) > 0 {
		old = points[len(points)-1].Role
	}
	if old == RoleNone && r != RoleNone {
		s.h.Members++
	}
	if old != RoleNone && r == RoleNone {
		s.h.Members--
	}
	// A new slice: the old one may be another state's.
	if n := len(points); n > 1 && plain(points[n-2].Role) && plain(old) && plain(r) {
		points = points[:n-1]
	}
	points = append(points[:len(points):len(points)], RolePoint{r, l.Seqno, l.Ctime})
	if err := save(s, memberRow(uv), points); err != nil {
		return err
	}
	if r == RoleRestrictedBot {
		return nil
	}
	bot := name(rowBot, uv.UID[:], be(int64(uv.Eldest)))
	if b, err := s.row(bot); err != nil || b == nil {
		return err
	}
	return s.put(bot, nil)
}

// setMembers takes the roles of a link in.
// client: go/teams/chain.go:teamSigchainPlayer.sanityCheckMembers
func (s *State) setMembers(l *Link, needOwner, first bool) error {
	owners := 0
	for _, m := range l.Members {
		switch m.Role {
		case RoleOwner:
			owners++
			if s.h.Parent != nil {
				return Refuse(KindSubteamOwner, "%s as an owner of subteam %s", m.UV, s.h.ID)
			}
		case RoleAdmin, RoleWriter:
			if s.h.Implicit {
				return Refuse(KindImplicitRole, "%s as %s of an implicit team", m.UV, m.Role)
			}
		case RoleNone:
			if first {
				return Refuse(KindMembership, "%s leaves a team that begins", m.UV)
			}
		}
		if m.UV.Eldest < 1 {
			return Refuse(KindMembership, "%s is no incarnation", m.UV)
		}
	}
	if needOwner && owners == 0 {
		return Refuse(KindMembership, "a team without an owner")
	}
	for _, m := range l.Members {
		if err := s.setRole(m.UV, m.Role, l); err != nil {
			return err
		}
	}
	return nil
}

// changeMembership: client: go/teams/chain.go:teamSigchainPlayer.addInnerLink
func (s *State) changeMembership(l *Link, g signer) error {
	demotes, err := s.demotesOwner(l)
	if err != nil {
		return err
	}
	if demotes && g.role != RoleOwner {
		return Refuse(KindOwnerOnly, "an owner is demoted by a %s", g.role)
	}
	for _, m := range l.Members {
		role, err := s.RoleOf(m.UV)
		if err != nil {
			return err
		}
		switch {
		case m.Role == RoleOwner && s.h.Parent != nil:
			return Refuse(KindSubteamOwner, "%s as an owner of subteam %s", m.UV, s.h.ID)
		case m.Role == RoleOwner && g.role != RoleOwner:
			return Refuse(KindOwnerOnly, "an owner is made by a %s", g.role)
		case m.Role == RoleNone && role == RoleNone:
			return Refuse(KindMembership, "%s is removed and no member", m.UV)
		}
	}
	if s.h.Implicit {
		if err := s.checkImplicitChange(l); err != nil {
			return err
		}
	}
	if len(l.Members) == 0 && len(l.Completed) == 0 {
		return Refuse(KindMembership, "nobody's role changes")
	}
	if err := s.setMembers(l, false, false); err != nil {
		return err
	}
	if err := s.completeInvites(l); err != nil {
		return err
	}
	if err := s.obsoleteInvites(l); err != nil {
		return err
	}
	return s.useInvites(l)
}

// demotesOwner: an owner loses that role, other than by having been reset and coming back
// as something less. client: go/teams/chain.go:teamSigchainPlayer.roleUpdatesDemoteOwners
func (s *State) demotesOwner(l *Link) (bool, error) {
	for _, m := range l.Members {
		if m.Role == RoleOwner {
			continue
		}
		role, err := s.RoleOf(m.UV)
		if err != nil {
			return false, err
		}
		if role == RoleOwner && !(m.Role == RoleNone && comesBack(l, m.UV)) {
			return true, nil
		}
	}
	return false, nil
}

func comesBack(l *Link, uv kbsig.UserVersion) bool {
	for _, m := range l.Members {
		if m.Role != RoleNone && m.UV.UID == uv.UID && m.UV.Eldest > uv.Eldest {
			return true
		}
	}
	return false
}

// nameSubteam: client: go/teams/chain.go:teamSigchainPlayer.assertSubteamName
func (s *State) nameSubteam(l *Link) error {
	sub, own := l.Subteam, s.Name()
	if !sub.ID.Subteam() || sub.ID.Public() {
		return Refuse(KindName, "team %s is no private subteam", sub.ID)
	}
	parts := sub.Name.Parts()
	switch {
	case sub.Name.Root() != own.Root():
		return Refuse(KindName, "subteam %s of %s", sub.Name, own)
	case sub.Name.Depth() != own.Depth()+1 || sub.Name.Depth() > depthMax:
		return Refuse(KindName, "subteam %s of %s lies elsewhere", sub.Name, own)
	case parts[len(parts)-2] != own.Last():
		return Refuse(KindName, "subteam %s of a team that is called %s", sub.Name, own.Last())
	}
	points, err := s.Subteam(sub.ID)
	if err != nil {
		return err
	}
	alive := len(points) > 0 && points[len(points)-1].Name != ""
	point := SubteamPoint{Name: sub.Name.String(), Seqno: l.Seqno}
	switch l.Type {
	case kbsig.LinkTeamNewSubteam:
		if len(points) > 0 {
			return Refuse(KindExists, "subteam %s is there already", sub.ID)
		}
	default:
		if !alive {
			return Refuse(KindNoTeam, "no subteam %s", sub.ID)
		}
		if l.Type == kbsig.LinkTeamDeleteSubteam {
			point.Name = ""
		} else if old := points[len(points)-1].Name; old[strings.LastIndexByte(old, '.')+1:] == sub.Name.Last() {
			// The parts before may be another team's old names.
			return Refuse(KindName, "subteam %s has that name", sub.ID)
		}
	}
	return save(s, name(rowSub, sub.ID[:]), append(points[:len(points):len(points)], point))
}

// rename: client: go/teams/chain.go:teamSigchainPlayer.addInnerLink
func (s *State) rename(l *Link) error {
	switch own := s.Name(); {
	case s.h.Parent == nil:
		return Refuse(KindName, "a root team is renamed")
	case *s.h.Parent != l.Parent.Team:
		return Refuse(KindName, "the subteam moves to another team")
	case l.Name.Depth() == 0 || l.Name.Root() != own.Root() || l.Name.Depth() != own.Depth():
		return Refuse(KindName, "%s becomes %s", own, l.Name)
	}
	if len(s.h.Names) == namesMax {
		return Refuse(KindTooMany, "%d names", namesMax)
	}
	s.h.Name = l.Name.String()
	s.h.Names = append(s.h.Names[:len(s.h.Names):len(s.h.Names)], namePoint{l.Name.Last(), l.Seqno})
	return nil
}

// remove ends the chain; readers go no further.
func (s *State) remove(l *Link) error {
	switch {
	case l.Type == kbsig.LinkTeamDeleteRoot && s.h.Parent != nil:
		return Refuse(KindName, "a subteam is deleted like a root team")
	case l.Type == kbsig.LinkTeamDeleteUpPointer && (s.h.Parent == nil || *s.h.Parent != l.Parent.Team):
		return Refuse(KindName, "a team is deleted by one that is not above")
	}
	alive := false
	if err := s.Subteams(func(kbsig.TeamID) error { alive = true; return nil }); err != nil {
		return err
	}
	if alive {
		return Refuse(KindChildren, "team %s has subteams", s.h.ID)
	}
	s.h.Deleted = true
	return nil
}

func (s *State) setSettings(l *Link) error {
	if l.Settings == nil || !l.Settings.HasOpen {
		return nil
	}
	if s.h.Implicit {
		return Refuse(KindImplicit, "an implicit team is opened or closed")
	}
	joinAs := s.h.Settings.JoinAs
	s.h.Settings = *l.Settings
	if !l.Settings.Open {
		s.h.Settings.JoinAs = joinAs
	}
	return nil
}

// checkKeyset: readers must have the generation under which adopted keys are sealed, or
// none of them could load the team.
// client: go/teams/loader2.go:TeamLoader.addKBFSCryptKeys
func (s *State) checkKeyset(l *Link, hidden int64) error {
	if l.KBFS == nil || l.KBFS.Keyset == nil {
		return nil
	}
	if g, newest := l.KBFS.Keyset.TeamGeneration, max(s.h.PTK.Generation, hidden); g > newest {
		return Refuse(KindGeneration, "keys of a folder under generation %d, the newest is %d", g, newest)
	}
	return nil
}

// client: go/teams/chain.go:teamSigchainPlayer.parseKBFSTLFUpgrade
func (s *State) setKBFS(l *Link) error {
	if l.KBFS.TLF != "" {
		s.h.TLF = l.KBFS.TLF
	}
	if l.KBFS.Keyset == nil {
		return nil
	}
	return save(s, name(rowKeyset, be(int64(l.KBFS.Keyset.AppType))), *l.KBFS.Keyset)
}

// client: go/teams/chain.go:teamSigchainPlayer.parseTeamBotSettings
func (s *State) setBots(l *Link) error {
	for _, b := range l.BotSettings {
		role, err := s.RoleOf(b.Bot)
		if err != nil {
			return err
		}
		if role != RoleRestrictedBot {
			return Refuse(KindMembership, "bot settings of %s, who is %s", b.Bot, role)
		}
		if err := save(s, name(rowBot, b.Bot.UID[:], be(int64(b.Bot.Eldest))), b); err != nil {
			return err
		}
	}
	return nil
}
