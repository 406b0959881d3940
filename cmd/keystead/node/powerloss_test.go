package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/faultfs"
	"github.com/keystead/keystead/merklehot/keyboxes"
)

const (
	cutWorkers  = 4
	cutsPerLife = 25 // of one server; disks are kept until it has ended
	// ekBadGeneration is the status code of a generation that is not the next one.
	ekBadGeneration = 2900
)

// promise is something that a client has been told.
type promise struct {
	uid     client.UID
	seqno   client.Seqno // with link: of a link
	link    client.LinkID
	session *client.Session
	until   time.Time       // with session
	device  client.DeviceID // with ek: of a device's ephemeral key
	ek      int             // generation
	userEK  int
}

// book is what all clients together have been told, in order.
type book struct {
	witness  *client.Witness
	mu       sync.Mutex
	promises []promise
	group    uint64 // the newest that was published
}

func (b *book) published(group uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.group = max(b.group, group)
}

func (b *book) add(p ...promise) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.promises = append(b.promises, p...)
}

func (b *book) addLinks(u client.UID, links []*client.SignedLink) {
	for _, l := range links {
		b.add(promise{uid: u, seqno: l.Spec.Seqno, link: l.ID})
	}
}

// sessionLife is less than what a session lives.
const sessionLife = 20 * time.Hour

func (b *book) addSession(r *run, u client.UID, s *client.Session) {
	b.add(promise{uid: u, session: s, until: r.lab.time().Add(sessionLife)})
}

// page is the book at one moment.
type page struct {
	promises []promise
	roots    []client.SeenRoot
	group    uint64 // published by then
}

// page is the book now; the roots may be some more.
func (b *book) page() page {
	b.mu.Lock()
	defer b.mu.Unlock()
	return page{promises: b.promises[:len(b.promises):len(b.promises)], roots: b.witness.Dump(), group: b.group}
}

// TestPowerLoss proves that a whole server keeps what it promised when the power goes
// at any moment and takes none, some or all of what was not synced: a server on what is
// left starts, has every acknowledged link, session and ephemeral key, every root that
// anybody saw, no half of anything, a clean audit, and goes on; and its archive ends
// where the store does.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	percents := []int{0, 10, 50, 100}
	all := figure(cutsFlag, 40, 8)
	for left, life := all, 0; left > 0 && !t.Failed(); life++ {
		cuts := min(left, cutsPerLife, (all+len(percents)-1)/len(percents))
		left -= cuts
		seed := *seedFlag<<32 + uint64(life)
		t.Run(fmt.Sprintf("seed %d, %d%% kept", seed, percents[life%len(percents)]), func(t *testing.T) {
			testPowerLoss(t, rand.New(rand.NewPCG(seed, 0)), percents[life%len(percents)], cuts)
		})
	}
}

func testPowerLoss(t *testing.T, rng *rand.Rand, percent, cuts int) {
	l := newLab(t)
	b := &book{witness: strictWitness()}
	var r atomic.Pointer[run]
	cutter := &faultfs.Cutter[page]{
		Mem: l.mem, RNG: rng, Percent: percent, OneIn: 30, Max: cuts,
		Known: func() page {
			p := b.page()
			if r := r.Load(); r != nil {
				v := r.store.View()
				defer v.Close()
				var err error
				if p.group, err = groupOf(v); err != nil {
					t.Error(err)
				}
			}
			return p
		},
	}
	l.fs = &faultfs.Disk{FS: l.mem, FailAt: -1, Before: cutter.Before}
	first := l.mustStart(t)
	r.Store(first)
	var done atomic.Bool
	var all names
	var wg sync.WaitGroup
	for range cutWorkers {
		w := &worker{t: t, r: first, b: b, names: &all, rng: rand.New(rand.NewPCG(rng.Uint64(), 0))}
		wg.Go(func() {
			for !done.Load() && !t.Failed() {
				w.step()
				if cutter.Full() {
					done.Store(true)
				}
			}
		})
	}
	wg.Wait()
	found := cutter.Found()
	first.mustStop(t)
	if err := l.rebuild(first.newest()); err != nil {
		t.Error(err)
	}
	for i, c := range found {
		if i%8 == 0 {
			cutAgain(t, l, rng, percent, c)
		}
		if err := c.Known.check(l.on(c.FS), rng); err != nil {
			t.Errorf("%s: %v", c.What, err)
		}
	}
}

