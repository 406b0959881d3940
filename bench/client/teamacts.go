package client

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
)

func (a *Account) firstTeamKey(id TeamID) (*TeamKey, error) {
	seed, err := newSeed(a.Server().Random)
	if err != nil {
		return nil, err
	}
	return newTeamKey(id, 1, seed, nil), nil
}

// memberLists is a members section with a list for each of the given roles.
func memberLists(roles map[UserVersion]TeamRole, always ...TeamRole) map[string]any {
	lists := make(map[TeamRole][]string)
	for _, r := range always {
		lists[r] = []string{}
	}
	for u, r := range roles {
		lists[r] = append(lists[r], u.String())
	}
	out := make(map[string]any)
	for r, l := range lists {
		slices.Sort(l)
		out[r.String()] = l
	}
	return out
}

// CreateTeam makes a root team of one owner.
// client: go/teams/create.go:CreateRootTeam
func (a *Account) CreateTeam(ctx context.Context, name string) (*Team, error) {
	return a.beginTeam(ctx, strings.ToLower(name), TeamIDOf(name, false), nil, nil)
}

// CreateImplicitTeam makes the nameless team of some people; invites are those who
// cannot be keyed yet. client: go/teams/create.go:CreateImplicitTeam
func (a *Account) CreateImplicitTeam(ctx context.Context, public bool, others map[UserVersion]TeamRole, invites map[string]any) (*Team, error) {
	var b [implicitSuffixBytes]byte
	if _, err := io.ReadFull(a.Server().Random, b[:]); err != nil {
		return nil, err
	}
	name := implicitNamePrefix + hex.EncodeToString(b[:])
	if others == nil {
		others = make(map[UserVersion]TeamRole)
	}
	return a.beginTeam(ctx, name, TeamIDOf(name, public), others, invites)
}

// beginTeam posts team.root; others is nil for a team with a name of its own.
func (a *Account) beginTeam(ctx context.Context, name string, id TeamID, others map[UserVersion]TeamRole, invites map[string]any) (*Team, error) {
	p, err := a.newTeamPost(ctx, 1)
	if err != nil {
		return nil, err
	}
	key, err := a.firstTeamKey(id)
	if err != nil {
		return nil, err
	}
	roles := map[UserVersion]TeamRole{a.Version(): RoleOwner}
	keyed := map[UserVersion]bool{a.Version(): true}
	team := map[string]any{"name": name}
	if others != nil {
		team["is_implicit"] = true
		for u, r := range others {
			roles[u] = r
			keyed[u] = r != RoleRestrictedBot
		}
		team["members"] = memberLists(roles, RoleOwner, RoleReader)
	} else {
		team["members"] = memberLists(roles, RoleOwner, RoleAdmin, RoleWriter, RoleReader, RoleBot, RoleRestrictedBot)
	}
	if len(invites) > 0 {
		team["invites"] = invites
	}
	to, err := a.recipients(ctx, keyed)
	if err != nil {
		return nil, err
	}
	boxes, err := a.sealTeam(key, nil, to)
	if err != nil {
		return nil, err
	}
	team["box_summary_hash"] = boxes.summaryHash
	p.body["per_team_key"] = boxes
	if err := p.add(id, "team.root", team, key, true); err != nil {
		return nil, err
	}
	return p.postAndLoad(ctx, id)
}

// CreateSubteam makes a subteam of which the account is as, or, with RoleNone, no
// member. client: go/teams/create.go:CreateSubteam
func (a *Account) CreateSubteam(ctx context.Context, parent *Team, base string, as TeamRole) (*Team, error) {
	var id TeamID
	if _, err := io.ReadFull(a.Server().Random, id[:15]); err != nil {
		return nil, err
	}
	id[15] = teamTagPrivateSub
	admin, err := a.adminSection(ctx, parent.TeamChain)
	if err != nil {
		return nil, err
	}
	p, err := a.newTeamPost(ctx, parent.Root.Seqno)
	if err != nil {
		return nil, err
	}
	p.follow(parent.TeamChain)
	entropy, err := a.entropy()
	if err != nil {
		return nil, err
	}
	name := parent.Name + "." + base
	up := map[string]any{"subteam": map[string]any{"id": id.String(), "name": name}, "entropy": entropy}
	head := map[string]any{"name": name}
	if admin != nil {
		up["admin"], head["admin"] = admin, admin
	}
	if err := p.add(parent.ID, "team.new_subteam", up, parent.Key(), false); err != nil {
		return nil, err
	}
	head["parent"] = map[string]any{"id": parent.ID.String(), "seqno": p.tails[parent.ID].seqno, "seq_type": parent.ID.seqType()}
	roles, keyed := make(map[UserVersion]TeamRole), make(map[UserVersion]bool)
	if as != RoleNone {
		roles[a.Version()], keyed[a.Version()] = as, true
	}
	head["members"] = memberLists(roles, RoleAdmin, RoleWriter, RoleReader, RoleBot, RoleRestrictedBot)
	if err := a.addAdmins(ctx, parent.TeamChain, parent.ID, keyed); err != nil {
		return nil, err
	}
	key, err := a.firstTeamKey(id)
	if err != nil {
		return nil, err
	}
	to, err := a.recipients(ctx, keyed)
	if err != nil {
		return nil, err
	}
	boxes, err := a.sealTeam(key, nil, to)
	if err != nil {
		return nil, err
	}
	head["box_summary_hash"] = boxes.summaryHash
	p.body["per_team_key"] = boxes
	if err := p.add(id, "team.subteam_head", head, key, true); err != nil {
		return nil, err
	}
	return p.postAndLoad(ctx, id)
}

