package node

import (
	"fmt"
	"slices"

	"github.com/keystead/keystead/bench/client"
)

// Implicit teams: who they are of is what they are.

func calledAs(b *crew) string { return fmt.Sprint(b.public, b.called) }

// recall gives an implicit team the name that follows from who is in it.
func (c *realm) recall(b *crew) {
	if c.called[calledAs(b)] == b {
		delete(c.called, calledAs(b))
	}
	b.called = b.people(c.nameOf)
	if c.called[calledAs(b)] == nil {
		c.called[calledAs(b)] = b
	}
}

// abandoned reports an implicit team of which nobody has the key any more. The server
// takes its name away a moment later, so that is not looked at.
func (c *realm) abandoned(b *crew) bool {
	for u, r := range b.roles {
		if keyed(r) && c.isNow(u) {
			return false
		}
	}
	return true
}

// makeImplicit begins a conversation of some people, some of whom may have no key yet or
// be an address only.
func (c *realm) makeImplicit(s *soul) {
	b := newCrew(client.TeamID{}, "", nil)
	b.implicit, b.public = true, c.rng.IntN(3) == 0
	b.roles[s.Version()] = client.RoleOwner
	others, invites := map[client.UserVersion]client.TeamRole{}, map[string]any{}
	byRole := map[client.TeamRole][]any{}
	invited := func(typ, name string, uid client.UID, r client.TeamRole) {
		entry, err := s.NewInvite(typ, name)
		if err != nil {
			c.t.Fatal(err)
		}
		id := entry["id"].(string)
		b.tickets[id] = &ticket{id: id, typ: typ, name: name, role: r, uid: uid}
		byRole[r] = append(byRole[r], entry)
	}
	for _, i := range c.rng.Perm(len(c.all))[:c.rng.IntN(4)] {
		x := c.all[i]
		if x == s || x.gone {
			continue
		}
		r := []client.TeamRole{client.RoleOwner, client.RoleOwner, client.RoleReader}[c.rng.IntN(3)]
		if x.keyless {
			invited("keybase", x.UID.String()+"%0", x.UID, r)
			continue
		}
		b.roles[x.Version()], others[x.Version()] = r, r
	}
	if c.rng.IntN(2) == 0 {
		invited("email", fmt.Sprintf("i%d@example.com", c.rng.IntN(3)), client.UID{}, client.RoleOwner)
	}
	for r, list := range byRole {
		invites[r.String()] = list
	}
	b.called = b.people(c.nameOf)
	want := 0
	if twin := c.called[calledAs(b)]; twin != nil {
		if c.abandoned(twin) {
			return
		}
		want = codeImplicitTwin
	}
	t, err := s.CreateImplicitTeam(c.ctx, b.public, others, invites)
	if !c.expect(nil, "begin a conversation", want, err) {
		return
	}
	b.id, b.name = t.ID, t.Name
	c.crews = append(c.crews, b)
	c.called[calledAs(b)] = b
	c.look(b)
}

// twin tries to begin a conversation that is there.
func (c *realm) twin(b *crew) {
	s := c.pick(func(s *soul) bool { return b.role(s) == client.RoleOwner })
	if s == nil || len(b.tickets) > 0 || c.abandoned(b) || c.called[calledAs(b)] != b {
		return
	}
	others := map[client.UserVersion]client.TeamRole{}
	for u, r := range b.roles {
		if !c.isNow(u) {
			return
		}
		if u != s.Version() && (r == client.RoleOwner || r == client.RoleReader) {
			others[u] = r
		}
	}
	c.seat(s)
	_, err := s.CreateImplicitTeam(c.ctx, b.public, others, nil)
	c.expect(b, "begin a conversation that is there", codeImplicitTwin, err)
}

// findImplicit looks a conversation up by who is in it.
func (c *realm) findImplicit(b *crew) {
	s := c.pick(func(s *soul) bool { return b.role(s) != client.RoleNone })
	if s == nil || c.called[calledAs(b)] != b || c.abandoned(b) {
		return
	}
	c.seat(s)
	id, err := s.ImplicitTeam(c.ctx, b.called, b.public)
	if c.expect(b, "find a conversation", 0, err) && id != b.id {
		c.t.Errorf("step %d: the team of %s is %s, not %s", c.steps, b.called, id, b.id)
	}
}

