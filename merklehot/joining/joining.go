// Package joining knows the ways into teams and out of them that are no links: who asked
// to be let in, who accepted an invite and waits, who was told not to come back.
//
// Who is a member is decided by the chain alone, and only members' devices can write it.
// So the server keeps what outsiders do until a member's device has done its part, which
// merklehot/chores asks for, and the link that does it ends the matter in its own
// transaction:
//   - Invites are found by their id, by whom they name and by the secret in a mail.
//   - An Acceptance is a user of whom the server says that an invite may be completed
//     with: a proof, an address that was verified, a key that a user now has, or the
//     user's own answer to a secret that the server cannot check.
//   - An Outsider is how somebody who is no member stands to a team: a request, a ban, a
//     wish never to be there again.
//   - A Door is how a team treats those who ask.
//
// Nobody without a per-user key is offered to a team: acceptances wait for it.
// It owns the key families 0j, 0q, 0w, 0a and 0d of engine/keys.
// client: go/teams/handler.go, go/teams/service_helper.go, go/teams/seitan_invite_helper.go
package joining

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/teams"
)

// Limits of joining.
const (
	// requestsMax bounds the requests that wait at one team; more are refused.
	requestsMax = 2000
	// myRequestsMax bounds the teams at which one user may have asked.
	myRequestsMax = 500
	// acceptancesMax bounds the acceptances that wait at one team.
	acceptancesMax = 2000
	// offeredMax bounds the people whom one chore offers at a time.
	offeredMax = 100
	// listMax bounds the requests in one list.
	listMax = 2000
	// tokenBytesMax bounds a token as typed.
	tokenBytesMax = 128
	// AKeyBytesMax bounds the answer to a secret, in characters.
	AKeyBytesMax = 128
	// inviteMessageMax bounds what an inviter writes, in bytes.
	inviteMessageMax = 1000
)

// Errors of joining. The door has a status for each.
var (
	// ErrNoTeam says that there is no team to be let into.
	ErrNoTeam = teams.ErrNoTeam
	// ErrMember says that the user is a member already.
	ErrMember = errors.New("already a member of the team")
	// ErrAsked says that the user has asked before, and perhaps was ignored.
	ErrAsked = errors.New("access was requested before")
	// ErrNotAsked says that there is no such request.
	ErrNotAsked = errors.New("nobody of that name asks to be let in")
	// ErrBanned says that admins do not want the user back.
	ErrBanned = errors.New("removed from the team for good")
	// ErrLeft says that the user wanted never to be in the team again.
	ErrLeft = errors.New("left the team for good")
	// ErrClosed says that the team takes no requests.
	ErrClosed = errors.New("the team takes no requests")
	// ErrFull says that too many wait.
	ErrFull = errors.New("too many wait to be let in")
	// ErrNoInvite says that an invite is unknown, was cancelled, used up or has ended.
	ErrNoInvite = errors.New("no such invite")
	// ErrInviteTaken says that another team has an invite of the same id.
	ErrInviteTaken = errors.New("another team has an invite of this id")
	// ErrBadNumber says that an invite is for a telephone number that cannot be one.
	ErrBadNumber = errors.New("no telephone number")
	// ErrUsed says that an invite was used by somebody else.
	ErrUsed = errors.New("the invite was used by somebody else")
	// ErrNotAccepted says that a user has not accepted an invite.
	ErrNotAccepted = errors.New("the user has not accepted the invite")
	// ErrOtherAnswer says that a user has accepted an invite with another answer.
	ErrOtherAnswer = errors.New("the user has accepted the invite with another answer")
	// ErrNeedsKey says that the user has no per-user key yet.
	ErrNeedsKey = errors.New("the user has no per-user key yet")
	// ErrNotAdmin says that only admins may do that.
	ErrNotAdmin = errors.New("only admins of the team may do that")
)

// Kind says what an acceptance rests on.
type Kind byte

// The kinds of acceptances.
const (
	Named  Kind = 'n' // the server names the user: a proof, an address, a key
	Secret Kind = 's' // the user has answered a secret
)

// Acceptance is that a user may complete an invite.
type Acceptance struct {
	Kind   Kind        `codec:"k"`
	Eldest kbsig.Seqno `codec:"e"` // the user's incarnation; 0 while there is none
	At     int64       `codec:"t"` // Unix milliseconds, of the server
	// Token says that a user accepted by the secret in a mail.
	Token bool   `codec:"o,omitempty"`
	AKey  string `codec:"a,omitempty"`
	Ctime int64  `codec:"c,omitempty"` // as the client stamped the answer
	// CtimeMs is the same in milliseconds, whatever the stamp counts in.
	CtimeMs int64 `codec:"m,omitempty"`
}

