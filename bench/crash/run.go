package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/bench/proc"
)

const (
	// serverURI is a name that the tap replaces with the present address.
	serverURI = "http://keystead.invalid"
	// requestPatience bounds one request of a client.
	requestPatience = 2 * time.Minute
	// startKillMax is the latest moment of a kill during a start.
	startKillMax = 150 * time.Millisecond
	// startKillsMax is how often in a row a start is cut off.
	startKillsMax = 3
)

// trial is one data folder with everything that watches over it.
type trial struct {
	o       options
	site    proc.Site
	out     io.Writer
	judge   *judge
	ledger  *ledger
	witness *witness
	tap     *tap
	load    *load
	book    *book
	checker *checker
	rng     *rand.Rand
	log     *os.File
	seen    *os.File
	proc    *proc.Process
}

// run does it all and prints the summary; ok says that nothing was found. An error
// means that the run itself could not go on.
func run(ctx context.Context, o options, now func() time.Time, out io.Writer) (ok bool, err error) {
	work := o.dir
	if work == "" {
		if work, err = os.MkdirTemp("", "keystead-crash-"); err != nil {
			return false, err
		}
	}
	if o.bin == "" {
		if o.bin, err = proc.Build(ctx, work); err != nil {
			return false, err
		}
	}
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return false, err
	}
	t, err := newTrial(o, filepath.Join(work, "main"), now, out)
	if err != nil {
		return false, err
	}
	err = t.all(ctx, work, now)
	if t.proc != nil {
		t.proc.Kill()
	}
	err = errors.Join(err, t.close())
	ok = err == nil && t.judge.total() == 0
	if !ok || o.keep {
		fmt.Fprintf(out, "left behind: %s\n", work)
	} else if err := os.RemoveAll(work); err != nil {
		return ok, err
	}
	return ok, err
}

// all is cycles, folders, flips, and the summary.
func (t *trial) all(ctx context.Context, work string, now func() time.Time) error {
	fmt.Fprintf(t.out, "seed %d: %d cycles of %s to %s with %d workers in %s\n", t.o.seed, t.o.cycles, t.o.loadMin, t.o.loadMax, t.o.workers, work)
	if err := t.begin(ctx); err != nil {
		return err
	}
	for cycle := 1; cycle <= t.o.cycles; cycle++ {
		if err := t.cycle(ctx, cycle); err != nil {
			return fmt.Errorf("cycle %d: %w; repeat: %s", cycle, err, t.o.repeat())
		}
	}
	if t.o.folders {
		if err := t.folders(ctx); err != nil {
			return fmt.Errorf("folders: %w; repeat: %s", err, t.o.repeat())
		}
	}
	if t.o.flips > 0 {
		if err := t.flipBits(ctx, filepath.Join(work, "flips"), now); err != nil {
			return fmt.Errorf("flips: %w; repeat: %s", err, t.o.repeat())
		}
	}
	if t.o.births > 0 {
		if err := t.births(ctx, filepath.Join(work, "births")); err != nil {
			return fmt.Errorf("births: %w; repeat: %s", err, t.o.repeat())
		}
	}
	acked, unknown := t.ledger.counts()
	low, high := t.witness.span()
	others := ""
	if n := t.judge.count(wrong) + t.judge.count(unread); n > 0 {
		others = fmt.Sprintf(", %d otherwise wrong", n)
	}
	_, err := fmt.Fprintf(t.out, "%d cycles, %d acknowledged, %d unknown, %d lost, %d doubled, %d reordered, roots %d..%d seen, %d forked%s\n",
		t.o.cycles, acked, unknown, t.judge.count(lost), t.judge.count(doubled), t.judge.count(reordered), low, high, t.judge.count(forked), others)
	return err
}

