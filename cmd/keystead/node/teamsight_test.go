package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/teams"
)

// sight is all that can be seen of teams, as lines: by members and others through a
// strict client, and in the store, where nothing may be that belongs to one half of an
// operation only. Two sights of the same truth are the same, though keys, ids and masks
// are drawn anew.
type sight map[string]bool

func (p sight) line(format string, args ...any) { p[fmt.Sprintf(format, args...)] = true }

// against is how another sight differs, empty if it does not.
func (p sight) against(q sight) string {
	var out []string
	for _, l := range slices.Sorted(maps.Keys(p)) {
		if !q[l] {
			out = append(out, "- "+l)
		}
	}
	for _, l := range slices.Sorted(maps.Keys(q)) {
		if !p[l] {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}

// uncounted are the families of which the numbers say nothing about teams: sessions and
// leases, which come before an operation, and what depends on which root took what.
var uncounted = []string{"M", "T", "S", "Y", "L", "0l", "J", "H", "V", "r", "h", "o", "l", "e", "0D", "0R", "q", "\x05", "\x06"}

// family is the prefix of a key.
func family(k []byte) string {
	if k[0] == '0' {
		return string(k[:2])
	}
	return string(k[:1])
}

// look is what is to be seen of a server on which nothing happens any more.
func (s *hall) look(ctx context.Context) (sight, error) {
	p := sight{}
	if err := s.stored(p); err != nil {
		return nil, err
	}
	known, eyes := maps.Clone(s.teams), s.eyes()
	for _, name := range []string{"acme", "small", "club", "fresh", "acme.dev", "acme.lab", "acme.ops"} {
		id, err := s.people["bob"].With(eyes).TeamByName(ctx, name)
		if err != nil {
			p.line("the name %s: %d", name, client.StatusCode(err))
			continue
		}
		p.line("the name %s is had by %s", name, s.nameOf(id))
		if s.nameOf(id) == "somebody new" {
			known[name] = id
		}
	}
	for who, a := range s.people {
		look := a.With(eyes)
		for label, id := range known {
			team, err := look.LoadTeam(ctx, id, client.TeamOptions{})
			var refused *client.StatusError
			switch {
			case err == nil:
				p.line("%s sees %s", who, s.seen(label, team))
			case errors.As(err, &refused):
				p.line("%s does not see %s: %d", who, label, refused.Code)
			default:
				return nil, fmt.Errorf("%s loads %s: %w", who, label, err)
			}
		}
	}
	return p, nil
}

// eyes are a strict client that remembers the roots of the past.
func (s *hall) eyes() *client.Verifier {
	w := strictWitness()
	if err := w.Merge(s.roots); err != nil {
		panic(err)
	}
	return s.run.verifier(w)
}

func (s *hall) nameOf(id client.TeamID) string {
	for label, known := range s.teams {
		if known == id {
			return label
		}
	}
	return "somebody new"
}

// seen is what a member sees of a team.
func (s *hall) seen(label string, t *client.Team) string {
	var roles, subs []string
	for u, role := range t.Members() {
		roles = append(roles, fmt.Sprintf("%s=%s", s.person(u.UID), role))
	}
	for id := range t.Subteams {
		subs = append(subs, fmt.Sprintf("%s gone=%t", s.nameOf(id), t.Gone[id]))
	}
	invites := 0
	for _, i := range t.Invites {
		if i.Active {
			invites++
		}
	}
	hidden := client.Seqno(0)
	if t.HiddenTail != nil {
		hidden = t.HiddenTail.Seqno
	}
	sort.Strings(roles)
	sort.Strings(subs)
	name := t.Name
	if t.Implicit {
		name = "implicit"
	}
	return fmt.Sprintf("%s: %s, link %d, hidden %d, %d keys, %d masks, %v, below %v, %d invites, open %t, folders %v, deleted %t",
		label, name, len(t.Links), hidden, len(t.Keys), len(t.Masks), roles, subs, invites, t.Open, t.TLFs, t.Deleted)
}

func (s *hall) person(u client.UID) string {
	for name, a := range s.people {
		if a.UID == u {
			return name
		}
	}
	return u.String()
}

// stored are the lines about the store.
func (s *hall) stored(p sight) error {
	v := s.run.store.View()
	defer v.Close()
	counts, news := map[string]int{}, map[string]int{}
	err := v.Scan(nil, nil, func(k, b []byte) error {
		if f := family(k); !slices.Contains(uncounted, f) {
			counts[f]++
		}
		if t, kind, ok := keys.ChoreOf(k); ok {
			c, err := store.Decode[chores.Chore](b)
			p.line("chore %c of %s: generation %d, resets %d", kind, s.nameOf(client.TeamID(t)), c.Generation, len(c.Resets))
			return err
		}
		if u, _, ok := keys.GregorOf(k); ok {
			r, err := store.Decode[gregor.Record](b)
			news[fmt.Sprintf("%s %s item %t ended %t", s.person(client.UID(u)), r.Category, r.HasItem, r.Dismissed != 0)]++
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	for f, n := range counts {
		p.line("family %q: %d", f, n)
	}
	for what, n := range news {
		p.line("news for %s: %d", what, n)
	}
	for name, a := range s.people {
		n, err := teams.RoleMapVersion(v, kbsig.UID(a.UID))
		if err != nil {
			return err
		}
		p.line("roles of %s: version %d", name, n)
	}
	for label, id := range s.teams {
		f, err := teams.FactsOf(v, kbsig.TeamID(id))
		if err != nil {
			return err
		}
		p.line("facts of %s: told %d, off the chain %d", label, f.Told, f.Offchain)
	}
	return nil
}

// settle waits until all that follows from what happened has happened: no news is on its
// way and no work is due. The server may end meanwhile.
func (r *run) settle(now *clock.Fake) error {
	late := time.After(standStill)
	for {
		busy, err := r.busy(now.Now())
		if err != nil || !busy {
			return err
		}
		select {
		case <-r.ended:
			return &endedError{"stopped", r.err}
		case <-late:
			return errors.New("the server does not come to rest")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (r *run) busy(now time.Time) (busy bool, err error) {
	err = r.look(func(v *store.View) error {
		for _, lo := range [][]byte{keys.Events(), keys.DueJobs([16]byte{})[:1]} {
			err := v.Scan(lo, keys.End(lo), func(k, _ []byte) error {
				_, at, _, job := keys.DueJobOf(k)
				busy = busy || !job || at <= now.UnixMilli()
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return busy, err
}
