package node

import (
	"fmt"
	"slices"

	"github.com/keystead/keystead/bench/client"
)

var allRoles = []client.TeamRole{
	client.RoleReader, client.RoleReader, client.RoleWriter, client.RoleWriter, client.RoleAdmin, client.RoleAdmin,
	client.RoleOwner, client.RoleBot, client.RoleRestrictedBot,
}

// makeTeam makes a root team, or an implicit one.
func (c *realm) makeTeam() {
	s := c.pick(func(*soul) bool { return true })
	if s == nil {
		c.born = -realmSteps
		return
	}
	c.seat(s)
	if c.rng.IntN(4) == 0 {
		c.makeImplicit(s)
		return
	}
	name := fmt.Sprintf("t%dx%d", c.realms, len(c.crews))
	t, err := s.CreateTeam(c.ctx, name)
	if !c.expect(nil, "make a team", 0, err) {
		return
	}
	b := newCrew(t.ID, name, nil)
	b.roles[s.Version()] = client.RoleOwner
	c.crews = append(c.crews, b)
	c.look(b)
}

// change is a change of members that the model follows.
type change struct {
	client.TeamChange
	b       *crew
	cancels *ticket // in the same request
}

func newChange(b *crew) *change {
	return &change{TeamChange: client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{}}, b: b}
}

// give gives somebody a role, and takes former incarnations out.
func (ch *change) give(s *soul, r client.TeamRole) {
	if s.here() {
		ch.Roles[s.Version()] = r
	}
	for _, u := range ch.b.stale(s) {
		ch.Roles[u] = client.RoleNone
	}
}

// want is what the server should say if somebody does it who rules the team.
func (ch *change) want(c *realm, by *soul) int {
	owner := ch.b.role(by) == client.RoleOwner
	owners := ch.b.owners()
	lost := false
	for u, r := range ch.Roles {
		was := ch.b.roles[u]
		back := false
		for o, or := range ch.Roles {
			back = back || o.UID == u.UID && o.Eldest > u.Eldest && or != client.RoleNone
		}
		switch {
		case was == client.RoleOwner && r != client.RoleOwner:
			owners--
			lost = lost || c.isNow(u)
			if !owner && !(r == client.RoleNone && back) {
				return codeNeedOwner
			}
		case r == client.RoleOwner && ch.b.parent != nil:
			return codeNoOwners
		case r == client.RoleOwner && !owner:
			return codeNeedOwner
		case was != client.RoleOwner && r == client.RoleOwner:
			owners++
		}
	}
	if ch.b.parent == nil && !ch.b.implicit && lost && owners == 0 {
		return codeMembership
	}
	for u, r := range ch.Roles {
		if r != client.RoleNone && ch.b.roles[u] == client.RoleNone && ch.b.left[u.UID] && u.UID != by.UID {
			return codeLeftForGood
		}
	}
	return 0
}

// isNow reports a present incarnation.
func (c *realm) isNow(u client.UserVersion) bool {
	return slices.ContainsFunc(c.all, func(s *soul) bool { return s.here() && s.Version() == u })
}

// done notes what was done.
func (ch *change) done(c *realm) {
	b := ch.b
	b.link()
	for u, r := range ch.Roles {
		if r == client.RoleNone && ch.Permanent && c.isNow(u) {
			b.banned[u.UID] = true
		}
	}
	for u, r := range ch.Roles {
		b.set(u, r)
	}
	for id := range ch.Completed {
		if i := b.tickets[id]; i != nil {
			b.spend(i)
		}
	}
	for id := range ch.Used {
		b.tickets[id].uses++
	}
	if k := ch.cancels; k != nil {
		b.link(linkKind{invite: true})
		if b.tickets[k.id] != nil { // else the change has ended it already
			b.spend(k)
		}
	}
	for _, u := range ch.Bots {
		b.bots[u] = true
	}
	if len(ch.Bots) > 0 {
		b.link()
	}
	if ch.Rotate {
		b.gen++
	}
}

func (ch *change) do(c *realm, by *soul, t *client.Team) error {
	_, err := by.ChangeTeam(c.ctx, t, ch.TeamChange)
	return err
}

// try has somebody do it.
func (c *realm) try(ch *change, by *soul, deed string) bool {
	ok := c.act(by, ch.b, deed, ch.want(c, by), func(t *client.Team) error { return ch.do(c, by, t) })
	if ok {
		ch.done(c)
	}
	return ok
}

// ruler is somebody who rules a team and has the keys of all below it, an owner more often
// than not.
func (c *realm) ruler(b *crew) *soul {
	if c.rng.IntN(2) == 0 {
		if s := c.pick(func(s *soul) bool { return b.role(s) == client.RoleOwner && !b.botBelow(s) }); s != nil {
			return s
		}
	}
	return c.pick(func(s *soul) bool { return b.rules(s) && !b.botBelow(s) })
}

