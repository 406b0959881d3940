package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/faultfs"
	"github.com/keystead/keystead/engine/store"
)

// standStill is how long a request may hang before the server counts as dead.
const standStill = 20 * time.Second

// TestEveryWriteFails proves that no failing write makes a server lie: each write
// operation of two lives, in which every kind of write occurs, is made to fail, in every
// way. The server refuses to start, or stops, or goes on as if nothing had been; and
// another server on the disk that it leaves has everything that was acknowledged, a
// clean audit, and goes on.
func TestEveryWriteFails(t *testing.T) {
	t.Parallel()
	step := figure(nthFlag, 41, 180)
	for i, kind := range faultfs.Kinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			ends := map[string]int{}
			n := i * step / len(faultfs.Kinds)
			for ; !t.Failed(); n += step {
				how := testWriteFails(t, n, kind, step > 1)
				if ends[how]++; how == "no such operation" {
					break
				}
			}
			t.Logf("%d operations: %v", n, ends)
			if n < 150 {
				t.Errorf("only %d operations were tried", n)
			}
		})
	}
}

// testWriteFails lives two lives on a disk whose operation n fails, and says how that
// ended. What is left is looked at as after a power cut and as after the end of the
// process, or as after one of them.
func testWriteFails(t *testing.T, n int, kind faultfs.Kind, quick bool) (how string) {
	now := clock.NewFake(time.Now())
	l := newLab(t)
	l.clock, l.time = now.Now, now.Now
	dead := make(chan struct{})
	at := "none"
	d := &faultfs.Disk{
		FS: l.mem, FailAt: n, Kind: kind,
		Failed: func(op faultfs.Op) { at = op.String() },
		Fatal: func(op faultfs.Op) bool {
			// Where the database cannot sync its folder it panics.
			if op.What != faultfs.SyncFolder || !strings.HasPrefix(op.Path, path.Join(l.cfg.Data.Dir, "store")) {
				return false
			}
			close(dead)
			return true
		},
	}
	l.fs = d
	b := newBook()
	l.cfg.Reset.DelayOneDevice = 24 * time.Hour
	bag := takeMail(t, l)
	lives := make(chan error, 1)
	go func() { lives <- twoLives(l, b, bag, now) }()
	var err error
	select {
	case err = <-lives:
		how = "lived"
		if ended := (*endedError)(nil); errors.As(err, &ended) {
			how, err = ended.how, nil
		}
	case <-dead:
		how = "panicked"
	case <-time.After(4 * standStill):
		t.Fatalf("%s, %s: the server stands still", kind, at)
	}
	if err != nil {
		t.Errorf("%s, %s: %v", kind, at, err)
	}
	if !d.HasFailed() {
		return "no such operation"
	}
	rng := rand.New(rand.NewPCG(*seedFlag, uint64(n)))
	percents := []int{0, 100}
	if quick {
		percents = percents[rng.IntN(2):][:1]
	}
	known := b.page()
	for _, percent := range percents {
		left := l.on(faultfs.Clone(l.mem, percent, rng))
		if err := known.check(left, rng); err != nil {
			t.Errorf("%s, %s, %s, %d%% kept: %v", kind, at, how, percent, err)
		}
	}
	return how
}

// endedError says that a server has come to its end, as it may when the disk fails.
type endedError struct {
	how string
	err error
}

func (e *endedError) Error() string { return fmt.Sprintf("%s: %v", e.how, e.err) }

// twoLives runs a server twice and does everything once that writes. The error is an
// endedError if a server did not start, or stopped.
func twoLives(l *lab, b *book, bag *mailbag, now *clock.Fake) error {
	r, err := l.start()
	if err != nil {
		return &endedError{"refused to start", err}
	}
	s := &scenario{r: r, b: b, bag: bag}
	if err := s.end(s.firstLife()); err != nil {
		return err
	}
	now.Advance(25 * time.Hour) // sessions have expired, and a root is due
	if r, err = l.start(); err != nil {
		return &endedError{"refused to start again", err}
	}
	s.r = r
	if err := s.end(s.secondLife()); err != nil {
		return err
	}
	return nil
}

