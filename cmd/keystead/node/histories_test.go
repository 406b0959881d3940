package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/clock"
)

const (
	people       = 6  // at a time
	linksPerUser = 60 // then somebody else comes
	linksOfElder = 200
	elderOneIn   = 25   // people in long runs
	longRun      = 5000 // steps
	looksEvery   = 40   // steps between two looks at somebody by new eyes
	racersMax    = 3
)

// Codes by which a server refuses.
const (
	codeInput           = 100
	codeBadSession      = 202
	codeKeyNotFound     = 901
	codeSameVersion     = 921
	codeSibkeyExists    = 922
	codeKeyRevoked      = 931
	codeOldSeqno        = 1010
	codeDeviceNameInUse = 1408
)

// model is what an account should be, by rules of its own: one page that shares no code
// with the server.
type model struct {
	links   int
	devices map[client.DeviceID]bool // true: active
	names   map[string]bool          // of devices, in their comparable form
	puk     int
	nameOf  map[client.DeviceID]string
	follows map[client.UID][]string // the ids of the links' signatures, the newest last
	saw     map[client.UID]int      // the followee's life that the newest of them was listed in
	money   []string                // ids of currency addresses
	over    []string                // ids of statements that were taken back
	before  int                     // devices of earlier incarnations
	pgp     map[string]int          // versions of PGP keys by key id; 0: revoked
	remotes []*remote
	mails   []*address    // the first is the primary one
	asked   map[int64]int // mails that verify an address, by day
	// secret is the password, which has been changed generation-1 times.
	secret     *client.Stream
	generation int
}

func newModel() *model {
	return &model{
		devices: map[client.DeviceID]bool{}, names: map[string]bool{}, nameOf: map[client.DeviceID]string{},
		follows: map[client.UID][]string{}, saw: map[client.UID]int{}, pgp: map[string]int{}, asked: map[int64]int{}, generation: 1,
	}
}

func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -_'", r) {
			return -1
		}
		return r
	}, strings.ToLower(name))
}

func (m *model) add(id client.DeviceID, name string, links int) {
	m.devices[id], m.names[plain(name)], m.nameOf[id] = true, true, name
	m.links += links
}

