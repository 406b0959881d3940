package joining

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// Request is somebody who asks to be let into a team.
type Request struct {
	Team kbsig.TeamID
	Name kbsig.TeamName
	UID  kbsig.UID
	User kbsig.Username
	At   time.Time
}

// Ask requests access to a team by its name. An open team lets everybody in whom it has
// not banned: open says so, and a member's device is asked to do it. Of subteams only
// open ones can be asked: that others exist is nobody's business outside.
// client: go/teams/service_helper.go:RequestAccess
func (s *Service) Ask(ctx context.Context, u kbsig.UID, name kbsig.TeamName) (open bool, err error) {
	err = s.update(ctx, func(tx *store.Tx) error {
		t, st, err := findTeam(tx, name)
		if err != nil {
			return err
		}
		standing, err := teams.StandingOf(tx, t, u)
		if err != nil {
			return err
		}
		if standing.Role != teamchain.RoleNone {
			return ErrMember
		}
		_, open = st.Open()
		if _, sub := st.Parent(); sub && !open && !standing.Any() {
			return ErrNoTeam
		}
		o, err := OutsiderOf(tx, t, u)
		if err != nil {
			return err
		}
		if err := mayAsk(tx, t, u, o); err != nil {
			return err
		}
		o.Asked = tx.Now().UnixMilli()
		if err := putOutsider(tx, t, u, o); err != nil {
			return err
		}
		if open {
			return chores.Want(tx, t, chores.Requests)
		}
		return tellAdmins(tx, st)
	})
	return open, err
}

// mayAsk refuses a request that cannot be taken.
func mayAsk(r store.Reader, t kbsig.TeamID, u kbsig.UID, o Outsider) error {
	switch {
	case o.Banned != 0:
		return ErrBanned
	case o.Left != 0:
		return ErrLeft
	case o.Asked != 0:
		return ErrAsked
	}
	d, err := DoorOf(r, t)
	switch {
	case err != nil:
		return err
	case d.Closed:
		return ErrClosed
	case d.Waiting >= requestsMax:
		return ErrFull
	}
	n := 0
	err = TeamsOutside(r, u, func(_ kbsig.TeamID, o Outsider) error {
		if o.Asked != 0 {
			n++
		}
		return nil
	})
	if err == nil && n >= myRequestsMax {
		err = ErrFull
	}
	return err
}

// findTeam loads the live team of a name, which is not an implicit one.
func findTeam(r store.Reader, name kbsig.TeamName) (kbsig.TeamID, *teamchain.State, error) {
	if name.Implicit() {
		return kbsig.TeamID{}, nil, ErrNoTeam
	}
	t, err := teams.ByName(r, name)
	if err != nil {
		return t, nil, err
	}
	st, err := teams.Load(r, t)
	if err != nil {
		return t, nil, err
	}
	if st.Deleted() {
		return t, nil, ErrNoTeam
	}
	return t, st, nil
}

// adminOf loads a team of which a user is an admin, by itself or through an ancestor. The
// error is ErrNotAdmin for members and ErrNoTeam for those who may not know of it.
func adminOf(r store.Reader, u kbsig.UID, name kbsig.TeamName) (kbsig.TeamID, *teamchain.State, error) {
	t, st, err := findTeam(r, name)
	if err != nil {
		return t, nil, err
	}
	standing, err := teams.StandingOf(r, t, u)
	if err != nil {
		return t, nil, err
	}
	if standing.Admin() {
		return t, st, nil
	}
	if _, sub := st.Parent(); sub && !standing.Any() {
		return t, nil, ErrNoTeam
	}
	return t, nil, ErrNotAdmin
}

// requestNews is the badge of requests that wait at a team.
// client: go/badges/badgestate.go:UpdateWithGregor
func requestNews(name kbsig.TeamName) string { return "team.request_access:" + name.String() }

// tellAdmins shows the admins of a team that somebody asks: one badge a team.
func tellAdmins(tx *store.Tx, st *teamchain.State) error {
	admins, err := adminsOf(tx, st)
	if err != nil {
		return err
	}
	name, err := teams.FullName(tx, st.ID())
	if err != nil {
		return err
	}
	body, err := json.Marshal(struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}{st.ID().String(), name.String()})
	if err != nil {
		return err
	}
	return events.AddMany(tx, admins, events.News{Category: requestNews(name), Body: body, Replace: true})
}

