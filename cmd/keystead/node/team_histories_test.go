package node

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/clock"
)

const (
	souls       = 8   // at a time
	soulsMin    = 5   // or all begin anew
	realmSteps  = 350 // then all begin anew
	crewsMax    = 14  // live ones
	linksOfCrew = 130 // then it is left alone
	anewOneIn   = 40  // replays from the beginning by new eyes
	freshOneIn  = 8   // replays from the beginning by eyes that know the people
)

// Codes by which posts of teams are refused.
const (
	codeWrongKey     = 1008
	codeOrder        = 1022
	codeRatchet      = 1021
	codeLeased       = 1016
	codeMembership   = 2604
	codeNoTeam       = 2614
	codeTeamExists   = 2619
	codeRead         = 2623
	codeWritePerm    = 2625
	codeGeneration   = 2634
	codeBadCancel    = 2645
	codeBadToken     = 2646
	codeNotCompleted = 2648
	codeAskedTwice   = 2663
	codeNotAsked     = 2664
	codeMemberExists = 2665
	codeLeftForGood  = 2667
	codeLiveChildren = 2669
	codeUserName     = 2672
	codeNeedOwner    = 2674
	codeNoOwners     = 2675
	codeImplicitTwin = 2680
	codeImplicitOp   = 2681
	codeImplicitRole = 2682
	codeBannedHere   = 2702
	codeBadName      = 711
)

// realm is everybody on one server and all their teams.
type realm struct {
	t     *testing.T
	ctx   context.Context
	r     *run
	w     *client.Witness
	eyes  *client.Verifier // those of everybody who acts: they verify what is new to them
	now   *clock.Fake
	rng   *rand.Rand
	names names
	all   []*soul
	crews []*crew
	// called are the implicit teams by publicness and people.
	called map[string]*crew
	before *client.Root // from before all teams of now
	realms int
	born   int // steps when the newest began
	steps  int
	did    map[string][2]int // by deed: accepted, refused
	looked [3]int            // replays: from what was known, from the beginning, by new eyes
	denied int
	audits int
}

// TestTeamHistories proves that a server accepts of teams what it should and nothing else:
// random histories of people with several devices, their teams, subteams and
// conversations, in which they do what they may and try what they may not, with stale
// views, after resets and revocations, and two at the same time, agree with a small model
// after each step. After each step somebody who may read the team replays its chain: all
// links are parsed once by each pair of eyes and played each time from the first to the
// last against roles, keys, invitations and names of the model; who signed what when is
// proven in the tree for links that are new to these eyes. Every 8th time or so they
// forget the team first, every 40th time these are eyes that know nothing and nobody; at
// the end of each realm such eyes read all its teams. Somebody who may not read it is
// refused. The audit, which plays all chains too, is clean at the end and now and then.
func TestTeamHistories(t *testing.T) {
	t.Parallel()
	most := figure(stepsFlag, 300, 80)
	if most < longRun {
		teamHistories(t, *seedFlag, most)
		return
	}
	// A long run is several on servers of their own, side by side.
	const runs = 4
	all := make([]*realm, runs)
	t.Run("side by side", func(t *testing.T) {
		for i := range runs {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				all[i] = teamHistories(t, *seedFlag*runs+uint64(i), (most+runs-1)/runs)
			})
		}
	})
	sum := &realm{t: t, did: map[string][2]int{}}
	for _, c := range all {
		sum.add(c)
	}
	sum.tell()
}

// teamHistories is one run of random histories.
func teamHistories(t *testing.T, seed uint64, most int) *realm {
	l := newRoomyLab(t)
	now := clock.NewFake(time.Now())
	l.clock, l.time = now.Now, now.Now
	c := &realm{
		t: t, ctx: t.Context(), r: l.mustStart(t), w: strictWitness(), now: now,
		rng: rand.New(rand.NewPCG(seed, 6)), did: map[string][2]int{},
	}
	for c.steps < most && !t.Failed() {
		if c.realms == 0 || c.full() {
			c.lookAtAll()
			c.begin()
		}
		c.step()
	}
	c.lookAtAll()
	c.audit()
	c.r.mustStop(t)
	c.tell()
	return c
}

func (c *realm) audit() {
	c.audits++
	if err := c.r.audit(); err != nil {
		c.t.Error(err)
	}
}

