package chores

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// Source knows what has to be said to whoever does a team's chore of one kind: a JSON
// object as clients expect it, nil if there is nothing left to do. later, if it is not
// zero, is when there will be something.
type Source func(r store.Reader, st *teamchain.State, c *Chore) (body any, later time.Time, err error)

// Options is what a Queue is given from outside.
type Options struct {
	Store *store.Store
	// Connected says whether a device of a user would hear at once.
	Connected func(kbsig.UID) bool
	Logger    *slog.Logger
}

// Queue gives chores to members. It is safe for concurrent use.
type Queue struct {
	o       Options
	sources map[Kind]Source
	// hurry, if it is not 0, is the pause in place of the usual ones, in milliseconds.
	hurry atomic.Int64
}

// New makes a queue that knows rotations and sweeps; other kinds get their sources by
// Serve.
func New(o Options) *Queue {
	q := &Queue{o: o, sources: map[Kind]Source{}}
	q.Serve(Rotate, rotation)
	q.Serve(Sweep, sweeping)
	return q
}

// Serve names the source of a kind. It is called before Handle.
func (q *Queue) Serve(k Kind, s Source) { q.sources[k] = s }

// Handle lets a runner do the queue's work.
func (q *Queue) Handle(r *jobs.Runner) {
	r.Handle(jobKind, q.run)
	r.Handle(arrivalKind, q.arrived)
}

// Hurry makes all pauses this short and has every chore looked at now, for tests with
// real clients. Whoever was asked last has that long before another is: two at once would
// both do it, and a team's key would be rotated twice. client: go/systests/teams_test.go:kickTeamRekeyd
func (q *Queue) Hurry(ctx context.Context, pause time.Duration) error {
	q.hurry.Store(max(pause.Milliseconds(), 1))
	return q.o.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.Scan(keys.AllChores(), keys.End(keys.AllChores()), func(k, v []byte) error {
			t, kind, ok := keys.ChoreOf(k)
			if !ok {
				return fmt.Errorf("malformed key of a chore")
			}
			c, err := store.Decode[Chore](v)
			if err != nil {
				return err
			}
			c.Next = tx.Now().UnixMilli()
			if n := len(c.Told); n > 0 {
				c.Next = max(c.Next, c.Told[n-1].At+q.hurry.Load())
			}
			return save(tx, t, Kind(kind), &c, c.Next)
		})
	})
}

// pause is how long the next one has.
func (q *Queue) pause(c *Chore) time.Duration {
	if ms := q.hurry.Load(); ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	p := pauseFirst
	for range c.Pause {
		if p *= 2; p >= pauseMax {
			return pauseMax
		}
	}
	return p
}

// run looks at one chore: it may be done, or somebody has to be asked.
func (q *Queue) run(ctx context.Context, j jobs.Job) error {
	t, k, err := parseJobKey(j.Key)
	if err != nil {
		return jobs.GiveUp(err)
	}
	v := q.o.Store.View()
	defer v.Close()
	c, err := Load(v, t, k)
	if err != nil || c == nil {
		return err
	}
	st, err := teams.Load(v, t)
	if errors.Is(err, teams.ErrNoTeam) || err == nil && st.Deleted() {
		return q.o.Store.Update(ctx, func(tx *store.Tx) error { return Forget(tx, t) })
	}
	if err != nil {
		return err
	}
	body, later, err := q.sources[k](v, st, c)
	if err != nil {
		return fmt.Errorf("chore %c of team %s: %w", k, t, err)
	}
	if body == nil {
		return q.settle(ctx, t, k, c, later)
	}
	now := q.o.Store.Now().UnixMilli()
	if now < c.Next {
		return q.o.Store.Update(ctx, func(tx *store.Tx) error { return q.postpone(tx, t, k, c.Next) })
	}
	who, anybody, err := q.pick(v, st, k, c)
	if err != nil {
		return err
	}
	return q.o.Store.Update(ctx, func(tx *store.Tx) error {
		c, err := Load(tx, t, k)
		switch {
		case err != nil || c == nil:
			return err
		case !anybody && !mayGetAdmins(st):
			q.o.Logger.Info("a team's chore is dropped: nobody is left who could do it", "team", t.String(), "kind", k.category())
			return end(tx, t, k, c)
		case who.IsZero():
			c.Next = now + pauseNobody.Milliseconds()
			return save(tx, t, k, c, c.Next)
		}
		return q.give(tx, t, k, c, who, body)
	})
}

// mayGetAdmins says whether somebody may come to be able to do a team's chores although
// nobody is now: admins of an ancestor.
func mayGetAdmins(st *teamchain.State) bool {
	_, sub := st.Parent()
	return sub
}

// settle ends a chore with nothing left to do, or lets it wait until there is something,
// unless another fact came meanwhile.
func (q *Queue) settle(ctx context.Context, t kbsig.TeamID, k Kind, seen *Chore, later time.Time) error {
	return q.o.Store.Update(ctx, func(tx *store.Tx) error {
		c, err := Load(tx, t, k)
		if err != nil || c == nil {
			return err
		}
		st, err := teams.Load(tx, t)
		if err != nil {
			return err
		}
		body, later, err := q.sources[k](tx, st, c)
		switch {
		case err != nil:
			return err
		case body != nil:
			return q.postpone(tx, t, k, c.Next)
		case !later.IsZero():
			c.Next = later.UnixMilli()
			return save(tx, t, k, c, c.Next)
		}
		return end(tx, t, k, c)
	})
}

