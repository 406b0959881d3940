// Package chores is the queue of what teams need done and only members' devices can do:
// rotate a key, let somebody in whom the server may name but not add, sweep out those who
// were reset.
//
// Contract:
//   - Want belongs to the transaction of the fact, so that no fact is without its chore.
//     There is one chore of a kind in a team; further facts join it.
//   - A chore is given to one member who is connected and may do it, and after a growing
//     pause to another, with a growing score, until the chains show that it is done or
//     that nobody needs it any more. What was asked of members is then taken back.
//   - Nobody is asked who could not do it: roles are judged by the present incarnation,
//     and admins of ancestors count where the client lets them.
//   - When nobody is connected the chore waits; a member who comes is asked at once.
//   - A client that is asked twice, or too late, does no harm: it looks at the chain first.
//
// What is to be said, and whether there is still something to do, is known to the Source
// of each kind. The package owns the key family 0J of engine/keys.
// client: go/service/team_handler.go:teamHandler.Create, go/teams/handler.go
package chores

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Limits of chores.
const (
	// pauseFirst is how long somebody has before another is asked; each further one has
	// twice as long, up to pauseMax.
	pauseFirst = 30 * time.Second
	pauseMax   = time.Hour
	// pauseNobody is how long a chore waits when nobody who could do it is connected,
	// unless somebody comes.
	pauseNobody = 10 * time.Minute
	// settleTime is how long a chore that somebody has just been given gathers further
	// facts before it is given again.
	settleTime = 2 * time.Second
	// toldMax bounds the members of whom it is remembered that they were asked last.
	toldMax = 16
	// resetsMax bounds the users that one chore names as reset.
	resetsMax = 200
	// arrivalsMax bounds the chores that are looked through for somebody who comes.
	arrivalsMax = 2000
)

// The kinds of jobs.
const (
	jobKind     = "team-chore"
	arrivalKind = "team-arrival"
)

// Kind is a kind of chore.
type Kind byte

// The kinds.
const (
	Rotate   Kind = 'r' // rotate the team's key
	Sweep    Kind = 's' // remove those from an open team who were reset
	People   Kind = 'p' // complete invites of people whom the server can name by now
	Requests Kind = 'q' // let those into an open team who asked
	Tokens   Kind = 't' // let those in who accepted a secret invite
)

// category is the category of the items that ask for it.
func (k Kind) category() string {
	switch k {
	case Rotate:
		return "team.clkr"
	case Sweep:
		return "team.opensweep"
	case People:
		return "team.sbs"
	case Requests:
		return "team.openreq"
	case Tokens:
		return "team.seitan"
	}
	return ""
}

// admins says whether admins alone can do it; else all who may rotate a key.
func (k Kind) admins() bool { return k != Rotate }

// Chore is something that a team needs.
type Chore struct {
	Since int64 `codec:"s"` // Unix milliseconds: when it came up
	// Generation is the newest one of the team's key that is not good enough.
	Generation int64   `codec:"g,omitempty"`
	Resets     []Reset `codec:"r,omitempty"`
	// Next is when somebody is to be asked, in Unix milliseconds.
	Next  int64  `codec:"n"`
	Tries int    `codec:"t,omitempty"` // how often somebody was asked
	Pause int    `codec:"p,omitempty"` // how many of these lie in a row without a new fact
	Told  []Told `codec:"d,omitempty"` // who was asked, the last one last
}

// Reset is a member who was reset or deleted.
type Reset struct {
	UID    kbsig.UID   `codec:"u"`
	Member kbsig.Seqno `codec:"e"` // the incarnation that is a member
}

// Told is that a member was asked.
type Told struct {
	UID kbsig.UID `codec:"u"`
	At  int64     `codec:"t"` // Unix milliseconds
	ID  events.ID `codec:"i"` // of the item
}

// Load finds a team's chore of a kind; nil if there is none.
func Load(r store.Reader, t kbsig.TeamID, k Kind) (*Chore, error) {
	c, err := store.Load[Chore](r, keys.Chore(t, byte(k)))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load chore %c of team %s: %w", k, t, err)
	}
	return &c, nil
}

// Want notes that a team needs something, at once.
func Want(tx *store.Tx, t kbsig.TeamID, k Kind) error { return want(tx, t, k, func(*Chore) {}) }