func (c *realm) anybody() *soul { return c.pick(func(*soul) bool { return true }) }

func (c *realm) changeRole(b *crew) {
	by, x := c.ruler(b), c.anybody()
	if by == nil {
		return
	}
	ch := newChange(b)
	r := allRoles[c.rng.IntN(len(allRoles))]
	if b.role(x) == r {
		return
	}
	ch.give(x, r)
	if by == x && !admin(r) && !b.above(by) && r == client.RoleRestrictedBot {
		return // nobody does that
	}
	ch.Rotate = !b.open && c.rng.IntN(8) == 0
	if by == x && !keyed(r) {
		ch.Rotate = false
	}
	if r == client.RoleRestrictedBot && c.rng.IntN(2) == 0 && by != x {
		ch.Bots = []client.UserVersion{x.Version()}
	}
	deed := "change a role"
	switch {
	case len(ch.Roles) > 1:
		deed = "let somebody in again after a reset"
	case b.role(x) == client.RoleNone:
		deed = "add a member"
	case !admin(b.role(by)):
		deed = "change a role from above"
	}
	c.try(ch, by, deed)
}

func (c *realm) removeMember(b *crew) {
	by := c.ruler(b)
	if by == nil {
		return
	}
	members := b.members()
	if len(members) == 0 {
		return
	}
	u := members[c.rng.IntN(len(members))]
	if u == by.Version() {
		return
	}
	ch := newChange(b)
	ch.Roles[u] = client.RoleNone
	ch.Rotate = keyed(b.roles[u]) && !b.open && c.rng.IntN(4) > 0
	ch.Permanent = c.rng.IntN(6) == 0
	deed := "remove a member"
	if !c.isNow(u) {
		deed = "remove who was reset or deleted"
	}
	c.try(ch, by, deed)
}

func (c *realm) changeSeveral(b *crew) {
	by := c.ruler(b)
	if by == nil {
		return
	}
	ch := newChange(b)
	for range 2 + c.rng.IntN(3) {
		x := c.anybody()
		if x == by {
			continue
		}
		if b.role(x) != client.RoleNone && c.rng.IntN(3) == 0 {
			ch.give(x, client.RoleNone)
			continue
		}
		ch.give(x, allRoles[c.rng.IntN(len(allRoles))])
	}
	if len(ch.Roles) == 0 {
		return
	}
	ch.Rotate = !b.open && c.rng.IntN(2) == 0
	if active := b.active(); len(active) > 0 && c.rng.IntN(2) == 0 {
		ch.cancels = active[c.rng.IntN(len(active))]
		ch.Invites = map[string]any{"cancel": []string{ch.cancels.id}}
	}
	c.try(ch, by, "change several members")
}

func (c *realm) leaveTeam(b *crew) {
	s := c.pick(func(s *soul) bool { return b.role(s) != client.RoleNone })
	if s == nil {
		return
	}
	want := 0
	if admin(b.role(s)) {
		want = codeInput // who rules steps down first, under a lease
		if b.role(s) == client.RoleOwner && b.owners() == 1 {
			want = codeMembership
		}
	}
	permanent := c.rng.IntN(8) == 0
	if c.act(s, b, "leave", want, func(t *client.Team) error { return s.LeaveTeam(c.ctx, t, permanent) }) {
		b.put(s.Version(), client.RoleNone)
		b.link()
		if permanent {
			b.left[s.UID] = true
		}
	}
}

func (c *realm) somePart() string { return fmt.Sprintf("n%d", c.rng.IntN(12)) }

func (b *crew) taken(part string, but *crew) bool {
	return slices.ContainsFunc(b.live(), func(x *crew) bool { return x != but && x.name == part })
}

func (c *realm) makeSubteam(b *crew) {
	by := c.ruler(b)
	if by == nil || b.depth() > 2 || len(c.alive()) >= crewsMax {
		return
	}
	part, want := c.somePart(), 0
	if b.taken(part, nil) {
		want = codeTeamExists
	}
	as := []client.TeamRole{client.RoleNone, client.RoleNone, client.RoleAdmin, client.RoleWriter, client.RoleReader}[c.rng.IntN(5)]
	var made *client.Team
	if c.act(by, b, "make a subteam", want, func(t *client.Team) (err error) {
		made, err = by.CreateSubteam(c.ctx, t, part, as)
		return err
	}) {
		sub := newCrew(made.ID, part, b)
		if as != client.RoleNone {
			sub.roles[by.Version()] = as
		}
		b.link(linkKind{sub: sub})
		c.crews = append(c.crews, sub)
		c.look(sub)
	}
}

