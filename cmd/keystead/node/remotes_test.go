package node

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keystead/keystead/bench/client"
)

// The deeds here are about what people prove elsewhere: in the networks of devel mode,
// which the server looks at without a network.

// States of proofs.
const (
	proofSeen    = 1
	proofMissed  = 2
	proofGone    = 3
	proofUnseen  = 4
	missedForAll = 3 // how often it is missed in a row before it is gone
)

// lookAgain is how long the answer of a check stands, and a little.
const lookAgain = 1100 * time.Millisecond

// remote is a name elsewhere that somebody has claimed and not taken back.
type remote struct {
	id            string // of the statement
	service, name string
	text          string // to publish
	post          string // the post's id, empty: there is none
	over          bool   // another one has taken its place
	state         int
	missed        int
	since         time.Time // it counts since
}

// claim is who has proven a name, and since when.
type claim map[client.UID]time.Time

func placeOf(service, name string) string { return service + "/" + strings.ToLower(name) }

// counts makes a proof count, or not any more, in the index of names.
func (c *town) counts(p *person, m *remote) {
	at := placeOf(m.service, m.name)
	if !m.over && (m.state == proofSeen || m.state == proofMissed) {
		if c.claims[at] == nil {
			c.claims[at] = claim{}
		}
		c.claims[at][p.uid] = m.since
		return
	}
	delete(c.claims[at], p.uid)
}

// drop is the end of a proof. One that another has taken the place of has ended already.
func (c *town) drop(p *person, m *remote) {
	if !m.over {
		m.over = true
		c.counts(p, m)
	}
}

func (p *person) remote(id string) *remote {
	for _, m := range p.remotes {
		if m.id == id {
			return m
		}
	}
	return nil
}

// prove claims a name elsewhere: one's own, or one that others claim too.
func (c *town) prove(ctx context.Context, p *person, s *seat) {
	service := []string{"rooter", "gubble.social", "gubble.cloud"}[c.rng.IntN(3)]
	name := "Me_" + p.name
	if c.rng.IntN(3) == 0 {
		name = fmt.Sprintf("star%d", c.rng.IntN(3))
	}
	want := s.want(p)
	switch {
	case c.rng.IntN(12) > 0:
	case c.rng.IntN(2) == 0:
		service, want = "nowhere.example", codeInput
	default:
		name, want = strings.Repeat("x", 21), codeInput
	}
	text, id, err := s.Prove(ctx, service, name)
	if !c.expect(p, "prove", want, err) {
		return
	}
	for _, m := range p.remotes {
		if m.service == service {
			c.drop(p, m)
		}
	}
	p.remotes = append(p.remotes, &remote{id: id, service: service, name: name, text: text, state: proofUnseen})
	p.stated(s)
}

// publish posts what a proof asks for, or deletes it, and has the server look.
func (c *town) publish(ctx context.Context, p *person, s *seat) {
	if len(p.remotes) == 0 {
		return
	}
	m := p.remotes[c.rng.IntN(len(p.remotes))]
	var err error
	switch {
	case c.rng.IntN(4) == 0: // only look
	case m.post == "" && m.service == "rooter":
		m.post, err = c.post(ctx, s, "rooter", url.Values{"post": {m.text}, "username": {m.name}}, "post_id")
	case m.post == "":
		m.post, err = c.post(ctx, s, "gubble_universe/"+strings.ReplaceAll(m.service, ".", "_"), url.Values{
			"username": {m.name}, "kb_username": {p.name}, "sig_hash": {m.id},
		}, "redirect")
	case m.service == "rooter":
		_, err = s.Server().Post(ctx, "rooter/delete", url.Values{"post_id": {m.post}}, s.NIST(s.Device))
		m.post = ""
	}
	if err != nil {
		c.t.Errorf("step %d, %s: post at %s: %v", c.steps, p.name, m.service, err)
		return
	}
	c.lookFor(ctx, p, s.Account, m)
}

// lookFor has the server look for a proof.
func (c *town) lookFor(ctx context.Context, p *person, s *client.Account, m *remote) {
	c.now.Advance(lookAgain)
	want := 0
	if m.over {
		want = codeNotFound
	}
	ok, state, _, err := s.LookFor(ctx, m.id)
	if !c.expect(p, "look for a proof", want, err) {
		return
	}
	m.looked(c.now.Now())
	c.counts(p, m)
	if state != m.state || ok != (m.post != "") {
		c.t.Errorf("step %d, %s: %s of %s at %s is in state %d, seen %t, want %+v", c.steps, p.name, m.id, m.name, m.service, state, ok, m)
	}
}

// decide has the server look for what it has missed until that is gone, when somebody
// leaves the town: it would look again by itself, much later.
func (c *town) decide(ctx context.Context, p *person) {
	var a *client.Account
	for _, m := range p.remotes {
		for !m.over && m.state == proofMissed && !c.t.Failed() {
			var err error
			if a == nil {
				if a, err = client.Login(ctx, c.eyes, p.name, "", p.secret); !c.expect(p, "log in", 0, err) {
					return
				}
			}
			c.lookFor(ctx, p, a, m)
		}
	}
}

// looked is what the server makes of what it sees.
func (m *remote) looked(now time.Time) {
	switch {
	case m.post != "":
		m.state, m.missed = proofSeen, 0
		if m.since.IsZero() {
			m.since = now
		}
	case m.state == proofUnseen:
	default:
		if m.missed++; m.missed >= missedForAll || m.state == proofGone {
			m.state, m.since = proofGone, time.Time{}
		} else {
			m.state = proofMissed
		}
	}
}

func (c *town) post(ctx context.Context, s *seat, endpoint string, args url.Values, field string) (string, error) {
	reply, err := s.Server().Post(ctx, endpoint, args, s.NIST(s.Device))
	if err != nil {
		return "", err
	}
	return strings.Trim(string(reply.Field(field)), `"`), nil
}

// lookRemotes asks who has proven the names that somebody claims: those have who have
// proven it last.
func (c *town) lookRemotes(ctx context.Context, p *person) error {
	for _, m := range p.remotes {
		owners, err := c.eyes.WhoHas(ctx, m.service, m.name)
		if err != nil && client.StatusCode(err) != codeNotFound {
			return err
		}
		held := c.claims[placeOf(m.service, m.name)]
		latest := slices.MaxFunc(append(slices.Collect(maps.Values(held)), time.Time{}), time.Time.Compare)
		switch {
		case len(held) == 0 && len(owners) == 0:
		case len(held) > 0 && len(owners) == 1 && slices.ContainsFunc(slices.Collect(maps.Keys(held)), func(u client.UID) bool {
			return u.String() == owners[0] && held[u].Equal(latest)
		}):
		default:
			return fmt.Errorf("%s at %s is of %v, want one of the newest of %v", m.name, m.service, owners, held)
		}
	}
	return nil
}