// addAdmins adds the admins of a team and of all its ancestors, read as somebody who is in
// a team at or below it.
// client: go/teams/teams.go:AllAdmins
func (a *Account) addAdmins(ctx context.Context, c *TeamChain, as TeamID, keyed map[UserVersion]bool) error {
	o := TeamOptions{Subteam: as}
	for {
		for u, r := range c.Members() {
			if r.atLeast(RoleAdmin) {
				keyed[u] = true
			}
		}
		if !c.ID.Subteam() {
			return nil
		}
		parent, err := a.parentOf(ctx, c, nil, o)
		if err != nil {
			return err
		}
		c = parent.TeamChain
	}
}

// TeamChange is what one team.change_membership does.
type TeamChange struct {
	Roles     map[UserVersion]TeamRole
	Completed map[string]UserVersion // invites by id
	Used      map[string]UserVersion
	Rotate    bool
	FirstEK   bool           // with Rotate: an ephemeral key comes along, the first of a root team
	Permanent bool           // those who go may not come back by themselves
	Bots      []UserVersion  // settings of restricted bots, in a link of their own
	Invites   map[string]any // an invites section, in a link of its own
}

// ChangeTeam changes roles: boxes for those who come, a lease over those who lose
// power, a new key if it is asked for. client: go/teams/teams.go:ChangeMembershipWithOptions
func (a *Account) ChangeTeam(ctx context.Context, t *Team, ch TeamChange) (*Team, error) {
	var down []UID
	add, promoted := make(map[UserVersion]bool), make(map[UserVersion]bool)
	for u, r := range ch.Roles {
		was := t.Role(u)
		if was != RoleNone && (r == RoleNone || was.atLeast(RoleAdmin) && !r.atLeast(RoleAdmin)) {
			now, err := a.isNow(ctx, u)
			if err != nil {
				return nil, err
			}
			if now {
				down = append(down, u.UID)
			}
		}
		if r.atLeast(RoleBot) && (was == RoleNone || was == RoleRestrictedBot) {
			add[u] = true
		}
		if r.atLeast(RoleAdmin) && !was.atLeast(RoleAdmin) {
			promoted[u] = true
		}
	}
	least := t.Root.Seqno
	var held *lease
	if len(down) > 0 {
		var err error
		if held, err = a.takeTeamLease(ctx, t.ID, down); err != nil {
			return nil, err
		}
		defer a.cancelLease(ctx, held)
		least = max(least, held.root.Seqno)
	}
	p, err := a.newTeamPost(ctx, least)
	if err != nil {
		return nil, err
	}
	p.follow(t.TeamChain)
	team, err := a.teamSection(ctx, t, map[string]any{"members": memberLists(ch.Roles)})
	if err != nil {
		return nil, err
	}
	if held != nil {
		p.body["downgrade_lease_id"] = held.id
		p.body["permanent"] = ch.Permanent
	}
	if len(ch.Completed) > 0 {
		m := make(map[string]string)
		for id, u := range ch.Completed {
			m[id] = u.String()
		}
		team["completed_invites"] = m
	}
	if len(ch.Used) > 0 {
		var l []map[string]string
		for id, u := range ch.Used {
			l = append(l, map[string]string{"id": id, "uv": u.String()})
		}
		team["used_invites"] = l
	}
	key := t.Key()
	if ch.Rotate {
		if key, err = a.rotation(ctx, p, t, ch.Roles, team); err != nil {
			return nil, err
		}
		if ch.FirstEK {
			if err := p.addEK(ctx, t.ID, key, t.keyedAfter(ch.Roles)); err != nil {
				return nil, err
			}
		}
	} else if len(add) > 0 {
		to, err := a.recipients(ctx, add)
		if err != nil {
			return nil, err
		}
		if len(to) > 0 {
			boxes, err := a.sealTeam(key, nil, to)
			if err != nil {
				return nil, err
			}
			team["box_summary_hash"], p.body["per_team_key"] = boxes.summaryHash, boxes
		}
	}
	if len(promoted) > 0 {
		if err := a.boxSubteams(ctx, p, t, promoted); err != nil {
			return nil, err
		}
	}
	if err := p.add(t.ID, "team.change_membership", team, key, ch.Rotate); err != nil {
		return nil, err
	}
	if err := a.besides(ctx, p, t, &ch, key); err != nil {
		return nil, err
	}
	return p.postAndLoad(ctx, t.ID)
}

