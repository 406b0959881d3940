package node

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/clock"
)

// resetPercent is how many steps of a history are resets and deletions, in percent.
const resetPercent = 3

// Codes about accounts that are no more.
const (
	codeNoUser      = 203
	codePassword    = 204
	codeNotFound    = 205
	codeNameDeleted = 3221
)

// incarnation makes the model forget what a reset takes away: all but the links.
func (c *town) incarnation(p *person) {
	c.lives[p.uid]++
	p.over = append(p.over, c.said(p)...)
	for _, id := range p.active() {
		p.devices[id] = false
	}
	p.names, p.nameOf = map[string]bool{}, map[client.DeviceID]string{}
	p.follows, p.money, p.puk = map[client.UID][]string{}, nil, 0
	p.paper, p.before, p.pgp = nil, len(p.devices), map[string]int{}
	for _, m := range p.remotes {
		c.drop(p, m)
	}
	p.remotes = nil
	for who := range c.vouches {
		if who.voucher == p.uid || who.vouchee == p.uid {
			delete(c.vouches, who)
		}
	}
}

// reset resets somebody with the password, once with a wrong one before, and begins the
// next incarnation on a new device. The old devices stay in their seats, shut out.
func (c *town) reset(ctx context.Context, p *person, _ *seat) {
	a, err := client.Login(ctx, c.eyes, p.name, "", p.password())
	if !c.expect(p, "log in", 0, err) {
		return
	}
	right := a.Stream
	a.Stream = client.CheapStream([]byte("wrong"))
	c.expect(p, "reset with a wrong password", codePassword, a.Reset(ctx))
	a.Stream = right
	if !c.expect(p, "reset", 0, a.Reset(ctx)) {
		return
	}
	c.incarnation(p)
	c.beginAgain(ctx, p, a)
}

// waitForReset asks for a reset that waits, which cannot be done yet, and cancels it.
func (c *town) waitForReset(ctx context.Context, p *person, s *seat) {
	a, err := client.Login(ctx, c.eyes, p.name, "", p.password())
	if !c.expect(p, "log in", 0, err) {
		return
	}
	c.expect(p, "ask for a reset", 0, a.EnterReset(ctx, c.rng.IntN(2) == 0))
	c.expect(p, "reset too early", codeInput, a.FinishReset(ctx))
	c.expect(p, "cancel a reset", 0, s.CancelReset(ctx, s.NIST(s.Device)))
	c.expect(p, "cancel no reset", codeNotFound, a.CancelReset(ctx, a.Session))
}

func (c *town) beginAgain(ctx context.Context, p *person, a *client.Account) {
	if err := a.ProvisionFirst(ctx, "device after all"); !c.expect(p, "first device after a reset", 0, err) {
		return
	}
	p.puk = 1
	p.add(a.Device.ID, "device after all", 3)
	p.seats = append(p.seats, &seat{a, p.links})
}

// remove deletes an account: nobody gets in, nobody gets the name, and its chain can be
// verified for ever.
func (c *town) remove(ctx context.Context, p *person, s *seat) {
	if len(c.all) < people {
		return
	}
	s.Stream = p.password()
	for _, a := range p.mails { // what has not left yet, to whomever, would be taken back
		if n := c.letters[a.text]; n > 0 {
			if _, err := c.bag.link(ctx, a.text, n); err != nil {
				c.t.Errorf("step %d, %s: %v", c.steps, p.name, err)
			}
		}
	}
	c.expect(p, "delete", 0, s.Delete(ctx))
	c.gone[p.uid] = true
	for len(p.mails) > 0 {
		c.releaseMail(p, 0)
	}
	c.incarnation(p)
	c.expect(p, "act after the deletion", codeBadSession, s.Follow(ctx, c.other(p)))
	_, err := client.Login(ctx, c.eyes, p.name, "", s.Stream)
	c.expect(p, "log in after the deletion", codeNoUser, err)
	_, err = client.Signup(ctx, c.eyes, client.SignupOptions{Name: strings.ToUpper(p.name), Stream: s.Stream})
	c.expect(p, "take a deleted name", codeNameDeleted, err)
	c.lookGone(ctx, p)
	c.eyes.Forget(p.uid)
	c.all = slices.DeleteFunc(c.all, func(o *person) bool { return o == p })
}

