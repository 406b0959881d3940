package node

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/clock"
)

const year = 365 * 24 * time.Hour

// clocks are the right time, and a machine whose clock is off by something.
type clocks struct {
	right *clock.Fake
	by    atomic.Int64 // in nanoseconds; the server reads it while tests set it
}

func (c *clocks) off() time.Duration { return time.Duration(c.by.Load()) }

func (c *clocks) setOff(by time.Duration) { c.by.Store(int64(by)) }

func (c *clocks) machine() time.Time { return c.right.Now().Add(c.off()) }

// clockLab is a server with one account, by clocks that are right so far.
type clockLab struct {
	t *testing.T
	*lab
	*clocks
	r       *run
	w       *client.Witness // of everybody; no root may be older than the one before
	names   names
	me      *client.Account
	session *client.Session // made while the clock was right
	token   string          // likewise: a device token that the server has accepted
}

func newClockLab(t *testing.T) *clockLab {
	c := &clockLab{t: t, lab: newLab(t), clocks: &clocks{right: clock.NewFake(time.Now())}, w: strictWitness()}
	c.clock, c.time = c.machine, c.right.Now
	c.r = c.mustStart(t)
	t.Cleanup(func() { _ = c.r.stop() })
	c.me = c.signUp()
	var err error
	if c.session, err = c.me.NewSession(context.Background()); err != nil {
		t.Fatal(err)
	}
	n, err := client.NewNIST(c.me.UID, c.me.Device.ID, c.right.Now(), c.r.client.Random)
	if err != nil {
		t.Fatal(err)
	}
	n.Sign(c.me.Device.Sig)
	c.token = b64(n.Short)
	if got := c.r.verdict(t, b64(n.Long)); got != "verified" {
		t.Fatalf("a new token is %s", got)
	}
	return c
}

func (c *clockLab) signUp() *client.Account {
	c.t.Helper()
	name := c.names.next()
	a, err := client.Signup(context.Background(), c.r.verifier(c.w), client.SignupOptions{
		Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "the device",
	})
	if err != nil {
		c.t.Fatalf("sign up by a clock that is off by %s: %v", c.off(), err)
	}
	return a
}

// verdict is what the server says of a device token.
func (r *run) verdict(t *testing.T, token string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, r.uri+"/_/api/1.0/sesscheck.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Keybase-Session", token)
	res, err := r.client.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.Header.Get("X-Keybase-Auth-NIST")
}

