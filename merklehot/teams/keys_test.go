package teams_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/stage"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// wrongs are what may be wrong about boxes, and how that is refused; of those that are about
// one box, i says about which.
var wrongs = []struct {
	what string
	kind teamchain.Kind
	one  bool
	do   func(c *cast, b *kbsig.TeamBoxes, i int)
}{
	{"a box is missing", teamchain.KindGeneration, true, func(_ *cast, b *kbsig.TeamBoxes, i int) { b.Boxes = slices.Delete(b.Boxes, i, i+1) }},
	{"a box is for an old per-user key", teamchain.KindGeneration, true, func(_ *cast, b *kbsig.TeamBoxes, i int) { b.Boxes[i].PUKSeqno-- }},
	{"a box is for a guest", teamchain.KindGeneration, false, func(c *cast, b *kbsig.TeamBoxes, _ int) {
		b.Boxes = append(b.Boxes, kbsig.TeamBox{User: c.Someone("guest").UID, PUKSeqno: 3, Counter: 99})
	}},
	{"a box is for a restricted bot", teamchain.KindGeneration, false, func(c *cast, b *kbsig.TeamBoxes, _ int) {
		b.Boxes = append(b.Boxes, kbsig.TeamBox{User: c.Someone("spy").UID, PUKSeqno: 3, Counter: 99})
	}},
	{"the generation before", teamchain.KindGeneration, false, func(_ *cast, b *kbsig.TeamBoxes, _ int) { b.Generation-- }},
	{"a generation to come", teamchain.KindGeneration, false, func(_ *cast, b *kbsig.TeamBoxes, _ int) { b.Generation++ }},
	{"the seed before, or none", teamchain.KindBoxes, false, func(_ *cast, b *kbsig.TeamBoxes, _ int) {
		b.Prev = strings.TrimPrefix("a seed"+b.Prev, "a seedthe seed before, sealed")
	}},
	{"sealed by somebody else", teamchain.KindBoxes, false, func(c *cast, b *kbsig.TeamBoxes, _ int) {
		b.Sender = kbsig.KID(c.Someone("guest").Devices[0].Enc.KID())
	}},
	{"sealed by a key that signs", teamchain.KindBoxes, false, func(c *cast, b *kbsig.TeamBoxes, _ int) {
		b.Sender = kbsig.KID(c.Someone("alice").Devices[0].Sig.KID())
	}},
}

// ways are those in which people get a key.
var ways = map[string]func(c *cast, alice *stage.Person) *stage.Draft{
	"a rotation":                  func(c *cast, alice *stage.Person) *stage.Draft { return alice.Rotate(c.team) },
	"a hidden one":                func(c *cast, alice *stage.Person) *stage.Draft { return alice.RotateHidden(c.team) },
	"a rotation of a subteam":     func(c *cast, alice *stage.Person) *stage.Draft { return alice.Rotate(c.sub) },
	"a hidden one of a subteam":   func(c *cast, alice *stage.Person) *stage.Draft { return alice.RotateHidden(c.sub) },
	"a newcomer":                  func(c *cast, alice *stage.Person) *stage.Draft { return alice.Change(c.team, c.come(false)) },
	"a newcomer, with a rotation": func(c *cast, alice *stage.Person) *stage.Draft { return alice.Change(c.team, c.come(true)) },
	"the first key of a new subteam": func(c *cast, alice *stage.Person) *stage.Draft {
		_, d := alice.CreateSub(c.sub, "web", teamchain.RoleWriter)
		return d
	},
}

func (c *cast) come(rotate bool) stage.Change {
	return stage.Change{Rotate: rotate, Members: []stage.Member{c.as("dave", teamchain.RoleAdmin)}}
}

