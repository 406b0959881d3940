//go:build linux

// Command push measures how many devices the push door of a server holds: it connects
// idle devices and devices with traffic, lets some of the latter stall, and says what a
// connection costs, how long a message takes from one device to the others, what
// becomes of those that stall, and how long all are back after a restart.
//
//	go run ./bench/push -idle 20000 -busy 5000
//
// The devices are connections of users with one device key each, since the server
// counts connections; each authenticates by syncAll as the stock client does, and comes
// back two seconds after it was cut off. Client and server share the machine. Where the
// machine allows fewer open files than that many connections need, there are fewer, and
// the report says so.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keystead/keystead/bench/proc"
)

// What must hold.
const (
	perConnectionMax = 64 << 10         // bytes of the server's memory
	latencyP99Max    = 2 * time.Second  // on a machine that the measuring shares
	backWithin       = time.Minute      // all devices, after a restart
	lossPatience     = 30 * time.Second // for a message that was acknowledged
)

// devicesGC is how much the memory of the devices may grow, in percent, before it is
// collected: on two processors a collection over 18,000 of them holds up all for as long
// as half a second, which would be counted as the server's.
const devicesGC = 800

// Open files that are not connections of devices: of this process, and of the server,
// which keeps some for its store and some for its other door.
const (
	filesKept       = 512
	serverFilesKept = 1024
	serverRESTKept  = 1024
)

type options struct {
	idle, busy, perUser int
	stalled             float64
	last, pause         time.Duration
	dir, bin            string
	tls                 bool
	trust               *tls.Config // nil: the door speaks plainly
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := command(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "push:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out io.Writer) error {
	var o options
	f := flag.NewFlagSet("push", flag.ContinueOnError)
	f.IntVar(&o.idle, "idle", 20000, "devices that only ping")
	f.IntVar(&o.busy, "busy", 5000, "devices of users who send messages")
	f.IntVar(&o.perUser, "per-user", 50, "devices of one user, at most 64")
	f.Float64Var(&o.stalled, "stalled", 0.01, "share of the busy devices that read nothing")
	f.DurationVar(&o.last, "last", 30*time.Second, "how long there is traffic")
	f.DurationVar(&o.pause, "pause", 20*time.Millisecond, "between two messages, over all users")
	f.StringVar(&o.dir, "dir", "", "folder for the data; default a temporary one, removed at the end")
	f.BoolVar(&o.tls, "tls", false, "let the push door speak TLS")
	f.StringVar(&o.bin, "keystead", "", "server binary; default: built from this tree")
	if err := f.Parse(args); err != nil {
		return err
	}
	return o.run(ctx, out)
}

// fit makes the crowd as large as the machine allows.
func (o *options) fit(out io.Writer) error {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("ask how many files may be open: %w", err)
	}
	share := int(files.Max) - serverFilesKept
	most := min(int(files.Max)-filesKept, share-min(share/4, serverRESTKept))
	if want := o.idle + o.busy; want > most {
		fmt.Fprintf(out, "the machine allows a process %d open files: %d connections instead of %d\n", files.Max, most, want)
		o.busy = o.busy * most / want
		o.idle = most - o.busy
	}
	o.busy -= o.busy % o.perUser
	return nil
}

func (o options) run(ctx context.Context, out io.Writer) (err error) {
	if err := o.fit(out); err != nil {
		return err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(devicesGC))
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "keystead-push-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir)
	}
	if o.bin == "" {
		if o.bin, err = proc.Build(ctx, o.dir); err != nil {
			return err
		}
	}
	// Everything comes from this machine: limits by address would measure themselves.
	config, text := filepath.Join(o.dir, "keystead.toml"), "[limits]\nexempt = [\"127.0.0.0/8\"]\n[log]\nlevel = \"warn\"\n"
	if o.tls {
		var cert, key string
		if cert, key, o.trust, err = proc.Certify(o.dir); err != nil {
			return fmt.Errorf("make a certificate: %w", err)
		}
		// Stock clients are built as of Go 1.19, which knows no others.
		o.trust.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
		text += fmt.Sprintf("[rpc]\ntls_cert = %q\ntls_key = %q\n", cert, key)
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	site := proc.Site{Bin: o.bin, Dir: filepath.Join(o.dir, "data"), Log: os.Stderr, Flags: []string{"--config", config}}
	server, err := site.Start(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if server != nil {
			server.Kill()
		}
	}()
	c := &crowd{options: o, out: out, rpc: server.RPC}
	c.load("begin")
	if err := c.signUp(ctx, server); err != nil {
		return err
	}
	before, err := server.Usage()
	if err != nil {
		return err
	}
	if err := c.connect(ctx, before, server); err != nil {
		return err
	}
	defer c.end()
	c.load("traffic")
	if err := c.traffic(ctx); err != nil {
		return err
	}
	if err := c.judgeStalled(ctx); err != nil {
		return err
	}
	site.Flags = append(site.Flags, "--http", server.REST, "--rpc", server.RPC)
	err = c.restart(ctx, func() (*proc.Process, error) {
		if err := server.Stop(); err != nil {
			return nil, err
		}
		server, err = site.Start(ctx)
		return server, err
	})
	return err
}

