package node

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/keystead/keystead/bench/client"
)

// again are the codes upon which clients load a team anew and try again.
// client: go/teams/teams.go:RetryIfPossible
var again = []int{codeOldSeqno, codeGeneration, codeOrder, codeRatchet}

// turn is something to do to a team that has been loaded.
type turn struct {
	name string
	do   func(*client.Team) error
	done func()
	whom *soul // nil: nobody
}

// someAct is one that does not touch those who race, nor what another one at most does.
func (c *realm) someAct(by *soul, b *crew, which int, others ...*soul) turn {
	x := c.pick(func(s *soul) bool {
		return !slices.Contains(others, s) && b.role(s) != client.RoleOwner && !b.left[s.UID] && len(b.stale(s)) == 0
	})
	choice := c.rng.IntN(5)
	if x == nil && choice < 2 || b.implicit {
		choice = 2
	}
	switch choice {
	case 0, 1:
		ch := newChange(b)
		r := allRoles[c.rng.IntN(4)]
		if b.role(x) != client.RoleNone && c.rng.IntN(2) == 0 {
			r = client.RoleNone
		} else if b.role(x) == r {
			r = client.RoleBot
		}
		ch.give(x, r)
		ch.Rotate = r == client.RoleNone && keyed(b.role(x)) && !b.open
		return turn{"change", func(t *client.Team) error { return ch.do(c, by, t) }, func() { ch.done(c) }, x}
	case 2:
		return turn{"rotate", func(t *client.Team) error { _, err := by.RotateTeam(c.ctx, t); return err }, func() { b.gen++; b.link() }, nil}
	case 3:
		k, entry := c.draw(by, b)
		if k == nil {
			return c.someAct(by, b, which, others...)
		}
		section := map[string]any{k.role.String(): []any{entry}}
		return turn{
			"invite", func(t *client.Team) error { _, err := by.InviteToTeam(c.ctx, t, section); return err },
			func() { b.tickets[k.id] = k; b.link(linkKind{invite: true}) }, nil,
		}
	}
	if b.depth() > 2 || len(c.alive()) >= crewsMax {
		return c.someAct(by, b, which, others...)
	}
	part := fmt.Sprintf("r%dx%d", len(b.kinds), which)
	var made *client.Team
	return turn{"make a subteam", func(t *client.Team) (err error) {
		made, err = by.CreateSubteam(c.ctx, t, part, client.RoleNone)
		return err
	}, func() {
		sub := newCrew(made.ID, part, b)
		b.link(linkKind{sub: sub})
		c.crews = append(c.crews, sub)
	}, nil}
}

// two are two who rule a team.
func (c *realm) two(b *crew) (*soul, *soul) {
	one := c.pick(b.rules)
	return one, c.pick(func(s *soul) bool { return s != one && b.rules(s) })
}

// stale acts on a view of a team that somebody else has made an old one: it is told to
// load the team anew, does so and succeeds.
func (c *realm) stale(b *crew) {
	one := c.pick(b.rotates)
	two := c.pick(func(s *soul) bool { return s != one && b.rotates(s) })
	if two == nil {
		return
	}
	t, err := c.load(one, b)
	if err != nil {
		c.t.Errorf("step %d, %s loads %s: %v", c.steps, one.name, b.full(), err)
		return
	}
	hidden := !b.public && c.rng.IntN(3) == 0
	if hidden {
		if !c.act(two, b, "rotate on the hidden chain", 0, func(t *client.Team) error { _, err := two.RotateTeamHidden(c.ctx, t); return err }) {
			return
		}
		b.hidden++
	} else {
		if !c.act(two, b, "rotate", 0, func(t *client.Team) error { _, err := two.RotateTeam(c.ctx, t); return err }) {
			return
		}
		b.link()
	}
	b.gen++
	want, do := codeOldSeqno, func(t *client.Team) error { _, err := one.RotateTeam(c.ctx, t); return err }
	switch {
	case hidden && b.rules(one) && !b.implicit && c.rng.IntN(2) == 0:
		want, do = codeRatchet, func(t *client.Team) error {
			_, err := one.OpenTeam(c.ctx, t, client.RoleReader)
			return err
		}
	case hidden:
		want = codeGeneration
	}
	if c.expect(b, "act on an old view", want, do(t)); want == codeRatchet {
		return
	}
	if c.act(one, b, "act on a new view", 0, do) {
		b.gen++
		b.link()
	}
}

