package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keystead/keystead/bench/client"
)

// deeds are what a worker does for an account that has a device, with how often. A
// deed that has no object does nothing.
var deeds = []struct {
	name   string
	weight int
	do     func(*worker, context.Context, *person) error
}{
	{"follow", 24, (*worker).follow},
	{"unfollow", 10, (*worker).unfollow},
	{"add a device", 12, (*worker).addDevice},
	{"add a paper key", 8, (*worker).addPaperKey},
	{"revoke a device", 12, (*worker).revokeDevice},
	{"roll the per-user key", 4, (*worker).rollPUK},
	{"device ephemeral key", 10, (*worker).deviceEK},
	{"user ephemeral key", 6, (*worker).userEK},
	{"log in", 8, (*worker).logIn},
	{"new session", 3, (*worker).newSession},
	{"act as another device", 4, (*worker).actAs},
	{"send again", 6, (*worker).sendAgain},
	{"post a link in the wrong place", 4, (*worker).stale},
	{"sign up a name that is taken", 2, (*worker).takenName},
	{"log in with a wrong password", 2, (*worker).wrongPassword},
	{"make a team", 12, (*worker).makeTeam},
	{"make a subteam", 6, (*worker).makeSubteam},
	{"change who is in a team", 14, (*worker).changeMember},
	{"rename a subteam", 5, (*worker).renameSubteam},
	{"rotate a team's key", 4, (*worker).rotateTeam},
	{"rotate a team's key on the hidden chain", 5, (*worker).rotateHidden},
	{"leave a team", 4, (*worker).leaveTeam},
	{"delete a team", 3, (*worker).deleteTeam},
}

func (w *worker) follow(ctx context.Context, p *person) error {
	uid, ok := w.stranger(p.a)
	if !ok {
		return nil
	}
	return p.a.Follow(ctx, uid)
}

func (w *worker) unfollow(ctx context.Context, p *person) error {
	var all []client.UID
	for uid := range p.a.Me.Family.Followees {
		all = append(all, uid)
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(a, b client.UID) int { return slices.Compare(a[:], b[:]) })
	return p.a.Unfollow(ctx, all[w.rng.IntN(len(all))])
}

func (w *worker) addDevice(ctx context.Context, p *person) error {
	if len(p.a.Me.Family.ActiveDevices()) >= devicesMax {
		return nil
	}
	typ := client.DeviceDesktop
	if w.rng.IntN(3) == 0 {
		typ = client.DeviceMobile
	}
	_, err := p.a.AddDevice(ctx, w.randomName(), typ)
	return err
}

func (w *worker) addPaperKey(ctx context.Context, p *person) error {
	if len(p.a.Me.Family.ActiveDevices()) >= devicesMax {
		return nil
	}
	_, _, err := p.a.AddPaperKey(ctx, client.CheapStream([]byte(w.randomName())))
	return err
}

func (w *worker) revokeDevice(ctx context.Context, p *person) error {
	all := slices.DeleteFunc(p.a.Me.Family.ActiveDevices(), func(d *client.DeviceInfo) bool { return d.ID == p.a.Device.ID })
	if len(all) == 0 {
		return nil
	}
	return p.a.RevokeDevice(ctx, all[w.rng.IntN(len(all))].ID)
}

func (w *worker) rollPUK(ctx context.Context, p *person) error { return p.a.RollPUK(ctx) }

func (w *worker) deviceEK(ctx context.Context, p *person) error {
	_, err := p.a.PostDeviceEK(ctx, p.a.Device)
	if client.StatusCode(err) == codeEKGeneration && p.unsureEK[p.a.Device.ID] {
		p.gone = true // the one before has happened, and its key is lost
		return errRefused
	}
	p.unsureEK[p.a.Device.ID] = err != nil
	return err
}

// userEK posts under one generation of the per-user key only: the client does not
// count on from a statement under an older one.
func (w *worker) userEK(ctx context.Context, p *person) error {
	if p.ekUnder != 0 && p.ekUnder != len(p.a.PUKs) {
		return nil
	}
	p.ekUnder = len(p.a.PUKs)
	_, err := p.a.PostUserEK(ctx)
	return err
}

func (w *worker) logIn(ctx context.Context, p *person) error {
	a, err := client.Login(ctx, w.v, p.name, "", p.stream)
	if err == nil {
		p.a.Session = a.Session
	}
	return err
}

func (w *worker) newSession(ctx context.Context, p *person) error {
	s, err := p.a.NewSession(ctx)
	if err == nil {
		p.a.Session = s
	}
	return err
}

// actAs lets another computer of the account act from now on.
func (w *worker) actAs(ctx context.Context, p *person) error {
	for _, d := range p.a.Me.Family.ActiveDevices() {
		if own := p.a.Devices[d.ID]; own != nil && d.ID != p.a.Device.ID && d.Type == client.DeviceDesktop {
			p.a.Device = own
			return p.a.FetchPUKs(ctx, own)
		}
	}
	return nil
}

// sendAgain repeats the account's last post of links, which must succeed once more if
// it had succeeded.
func (w *worker) sendAgain(ctx context.Context, p *person) error {
	last := w.load.tap.lastPost(p.name)
	if last == nil || last.outcome != wasAcked {
		return nil
	}
	return w.again(ctx, p, last)
}

// stale posts a link that does not follow the chain's end.
func (w *worker) stale(ctx context.Context, p *person) error {
	uid, ok := w.stranger(p.a)
	if !ok {
		return nil
	}
	p.a.EditLink = func(s *client.LinkSpec) {
		switch w.rng.IntN(3) {
		case 0:
			s.Seqno--
		case 1:
			s.Seqno++
		default:
			s.Prev[0] ^= 1
		}
	}
	err := p.a.Follow(withActor(ctx, actor{w.cycle, w.n, p.name, true}), uid)
	p.a.EditLink = nil
	return mustBeRefused(err, "a link in the wrong place")
}

func (w *worker) takenName(ctx context.Context, p *person) error {
	_, err := client.Signup(ctx, w.v, client.SignupOptions{Name: p.name, Stream: client.CheapStream([]byte("thief"))})
	return mustBeRefused(err, "a name that is taken")
}

func (w *worker) wrongPassword(ctx context.Context, p *person) error {
	_, err := client.Login(ctx, w.v, p.name, "", client.CheapStream([]byte("thief")))
	return mustBeRefused(err, "a wrong password")
}

// mustBeRefused turns the refusal that was wanted into errRefused.
func mustBeRefused(err error, what string) error {
	var status *client.StatusError
	switch {
	case err == nil:
		return &client.Violation{Rule: client.RuleReply, Subject: what, Detail: "it was accepted"}
	case errors.As(err, &status) && status.Code != codeGeneric:
		return errRefused
	}
	return fmt.Errorf("%s: %w", what, err)
}
