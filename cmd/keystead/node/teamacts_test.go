package node

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/clock"
)

// hamlet is a place with people, teams and open invitations, from which every operation
// on several chains can be begun.
type hamlet struct {
	lab    *lab // its server has stopped
	now    *clock.Fake
	bag    *mailbag
	people map[string]*client.Account
	teams  map[string]client.TeamID
	// invites are those that wait to be completed, by who has accepted them.
	invites map[string]string
	tablet  client.DeviceID // of bob
	roots   []client.SeenRoot
}

// act is one operation on several chains, or on several teams.
type act struct {
	name     string
	endpoint string // whose acknowledgement is that of the operation
	do       func(ctx context.Context, s *hall) error
}

// hall is a hamlet on a running server.
type hall struct {
	*hamlet
	run    *run
	people map[string]*client.Account // on that server
}

func (s *hall) load(ctx context.Context, who, team string) (*client.Account, *client.Team, error) {
	a := s.people[who]
	t, err := a.LoadTeam(ctx, s.teams[team], client.TeamOptions{})
	return a, t, err
}

// with loads a team as somebody who then does something with it.
func with(who, team string, do func(ctx context.Context, s *hall, a *client.Account, t *client.Team) error) func(context.Context, *hall) error {
	return func(ctx context.Context, s *hall) error {
		a, t, err := s.load(ctx, who, team)
		if err != nil {
			return err
		}
		return do(ctx, s, a, t)
	}
}

// withChild is with for a subteam and its parent.
func withChild(who, team, child string, do func(ctx context.Context, a *client.Account, t, c *client.Team) error) func(context.Context, *hall) error {
	return with(who, team, func(ctx context.Context, s *hall, a *client.Account, t *client.Team) error {
		_, c, err := s.load(ctx, who, child)
		if err != nil {
			return err
		}
		return do(ctx, a, t, c)
	})
}

func (s *hall) version(who string) client.UserVersion { return s.people[who].Version() }

// changes makes one change of roles.
func changes(by, team, who string, role client.TeamRole, more func(*client.TeamChange)) func(context.Context, *hall) error {
	return with(by, team, func(ctx context.Context, s *hall, a *client.Account, t *client.Team) error {
		ch := client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{s.version(who): role}}
		if id, ok := s.invites[team]; ok {
			ch.Completed = map[string]client.UserVersion{id: s.version(who)}
		}
		if more != nil {
			more(&ch)
		}
		return second(a.ChangeTeam(ctx, t, ch))
	})
}

