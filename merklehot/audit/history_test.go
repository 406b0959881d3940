package audit

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/bench/client"
)

// member is an actor of a random history.
type member struct {
	*actor
	devices  []*client.Device
	follows  map[*member]*client.SignedLink
	ekOf     int              // user ephemeral keys made
	ekHolder []*client.Device // devices with an ephemeral key of their own
}

// history is a random history of a world.
type history struct {
	*world
	members []*member
	names   int
}

// Whatever users do, in whatever order, with restarts between, the audit finds no
// problem: it has no false alarms.
func TestAnyHistoryPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{world: newWorld(t, rapid.Byte().Draw(t, "seed"))}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			h.step(t)
		}
		out, err := h.audit(Options{Paths: AllPaths})
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}

func (h *history) step(t *rapid.T) {
	able := slices.DeleteFunc(slices.Clone(h.members), func(m *member) bool { return len(m.devices) == 0 })
	kind := rapid.IntRange(0, 12).Draw(t, "what")
	if kind <= 1 || len(h.members) == 0 {
		h.names++
		h.members = append(h.members, &member{actor: h.signUp(fmt.Sprintf("user%d", h.names), ""), follows: map[*member]*client.SignedLink{}})
		return
	}
	if kind == 2 {
		h.clock.Advance(time.Duration(rapid.IntRange(-10, 7200).Draw(t, "seconds")) * time.Second)
		h.must(h.seq.Heartbeat(t.Context()))
		return
	}
	if kind == 3 {
		h.restart()
		return
	}
	if kind == 4 || len(able) == 0 {
		m := rapid.SampledFrom(h.members).Draw(t, "new")
		if len(m.devices) == 0 {
			d := h.device("first device", "desktop")
			m.begin(d)
			m.devices = append(m.devices, d)
		}
		return
	}
	m := rapid.SampledFrom(able).Draw(t, "who")
	h.act(t, m, kind, rapid.SampledFrom(m.devices).Draw(t, "device"))
}

// act lets m do something with one of its devices.
func (h *history) act(t *rapid.T, m *member, kind int, by *client.Device) {
	other := rapid.SampledFrom(h.members).Draw(t, "whom")
	switch kind {
	case 5:
		d := h.device(fmt.Sprintf("device %d", m.seqno), rapid.SampledFrom([]string{"desktop", "mobile", "backup"}).Draw(t, "type"))
		m.add(d, by)
		m.devices = append(m.devices, d)
	case 6:
		if gone := rapid.SampledFrom(m.devices).Draw(t, "gone"); gone != by {
			m.drop(gone)
			m.roll(gone, by, m.devices...)
		}
	case 7:
		m.roll(nil, by, m.devices...)
	case 8, 9:
		if m != other {
			m.follow(other.actor, by)
			m.follows[other] = m.links[len(m.links)-1]
		}
	case 10:
		if l := m.follows[other]; l != nil && rapid.Bool().Draw(t, "by signature") {
			m.revokeLink(l, by)
		} else if l != nil {
			m.unfollow(other.actor, by)
		}
		delete(m.follows, other)
	case 11:
		m.deviceEK(by)
		if !slices.Contains(m.ekHolder, by) {
			m.ekHolder = append(m.ekHolder, by)
		}
	case 12:
		m.ekOf++
		m.userEK(m.ekOf, m.ekHolder...)
	}
}

func (m *member) drop(gone *client.Device) {
	is := func(d *client.Device) bool { return d == gone }
	m.devices = slices.DeleteFunc(m.devices, is)
	m.ekHolder = slices.DeleteFunc(m.ekHolder, is)
}