// cutAgain cuts the power once more while a server starts on what the first cut left.
func cutAgain(t *testing.T, l *lab, rng *rand.Rand, percent int, first faultfs.Crash[page]) {
	t.Helper()
	mem := faultfs.Clone(first.FS, 100, rng)
	again := &faultfs.Cutter[page]{
		Mem: mem, RNG: rng, Percent: percent, OneIn: 25, Max: 3, Known: func() page { return first.Known },
	}
	starting := l.on(mem)
	starting.fs = &faultfs.Disk{FS: mem, FailAt: -1, Before: again.Before}
	r, err := starting.start()
	if err != nil {
		t.Errorf("%s: start: %v", first.What, err)
		return
	}
	found := again.Found()
	if err := r.stop(); err != nil {
		t.Errorf("%s: stop: %v", first.What, err)
	}
	for _, c := range found {
		if err := first.Known.check(l.on(c.FS), rng); err != nil {
			t.Errorf("%s, and then %s: %v", first.What, c.What, err)
		}
	}
}

// worker is somebody who uses the server all the time.
type worker struct {
	t     *testing.T
	r     *run
	b     *book
	names *names
	rng   *rand.Rand
	me    *client.Account
	tried int
	// follows are whom the worker follows, by the id of the link's signature.
	follows map[client.UID]string
}

// tapped is a way to the server that notes which links of an account were acknowledged,
// before the client knows of it.
func (b *book) tapped(r *run, me func() *client.Account) *client.Server {
	s := r.server()
	s.HTTP.Transport = tap{s.HTTP.Transport, func(endpoint string, body []byte) {
		switch endpoint {
		case "key/multi", "follow", "sig/revoke":
		default:
			return
		}
		if a := me(); a != nil && acknowledged(body) {
			b.addLinks(a.UID, a.Sent)
		}
	}}
	return s
}

// step does one thing; nothing may go wrong.
func (w *worker) step() {
	if w.tried++; w.me == nil || w.tried%25 == 0 {
		if w.me != nil {
			w.me.Server().Close()
			w.me = nil
		}
		name := w.names.next()
		a, err := client.Signup(context.Background(), client.NewVerifier(w.b.tapped(w.r, func() *client.Account { return w.me }), w.b.witness), client.SignupOptions{
			Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "first device",
		})
		if err != nil {
			w.t.Errorf("sign up: %v", err)
			return
		}
		w.me, w.follows = a, map[client.UID]string{}
		w.b.addSession(w.r, a.UID, a.Session)
		w.b.addLinks(a.UID, a.Posted)
		return
	}
	deeds := []func(context.Context) error{w.addPaper, w.addDevice, w.follow, w.follow, w.deviceEK, w.userEK, w.session, w.revoke, w.roll, w.revokeSig}
	if err := deeds[w.rng.IntN(len(deeds))](context.Background()); err != nil {
		w.t.Errorf("%s: %v", w.me.Username, err)
	}
}

func (w *worker) addPaper(ctx context.Context) error {
	_, _, err := w.me.AddPaperKey(ctx, client.CheapStream([]byte(fmt.Sprint(w.me.Username, w.tried))))
	return err
}

func (w *worker) addDevice(ctx context.Context) error {
	_, err := w.me.AddDevice(ctx, fmt.Sprintf("device %d", w.tried), client.DeviceMobile)
	return err
}

func (w *worker) follow(ctx context.Context) error {
	other := client.UIDOf(fmt.Sprintf("u%d", w.rng.IntN(8)+1))
	if _, ok := w.follows[other]; ok {
		delete(w.follows, other)
		return w.me.Unfollow(ctx, other)
	}
	if other == w.me.UID {
		return nil
	}
	err := w.me.Follow(ctx, other)
	if client.StatusCode(err) == client.CodeNotFound {
		return nil
	}
	w.follows[other] = w.me.Sent[0].SigID.SigID()
	return err
}

func (w *worker) deviceEK(ctx context.Context) error {
	s, err := w.me.PostDeviceEK(ctx, w.me.Device)
	if err == nil {
		w.b.add(promise{uid: w.me.UID, device: w.me.Device.ID, ek: s.Generation})
	}
	return err
}

func (w *worker) userEK(ctx context.Context) error {
	ek, err := w.me.PostUserEK(ctx)
	if client.StatusCode(err) == ekBadGeneration {
		return nil // the client counts from 1 again after a new per-user key
	}
	if err == nil {
		w.b.add(promise{uid: w.me.UID, userEK: ek.Generation})
	}
	return err
}

func (w *worker) session(ctx context.Context) error {
	s, err := w.me.NewSession(ctx)
	if err == nil {
		w.b.addSession(w.r, w.me.UID, s)
	}
	return err
}

