package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/faultfs"
)

const (
	cutWorkers  = 4
	cutsPerLife = 25 // of one server; disks are kept until it has ended
	// ekBadGeneration is the status code of a generation that is not the next one.
	ekBadGeneration = 2900
)

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
	b := newBook()
	bag := takeMail(t, l)
	l.cfg.Reset.Delay, l.cfg.Reset.DelayOneDevice = 0, 0
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
		w := &worker{t: t, r: first, b: b, bag: bag, names: &all, rng: rand.New(rand.NewPCG(rng.Uint64(), 0))}
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
	bag     *mailbag
	mails   []string // addresses, as mailRow puts them
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
		w.me, w.follows, w.mails = a, map[client.UID]string{}, nil
		w.b.joined(a.UID)
		w.b.addSession(w.r, a.UID, a.Session)
		w.b.addLinks(a.UID, a.Posted)
		return
	}
	deeds := []func(context.Context) error{w.addPaper, w.addDevice, w.follow, w.follow, w.deviceEK, w.userEK, w.session, w.revoke, w.roll, w.revokeSig, w.reset, w.waitForReset, w.mail, w.mail, w.password}
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

// begin begins the next incarnation, as whoever has reset the account.
func (w *worker) begin(ctx context.Context, a *client.Account) error {
	w.me, w.follows = a, map[client.UID]string{}
	return w.me.ProvisionFirst(ctx, fmt.Sprintf("after reset %d", w.tried))
}

func (w *worker) reset(ctx context.Context) error {
	err := w.b.change(w.me.UID, func(t *told) { t.resets++ }, func() error { return w.me.Reset(ctx) })
	if err != nil {
		return err
	}
	return w.begin(ctx, w.me)
}

// waitForReset asks for a reset that waits, here for no time, and cancels it or does it.
func (w *worker) waitForReset(ctx context.Context) error {
	a, err := client.Login(ctx, w.me.Verifier, w.me.Username, "", w.me.Stream)
	if err != nil {
		return err
	}
	if err := a.EnterReset(ctx, true); err != nil {
		return err
	}
	if w.rng.IntN(2) == 0 {
		return w.me.CancelReset(ctx, w.me.NIST(w.me.Device))
	}
	err = w.b.change(w.me.UID, func(t *told) { t.resets++ }, func() error { return a.FinishReset(ctx) })
	if err != nil {
		return err
	}
	return w.begin(ctx, a)
}

func (w *worker) password(ctx context.Context) error {
	next := client.CheapStream(fmt.Appendf(nil, "%s at %d", w.me.Username, w.tried))
	return w.b.change(w.me.UID, func(t *told) { t.generation++ }, func() error { return w.me.ChangePassword(ctx, next) })
}

// mail adds, verifies, prefers or deletes a mail address.
func (w *worker) mail(ctx context.Context) error {
	next := slices.Clone(w.mails)
	address := fmt.Sprintf("%s-%d@example.org", w.me.Username, w.tried)
	ask := func() error { return w.me.AddMail(ctx, address, 0) }
	switch kind := w.rng.IntN(5); {
	case len(next) == 0 || kind == 0 && len(next) < accounts.MailsMax:
		next = append(next, mailRow(address, false))
	case kind == 1 && len(next) > 1:
		next[0], next[1] = next[1], next[0]
		ask = func() error { return w.change(ctx, "email/set-primary", next[0]) }
	case kind == 2:
		gone := next[len(next)-1]
		next = next[:len(next)-1]
		ask = func() error { return w.change(ctx, "email/delete", gone) }
	default:
		i := slices.IndexFunc(next, func(row string) bool { return row == mailRow(mailOf(row), false) })
		if i < 0 {
			return nil
		}
		path, err := w.bag.link(ctx, mailOf(next[i]), 1)
		if err != nil {
			return err
		}
		next[i] = mailRow(mailOf(next[i]), true)
		ask = func() error { return w.r.verify(ctx, path) }
	}
	err := w.b.change(w.me.UID, func(t *told) { t.mails = strings.Join(next, "") }, ask)
	if err == nil {
		w.mails = next
	}
	return err
}

func (w *worker) change(ctx context.Context, endpoint, row string) error {
	_, err := w.me.Server().PostJSON(ctx, endpoint, map[string]any{"email": mailOf(row)}, w.me.NIST(w.me.Device))
	return err
}

// mailOf is the address of a row.
func mailOf(row string) string { return strings.Fields(row)[0] }
