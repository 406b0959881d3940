package node

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keystead/keystead/bench/client"
)

// Ways into teams and out of them: invitations, requests, resets, new devices.

const (
	secretInvite = "seitan_invite_token"
	linkInvite   = "invitelink"
)

// power orders roles.
func power(r client.TeamRole) int {
	return map[client.TeamRole]int{
		client.RoleOwner: 6, client.RoleAdmin: 5, client.RoleWriter: 4, client.RoleReader: 3, client.RoleBot: 2, client.RoleRestrictedBot: 1,
	}[r]
}

func (c *realm) noise(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(c.rng.Uint32())
	}
	return base64.StdEncoding.EncodeToString(b)
}

// draw makes an invitation of any type.
func (c *realm) draw(by *soul, b *crew) (*ticket, map[string]any) {
	k := &ticket{role: []client.TeamRole{client.RoleReader, client.RoleWriter, client.RoleAdmin}[c.rng.IntN(3)]}
	switch c.rng.IntN(4) {
	case 0:
		x := c.all[c.rng.IntN(len(c.all))]
		if x.gone {
			return nil, nil
		}
		k.typ, k.name, k.uid = "keybase", x.Version().String(), x.UID
		if b.parent == nil && b.role(by) == client.RoleOwner && c.rng.IntN(4) == 0 {
			k.role = client.RoleOwner
		}
	case 1:
		k.typ, k.name = "email", fmt.Sprintf("m%d@example.com", c.rng.IntN(1_000_000))
	case 2:
		k.typ, k.name = secretInvite, c.noise(40)
	default:
		k.typ, k.name, k.max = linkInvite, c.noise(40), []int64{-1, 1, 2}[c.rng.IntN(3)]
		if k.role == client.RoleAdmin {
			k.role = client.RoleWriter
		}
	}
	entry, err := by.NewInvite(k.typ, k.name)
	if err != nil {
		c.t.Fatal(err)
	}
	if k.max != 0 {
		entry["max_uses"] = k.max
	}
	k.id = entry["id"].(string)
	return k, entry
}

func (c *realm) invite(b *crew) {
	by := c.ruler(b)
	if by == nil {
		return
	}
	if k, entry := c.draw(by, b); k != nil {
		c.post(by, b, "invite", 0, map[string]any{k.role.String(): []any{entry}}, k)
	}
}

// post posts an invites section.
func (c *realm) post(by *soul, b *crew, deed string, want int, section map[string]any, added ...*ticket) {
	if !c.act(by, b, deed, want, func(t *client.Team) error { _, err := by.InviteToTeam(c.ctx, t, section); return err }) {
		return
	}
	b.link(linkKind{invite: true})
	for _, k := range added {
		b.tickets[k.id] = k
	}
	if ids, ok := section["cancel"].([]string); ok {
		for _, id := range ids {
			b.spend(b.tickets[id])
		}
	}
}

func (c *realm) cancelInvite(b *crew) {
	by, active := c.ruler(b), b.active()
	if by == nil || len(active) == 0 {
		return
	}
	k := active[c.rng.IntN(len(active))]
	c.post(by, b, "cancel an invitation", 0, map[string]any{"cancel": []string{k.id}})
}

// completeInvite lets somebody in by an invitation.
func (c *realm) completeInvite(b *crew) {
	by, active := c.ruler(b), b.active()
	if by == nil || len(active) == 0 {
		return
	}
	k := active[c.rng.IntN(len(active))]
	x := c.pick(func(s *soul) bool {
		return b.role(s) == client.RoleNone && s != by && (k.typ != "keybase" || s.UID == k.uid && (k.name == s.Version().String() || k.name == s.UID.String()+"%0"))
	})
	if x == nil {
		return
	}
	ch := newChange(b)
	ch.give(x, k.role)
	deed := "complete an invitation"
	want := ch.want(c, by)
	if k.typ == linkInvite {
		ch.Used = map[string]client.UserVersion{k.id: x.Version()}
		deed = "use an invitation"
		if k.max > 0 && k.uses >= k.max && want != codeNeedOwner {
			want = codeNotCompleted
		}
	} else {
		ch.Completed = map[string]client.UserVersion{k.id: x.Version()}
	}
	if c.act(by, b, deed, want, func(t *client.Team) error { return ch.do(c, by, t) }) {
		ch.done(c)
	}
}

