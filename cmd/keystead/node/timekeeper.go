package node

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/merklehot/roots"
)

// clockLeapMax is how far the machine's clock may leap, ahead or back, while the server
// runs, and how far it may be behind the newest root when the server starts. Links and
// tokens are judged with a slack of 24 hours (merklehot/sigchain, compat/kbsig): half of
// it is left to clients whose own clocks are wrong.
const clockLeapMax = 12 * time.Hour

// errClock says that the machine's clock cannot be right.
var errClock = errors.New("the machine's clock cannot be right")

// timekeeper is the server's clock: the machine's, held against going back and against
// leaps. What the server signs can never be taken back: after one root from the year
// 2036, no client with a right clock could post before that year, since a link must not
// be older than the root it quotes.
//
//   - After going back the time stands still until the machine's clock has caught up.
//   - It is never before the newest root, also after a restart.
//   - A leap by more than clockLeapMax since the last look, which was a second ago at
//     most, stops the server before anything was signed with it. So does a machine that
//     slept for longer; a start goes on from there.
//   - A start is refused if the clock is further behind the newest root than that, or
//     further ahead than the configuration allows.
type timekeeper struct {
	machine clock.Clock
	die     func(error)

	mu     sync.Mutex
	last   time.Time
	begun  bool // leaps count
	leaped bool // the time stands still for good
}

// now is a clock.Clock.
func (k *timekeeper) now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.machine().Round(0)
	if k.begun && !k.leaped {
		switch leap := now.Sub(k.last); {
		case leap > clockLeapMax:
			k.leap("ahead by %s; if the machine slept, start the server again", leap)
		case leap < -clockLeapMax:
			k.leap("back by %s; set it right, then start the server again", -leap)
		}
	}
	if !k.leaped && now.After(k.last) {
		k.last = now
	}
	return k.last
}

func (k *timekeeper) leap(how string, by time.Duration) {
	k.leaped = true
	k.die(fmt.Errorf("%w: it has leapt "+how, errClock, by.Round(time.Second)))
}

// begin compares the clock with the time of the newest root, and goes on from that.
func (k *timekeeper) begin(newest time.Time, aheadMax time.Duration) error {
	now := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	switch ahead := now.Sub(newest); {
	case ahead < -clockLeapMax:
		return fmt.Errorf("%w: it says %s, but the newest root was signed at %s\nSet the clock right and start the server again",
			errClock, now.UTC().Format(time.RFC3339), newest.UTC().Format(time.RFC3339))
	case ahead > aheadMax:
		return fmt.Errorf("%w: it says %s, but the newest root was signed at %s\nIf the server really stood still for so long, raise merkle.gap_max for this start",
			errClock, now.UTC().Format(time.RFC3339), newest.UTC().Format(time.RFC3339))
	case ahead < 0:
		k.last = newest
	}
	k.begun = true
	return nil
}

// checkClock refuses to start by a clock that cannot be right.
func (n *node) checkClock() error {
	v := n.store.View()
	defer v.Close()
	newest, err := roots.Newest(v)
	if errors.Is(err, roots.ErrNoRoot) {
		return n.time.begin(n.time.now(), clockLeapMax) // nothing to compare it with
	}
	if err != nil {
		return err
	}
	root, err := roots.RootAt(v, newest)
	if err != nil {
		return err
	}
	return n.time.begin(time.Unix(root.Ctime, 0), n.cfg.Merkle.GapMax)
}