// scenario is what happens to a server.
type scenario struct {
	r          *run
	b          *book
	bag        *mailbag
	alice, bob *client.Account
	dora       *client.Account // who has lost her device
	paper      *client.Stream
	phrase     string
}

// end ends a life: after an error the server must have stopped by itself.
func (s *scenario) end(err error) error {
	if err == nil {
		if err := s.r.stop(); err != nil {
			return &endedError{"stopped when asked to", err}
		}
		return nil
	}
	select {
	case <-s.r.ended:
		s.r.client.Close()
		return &endedError{"stopped", s.r.err}
	case <-time.After(2 * time.Second):
		return fmt.Errorf("the server goes on after: %w", err)
	}
}

// verifier is a strict client for one account.
func (s *scenario) verifier(me **client.Account) *client.Verifier {
	srv := s.b.tapped(s.r, func() *client.Account { return *me })
	srv.HTTP.Timeout = standStill
	return client.NewVerifier(srv, s.b.witness)
}

// steps runs steps up to the first that fails, and notes what has been published after
// each: everything that was acknowledged, of whatever kind.
func (s *scenario) steps(all ...func(context.Context) error) error {
	for i, step := range all {
		if err := step(context.Background()); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		var group uint64
		if err := s.r.look(func(v *store.View) (err error) {
			group, err = groupOf(v)
			return err
		}); err != nil {
			return fmt.Errorf("after step %d: %w", i+1, err)
		}
		s.b.published(group)
	}
	return nil
}

func (s *scenario) signUp(me **client.Account, name string) func(context.Context) error {
	return func(ctx context.Context) error {
		a, err := client.Signup(ctx, s.verifier(me), client.SignupOptions{
			Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "first device",
		})
		if err == nil {
			*me = a
			s.b.joined(a.UID)
			s.b.addSession(s.r, a.UID, a.Session)
			s.b.addLinks(a.UID, a.Posted)
		}
		return err
	}
}

func (s *scenario) logIn(me **client.Account) func(context.Context) error {
	return func(ctx context.Context) error {
		a, err := client.Login(ctx, s.verifier(me), (*me).Username, "", (*me).Stream)
		if err == nil {
			*me = a
			s.b.addSession(s.r, a.UID, a.Session)
		}
		return err
	}
}

// mail asks for a change of mail addresses, which are as it says afterwards.
func (s *scenario) mail(me **client.Account, endpoint, address, then string) func(context.Context) error {
	return func(ctx context.Context) error {
		return s.b.change((*me).UID, func(t *told) { t.mails = then }, func() error {
			_, err := (*me).Server().PostJSON(ctx, endpoint, map[string]any{"email": address}, s.credential(*me))
			return err
		})
	}
}

// credential is what an account has: a device, or a session.
func (s *scenario) credential(a *client.Account) client.Credential {
	if a.Device != nil {
		return a.NIST(a.Device)
	}
	return a.Session
}

// reset ends an incarnation and begins the next one.
func (s *scenario) reset(me **client.Account, how func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := s.b.change((*me).UID, func(t *told) { t.resets++ }, func() error { return how(ctx) }); err != nil {
			return err
		}
		return (*me).ProvisionFirst(ctx, "device after all")
	}
}