// TestKeysReachThoseWhoAreToHaveThem proves, for each way in which a key is given, after a
// member has got another per-user key or was reset, that with anything wrong about the
// boxes nothing of the post is taken; and that boxes for just those who are to have the key
// are, and are kept, each for the newest per-user key.
func TestKeysReachThoseWhoAreToHaveThem(t *testing.T) {
	befores := map[string]func(*stage.Person){
		"nothing":     func(*stage.Person) {},
		"another key": (*stage.Person).Roll,
		"a reset":     func(p *stage.Person) { p.End(sigchain.KindReset) },
	}
	for before, what := range befores {
		for way, draft := range ways {
			t.Run(way+" after "+before, func(t *testing.T) {
				c := newCast(t, 1)
				what(c.Someone("carol"))
				alice := c.Someone("alice")
				try := func(wrong func(*kbsig.TeamBoxes)) (*stage.Draft, teamchain.Kind) {
					d := draft(c, alice)
					summary := d.Post.Keys.Summary
					wrong(d.Post.Keys)
					d.Post.Keys.Summary = summary // so that it is not the summary which tells
					return d, kind(d)
				}
				n := len(draft(c, alice).Post.Keys.Boxes)
				for _, wrong := range wrongs {
					for i := range n {
						if _, got := try(func(b *kbsig.TeamBoxes) { wrong.do(c, b, i) }); got != wrong.kind {
							t.Errorf("%s: kind %d, want %d", wrong.what, got, wrong.kind)
						}
						if !wrong.one {
							break
						}
					}
				}
				d, got := try(func(*kbsig.TeamBoxes) {})
				if got != teamchain.KindNone {
					t.Fatalf("with nothing wrong: kind %d", got)
				}
				c.checkBoxes(t, d)
			})
		}
	}
}

// checkBoxes looks whether a post's boxes are kept.
func (c *cast) checkBoxes(t *testing.T, d *stage.Draft) {
	var about kbsig.TeamID
	if i := d.Post.Items[len(d.Post.Items)-1]; i.Visible != nil {
		about = i.Visible.Team
	} else {
		about = i.Hidden.Team
	}
	c.Read(func(v *store.View) error {
		for _, b := range d.Post.Keys.Boxes {
			eldest, err := identity.EldestSeqno(v, b.User)
			if err != nil {
				return err
			}
			kept, err := keyboxes.TeamBoxOf(v, about, b.User, eldest)
			if err != nil || kept == nil || kept.Generation != d.Post.Keys.Generation || kept.PUKSeqno != b.PUKSeqno {
				t.Errorf("the box of %s is %+v, %v", c.Plain(b.User.String()), kept, err)
			}
		}
		return nil
	})
}