// replaceMember lets somebody in again who was reset: in the same role, or not at all.
func (c *realm) replaceMember(b *crew) {
	by := c.pick(func(s *soul) bool { return b.role(s) == client.RoleOwner })
	if by == nil {
		return
	}
	x := c.pick(func(s *soul) bool { return len(b.stale(s)) > 0 && b.role(s) == client.RoleNone })
	if x == nil {
		return
	}
	old := b.stale(x)[0]
	ch := newChange(b)
	role := b.roles[old]
	ch.Roles[old], ch.Roles[x.Version()] = client.RoleNone, role
	want := 0
	if c.rng.IntN(4) == 0 && role != client.RoleBot && role != client.RoleRestrictedBot {
		// Once a reader, always a reader.
		ch.Roles[x.Version()] = map[client.TeamRole]client.TeamRole{client.RoleOwner: client.RoleReader, client.RoleReader: client.RoleOwner}[role]
		want = codeImplicitRole
	}
	ch.Rotate = c.rng.IntN(2) == 0
	if c.act(by, b, "let somebody in again into a conversation", want, func(t *client.Team) error { return ch.do(c, by, t) }) {
		ch.done(c)
		c.recall(b)
	}
}

// completeImplicit lets somebody into a conversation who was named by an address, or had
// no key then.
func (c *realm) completeImplicit(b *crew) {
	by, active := c.pick(func(s *soul) bool { return b.role(s) == client.RoleOwner }), b.active()
	if by == nil || len(active) == 0 {
		return
	}
	k := active[c.rng.IntN(len(active))]
	x := c.pick(func(s *soul) bool { return k.typ != "keybase" || s.UID == k.uid })
	if x == nil || len(b.stale(x)) > 0 {
		return
	}
	ch := newChange(b)
	ch.Completed = map[string]client.UserVersion{k.id: x.Version()}
	deed := "complete an invitation to a conversation"
	if b.role(x) == client.RoleNone {
		ch.Roles[x.Version()] = k.role
	} else {
		deed = "complete an invitation of a member"
	}
	if c.act(by, b, deed, 0, func(t *client.Team) error { return ch.do(c, by, t) }) {
		ch.done(c)
		c.recall(b)
	}
}

// changeBot: bots come to a conversation and go.
func (c *realm) changeBot(b *crew) {
	by := c.pick(func(s *soul) bool { return b.role(s) == client.RoleOwner })
	if by == nil {
		return
	}
	ch := newChange(b)
	bot := func(r client.TeamRole) bool { return r == client.RoleBot || r == client.RoleRestrictedBot }
	deed := "add a bot to a conversation"
	if x := c.pick(func(s *soul) bool { return bot(b.role(s)) }); x != nil && c.rng.IntN(2) == 0 {
		ch.Roles[x.Version()] = client.RoleNone
		deed = "remove a bot from a conversation"
	} else if x := c.pick(func(s *soul) bool {
		return b.role(s) == client.RoleNone && len(b.stale(s)) == 0 && !slices.ContainsFunc(b.active("keybase"), func(k *ticket) bool { return k.uid == s.UID })
	}); x != nil {
		ch.Roles[x.Version()] = []client.TeamRole{client.RoleBot, client.RoleRestrictedBot}[c.rng.IntN(2)]
		if ch.Roles[x.Version()] == client.RoleRestrictedBot && c.rng.IntN(2) == 0 {
			ch.Bots = []client.UserVersion{x.Version()}
		}
	} else {
		return
	}
	if c.act(by, b, deed, 0, func(t *client.Team) error { return ch.do(c, by, t) }) {
		ch.done(c)
		c.recall(b)
	}
}

// forbiddenImplicit tries what would make a conversation another one.
func (c *realm) forbiddenImplicit(b *crew) {
	by := c.pick(func(s *soul) bool { return b.role(s) == client.RoleOwner })
	if by == nil {
		return
	}
	stranger := c.pick(func(s *soul) bool { return b.role(s) == client.RoleNone && len(b.stale(s)) == 0 })
	other := c.pick(func(s *soul) bool {
		return s != by && (b.role(s) == client.RoleOwner || b.role(s) == client.RoleReader)
	})
	ch := newChange(b)
	switch c.rng.IntN(5) {
	case 0:
		if stranger == nil {
			return
		}
		ch.Roles[stranger.Version()] = client.RoleReader
		c.refuse(by, b, "add somebody to a conversation", codeImplicitOp, func(t *client.Team) error { return ch.do(c, by, t) })
	case 1:
		if other == nil {
			return
		}
		ch.Roles[other.Version()] = client.RoleNone
		c.refuse(by, b, "remove somebody from a conversation", codeImplicitOp, func(t *client.Team) error { return ch.do(c, by, t) })
	case 2:
		c.refuse(by, b, "leave a conversation", codeImplicitOp, func(t *client.Team) error { return by.LeaveTeam(c.ctx, t, false) })
	case 3:
		c.refuse(by, b, "open a conversation", codeImplicitOp, func(t *client.Team) error {
			_, err := by.OpenTeam(c.ctx, t, client.RoleReader)
			return err
		})
	default:
		entry, err := by.NewInvite("email", "stranger@example.com")
		if err != nil {
			c.t.Fatal(err)
		}
		c.refuse(by, b, "invite a stranger to a conversation", codeImplicitOp, func(t *client.Team) error {
			_, err := by.InviteToTeam(c.ctx, t, map[string]any{"owner": []any{entry}})
			return err
		})
	}
}