func (s *scenario) firstLife() error {
	var tablet *client.Device
	var sig string
	return s.steps(
		s.signUp(&s.alice, "alice"),
		s.signUp(&s.bob, "bob"),
		func(ctx context.Context) error { return s.alice.Follow(ctx, s.bob.UID) },
		func(ctx context.Context) (err error) {
			tablet, err = s.alice.AddDevice(ctx, "tablet", client.DeviceMobile)
			return err
		},
		func(ctx context.Context) error {
			ek, err := s.alice.PostDeviceEK(ctx, s.alice.Device)
			if err == nil {
				s.b.add(promise{uid: s.alice.UID, device: s.alice.Device.ID, ek: ek.Generation})
			}
			return err
		},
		func(ctx context.Context) error {
			ek, err := s.alice.PostUserEK(ctx)
			if err == nil {
				s.b.add(promise{uid: s.alice.UID, userEK: ek.Generation})
			}
			return err
		},
		func(ctx context.Context) error { return s.alice.RollPUK(ctx) },
		func(ctx context.Context) error {
			_, _, err := s.alice.CloneToken(ctx, s.alice.Device, [16]byte{}, [16]byte{1})
			return err
		},
		func(ctx context.Context) error { return s.leaseAndCancel(ctx, tablet) },
		func(ctx context.Context) error { return s.alice.RevokeDevice(ctx, tablet.ID) },
		func(ctx context.Context) error {
			err := s.bob.Follow(ctx, s.alice.UID)
			if err == nil {
				sig = s.bob.Posted[len(s.bob.Posted)-1].SigID.SigID()
			}
			return err
		},
		func(ctx context.Context) error { return s.bob.RevokeSigs(ctx, sig) },
		func(ctx context.Context) error {
			_, err := s.alice.Currency(ctx, "bitcoin", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "")
			return err
		},
		func(ctx context.Context) error {
			if err := s.bob.Reload(ctx); err != nil {
				return err
			}
			id, err := s.alice.Vouch(ctx, s.bob.Me, "we met", "")
			if err == nil {
				_, err = s.bob.React(ctx, id, true)
			}
			return err
		},
		func(ctx context.Context) error { return s.notify(ctx, "first") },
		s.others,
		s.mail(&s.alice, "email/add", "a1@example.org", mailRow("a1@example.org", false)),
		s.mail(&s.alice, "email/add", "a2@example.org", mailRow("a1@example.org", false)+mailRow("a2@example.org", false)),
		s.mail(&s.alice, "email/set-primary", "a2@example.org", mailRow("a2@example.org", false)+mailRow("a1@example.org", false)),
		func(ctx context.Context) error { return s.bob.EnterReset(ctx, false) },
		func(ctx context.Context) error { return s.bob.CancelReset(ctx, s.bob.NIST(s.bob.Device)) },
		s.signUp(&s.dora, "dora"),
		s.logIn(&s.dora),
		func(ctx context.Context) error { return s.dora.EnterReset(ctx, true) },
		func(ctx context.Context) error {
			return s.b.change(s.alice.UID, func(t *told) { t.generation++ }, func() error {
				return s.alice.ChangePassword(ctx, client.CheapStream([]byte("another")))
			})
		},
	)
}

// others writes what nobody signs, or what is signed elsewhere: each kind once.
func (s *scenario) others(ctx context.Context) error {
	a, blocked := s.alice, true
	gpg, err := pgpKeys()
	if err != nil {
		return err
	}
	post := func(endpoint string, args url.Values) func() error {
		return func() error { return second(a.Server().Post(ctx, endpoint, args, a.NIST(a.Device))) }
	}
	for i, write := range []func() error{
		func() error { return a.AddPGP(ctx, gpg[0]) },
		func() error { _, _, err := a.Prove(ctx, "github", "alice"); return err },
		func() error { return a.SetWallet(ctx, walletKey) },
		post("stellar/disclaimer", nil),
		func() error { return putWallet(ctx, &cast{alice: a}) },
		func() error { return a.EditProfile(ctx, "Alice", "here", "") },
		func() error { return a.UploadPicture(ctx, picture) },
		func() error { return a.SetBlocks(ctx, client.BlockRow{UID: s.bob.UID.String(), Chat: &blocked}) },
		func() error { return second(a.NewBotToken(ctx)) },
		func() error { return a.SetFavorite(ctx, client.FolderPrivate, "alice,bob", false) },
		post("device/push_token", url.Values{"push_token": {"0a0b"}, "token_type": {"apple"}, "device_id": {a.Device.ID.String()}}),
		post("home/todo/skip", url.Values{"type": {"6"}}),
		post("send_invitation", url.Values{"email": {""}, "invitation_message": {""}, "note_to_self": {""}}),
		func() error { return a.SetLockdown(ctx, true) },
		func() error { return a.SetLockdown(ctx, false) },
	} {
		if err := write(); err != nil {
			return fmt.Errorf("write %d: %w", i+1, err)
		}
	}
	return nil
}

