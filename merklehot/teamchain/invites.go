package teamchain

import (
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
)

// invite takes new and cancelled invitations in.
// client: go/teams/chain.go:teamSigchainPlayer.sanityCheckInvites
func (s *State) invite(l *Link, byOwner bool) error {
	// A new implicit team has the section also when everybody in it is a user.
	// client: go/teams/create.go:CreateImplicitTeam
	if len(l.Invites.Added)+len(l.Invites.Cancel) == 0 && l.Seqno > 1 {
		return Refuse(KindInvite, "no invitation")
	}
	if s.h.Implicit && l.Seqno > 1 {
		if err := s.checkImplicitInvites(l); err != nil {
			return err
		}
	}
	ids := make(map[kbsig.InviteID]bool)
	for _, id := range l.Invites.Cancel {
		if ids[id] {
			return Refuse(KindInviteCancel, "invitation %s is cancelled twice", id)
		}
		ids[id] = true
	}
	names := make(map[string]bool)
	for _, i := range l.Invites.Added {
		key := i.Type + ":" + i.Name
		if ids[i.ID] || names[key] {
			return Refuse(KindInvite, "invitation %s comes twice", i.ID)
		}
		ids[i.ID], names[key] = true, true
		if err := s.checkInvite(i, byOwner); err != nil {
			return err
		}
	}
	// Readers keep additions first and cancellations then.
	for _, i := range l.Invites.Added {
		if err := s.addInvite(i, l); err != nil {
			return err
		}
	}
	for _, id := range l.Invites.Cancel {
		st, ok, err := s.Invite(id)
		if err != nil {
			return err
		}
		// Clients cancel what has become obsolete too, so as to be sure.
		// client: go/teams/transactions.go:AddMemberTx.sweepKeybaseInvites
		if !ok || st.Ended && !st.Obsolete {
			return Refuse(KindInviteCancel, "invitation %s is not active", id)
		}
		if err := s.endInvite(st, false); err != nil {
			return err
		}
	}
	return nil
}

func (s *State) checkInvite(i Invite, byOwner bool) error {
	switch i.Role {
	case RoleOwner:
		switch {
		case s.h.Parent != nil:
			return Refuse(KindSubteamOwner, "an owner is invited to a subteam")
		case !byOwner:
			return Refuse(KindOwnerOnly, "an owner is invited by somebody who is none")
		case !s.h.Implicit && i.Type != InviteKeybase:
			return Refuse(KindInvite, "an owner is invited by %s", i.Type)
		}
	case RoleAdmin, RoleWriter:
		if s.h.Implicit {
			return Refuse(KindImplicitRole, "%s invited to an implicit team", i.Role)
		}
	}
	if s.h.Implicit && (i.NewStyle() || i.Type == InviteLink || i.Type == InviteSeitan) {
		// Nobody could tell the name of such a team any more.
		// client: go/teams/teams.go:Team.implicitTeamDisplayName
		return Refuse(KindInvite, "an invitation of type %s to an implicit team", i.Type)
	}
	if (i.Type == InviteLink) != i.NewStyle() {
		// Stock readers would take it; no client makes such.
		return Refuse(KindInvite, "an invitation of type %s for %d uses", i.Type, i.MaxUses)
	}
	if i.Type == InviteLink && i.Role.AtLeast(RoleAdmin) {
		return Refuse(KindInvite, "a link that makes admins")
	}
	if _, ok := i.Keybase(); i.Type == InviteKeybase && !ok {
		return Refuse(KindInvite, "a Keybase invitation of no user")
	}
	if _, ok, err := s.Invite(i.ID); err != nil {
		return err
	} else if ok {
		return Refuse(KindInvite, "invitation %s is there already", i.ID)
	}
	return nil
}