// works proves that people whose clocks are right can do everything.
func (c *clockLab) works() {
	c.t.Helper()
	ctx := context.Background()
	a, b := c.signUp(), c.signUp()
	for i, err := range []error{
		a.Follow(ctx, b.UID), a.RollPUK(ctx), second(a.PostDeviceEK(ctx, a.Device)), second(a.PostUserEK(ctx)),
		second(client.Login(ctx, c.r.verifier(c.w), a.Username, "", client.CheapStream([]byte(a.Username)))),
		second(a.AddDevice(ctx, "another device", client.DeviceMobile)),
	} {
		if err != nil {
			c.t.Fatalf("step %d by a clock that is off by %s: %v", i, c.off(), err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// alive proves which of the credentials of before are still good.
func (c *clockLab) alive(session, token bool) {
	c.t.Helper()
	err := c.r.client.CheckSession(context.Background(), c.session)
	if (err == nil) != session {
		c.t.Fatalf("session by a clock that is off by %s: %v", c.off(), err)
	}
	if got := c.r.verdict(c.t, c.token); (got == "verified") != token {
		c.t.Fatalf("device token by a clock that is off by %s: %s", c.off(), got)
	}
}

// stopsItself waits for the server to stop because of its clock, having signed nothing.
func (c *clockLab) stopsItself() {
	c.t.Helper()
	before := c.r.newest().Seqno
	_ = c.r.beat(context.Background()) // the clock is read every second anyway
	select {
	case <-c.r.ended:
	case <-time.After(20 * time.Second):
		c.t.Fatalf("the server goes on by a clock that is off by %s", c.off())
	}
	if !errors.Is(c.r.err, errClock) {
		c.t.Fatalf("the server stopped for another reason: %v", c.r.err)
	}
	if after := c.r.newest(); after.Seqno != before {
		c.t.Fatalf("root %d was signed at %s", after.Seqno, time.Unix(after.Ctime, 0))
	}
}

// refusesToStart proves that no server starts by such a clock, and that it says why.
func (c *clockLab) refusesToStart() {
	c.t.Helper()
	r, err := c.start()
	if err == nil {
		_ = r.stop()
		c.t.Fatalf("a server starts by a clock that is off by %s", c.off())
	}
	if !errors.Is(err, errClock) || !strings.Contains(err.Error(), "\n") {
		c.t.Fatalf("the start fails for another reason, or without a word on what to do: %v", err)
	}
}

func (c *clockLab) restart() {
	c.t.Helper()
	_ = c.r.stop()
	c.r = c.mustStart(c.t)
	a, err := client.Login(context.Background(), c.r.verifier(c.w), c.me.Username, "", client.CheapStream([]byte(c.me.Username)))
	if err != nil {
		c.t.Fatalf("log in after a restart by a clock that is off by %s: %v", c.off(), err)
	}
	c.me = a
}

// TestClockGoesBackALittle proves that a clock that goes back by up to half a day does
// no harm: the server's time stands still until it has been caught up with. Roots never
// get older, also over a restart; people with right clocks can do everything; sessions
// and tokens live longer by as much at most.
func TestClockGoesBackALittle(t *testing.T) {
	for _, back := range []time.Duration{time.Second, time.Hour, 11 * time.Hour} {
		t.Run(back.String(), func(t *testing.T) {
			t.Parallel()
			c := newClockLab(t)
			c.setOff(-back)
			c.works()
			c.alive(true, true)
			c.restart()
			c.works()
			c.right.Advance(back + time.Minute) // the machine's clock is where it was
			c.works()
			for range 3 {
				c.right.Advance(9 * time.Hour)
				_ = c.r.beat(t.Context())
			}
			c.alive(false, true)
			c.setOff(0)
			c.works()
			c.check()
		})
	}
}

// TestClockGoesBackFar proves that a clock that goes back by years stops the server,
// because its time would stand still for so long: nobody's session would ever end, and
// people with right clocks would be refused. No server starts by it; once it is right,
// everything is as it was.
func TestClockGoesBackFar(t *testing.T) {
	t.Parallel()
	c := newClockLab(t)
	c.setOff(-10 * year)
	c.stopsItself()
	c.refusesToStart()
	c.setOff(0)
	c.restart()
	c.alive(true, true)
	c.works()
	c.check()
}

// TestClockStandsStill proves that a clock that does not move does no harm for half a
// day, and that the leap by which it is set right is none.
func TestClockStandsStill(t *testing.T) {
	t.Parallel()
	c := newClockLab(t)
	for range 11 {
		c.right.Advance(time.Hour)
		c.setOff(c.off() - time.Hour)
		c.works()
	}
	c.alive(true, true)
	c.setOff(0)
	c.works()
	c.alive(true, true)
	for range 2 {
		c.right.Advance(7 * time.Hour)
		_ = c.r.beat(t.Context())
	}
	c.alive(false, true)
	c.check()
}

// TestClockLeapsALittle proves that a leap ahead by up to half a day, and back, does no
// harm: roots stay at the time that was signed last, people with right clocks can still
// do everything, and sessions and tokens end earlier by as much at most.
func TestClockLeapsALittle(t *testing.T) {
	t.Parallel()
	c := newClockLab(t)
	c.setOff(11 * time.Hour)
	c.works()
	c.alive(true, true)
	c.setOff(0)
	c.works()
	c.restart()
	c.works()
	c.check()
}

// TestClockLeapsFar proves that a clock that leaps ahead by years stops the server
// before it has signed anything by it, that no server starts by it, and that all
// sessions are there when it is right again. An operator can say that the server really
// stood still; then all that is older has ended.
func TestClockLeapsFar(t *testing.T) {
	t.Parallel()
	c := newClockLab(t)
	c.setOff(10 * year)
	c.stopsItself()
	c.refusesToStart()
	c.setOff(0)
	c.restart()
	c.alive(true, true)
	c.works()

	_ = c.r.stop()
	c.right.Advance(10 * year)
	c.refusesToStart()
	c.cfg.Merkle.GapMax = 11 * year
	c.restart()
	c.alive(false, false)
	c.works()
	c.check()
}

// TestClockLeapsNowAndThen proves that no sequence of small leaps makes the time of
// roots go back.
func TestClockLeapsNowAndThen(t *testing.T) {
	t.Parallel()
	c := newClockLab(t)
	for i, off := range []time.Duration{5 * time.Hour, -5 * time.Hour, 0, 11 * time.Hour, -time.Second, 2 * time.Hour, 0} {
		c.setOff(off)
		c.right.Advance(time.Duration(i) * time.Minute)
		c.works()
		if i%3 == 2 {
			c.restart()
		}
	}
	c.check()
}

// check looks at all that was signed.
func (c *clockLab) check() {
	c.t.Helper()
	if err := c.r.audit(); err != nil {
		c.t.Fatal(err)
	}
	last := int64(0)
	for _, r := range c.w.Dump() {
		if r.Ctime != 0 && r.Ctime < last {
			c.t.Fatalf("root %d is of %d, the one before of %d", r.Seqno, r.Ctime, last)
		}
		last = max(last, r.Ctime)
	}
}