func (s *scenario) secondLife() error {
	s.paper = client.CheapStream([]byte("paper"))
	return s.steps(
		func(ctx context.Context) error { return s.r.beat(ctx) },
		func(ctx context.Context) error { return s.r.sweep(ctx) },
		s.logIn(&s.dora),
		s.reset(&s.dora, func(ctx context.Context) error { return s.dora.FinishReset(ctx) }),
		s.logIn(&s.alice),
		func(ctx context.Context) error {
			return s.b.change(s.alice.UID, func(t *told) {
				t.mails = mailRow("a2@example.org", true) + mailRow("a1@example.org", false)
			}, func() error {
				path, err := s.bag.link(ctx, "a2@example.org", 1)
				if err != nil {
					return err
				}
				return s.r.verify(ctx, path)
			})
		},
		s.mail(&s.alice, "email/delete", "a1@example.org", mailRow("a2@example.org", true)),
		s.reset(&s.alice, func(ctx context.Context) error { return s.alice.Reset(ctx) }),
		s.signUp(&s.bob, "charlie"),
		func(ctx context.Context) (err error) {
			s.phrase, _, err = s.bob.AddPaperKey(ctx, s.paper)
			return err
		},
		func(ctx context.Context) error { return s.bob.Follow(ctx, s.alice.UID) },
		func(ctx context.Context) error { return s.bob.Unfollow(ctx, s.alice.UID) },
		func(ctx context.Context) (err error) {
			_, err = client.LoginPaperKey(ctx, s.verifier(&s.bob), s.phrase, s.paper, "laptop")
			return err
		},
		func(ctx context.Context) error { return s.notify(ctx, "second") },
		func(ctx context.Context) error {
			_ = s.r.followRoots(ctx) // the server only complains in its log
			return nil
		},
		func(ctx context.Context) error {
			return s.b.change(s.dora.UID, func(t *told) { t.resets++ }, func() error { return s.dora.Delete(ctx) })
		},
	)
}

// leaseAndCancel begins to revoke a device and thinks better of it.
func (s *scenario) leaseAndCancel(ctx context.Context, d *client.Device) error {
	srv, nist := s.alice.Server(), s.alice.NIST(s.alice.Device)
	reply, err := srv.Post(ctx, "downgrade/key", url.Values{"kids": {d.Sig.KID().String()}}, nist)
	if err != nil {
		return err
	}
	id := strings.Trim(string(reply.Field("downgrade_lease_id")), `"`)
	_, err = srv.Post(ctx, "downgrade/cancel", url.Values{"downgrade_lease_id": {id}}, nist)
	return err
}

// notify keeps an in-band message for alice, by the way of the RPC door.
func (s *scenario) notify(ctx context.Context, id string) error {
	g := gregor.New(gregor.Options{
		Log: gregor.StoreLog(s.r.store), Clock: s.r.Clock, Rand: s.r.Rand, Logger: s.r.log,
	})
	u := kbsig.UID(s.alice.UID)
	return g.Consume(ctx, u, gregor1.Message{InBand: &gregor1.InBandMessage{StateUpdate: &gregor1.StateUpdateMessage{
		Metadata: gregor1.Metadata{UID: u[:], MsgID: []byte(id), InBandMsgType: gregor1.InBandUpdate},
		Creation: &gregor1.Item{Category: "test", Body: []byte("body")},
	}}})
}
