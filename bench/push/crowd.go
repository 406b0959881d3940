//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/bench/proc"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

// How devices behave. client: go/service/gregor.go:GregorConnectionRetryInterval, go/service/gregor.go:gregorHandler.connectTLS, go/libkb/env.go:GetGregorPingInterval
const (
	retryAfter        = 2 * time.Second
	pingEvery         = 10 * time.Second
	callPatience      = 30 * time.Second
	dialPatience      = 10 * time.Second
	handshakePatience = 10 * time.Second
)

// Sizes of messages: what a badge has, and what fills the queue of one that stalls.
const (
	smallBody = 100
	largeBody = 100_000
)

// stalledJudged is how many of those that stall are sent large messages: each costs as
// much for every device of its person.
const stalledJudged = 2

// enteringMax and signingUpMax bound what is done at the same time.
const (
	enteringMax  = 64
	signingUpMax = 8
)

// person is a user with one device key, which many devices connect with.
type person struct {
	uid     client.UID
	device  client.DeviceID
	token   string // of the long form
	devices []*device
}

// crowd is all devices and what they saw.
type crowd struct {
	options
	out    io.Writer
	rpc    string
	people []*person

	stop context.CancelFunc
	live sync.WaitGroup

	mu           sync.Mutex
	sent         int
	took         []time.Duration
	awaited      map[string]*letter // by message id
	faults       []error
	stalledCount int

	returning, returned, incremental, whole int
	back                                    chan struct{}
	failures                                map[string]int // while returning, by what went wrong

	serial, dialled atomic.Int64
}

// letter is a message on its way.
type letter struct {
	sent  time.Time
	acked bool
	want  int // devices that have not heard it
}

// signUp makes as many people as the devices need.
func (c *crowd) signUp(ctx context.Context, server *proc.Process) error {
	kid, err := client.ParseKID(server.KID)
	if err != nil {
		return err
	}
	c.awaited = make(map[string]*letter)
	c.people = make([]*person, (c.idle+c.perUser-1)/c.perUser+c.busy/c.perUser)
	begun := time.Now()
	errs := make([]error, len(c.people))
	each(len(c.people), signingUpMax, func(i int) {
		srv := client.NewServer("http://"+server.REST, []client.KID{kid}, time.Now, rand.Reader)
		defer srv.Close()
		a, err := client.Signup(ctx, client.NewVerifier(srv, nil), client.SignupOptions{
			Name: fmt.Sprintf("push%d", i), Stream: client.CheapStream([]byte("correct horse")), DeviceName: "desk",
		})
		if err != nil {
			errs[i] = err
			return
		}
		n, err := client.NewNIST(a.UID, a.Device.ID, time.Now(), rand.Reader)
		if err != nil {
			errs[i] = err
			return
		}
		n.Sign(a.Device.Sig)
		c.people[i] = &person{uid: a.UID, device: a.Device.ID, token: base64.StdEncoding.EncodeToString(n.Long)}
	})
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("sign up person %d: %w", i, err)
		}
	}
	fmt.Fprintf(c.out, "%d people in %s, %d devices each at most\n", len(c.people), time.Since(begun).Round(time.Millisecond), c.perUser)
	return nil
}

// enter connects n more devices of people who have none yet; some of them stall once
// they are in.
func (c *crowd) enter(ctx context.Context, n, stalled int) error {
	if c.stop == nil {
		ctx, c.stop = context.WithCancel(ctx)
		_ = ctx
	}
	first := 0
	for first < len(c.people) && len(c.people[first].devices) > 0 {
		first++
	}
	var all []*device
	for i := range n {
		p := c.people[first+i/c.perUser]
		d := &device{crowd: c, person: p, since: 0}
		p.devices = append(p.devices, d)
		all = append(all, d)
	}
	for i := range stalled {
		// Never the first of a person, which sends.
		d := all[i*len(all)/stalled/c.perUser*c.perUser+1+i%(c.perUser-1)]
		if !d.stalls {
			d.stalls = true
			c.stalledCount++
		}
	}
	errs := make([]error, len(all))
	each(len(all), enteringMax, func(i int) { errs[i] = all[i].enter(ctx) })
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("device %d: %w", i, err)
		}
	}
	for _, d := range all {
		c.live.Go(d.live)
	}
	return nil
}

// senders are the first devices of the busy people.
func (c *crowd) senders() (out []*device) {
	for _, p := range c.people[len(c.people)-c.busy/c.perUser:] {
		out = append(out, p.devices[0])
	}
	return out
}