func (c *realm) renameSubteam(b *crew) {
	if b.parent == nil {
		return
	}
	by := c.ruler(b.parent)
	if by == nil {
		return
	}
	part, want := c.somePart(), 0
	switch {
	case part == b.name:
		want = codeBadName
	case b.parent.taken(part, b):
		want = codeTeamExists
	}
	parent, err := c.load(by, b.parent)
	if err != nil {
		c.t.Errorf("step %d, %s loads %s: %v", c.steps, by.name, b.parent.full(), err)
		return
	}
	if c.act(by, b, "rename a subteam", want, func(t *client.Team) error {
		_, err := by.RenameSubteam(c.ctx, parent, t, part)
		return err
	}) {
		b.name = part
		b.link()
		b.parent.link(linkKind{sub: b})
		c.look(b.parent)
	}
}

func (c *realm) deleteTeam(b *crew) {
	above := b
	if b.parent != nil {
		above = b.parent
	} else if c.rng.IntN(3) > 0 {
		return
	}
	by := c.ruler(above)
	if by == nil {
		return
	}
	want := 0
	switch {
	case b.parent == nil && b.role(by) != client.RoleOwner:
		want = codeNeedOwner
	case len(b.live()) > 0:
		want = codeLiveChildren
	}
	var parent *client.Team
	if b.parent != nil {
		var err error
		if parent, err = c.load(by, b.parent); err != nil {
			c.t.Errorf("step %d, %s loads %s: %v", c.steps, by.name, b.parent.full(), err)
			return
		}
	}
	if !c.act(by, b, "delete a team", want, func(t *client.Team) error { return by.DeleteTeam(c.ctx, t, parent) }) {
		return
	}
	b.gone = true
	b.link()
	if b.parent != nil {
		b.parent.link(linkKind{sub: b})
		c.look(b.parent)
		return
	}
	_, err := by.CreateTeam(c.ctx, b.name)
	c.expect(b, "take the name of a deleted team", codeTeamExists, err)
}

func (c *realm) rotate(b *crew) {
	s := c.pick(b.stands)
	if s == nil {
		return
	}
	want := 0
	if !b.rotates(s) {
		want = codeWritePerm
		if !b.keys(s) {
			return // nothing to make a newer key of
		}
	}
	if c.act(s, b, "rotate", want, func(t *client.Team) error { _, err := s.RotateTeam(c.ctx, t); return err }) {
		b.gen++
		b.link()
	}
}

func (c *realm) rotateHidden(b *crew) {
	s := c.pick(b.keys)
	if s == nil || b.public {
		return
	}
	want := 0
	if !b.rotates(s) {
		want = codeWritePerm
	}
	if c.act(s, b, "rotate on the hidden chain", want, func(t *client.Team) error { _, err := s.RotateTeamHidden(c.ctx, t); return err }) {
		b.gen++
		b.hidden++
	}
}

func (c *realm) openTeam(b *crew) {
	by := c.ruler(b)
	if by == nil || b.open {
		return
	}
	as := []client.TeamRole{client.RoleReader, client.RoleWriter}[c.rng.IntN(2)]
	if c.act(by, b, "open a team", 0, func(t *client.Team) error { _, err := by.OpenTeam(c.ctx, t, as); return err }) {
		b.open, b.joinAs = true, as
		b.link()
	}
}

func (c *realm) closeTeam(b *crew) {
	by := c.ruler(b)
	if by == nil || !b.open {
		return
	}
	if c.act(by, b, "close a team", 0, func(t *client.Team) error { _, err := by.CloseTeam(c.ctx, t); return err }) {
		b.open = false
		b.gen++
		b.link()
	}
}

func (c *realm) setBots(b *crew) {
	by, x := c.ruler(b), c.anybody()
	if by == nil {
		return
	}
	if bot := c.pick(func(s *soul) bool { return b.role(s) == client.RoleRestrictedBot }); bot != nil && c.rng.IntN(4) > 0 {
		x = bot
	}
	want := 0
	if b.role(x) != client.RoleRestrictedBot {
		want = codeMembership
	}
	if c.act(by, b, "settings of a bot", want, func(t *client.Team) error { _, err := by.SetBots(c.ctx, t, x.Version()); return err }) {
		b.bots[x.Version()] = true
		b.link()
	}
}

func (c *realm) tieFolder(b *crew) {
	s := c.pick(func(s *soul) bool { return b.role(s) != client.RoleNone })
	if s == nil || b.tlfs > 0 {
		return
	}
	want := 0
	if r := b.role(s); !admin(r) && r != client.RoleWriter {
		want = codeWritePerm
	}
	tlf := fmt.Sprintf("%030x16", c.rng.Uint64())
	if b.public {
		tlf = fmt.Sprintf("%030x17", c.rng.Uint64())
	}
	if c.act(s, b, "tie a folder", want, func(t *client.Team) error { _, err := s.SetTLF(c.ctx, t, tlf); return err }) {
		b.tlfs++
		b.link()
	}
}
