package node

import (
	"encoding/hex"
	"maps"
	"slices"

	"github.com/keystead/keystead/bench/client"
)

// refuse has somebody try what the model forbids.
func (c *realm) refuse(s *soul, b *crew, deed string, want int, do func(*client.Team) error) {
	c.act(s, b, "forbidden: "+deed, want, do)
}

// edited tries something with a link changed before it is signed, or a request after.
func (c *realm) edited(s *soul, b *crew, deed string, want int, link func(*client.LinkSpec), post func(string, map[string]any), do func(*client.Team) error) {
	c.refuse(s, b, deed, want, func(t *client.Team) error {
		s.EditLink, s.EditPost = link, post
		defer func() { s.EditLink, s.EditPost = nil, nil }()
		return do(t)
	})
}

func section(l *client.LinkSpec) map[string]any { return l.Body["team"].(map[string]any) }

// forbidden tries something that the model forbids.
func (c *realm) forbidden(b *crew) {
	tries := []func(*soul, *crew){
		c.addAsNobody, c.actAsStranger, c.addFormer, c.removeNobody, c.oldRoot, c.wrongGeneration, c.inviteTwice,
		c.cancelNothing, c.completeNothing, c.inviteOwner, c.linkForAdmins, c.noRatchet, c.fewerBoxes, c.otherSigner,
		c.wrongNumber, c.takenName, c.withoutLease, c.wrongAdmin,
	}
	if by := c.ruler(b); by != nil {
		tries[c.rng.IntN(len(tries))](by, b)
	}
}

func (c *realm) rotating(s *soul) func(*client.Team) error {
	return func(t *client.Team) error { _, err := s.RotateTeam(c.ctx, t); return err }
}

func (c *realm) adding(s *soul, u client.UserVersion, r client.TeamRole) func(*client.Team) error {
	return func(t *client.Team) error {
		_, err := s.ChangeTeam(c.ctx, t, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{u: r}})
		return err
	}
}

func (c *realm) inviting(s *soul, section map[string]any) func(*client.Team) error {
	return func(t *client.Team) error { _, err := s.InviteToTeam(c.ctx, t, section); return err }
}

func (c *realm) addAsNobody(_ *soul, b *crew) {
	s := c.pick(func(s *soul) bool { return keyed(b.role(s)) && !b.rules(s) })
	if s == nil {
		return
	}
	x := c.pick(func(x *soul) bool {
		return x != s && b.role(x) != client.RoleOwner && b.role(x) != client.RoleReader && !admin(b.role(x))
	})
	if x != nil {
		c.refuse(s, b, "a "+b.role(s).String()+" changes members", codeWritePerm, c.adding(s, x.Version(), client.RoleReader))
	}
}

// actAsStranger acts by somebody else's view of the team.
func (c *realm) actAsStranger(by *soul, b *crew) {
	s := c.pick(func(s *soul) bool { return !b.stands(s) })
	if s == nil || b.parent != nil {
		return
	}
	do := []func(*client.Team) error{
		c.rotating(s), c.adding(s, s.Version(), client.RoleReader),
		func(t *client.Team) error { _, err := s.OpenTeam(c.ctx, t, client.RoleReader); return err },
		func(t *client.Team) error { return s.LeaveTeam(c.ctx, t, false) },
		func(t *client.Team) error { return s.DeleteTeam(c.ctx, t, nil) },
	}
	i := c.rng.IntN(len(do))
	want := codeWritePerm
	if i == 4 {
		want = codeNeedOwner
	}
	c.seat(s)
	c.refuse(by, b, "a stranger acts", want, do[i])
}

// addFormer adds somebody who is no more, or is not yet.
func (c *realm) addFormer(by *soul, b *crew) {
	x := c.all[c.rng.IntN(len(c.all))]
	u := client.UserVersion{UID: x.UID, Eldest: 1000}
	if len(x.Me.Past) > 0 && c.rng.IntN(4) > 0 {
		u.Eldest = x.Me.Past[len(x.Me.Past)-1].First
	}
	if x.here() && u == x.Version() || b.roles[u] != client.RoleNone {
		return
	}
	c.refuse(by, b, "add a former incarnation", codeMembership, c.adding(by, u, client.RoleWriter))
}

func (c *realm) removeNobody(by *soul, b *crew) {
	if x := c.pick(func(s *soul) bool { return b.role(s) == client.RoleNone }); x != nil {
		c.refuse(by, b, "remove who is no member", codeMembership, c.adding(by, x.Version(), client.RoleNone))
	}
}

func (c *realm) oldRoot(by *soul, b *crew) {
	c.edited(by, b, "quote an old root", codeOrder, func(l *client.LinkSpec) { l.Root = c.before }, nil, c.rotating(by))
}

func (c *realm) wrongGeneration(by *soul, b *crew) {
	by1 := 1 - 2*c.rng.IntN(2)
	c.edited(by, b, "a key of the wrong generation", codeGeneration, func(l *client.LinkSpec) {
		k := section(l)["per_team_key"].(map[string]any)
		k["generation"] = k["generation"].(int) + by1
	}, nil, c.rotating(by))
}