// answerInvite has somebody answer a secret, and perhaps an admin's client lets them in.
func (c *realm) answerInvite(b *crew) {
	s, active := c.anybody(), b.active(secretInvite, linkInvite)
	id, link := "", c.rng.IntN(2) == 0
	var k *ticket
	want := codeBadToken
	if len(active) > 0 && c.rng.IntN(4) > 0 {
		k = active[c.rng.IntN(len(active))]
		id, link = k.id, k.typ == linkInvite
		switch {
		case k.max > 0 && k.uses >= k.max:
		case power(b.role(s)) >= power(k.role):
			want = codeMemberExists
		case b.banned[s.UID]:
			want = codeBannedHere
		default:
			want = 0
		}
	} else if len(b.spent) > 0 {
		id = b.spent[c.rng.IntN(len(b.spent))]
	} else {
		return
	}
	c.seat(s)
	c.expect(b, "answer a secret", want, s.AnswerInvite(c.ctx, id, c.noise(32), link))
}

// askToJoin: who asks at an open team is let in.
func (c *realm) askToJoin(b *crew) {
	s := c.anybody()
	want := 0
	switch {
	case b.role(s) != client.RoleNone:
		want = codeMemberExists
	case b.parent != nil && !b.open && !b.stands(s):
		want = codeNoTeam
	case b.banned[s.UID]:
		want = codeBannedHere
	case b.left[s.UID]:
		want = codeLeftForGood
	case b.asked[s.UID]:
		want = codeAskedTwice
	}
	c.seat(s)
	open, err := s.AskToJoin(c.ctx, b.full())
	if !c.expect(b, "ask to join", want, err) {
		return
	}
	if open != b.open {
		c.t.Errorf("step %d: asked to join %s: it is open: %v", c.steps, b.full(), open)
	}
	b.asked[s.UID] = true
	by := c.ruler(b)
	if by == nil {
		return
	}
	c.lookRequests(b, by)
	if !b.open || by == s || c.rng.IntN(3) == 0 {
		return
	}
	ch := newChange(b)
	ch.give(s, b.joinAs)
	c.try(ch, by, "let in who asked")
}

func (c *realm) ignoreRequest(b *crew) {
	by := c.ruler(b)
	if by == nil {
		return
	}
	s := c.pick(func(s *soul) bool { return b.asked[s.UID] })
	if s == nil {
		s = c.anybody()
	}
	want := 0
	if !b.asked[s.UID] || b.ignored[s.UID] {
		want = codeNotAsked
	}
	c.seat(by)
	if c.expect(b, "ignore a request", want, by.IgnoreRequest(c.ctx, b.full(), s.UID)) {
		b.ignored[s.UID] = true
	}
	c.lookRequests(b, by)
}