// WantRotation notes that a team needs a newer key than that of a generation, and which
// members have gone without a link.
func WantRotation(tx *store.Tx, t kbsig.TeamID, generation int64, resets ...Reset) error {
	return want(tx, t, Rotate, func(c *Chore) {
		c.Generation = max(c.Generation, generation)
		c.join(resets)
	})
}

// WantSweep notes that members of an open team have gone without a link.
func WantSweep(tx *store.Tx, t kbsig.TeamID, resets ...Reset) error {
	return want(tx, t, Sweep, func(c *Chore) { c.join(resets) })
}

func (c *Chore) join(resets []Reset) {
	for _, r := range resets {
		if !slices.Contains(c.Resets, r) && len(c.Resets) < resetsMax {
			c.Resets = append(c.Resets, r)
		}
	}
}

func want(tx *store.Tx, t kbsig.TeamID, k Kind, change func(*Chore)) error {
	c, err := Load(tx, t, k)
	if err != nil {
		return err
	}
	now := tx.Now()
	if c == nil {
		c = &Chore{Since: now.UnixMilli()}
	}
	change(c)
	c.Next, c.Pause = now.UnixMilli(), 0
	if n := len(c.Told); n > 0 {
		c.Next = max(c.Next, c.Told[n-1].At+settleTime.Milliseconds())
	}
	return save(tx, t, k, c, c.Next)
}

// save writes a chore, and when to look at it.
func save(tx *store.Tx, t kbsig.TeamID, k Kind, c *Chore, at int64) error {
	store.Save(tx, keys.Chore(t, byte(k)), c)
	return jobs.Add(tx, jobs.Job{Kind: jobKind, Key: jobKey(t, k), At: time.UnixMilli(at)})
}

// jobKey is the name of a chore's job.
func jobKey(t kbsig.TeamID, k Kind) string { return t.String() + "/" + string(rune(k)) }

// parseJobKey is the inverse of jobKey.
func parseJobKey(key string) (t kbsig.TeamID, k Kind, err error) {
	id, kind := key[:max(len(key)-2, 0)], byte(0)
	if len(key) > 2 && key[len(key)-2] == '/' {
		kind = key[len(key)-1]
	}
	if t, err = kbsig.ParseTeamID(id); err != nil || Kind(kind).category() == "" {
		return t, 0, fmt.Errorf("%.80q is no chore", key)
	}
	return t, Kind(kind), nil
}

// Look has a team's chores looked at again, because something has changed that may be
// what they wanted.
func Look(tx *store.Tx, t kbsig.TeamID) error {
	return each(tx, t, func(k Kind) error {
		return jobs.Add(tx, jobs.Job{Kind: jobKind, Key: jobKey(t, k)})
	})
}

// Forget drops all chores of a team that is no more, and takes back what was asked.
func Forget(tx *store.Tx, t kbsig.TeamID) error {
	return each(tx, t, func(k Kind) error {
		c, err := Load(tx, t, k)
		if err != nil || c == nil {
			return err
		}
		return end(tx, t, k, c)
	})
}

// each calls fn for the kinds of a team's chores.
func each(r store.Reader, t kbsig.TeamID, fn func(Kind) error) error {
	var kinds []Kind
	lo := keys.Chores(t)
	err := r.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		if _, kind, ok := keys.ChoreOf(k); ok {
			kinds = append(kinds, Kind(kind))
		}
		return nil
	})
	for _, k := range kinds {
		err = errors.Join(err, fn(k))
	}
	return err
}

// end drops a chore that is done, and takes back what was asked.
func end(tx *store.Tx, t kbsig.TeamID, k Kind, c *Chore) error {
	tx.Delete(keys.Chore(t, byte(k)))
	if err := jobs.Drop(tx, jobKind, jobKey(t, k)); err != nil {
		return err
	}
	for _, told := range c.Told {
		err := events.Add(tx, events.News{To: told.UID, Category: k.category(), Ends: []events.ID{told.ID}})
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckShape says what is wrong with a stored chore, for audits.
func CheckShape(k, v []byte) error {
	if _, kind, ok := keys.ChoreOf(k); !ok || Kind(kind).category() == "" {
		return fmt.Errorf("a chore of no known kind")
	}
	_, err := store.Decode[Chore](v)
	return err
}