func (m *model) active() []client.DeviceID {
	var out []client.DeviceID
	for id, on := range m.devices {
		if on {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, func(a, b client.DeviceID) int { return slices.Compare(a[:], b[:]) })
	return out
}

// seat is one device of somebody, which knows only what it has seen itself.
type seat struct {
	*client.Account
	known int // links
}

// person is somebody with several devices.
type person struct {
	*model
	name  string
	uid   client.UID
	seats []*seat
	// linksMax is when somebody else takes the place.
	linksMax int
	// phrase and paper are those of a paper key.
	phrase string
	paper  *client.Device
	stream *client.Stream
}

// canAct reports that one of the devices that act is active.
func (p *person) canAct() bool {
	return slices.ContainsFunc(p.seats, func(s *seat) bool { return p.devices[s.Device.ID] })
}

// town is everybody on one server.
type town struct {
	t *testing.T
	r *run
	w *client.Witness
	// eyes are those of everybody who acts: they verify what is new to them.
	eyes  *client.Verifier
	rng   *rand.Rand
	all   []*person
	names names
	steps int
	// stepsMax is when it ends.
	stepsMax int
	did      map[string][2]int  // by deed: accepted, refused
	vouches  map[pair]vouched   // not taken back
	lives    map[client.UID]int // how often each was reset
	gone     map[client.UID]bool
	now      *clock.Fake
	bag      *mailbag
	letters  map[string]int        // verification mails by address
	meant    map[letter]*address   // what each of them verifies
	owners   map[string]client.UID // of verified addresses
	claims   map[string]claim      // by placeOf
}

// stepTakes is the longest that a step takes on the clock of the town.
const stepTakes = 100 * time.Millisecond

// TestHistories proves that a server accepts what it should and nothing else: random
// histories of accounts whose devices act with stale views, after their end, and at the
// same time, agree step by step with a small model; strict clients with old and with no
// memory agree with all that was accepted; the audit is clean, and the archive leads to
// the same root.
func TestHistories(t *testing.T) {
	t.Parallel()
	l := newRoomyLab(t)
	now, bag := clock.NewFake(time.Now()), newMailbag()
	l.clock, l.time, l.log, l.cfg.Devel = now.Now, now.Now, slog.New(bag), true
	r, w := l.mustStart(t), strictWitness()
	c := &town{
		t: t, r: r, w: w, eyes: r.verifier(w), now: now, bag: bag,
		letters: map[string]int{}, meant: map[letter]*address{}, owners: map[string]client.UID{}, claims: map[string]claim{}, rng: rand.New(rand.NewPCG(*seedFlag, 5)), did: map[string][2]int{},
		vouches: map[pair]vouched{}, lives: map[client.UID]int{}, gone: map[client.UID]bool{},
		stepsMax: figure(stepsFlag, 1000, 150),
	}
	for c.steps < c.stepsMax && !t.Failed() {
		c.step()
	}
	for _, p := range c.all {
		c.look(p)
	}
	if err := c.r.audit(); err != nil {
		t.Error(err)
	}
	c.r.mustStop(t)
	if err := l.rebuild(c.r.newest()); err != nil {
		t.Error(err)
	}
	t.Logf("%d steps: %v", c.steps, c.did)
}

// expect compares what the server did with what the model says. want is 0, or the code
// of a refusal; a client that refuses by itself is no answer of the server.
func (c *town) expect(p *person, deed string, want int, err error) (accepted bool) {
	got := 0
	if err != nil {
		got = client.StatusCode(err)
	}
	return c.count(p, deed, err == nil, fmt.Sprintf("%d %v", got, err), fmt.Sprintf("%d %v", want, err))
}

// count compares what was said with what the model says, and counts the step.
func (c *town) count(p *person, deed string, accepted bool, got, want string) bool {
	c.steps++
	n := c.did[deed]
	if accepted {
		n[0]++
	} else {
		n[1]++
	}
	c.did[deed] = n
	if got != want {
		c.t.Errorf("step %d, %s of %s with %d links: %s, want %s", c.steps, deed, p.name, p.links, got, want)
	}
	return accepted
}

func (c *town) step() {
	ctx := c.t.Context()
	c.now.Advance(time.Duration(c.rng.Int64N(int64(stepTakes))))
	if len(c.all) < people {
		c.signUp(ctx)
		return
	}
	i := c.rng.IntN(len(c.all))
	p := c.all[i]
	if p.links > p.linksMax || !p.canAct() {
		c.decide(ctx, p)
		c.look(p)
		c.eyes.Forget(p.uid)
		c.all = slices.Delete(c.all, i, i+1)
		return
	}
	if c.steps%looksEvery == 0 {
		c.look(p)
	}
	s := p.seats[c.rng.IntN(len(p.seats))]
	if !p.devices[s.Device.ID] {
		if c.rng.IntN(4) == 0 {
			c.revoked(ctx, p, s)
		}
		return
	}
	if c.rng.IntN(3) > 0 {
		if err := s.FetchPUKs(ctx, s.Device); err != nil {
			c.t.Errorf("reload %s: %v", p.name, err)
		}
		s.known = p.links
	}
	deeds := []func(context.Context, *person, *seat){
		c.follow, c.follow, c.follow, c.follow, c.unfollow, c.unfollow, c.addDevice, c.addDevice, c.addPaper,
		c.loginPaper, c.revokeDevice, c.roll, c.revokeSig, c.revokeSig, c.ephemeral, c.raceFollows, c.raceRevoke,
		c.currency, c.currency, c.wallet, c.rename, c.vouch, c.vouch, c.react, c.react,
		c.addPGP, c.updatePGP, c.updatePGP, c.revokePGP,
		c.prove, c.publish, c.publish, c.publish,
		c.addMail, c.verifyMail, c.changeMail, c.replaceMail, c.askMail, c.changePassword, c.recoverPassword, c.logInAgain,
	}
	if n := c.rng.IntN(100); n < resetPercent {
		deeds = []func(context.Context, *person, *seat){c.reset, c.reset, c.waitForReset, c.remove}
	}
	deeds[c.rng.IntN(len(deeds))](ctx, p, s)
}

// newEyes are a client that knows of nobody, and verifies all of a chain from its begin.
func (c *town) newEyes() *client.Verifier { return c.r.verifier(c.w) }

func (c *town) signUp(ctx context.Context) {
	p := &person{model: newModel(), name: c.names.next(), linksMax: linksPerUser}
	if c.stepsMax >= longRun && c.rng.IntN(elderOneIn) == 0 {
		p.linksMax = linksOfElder
	}
	p.secret = client.CheapStream([]byte(p.name))
	a, err := client.Signup(ctx, c.eyes, client.SignupOptions{
		Name: p.name, Stream: p.secret, DeviceName: "first device",
	})
	if !c.expect(p, "sign up", 0, err) {
		return
	}
	p.uid, p.puk = a.UID, 1
	p.add(a.Device.ID, "first device", 3)
	p.seats = []*seat{{a, p.links}}
	c.all = append(c.all, p)
}

// sit lets a new device act for itself.
func (c *town) sit(ctx context.Context, p *person, from *client.Account, d *client.Device) {
	s := &seat{&client.Account{
		Verifier: c.eyes, Username: p.name, UID: p.uid, Salt: from.Salt, Stream: from.Stream, Generation: from.Generation,
		Device: d, Devices: map[client.DeviceID]*client.Device{d.ID: d},
	}, p.links}
	if err := s.FetchPUKs(ctx, d); err != nil {
		c.t.Errorf("a new device of %s: %v", p.name, err)
	}
	p.seats = append(p.seats, s)
}

// want is the answer to a post that is right in all but the view that it rests on.
func (s *seat) want(p *person) int {
	if s.known < p.links {
		return codeOldSeqno
	}
	return 0
}

// revoked is a device that acts after its end.
func (c *town) revoked(ctx context.Context, p *person, s *seat) {
	deed, err := "revoked follow", error(nil)
	switch c.rng.IntN(4) {
	case 0:
		err = s.Follow(ctx, c.other(p))
	case 1:
		deed = "revoked device/update and add"
		_, err = s.AddDevice(ctx, "a way back", client.DeviceMobile)
	case 2:
		deed = "revoked ephemeral key"
		_, err = s.PostDeviceEK(ctx, s.Device)
	default:
		deed = "revoked roll"
		err = s.RollPUK(ctx)
	}
	c.expect(p, deed, codeBadSession, err)
}

// other is somebody else.
func (c *town) other(p *person) client.UID {
	for {
		if o := c.all[c.rng.IntN(len(c.all))]; o != p {
			return o.uid
		}
	}
}

func (c *town) follow(ctx context.Context, p *person, s *seat) {
	them := c.other(p)
	want := s.want(p)
	if c.expect(p, "follow", want, s.Follow(ctx, them)) {
		c.followed(p, s, them)
	}
}

func (c *town) followed(p *person, s *seat, them client.UID) {
	p.follows[them] = append(p.follows[them], s.Sent[0].SigID.SigID())
	p.saw[them] = c.lives[them]
	p.links++
	s.known = p.links
}

func (c *town) unfollow(ctx context.Context, p *person, s *seat) {
	them := c.other(p)
	want := s.want(p)
	ids, ok := p.follows[them]
	if want == 0 && !ok {
		want = codeInput
	}
	if c.expect(p, "unfollow", want, s.Unfollow(ctx, them)) {
		p.over = append(p.over, ids...)
		delete(p.follows, them)
		p.links++
		s.known = p.links
	}
}

func (c *town) addDevice(ctx context.Context, p *person, s *seat) {
	name := fmt.Sprintf("Device-%d", p.links)
	if c.rng.IntN(4) == 0 {
		name = fmt.Sprintf("device %d", c.rng.IntN(p.links)) // perhaps one that is taken
	}
	want := s.want(p)
	if want == 0 && p.names[plain(name)] {
		want = codeDeviceNameInUse
	}
	p.remind(s)
	d, err := s.AddDevice(ctx, name, []string{client.DeviceMobile, client.DeviceDesktop}[c.rng.IntN(2)])
	if c.expect(p, "add device", want, err) {
		p.add(d.ID, name, 2)
		s.known = p.links
		c.sit(ctx, p, s.Account, d)
	}
}

func (c *town) addPaper(ctx context.Context, p *person, s *seat) {
	stream := client.CheapStream([]byte(fmt.Sprint(p.name, c.steps)))
	phrase, paper, err := s.AddPaperKey(ctx, stream)
	if c.expect(p, "add paper key", s.want(p), err) {
		p.add(paper.ID, paper.Name, 2)
		s.known = p.links
		p.phrase, p.paper, p.stream = phrase, paper, stream
	}
}

func (c *town) loginPaper(ctx context.Context, p *person, _ *seat) {
	if p.paper == nil {
		return
	}
	name := fmt.Sprintf("laptop %d", p.links)
	a, err := client.LoginPaperKey(ctx, c.eyes, p.phrase, p.stream, name)
	want := 0
	if !p.devices[p.paper.ID] {
		want = client.CodeNotFound
	}
	if c.expect(p, "log in by paper key", want, err) {
		p.add(a.Device.ID, name, 2)
		p.seats = append(p.seats, &seat{a, p.links})
		p.remind(p.seats[len(p.seats)-1]) // the key knows of the password only the half that makes the device
	}
}

// revokeDevice revokes any device, also the one that signs, also the last one.
func (c *town) revokeDevice(ctx context.Context, p *person, s *seat) {
	active := p.active()
	id := active[c.rng.IntN(len(active))]
	if len(active) == 1 && c.rng.IntN(3) > 0 {
		return
	}
	last := len(active) == 1
	err := s.RevokeDevice(ctx, id) // looks at the chain first
	if id == s.Device.ID && client.StatusCode(err) == codeBadSession {
		err = nil // the check after the post is asked for by nobody any more
	}
	if c.expect(p, "revoke device", 0, err) {
		p.devices[id] = false
		p.puk++
		p.links += 2
		s.known = p.links
		if last {
			c.did["revoke the last device"] = [2]int{c.did["revoke the last device"][0] + 1, 0}
		}
	}
}

func (c *town) roll(ctx context.Context, p *person, s *seat) {
	if c.expect(p, "roll", 0, s.RollPUK(ctx)) { // looks at the chain first
		p.puk++
		p.links++
		s.known = p.links
	}
}

// revokeSig takes back a follow that stands, one that has ended, or somebody else's.
func (c *town) revokeSig(ctx context.Context, p *person, s *seat) {
	ids := c.said(p)
	var id string
	want := s.want(p)
	switch {
	case c.rng.IntN(4) == 0 && len(p.over) > 0:
		id = p.over[c.rng.IntN(len(p.over))]
		if want == 0 {
			want = codeKeyNotFound
		}
	case c.rng.IntN(8) == 0:
		for _, o := range c.all {
			for _, theirs := range o.follows {
				if o != p {
					id = theirs[0]
				}
			}
		}
		want = codeKeyNotFound // the lease is refused already
	case len(ids) > 0:
		id = ids[c.rng.IntN(len(ids))]
	}
	if id == "" {
		return
	}
	if c.expect(p, "revoke signature", want, s.RevokeSigs(ctx, id)) {
		c.forget(p, id)
		p.links++
		s.known = p.links
	}
}

func (c *town) ephemeral(ctx context.Context, p *person, s *seat) {
	_, err := s.PostDeviceEK(ctx, s.Device)
	c.expect(p, "device ephemeral key", 0, err)
}

// racers are up to three active devices, which all know the whole chain.
func (c *town) racers(ctx context.Context, p *person) []*seat {
	var out []*seat
	for _, i := range c.rng.Perm(len(p.seats)) {
		s := p.seats[i]
		if !p.devices[s.Device.ID] || len(out) == racersMax {
			continue
		}
		if err := s.FetchPUKs(ctx, s.Device); err != nil {
			c.t.Errorf("reload %s: %v", p.name, err)
		}
		s.known = p.links
		out = append(out, s)
	}
	return out
}

// raceFollows: of devices that post the same link number at once one gets it.
func (c *town) raceFollows(ctx context.Context, p *person, _ *seat) {
	racers := c.racers(ctx, p)
	errs := make([]error, len(racers))
	them := make([]client.UID, len(racers))
	var wg sync.WaitGroup
	for i, s := range racers {
		them[i] = c.other(p)
		wg.Go(func() { errs[i] = s.Follow(ctx, them[i]) })
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		if err == nil && won < 0 {
			won = i
			c.expect(p, "race: follow", 0, err)
			continue
		}
		c.expect(p, "race: follow", codeOldSeqno, err)
	}
	if won < 0 {
		c.t.Errorf("nobody of %d won: %v", len(racers), errs)
		return
	}
	c.followed(p, racers[won], them[won])
}

// raceRevoke: one device revokes another, which adds a third one at the same time. One
// of them comes first; the other is refused, or rests on what the first has done.
func (c *town) raceRevoke(ctx context.Context, p *person, _ *seat) {
	racers := c.racers(ctx, p)
	if len(racers) < 2 {
		return
	}
	by, victim := racers[0], racers[1]
	name := fmt.Sprintf("raced %d", p.links)
	var errRevoke, errAdd error
	var added *client.Device
	var wg sync.WaitGroup
	wg.Go(func() { errRevoke = by.RevokeDevice(ctx, victim.Device.ID) })
	wg.Go(func() { added, errAdd = victim.AddDevice(ctx, name, client.DeviceMobile) })
	wg.Wait()
	if errRevoke != nil && errAdd != nil {
		c.t.Errorf("both of a race were refused: %v; %v", errRevoke, errAdd)
		return
	}
	for _, err := range []error{errRevoke, errAdd} {
		if code := client.StatusCode(err); err != nil && code != codeOldSeqno && code != codeBadSession && code != codeKeyRevoked {
			c.t.Errorf("a race ended with %v", err)
		}
	}
	if errRevoke == nil {
		p.devices[victim.Device.ID] = false
		p.puk++
		p.links += 2
	}
	// Whether it was added is in the chain, if its maker was revoked before it could look.
	u, err := c.eyes.LoadUser(ctx, p.uid, client.LoadOptions{})
	if err != nil {
		c.t.Errorf("after a race of %s: %v", p.name, err)
		return
	}
	is := added != nil && u.Family.Device(added.ID) != nil
	if errAdd == nil && !is {
		c.t.Errorf("an added device of %s is not there", p.name)
	}
	c.did["race: revoke and add"] = [2]int{c.did["race: revoke and add"][0] + 1, 0}
	c.steps += 2
	if is {
		p.add(added.ID, name, 2)
		c.sit(ctx, p, by.Account, added)
	}
	by.known = p.links
	if err := by.FetchPUKs(ctx, by.Device); err != nil {
		c.t.Errorf("after a race of %s: %v", p.name, err)
	}
	if err := victim.Reload(ctx); err == nil {
		victim.known = p.links
	}
}

// look compares somebody with the model, by the eyes of a client that has never been
// here, and by those of one of their own devices.
func (c *town) look(p *person) {
	ctx := c.t.Context()
	fail := func(format string, args ...any) {
		c.t.Errorf("step %d, %s: %s", c.steps, p.name, fmt.Sprintf(format, args...))
	}
	u, err := c.newEyes().LoadUser(ctx, p.uid, client.LoadOptions{Quoted: c.rng.IntN(8) == 0})
	if err != nil {
		fail("by new eyes: %v", err)
		return
	}
	if len(u.Chain) != p.links {
		fail("%d links, want %d", len(u.Chain), p.links)
	}
	var active []client.DeviceID
	for _, d := range u.Family.ActiveDevices() {
		active = append(active, d.ID)
	}
	slices.SortFunc(active, func(a, b client.DeviceID) int { return slices.Compare(a[:], b[:]) })
	if !slices.Equal(active, p.active()) || len(u.Family.Devices) != len(p.devices)-p.before {
		fail("devices %v, want %v", active, p.active())
	}
	if g := u.Family.LatestPUK().Generation; g != p.puk {
		fail("per-user key %d, want %d", g, p.puk)
	}
	for kid, version := range p.pgp {
		if slices.ContainsFunc(u.Family.ActiveKeys(), func(k client.KID) bool { return k.String() == kid }) != (version > 0) {
			fail("PGP key %s in version %d is active or not as it should not be", kid, version)
		}
	}
	if u.PassphraseGeneration != p.generation {
		fail("password generation %d, want %d", u.PassphraseGeneration, p.generation)
	}
	if err := c.lookRemotes(ctx, p); err != nil {
		fail("%v", err)
	}
	follows, err := c.follows(ctx, p.uid)
	if want := slices.Sorted(maps.Keys(c.mapKeys(p))); err != nil || !slices.Equal(follows, want) {
		fail("follows %v, want %v: %v", follows, want, err)
	}
	for _, s := range p.seats {
		if p.devices[s.Device.ID] && c.rng.IntN(len(p.seats)) == 0 {
			if err := errors.Join(s.FetchPUKs(ctx, s.Device), second(s.DeviceEKs(ctx)), c.web(ctx, p, s), c.lookMails(ctx, p, s)); err != nil {
				fail("by a device of their own: %v", err)
			}
			if len(s.PUKs) != p.puk {
				fail("a device opens %d per-user keys, want %d", len(s.PUKs), p.puk)
			}
			s.known = p.links
		}
	}
}

// mapKeys are those followed who are still there, and have not been reset since: lists
// are for people who might look somebody up.
func (c *town) mapKeys(p *person) map[string]bool {
	out := map[string]bool{}
	for u := range p.follows {
		if !c.gone[u] && p.saw[u] == c.lives[u] {
			out[u.String()] = true
		}
	}
	return out
}

// follows is whom the server says that somebody follows.
func (c *town) follows(ctx context.Context, u client.UID) ([]string, error) {
	reply, err := c.r.client.Get(ctx, "user/list_followers_for_display", url.Values{"uid": {u.String()}, "reverse": {"1"}}, nil)
	if err != nil {
		return nil, err
	}
	var rows []struct {
		UID string `json:"uid"`
	}
	if err := json.Unmarshal(reply.Field("users"), &rows); err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rows {
		out = append(out, r.UID)
	}
	slices.Sort(out)
	return out, nil
}