// untellAdmins takes the badge away once nobody waits any more.
func untellAdmins(tx *store.Tx, st *teamchain.State) error {
	d, err := DoorOf(tx, st.ID())
	if err != nil || d.Waiting > 0 {
		return err
	}
	name, err := teams.FullName(tx, st.ID())
	if err != nil {
		return err
	}
	admins, err := adminsOf(tx, st)
	if err != nil {
		return err
	}
	return events.AddMany(tx, admins, events.News{Category: requestNews(name), Replace: true})
}

// adminsOf are the users who are admins of a team, by themselves or through an ancestor.
func adminsOf(r store.Reader, st *teamchain.State) (out []kbsig.UID, err error) {
	collect := func(st *teamchain.State) error {
		return st.Members(func(uv kbsig.UserVersion, role teamchain.Role) error {
			if role.AtLeast(teamchain.RoleAdmin) && !slices.Contains(out, uv.UID) {
				out = append(out, uv.UID)
			}
			return nil
		})
	}
	if err := collect(st); err != nil {
		return nil, err
	}
	return out, teams.EachAbove(r, st.ID(), collect)
}

// Waiting lists who asks to be let into a team, for an admin, the earliest first.
// client: go/teams/service_helper.go:ListRequests
func Waiting(r store.Reader, u kbsig.UID, name kbsig.TeamName) ([]Request, error) {
	t, _, err := adminOf(r, u, name)
	if err != nil {
		return nil, err
	}
	return waitingAt(r, t, nil)
}

// WaitingEverywhere lists who asks to be let into any team of which a user is an admin.
func WaitingEverywhere(r store.Reader, u kbsig.UID) (out []Request, err error) {
	out = []Request{}
	seen := map[kbsig.TeamID]bool{}
	add := func(t kbsig.TeamID) error {
		if seen[t] || len(out) >= listMax {
			return nil
		}
		seen[t] = true
		out, err = waitingAt(r, t, out)
		return err
	}
	err = teams.TeamsOf(r, u, func(t kbsig.TeamID, role teamchain.Role) error {
		if !role.AtLeast(teamchain.RoleAdmin) {
			return nil
		}
		if f, err := teams.FactsOf(r, t); err != nil || f.Implicit {
			return err
		}
		if err := add(t); err != nil {
			return err
		}
		return teams.Descendants(r, t, add)
	})
	return out, err
}

func waitingAt(r store.Reader, t kbsig.TeamID, out []Request) ([]Request, error) {
	if out == nil {
		out = []Request{}
	}
	d, err := DoorOf(r, t)
	if err != nil || d.Waiting == 0 {
		return out, err
	}
	name, err := teams.FullName(r, t)
	if err != nil {
		return nil, err
	}
	from := len(out)
	err = outsiders(r, t, func(u kbsig.UID, o Outsider) error {
		if !o.waits() {
			return nil
		}
		if len(out) >= listMax {
			return store.ErrStop
		}
		acct, err := accounts.Get(r, u)
		if err != nil {
			return err
		}
		out = append(out, Request{Team: t, Name: name, UID: u, User: acct.Name, At: time.UnixMilli(o.Asked)})
		return nil
	})
	slices.SortStableFunc(out[from:], func(a, b Request) int { return cmp.Compare(a.At.UnixMilli(), b.At.UnixMilli()) })
	return out, err
}

func outsiders(r store.Reader, t kbsig.TeamID, fn func(kbsig.UID, Outsider) error) error {
	lo := keys.Outsiders(t)
	return r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		_, u, ok := keys.OutsiderOf(k)
		if !ok {
			return fmt.Errorf("malformed key of an outsider")
		}
		o, err := store.Decode[Outsider](v)
		if err != nil {
			return err
		}
		return fn(u, o)
	})
}

// Mine lists the teams that a user asked to be let into, or whether the user asked at one.
// client: go/teams/service_helper.go:ListMyAccessRequests
func Mine(r store.Reader, u kbsig.UID, only *kbsig.TeamName) ([]Request, error) {
	out := []Request{}
	err := TeamsOutside(r, u, func(t kbsig.TeamID, o Outsider) error {
		if o.Asked == 0 || len(out) >= listMax {
			return nil
		}
		f, err := teams.FactsOf(r, t)
		if err != nil || f.Deleted {
			return err
		}
		name, err := teams.FullName(r, t)
		if err != nil {
			return err
		}
		if only == nil || only.Key() == name.Key() {
			out = append(out, Request{Team: t, Name: name, UID: u, At: time.UnixMilli(o.Asked)})
		}
		return nil
	})
	return out, err
}