// add counts what another run did.
func (c *realm) add(o *realm) {
	c.steps, c.realms, c.denied, c.audits = c.steps+o.steps, c.realms+o.realms, c.denied+o.denied, c.audits+o.audits
	for i := range c.looked {
		c.looked[i] += o.looked[i]
	}
	for deed, n := range o.did {
		c.did[deed] = [2]int{c.did[deed][0] + n[0], c.did[deed][1] + n[1]}
	}
}

// tell says what was done.
func (c *realm) tell() {
	accepted, refused := 0, 0
	for _, deed := range slices.Sorted(maps.Keys(c.did)) {
		n := c.did[deed]
		accepted, refused = accepted+n[0], refused+n[1]
		c.t.Logf("%6d accepted, %6d refused: %s", n[0], n[1], deed)
	}
	c.t.Logf("%d steps in %d realms: %d accepted, %d refused as they should be; replays: %d from what was known, %d from the beginning, %d by new eyes; %d times somebody else was refused; %d audits",
		c.steps, c.realms, accepted, refused, c.looked[0], c.looked[1], c.looked[2], c.denied, c.audits)
}

// full reports that chains have become long and people few.
func (c *realm) full() bool {
	here := 0
	for _, s := range c.all {
		if s.here() {
			here++
		}
	}
	return here < soulsMin-2 || c.steps-c.born >= realmSteps
}

// begin has new people come, and forgets the old ones and their teams.
func (c *realm) begin() {
	if c.realms%16 == 0 && c.realms > 0 {
		c.audit()
		c.t.Logf("%d steps", c.steps)
	}
	c.realms++
	c.born = c.steps
	c.eyes = c.r.verifier(c.w)
	c.all, c.crews, c.called = nil, nil, map[string]*crew{}
	for range souls {
		s := &soul{name: c.names.next(), devices: 1}
		var err error
		s.Account, err = client.Signup(c.ctx, c.eyes, client.SignupOptions{
			Name: s.name, Stream: client.CheapStream([]byte(s.name)), DeviceName: "device 1",
		})
		if err != nil {
			c.t.Fatal(err)
		}
		c.all = append(c.all, s)
		if c.before == nil || len(c.all) == 1 {
			c.before = c.eyes.LastRoot()
		}
	}
	for range 2 {
		c.makeTeam()
	}
}

// step is one deed of somebody, and a look at what became of the team.
func (c *realm) step() {
	c.now.Advance(time.Millisecond + time.Duration(c.rng.Int64N(int64(stepTakes))))
	b := c.someCrew()
	if b == nil || c.rng.IntN(30) == 0 && len(c.alive()) < crewsMax {
		c.makeTeam()
		return
	}
	n := c.steps
	total := 0
	for _, d := range deeds {
		total += d.weight
	}
	x := c.rng.IntN(total)
	for _, d := range deeds {
		if x -= d.weight; x < 0 {
			if d.kind == anyCrew || (d.kind == implicitCrew) == b.implicit {
				d.do(c, b)
			}
			break
		}
	}
	if c.steps > n {
		c.look(b)
	}
}

// kinds of teams that deeds are for.
const (
	plainCrew = iota
	implicitCrew
	anyCrew
)

type deed struct {
	weight int
	kind   int
	do     func(*realm, *crew)
}

// deeds are what may happen to a team.
var deeds []deed

func init() {
	deeds = []deed{
		{14, plainCrew, (*realm).changeRole}, {6, plainCrew, (*realm).removeMember}, {4, plainCrew, (*realm).changeSeveral},
		{3, plainCrew, (*realm).leaveTeam}, {4, plainCrew, (*realm).makeSubteam}, {3, plainCrew, (*realm).renameSubteam},
		{2, plainCrew, (*realm).deleteTeam}, {4, anyCrew, (*realm).rotate}, {3, anyCrew, (*realm).rotateHidden},
		{6, plainCrew, (*realm).invite}, {2, plainCrew, (*realm).cancelInvite}, {5, plainCrew, (*realm).completeInvite},
		{3, plainCrew, (*realm).answerInvite}, {2, plainCrew, (*realm).openTeam}, {2, plainCrew, (*realm).closeTeam},
		{5, plainCrew, (*realm).askToJoin}, {2, plainCrew, (*realm).ignoreRequest}, {2, plainCrew, (*realm).setBots},
		{1, anyCrew, (*realm).tieFolder}, {1, anyCrew, (*realm).reset}, {2, anyCrew, (*realm).beginAgain},
		{2, anyCrew, (*realm).revoke}, {1, anyCrew, (*realm).roll}, {12, plainCrew, (*realm).forbidden},
		{6, anyCrew, (*realm).stale}, {10, plainCrew, (*realm).race}, {4, plainCrew, (*realm).raceLease},
		{3, anyCrew, (*realm).raceKeys}, {20, implicitCrew, (*realm).replaceMember}, {10, implicitCrew, (*realm).completeImplicit},
		{10, implicitCrew, (*realm).changeBot}, {8, implicitCrew, (*realm).forbiddenImplicit}, {4, implicitCrew, (*realm).findImplicit},
		{3, implicitCrew, (*realm).twin}, {2, plainCrew, (*realm).deleteAccount},
	}
}