// besides adds the links that come in one request with a change of members.
// client: go/teams/transactions.go:AddMemberTx.Post
func (a *Account) besides(ctx context.Context, p *TeamPost, t *Team, ch *TeamChange, key *TeamKey) error {
	add := func(typ string, team map[string]any, key *TeamKey) error {
		team, err := a.teamSection(ctx, t, team)
		if err != nil {
			return err
		}
		return p.add(t.ID, typ, team, key, false)
	}
	if len(ch.Invites) > 0 {
		entropy, err := a.entropy()
		if err != nil {
			return err
		}
		if err := add("team.invite", map[string]any{"invites": ch.Invites, "entropy": entropy}, nil); err != nil {
			return err
		}
	}
	if len(ch.Bots) == 0 {
		return nil
	}
	return add("team.bot_settings", map[string]any{"bot_settings": botSettings(ch.Bots)}, key)
}

// botSettings lets restricted bots see commands and nothing else.
// client: go/teams/chain_parse.go:SCTeamBot
func botSettings(bots []UserVersion) []map[string]any {
	var list []map[string]any
	for _, u := range bots {
		list = append(list, map[string]any{
			"bot": map[string]any{"uid": u.UID.String(), "eldest_seqno": u.Eldest}, "cmds": true, "mentions": false,
		})
	}
	return list
}

// SetBots posts settings of restricted bots. client: go/teams/teams.go:Team.PostTeamBotSettings
func (a *Account) SetBots(ctx context.Context, t *Team, bots ...UserVersion) (*Team, error) {
	return a.postSection(ctx, t, "team.bot_settings", map[string]any{"bot_settings": botSettings(bots)}, t.Key())
}

// takeTeamLease keeps members who lose power from signing until that is done.
// client: go/libkb/downgrade_leases.go:RequestDowngradeLeaseByTeam
func (a *Account) takeTeamLease(ctx context.Context, id TeamID, uids []UID) (*lease, error) {
	list := make([]string, len(uids))
	for i, u := range uids {
		list[i] = u.String()
	}
	return a.takeLease(ctx, "downgrade/team", url.Values{"team_id": {id.String()}, "member_uids": {strings.Join(list, ",")}})
}

// teamSection adds what each link of a loaded team has beside its own part.
func (a *Account) teamSection(ctx context.Context, t *Team, team map[string]any) (map[string]any, error) {
	if t.Implicit {
		team["is_implicit"] = true
	}
	admin, err := a.adminSection(ctx, t.TeamChain)
	if err != nil {
		return nil, err
	}
	if admin != nil {
		team["admin"] = admin
	}
	return team, nil
}

// rotation makes the next key and boxes it for all who will be there.
// client: go/teams/teams.go:rotateBoxes
func (a *Account) rotation(ctx context.Context, p *TeamPost, t *Team, changes map[UserVersion]TeamRole, team map[string]any) (*TeamKey, error) {
	keyed := t.keyedAfter(changes)
	if t.ID.Subteam() {
		parent, err := a.parentOf(ctx, t.TeamChain, nil, TeamOptions{})
		if err != nil {
			return nil, err
		}
		if err := a.addAdmins(ctx, parent.TeamChain, t.ID, keyed); err != nil {
			return nil, err
		}
	}
	old := t.Key()
	if old == nil {
		return nil, fmt.Errorf("no key of team %s to rotate", t.ID)
	}
	seed, err := newSeed(a.Server().Random)
	if err != nil {
		return nil, err
	}
	key := newTeamKey(t.ID, old.Generation+1, seed, old)
	to, err := a.recipients(ctx, keyed)
	if err != nil {
		return nil, err
	}
	boxes, err := a.sealTeam(key, old, to)
	if err != nil {
		return nil, err
	}
	team["box_summary_hash"], p.body["per_team_key"] = boxes.summaryHash, boxes
	return key, nil
}

