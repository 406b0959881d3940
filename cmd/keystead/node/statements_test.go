package node

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/keystead/keystead/bench/client"
)

// The deeds here are statements of people about themselves and each other.

// pair is who vouches, and for whom.
type pair struct{ voucher, vouchee client.UID }

// vouched is the newest vouch between two, as it should be.
type vouched struct {
	id       string
	reaction string // its id; empty: none
	accepted bool
}

// Statuses of vouches.
const (
	vouchProposed = 1 + iota
	vouchAccepted
	vouchRejected
	vouchRevoked
)

func (v vouched) status() int {
	switch {
	case v.reaction == "":
		return vouchProposed
	case v.accepted:
		return vouchAccepted
	}
	return vouchRejected
}

// said lists the ids of everything that somebody has stated and not taken back.
func (c *town) said(p *person) []string {
	var out []string
	for _, ids := range p.follows {
		out = append(out, ids...)
	}
	out = append(out, p.money...)
	for _, m := range p.remotes {
		out = append(out, m.id)
	}
	for who, v := range c.vouches {
		if who.voucher == p.uid {
			out = append(out, v.id)
		}
		if who.vouchee == p.uid && v.reaction != "" {
			out = append(out, v.reaction)
		}
	}
	slices.Sort(out)
	return out
}

// forget takes back what has the id.
func (c *town) forget(p *person, id string) {
	for them, ids := range p.follows {
		if ids[len(ids)-1] == id { // the one before it is listed anew
			p.saw[them] = c.lives[them]
		}
		p.follows[them] = slices.DeleteFunc(ids, func(other string) bool { return other == id })
		if len(p.follows[them]) == 0 {
			delete(p.follows, them)
		}
	}
	p.money = slices.DeleteFunc(p.money, func(other string) bool { return other == id })
	if m := p.remote(id); m != nil {
		c.drop(p, m)
		p.remotes = slices.DeleteFunc(p.remotes, func(other *remote) bool { return other == m })
	}
	for who, v := range c.vouches {
		switch id {
		case v.id:
			delete(c.vouches, who)
		case v.reaction:
			c.vouches[who] = vouched{id: v.id}
		}
	}
	p.over = append(p.over, id)
}

// stated notes that a device has made a link.
func (p *person) stated(s *seat) {
	p.links++
	s.known = p.links
}

func (c *town) currency(ctx context.Context, p *person, s *seat) {
	addresses := map[string]string{
		"3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy": "bitcoin", "bc1qcerjvfmt8qr8xlp6pv4htjhwlj2wgdjnayc3cc": "bitcoin",
		"t1c3Ebc6FBbWuirNrjJ6HbS4KHLb6Dbh5xL": "zcash.t", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLx": "bitcoin",
	}
	all := slices.Sorted(maps.Keys(addresses))
	address := all[c.rng.IntN(len(all))]
	instead := ""
	if said := c.said(p); len(said) > 0 && c.rng.IntN(3) == 0 {
		instead = said[c.rng.IntN(len(said))]
	}
	want := s.want(p)
	if address == "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLx" { // its checksum is wrong
		want = codeInput
	}
	id, err := s.Currency(ctx, addresses[address], address, instead)
	if c.expect(p, "currency", want, err) {
		if instead != "" {
			c.forget(p, instead)
		}
		p.money = append(p.money, id)
		p.stated(s)
	}
}

func (c *town) wallet(ctx context.Context, p *person, s *seat) {
	seed := client.Seed{byte(c.steps), byte(c.steps >> 8), 1}
	if c.expect(p, "wallet", s.want(p), s.SetWallet(ctx, client.NewSigningKey(seed))) {
		p.stated(s)
	}
}

func (c *town) rename(ctx context.Context, p *person, s *seat) {
	active := p.active()
	id := active[c.rng.IntN(len(active))]
	if s.Me.Family.Device(id) == nil {
		return // the device does not know of the other one
	}
	name := fmt.Sprintf("renamed %d", c.rng.IntN(p.links))
	want := s.want(p)
	if want == 0 && p.names[plain(name)] && plain(p.nameOf[id]) != plain(name) {
		want = codeDeviceNameInUse
	}
	if c.expect(p, "rename a device", want, s.RenameDevice(ctx, id, name)) {
		delete(p.names, plain(p.nameOf[id]))
		p.names[plain(name)], p.nameOf[id] = true, name
		p.stated(s)
	}
}

func (c *town) vouch(ctx context.Context, p *person, s *seat) {
	them, err := s.Verifier.LoadUser(ctx, c.other(p), client.LoadOptions{})
	if err != nil {
		c.t.Errorf("look at whom to vouch for: %v", err)
		return
	}
	who := pair{p.uid, them.UID}
	old, again := c.vouches[who]
	instead := ""
	if again && c.rng.IntN(3) > 0 {
		instead = old.id
	}
	want := s.want(p)
	if want == 0 && again && instead == "" {
		want = codeInput
	}
	id, err := s.Vouch(ctx, them, fmt.Sprintf("met at step %d <&>", c.steps), instead)
	if c.expect(p, "vouch", want, err) {
		if again {
			c.forget(p, old.id)
		}
		c.vouches[who] = vouched{id: id}
		p.stated(s)
	}
}

func (c *town) react(ctx context.Context, p *person, s *seat) {
	var mine []pair
	for who := range c.vouches {
		if who.vouchee == p.uid {
			mine = append(mine, who)
		}
	}
	if len(mine) == 0 {
		return
	}
	slices.SortFunc(mine, func(a, b pair) int { return slices.Compare(a.voucher[:], b.voucher[:]) })
	who := mine[c.rng.IntN(len(mine))]
	v := c.vouches[who]
	accept := c.rng.IntN(3) > 0
	want := s.want(p)
	if want == 0 && (v.status() == vouchRejected || v.status() == vouchAccepted && accept) {
		want = codeInput
	}
	id, err := s.React(ctx, v.id, accept)
	if c.expect(p, "react", want, err) {
		// A reaction that another took the place of can still be taken back, which
		// nobody sees.
		c.vouches[who] = vouched{v.id, id, accept}
		p.stated(s)
	}
}

// web compares what the server says of the vouches for somebody with the model.
func (c *town) web(ctx context.Context, p *person, s *seat) error {
	rows, err := s.WebOfTrust(ctx, p.name, "")
	if err != nil {
		return err
	}
	got, want := map[string]int{}, map[string]int{}
	for _, r := range rows {
		if r.Status != vouchRevoked {
			got[r.SigID] = r.Status
		}
	}
	for who, v := range c.vouches {
		if who.vouchee == p.uid {
			want[v.id] = v.status()
		}
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("vouches %v, want %v", got, want)
	}
	return nil
}