// teamActs are the operations that touch more than one chain, team or index.
var teamActs = []act{
	{"create a team", "sig/multi", func(ctx context.Context, s *hall) error {
		return second(s.people["bob"].CreateTeam(ctx, "fresh"))
	}},
	{"create a subteam", "sig/multi", with("bob", "acme", func(ctx context.Context, s *hall, a *client.Account, t *client.Team) error {
		return second(a.CreateSubteam(ctx, t, "ops", client.RoleAdmin))
	})},
	{"rename a subteam", "sig/multi", withChild("bob", "acme", "acme.dev", func(ctx context.Context, a *client.Account, t, c *client.Team) error {
		return second(a.RenameSubteam(ctx, t, c, "lab"))
	})},
	{"delete a subteam", "sig/multi", withChild("alice", "acme", "acme.dev", func(ctx context.Context, a *client.Account, t, c *client.Team) error {
		return a.DeleteTeam(ctx, c, t)
	})},
	{"delete a team", "sig/multi", with("alice", "small", func(ctx context.Context, _ *hall, a *client.Account, t *client.Team) error {
		return a.DeleteTeam(ctx, t, nil)
	})},
	{"create an implicit team", "sig/multi", func(ctx context.Context, s *hall) error {
		return second(s.people["bob"].CreateImplicitTeam(ctx, false, map[client.UserVersion]client.TeamRole{
			s.version("carol"): client.RoleOwner, s.version("alice"): client.RoleReader,
		}, nil))
	}},
	{"complete an invite that makes a conflict", "sig/multi", changes("alice", "waiting", "dave", client.RoleOwner, nil)},
	{"complete an invite", "sig/multi", changes("alice", "club", "erin", client.RoleReader, nil)},
	{"rotate on the hidden chain", "sig/multi", with("carol", "acme", func(ctx context.Context, _ *hall, a *client.Account, t *client.Team) error {
		return second(a.RotateTeamHidden(ctx, t))
	})},
	{"remove somebody and rotate, with an ephemeral key", "sig/multi", changes("alice", "acme", "carol", client.RoleNone, func(ch *client.TeamChange) {
		ch.Rotate, ch.FirstEK = true, true
	})},
	{"make an admin, with boxes for subteams", "sig/multi", changes("alice", "acme", "carol", client.RoleAdmin, nil)},
	{"tie a folder", "sig/multi", with("alice", "implicit", func(ctx context.Context, _ *hall, a *client.Account, t *client.Team) error {
		return second(a.SetTLF(ctx, t, "0123456789abcdef0123456789abcd16"))
	})},
	{"adopt the keys of a folder", "sig/multi", with("alice", "acme", func(ctx context.Context, _ *hall, a *client.Account, t *client.Team) error {
		return second(a.AdoptKeys(ctx, t, client.AppKBFS, 1, make([]byte, 32)))
	})},
	{"ask to be let in", "team/request_access", func(ctx context.Context, s *hall) error {
		return s.people["dave"].AskForTeam(ctx, "club")
	}},
	{"let somebody in who asked", "sig/multi", with("bob", "club", func(ctx context.Context, s *hall, a *client.Account, t *client.Team) error {
		return second(a.ChangeTeam(ctx, t, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{s.version("carol"): client.RoleReader}}))
	})},
	{"leave", "sig/multi", with("carol", "acme", func(ctx context.Context, _ *hall, a *client.Account, t *client.Team) error {
		return a.LeaveTeam(ctx, t, true)
	})},
	{"revoke a device", "key/multi", func(ctx context.Context, s *hall) error {
		return s.people["bob"].RevokeDevice(ctx, s.tablet)
	}},
	{"reset an account", "nuke", func(ctx context.Context, s *hall) error { return s.people["bob"].Reset(ctx) }},
	{"delete an account", "delete", func(ctx context.Context, s *hall) error { return s.people["carol"].Delete(ctx) }},
}