// expect compares what the server did with what the model says: want is 0 or the code of
// a refusal. A client that refuses by itself is no answer of the server.
func (c *realm) expect(b *crew, deed string, want int, err error) (accepted bool) {
	got := 0
	if err != nil {
		got = client.StatusCode(err)
	}
	c.steps++
	n := c.did[deed]
	if err == nil {
		n[0]++
	} else {
		n[1]++
	}
	c.did[deed] = n
	if got != want {
		name := ""
		if b != nil {
			name = fmt.Sprintf("%s with %d links", b.full(), len(b.kinds))
		}
		c.t.Errorf("step %d, %s, %s: %d %v, want %d", c.steps, deed, name, got, err, want)
	}
	return err == nil
}

// act loads a team as somebody and does something to it.
func (c *realm) act(s *soul, b *crew, deed string, want int, do func(*client.Team) error) bool {
	t, err := c.load(s, b)
	if err != nil {
		c.t.Errorf("step %d, %s loads %s: %v", c.steps, s.name, b.full(), err)
		return false
	}
	return c.expect(b, deed, want, do(t))
}

// load loads a team at any device of somebody.
func (c *realm) load(s *soul, b *crew) (*client.Team, error) {
	c.seat(s)
	return s.LoadTeam(c.ctx, b.id, client.TeamOptions{})
}

// seat puts somebody before one of their devices.
func (c *realm) seat(s *soul) {
	ids := slices.SortedFunc(maps.Keys(s.Devices), func(a, b client.DeviceID) int { return slices.Compare(a[:], b[:]) })
	s.Device = s.Devices[ids[c.rng.IntN(len(ids))]]
}