// connect brings the devices in: first the idle ones, whose cost is measured.
func (c *crowd) connect(ctx context.Context, before proc.Usage, server *proc.Process) error {
	begun := time.Now()
	if err := c.enter(ctx, c.idle, 0); err != nil {
		return err
	}
	took := time.Since(begun)
	pause(ctx, 2*time.Second) // what was needed to come in is given back
	after, err := server.Usage()
	if err != nil {
		return err
	}
	each := int64(0)
	if c.idle > 0 {
		each = (after.Resident - before.Resident) / int64(c.idle)
	}
	fmt.Fprintf(c.out, "%d idle devices in %s; memory %d MiB before, %d MiB with them: %.1f KiB each\n",
		c.idle, took.Round(time.Millisecond), before.Resident>>20, after.Resident>>20, float64(each)/1024)
	if each > perConnectionMax && c.idle >= 1000 {
		return fmt.Errorf("an idle device costs %d bytes, %d are allowed", each, perConnectionMax)
	}
	return c.enter(ctx, c.busy, int(float64(c.busy)*c.stalled))
}

// traffic lets one device after the other send, in an open loop, and measures until all
// that read have heard it.
func (c *crowd) traffic(ctx context.Context) error {
	pause(ctx, time.Second) // the door holds messages back while a client that has come in settles
	end, cancel := context.WithTimeout(ctx, c.last)
	defer cancel()
	tick := time.NewTicker(c.pause)
	defer tick.Stop()
	var sending sync.WaitGroup
	senders := c.senders()
	for i := 0; len(senders) > 0; i++ {
		select {
		case <-end.Done():
			sending.Wait()
			return c.reportTraffic(ctx)
		case <-tick.C:
		}
		sending.Go(func() { c.send(ctx, senders[i%len(senders)], smallBody) })
	}
	return nil
}

func (c *crowd) reportTraffic(ctx context.Context) error {
	deadline := time.Now().Add(lossPatience)
	for c.missing() > 0 && time.Now().Before(deadline) && ctx.Err() == nil {
		pause(ctx, 50*time.Millisecond)
	}
	lost := c.missing()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.took) == 0 {
		return fmt.Errorf("nobody heard anything")
	}
	slices.Sort(c.took)
	median, p99 := c.took[len(c.took)/2], c.took[len(c.took)*99/100]
	fmt.Fprintf(c.out, "%d messages to %d busy devices, %d of which are stalled: %d heard; latency median %s, p99 %s, max %s\n",
		c.sent, c.busy, c.stalledCount, len(c.took), median.Round(10*time.Microsecond), p99.Round(10*time.Microsecond), c.took[len(c.took)-1].Round(10*time.Microsecond))
	switch {
	case len(c.faults) > 0:
		return fmt.Errorf("%d calls failed, the first: %w", len(c.faults), c.faults[0])
	case lost > 0:
		return fmt.Errorf("%d messages that were acknowledged were not heard", lost)
	case p99 > latencyP99Max:
		return fmt.Errorf("the 99th of a hundred messages took %s, %s is allowed", p99, latencyP99Max)
	}
	return nil
}

// restart stops and starts the server and waits until every device is back.
func (c *crowd) restart(ctx context.Context, again func() (*proc.Process, error)) error {
	back := c.awaitReturn()
	c.load("restart")
	begun := time.Now()
	server, err := again()
	if err != nil {
		return err
	}
	up := time.Now()
	before, err := c.used(server)
	if err != nil {
		return err
	}
	select {
	case <-back:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(3 * backWithin):
	}
	took := time.Since(up)
	after, err := c.used(server)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.out, "restart: stopped and serving again in %s, %d of %d devices back in sync %s later (%d by what happened since, %d by the whole state)\n",
		up.Sub(begun).Round(time.Millisecond), c.returned, c.returning, took.Round(time.Millisecond), c.incremental, c.whole)
	perDevice := func(d time.Duration) time.Duration {
		return (d / time.Duration(max(c.returned, 1))).Round(time.Microsecond)
	}
	ofServer, ofDevices := after.server.CPU-before.server.CPU, after.devices-before.devices
	fmt.Fprintf(c.out, "  processor time meanwhile: server %s (%s a device), all devices %s (%s a device); %d dialled; failures: %v\n",
		ofServer.Round(time.Millisecond), perDevice(ofServer), ofDevices.Round(time.Millisecond), perDevice(ofDevices), c.dialled.Load(), c.failures)
	c.load("end")
	if c.returned < c.returning || took > backWithin {
		return fmt.Errorf("%d of %d devices were back after %s", c.returned, c.returning, took)
	}
	return nil
}

// spent is what both sides have used so far.
type spent struct {
	server  proc.Usage
	devices time.Duration
}

func (c *crowd) used(server *proc.Process) (s spent, err error) {
	if s.server, err = server.Usage(); err != nil {
		return s, err
	}
	var own unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &own); err != nil {
		return s, fmt.Errorf("ask for the processor time of the devices: %w", err)
	}
	s.devices = time.Duration(own.Utime.Nano() + own.Stime.Nano())
	return s, nil
}

// load says how busy the machine is at the begin of a part.
func (c *crowd) load(part string) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return
	}
	fmt.Fprintf(c.out, "[%s: load average %s]\n", part, strings.Join(strings.Fields(string(text))[:3], " "))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
