package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/keystead/keystead/bench/client"
)

// Limits of the load.
const (
	accountsPerWorker = 3  // that a worker acts for at a time
	chainLinksMax     = 48 // after which an account is left alone
	devicesMax        = 8  // active ones of an account
)

// Codes of refusals that the load provokes.
const (
	codeNameTaken    = 701
	codeBadLoginUser = 203
	codeBadLogin     = 204
	codeEKGeneration = 2900
)

// load is the crowd of workers over all cycles. Their verifiers and accounts live on
// through the crashes, as clients do.
type load struct {
	srv     *client.Server
	tap     *tap
	judge   *judge
	workers []*worker
	names   atomic.Int64 // names that two workers want, two by two
	ending  atomic.Bool  // the server is being ended: broken connections are no fault

	mu     sync.Mutex
	people []client.UID       // who can be followed
	all    map[string]*person // whose keys are held, by name
}

// worker acts for a few accounts, one request after the other.
type worker struct {
	load  *load
	n     int
	cycle int
	made  int // accounts begun in this cycle
	v     *client.Verifier
	rng   *rand.Rand
	mine  []*person
}

// person is one account with what the worker knows beside it.
type person struct {
	a      *client.Account // nil until the sign-up is known to have happened
	name   string
	stream *client.Stream
	shaken bool // an outcome is unknown: look before the next step
	gone   bool // nothing more is done for it
	// unsureEK: the outcome of a device's newest ephemeral key is unknown.
	unsureEK map[client.DeviceID]bool
	ekUnder  int // generation of the per-user key that signs its user ephemeral keys
	houses   []*house
}

func newLoad(srv *client.Server, t *tap, j *judge, workers int) *load {
	l := &load{srv: srv, tap: t, judge: j, all: make(map[string]*person)}
	for n := range workers {
		l.workers = append(l.workers, &worker{load: l, n: n, v: client.NewVerifier(srv, nil)})
	}
	return l
}

// run lets all workers act until stop is closed and each has finished its step.
func (l *load) run(ctx context.Context, cycle int, seed uint64, stop <-chan struct{}) {
	var wg sync.WaitGroup
	for _, w := range l.workers {
		w.cycle, w.made = cycle, 0
		w.rng = rand.New(rand.NewPCG(seed, uint64(cycle)<<16|uint64(w.n)))
		wg.Go(func() { w.run(ctx, stop) })
	}
	wg.Wait()
}

func (w *worker) run(ctx context.Context, stop <-chan struct{}) {
	for _, p := range w.mine {
		p.shaken = true // the server was away
	}
	for {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		default:
		}
		p := w.pick()
		ctx := withActor(ctx, actor{w.cycle, w.n, p.name, false})
		err := w.step(ctx, p)
		if err != nil && !w.blame(p, err) {
			return // the server is gone
		}
		w.drop()
	}
}

// drop forgets accounts that are left alone.
func (w *worker) drop() {
	kept := w.mine[:0]
	for _, p := range w.mine {
		if p.a != nil && p.a.Me != nil && len(p.a.Me.Chain) >= chainLinksMax {
			p.gone = true
		}
		if !p.gone {
			kept = append(kept, p)
		}
	}
	w.mine = kept
}

// pick takes one of the worker's accounts, or a new one while there are few.
func (w *worker) pick() *person {
	if len(w.mine) < accountsPerWorker && (len(w.mine) == 0 || w.rng.IntN(4) == 0) {
		w.made++
		name := "k" + strconv.FormatInt(int64(w.cycle), 36) + "w" + strconv.Itoa(w.n) + "n" + strconv.Itoa(w.made)
		if w.rng.IntN(5) == 0 {
			// Somebody else wants, or has, the same one.
			name = "both" + strconv.FormatInt(w.load.names.Add(1)/2, 36)
		}
		var seed [16]byte
		for i := range seed {
			seed[i] = byte(w.rng.Uint32())
		}
		p := &person{name: name, stream: client.CheapStream(seed[:]), unsureEK: map[client.DeviceID]bool{}}
		w.mine = append(w.mine, p)
		return p
	}
	return w.mine[w.rng.IntN(len(w.mine))]
}

// errRefused is a refusal that the load asked for.
var errRefused = errors.New("refused, as it should be")

// blame sorts the error of a step; false means that the server does not answer.
func (w *worker) blame(p *person, err error) bool {
	p.shaken = true
	var status *client.StatusError
	switch rule := client.ViolatedRule(err); {
	case errors.Is(err, errRefused):
	case rule == client.RuleRollback, rule == client.RuleFork, rule == client.RulePrev, rule == client.RuleRootTime:
		w.load.judge.found(forked, "worker %d for %s: %v", w.n, p.name, err)
		p.gone = true
	case rule == client.RulePosted, rule == client.RuleLeafHistory, rule == client.RuleChainHistory:
		w.load.judge.found(lost, "worker %d for %s: %v", w.n, p.name, err)
		p.gone = true
	case rule != "":
		w.load.judge.found(wrong, "worker %d for %s: %v", w.n, p.name, err)
		p.gone = true
	case errors.As(err, &status) && status.Code == codeGeneric && w.load.ending.Load():
		return false
	case errors.As(err, &status):
		w.load.judge.found(wrong, "an honest request of %s was refused: %v", p.name, err)
		p.gone = true
	case w.load.ending.Load():
		return false
	default:
		w.load.judge.found(wrong, "the connection broke while the server ran, for %s: %v", p.name, err)
		return false
	}
	return true
}

