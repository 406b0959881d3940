package teamchain

import (
	"encoding/hex"

	"github.com/keystead/keystead/compat/kbsig"
)

// createImplicit makes a team that stands for a list of people, some of whom may still
// be invited.
func (h *hand) createImplicit() []*draft {
	by := pick(h.world, h.people)
	name := "__keybase_implicit_team__" + hex.EncodeToString(h.bytes(16))
	n, _ := kbsig.ParseTeamName(name)
	t := kbsig.TeamIDOf(n, h.rng.IntN(2) == 0)
	h.all, h.implicit = append(h.all, t), append(h.implicit, t)
	owners, readers := []*person{by}, []*person{}
	for _, i := range h.rng.Perm(len(h.people))[:h.rng.IntN(3)] {
		switch p := h.people[i]; {
		case p == by:
		case h.rng.IntN(2) == 0:
			owners = append(owners, p)
		default:
			readers = append(readers, p)
		}
	}
	return []*draft{h.draft(by, t, "team.root", 0, obj{
		"name": name, "is_implicit": true, "per_team_key": h.ptk(1), "box_summary_hash": hex.EncodeToString(h.bytes(32)),
		"entropy": h.entropy(),
		"members": obj{"owner": uvs(owners...), "admin": []any{}, "writer": []any{}, "reader": uvs(readers...), "bot": []any{}, "restricted_bot": []any{}},
		"invites": obj{"owner": []any{h.invitation("twitter", "bird")}, "reader": []any{h.invitation("github", "cat")}},
	})}
}

func (h *hand) invitation(typ, name string) obj {
	id := h.bytes(16)
	id[15] = 0x27
	return obj{"id": hex.EncodeToString(id), "type": typ, "name": name}
}

// implied says of a link what those of an implicit team say.
func (w *world) implied(t kbsig.TeamID, team obj) obj {
	if st, _ := w.Team(t); st != nil && st.Implicit() {
		team["is_implicit"] = true
	}
	return team
}

func (h *hand) stepImplicit(t kbsig.TeamID) []*draft {
	switch h.rng.IntN(8) {
	case 0:
		return h.rotate(t)
	case 1:
		return h.kbfs(t)
	case 2:
		return h.accept(t)
	case 3, 4:
		return h.botOf(t)
	case 5:
		return h.bots(t)
	case 6:
		return h.inviteBack(t)
	}
	return h.readmit(t)
}

// accept completes an invitation, in the role of that.
func (h *hand) accept(t kbsig.TeamID) []*draft {
	by, admin := h.admin(t, RoleOwner)
	if by == nil {
		return nil
	}
	st, _ := h.Team(t)
	var open []InviteState
	_ = st.ActiveInvites(func(i InviteState) error { open = append(open, i); return nil })
	for _, i := range open {
		p := pick(h.world, h.people)
		if uv, ok := i.Invite.Keybase(); ok {
			p = h.person(uv.UID)
		}
		if was, _, _ := st.CurrentUV(p.uid); was.UID == p.uid {
			continue
		}
		return []*draft{h.draft(by, t, "team.change_membership", 0, h.implied(t, obj{
			"admin": admin, "members": obj{i.Invite.Role.String(): uvs(p)}, "completed_invites": obj{i.Invite.ID.String(): p.uv().String()},
			"box_summary_hash": hex.EncodeToString(h.bytes(32)),
		}))}
	}
	return nil
}

// botOf adds a bot to an implicit team, or takes one away.
func (h *hand) botOf(t kbsig.TeamID) []*draft {
	by, admin := h.admin(t, RoleOwner)
	if by == nil {
		return nil
	}
	st, _ := h.Team(t)
	p := pick(h.world, h.people)
	uv, ok, _ := st.CurrentUV(p.uid)
	role, _ := st.RoleOf(uv)
	members := obj{"restricted_bot": uvs(p)}
	switch {
	case ok && role != RoleBot && role != RoleRestrictedBot:
		return nil
	case ok:
		members = obj{"none": []any{uv.String()}}
	case h.rng.IntN(2) == 0:
		members = obj{"bot": uvs(p)}
	}
	team := obj{"admin": admin, "members": members, "box_summary_hash": hex.EncodeToString(h.bytes(32))}
	if ok {
		team["per_team_key"] = h.ptk(h.nextGeneration(st))
	}
	return []*draft{h.draft(by, t, "team.change_membership", 0, h.implied(t, team))}
}

// reset makes somebody begin anew, who may be in teams as who he was.
func (h *hand) reset(p *person) {
	p.eldest += kbsig.Seqno(1 + h.rng.IntN(4))
	p.key = h.key()
}

// stale finds a member who has begun anew since.
func (h *hand) stale(t kbsig.TeamID) (m Member, ok bool) {
	for _, m := range h.members(t) {
		if h.person(m.UV.UID).uv() != m.UV {
			return m, true
		}
	}
	return m, false
}

// readmit puts somebody in the place of who he was before he began anew.
func (h *hand) readmit(t kbsig.TeamID) []*draft {
	m, ok := h.stale(t)
	by, admin := h.admin(t, RoleOwner)
	if by == nil {
		by, admin = h.admin(t, RoleAdmin)
	}
	p := h.person(m.UV.UID)
	if !ok || by == nil || m.Role == RoleOwner && h.roleIn(t, by) != RoleOwner || h.roleIn(t, p) != RoleNone {
		return nil
	}
	st, _ := h.Team(t)
	return []*draft{h.draft(by, t, "team.change_membership", 0, h.implied(t, obj{
		"admin": admin, "members": obj{"none": []any{m.UV.String()}, m.Role.String(): uvs(p)},
		"per_team_key": h.ptk(h.nextGeneration(st)), "box_summary_hash": hex.EncodeToString(h.bytes(32)),
	}))}
}

// inviteBack invites somebody who has begun anew and has no keys yet.
func (h *hand) inviteBack(t kbsig.TeamID) []*draft {
	m, ok := h.stale(t)
	by, admin := h.admin(t, RoleOwner)
	if !ok || by == nil || m.Role != RoleOwner && m.Role != RoleReader {
		return nil
	}
	st, _ := h.Team(t)
	invites := obj{m.Role.String(): []any{h.invitation("keybase", h.person(m.UV.UID).uv().String())}}
	_ = st.KeybaseInvites(m.UV.UID, func(i InviteState) error {
		invites["cancel"] = []any{i.Invite.ID.String()}
		return nil
	})
	return []*draft{h.draft(by, t, "team.invite", 0, h.implied(t, obj{"admin": admin, "invites": invites, "entropy": h.entropy()}))}
}