func (c *realm) lookRequests(b *crew, by *soul) {
	c.seat(by)
	got, err := by.Requests(c.ctx, b.full())
	if err != nil {
		c.t.Errorf("step %d: requests at %s: %v", c.steps, b.full(), err)
		return
	}
	var want []string
	for u := range b.asked {
		if !b.ignored[u] {
			want = append(want, u.String())
		}
	}
	for _, s := range c.all { // whose requests end a moment later
		if s.gone {
			got = slices.DeleteFunc(got, func(u string) bool { return u == s.UID.String() })
			want = slices.DeleteFunc(want, func(u string) bool { return u == s.UID.String() })
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		c.t.Errorf("step %d: requests at %s are %v, want %v", c.steps, b.full(), got, want)
	}
}

// reset ends all of somebody's keys. The next incarnation is nobody to their teams.
func (c *realm) reset(*crew) {
	s := c.anybody()
	asked := 0
	for _, b := range c.crews {
		if b.asked[s.UID] && !b.ignored[s.UID] && !b.gone {
			asked++
		}
	}
	if !c.expect(nil, "reset an account", 0, s.Reset(c.ctx)) {
		return
	}
	s.keyless = true
	for _, b := range c.crews {
		if b.asked[s.UID] && !b.ignored[s.UID] {
			delete(b.asked, s.UID)
		}
	}
	for range 20_000 { // a job takes back what the user asked for
		names, err := s.MyRequests(c.ctx)
		if err != nil {
			c.t.Errorf("step %d, requests of %s: %v", c.steps, s.name, err)
			return
		}
		left := 0
		for _, b := range c.alive() {
			if slices.Contains(names, b.full()) && !b.asked[s.UID] {
				left++
			}
		}
		if left == 0 {
			asked = 0
			break
		}
		<-time.After(time.Millisecond)
	}
	if asked > 0 {
		c.t.Errorf("step %d: %s was reset, and still asks to join", c.steps, s.name)
	}
	if c.rng.IntN(2) == 0 {
		c.provision(s)
	}
	c.lookAbout()
}

// lookAbout looks at some teams, when something has happened to somebody in all of them.
func (c *realm) lookAbout() {
	for _, b := range c.alive() {
		if c.rng.IntN(3) == 0 {
			c.look(b)
		}
	}
}

func (c *realm) provision(s *soul) {
	c.now.Advance(time.Millisecond)
	s.devices++
	if c.expect(nil, "begin a new incarnation", 0, s.ProvisionFirst(c.ctx, fmt.Sprintf("device %d", s.devices))) {
		s.keyless = false
	}
}

func (c *realm) beginAgain(*crew) {
	for _, s := range c.all {
		if s.keyless && !s.gone {
			c.provision(s)
			return
		}
	}
}

// deleteAccount ends somebody for ever, who stays in the chains.
func (c *realm) deleteAccount(*crew) {
	here := 0
	for _, s := range c.all {
		if s.here() {
			here++
		}
	}
	s := c.anybody()
	if here < soulsMin || c.rng.IntN(3) > 0 {
		return
	}
	c.seat(s)
	if c.expect(nil, "delete an account", 0, s.Delete(c.ctx)) {
		s.gone = true
		c.lookAbout()
	}
}

// revoke adds a device or revokes one; then a team has a new key made.
func (c *realm) revoke(b *crew) {
	s := c.anybody()
	c.seat(s)
	if len(s.Devices) == 1 || len(s.Devices) < 4 && c.rng.IntN(3) == 0 {
		s.devices++
		d, err := s.AddDevice(c.ctx, fmt.Sprintf("device %d", s.devices), client.DeviceDesktop)
		if c.expect(nil, "add a device", 0, err) {
			s.Devices[d.ID] = d
		}
		return
	}
	ids := slices.SortedFunc(maps.Keys(s.Devices), func(a, b client.DeviceID) int { return slices.Compare(a[:], b[:]) })
	ids = slices.DeleteFunc(ids, func(id client.DeviceID) bool { return id == s.Device.ID })
	if c.expect(nil, "revoke a device", 0, s.RevokeDevice(c.ctx, ids[c.rng.IntN(len(ids))])) {
		if err := s.FetchPUKs(c.ctx, s.Device); err != nil {
			c.t.Errorf("step %d, %s: %v", c.steps, s.name, err)
		}
		if b.keys(s) {
			c.rotate(b)
		}
	}
}

func (c *realm) roll(*crew) {
	s := c.anybody()
	c.seat(s)
	if c.expect(nil, "roll a per-user key", 0, s.RollPUK(c.ctx)) {
		if err := s.FetchPUKs(c.ctx, s.Device); err != nil {
			c.t.Errorf("step %d, %s: %v", c.steps, s.name, err)
		}
	}
}