// newTrial lays out dir: data/ for the server, and beside it what it must not touch.
func newTrial(o options, dir string, now func() time.Time, out io.Writer) (*trial, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	t := &trial{o: o, out: out, judge: newJudge(out, o.seed, o.repeat()), rng: rand.New(rand.NewPCG(o.seed, 0))}
	var err error
	if t.ledger, err = newLedger(filepath.Join(dir, "ledger.jsonl")); err != nil {
		return nil, err
	}
	if t.seen, err = os.Create(filepath.Join(dir, "roots.jsonl")); err != nil {
		return nil, err
	}
	if t.log, err = os.Create(filepath.Join(dir, "server.log")); err != nil {
		return nil, err
	}
	t.site = proc.Site{Bin: o.bin, Dir: filepath.Join(dir, "data"), Log: t.log}
	t.witness = newWitness(t.seen, t.judge.found)
	t.tap = newTap(t.ledger, t.witness)
	t.book = newBook(filepath.Join(dir, "ledger.jsonl"))
	t.connect(now)
	return t, nil
}

// connect makes the clients of the trial: the workers' and the checker's.
func (t *trial) connect(now func() time.Time) {
	var key [32]byte
	for i := range key {
		key[i] = byte(t.rng.Uint32())
	}
	srv := client.NewServer(serverURI, nil, now, rand.NewChaCha8(key))
	srv.HTTP = &http.Client{Transport: t.tap, Timeout: requestPatience}
	t.load = newLoad(srv, t.tap, t.judge, t.o.workers)
	look := client.NewServer(serverURI, nil, now, rand.NewChaCha8(key))
	look.HTTP = &http.Client{Transport: &tapOf{t.tap}, Timeout: requestPatience}
	w := client.NewWitness()
	w.TimeSlack = 0
	t.checker = &checker{v: client.NewVerifier(look, w), judge: t.judge}
}

func (t *trial) close() error {
	t.tap.base.CloseIdleConnections()
	return errors.Join(t.ledger.close(), t.seen.Close(), t.log.Close())
}

// begin starts the server for the first time and tells everybody its key.
func (t *trial) begin(ctx context.Context) error {
	if err := t.start(ctx); err != nil {
		return err
	}
	kid, err := client.ParseKID(t.proc.KID)
	if err != nil {
		return err
	}
	t.load.srv.RootKIDs = []client.KID{kid}
	t.checker.v.Server().RootKIDs = []client.KID{kid}
	return nil
}

// start starts the server and points everybody at it.
func (t *trial) start(ctx context.Context) error {
	p, err := t.site.Start(ctx)
	if err != nil {
		return err
	}
	t.proc = p
	t.tap.point(p.REST)
	t.witness.expect(p.KID)
	// First of all the witness asks for the way from the last root it knows.
	t.witness.ask(ctx, http.DefaultClient, "http://"+p.REST, t.ledger.position)
	return nil
}

// cycle is load, end, audit, start, check.
func (t *trial) cycle(ctx context.Context, cycle int) error {
	t.judge.enter(cycle)
	rng := rand.New(rand.NewPCG(t.o.seed, uint64(cycle)))
	from, base := t.ledger.position(), t.witness.newestSeqno()
	t.witness.takePolls()
	gracefully := t.o.stopNth > 0 && cycle%t.o.stopNth == 0
	after := t.o.loadMin + time.Duration(rng.Int64N(int64(t.o.loadMax-t.o.loadMin)+1))
	if err := t.loadAndEnd(ctx, cycle, after, gracefully); err != nil {
		return err
	}
	to := t.ledger.position()
	if err := t.book.readOn(); err != nil {
		return err
	}
	if t.o.auditN > 0 && cycle%t.o.auditN == 0 {
		if err := t.audit(ctx); err != nil {
			return err
		}
	}
	if t.o.folders && cycle == t.olderCycle() {
		if err := copyTree(t.older(), t.site.Dir); err != nil {
			return err
		}
	}
	if err := t.startRoughly(ctx, rng); err != nil {
		return err
	}
	users, teams := t.book.takeTouched(), t.book.takeTouchedTeams()
	touched := len(users)
	if cycle == t.o.cycles || t.o.wholeN > 0 && cycle%t.o.wholeN == 0 {
		users, teams = t.book.all(), t.book.allTeams()
	}
	t.checker.cycle = cycle
	if err := t.checker.check(ctx, users); err != nil {
		return err
	}
	if err := t.checker.teams(ctx, t.book, teams, t.load.reader); err != nil {
		return err
	}
	if err := t.order(ctx, users, teams, from, to, base, rng); err != nil {
		return err
	}
	how := "killed"
	if gracefully {
		how = "stopped"
	}
	acked, unknown := t.ledger.counts()
	_, high := t.witness.span()
	fmt.Fprintf(t.out, "cycle %d: %s after %s, %d users touched, %d users and %d teams checked; in all %d acknowledged, %d unknown, root %d\n",
		cycle, how, after.Round(time.Millisecond), touched, len(users), len(teams), acked, unknown, high)
	return ctx.Err()
}