// Outsider is how somebody who is no member stands to a team.
type Outsider struct {
	Asked   int64 `codec:"a,omitempty"` // Unix milliseconds; 0: did not ask
	Ignored bool  `codec:"i,omitempty"` // asked, and admins do not want to see it
	Banned  int64 `codec:"b,omitempty"` // Unix milliseconds
	Left    int64 `codec:"l,omitempty"` // Unix milliseconds: for good
	// Reset is the incarnation that was a member when the user was reset; 0: none.
	// Admins see a badge of it.
	Reset kbsig.Seqno `codec:"r,omitempty"`
}

// waits says whether a request of this user waits for an answer.
func (o Outsider) waits() bool { return o.Asked != 0 && !o.Ignored }

// Door is how a team treats those who ask.
type Door struct {
	// Closed takes no requests.
	Closed bool `codec:"c,omitempty"`
	// Waiting counts the requests that wait for an answer.
	Waiting int `codec:"w,omitempty"`
}

// Lead is an invite to which something leads.
type Lead struct {
	Team   kbsig.TeamID
	Invite kbsig.InviteID
}

// Options is what a Service is given from outside.
type Options struct {
	Store    *store.Store
	Identity *identity.Service
	Teams    *teams.Service
	Queue    *chores.Queue
	Rand     io.Reader
	// Letter is the mail that invites an address to a team, with a token that accepts.
	Letter func(to string, from kbsig.Username, team, token, message string) mail.Message
	// Text is the text message that tells a number of it.
	Text func(to string, from kbsig.Username, team string) mail.Text
	// Known finds the user who has proven a name at a service; ok is false if nobody has.
	Known func(r store.Reader, service, name string) (u kbsig.UID, ok bool, err error)
	// TokenMade is told of the token in a mail, in devel mode; nil tells nobody.
	TokenMade func(address, token string)
}

// Service runs the ways in and out. It is safe for concurrent use.
type Service struct{ o Options }

// New makes the service and registers what it does with each post of teams.
func New(o Options) *Service {
	s := &Service{o: o}
	o.Teams.OnPost(s.posted)
	o.Queue.Serve(chores.People, s.peopleToAdd)
	o.Queue.Serve(chores.Tokens, s.answersToCheck)
	o.Queue.Serve(chores.Requests, s.requestsToGrant)
	return s
}

func (s *Service) update(ctx context.Context, fn func(*store.Tx) error) error {
	return s.o.Store.Update(ctx, fn)
}

// loadOr loads a record; found is false if there is none.
func loadOr[T any](r store.Reader, key []byte) (v T, found bool, err error) {
	v, err = store.Load[T](r, key)
	if errors.Is(err, store.ErrNotFound) {
		return v, false, nil
	}
	return v, err == nil, err
}

// OutsiderOf is how a user stands to a team.
func OutsiderOf(r store.Reader, t kbsig.TeamID, u kbsig.UID) (Outsider, error) {
	o, _, err := loadOr[Outsider](r, keys.Outsider(t, u))
	if err != nil {
		return o, fmt.Errorf("how %s stands to team %s: %w", u, t, err)
	}
	return o, nil
}

// putOutsider writes how a user stands to a team, and keeps the door's count.
func putOutsider(tx *store.Tx, t kbsig.TeamID, u kbsig.UID, o Outsider) error {
	before, err := OutsiderOf(tx, t, u)
	if err != nil || before == o {
		return err
	}
	if before.waits() != o.waits() {
		d, err := DoorOf(tx, t)
		if err != nil {
			return err
		}
		if o.waits() {
			d.Waiting++
		} else {
			d.Waiting--
		}
		putDoor(tx, t, d)
	}
	if o == (Outsider{}) {
		tx.Delete(keys.Outsider(t, u))
		return unindex(tx, t, u)
	}
	store.Save(tx, keys.Outsider(t, u), o)
	tx.Set(keys.OutsiderTeam(u, t), nil)
	return nil
}