// pick is one of those who are so, nil if nobody is.
func (c *realm) pick(is func(*soul) bool) *soul {
	var some []*soul
	for _, s := range c.all {
		if s.here() && is(s) {
			some = append(some, s)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return some[c.rng.IntN(len(some))]
}

func (c *realm) alive() []*crew {
	return slices.DeleteFunc(slices.Clone(c.crews), func(b *crew) bool { return b.gone })
}

// someCrew is one of the live teams with room in their chains.
func (c *realm) someCrew() *crew {
	some := slices.DeleteFunc(c.alive(), func(b *crew) bool { return len(b.kinds)+b.hidden > linksOfCrew })
	if len(some) == 0 {
		return nil
	}
	return some[c.rng.IntN(len(some))]
}

func (c *realm) nameOf(u client.UID) string {
	for _, s := range c.all {
		if s.UID == u {
			return s.name
		}
	}
	return "nobody"
}

// look compares a team with the model: somebody who may read it does, and somebody who
// may not is refused.
func (c *realm) look(b *crew) {
	if s := c.pick(b.reads); s != nil {
		switch {
		case c.rng.IntN(anewOneIn) == 0:
			c.lookAnew(b, s)
		case c.rng.IntN(freshOneIn) == 0:
			c.seat(s)
			c.replay(b, s, s.Account, client.TeamOptions{Fresh: true}, 1)
		default:
			c.seat(s)
			c.replay(b, s, s.Account, client.TeamOptions{}, 0)
		}
	}
	if s := c.pick(func(s *soul) bool { return !b.reads(s) }); s != nil {
		c.seat(s)
		if _, err := s.LoadTeam(c.ctx, b.id, client.TeamOptions{}); client.StatusCode(err) != codeRead {
			c.t.Errorf("step %d, %s loads %s, of which %s is nothing: %v", c.steps, s.name, b.full(), s.name, err)
		}
		c.denied++
	}
}

// anew is somebody who remembers keys and nothing else.
func (c *realm) anew(s *soul) (*client.Account, error) {
	c.seat(s)
	a := &client.Account{
		Verifier: c.r.verifier(c.w), Username: s.name, UID: s.UID, Salt: s.Salt, Stream: s.Stream, Generation: s.Generation,
		Device: s.Device, Devices: map[client.DeviceID]*client.Device{s.Device.ID: s.Device},
	}
	return a, a.FetchPUKs(c.ctx, s.Device)
}

func (c *realm) lookAnew(b *crew, s *soul) {
	a, err := c.anew(s)
	if err != nil {
		c.t.Errorf("step %d, %s with new eyes: %v", c.steps, s.name, err)
		return
	}
	c.replay(b, s, a, client.TeamOptions{}, 2)
}

func (c *realm) lookAtAll() {
	for _, b := range c.crews {
		if s := c.pick(b.reads); s != nil && !b.gone {
			c.lookAnew(b, s)
		}
	}
}

// replay loads a team and compares it.
func (c *realm) replay(b *crew, s *soul, a *client.Account, o client.TeamOptions, kind int) {
	t, err := a.LoadTeam(c.ctx, b.id, o)
	if err != nil {
		c.t.Errorf("step %d, %s replays %s (%d): %v", c.steps, s.name, b.full(), kind, err)
		return
	}
	c.looked[kind]++
	if wrong := b.compare(t, s, kind > 0); wrong != "" {
		c.t.Errorf("step %d, %s replays %s (%d): %s", c.steps, s.name, b.full(), kind, wrong)
	}
}

// compare says how a team differs from the model in the eyes of somebody.
func (b *crew) compare(t *client.Team, s *soul, direct bool) string {
	var wrong []string
	differ := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if t.Name != b.full() {
		differ("it is called %q", t.Name)
	}
	if !maps.Equal(t.Members(), b.roles) {
		differ("members %v, want %v", t.Members(), b.roles)
	}
	if len(t.Links) != len(b.kinds) {
		differ("%d links, want %d", len(t.Links), len(b.kinds))
		return strings.Join(wrong, "; ")
	}
	if b.keys(s) {
		hidden := client.Seqno(0)
		if t.HiddenTail != nil {
			hidden = t.HiddenTail.Seqno
		}
		if t.Key() == nil || t.Key().Generation != b.gen || hidden != client.Seqno(b.hidden) {
			differ("key %v after %d hidden links, want %d after %d", t.Key(), hidden, b.gen, b.hidden)
		}
	}
	if t.Open != b.open || b.open && t.JoinAs != b.joinAs {
		differ("open %v as %s, want %v as %s", t.Open, t.JoinAs, b.open, b.joinAs)
	}
	if len(t.TLFs) != b.tlfs {
		differ("%d folders, want %d", len(t.TLFs), b.tlfs)
	}
	bots := map[client.UserVersion]bool{}
	for u := range t.Bots {
		bots[u] = true
	}
	if !maps.Equal(bots, b.bots) {
		differ("settings of bots %v, want %v", bots, b.bots)
	}
	for i, k := range b.kinds {
		own := b.whole(s) || !k.invite && (k.sub == nil || k.sub.within(s))
		if got := t.Links[i].Stubbed; got && own || !got && !own && direct {
			differ("link %d is stubbed: %v", i+1, got)
		}
	}
	if b.whole(s) {
		wrong = append(wrong, b.compareWhole(t)...)
	}
	return strings.Join(wrong, "; ")
}

// compareWhole compares what only those see who see all links.
func (b *crew) compareWhole(t *client.Team) (wrong []string) {
	differ := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	active := 0
	for id, i := range t.Invites {
		if !i.Active {
			continue
		}
		active++
		if k := b.tickets[id]; k == nil || k.role != i.Role || k.uses != i.Uses || k.max != i.MaxUses || k.typ != i.Type {
			differ("invitation %+v, want %+v", i, k)
		}
	}
	if active != len(b.tickets) {
		differ("%d invitations, want %d", active, len(b.tickets))
	}
	live := 0
	for id := range t.Subteams {
		if !t.Gone[id] {
			live++
		}
	}
	if live != len(b.live()) {
		differ("%d subteams, want %d", live, len(b.live()))
	}
	for _, sub := range b.live() {
		points := t.Subteams[sub.id]
		if t.Gone[sub.id] || len(points) == 0 || !strings.HasSuffix(points[len(points)-1].Name, "."+sub.name) {
			differ("subteam %s is called %v", sub.name, points)
		}
	}
	return wrong
}
