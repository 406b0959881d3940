package stage

import (
	"encoding/hex"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// Member is what somebody is to be.
type Member struct {
	UV   kbsig.UserVersion
	Role teamchain.Role
}

// Change is what one change of members does.
type Change struct {
	Members         []Member
	Completed, Used []teamchain.Completed
	Rotate          bool
	Permanent       bool // who goes may not come back by asking
	NoLease         bool // admins are demoted without one
}

// rosterRoles are those of which the first link of a team has a list.
var rosterRoles = []teamchain.Role{
	teamchain.RoleOwner, teamchain.RoleAdmin, teamchain.RoleWriter, teamchain.RoleReader, teamchain.RoleBot, teamchain.RoleRestrictedBot,
}

// lists is a members section with a list for each of these roles, and each that somebody gets.
func lists(members []Member, always ...teamchain.Role) Obj {
	out := Obj{}
	for _, r := range always {
		out[r.String()] = []string{}
	}
	for _, m := range members {
		list, _ := out[m.Role.String()].([]string)
		out[m.Role.String()] = append(list, m.UV.String())
	}
	return out
}

// Create makes a root team of one owner and names its id in transcripts.
func (p *Person) Create(name string) (kbsig.TeamID, *Draft) {
	full, err := kbsig.ParseTeamName(name)
	p.s.Must(err)
	t := kbsig.TeamIDOf(full, false)
	p.s.Call(t, name)
	d := p.Draft()
	d.Post.Keys = d.Boxes(1, false, p.UID)
	key := d.NewKey(t)
	// Whoever creates a team does not know that there is one.
	d.tails[t], key["generation"], d.fresh[t].Generation = tail{}, 1, 1
	return t, d.Link(t, "team.root", Obj{
		"name": full.String(), "members": lists([]Member{{p.UV(), teamchain.RoleOwner}}, rosterRoles...), "per_team_key": key,
		"box_summary_hash": hex.EncodeToString(d.Post.Keys.Summary[:]),
	})
}

// CreateImplicit makes the nameless team of the person and others; called is its name in
// transcripts.
func (p *Person) CreateImplicit(called string, public bool, others []Member, invites Obj) (kbsig.TeamID, *Draft) {
	var suffix [16]byte
	_, _ = p.s.Rand.Read(suffix[:])
	name, err := kbsig.ParseTeamName("__keybase_implicit_team__" + hex.EncodeToString(suffix[:]))
	p.s.Must(err)
	t := kbsig.TeamIDOf(name, public)
	p.s.Call(t, called)
	d := p.Draft()
	members := append([]Member{{p.UV(), teamchain.RoleOwner}}, others...)
	var to []kbsig.UID
	for _, m := range members {
		to = append(to, m.UV.UID)
	}
	d.Post.Keys = d.Boxes(1, false, to...)
	section := Obj{
		"name": name.String(), "members": lists(members, teamchain.RoleOwner, teamchain.RoleReader), "is_implicit": true,
		"per_team_key": d.NewKey(t), "box_summary_hash": hex.EncodeToString(d.Post.Keys.Summary[:]),
	}
	if invites != nil {
		section["invites"] = invites
	}
	return t, d.Link(t, "team.root", section)
}

// CreateSub makes a subteam in which the person is something, or, with RoleNone, nothing.
func (p *Person) CreateSub(parent kbsig.TeamID, base string, as teamchain.Role) (kbsig.TeamID, *Draft) {
	var t kbsig.TeamID
	_, _ = p.s.Rand.Read(t[:15])
	t[15] = 0x25
	name := p.s.FullName(parent) + "." + base
	p.s.Call(t, name)
	d := p.Draft()
	d.Link(parent, "team.new_subteam", p.section(parent, Obj{"subteam": Obj{"id": t.String(), "name": name}, "entropy": entropy}))
	var members []Member
	if as != teamchain.RoleNone {
		members = []Member{{p.UV(), as}}
	}
	to := p.s.keyed(members, p.s.adminsFrom(parent))
	d.Post.Keys = d.Boxes(1, false, to...)
	return t, d.Link(t, "team.subteam_head", p.section(parent, Obj{
		"name": name, "parent": d.place(parent), "members": lists(members, rosterRoles[1:]...), "per_team_key": d.NewKey(t),
		"box_summary_hash": hex.EncodeToString(d.Post.Keys.Summary[:]),
	}))
}

// entropy keeps stubs from being guessed; here it need not.
const entropy = "AAECAwQFBgcICQoLDA0ODxAR"

// place is the end of a chain in the draft.
func (d *Draft) place(t kbsig.TeamID) Obj {
	return Obj{"id": t.String(), "seqno": d.tail(t).seqno, "seq_type": kbsig.SeqTypeSemiprivate}
}

// section adds what a link says of the team and of its author's power there.
func (p *Person) section(t kbsig.TeamID, section Obj) Obj {
	if st := p.s.Team(t); st != nil && st.Implicit() {
		section["is_implicit"] = true
	}
	if at, ok := p.adminOf(t); ok {
		section["admin"] = Obj{"team_id": at.Team.String(), "seqno": at.Seqno, "seq_type": at.SeqType}
	}
	return section
}

// adminOf is where the person became an admin of a team, or of the nearest one above.
func (p *Person) adminOf(t kbsig.TeamID) (at teamchain.Place, ok bool) {
	uv := p.UV()
	for st := p.s.Team(t); st != nil; st = p.s.Team(t) {
		log, err := st.RoleLog(uv)
		p.s.Must(err)
		if i := len(log) - 1; i >= 0 && log[i].Role.AtLeast(teamchain.RoleAdmin) {
			for i > 0 && log[i-1].Role.AtLeast(teamchain.RoleAdmin) {
				i--
			}
			seqType := kbsig.SeqTypeSemiprivate
			if t.Public() {
				seqType = kbsig.SeqTypePublic
			}
			return teamchain.Place{Team: t, Seqno: log[i].Seqno, SeqType: seqType}, true
		}
		if t, ok = st.Parent(); !ok {
			break
		}
	}
	return at, false
}

// Members are those whom a team's chain names.
func (s *Stage) Members(t kbsig.TeamID) (out []Member) {
	if st := s.Team(t); st != nil {
		s.Must(st.Members(func(uv kbsig.UserVersion, r teamchain.Role) error {
			out = append(out, Member{uv, r})
			return nil
		}))
	}
	return out
}

// adminsFrom are the admins of a team and of those above it.
func (s *Stage) adminsFrom(t kbsig.TeamID) (out []Member) {
	for ok := true; ok; t, ok = s.Team(t).Parent() {
		for _, m := range s.Members(t) {
			if m.Role.AtLeast(teamchain.RoleAdmin) {
				out = append(out, m)
			}
		}
	}
	return out
}

// keyed are those of them who can have a team's key now.
func (s *Stage) keyed(groups ...[]Member) (out []kbsig.UID) {
	s.Read(func(v *store.View) error {
		for _, m := range slices.Concat(groups...) {
			st, err := identity.Chain(v, m.UV.UID)
			if err != nil {
				return err
			}
			if _, has := st.LatestPUK(); has && st.EldestSeqno == m.UV.Eldest && m.Role.AtLeast(teamchain.RoleBot) {
				out = append(out, m.UV.UID)
			}
		}
		return nil
	})
	return out
}

// audience are those who get a new key of a team when members have changed.
func (s *Stage) audience(t kbsig.TeamID, changes []Member) []kbsig.UID {
	var stay []Member
	for _, m := range s.Members(t) {
		if !slices.ContainsFunc(changes, func(c Member) bool { return c.UV == m.UV }) {
			stay = append(stay, m)
		}
	}
	var above []Member
	if parent, ok := s.Team(t).Parent(); ok {
		above = s.adminsFrom(parent)
	}
	return s.keyed(stay, changes, above)
}

// Change makes a change of members.
func (p *Person) Change(t kbsig.TeamID, c Change) *Draft {
	st := p.s.Team(t)
	section := Obj{"members": lists(c.Members)}
	var come, promoted []Member
	var down []kbsig.UID
	for _, m := range c.Members {
		was, err := st.RoleOf(m.UV)
		p.s.Must(err)
		if m.Role.AtLeast(teamchain.RoleBot) && !was.AtLeast(teamchain.RoleBot) {
			come = append(come, m)
		}
		if m.Role.AtLeast(teamchain.RoleAdmin) && !was.AtLeast(teamchain.RoleAdmin) {
			promoted = append(promoted, m)
		}
		if was.AtLeast(teamchain.RoleAdmin) && !m.Role.AtLeast(teamchain.RoleAdmin) && p.s.present(m.UV) {
			down = append(down, m.UV.UID)
		}
	}
	var lease *identity.LeaseID
	if len(down) > 0 && !c.NoLease {
		id, _, err := p.s.Teams.NewLease(p.s.T.Context(), p.UID, t, down)
		if err != nil {
			return &Draft{err: err}
		}
		lease = &id
	}
	d := p.Draft()
	d.Post.Lease = lease
	if c.Permanent {
		d.Post.Permanent = &c.Permanent
	}
	d.invites(section, c)
	if c.Rotate {
		section["per_team_key"] = d.NewKey(t)
		d.Post.Keys = d.Boxes(d.fresh[t].Generation, true, p.s.audience(t, c.Members)...)
	} else if to := p.s.keyed(come); len(to) > 0 {
		d.Post.Keys = d.Boxes(p.s.Generation(t), false, to...)
	}
	if d.Post.Keys != nil {
		section["box_summary_hash"] = hex.EncodeToString(d.Post.Keys.Summary[:])
	}
	d.boxBelow(t, p.s.keyed(promoted))
	return d.Link(t, "team.change_membership", p.section(t, section))
}

func (d *Draft) invites(section Obj, c Change) {
	if len(c.Completed) > 0 {
		done := Obj{}
		for _, i := range c.Completed {
			done[i.Invite.String()] = i.UV.String()
		}
		section["completed_invites"] = done
	}
	var used []Obj
	for _, i := range c.Used {
		used = append(used, Obj{"id": i.Invite.String(), "uv": i.UV.String()})
	}
	if used != nil {
		section["used_invites"] = used
	}
}

// boxBelow gives new admins the keys of all teams below.
func (d *Draft) boxBelow(t kbsig.TeamID, to []kbsig.UID) {
	if len(to) == 0 {
		return
	}
	s := d.by.s
	s.Read(func(v *store.View) error {
		return teams.Descendants(v, t, func(sub kbsig.TeamID) error {
			if d.Post.ImplicitKeys == nil {
				d.Post.ImplicitKeys = map[kbsig.TeamID]*kbsig.TeamBoxes{}
			}
			d.Post.ImplicitKeys[sub] = d.Boxes(s.Generation(sub), false, slices.Clone(to)...)
			return nil
		})
	})
}

// present says whether an incarnation is its user's present one.
func (s *Stage) present(uv kbsig.UserVersion) (is bool) {
	s.Read(func(v *store.View) error {
		n, err := identity.EldestSeqno(v, uv.UID)
		is = n == uv.Eldest
		return err
	})
	return is
}

// Rotate gives a team a new key.
func (p *Person) Rotate(t kbsig.TeamID) *Draft {
	d := p.Draft()
	section := Obj{"per_team_key": d.NewKey(t)}
	d.Post.Keys = d.Boxes(d.fresh[t].Generation, true, p.s.audience(t, nil)...)
	section["box_summary_hash"] = hex.EncodeToString(d.Post.Keys.Summary[:])
	return d.Link(t, "team.rotate_key", p.section(t, section))
}

// RotateHidden gives a team a new key by its hidden chain.
func (p *Person) RotateHidden(t kbsig.TeamID) *Draft {
	d := p.Draft().Hidden(t)
	d.Post.Keys = d.Boxes(d.fresh[t].Generation, true, p.s.audience(t, nil)...)
	return d
}

// Leave takes the person out of a team.
func (p *Person) Leave(t kbsig.TeamID, permanent bool) *Draft {
	d := p.Draft()
	d.Post.Permanent = &permanent
	section := p.section(t, Obj{})
	delete(section, "admin")
	return d.Link(t, "team.leave", section)
}

// Invite posts an invites section.
func (p *Person) Invite(t kbsig.TeamID, invites Obj) *Draft {
	return p.Draft().Link(t, "team.invite", p.section(t, Obj{"invites": invites, "entropy": entropy}))
}

// Open lets anybody in as something; RoleNone closes the team.
func (p *Person) Open(t kbsig.TeamID, as teamchain.Role) *Draft {
	open := Obj{"enabled": as != teamchain.RoleNone}
	if as != teamchain.RoleNone {
		open["options"] = Obj{"join_as": as.String()}
	}
	return p.Draft().Link(t, "team.settings", p.section(t, Obj{"settings": Obj{"open": open}}))
}

// Rename gives a subteam another last part of its name.
func (p *Person) Rename(t kbsig.TeamID, base string) *Draft {
	parent, _ := p.s.Team(t).Parent()
	name := p.s.FullName(parent) + "." + base
	d := p.Draft()
	d.Link(parent, "team.rename_subteam", p.section(parent, Obj{"subteam": Obj{"id": t.String(), "name": name}, "entropy": entropy}))
	return d.Link(t, "team.rename_up_pointer", p.section(parent, Obj{"name": name, "parent": d.place(parent)}))
}

// Delete ends a team.
func (p *Person) Delete(t kbsig.TeamID) *Draft {
	d := p.Draft()
	parent, sub := p.s.Team(t).Parent()
	if !sub {
		return d.Link(t, "team.delete_root", p.section(t, Obj{}))
	}
	name := p.s.FullName(t)
	d.Link(parent, "team.delete_subteam", p.section(parent, Obj{"subteam": Obj{"id": t.String(), "name": name}, "entropy": entropy}))
	return d.Link(t, "team.delete_up_pointer", p.section(parent, Obj{"name": name, "parent": d.place(parent)}))
}

// FullName is a team's name as the server has it.
func (s *Stage) FullName(t kbsig.TeamID) (name string) {
	s.T.Helper()
	s.Read(func(v *store.View) error {
		n, err := teams.FullName(v, t)
		name = n.String()
		return err
	})
	return name
}