// lookGone looks at a deleted account by new eyes.
func (c *town) lookGone(ctx context.Context, p *person) {
	u, err := c.newEyes().LoadUser(ctx, p.uid, client.LoadOptions{Quoted: true})
	if err != nil {
		c.t.Errorf("look at %s, who is deleted: %v", p.name, err)
		return
	}
	last := len(u.Resets) - 1
	if !u.Deleted || u.Family != nil || len(u.Chain) != p.links || last < 0 || u.Resets[last].Type != "delete" {
		c.t.Errorf("%s is deleted: %v, keys %v, %d of %d links, resets %v", p.name, u.Deleted, u.Family, len(u.Chain), p.links, u.Resets)
	}
}

// TestAutoreset proves that a reset that waits does so for its time and survives the
// server's restart, that it is done with the session that asked for it, and that the next
// device begins a new incarnation of the same account.
func TestAutoreset(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	now := clock.NewFake(time.Now())
	l.clock, l.time = now.Now, now.Now
	ctx := t.Context()
	r := l.mustStart(t)
	alice, err := client.Signup(ctx, r.verifier(strictWitness()), client.SignupOptions{
		Name: "alice", Stream: client.CheapStream([]byte("alice")), DeviceName: "lost",
	})
	if err != nil {
		t.Fatal(err)
	}
	asked, err := client.Login(ctx, r.verifier(strictWitness()), "alice", "", client.CheapStream([]byte("alice")))
	if err != nil {
		t.Fatal(err)
	}
	status := func(event int) *client.Waiting {
		t.Helper()
		w, err := asked.ResetStatus(ctx, asked.Session)
		if err != nil || w == nil || w.Event != event {
			t.Fatalf("status %+v, %v; want event %d", w, err, event)
		}
		return w
	}
	if err := alice.EnterReset(ctx, false); err != nil {
		t.Fatal(err)
	}
	status(0) // by name alone nothing begins
	if err := asked.EnterReset(ctx, true); err != nil {
		t.Fatal(err)
	}
	if w := status(1); w.Delay != l.cfg.Reset.DelayOneDevice {
		t.Fatalf("it waits %s", w.Delay)
	}
	r.mustStop(t)

	now.Advance(l.cfg.Reset.DelayOneDevice - time.Hour)
	r = l.mustStart(t)
	defer r.mustStop(t)
	again, err := client.Login(ctx, r.verifier(strictWitness()), "alice", "", client.CheapStream([]byte("alice")))
	if err != nil {
		t.Fatal(err)
	}
	asked = again
	if code := client.StatusCode(asked.FinishReset(ctx)); code != codeInput {
		t.Fatalf("an hour too early: %d", code)
	}
	now.Advance(time.Hour)
	for i := 0; ; i++ { // the job comes by
		if w, err := asked.ResetStatus(ctx, asked.Session); err != nil || w == nil {
			t.Fatal(w, err)
		} else if w.Event == 4 {
			break
		} else if i > 500 {
			t.Fatalf("never ready: %+v", w)
		}
		<-time.After(10 * time.Millisecond)
	}
	if err := asked.FinishReset(ctx); err != nil {
		t.Fatal(err)
	}
	if w, err := asked.ResetStatus(ctx, asked.Session); w != nil || err != nil {
		t.Fatalf("afterwards: %+v, %v", w, err)
	}
	if err := r.client.CheckSession(ctx, alice.NIST(alice.Device)); client.StatusCode(err) != codeBadSession {
		t.Fatalf("the lost device: %v", err)
	}
	if err := asked.ProvisionFirst(ctx, "found"); err != nil {
		t.Fatal(err)
	}
	u, err := r.verifier(strictWitness()).LoadUser(ctx, asked.UID, client.LoadOptions{Quoted: true})
	if err != nil || len(u.Resets) != 1 || len(u.Past) != 1 || u.Family.First != 4 {
		t.Fatalf("%+v, %v", u, err)
	}
	if err := r.audit(); err != nil {
		t.Fatal(err)
	}
}