// inviteTwice invites by an id that is there, here or elsewhere, or twice in one link.
func (c *realm) inviteTwice(by *soul, b *crew) {
	k, entry := c.draw(by, b)
	if k == nil || k.role == client.RoleOwner {
		return
	}
	list := []any{entry}
	used := slices.Concat(slices.Sorted(maps.Keys(b.tickets)), b.spent)
	for _, o := range c.alive() {
		if o != b {
			used = append(used, slices.Sorted(maps.Keys(o.tickets))...)
		}
	}
	if len(used) > 0 && c.rng.IntN(3) > 0 {
		entry["id"] = used[c.rng.IntN(len(used))]
	} else {
		again, err := by.NewInvite(k.typ, k.name)
		if err != nil {
			c.t.Fatal(err)
		}
		if k.max != 0 {
			again["max_uses"] = k.max
		}
		list = append(list, again)
	}
	c.refuse(by, b, "invite twice", codeInput, c.inviting(by, map[string]any{k.role.String(): list}))
}

func (c *realm) someID() string {
	b := make([]byte, 16)
	for i := range b {
		b[i] = byte(c.rng.Uint32())
	}
	b[15] = 0x27
	return hex.EncodeToString(b)
}

func (c *realm) cancelNothing(by *soul, b *crew) {
	c.refuse(by, b, "cancel no invitation", codeBadCancel, c.inviting(by, map[string]any{"cancel": []string{c.someID()}}))
}

// completeNothing lets somebody in by an invitation that is not, or is no more.
func (c *realm) completeNothing(by *soul, b *crew) {
	x := c.pick(func(s *soul) bool { return b.role(s) == client.RoleNone && !b.left[s.UID] && len(b.stale(s)) == 0 })
	if x == nil {
		return
	}
	id := c.someID()
	if len(b.spent) > 0 && c.rng.IntN(2) == 0 {
		id = b.spent[c.rng.IntN(len(b.spent))]
	}
	ch := newChange(b)
	ch.give(x, client.RoleReader)
	who := map[string]client.UserVersion{id: x.Version()}
	if c.rng.IntN(2) == 0 {
		ch.Completed = who
	} else {
		ch.Used = who
	}
	c.refuse(by, b, "complete no invitation", codeNotCompleted, func(t *client.Team) error { return ch.do(c, by, t) })
}

func (c *realm) inviteOwner(by *soul, b *crew) {
	typ, name, want := "keybase", c.anybody().Version().String(), codeNeedOwner
	switch {
	case b.parent != nil:
		want = codeNoOwners
	case b.role(by) == client.RoleOwner:
		typ, name, want = "email", "owner@example.com", codeInput
	}
	entry, err := by.NewInvite(typ, name)
	if err != nil {
		c.t.Fatal(err)
	}
	c.refuse(by, b, "invite an owner", want, c.inviting(by, map[string]any{"owner": []any{entry}}))
}

func (c *realm) linkForAdmins(by *soul, b *crew) {
	entry, err := by.NewInvite(linkInvite, c.noise(40))
	if err != nil {
		c.t.Fatal(err)
	}
	entry["max_uses"] = -1
	c.refuse(by, b, "a link that makes admins", codeInput, c.inviting(by, map[string]any{"admin": []any{entry}}))
}

func (c *realm) noRatchet(by *soul, b *crew) {
	if b.hidden == 0 {
		return
	}
	c.edited(by, b, "no ratchet", codeRatchet, func(l *client.LinkSpec) { delete(section(l), "ratchets") },
		func(_ string, body map[string]any) { delete(body, "ratchet_blinding_keys") }, c.rotating(by))
}

// fewerBoxes gives a new key to everybody but one.
func (c *realm) fewerBoxes(by *soul, b *crew) {
	c.edited(by, b, "a box too few", codeInput, nil, func(_ string, body map[string]any) {
		if boxes, ok := body["per_team_key"].(*client.TeamBoxes); ok {
			delete(boxes.Boxes, slices.Sorted(maps.Keys(boxes.Boxes))[0])
		}
	}, c.rotating(by))
}

func (c *realm) otherSigner(by *soul, b *crew) {
	x := c.pick(func(s *soul) bool { return s != by })
	if x == nil {
		return
	}
	c.seat(x)
	c.edited(by, b, "signed with somebody else's key", codeWrongKey, func(l *client.LinkSpec) { l.Signer = x.Device.Sig }, nil, c.rotating(by))
}

func (c *realm) wrongNumber(by *soul, b *crew) {
	n := 1
	if len(b.kinds) > 1 {
		n -= 2 * c.rng.IntN(2)
	}
	c.edited(by, b, "another link's number", codeOldSeqno, func(l *client.LinkSpec) { l.Seqno += client.Seqno(n) }, nil, c.rotating(by))
}

func (c *realm) takenName(by *soul, b *crew) {
	name, want := c.anybody().name, codeUserName
	if b.parent == nil && c.rng.IntN(2) == 0 {
		name, want = b.name, codeTeamExists
	}
	c.refuse(by, b, "take a taken name", want, func(*client.Team) error { _, err := by.CreateTeam(c.ctx, name); return err })
}

func (c *realm) withoutLease(by *soul, b *crew) {
	x := c.pick(func(s *soul) bool { return s != by && b.role(s) == client.RoleAdmin })
	if x == nil {
		return
	}
	c.edited(by, b, "demote without a lease", codeInput, nil, func(endpoint string, body map[string]any) {
		if endpoint == "sig/multi" {
			delete(body, "downgrade_lease_id")
		}
	},
		c.adding(by, x.Version(), client.RoleReader))
}

// wrongAdmin rests on a link by which nobody became an admin.
func (c *realm) wrongAdmin(by *soul, b *crew) {
	c.edited(by, b, "an admin since when", codeMembership, func(l *client.LinkSpec) {
		if a, ok := section(l)["admin"].(map[string]any); ok {
			a["seqno"] = 9999
		}
	}, nil, c.inviting(by, map[string]any{"cancel": []string{c.someID()}}))
}
