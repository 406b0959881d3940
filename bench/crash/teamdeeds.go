package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/keystead/keystead/bench/client"
)

// Limits of teams in the load.
const (
	teamsPerPerson = 2  // root teams that somebody makes
	subteamsMax    = 3  // of a team, those that were deleted included
	teamLinksMax   = 40 // after which a team is left alone
)

// Codes of refusals that a crash can cause: it may come between a lease and what it is
// for, which then holds others up until it runs out, and it may take a team away that
// was on its way.
const (
	codeLeased = 1016
	codeNoTeam = 2614
)

// house is a root team of somebody. All that is done in it is done by accounts of one
// worker, one request after the other.
type house struct {
	name   string
	id     client.TeamID
	unsure bool // nobody knows whether it was made
	gone   bool // deleted, or perhaps so
}

// held turns the refusals that a lease from before a crash causes into errRefused.
func held(err error) error {
	if client.StatusCode(err) == codeLeased {
		return errRefused
	}
	return err
}

// discard drops what a deed returns beside its error.
func discard[T any](_ T, err error) error { return held(err) }

func (w *worker) makeTeam(ctx context.Context, p *person) error {
	if len(p.houses) >= teamsPerPerson || p.a.Me.Family.LatestPUK() == nil {
		return nil
	}
	name := "t" + strconv.Itoa(len(p.houses)) + "x" + p.name
	h := &house{name: name, id: client.TeamIDOf(name, false), unsure: true}
	p.houses = append(p.houses, h)
	if _, err := p.a.CreateTeam(ctx, name); err != nil {
		return held(err)
	}
	h.unsure = false
	return nil
}

// home is one of somebody's teams, as it is now; nil if there is none to act in.
func (w *worker) home(ctx context.Context, p *person) (*house, *client.Team, error) {
	open := slices.DeleteFunc(slices.Clone(p.houses), func(h *house) bool { return h.gone })
	if len(open) == 0 {
		return nil, nil, nil
	}
	h := open[w.rng.IntN(len(open))]
	if h.unsure {
		switch _, err := p.a.TeamByName(ctx, h.name); {
		case client.StatusCode(err) == codeNoTeam:
			h.gone = true
			return nil, nil, nil
		case err != nil:
			return nil, nil, fmt.Errorf("look for team %s: %w", h.name, err)
		}
		h.unsure = false
	}
	t, err := p.a.LoadTeam(ctx, h.id, client.TeamOptions{})
	if err != nil || len(t.Links) >= teamLinksMax {
		return nil, nil, err
	}
	return h, t, nil
}

// below is one of a team's subteams that was not deleted, nil if there is none.
func (w *worker) below(ctx context.Context, p *person, t *client.Team) (*client.Team, error) {
	var ids []client.TeamID
	for id := range t.Subteams {
		if !t.Gone[id] {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	slices.SortFunc(ids, func(a, b client.TeamID) int { return slices.Compare(a[:], b[:]) })
	sub, err := p.a.LoadTeam(ctx, ids[w.rng.IntN(len(ids))], client.TeamOptions{})
	if err != nil || len(sub.Links) >= teamLinksMax {
		return nil, err
	}
	return sub, nil
}

func (w *worker) makeSubteam(ctx context.Context, p *person) error {
	_, t, err := w.home(ctx, p)
	if err != nil || t == nil || len(t.Subteams) >= subteamsMax {
		return err
	}
	as := client.RoleNone
	if w.rng.IntN(2) == 0 {
		as = client.RoleAdmin
	}
	return discard(p.a.CreateSubteam(ctx, t, w.part(), as))
}

// part is a part of a team's name that was not used.
func (w *worker) part() string { return fmt.Sprintf("s%08x", w.rng.Uint32()) }

// changeMember adds another account of the worker to a team or a subteam, gives it
// another role, or takes it out, with a new key.
func (w *worker) changeMember(ctx context.Context, p *person) error {
	var others []*person
	for _, q := range w.mine {
		if q != p && q.a != nil && q.a.Device != nil && !q.shaken && q.a.Me.Family.LatestPUK() != nil {
			others = append(others, q)
		}
	}
	_, t, err := w.home(ctx, p)
	if err != nil || t == nil || len(others) == 0 {
		return err
	}
	if w.rng.IntN(3) == 0 {
		sub, err := w.below(ctx, p, t)
		if err != nil {
			return err
		}
		if sub != nil {
			t = sub
		}
	}
	who := others[w.rng.IntN(len(others))].a.Version()
	roles := []client.TeamRole{client.RoleReader, client.RoleWriter, client.RoleAdmin, client.RoleBot}
	ch := client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{}}
	if was := t.Role(who); was != client.RoleNone && w.rng.IntN(3) == 0 {
		ch.Roles[who], ch.Rotate = client.RoleNone, true
	} else {
		role := roles[w.rng.IntN(len(roles))]
		if role == was {
			return nil
		}
		ch.Roles[who] = role
	}
	return discard(p.a.ChangeTeam(ctx, t, ch))
}

func (w *worker) renameSubteam(ctx context.Context, p *person) error {
	_, t, err := w.home(ctx, p)
	if err != nil || t == nil {
		return err
	}
	sub, err := w.below(ctx, p, t)
	if err != nil || sub == nil {
		return err
	}
	return discard(p.a.RenameSubteam(ctx, t, sub, w.part()))
}

func (w *worker) rotateTeam(ctx context.Context, p *person) error {
	_, t, err := w.home(ctx, p)
	if err != nil || t == nil {
		return err
	}
	return discard(p.a.RotateTeam(ctx, t))
}

func (w *worker) rotateHidden(ctx context.Context, p *person) error {
	_, t, err := w.home(ctx, p)
	if err != nil || t == nil {
		return err
	}
	return discard(p.a.RotateTeamHidden(ctx, t))
}

// leaveTeam takes an account out of a team of another one of the worker.
func (w *worker) leaveTeam(ctx context.Context, p *person) error {
	for _, q := range w.mine {
		if q == p {
			continue
		}
		for _, h := range q.houses {
			if h.gone || h.unsure {
				continue
			}
			t, err := p.a.LoadTeam(ctx, h.id, client.TeamOptions{})
			if code := client.StatusCode(err); code > 0 && code != codeGeneric {
				continue // not in it
			}
			if err != nil {
				return err
			}
			me := p.a.Version()
			switch t.Role(me) {
			case client.RoleNone:
				continue
			case client.RoleAdmin: // admins first give up their power, as the stock client does
				writer := client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{me: client.RoleWriter}}
				if t, err = p.a.ChangeTeam(ctx, t, writer); err != nil {
					return held(err)
				}
			}
			return held(p.a.LeaveTeam(ctx, t, false))
		}
	}
	return nil
}

// deleteTeam deletes a subteam, or a team that has none left.
func (w *worker) deleteTeam(ctx context.Context, p *person) error {
	h, t, err := w.home(ctx, p)
	if err != nil || t == nil {
		return err
	}
	sub, err := w.below(ctx, p, t)
	if err != nil {
		return err
	}
	if sub != nil {
		return held(p.a.DeleteTeam(ctx, sub, t))
	}
	if len(t.Subteams) > len(t.Gone) {
		return nil
	}
	h.gone = true
	return held(p.a.DeleteTeam(ctx, t, nil))
}