func (w *worker) revoke(ctx context.Context) error {
	for _, d := range w.me.Me.Family.ActiveDevices() {
		if d.ID != w.me.Device.ID {
			return w.me.RevokeDevice(ctx, d.ID)
		}
	}
	return w.addDevice(ctx)
}

func (w *worker) roll(ctx context.Context) error { return w.me.RollPUK(ctx) }

func (w *worker) revokeSig(ctx context.Context) error {
	for uid, id := range w.follows {
		delete(w.follows, uid)
		return w.me.RevokeSigs(ctx, id)
	}
	return w.follow(ctx)
}

// check starts a server on what a crash left and compares it with what was promised.
func (p page) check(l *lab, rng *rand.Rand) (err error) {
	r, err := l.start()
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	stopped := false
	defer func() {
		if !stopped {
			err = errors.Join(err, r.stop())
		}
	}()
	if err := r.audit(); err != nil {
		return err
	}
	if err := p.holds(r, rng); err != nil {
		return err
	}
	// And it goes on from there.
	ctx := context.Background()
	w := strictWitness()
	if err := w.Merge(p.roots); err != nil {
		return err
	}
	_, err = client.Signup(ctx, r.verifier(w), client.SignupOptions{
		Name: "afterwards", Stream: client.CheapStream(nil), DeviceName: "the device",
	})
	if err != nil {
		return fmt.Errorf("sign up afterwards: %w", err)
	}
	stopped = true
	if err := r.stop(); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return l.rebuild(r.newest())
}

// holds compares a server with what was promised, by the eyes of a strict client that
// remembers every root.
func (p page) holds(r *run, rng *rand.Rand) error {
	ctx := context.Background()
	v := r.store.View()
	defer v.Close()
	group, err := groupOf(v)
	if err != nil {
		return err
	}
	if group < p.group {
		return fmt.Errorf("group %d was published, the store ends with %d", p.group, group)
	}
	w := strictWitness()
	if err := w.Merge(p.roots); err != nil {
		return err
	}
	eyes := r.verifier(w)
	newest, err := eyes.RefreshRoot(ctx)
	if err != nil {
		return fmt.Errorf("newest root: %w", err)
	}
	for i, seen := range p.roots {
		if seen.Seqno > newest.Seqno {
			return fmt.Errorf("root %d was seen, the newest is %d", seen.Seqno, newest.Seqno)
		}
		if i < len(p.roots)-5 && rng.IntN(len(p.roots)) > 5 {
			continue
		}
		// The verifier compares it with the one that was seen.
		if seen.Seqno < eyes.Server().FirstRoot {
			continue
		}
		if _, err := eyes.RootAt(ctx, seen.Seqno); err != nil {
			return fmt.Errorf("root %d, seen before: %w", seen.Seqno, err)
		}
	}
	users := map[client.UID]*client.User{}
	for _, made := range p.promises {
		if users[made.uid] == nil {
			if users[made.uid], err = eyes.LoadUser(ctx, made.uid, client.LoadOptions{}); err != nil {
				return fmt.Errorf("load %s: %w", made.uid, err)
			}
		}
		if err := made.holds(ctx, r, users[made.uid]); err != nil {
			return err
		}
	}
	return nil
}

// holds looks for what one promise was about.
func (p promise) holds(ctx context.Context, r *run, u *client.User) error {
	switch uid := kbsig.UID(p.uid); {
	case p.seqno > 0:
		if l := u.Link(p.seqno); l == nil || l.ID != p.link {
			return fmt.Errorf("link %d of %s was acknowledged as %s and is not there", p.seqno, u.Username, p.link)
		}
	case p.session != nil:
		if p.until.Before(r.lab.time()) {
			return nil
		}
		if err := r.client.CheckSession(ctx, p.session); err != nil {
			return fmt.Errorf("session of %s: %w", u.Username, err)
		}
	case p.ek > 0:
		v := r.store.View()
		defer v.Close()
		if d := u.Family.Device(p.device); d == nil || d.Revoked {
			return nil // its key went with it
		}
		ek, err := keyboxes.GetDeviceEK(v, uid, kbsig.DeviceID(p.device))
		if err != nil || ek.Generation < p.ek {
			return fmt.Errorf("device ephemeral key %d of %s is not there: %v", p.ek, u.Username, err)
		}
	case p.userEK > 0:
		v := r.store.View()
		defer v.Close()
		ek, err := keyboxes.NewestUserEK(v, uid)
		if err != nil || ek == nil || ek.Generation < p.userEK {
			return fmt.Errorf("user ephemeral key %d of %s is not there: %v", p.userEK, u.Username, err)
		}
	}
	return nil
}