// race: of two admins who post the same link number at once one gets it; the other loads
// the team and tries again.
func (c *realm) race(b *crew) {
	one, two := c.two(b)
	if two == nil {
		return
	}
	racers := []*soul{one, two}
	acts := []turn{c.someAct(one, b, 0, one, two), {}}
	acts[1] = c.someAct(two, b, 1, one, two, acts[0].whom)
	hidden := c.rng.IntN(5) == 0
	if hidden {
		acts[1] = turn{
			"rotate on the hidden chain", func(t *client.Team) error { _, err := two.RotateTeamHidden(c.ctx, t); return err },
			func() { b.gen++; b.hidden++ }, nil,
		}
	}
	views := make([]*client.Team, 2)
	for i, s := range racers {
		var err error
		if views[i], err = c.load(s, b); err != nil {
			c.t.Errorf("step %d, %s loads %s: %v", c.steps, s.name, b.full(), err)
			return
		}
	}
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() { errs[i] = acts[i].do(views[i]) })
	}
	wg.Wait()
	won := 0
	for i := range racers {
		if errs[i] == nil {
			won++
			c.expect(b, "race: "+acts[i].name, 0, nil)
			acts[i].done()
		}
	}
	if won == 0 || won == 2 && !hidden {
		c.t.Errorf("step %d: %d of a race (%s, %s) of %s won: %v", c.steps, won, acts[0].name, acts[1].name, b.full(), errs)
		return
	}
	for i, s := range racers {
		if errs[i] == nil {
			continue
		}
		code := client.StatusCode(errs[i])
		if !slices.Contains(again, code) {
			c.t.Errorf("step %d: the loser of a race (%s, %s) is told %v", c.steps, acts[0].name, acts[1].name, errs[i])
		}
		c.expect(b, "race: "+acts[i].name, code, errs[i])
		if c.act(s, b, "race: try again", 0, acts[i].do) {
			acts[i].done()
		}
	}
}

// raceLease: an admin is demoted who posts, at the same time, to a team below on the
// strength of that role. The demotion gets in; the post does before it, or never.
func (c *realm) raceLease(b *crew) {
	by := c.ruler(b)
	if by == nil {
		return
	}
	x := c.pick(func(s *soul) bool {
		return s != by && admin(b.role(s)) && !b.above(s) && (b.role(s) != client.RoleOwner || b.role(by) == client.RoleOwner)
	})
	if x == nil || len(b.live()) == 0 {
		return
	}
	sub := b.live()[c.rng.IntN(len(b.live()))]
	if admin(sub.role(x)) || !sub.rules(x) {
		return
	}
	mine, err1 := c.load(by, b)
	theirs, err2 := c.load(x, sub)
	if err1 != nil || err2 != nil {
		c.t.Errorf("step %d, before a race at %s: %v, %v", c.steps, b.full(), err1, err2)
		return
	}
	ch := newChange(b)
	ch.give(x, []client.TeamRole{client.RoleNone, client.RoleReader, client.RoleWriter}[c.rng.IntN(3)])
	ch.Rotate = ch.Roles[x.Version()] == client.RoleNone && !b.open
	want := ch.want(c, by)
	var errs [2]error
	var wg sync.WaitGroup
	wg.Go(func() { errs[0] = ch.do(c, by, mine) })
	wg.Go(func() { _, errs[1] = x.RotateTeam(c.ctx, theirs) })
	wg.Wait()
	if c.expect(b, "race: demote who acts below", want, errs[0]) {
		ch.done(c)
	}
	t, err := c.load(by, sub)
	if err != nil {
		c.t.Errorf("step %d, after a race at %s: %v", c.steps, sub.full(), err)
		return
	}
	posted := len(t.Links) == len(sub.kinds)+1
	code := client.StatusCode(errs[1])
	var stub *client.Violation
	switch {
	case !posted && errors.As(errs[1], &stub) && stub.Rule == client.RuleStub:
		// Who is demoted between two requests sees less in the second.
	case errs[1] == nil && !posted, posted && !(errs[1] == nil || code == codeRead):
		c.t.Errorf("step %d: after a race at %s a link is there: %v, its author was told %v", c.steps, sub.full(), posted, errs[1])
	case !posted && !slices.Contains([]int{codeLeased, codeMembership, codeWritePerm, codeOrder, codeRead}, code):
		c.t.Errorf("step %d: the loser of a race at %s is told %v", c.steps, sub.full(), errs[1])
	}
	if posted {
		c.expect(sub, "race: act below while demoted", 0, nil)
		sub.gen++
		sub.link()
	} else {
		c.expect(sub, "race: act below while demoted", code, errs[1])
	}
	c.look(sub)
}

// raceKeys: a team has a new key made while one of its members gets a new per-user key.
func (c *realm) raceKeys(b *crew) {
	one := c.pick(b.rotates)
	x := c.pick(func(s *soul) bool { return s != one && b.keys(s) })
	if one == nil || x == nil {
		return
	}
	t, err := c.load(one, b)
	if err != nil {
		c.t.Errorf("step %d, %s loads %s: %v", c.steps, one.name, b.full(), err)
		return
	}
	c.seat(x)
	var errRotate, errRoll error
	var wg sync.WaitGroup
	wg.Go(func() { _, errRotate = one.RotateTeam(c.ctx, t) })
	wg.Go(func() { errRoll = x.RollPUK(c.ctx) })
	wg.Wait()
	if c.expect(nil, "race: roll a per-user key", 0, errRoll) {
		if err := x.FetchPUKs(c.ctx, x.Device); err != nil {
			c.t.Errorf("step %d, %s: %v", c.steps, x.name, err)
		}
	}
	code := 0
	if errRotate != nil {
		code = codeGeneration
	}
	if !c.expect(b, "race: rotate", code, errRotate) && !c.act(one, b, "race: rotate again", 0, func(t *client.Team) error {
		_, err := one.RotateTeam(c.ctx, t)
		return err
	}) {
		return
	}
	b.gen++
	b.link()
}