// Ignore has admins no longer see a request. The user may not ask again.
// client: go/teams/service_helper.go:IgnoreRequest
func (s *Service) Ignore(ctx context.Context, by kbsig.UID, name kbsig.TeamName, u kbsig.UID) error {
	return s.update(ctx, func(tx *store.Tx) error {
		t, st, err := adminOf(tx, by, name)
		if err != nil {
			return err
		}
		o, err := OutsiderOf(tx, t, u)
		if err != nil {
			return err
		}
		if !o.waits() {
			return ErrNotAsked
		}
		o.Ignored = true
		if err := putOutsider(tx, t, u, o); err != nil {
			return err
		}
		if err := untellAdmins(tx, st); err != nil {
			return err
		}
		return chores.Look(tx, t)
	})
}

// Closed says whether a team takes no requests; members and admins may know.
func Closed(r store.Reader, u kbsig.UID, t kbsig.TeamID) (bool, error) {
	standing, err := teams.StandingOf(r, t, u)
	if err != nil {
		return false, err
	}
	f, err := teams.FactsOf(r, t)
	if err != nil {
		return false, err
	}
	if !standing.Any() || f.Deleted {
		return false, ErrNoTeam
	}
	d, err := DoorOf(r, t)
	return d.Closed, err
}

// SetClosed says whether a team takes requests from now on. Those that wait go on waiting.
// client: go/teams/service_helper.go:SetTarsDisabled
func (s *Service) SetClosed(ctx context.Context, by kbsig.UID, t kbsig.TeamID, closed bool) error {
	return s.update(ctx, func(tx *store.Tx) error {
		standing, err := teams.StandingOf(tx, t, by)
		switch {
		case err != nil:
			return err
		case !standing.Any():
			return ErrNoTeam
		case !standing.Admin():
			return ErrNotAdmin
		}
		st, err := teams.Load(tx, t)
		if err != nil {
			return err
		}
		if st.Implicit() || st.Deleted() {
			return ErrNoTeam
		}
		d, err := DoorOf(tx, t)
		if err != nil {
			return err
		}
		d.Closed = closed
		putDoor(tx, t, d)
		return nil
	})
}

// Blocked lists the teams that a user has left for good.
// client: go/engine/team_blocks_get.go:TeamBlocksGet
func Blocked(r store.Reader, u kbsig.UID) ([]Request, error) {
	out := []Request{}
	err := TeamsOutside(r, u, func(t kbsig.TeamID, o Outsider) error {
		if o.Left == 0 || len(out) >= listMax {
			return nil
		}
		name, err := teams.FullName(r, t)
		if err != nil {
			return err
		}
		out = append(out, Request{Team: t, Name: name, UID: u, At: time.UnixMilli(o.Left)})
		return nil
	})
	return out, err
}

// openBody asks to let people into an open team.
// client: go/protocol/keybase1/teams.go:TeamOpenReqMsg
type openBody struct {
	TeamID string      `json:"team_id"`
	Asking []openAsker `json:"tars"`
}

type openAsker struct {
	UID    string      `json:"uid"`
	Eldest kbsig.Seqno `json:"eldest_seqno"`
}

// requestsToGrant is the Source of chores.Requests: who asks at an open team and has a key
// by now.
func (s *Service) requestsToGrant(r store.Reader, st *teamchain.State, _ *chores.Chore) (any, time.Time, error) {
	if _, open := st.Open(); !open {
		return nil, time.Time{}, nil
	}
	body := openBody{TeamID: st.ID().String()}
	err := outsiders(r, st.ID(), func(u kbsig.UID, o Outsider) error {
		if !o.waits() || o.Banned != 0 || o.Left != 0 {
			return nil
		}
		if len(body.Asking) >= offeredMax {
			return store.ErrStop
		}
		eldest, keyed, err := present(r, u)
		if err == nil && keyed {
			body.Asking = append(body.Asking, openAsker{u.String(), eldest})
		}
		return err
	})
	if err != nil || len(body.Asking) == 0 {
		return nil, time.Time{}, err
	}
	return body, time.Time{}, nil
}

// present is a user's incarnation, and whether it has a per-user key.
func present(r store.Reader, u kbsig.UID) (eldest kbsig.Seqno, keyed bool, err error) {
	chain, err := identity.Chain(r, u)
	if errors.Is(err, accounts.ErrNoUser) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	_, keyed = chain.LatestPUK()
	return chain.EldestSeqno, keyed && !chain.Deleted, nil
}
