package teamchain

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
)

// hand makes links that stock clients would make, at random.
type hand struct {
	*world
	roots []kbsig.TeamID // live teams
	all   []kbsig.TeamID
	// implicit teams stand in all too.
	implicit []kbsig.TeamID
	tag      string
	seen     []*draft // that stand
}

func pick[T any](w *world, list []T) T { return list[w.rng.IntN(len(list))] }

// members lists a team's members.
func (w *world) members(t kbsig.TeamID) (out []Member) {
	st, _ := w.Team(t)
	_ = st.Members(func(uv kbsig.UserVersion, r Role) error { out = append(out, Member{uv, r}); return nil })
	return out
}

func (w *world) roleIn(t kbsig.TeamID, p *person) Role {
	st, _ := w.Team(t)
	r, _ := st.RoleOf(p.uv())
	return r
}

// admin finds somebody who may administer a team, and the section that says why.
func (w *world) admin(t kbsig.TeamID, least Role) (*person, obj) {
	for at, ok := t, true; ok; {
		st, _ := w.Team(at)
		for _, i := range w.rng.Perm(len(w.people)) {
			p := w.people[i]
			points, _ := st.RoleLog(p.uv())
			if len(points) == 0 || !points[len(points)-1].Role.AtLeast(least) || p.gone {
				continue
			}
			seqType := kbsig.SeqTypeSemiprivate
			if at.Public() {
				seqType = kbsig.SeqTypePublic
			}
			return p, obj{"team_id": at.String(), "seqno": int(points[len(points)-1].Seqno), "seq_type": seqType}
		}
		at, ok = st.Parent()
	}
	return nil, nil
}

func uvs(ps ...*person) []any {
	out := []any{}
	for _, p := range ps {
		out = append(out, p.uv().String())
	}
	return out
}

// create makes a root team.
func (h *hand) create() []*draft {
	by := pick(h.world, h.people)
	name := fmt.Sprintf("t%s%d", h.tag, len(h.all))
	n, _ := kbsig.ParseTeamName(name)
	t := kbsig.TeamIDOf(n, false)
	h.all, h.roots = append(h.all, t), append(h.roots, t)
	team := obj{
		"name": name, "per_team_key": h.ptk(1), "box_summary_hash": hex.EncodeToString(h.bytes(32)),
		"members": obj{"owner": uvs(by), "admin": []any{}, "writer": []any{}, "reader": []any{}, "bot": []any{}, "restricted_bot": []any{}},
	}
	if h.rng.IntN(3) == 0 {
		team["settings"] = obj{"open": obj{"enabled": true, "options": obj{"join_as": "reader"}}}
	}
	return []*draft{h.draft(by, t, "team.root", 0, team)}
}

func (w *world) entropy() string { return base64.StdEncoding.EncodeToString(w.bytes(18)) }

// subteam makes a subteam of a team.
func (h *hand) subteam(parent kbsig.TeamID) []*draft {
	by, admin := h.admin(parent, RoleAdmin)
	up, _ := h.Team(parent)
	if by == nil || up.Name().Depth() > 2 {
		return nil
	}
	t := kbsig.TeamID(h.bytes(16))
	t[15] = 0x25
	name := fmt.Sprintf("%s.s%d", up.Name(), len(h.all))
	h.all, h.roots = append(h.all, t), append(h.roots, t)
	tail, _, _ := up.Tail()
	writers := []any{}
	if h.rng.IntN(2) == 0 {
		writers = uvs(by)
	}
	return []*draft{
		h.draft(by, parent, "team.new_subteam", 0, obj{"admin": admin, "subteam": obj{"id": t.String(), "name": name}, "entropy": h.entropy()}),
		h.draft(by, t, "team.subteam_head", 0, obj{
			"name": name, "per_team_key": h.ptk(1), "admin": admin, "box_summary_hash": hex.EncodeToString(h.bytes(32)),
			"parent":  obj{"id": parent.String(), "seqno": int(tail) + 1, "seq_type": kbsig.SeqTypeSemiprivate},
			"members": obj{"admin": []any{}, "writer": writers, "reader": []any{}, "bot": []any{}, "restricted_bot": []any{}},
		}),
	}
}