// step does one thing for an account.
func (w *worker) step(ctx context.Context, p *person) error {
	switch {
	case p.a == nil && !p.shaken:
		return w.signUp(ctx, p)
	case p.a == nil:
		return w.lookAfterSignUp(ctx, p)
	case p.shaken:
		return w.look(ctx, p)
	case p.a.Device == nil:
		return w.firstDevice(ctx, p)
	}
	w.load.know(p)
	total := 0
	for _, d := range deeds {
		total += d.weight
	}
	at := w.rng.IntN(total)
	for _, d := range deeds {
		if at -= d.weight; at < 0 {
			if err := d.do(w, ctx, p); err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			return nil
		}
	}
	return nil
}

func (w *worker) signUp(ctx context.Context, p *person) error {
	a, err := client.Signup(ctx, w.v, client.SignupOptions{Name: p.name, Stream: p.stream})
	if client.StatusCode(err) == codeNameTaken {
		p.gone = true
		return errRefused
	}
	if err != nil {
		return fmt.Errorf("sign up: %w", err)
	}
	p.a = a
	return nil
}

// lookAfterSignUp finds out by the password whether a sign-up has happened.
func (w *worker) lookAfterSignUp(ctx context.Context, p *person) error {
	a, err := client.Login(ctx, w.v, p.name, "", p.stream)
	switch client.StatusCode(err) {
	case codeBadLoginUser, codeBadLogin:
		p.gone = true // it has not, or somebody else was first
		return errRefused
	}
	if err != nil {
		return fmt.Errorf("log in after an unknown sign-up: %w", err)
	}
	p.a, p.shaken = a, false
	if a.Me.Tail() != nil {
		p.gone = true // its first device was posted, and its keys are lost
	}
	return nil
}

// look brings an account up to what the server has, and often sends again what had
// no answer, as real clients do.
func (w *worker) look(ctx context.Context, p *person) error {
	a := p.a
	if err := a.Reload(ctx); err != nil {
		return fmt.Errorf("look: %w", err)
	}
	if a.Device == nil {
		p.shaken = false
		if a.Me.Tail() != nil {
			p.gone = true // provisioned by a request whose keys are lost
		}
		return nil
	}
	if last := w.load.tap.lastPost(p.name); last != nil && last.outcome == wasUnknown && w.rng.IntN(2) == 0 {
		err := w.again(ctx, p, last)
		if last.endpoint == "sig/multi" && client.StatusCode(err) > 0 && client.StatusCode(err) != codeGeneric {
			return errRefused // others have acted in the team since
		}
		if err != nil {
			return fmt.Errorf("send what the crash cut off again: %w", err)
		}
	}
	if err := a.FetchPUKs(ctx, a.Device); err != nil {
		return fmt.Errorf("look: %w", err)
	}
	p.shaken = false
	return nil
}

// again sends a post of links once more. Whether it had been carried out or not, and
// nothing was posted since, the answer must be that it is done now.
func (w *worker) again(ctx context.Context, p *person, last *rawPost) error {
	_, err := w.load.srv.PostRaw(ctx, last.endpoint, last.contentType, last.body, p.a.NIST(p.a.Device))
	if err != nil {
		return err
	}
	return p.a.Reload(ctx)
}

func (w *worker) firstDevice(ctx context.Context, p *person) error {
	if err := p.a.ProvisionFirst(ctx, "computer 1"); err != nil {
		return fmt.Errorf("first device: %w", err)
	}
	w.load.mu.Lock()
	defer w.load.mu.Unlock()
	w.load.people = append(w.load.people, p.a.UID)
	return nil
}

// know notes whose keys are held.
func (l *load) know(p *person) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[p.name] = p
}

// reader is an account by its name, nil if nobody holds its keys.
func (l *load) reader(name string) *client.Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.all[name]; p != nil {
		return p.a
	}
	return nil
}

// stranger is somebody to follow whom an account does not follow yet.
func (w *worker) stranger(a *client.Account) (client.UID, bool) {
	w.load.mu.Lock()
	defer w.load.mu.Unlock()
	for range 4 {
		if len(w.load.people) == 0 {
			break
		}
		uid := w.load.people[w.rng.IntN(len(w.load.people))]
		if _, has := a.Me.Family.Followees[uid]; !has && uid != a.UID {
			return uid, true
		}
	}
	return client.UID{}, false
}

// randomName is a device name that has not been used.
func (w *worker) randomName() string {
	b := []byte{byte(w.rng.Uint32()), byte(w.rng.Uint32()), byte(w.rng.Uint32()), byte(w.rng.Uint32())}
	return "device " + hex.EncodeToString(b)
}