func (q *Queue) postpone(tx *store.Tx, t kbsig.TeamID, k Kind, at int64) error {
	return jobs.Add(tx, jobs.Job{Kind: jobKind, Key: jobKey(t, k), At: time.UnixMilli(at)})
}

// give asks a member to do a chore.
func (q *Queue) give(tx *store.Tx, t kbsig.TeamID, k Kind, c *Chore, who kbsig.UID, body any) error {
	c.Tries++
	if s, ok := body.(Scored); ok {
		body = s.WithScore(c.Tries)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("spell chore %c of team %s: %w", k, t, err)
	}
	now, pause := tx.Now(), q.pause(c)
	told := Told{UID: who, At: now.UnixMilli(), ID: events.IDOf("chore", t.String(), string(rune(k)), strconv.FormatInt(c.Since, 10), strconv.Itoa(c.Tries))}
	// Who did not get it done is not to begin while another does.
	var ends []events.ID
	c.Told = slices.DeleteFunc(c.Told, func(old Told) bool {
		if old.UID == who {
			ends = append(ends, old.ID)
		}
		return old.UID == who
	})
	if err := events.Add(tx, events.News{To: who, Category: k.category(), Body: text, ID: told.ID, Ends: ends}); err != nil {
		return err
	}
	if c.Told = append(c.Told, told); len(c.Told) > toldMax {
		old := c.Told[0]
		c.Told = slices.Delete(c.Told, 0, 1)
		if err := events.Add(tx, events.News{To: old.UID, Category: k.category(), Ends: []events.ID{old.ID}}); err != nil {
			return err
		}
	}
	c.Pause++
	c.Next = now.Add(pause).UnixMilli()
	return save(tx, t, k, c, c.Next)
}

// candidate is somebody who could do a chore.
type candidate struct {
	uid   kbsig.UID
	told  int64 // when the user was asked last; 0: never
	admin bool  // of the team itself
}

// pick chooses who is asked: somebody who is connected, of these who was not asked yet or
// was so the longest ago, and of these an admin of the team if there is one: a key from
// somebody who is removed is rotated once more, and admins go less often. anybody says
// whether there is anybody who could do it at all.
// client: go/teams/loader.go:TeamLoader.checkNeedRotateWithSigner
func (q *Queue) pick(r store.Reader, st *teamchain.State, k Kind, c *Chore) (who kbsig.UID, anybody bool, err error) {
	able, err := whoCan(r, st, k)
	if err != nil {
		return who, false, err
	}
	var here []candidate
	for _, uv := range able {
		if q.o.Connected(uv.UID) {
			var told int64
			for _, d := range c.Told {
				if d.UID == uv.UID {
					told = d.At
				}
			}
			role, err := st.RoleOf(uv)
			if err != nil {
				return who, false, err
			}
			here = append(here, candidate{uv.UID, told, role.AtLeast(teamchain.RoleAdmin)})
		}
	}
	slices.SortFunc(here, func(a, b candidate) int {
		if a.told != b.told {
			return cmp.Compare(a.told, b.told)
		}
		if a.admin != b.admin {
			if a.admin {
				return -1
			}
			return 1
		}
		return slices.Compare(a.uid[:], b.uid[:])
	})
	for _, p := range here {
		// Roles are of incarnations, which cost a look each: only those who come in
		// question are looked at.
		if ok, err := able.present(r, p.uid); err != nil || ok {
			return p.uid, true, err
		}
	}
	for _, uv := range able {
		if ok, err := able.present(r, uv.UID); err != nil || ok {
			return kbsig.UID{}, true, err
		}
	}
	return kbsig.UID{}, false, nil
}

// people are those whose roles would do, in whatever incarnation.
type people []kbsig.UserVersion

// present says whether a user's present incarnation is among them.
func (p people) present(r store.Reader, u kbsig.UID) (bool, error) {
	chain, err := identity.Chain(r, u)
	if errors.Is(err, accounts.ErrNoUser) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, ok := chain.LatestPUK(); !ok || chain.Deleted {
		return false, nil
	}
	return slices.Contains(p, kbsig.UserVersion{UID: u, Eldest: chain.EldestSeqno}), nil
}

// whoCan are the members, and the admins of ancestors, whose roles let them do a chore.
// client: go/teams/teams.go:Team.Rotate, go/teams/handler.go:HandleOpenTeamAccessRequest
func whoCan(r store.Reader, st *teamchain.State, k Kind) (out people, err error) {
	least := teamchain.RoleWriter
	if k.admins() {
		least = teamchain.RoleAdmin
	}
	collect := func(st *teamchain.State, least teamchain.Role) error {
		return st.Members(func(uv kbsig.UserVersion, role teamchain.Role) error {
			if role.AtLeast(least) {
				out = append(out, uv)
			}
			return nil
		})
	}
	if err := collect(st, least); err != nil {
		return nil, err
	}
	err = teams.EachAbove(r, st.ID(), func(above *teamchain.State) error { return collect(above, teamchain.RoleAdmin) })
	return out, err
}