// change gives, changes or takes roles.
func (h *hand) change(t kbsig.TeamID) []*draft {
	st, _ := h.Team(t)
	by, admin := h.admin(t, RoleOwner)
	if by == nil {
		by, admin = h.admin(t, RoleAdmin)
	}
	if by == nil {
		return nil
	}
	_, sub := st.Parent()
	members := obj{}
	seen := map[*person]bool{by: true}
	for range 1 + h.rng.IntN(3) {
		p := pick(h.world, h.people)
		if seen[p] {
			continue
		}
		seen[p] = true
		role := pick(h.world, []Role{RoleNone, RoleAdmin, RoleWriter, RoleReader, RoleBot, RoleRestrictedBot, RoleOwner, RoleWriter, RoleReader})
		was := h.roleIn(t, p)
		if sub && role == RoleOwner || role == RoleNone && was == RoleNone || (role == RoleOwner || was == RoleOwner) && h.roleIn(t, by) != RoleOwner {
			continue
		}
		list, _ := members[role.String()].([]any)
		members[role.String()] = append(list, p.uv().String())
	}
	if len(members) == 0 {
		return nil
	}
	team := obj{"members": members, "admin": admin, "box_summary_hash": hex.EncodeToString(h.bytes(32))}
	if members["none"] != nil {
		team["per_team_key"] = h.ptk(h.nextGeneration(st))
	}
	h.complete(st, team)
	if h.rng.IntN(4) == 0 {
		team["ratchets"] = []any{hex.EncodeToString(h.bytes(32))}
	}
	return []*draft{h.draft(by, t, "team.change_membership", 0, team)}
}

// complete ends invitations in a link that adds people.
func (h *hand) complete(st *State, team obj) {
	var invites []InviteState
	_ = st.ActiveInvites(func(i InviteState) error { invites = append(invites, i); return nil })
	for _, i := range invites {
		list, _ := team["members"].(obj)[i.Invite.Role.String()].([]any)
		switch {
		case len(list) == 0 || h.rng.IntN(2) == 0:
		case i.Invite.NewStyle():
			if i.Good() && team["used_invites"] == nil {
				team["used_invites"] = []any{obj{"id": i.Invite.ID.String(), "uv": list[0]}}
			}
		case team["completed_invites"] == nil:
			team["completed_invites"] = obj{i.Invite.ID.String(): list[0]}
		}
	}
}

func (h *hand) rotate(t kbsig.TeamID) []*draft {
	st, _ := h.Team(t)
	team := h.implied(t, obj{"per_team_key": h.ptk(h.nextGeneration(st)), "box_summary_hash": hex.EncodeToString(h.bytes(32))})
	by, admin := h.admin(t, RoleWriter)
	if by == nil {
		return nil
	}
	if admin["team_id"] != t.String() || h.roleIn(t, by).AtLeast(RoleAdmin) {
		if by, admin = h.admin(t, RoleAdmin); by == nil {
			return nil
		}
		team["admin"] = admin
	}
	return []*draft{h.draft(by, t, "team.rotate_key", 0, team)}
}

func (h *hand) leave(t kbsig.TeamID) []*draft {
	for _, m := range h.members(t) {
		if !m.Role.AtLeast(RoleAdmin) && h.person(m.UV.UID).uv() == m.UV {
			return []*draft{h.draft(h.person(m.UV.UID), t, "team.leave", 0, obj{})}
		}
	}
	return nil
}

func (h *hand) rename(t kbsig.TeamID) []*draft {
	return h.about(t, "team.rename_subteam", "team.rename_up_pointer")
}

func (h *hand) remove(t kbsig.TeamID) []*draft {
	st, _ := h.Team(t)
	alive := false
	_ = st.Subteams(func(kbsig.TeamID) error { alive = true; return nil })
	if alive {
		return nil
	}
	if _, sub := st.Parent(); sub {
		return h.about(t, "team.delete_subteam", "team.delete_up_pointer")
	}
	by, _ := h.admin(t, RoleOwner)
	if by == nil {
		return nil
	}
	return []*draft{h.draft(by, t, "team.delete_root", 0, obj{})}
}

// about makes the two links by which a parent and its child say the same.
func (h *hand) about(t kbsig.TeamID, up, down string) []*draft {
	st, _ := h.Team(t)
	parent, ok := st.Parent()
	if !ok {
		return nil
	}
	above, _ := h.Team(parent)
	by, admin := h.admin(parent, RoleAdmin)
	if by == nil || above.Deleted() {
		return nil
	}
	name := fmt.Sprintf("%s.n%d", above.Name(), h.rng.IntN(1000))
	if up == "team.delete_subteam" {
		name = above.Name().String() + "." + st.Name().Last()
	}
	tail, _, _ := above.Tail()
	return []*draft{
		h.draft(by, parent, up, 0, obj{"admin": admin, "subteam": obj{"id": t.String(), "name": name}, "entropy": h.entropy()}),
		h.draft(by, t, down, 0, obj{"admin": admin, "name": name, "parent": obj{"id": parent.String(), "seqno": int(tail) + 1, "seq_type": kbsig.SeqTypeSemiprivate}}),
	}
}