// newHamlet lives the past: everybody signs up, and teams come to be.
func newHamlet(t *testing.T) *hamlet {
	t.Helper()
	h := &hamlet{
		lab: newLab(t), now: clock.NewFake(time.Now()), people: map[string]*client.Account{},
		teams: map[string]client.TeamID{}, invites: map[string]string{},
	}
	h.lab.clock, h.lab.time = h.now.Now, h.now.Now
	h.bag = takeMail(t, h.lab)
	r := h.lab.mustStart(t)
	s := &hall{hamlet: h, run: r, people: h.people}
	ctx := t.Context()
	for _, step := range []func(context.Context) error{s.signUps, s.ephemerals, s.makeTeams, s.makeImplicit, s.makeWays} {
		if err := step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.settle(h.now); err != nil {
		t.Fatal(err)
	}
	h.roots = s.people["alice"].Verifier.Witness.Dump()
	r.mustStop(t)
	return h
}

func (s *hall) signUps(ctx context.Context) error {
	witness := strictWitness()
	for _, name := range []string{"alice", "bob", "carol", "dave", "erin"} {
		a, err := client.Signup(ctx, s.run.verifier(witness), client.SignupOptions{
			Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "desk of " + name,
		})
		if err != nil {
			return err
		}
		s.people[name] = a
	}
	tablet, err := s.people["bob"].AddDevice(ctx, "tablet", client.DeviceMobile)
	if err == nil {
		s.tablet = tablet.ID
	}
	return err
}

// ephemerals gives an ephemeral key to those for whom a team's will be boxed.
func (s *hall) ephemerals(ctx context.Context) error {
	for _, name := range []string{"alice", "bob"} {
		a := s.people[name]
		if _, err := a.PostDeviceEK(ctx, a.Device); err != nil {
			return err
		}
		if _, err := a.PostUserEK(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *hall) makeTeams(ctx context.Context) error {
	alice := s.people["alice"]
	bob, carol := s.version("bob"), s.version("carol")
	for name, roles := range map[string]map[client.UserVersion]client.TeamRole{
		"acme":  {bob: client.RoleAdmin, carol: client.RoleWriter},
		"small": {carol: client.RoleReader},
		"club":  {bob: client.RoleAdmin},
	} {
		t, err := alice.CreateTeam(ctx, name)
		if err == nil {
			t, err = alice.ChangeTeam(ctx, t, client.TeamChange{Roles: roles})
		}
		if err != nil {
			return err
		}
		s.teams[name] = t.ID
	}
	_, acme, err := s.load(ctx, "alice", "acme")
	if err != nil {
		return err
	}
	dev, err := alice.CreateSubteam(ctx, acme, "dev", client.RoleNone)
	if err != nil {
		return err
	}
	s.teams["acme.dev"] = dev.ID
	if _, err := alice.ChangeTeam(ctx, dev, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{carol: client.RoleWriter}}); err != nil {
		return err
	}
	if _, acme, err = s.load(ctx, "alice", "acme"); err != nil {
		return err
	}
	return second(alice.RotateTeamHidden(ctx, acme)) // later links have ratchets
}

// makeImplicit makes two teams of alice and dave, of which one waits for who has dave's
// address, and a public one.
func (s *hall) makeImplicit(ctx context.Context) error {
	alice := s.people["alice"]
	invite, err := alice.NewInvite("email", "dave@example.org")
	if err != nil {
		return err
	}
	waiting, err := alice.CreateImplicitTeam(ctx, false, nil, map[string]any{"owner": []any{invite}})
	if err != nil {
		return err
	}
	plain, err := alice.CreateImplicitTeam(ctx, false, map[client.UserVersion]client.TeamRole{s.version("dave"): client.RoleOwner}, nil)
	if err != nil {
		return err
	}
	public, err := alice.CreateImplicitTeam(ctx, true, map[client.UserVersion]client.TeamRole{s.version("dave"): client.RoleOwner}, nil)
	if err != nil {
		return err
	}
	s.teams["waiting"], s.teams["implicit"], s.teams["public"], s.invites["waiting"] = waiting.ID, plain.ID, public.ID, invite["id"].(string)
	return s.comeToBeKnown(ctx, "dave")
}

// comeToBeKnown proves that somebody has an address, to which an invite went already.
func (s *hall) comeToBeKnown(ctx context.Context, who string) error {
	address := who + "@example.org"
	if err := s.people[who].AddMail(ctx, address, 0); err != nil {
		return err
	}
	path, err := s.bag.link(ctx, address, 1)
	if err != nil {
		return err
	}
	return s.run.verify(ctx, path)
}

// makeWays makes the ways into the club: an invite, and its open door.
func (s *hall) makeWays(ctx context.Context) error {
	alice, club, err := s.load(ctx, "alice", "club")
	if err != nil {
		return err
	}
	invite, err := alice.NewInvite("email", "erin@example.org")
	if err != nil {
		return err
	}
	s.invites["club"] = invite["id"].(string)
	if club, err = alice.InviteToTeam(ctx, club, map[string]any{"reader": []any{invite}}); err != nil {
		return err
	}
	if _, err := alice.OpenTeam(ctx, club, client.RoleReader); err != nil {
		return err
	}
	if err := s.comeToBeKnown(ctx, "erin"); err != nil {
		return err
	}
	if err := s.people["carol"].AskForTeam(ctx, "club"); err != nil {
		return fmt.Errorf("ask for a team: %w", err)
	}
	return nil
}