// send lets a device tell the others of its person something.
func (c *crowd) send(ctx context.Context, d *device, size int) {
	id := fmt.Sprintf("message %08d", c.serial.Add(1))
	want := 0
	for _, other := range d.person.devices {
		if !other.stalls {
			want++
		}
	}
	c.mu.Lock()
	c.sent++
	c.awaited[id] = &letter{sent: time.Now(), want: want}
	c.mu.Unlock()
	m := gregor1.Message{InBand: &gregor1.InBandMessage{StateUpdate: &gregor1.StateUpdateMessage{
		Metadata: gregor1.Metadata{UID: d.person.uid[:], MsgID: []byte(id), InBandMsgType: gregor1.InBandUpdate},
		Creation: &gregor1.Item{Category: "bench", Body: make([]byte, size)},
		// Each takes the place of the one before, as badges do.
		Dismissal: &gregor1.Dismissal{Ranges: []gregor1.MsgRange{{Category: "bench", SkipMsgIDs: [][]byte{[]byte(id)}}}},
	}}}
	err := d.call(ctx, "gregor.1.incoming.consumeMessage", gregor1.ConsumeMessageArg{Message: m}, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.faults = append(c.faults, err)
		return
	}
	c.awaited[id].acked = true
}

// heard notes that a device that reads was told a message.
func (c *crowd) heard(id string) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.awaited[id]; l != nil && l.want > 0 {
		l.want--
		c.took = append(c.took, now.Sub(l.sent))
	}
}

// missing counts what was acknowledged and not heard by all who read.
func (c *crowd) missing() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.awaited {
		if l.acked {
			n += l.want
		}
	}
	return n
}

// judgeStalled sends to the people with a stalled device more than its queue holds, and
// proves that it is cut off, that the others hear everything meanwhile, and that it has
// the state again when it comes back.
func (c *crowd) judgeStalled(ctx context.Context) error {
	if c.stalledCount == 0 {
		return nil
	}
	var stalled []*device
	for _, d := range c.senders() {
		for _, other := range d.person.devices {
			if other.stalls {
				stalled = append(stalled, other)
			}
		}
	}
	victims := stalled[:min(len(stalled), stalledJudged)]
	const enough = 32 << 20 // bytes: the queue of the door and those of the network
	for _, v := range victims {
		for range enough / largeBody {
			c.send(ctx, v.person.devices[0], largeBody)
		}
	}
	c.mu.Lock()
	c.took = c.took[:0]
	c.mu.Unlock()
	for _, v := range victims {
		if n := v.drain(); n >= enough {
			return fmt.Errorf("a device that read nothing was sent %d bytes and never cut off", n)
		}
	}
	for deadline := time.Now().Add(lossPatience); c.missing() > 0 && time.Now().Before(deadline); {
		pause(ctx, 50*time.Millisecond)
	}
	if n := c.missing(); n > 0 {
		return fmt.Errorf("%d messages were lost to devices beside a stalled one", n)
	}
	fmt.Fprintf(c.out, "%d devices that read nothing were cut off behind %d messages of %d bytes each; the others of their people heard all\n", len(victims), enough/largeBody, largeBody)
	return nil
}

// awaitReturn makes every device count when it has come back; the channel is closed
// when all have.
func (c *crowd) awaitReturn() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.back, c.failures = make(chan struct{}), make(map[string]int)
	c.dialled.Store(0)
	for _, p := range c.people {
		for _, d := range p.devices {
			if !d.stalls {
				c.returning++
			}
		}
	}
	return c.back
}

// failed notes an attempt to come back that came to nothing.
func (c *crowd) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures == nil || errors.Is(err, syscall.ECONNREFUSED) { // the server is away
		return
	}
	step, _, _ := strings.Cut(err.Error(), " ")
	why := "other"
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		why = "too late"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		why = "cut off"
	}
	c.failures[strings.Trim(step, ":")+" "+why]++
}

func (c *crowd) cameBack(incremental bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.back == nil {
		return
	}
	if incremental {
		c.incremental++
	} else {
		c.whole++
	}
	if c.returned++; c.returned == c.returning {
		close(c.back)
	}
}

func (c *crowd) end() {
	c.stop()
	for _, p := range c.people {
		for _, d := range p.devices {
			d.close()
		}
	}
	c.live.Wait()
}

// each runs fn for 0 to n-1, at most width at a time.
func each(n, width int, fn func(i int)) {
	slots := make(chan struct{}, width)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			fn(i)
		})
	}
	wg.Wait()
}

// source is an address of this machine for the n-th connection, so that the ports of
// none run out.
func source(n int64) *net.TCPAddr {
	return &net.TCPAddr{IP: net.IPv4(127, 1, byte(n/math.MaxUint8%math.MaxUint8), byte(1+n%math.MaxUint8%254))}
}