func (h *hand) invite(t kbsig.TeamID) []*draft {
	by, admin := h.admin(t, RoleAdmin)
	if by == nil {
		return nil
	}
	st, _ := h.Team(t)
	invites := obj{}
	id := h.bytes(16)
	id[15] = 0x27
	i := obj{"id": hex.EncodeToString(id), "type": "twitter", "name": fmt.Sprintf("bird%d", h.rng.IntN(99))}
	switch h.rng.IntN(4) {
	case 0:
		i["type"], i["name"] = "keybase", pick(h.world, h.people).uv().String()
	case 1:
		i["type"], i["name"], i["max_uses"], i["etime"] = "invitelink", "c2VhbGVk", pick(h.world, []int{-1, 1, 3}), 1800000000
	case 2:
		i["type"], i["name"] = "email", "a@example.org"
	}
	invites[pick(h.world, []string{"writer", "reader"})] = []any{i}
	_ = st.ActiveInvites(func(i InviteState) error {
		if h.rng.IntN(3) == 0 {
			list, _ := invites["cancel"].([]any)
			invites["cancel"] = append(list, i.Invite.ID.String())
		}
		return nil
	})
	return []*draft{h.draft(by, t, "team.invite", 0, obj{"admin": admin, "invites": invites, "entropy": h.entropy()})}
}

func (h *hand) settings(t kbsig.TeamID) []*draft {
	by, admin := h.admin(t, RoleAdmin)
	if by == nil {
		return nil
	}
	team := obj{"admin": admin, "settings": obj{"open": obj{"enabled": false}}}
	if h.rng.IntN(2) == 0 {
		team["settings"] = obj{"open": obj{"enabled": true, "options": obj{"join_as": pick(h.world, []string{"reader", "writer"})}}}
	} else if st, _ := h.Team(t); h.rng.IntN(2) == 0 {
		team["per_team_key"] = h.ptk(h.nextGeneration(st))
	}
	return []*draft{h.draft(by, t, "team.settings", 0, team)}
}

func (h *hand) kbfs(t kbsig.TeamID) []*draft {
	for _, m := range h.members(t) {
		if !m.Role.AtLeast(RoleWriter) || h.person(m.UV.UID).uv() != m.UV {
			continue
		}
		id := h.bytes(16)
		id[15] = 0x26
		kbfs := obj{"tlf": obj{"id": hex.EncodeToString(id)}}
		if h.rng.IntN(2) == 0 {
			kbfs["legacy_tlf_upgrade"] = obj{
				"app_type": 1 + h.rng.IntN(2), "team_generation": 1, "legacy_generation": h.rng.IntN(3), "encrypted_keyset_hash": hex.EncodeToString(h.bytes(32)),
			}
		}
		return []*draft{h.draft(h.person(m.UV.UID), t, "team.kbfs", 0, h.implied(t, obj{"kbfs": kbfs}))}
	}
	return nil
}

func (h *hand) bots(t kbsig.TeamID) []*draft {
	by, admin := h.admin(t, RoleAdmin)
	if by == nil {
		return nil
	}
	for _, m := range h.members(t) {
		if m.Role == RoleRestrictedBot {
			bot := obj{"bot": obj{"uid": m.UV.UID.String(), "eldest_seqno": int(m.UV.Eldest)}, "cmds": true, "mentions": false, "triggers": []any{"x+"}}
			if h.rng.IntN(2) == 0 {
				bot["convs"] = []any{hex.EncodeToString(h.bytes(20))}
			}
			return []*draft{h.draft(by, t, "team.bot_settings", 0, h.implied(t, obj{"admin": admin, "bot_settings": []any{bot}}))}
		}
	}
	return nil
}

// step makes the links of one action; nil if there is nothing to do.
func (h *hand) step() []*draft {
	switch {
	case len(h.roots) < 2:
		return h.create()
	case len(h.implicit) < 2:
		return h.createImplicit()
	}
	switch h.rng.IntN(24) {
	case 0:
		return h.createImplicit()
	case 1, 2, 3, 4:
		return h.stepImplicit(pick(h.world, h.implicit))
	case 5:
		h.reset(pick(h.world, h.people))
		return nil
	}
	t := pick(h.world, h.roots)
	if st, _ := h.Team(t); st == nil || st.Deleted() {
		return nil
	}
	switch h.rng.IntN(21) {
	case 20:
		return h.readmit(t)
	case 0:
		return h.create()
	case 1, 2:
		return h.subteam(t)
	case 3:
		return h.rotate(t)
	case 4:
		return h.leave(t)
	case 5:
		return h.rename(t)
	case 6:
		if h.rng.IntN(2) == 0 {
			return h.remove(t)
		}
		return h.settings(t)
	case 7, 8, 9:
		return h.invite(t)
	case 10:
		return h.kbfs(t)
	case 11, 12:
		return h.bots(t)
	}
	return h.change(t)
}
