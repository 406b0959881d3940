package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"

	"github.com/keystead/keystead/bench/client"
)

const (
	checkersMax = 4 // users looked at concurrently
	// oldSessionsMax is how many sessions from before the last crash are tried, for
	// each user.
	oldSessionsMax = 3
)

// checker compares what the public API tells, through the strict client, with the
// book. Its verifier never forgets: what one crash left standing must stand after
// the next.
type checker struct {
	v     *client.Verifier
	judge *judge
	cycle int
}

// check looks at users one by one.
func (c *checker) check(ctx context.Context, users []*userBook) error {
	var wg sync.WaitGroup
	next := make(chan *userBook)
	errs := make(chan error, checkersMax)
	for range checkersMax {
		wg.Go(func() {
			for u := range next {
				if err := c.user(ctx, u); err != nil {
					select {
					case errs <- fmt.Errorf("check %s: %w", u.name, err):
					default:
					}
				}
			}
		})
	}
	for _, u := range users {
		next <- u
	}
	close(next)
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// user looks at one user. An error means that nothing can be told, for instance
// because the server is gone; what the server says wrongly goes to the judge.
func (c *checker) user(ctx context.Context, b *userBook) error {
	u, err := c.v.LoadUser(ctx, client.UIDOf(b.name), client.LoadOptions{Fresh: true})
	if client.StatusCode(err) == client.CodeNotFound {
		c.absent(b)
		return nil
	}
	if err != nil {
		return c.blame(b, "load", err)
	}
	if !c.attemptOf(b, u.Salt) {
		return nil
	}
	c.chain(b, u)
	creds := c.sessions(ctx, b)
	for _, look := range []func(context.Context, *userBook, *client.User, client.Credential) error{
		c.follows, c.devices, c.halves, c.ephemeral, c.tokens,
	} {
		if err := look(ctx, b, u, creds); err != nil {
			if err := c.blame(b, "ask about", err); err != nil {
				return err
			}
		}
	}
	return nil
}

// blame sorts an error: a refusal or a lie is the server's, anything else is nobody's.
func (c *checker) blame(b *userBook, doing string, err error) error {
	var status *client.StatusError
	var http *client.HTTPError
	switch rule := client.ViolatedRule(err); {
	case rule == client.RuleRollback, rule == client.RuleFork, rule == client.RulePrev, rule == client.RuleRootTime:
		c.judge.found(forked, "%s %s: %v", doing, b.name, err)
	case rule == client.RuleLeafHistory, rule == client.RuleChainHistory, rule == client.RulePosted:
		c.judge.found(lost, "%s %s: %v", doing, b.name, err)
	case rule != "":
		c.judge.found(wrong, "%s %s: %v", doing, b.name, err)
	case errors.As(err, &status) && status.Code == codeGeneric, errors.As(err, &http):
		c.judge.found(unread, "%s %s: %v", doing, b.name, err)
	case errors.As(err, &status):
		c.judge.found(wrong, "%s %s: %v", doing, b.name, err)
	default:
		return err
	}
	return nil
}

// absent judges a name that nobody has.
func (c *checker) absent(b *userBook) {
	for _, a := range b.signups {
		if a.outcome == wasAcked {
			c.judge.found(lost, "user %s, signed up by request %d", b.name, a.n)
		} else {
			a.outcome = wasRefused // it did not happen, and must not happen any more
		}
	}
	for _, l := range b.links {
		if l.must {
			c.judge.found(lost, "link %d of %s and the user", l.fact.Seqno, b.name)
		}
		l.may = false
	}
}

// attemptOf finds the sign-up that made the account, by the salt that it sent.
func (c *checker) attemptOf(b *userBook, salt string) bool {
	var made *attempt
	for _, a := range b.signups {
		switch {
		case a.facts.Salt == salt:
			made = a
		case a.outcome == wasAcked:
			c.judge.found(doubled, "request %d was told that it made %s, but another one did", a.n, b.name)
		default:
			a.outcome = wasRefused
		}
	}
	switch {
	case made == nil:
		c.judge.found(wrong, "user %s has salt %s, which nobody sent", b.name, salt)
	case made.outcome == wasRefused || made.outcome == wasUnsent:
		c.judge.found(doubled, "request %d was not carried out (%s), but it made %s", made.n, made.outcome, b.name)
	default:
		made.outcome = wasAcked // it has happened, and must stay
	}
	return made != nil
}

// chain compares the chain, link by link, with what was posted.
func (c *checker) chain(b *userBook, u *client.User) {
	present := make(map[string]bool, len(u.Chain))
	for _, l := range u.Chain {
		id := l.ID.String()
		lb := b.links[id]
		switch {
		case present[id]:
			c.judge.found(doubled, "link %s of %s stands twice", id, b.name)
		case lb == nil:
			c.judge.found(wrong, "link %d of %s was never posted", l.Seqno, b.name)
		case int64(l.Seqno) != lb.fact.Seqno:
			c.judge.found(reordered, "link %d of %s stands at %d", lb.fact.Seqno, b.name, l.Seqno)
		case !lb.must && !lb.may:
			c.judge.found(doubled, "link %d of %s stands, but it was refused, never sent, or gone before", l.Seqno, b.name)
		}
		present[id] = true
	}
	c.posts(b, present)
	for id, lb := range b.links {
		if lb.must && !present[id] {
			c.judge.found(lost, "link %d (%s) of %s, chain ends at %d", lb.fact.Seqno, lb.fact.Type, b.name, len(u.Chain))
		}
		lb.must, lb.may = lb.must || present[id], false
	}
}

// posts wants each request whole or not at all, and acknowledged ones in the order
// in which they were acknowledged.
func (c *checker) posts(b *userBook, present map[string]bool) {
	last := make(map[string]bool) // links of acknowledged requests so far
	var tail int64
	for _, a := range b.posts {
		n := 0
		for _, l := range a.facts.Links {
			if present[l.ID] {
				n++
			}
		}
		if n != 0 && n != len(a.facts.Links) {
			c.judge.found(wrong, "of request %d of %s %d of %d links stand", a.n, b.name, n, len(a.facts.Links))
		}
		first := a.facts.Links[0]
		if a.outcome != wasAcked || last[first.ID] {
			continue // a repeat of an acknowledged request is acknowledged again
		}
		if first.Seqno <= tail {
			c.judge.found(reordered, "request %d of %s begins at link %d, after an acknowledged link %d", a.n, b.name, first.Seqno, tail)
		}
		for _, l := range a.facts.Links {
			last[l.ID], tail = true, l.Seqno
		}
	}
}

// sessions tries the sessions and returns one that is good.
func (c *checker) sessions(ctx context.Context, b *userBook) (good client.Credential) {
	old := 0
	for _, s := range slices.Backward(b.sessions) {
		if s.cycle < c.cycle {
			if old++; old > oldSessionsMax {
				break
			}
		}
		cred := &client.Session{Token: s.token, CSRF: s.csrf}
		switch err := c.v.Server().CheckSession(ctx, cred); {
		case err == nil:
			good = cred
		case client.StatusCode(err) >= 0 && client.StatusCode(err) != codeGeneric:
			c.judge.found(lost, "a session of %s: %v", b.name, err)
		}
	}
	return good
}

// follows compares the index of followees with the chain.
func (c *checker) follows(ctx context.Context, b *userBook, u *client.User, _ client.Credential) error {
	reply, err := c.v.Server().Get(ctx, "user/list_followers_for_display", url.Values{"uid": {u.UID.String()}, "reverse": {"1"}}, nil)
	if err != nil {
		return err
	}
	var list struct {
		Users []struct {
			UID string `json:"uid"`
		} `json:"users"`
	}
	if err := json.Unmarshal(reply.Body, &list); err != nil {
		return err
	}
	var got, want []string
	for _, x := range list.Users {
		got = append(got, x.UID)
	}
	if u.Family != nil {
		for uid := range u.Family.Followees {
			want = append(want, uid.String())
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		c.judge.found(wrong, "the list says that %s follows %v, the chain says %v", b.name, got, want)
	}
	return nil
}

// devices compares the index of active devices with the chain.
func (c *checker) devices(ctx context.Context, b *userBook, u *client.User, _ client.Credential) error {
	if u.Family == nil {
		return nil
	}
	type row struct {
		UID      string `json:"uid"`
		DeviceID string `json:"device_id"`
		OK       bool   `json:"ok"`
	}
	var rows []row
	for _, d := range u.Family.Devices {
		rows = append(rows, row{UID: u.UID.String(), DeviceID: d.ID.String()})
	}
	reply, err := c.v.Server().PostJSON(ctx, "device/for_users", map[string]any{"user_configs": rows}, nil)
	if err != nil {
		return err
	}
	var got struct {
		Rows []row `json:"user_configs"`
	}
	if err := json.Unmarshal(reply.Body, &got); err != nil {
		return err
	}
	for i, d := range u.Family.Devices {
		if i >= len(got.Rows) || got.Rows[i].DeviceID != d.ID.String() || got.Rows[i].OK == d.Revoked {
			c.judge.found(wrong, "the index of devices of %s does not agree with the chain about %s", b.name, d.ID)
		}
	}
	return nil
}

// halves reads the recovery copies that devices have left.
func (c *checker) halves(ctx context.Context, b *userBook, _ *client.User, cred client.Credential) error {
	if cred == nil {
		return nil
	}
	for _, kid := range slices.Sorted(maps.Keys(b.halves)) {
		reply, err := c.v.Server().Get(ctx, "passphrase/recover", url.Values{"kid": {kid}}, cred, client.CodeNotFound)
		if err != nil {
			return err
		}
		var r struct {
			Ctext string `json:"ctext"`
		}
		if err := json.Unmarshal(reply.Body, &r); err != nil {
			return err
		}
		if !b.halves[kid].read(r.Ctext) {
			c.judge.found(lost, "the recovery copy of %s for %s is not the last one that was acknowledged", b.name, kid)
		}
	}
	return nil
}

// ephemeral reads the newest statements of ephemeral keys.
func (c *checker) ephemeral(ctx context.Context, b *userBook, u *client.User, cred client.Credential) error {
	if cred == nil || u.Family == nil {
		return nil
	}
	srv := c.v.Server()
	reply, err := srv.Get(ctx, "user/device_eks", nil, cred)
	if err != nil {
		return err
	}
	var of struct {
		Sigs []string `json:"sigs"`
	}
	if err := json.Unmarshal(reply.Body, &of); err != nil {
		return err
	}
	expected := 0
	for device, r := range b.ekOf {
		id, err := client.ParseDeviceID(device)
		if err != nil {
			return err
		}
		if d := u.Family.Device(id); d == nil || d.Revoked {
			continue // the server drops the statements of revoked devices
		}
		got := ""
		for _, s := range of.Sigs {
			if s == r.must || slices.Contains(r.maybe, s) {
				got = s
			}
		}
		if got != "" {
			expected++
		}
		if !r.read(got) {
			c.judge.found(lost, "the ephemeral key of device %s of %s is not the last one that was acknowledged", device, b.name)
		}
	}
	if expected != len(of.Sigs) {
		c.judge.found(doubled, "%d ephemeral keys of devices of %s, expected %d", len(of.Sigs), b.name, expected)
	}
	reply, err = srv.Get(ctx, "user/user_ek", url.Values{"uids": {u.UID.String()}}, cred)
	if err != nil {
		return err
	}
	var r struct {
		Sigs map[string]string `json:"sigs"`
	}
	if err := json.Unmarshal(reply.Body, &r); err != nil {
		return err
	}
	if !b.userEK.read(r.Sigs[u.UID.String()]) {
		c.judge.found(lost, "the ephemeral key of %s is not the last one that was acknowledged", b.name)
	}
	return nil
}

// tokens tries the short tokens that the server said it knows; those of revoked
// devices must not be good any more.
func (c *checker) tokens(ctx context.Context, b *userBook, u *client.User, _ client.Credential) error {
	for _, device := range slices.Sorted(maps.Keys(b.tokens)) {
		id, err := client.ParseDeviceID(device)
		if err != nil {
			return err
		}
		err = c.v.Server().CheckSession(ctx, client.RawToken(b.tokens[device]))
		if err != nil && (client.StatusCode(err) < 0 || client.StatusCode(err) == codeGeneric) {
			return err
		}
		d := u.Family.Device(id)
		active := d != nil && !d.Revoked
		switch {
		case active && err != nil:
			c.judge.found(lost, "the token of device %s of %s: %v", device, b.name, err)
		case !active && err == nil:
			c.judge.found(wrong, "the token of device %s of %s is good, but the device is not", device, b.name)
		}
	}
	return nil
}