// checkImplicitInvites: who is invited was there before, and who is uninvited is invited
// anew. client: go/teams/chain.go:teamSigchainPlayer.addInnerLink
func (s *State) checkImplicitInvites(l *Link) error {
	added := make(map[kbsig.UID]bool)
	for _, i := range l.Invites.Added {
		uv, ok := i.Keybase()
		if !ok {
			return Refuse(KindImplicit, "invitation of type %s to an implicit team", i.Type)
		}
		added[uv.UID] = true
		due, err := s.implicitRoles(uv.UID)
		if err != nil {
			return err
		}
		if len(due) == 0 {
			return Refuse(KindImplicit, "%s is invited to an implicit team of others", uv)
		}
		if !slices.Contains(due, i.Role) {
			return Refuse(KindImplicitRole, "%s is invited as %s to an implicit team", uv, i.Role)
		}
	}
	for _, id := range l.Invites.Cancel {
		st, ok, err := s.Invite(id)
		if err != nil {
			return err
		}
		if !ok || st.Ended {
			continue
		}
		if uv, ok := st.Invite.Keybase(); !ok || !added[uv.UID] {
			return Refuse(KindImplicit, "invitation %s is cancelled for nothing", id)
		}
	}
	return nil
}

// implicitRoles is what a user is in an implicit team, or is invited as.
func (s *State) implicitRoles(u kbsig.UID) (out []Role, err error) {
	uv, member, err := s.CurrentUV(u)
	if err == nil && member {
		var role Role
		role, err = s.RoleOf(uv)
		out = append(out, role)
	}
	if err != nil {
		return nil, err
	}
	err = s.KeybaseInvites(u, func(i InviteState) error { out = append(out, i.Invite.Role); return nil })
	return out, err
}

func (s *State) addInvite(i Invite, l *Link) error {
	if uv, ok := i.Keybase(); ok {
		if err := s.put(name(rowKeyed, uv.UID[:], i.ID[:]), []byte{}); err != nil {
			return err
		}
	}
	s.h.Invites++
	return save(s, name(rowInvite, i.ID[:]), InviteState{Invite: i, Inviter: l.Signer, Seqno: l.Seqno, Ctime: l.Ctime})
}

func (s *State) endInvite(st InviteState, obsolete bool) error {
	if !st.Ended {
		s.h.Invites--
	}
	st.Ended, st.Obsolete = true, obsolete
	if uv, ok := st.Invite.Keybase(); ok {
		if err := s.put(name(rowKeyed, uv.UID[:], st.Invite.ID[:]), nil); err != nil {
			return err
		}
	}
	return save(s, name(rowInvite, st.Invite.ID[:]), st)
}

// activeInvite finds an invitation that somebody accepts.
func (s *State) activeInvite(id kbsig.InviteID) (InviteState, error) {
	st, ok, err := s.Invite(id)
	if err == nil && (!ok || st.Ended) {
		err = Refuse(KindInviteDone, "invitation %s is not active", id)
	}
	return st, err
}

// completeInvites: client: go/teams/chain.go:teamSigchainPlayer.completeInvites
func (s *State) completeInvites(l *Link) error {
	for _, c := range l.Completed {
		st, err := s.activeInvite(c.Invite)
		if err != nil {
			return err
		}
		if st.Invite.NewStyle() {
			return Refuse(KindInviteDone, "invitation %s is used, not completed", c.Invite)
		}
		if err := s.endInvite(st, false); err != nil {
			return err
		}
	}
	return nil
}

