//go:build linux

// Command attack attacks the built server from many addresses of this machine and
// shows that a well-behaved client does not notice.
//
//	go run ./bench/attack            # every attack
//	go run ./bench/attack idle bombs # some of them
//	go run ./bench/attack -list
//
// Each attack has a server of its own, started on the loopback with no address exempt
// from its limits, and a victim: a strict client (bench/client) with an account, which
// loads users, posts, and connects to the RPC door at an even rate while the attack
// runs. One line tells what was done, how much of it was refused, the victim's
// latencies, the server's peak memory, and whether the named goals were met:
//
//   - the victim's p99 is below 250 ms and no request of the victim fails (a short run,
//     made among other tests, asks only that the victim waits less than 2 s);
//   - the server's memory stays below the attack's bound, in all and for each
//     connection;
//   - what the attack is after does not happen more often than a limit's figure says.
//
// Attackers have addresses of their own in 127.0.0.0/8, which Linux gives to anybody
// who asks. They are a process of their own with less right to the processor (nice 10):
// real ones bring their own machines, and it is the server that is measured. The
// package imports nothing of the server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/keystead/keystead/bench/proc"
)

// size says how much of everything.
type size struct {
	Connections int           // of attacks that hold connections
	Slow        int           // of attacks that send slowly
	Last        time.Duration // of one attack, at least
	// Full says that deadlines are waited for.
	Full bool
	// P99 is what the victim may wait.
	P99 time.Duration
}

// The sizes. A short run fits into the tests.
var (
	fullSize  = size{Connections: 20000, Slow: 5000, Last: 8 * time.Second, Full: true, P99: 250 * time.Millisecond}
	shortSize = size{Connections: 300, Slow: 200, Last: 700 * time.Millisecond, P99: 2 * time.Second}
)

// attack is one subcommand.
type attack struct {
	name string
	what string
	run  func(context.Context, *arena) (outcome, error)
	tls  bool // the doors speak TLS
}

// attacks lists them all.
var attacks = []attack{
	{"calm", "nothing: what the victim sees by itself", calm, false},
	{"idle", "connections that say nothing, on both doors", idle, false},
	{"slow-headers", "requests whose headers come a byte a second", slowHeaders, false},
	{"slow-bodies", "requests whose bodies come a byte a second", slowBodies, false},
	{"declared-lengths", "bodies that are declared as large as allowed and never come", declaredLengths, false},
	{"fat-requests", "one request as large as allowed on each connection, then silence", fatRequests, false},
	{"slow-readers", "large answers that nobody reads", slowReaders, false},
	{"frame-lies", "RPC frames that are declared and never come", frameLies, false},
	{"half-open", "TLS handshakes that are begun and never finished, on both doors", halfOpen, true},
	{"bombs", "compressed, nested and counted bombs, on both doors", bombs, false},
	{"garbage", "random bytes, and almost right ones, on both doors", garbage, false},
	{"login-guess", "guesses at one name from many addresses, and at many names from one", loginGuess, false},
	{"signup-flood", "accounts made as fast as the server lets", signUpFlood, false},
	{"call-flood", "RPC calls and session tokens that nobody signed, as fast as answered, from a few addresses", callFlood, false},
	{"request-flood", "reads as fast as the server answers, from a few addresses", requestFlood, false},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == attackerFlag {
		os.Exit(attackerMain(ctx, os.Stdin, os.Stdout))
	}
	err := command(ctx, os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1)
	}
}

// command runs one command line.
func command(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("attack", flag.ContinueOnError)
	short := flags.Bool("short", false, "a few hundred connections, about a second for each attack")
	bin := flags.String("bin", "", "server to attack (default: ./cmd/keystead, built first)")
	list := flags.Bool("list", false, "say which attacks there are")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *list {
		for _, a := range attacks {
			fmt.Fprintf(out, "%-17s %s\n", a.name, a.what)
		}
		return nil
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		return err
	}
	s := fullSize
	if *short {
		s = shortSize
	}
	dir, err := os.MkdirTemp("", "keystead-attack")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if *bin == "" {
		if *bin, err = proc.Build(ctx, dir); err != nil {
			return err
		}
	}
	return runAll(ctx, out, chosen, s, *bin, dir)
}

// choose finds attacks by name; no name means all.
func choose(names []string) ([]attack, error) {
	if len(names) == 0 {
		return attacks, nil
	}
	var out []attack
	for _, name := range names {
		found := false
		for _, a := range attacks {
			if a.name == name {
				out, found = append(out, a), true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no attack %q; see -list", name)
		}
	}
	return out, nil
}

var errGoals = errors.New("a goal was missed")

// runAll runs the attacks one after the other, each on a new server.
func runAll(ctx context.Context, out io.Writer, chosen []attack, s size, bin, dir string) error {
	missed := false
	for _, a := range chosen {
		r, err := runOne(ctx, a, s, bin, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		fmt.Fprintln(out, r)
		missed = missed || len(r.faults()) > 0
	}
	if missed {
		return errGoals
	}
	return nil
}

// runOne runs one attack beside a victim.
func runOne(ctx context.Context, a attack, s size, bin, dir string) (r report, err error) {
	srv, err := start(ctx, bin, dir, a.tls)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	v, err := newVictim(ctx, srv)
	if err != nil {
		return r, fmt.Errorf("the victim: %w", err)
	}
	before, err := srv.Usage()
	if err != nil {
		return r, err
	}
	during, stopVictim := context.WithCancel(ctx)
	suffered := make(chan struct{})
	go func() { defer close(suffered); v.live(during) }()
	begin := time.Now()
	r.outcome, err = fork(ctx, arena{
		Attack: a.name, REST: srv.REST, RPC: srv.RPC, KID: srv.KID, Size: s,
		Victim: v.account.UID.String(), LoginKID: v.account.Stream.LoginKID().String(),
	})
	stopVictim()
	<-suffered
	if err != nil {
		return r, err
	}
	r.name, r.goal, r.took, r.before = a.name, s.P99, time.Since(begin), before
	r.victim = v.seen()
	r.after, err = srv.Usage()
	return r, err
}

// calm is no attack.
func calm(ctx context.Context, a *arena) (outcome, error) {
	sleep(ctx, a.Size.Last)
	return outcome{MemoryMax: memoryMax / 4}, nil
}

// sleep waits unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