// unindex takes a user and a team apart if nothing is left between them.
func unindex(tx *store.Tx, t kbsig.TeamID, u kbsig.UID) error {
	if known, err := store.Has(tx, keys.Outsider(t, u)); err != nil || known {
		return err
	}
	left := false
	err := AcceptancesBy(tx, t, u, func(kbsig.InviteID, Acceptance) error { left = true; return store.ErrStop })
	if err == nil && !left {
		tx.Delete(keys.OutsiderTeam(u, t))
	}
	return err
}

// DoorOf is how a team treats those who ask.
func DoorOf(r store.Reader, t kbsig.TeamID) (Door, error) {
	d, _, err := loadOr[Door](r, keys.TeamDoor(t))
	if err != nil {
		return d, fmt.Errorf("door of team %s: %w", t, err)
	}
	return d, nil
}

func putDoor(tx *store.Tx, t kbsig.TeamID, d Door) {
	if d == (Door{}) {
		tx.Delete(keys.TeamDoor(t))
	} else {
		store.Save(tx, keys.TeamDoor(t), d)
	}
}

// TeamsOutside calls fn for the teams to which a user stands somehow.
func TeamsOutside(r store.Reader, u kbsig.UID, fn func(kbsig.TeamID, Outsider) error) error {
	lo := keys.OutsiderTeams(u)
	return r.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		_, t, ok := keys.OutsiderTeamOf(k)
		if !ok {
			return fmt.Errorf("malformed key of a team outside")
		}
		o, err := OutsiderOf(r, t, u)
		if err != nil {
			return err
		}
		return fn(t, o)
	})
}

// Acceptances calls fn for the acceptances that wait at a team.
func Acceptances(r store.Reader, t kbsig.TeamID, fn func(kbsig.UID, kbsig.InviteID, Acceptance) error) error {
	return acceptances(r, keys.Acceptances(t), fn)
}

// AcceptancesBy calls fn for those of one user.
func AcceptancesBy(r store.Reader, t kbsig.TeamID, u kbsig.UID, fn func(kbsig.InviteID, Acceptance) error) error {
	return acceptances(r, keys.AcceptancesBy(t, u), func(_ kbsig.UID, i kbsig.InviteID, a Acceptance) error { return fn(i, a) })
}

func acceptances(r store.Reader, lo []byte, fn func(kbsig.UID, kbsig.InviteID, Acceptance) error) error {
	return r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		_, u, invite, ok := keys.AcceptanceOf(k)
		if !ok {
			return fmt.Errorf("malformed key of an acceptance")
		}
		a, err := store.Decode[Acceptance](v)
		if err != nil {
			return err
		}
		return fn(u, kbsig.InviteID(invite), a)
	})
}

func putAcceptance(tx *store.Tx, t kbsig.TeamID, u kbsig.UID, invite kbsig.InviteID, a Acceptance) {
	store.Save(tx, keys.Acceptance(t, u, invite), a)
	tx.Set(keys.OutsiderTeam(u, t), nil)
}

func dropAcceptance(tx *store.Tx, t kbsig.TeamID, u kbsig.UID, invite kbsig.InviteID) error {
	tx.Delete(keys.Acceptance(t, u, invite))
	return unindex(tx, t, u)
}

// What leads to invites. Each is hashed together with what kind of thing it is.

func byID(id kbsig.InviteID) [32]byte { return sha256.Sum256([]byte("invite " + id.String())) }

func byToken(token string) [32]byte { return sha256.Sum256([]byte("token " + token)) }

// byName is by whom an invite names: a name at a service, or the uid of a user.
func byName(service, name string) [32]byte {
	return sha256.Sum256([]byte("name " + service + "\x00" + name))
}

// madeBy is what is kept of an invite under its id.
type madeBy struct {
	Inviter kbsig.UserVersion `codec:"i"`
	// Service and Name are whom it names; empty: nobody.
	Service string `codec:"s,omitempty"`
	Name    string `codec:"n,omitempty"`
	// Token leads to it from the secret in a mail; nil: none was written.
	Token []byte `codec:"t,omitempty"`
}

// leads are the invites to which something leads.
func leads(r store.Reader, what [32]byte) (out []Lead, err error) {
	lo := keys.InviteLeads(what)
	err = r.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		_, t, invite, ok := keys.InviteLeadOf(k)
		if !ok {
			return fmt.Errorf("malformed key that leads to an invite")
		}
		out = append(out, Lead{t, kbsig.InviteID(invite)})
		return nil
	})
	return out, err
}