// order asks about the past: what the roots of this cycle and of earlier ones say.
func (t *trial) order(ctx context.Context, users []*userBook, teams []*teamBook, from, to, base int64, rng *rand.Rand) error {
	seen := t.witness.teamSightings()
	if err := t.checker.stood(ctx, t.book, rng); err != nil {
		return err
	}
	inTeams, err := t.checker.placeTeams(ctx, t.book, teams, from, to, base, rng)
	if err != nil {
		return err
	}
	if err := t.checker.askAgain(ctx, seen, rng); err != nil {
		return err
	}
	return t.checker.order(ctx, users, inTeams, from, to, base, t.witness.takePolls(), rng)
}

// loadAndEnd lets the workers and the witness act and ends the server amid that.
func (t *trial) loadAndEnd(ctx context.Context, cycle int, after time.Duration, gracefully bool) error {
	t.load.ending.Store(false)
	watching, enough := context.WithCancel(ctx)
	defer enough()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { t.witness.watch(watching, "http://"+t.proc.REST, t.ledger.position) })
	wg.Go(func() { t.load.run(ctx, cycle, t.o.seed, stop) })
	var err error
	select {
	case <-time.After(after):
		t.load.ending.Store(true)
	case <-t.proc.Ended:
		t.judge.found(wrong, "the server ended by itself: %v: %s", t.proc.Err, proc.LastLines(t.proc.Stderr.String(), 4))
		t.load.ending.Store(true)
	case <-ctx.Done():
		t.load.ending.Store(true)
		err = ctx.Err()
	}
	if gracefully && err == nil && t.proc.Running() {
		if stopErr := t.proc.Stop(); stopErr != nil {
			t.judge.found(wrong, "%v", stopErr)
		}
	}
	t.proc.Kill()
	close(stop)
	enough()
	wg.Wait()
	return err
}

// audit runs keystead verify on the stopped folder and wants that it finds nothing.
func (t *trial) audit(ctx context.Context) error {
	code, output, err := t.site.Verb(ctx, "verify")
	if err != nil {
		return err
	}
	if code != 0 {
		t.judge.found(wrong, "keystead verify ends with status %d: %s", code, proc.LastLines(output, 6))
	}
	return nil
}

// startRoughly starts the server, in every fourth cycle after starts that are cut off.
func (t *trial) startRoughly(ctx context.Context, rng *rand.Rand) error {
	if rng.IntN(4) == 0 {
		for range 1 + rng.IntN(startKillsMax) {
			p, _, err := t.site.Launch()
			if err != nil {
				return err
			}
			select {
			case <-time.After(time.Duration(rng.Int64N(int64(startKillMax)))):
			case <-ctx.Done():
			}
			p.Kill()
		}
	}
	err := t.start(ctx)
	var not *proc.NotServing
	if errors.As(err, &not) {
		t.judge.found(lost, "the server does not start after a crash: %v", err)
	}
	return err
}