// obsoleteInvites: a Keybase invitation ends when anything is said of its user.
// client: go/teams/chain.go:teamSigchainPlayer.obsoleteActiveInvites
func (s *State) obsoleteInvites(l *Link) error {
	if s.h.Invites == 0 {
		return nil
	}
	for _, m := range l.Members {
		var ended []InviteState
		err := s.KeybaseInvites(m.UV.UID, func(i InviteState) error { ended = append(ended, i); return nil })
		if err != nil {
			return err
		}
		for _, i := range ended {
			if err := s.endInvite(i, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// useInvites: client: go/teams/chain.go:teamSigchainPlayer.useInvites
func (s *State) useInvites(l *Link) error {
	seen := make(map[kbsig.UserVersion]bool)
	for _, c := range l.Used {
		st, err := s.activeInvite(c.Invite)
		if err != nil {
			return err
		}
		switch {
		case !st.Invite.NewStyle():
			return Refuse(KindInviteDone, "invitation %s is completed, not used", c.Invite)
		case st.usedUp():
			return Refuse(KindInviteDone, "invitation %s has been used %d times", c.Invite, st.Uses)
		case seen[c.UV]:
			return Refuse(KindInviteDone, "%s uses two invitations", c.UV)
		case !gets(l, c.UV, st.Invite.Role):
			return Refuse(KindInviteDone, "%s is not made %s", c.UV, st.Invite.Role)
		}
		seen[c.UV] = true
		st.Uses++
		if err := save(s, name(rowInvite, c.Invite[:]), st); err != nil {
			return err
		}
	}
	return nil
}

func gets(l *Link, uv kbsig.UserVersion, r Role) bool {
	for _, m := range l.Members {
		if m.UV == uv && m.Role == r {
			return true
		}
	}
	return false
}

// checkImplicitChange: members of an implicit team change by accepting an invitation, by
// coming back after a reset, and bots as they like.
// client: go/teams/chain.go:teamSigchainPlayer.addInnerLink
func (s *State) checkImplicitChange(l *Link) error {
	invitees := make(map[kbsig.UID]bool)
	for _, c := range l.Completed {
		if _, err := s.activeInvite(c.Invite); err != nil {
			return err
		}
		invitees[c.UV.UID] = true
	}
	removed := make(map[kbsig.UID]kbsig.UserVersion)
	for _, m := range l.Members {
		if m.Role == RoleNone {
			removed[m.UV.UID] = m.UV
		}
	}
	replaced := make(map[kbsig.UID]bool)
	added := make(map[kbsig.UID]bool)
	expected := 0
	for _, m := range l.Members {
		if m.Role != RoleOwner && m.Role != RoleReader {
			continue
		}
		old, ok := removed[m.UV.UID]
		switch {
		case !ok:
			expected++
			added[m.UV.UID] = true
		case old.Eldest >= m.UV.Eldest:
			return Refuse(KindImplicit, "%s is replaced with %s", old, m.UV)
		default:
			replaced[m.UV.UID] = true
			if invitees[m.UV.UID] {
				expected++
				added[m.UV.UID] = true
			}
		}
	}
	for _, uv := range removed {
		role, err := s.RoleOf(uv)
		if err != nil {
			return err
		}
		if !replaced[uv.UID] && role != RoleBot && role != RoleRestrictedBot {
			return Refuse(KindImplicit, "%s is removed from an implicit team", uv)
		}
	}
	completed := len(l.Completed)
	for _, c := range l.Completed {
		if added[c.UV.UID] {
			continue
		}
		role, err := s.RoleOf(c.UV)
		if err != nil {
			return err
		}
		if role == RoleNone {
			return Refuse(KindImplicit, "an invitation is completed for %s, who is no member", c.UV)
		}
		completed--
	}
	if completed != expected {
		return Refuse(KindImplicit, "%d invitations for %d new members", completed, expected)
	}
	return s.checkImplicitRoles(l, removed)
}

// checkImplicitRoles: who takes somebody's place, or accepts an invitation, does so in the
// role of that, and bots are nobody else. Readers do not ask; but what a team is called
// follows from the roles, and so would change for everybody.
// client: go/teams/teams.go:Team.implicitTeamDisplayName
func (s *State) checkImplicitRoles(l *Link, removed map[kbsig.UID]kbsig.UserVersion) error {
	due := make(map[kbsig.UID][]Role)
	for uid, uv := range removed {
		role, err := s.RoleOf(uv)
		if err != nil {
			return err
		}
		due[uid] = append(due[uid], role)
	}
	for _, c := range l.Completed {
		st, _, err := s.Invite(c.Invite)
		if err != nil {
			return err
		}
		due[c.UV.UID] = append(due[c.UV.UID], st.Invite.Role)
	}
	for _, m := range l.Members {
		role, err := s.RoleOf(m.UV)
		if err != nil {
			return err
		}
		switch m.Role {
		case RoleOwner, RoleReader:
			if !slices.Contains(due[m.UV.UID], m.Role) {
				return Refuse(KindImplicitRole, "%s as %s of an implicit team", m.UV, m.Role)
			}
		case RoleBot, RoleRestrictedBot:
			if role == RoleOwner || role == RoleReader {
				return Refuse(KindImplicitRole, "%s, who is %s, as a bot of an implicit team", m.UV, role)
			}
		}
	}
	return nil
}