// TestBoxesBesideLinks proves that links and boxes speak of each other, that keys of two
// teams do not come in one request, that who becomes an admin gets the keys below, and that
// boxes which nobody needs are refused.
func TestBoxesBesideLinks(t *testing.T) {
	c := newCast(t, 2)
	alice := c.Someone("alice")
	dave := stage.Change{Members: []stage.Member{c.as("dave", teamchain.RoleAdmin)}}
	for _, row := range []struct {
		what string
		want teamchain.Kind
		make func() *stage.Draft
	}{
		{"a rotation without boxes", teamchain.KindGeneration, func() *stage.Draft { d := alice.Rotate(c.team); d.Post.Keys = nil; return d }},
		{"a hidden one without boxes", teamchain.KindGeneration, func() *stage.Draft { d := alice.RotateHidden(c.team); d.Post.Keys = nil; return d }},
		{"a newcomer without a box", teamchain.KindGeneration, func() *stage.Draft { d := alice.Change(c.team, dave); d.Post.Keys = nil; return d }},
		{"another summary", teamchain.KindBoxes, func() *stage.Draft { d := alice.Rotate(c.team); d.Post.Keys.Summary[0] ^= 1; return d }},
		{"boxes beside a link that changes nobody", teamchain.KindGeneration, func() *stage.Draft {
			d := alice.Open(c.team, teamchain.RoleReader)
			d.Post.Keys = d.Boxes(1, false, alice.UID)
			return d
		}},
		{"no keys below for an admin", teamchain.KindGeneration, func() *stage.Draft { d := alice.Change(c.team, dave); d.Post.ImplicitKeys = nil; return d }},
		{"keys below for somebody else", teamchain.KindGeneration, func() *stage.Draft {
			d := alice.Change(c.team, dave)
			d.Post.ImplicitKeys[c.sub] = d.Boxes(1, false, c.Someone("guest").UID)
			return d
		}},
		{"keys below for nobody's sake", teamchain.KindGeneration, func() *stage.Draft {
			d := alice.Open(c.team, teamchain.RoleReader)
			d.Post.ImplicitKeys = map[kbsig.TeamID]*kbsig.TeamBoxes{c.sub: d.Boxes(1, false, alice.UID)}
			return d
		}},
		{"keys of a team that is not below", teamchain.KindGeneration, func() *stage.Draft {
			d := alice.Change(c.team, dave)
			d.Post.ImplicitKeys[c.team] = d.Boxes(1, false, c.Someone("dave").UID)
			return d
		}},
		{"keys of two teams", teamchain.KindBatch, func() *stage.Draft {
			d, other := alice.Rotate(c.team), alice.Rotate(c.sub)
			d.Post.Items = append(d.Post.Items, other.Post.Items...)
			return d
		}},
		{"something beside a hidden link", teamchain.KindInput, func() *stage.Draft {
			d := alice.RotateHidden(c.team)
			d.Post.LegacyTLF = &teams.LegacyTLF{}
			return d
		}},
		{"old keys of a folder that nothing adopts", teamchain.KindInput, func() *stage.Draft {
			d := alice.Open(c.team, teamchain.RoleReader)
			d.Post.LegacyTLF = &teams.LegacyTLF{}
			return d
		}},
		{"all as it is to be", teamchain.KindNone, func() *stage.Draft { return alice.Change(c.team, dave) }},
	} {
		if got := kind(row.make()); got != row.want {
			t.Errorf("%s: kind %d, want %d", row.what, got, row.want)
		}
	}
}

// TestLinksStandOnTheHiddenChain proves that after a hidden link visible ones commit to it,
// but for those of a restricted bot that leaves and cannot see it; and that nothing is
// explained that no link says.
func TestLinksStandOnTheHiddenChain(t *testing.T) {
	c := newCast(t, 10)
	alice, spy := c.Someone("alice"), c.Someone("spy")
	bare := func() *stage.Draft {
		return alice.Draft().Link(c.team, "team.settings", stage.Obj{
			"settings": stage.Obj{"open": stage.Obj{"enabled": false}}, "admin": stage.Obj{"team_id": c.team.String(), "seqno": 1, "seq_type": 3},
		})
	}
	early := bare()
	must(c.Stage, alice.RotateHidden(c.team))
	if err := early.Send(); hidden.KindOf(err) != hidden.KindNoRatchet {
		t.Errorf("a link that does not commit to the hidden chain: %v", err)
	}
	unexplained := bare()
	unexplained.Post.Blindings = nil
	if err := unexplained.Send(); hidden.KindOf(err) != hidden.KindRatchet {
		t.Errorf("a ratchet that nothing explains: %v", err)
	}
	idle := bare()
	idle.Post.Blindings = append(idle.Post.Blindings, kbsig.Blinding{})
	if got := kind(idle); got != teamchain.KindInput {
		t.Errorf("a blinding key of no ratchet: kind %d", got)
	}
	beside := alice.RotateHidden(c.team)
	beside.Post.Blindings = bare().Post.Blindings
	if got := kind(beside); got != teamchain.KindInput {
		t.Errorf("a blinding key beside a hidden link: kind %d", got)
	}
	must(c.Stage, bare())
	must(c.Stage, spy.Blind().Link(c.team, "team.leave", stage.Obj{}))
}