// keyedAfter are the members who have the team's key after a change of roles.
func (t *Team) keyedAfter(changes map[UserVersion]TeamRole) map[UserVersion]bool {
	roles := t.Members()
	for u, r := range changes {
		roles[u] = r
	}
	keyed := make(map[UserVersion]bool)
	for u, r := range roles {
		if r.atLeast(RoleBot) {
			keyed[u] = true
		}
	}
	return keyed
}

// boxSubteams gives new admins the keys of everything below.
// client: go/teams/teams.go:implicitAdminBoxes
func (a *Account) boxSubteams(ctx context.Context, p *TeamPost, t *Team, uvs map[UserVersion]bool) error {
	boxes := make(map[string]*TeamBoxes)
	to, err := a.recipients(ctx, uvs)
	if err != nil {
		return err
	}
	var walk func(t *Team) error
	walk = func(t *Team) error {
		for id := range t.Subteams {
			if t.Gone[id] {
				continue
			}
			sub, err := a.LoadTeam(ctx, id, TeamOptions{})
			if err != nil {
				return err
			}
			b, err := a.sealTeam(sub.Key(), nil, slices.Clone(to))
			if err != nil {
				return err
			}
			boxes[id.String()] = b
			if err := walk(sub); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(t); err != nil {
		return err
	}
	if len(boxes) > 0 {
		p.body["implicit_team_keys"] = boxes
	}
	return nil
}

// RotateTeam gives a team a new key on the visible chain.
// client: go/teams/teams.go:rotatePostVisible
func (a *Account) RotateTeam(ctx context.Context, t *Team) (*Team, error) {
	p, err := a.newTeamPost(ctx, t.Root.Seqno)
	if err != nil {
		return nil, err
	}
	p.follow(t.TeamChain)
	team, err := a.teamSection(ctx, t, make(map[string]any))
	if err != nil {
		return nil, err
	}
	key, err := a.rotation(ctx, p, t, nil, team)
	if err != nil {
		return nil, err
	}
	if err := p.add(t.ID, "team.rotate_key", team, key, true); err != nil {
		return nil, err
	}
	return p.postAndLoad(ctx, t.ID)
}

// LeaveTeam takes the account out of a team. client: go/teams/teams.go:Leave
func (a *Account) LeaveTeam(ctx context.Context, t *Team, permanent bool) error {
	p, err := a.newTeamPost(ctx, t.Root.Seqno)
	if err != nil {
		return err
	}
	p.follow(t.TeamChain)
	p.body["permanent"] = permanent
	team := make(map[string]any)
	if t.Implicit {
		team["is_implicit"] = true
	}
	if err := p.add(t.ID, "team.leave", team, nil, false); err != nil {
		return err
	}
	return p.post(ctx)
}

// RenameSubteam gives a subteam another last part of its name.
// client: go/teams/rename.go:RenameSubteam
func (a *Account) RenameSubteam(ctx context.Context, parent, child *Team, base string) (*Team, error) {
	name := parent.Name + "." + base
	admin, err := a.adminSection(ctx, parent.TeamChain)
	if err != nil {
		return nil, err
	}
	p, err := a.newTeamPost(ctx, max(parent.Root.Seqno, child.Root.Seqno))
	if err != nil {
		return nil, err
	}
	p.follow(parent.TeamChain)
	p.follow(child.TeamChain)
	entropy, err := a.entropy()
	if err != nil {
		return nil, err
	}
	up := map[string]any{"subteam": map[string]any{"id": child.ID.String(), "name": name}, "entropy": entropy, "admin": admin}
	if err := p.add(parent.ID, "team.rename_subteam", up, parent.Key(), false); err != nil {
		return nil, err
	}
	down := map[string]any{"name": name, "admin": admin, "parent": map[string]any{
		"id": parent.ID.String(), "seqno": p.tails[parent.ID].seqno, "seq_type": parent.ID.seqType(),
	}}
	if err := p.add(child.ID, "team.rename_up_pointer", down, child.Key(), false); err != nil {
		return nil, err
	}
	return p.postAndLoad(ctx, child.ID)
}

// DeleteTeam ends a team for ever; parent is nil for a root team.
// client: go/teams/teams.go:deleteRoot, deleteSubteam
func (a *Account) DeleteTeam(ctx context.Context, t, parent *Team) error {
	p, err := a.newTeamPost(ctx, t.Root.Seqno)
	if err != nil {
		return err
	}
	p.follow(t.TeamChain)
	if parent == nil {
		team, err := a.teamSection(ctx, t, make(map[string]any))
		if err != nil {
			return err
		}
		if err := p.add(t.ID, "team.delete_root", team, nil, false); err != nil {
			return err
		}
		return p.post(ctx)
	}
	p.follow(parent.TeamChain)
	admin, err := a.adminSection(ctx, parent.TeamChain)
	if err != nil {
		return err
	}
	entropy, err := a.entropy()
	if err != nil {
		return err
	}
	up := map[string]any{"subteam": map[string]any{"id": t.ID.String(), "name": t.Name}, "admin": admin, "entropy": entropy}
	if err := p.add(parent.ID, "team.delete_subteam", up, nil, false); err != nil {
		return err
	}
	down := map[string]any{"name": t.Name, "admin": admin, "parent": map[string]any{
		"id": parent.ID.String(), "seqno": p.tails[parent.ID].seqno, "seq_type": parent.ID.seqType(),
	}}
	if err := p.add(t.ID, "team.delete_up_pointer", down, nil, false); err != nil {
		return err
	}
	return p.post(ctx)
}

// InviteToTeam posts an invites section. client: go/teams/teams.go:postInvite
func (a *Account) InviteToTeam(ctx context.Context, t *Team, invites map[string]any) (*Team, error) {
	entropy, err := a.entropy()
	if err != nil {
		return nil, err
	}
	return a.postSection(ctx, t, "team.invite", map[string]any{"invites": invites, "entropy": entropy}, nil)
}

// NewInvite is an entry of an invites section, with its random id.
func (a *Account) NewInvite(typ, name string) (map[string]any, error) {
	var id [16]byte
	if _, err := io.ReadFull(a.Server().Random, id[:15]); err != nil {
		return nil, err
	}
	id[15] = 0x27
	return map[string]any{"type": typ, "name": name, "id": hex.EncodeToString(id[:])}, nil
}

// OpenTeam lets anybody in as joinAs; RoleNone closes the team.
// client: go/teams/teams.go:PostTeamSettings
func (a *Account) OpenTeam(ctx context.Context, t *Team, joinAs TeamRole) (*Team, error) {
	open := map[string]any{"enabled": joinAs != RoleNone}
	if joinAs != RoleNone {
		open["options"] = map[string]any{"join_as": joinAs.String()}
	}
	return a.postSection(ctx, t, "team.settings", map[string]any{"settings": map[string]any{"open": open}}, t.Key())
}

// CloseTeam closes an open team and gives it a new key, since anybody may have the old
// one. client: go/teams/teams.go:Team.PostTeamSettings
func (a *Account) CloseTeam(ctx context.Context, t *Team) (*Team, error) {
	p, err := a.newTeamPost(ctx, t.Root.Seqno)
	if err != nil {
		return nil, err
	}
	p.follow(t.TeamChain)
	team, err := a.teamSection(ctx, t, map[string]any{"settings": map[string]any{"open": map[string]any{"enabled": false}}})
	if err != nil {
		return nil, err
	}
	key, err := a.rotation(ctx, p, t, nil, team)
	if err != nil {
		return nil, err
	}
	delete(team, "box_summary_hash") // which settings do not have
	if err := p.add(t.ID, "team.settings", team, key, true); err != nil {
		return nil, err
	}
	return p.postAndLoad(ctx, t.ID)
}

// SetTLF ties a folder to a team. client: go/teams/service_helper.go:CreateTLF
func (a *Account) SetTLF(ctx context.Context, t *Team, tlf string) (*Team, error) {
	return a.postSection(ctx, t, "team.kbfs", map[string]any{"kbfs": map[string]any{"tlf": map[string]any{"id": tlf}}}, nil)
}

// AskForTeam asks to be let into a team. client: go/teams/service_helper.go:RequestAccess
func (a *Account) AskForTeam(ctx context.Context, name string) error {
	_, err := a.Server().Post(ctx, "team/request_access", url.Values{"team": {name}}, a.credential())
	return err
}

func (a *Account) postSection(ctx context.Context, t *Team, typ string, team map[string]any, key *TeamKey) (*Team, error) {
	p, err := a.newTeamPost(ctx, t.Root.Seqno)
	if err != nil {
		return nil, err
	}
	p.follow(t.TeamChain)
	if team, err = a.teamSection(ctx, t, team); err != nil {
		return nil, err
	}
	if err := p.add(t.ID, typ, team, key, false); err != nil {
		return nil, err
	}
	return p.postAndLoad(ctx, t.ID)
}
