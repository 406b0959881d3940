package teamchain

import (
	"maps"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
)

// State is what a chain means: a head, and rows that are read when they are asked for.
// It does not change; Apply returns the next. It is good for as long as the Rows that it
// was loaded from.
type State struct {
	h       head
	base    *base
	changed map[string][]byte
}

// head is what most questions need.
type head struct {
	ID       kbsig.TeamID    `codec:"i"`
	Implicit bool            `codec:"m,omitempty"`
	Name     string          `codec:"n"` // as the chain said last
	Names    []namePoint     `codec:"N"`
	Parent   *kbsig.TeamID   `codec:"p,omitempty"`
	Tail     kbsig.Seqno     `codec:"t"`
	Link     kbsig.LinkID    `codec:"l"`
	Sig      kbsig.SigIDBase `codec:"s"`
	Root     kbsig.Seqno     `codec:"r"` // the newest root that a link has quoted
	First    kbsig.Seqno     `codec:"f"` // the root that the first link quoted
	PTK      PTK             `codec:"k"`
	PTKCtime int64           `codec:"c"`
	Settings Settings        `codec:"o"`
	TLF      string          `codec:"T,omitempty"`
	Deleted  bool            `codec:"d,omitempty"`
	Members  int             `codec:"M"` // how many have a role
	Invites  int             `codec:"I"` // how many are active
}

// namePoint is since when the last part of the name is as it is.
type namePoint struct {
	Last  string      `codec:"n"`
	Seqno kbsig.Seqno `codec:"s"`
}

// RolePoint is since when a user version is what it is.
type RolePoint struct {
	Role  Role        `codec:"r"`
	Seqno kbsig.Seqno `codec:"s"`
	Ctime int64       `codec:"c"`
}

// Kinds of rows: the first byte of their names.
const (
	rowMember = 'm' // uid, eldest: []RolePoint
	rowInvite = 'i' // id: InviteState
	rowKeyed  = 'u' // uid, invitation id: nothing; active invitations of Keybase users
	rowSub    = 's' // team: []SubteamPoint
	rowPTK    = 'k' // generation: PTK
	rowBot    = 'b' // uid, eldest: BotSettings
	rowKeyset = 'f' // app type: Keyset
)

// SubteamPoint is a name that a subteam got; an empty one is its end.
type SubteamPoint struct {
	Name  string      `codec:"n"`
	Seqno kbsig.Seqno `codec:"s"`
}

// InviteState is an invitation and what has become of it.
type InviteState struct {
	Invite  Invite            `codec:"i"`
	Inviter kbsig.UserVersion `codec:"b"`
	Seqno   kbsig.Seqno       `codec:"n"`
	Ctime   int64             `codec:"c"`
	Ended   bool              `codec:"e,omitempty"` // completed, cancelled, obsolete
	// Obsolete ones have ended by themselves; clients cancel them none the less.
	Obsolete bool  `codec:"o,omitempty"`
	Uses     int64 `codec:"u,omitempty"` // of a new-style one
}

// Good reports whether the invitation can still be accepted: it is active, and a
// new-style one has uses left.
func (i InviteState) Good() bool { return !i.Ended && !i.usedUp() }

// client: go/protocol/keybase1/extras.go:TeamInvite.IsUsedUp
func (i InviteState) usedUp() bool {
	return i.Invite.MaxUses > 0 && i.Uses >= i.Invite.MaxUses
}

func name(kind byte, parts ...[]byte) []byte {
	n := []byte{kind}
	for _, p := range parts {
		n = append(n, p...)
	}
	return n
}

func be(n int64) []byte {
	return []byte{byte(n >> 56), byte(n >> 48), byte(n >> 40), byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

func memberRow(uv kbsig.UserVersion) []byte { return name(rowMember, uv.UID[:], be(int64(uv.Eldest))) }

// Decode reads what Header wrote, over the rows that belong to it.
func Decode(header []byte, rows Rows) (*State, error) {
	h, err := store.Decode[head](header)
	if err != nil {
		return nil, Refuse(KindCorrupt, "head of a team's state: %w", err)
	}
	return &State{h: h, base: &base{rows: rows}}, nil
}

// Header is the head of the state, to be kept with the changed rows.
func (s *State) Header() []byte { return store.Encode(s.h) }

func (s *State) clone() *State {
	n := *s
	n.changed = maps.Clone(s.changed)
	return &n
}

// get reads a row into v; ok is false if there is none.
func get[T any](s *State, name []byte) (v T, ok bool, err error) {
	b, err := s.row(name)
	if err != nil || b == nil {
		return v, false, err
	}
	v, err = store.Decode[T](b)
	if err != nil {
		return v, false, Refuse(KindCorrupt, "row of team %s: %w", s.h.ID, err)
	}
	return v, true, nil
}

func save(s *State, name []byte, v any) error { return s.put(name, store.Encode(v)) }

// ID is the team.
func (s *State) ID() kbsig.TeamID { return s.h.ID }

// Implicit reports a team that stands for a list of people.
func (s *State) Implicit() bool { return s.h.Implicit }

// Public reports a team whose chain anybody may read.
func (s *State) Public() bool { return s.h.ID.Public() }

// Name is the name as the chain said last; of a subteam, the parts above may have
// changed since.
func (s *State) Name() kbsig.TeamName {
	n, _ := kbsig.ParseTeamName(s.h.Name)
	return n
}

// Parent is the team above; ok is false for a root team.
func (s *State) Parent() (t kbsig.TeamID, ok bool) {
	if s.h.Parent == nil {
		return t, false
	}
	return *s.h.Parent, true
}

// Tail is the end of the chain.
func (s *State) Tail() (kbsig.Seqno, kbsig.LinkID, kbsig.SigIDBase) {
	return s.h.Tail, s.h.Link, s.h.Sig
}

// PTK is the newest generation that the visible chain has brought.
func (s *State) PTK() PTK { return s.h.PTK }

// PTKAt is one generation, if the visible chain brought it.
func (s *State) PTKAt(generation int64) (PTK, bool, error) {
	return get[PTK](s, name(rowPTK, be(generation)))
}

// PTKs calls fn for the generations that the visible chain has brought, oldest first.
func (s *State) PTKs(fn func(PTK) error) error { return each(s, []byte{rowPTK}, fn) }

// Deleted reports a chain that has ended.
func (s *State) Deleted() bool { return s.h.Deleted }

// Open tells whether anybody may join, and as what.
func (s *State) Open() (joinAs Role, open bool) { return s.h.Settings.JoinAs, s.h.Settings.Open }

// TLF is the id of the team's folder as links said last; empty if they did not.
func (s *State) TLF() string { return s.h.TLF }

// MemberCount is how many user versions have a role.
func (s *State) MemberCount() int { return s.h.Members }

// LastRoot is the newest Merkle root that a link has quoted.
func (s *State) LastRoot() kbsig.Seqno { return s.h.Root }

// RoleLog is what a user version has been, oldest first.
func (s *State) RoleLog(uv kbsig.UserVersion) ([]RolePoint, error) {
	points, _, err := get[[]RolePoint](s, memberRow(uv))
	return points, err
}

// RoleOf is what a user version is.
func (s *State) RoleOf(uv kbsig.UserVersion) (Role, error) {
	points, err := s.RoleLog(uv)
	if err != nil || len(points) == 0 {
		return RoleNone, err
	}
	return points[len(points)-1].Role, nil
}

// Members calls fn for all user versions with a role, in the order of their ids.
func (s *State) Members(fn func(kbsig.UserVersion, Role) error) error {
	return s.membersOf([]byte{rowMember}, fn)
}

func (s *State) membersOf(prefix []byte, fn func(kbsig.UserVersion, Role) error) error {
	return s.rowsOf(prefix, func(n, v []byte) error {
		points, err := store.Decode[[]RolePoint](v)
		uv, ok := versionOf(n)
		if err != nil || !ok || len(points) == 0 {
			return Refuse(KindCorrupt, "member of team %s", s.h.ID)
		}
		if r := points[len(points)-1].Role; r != RoleNone {
			return fn(uv, r)
		}
		return nil
	})
}

func versionOf(row []byte) (uv kbsig.UserVersion, ok bool) {
	if len(row) != 1+len(uv.UID)+8 {
		return uv, false
	}
	copy(uv.UID[:], row[1:])
	for _, b := range row[1+len(uv.UID):] {
		uv.Eldest = uv.Eldest<<8 | kbsig.Seqno(b)
	}
	return uv, true
}

// CurrentUV is the newest incarnation of a user that has a role.
func (s *State) CurrentUV(u kbsig.UID) (uv kbsig.UserVersion, ok bool, err error) {
	err = s.membersOf(name(rowMember, u[:]), func(v kbsig.UserVersion, _ Role) error {
		uv, ok = v, true
		return nil
	})
	return uv, ok, err
}

// Invite is an invitation, active or not.
func (s *State) Invite(id kbsig.InviteID) (InviteState, bool, error) {
	return get[InviteState](s, name(rowInvite, id[:]))
}

// ActiveInvites calls fn for the invitations that have not ended, in the order of their
// ids; new-style ones may be used up.
func (s *State) ActiveInvites(fn func(InviteState) error) error {
	return each(s, []byte{rowInvite}, func(i InviteState) error {
		if i.Ended {
			return nil
		}
		return fn(i)
	})
}

// KeybaseInvites calls fn for the active invitations of a Keybase user.
func (s *State) KeybaseInvites(u kbsig.UID, fn func(InviteState) error) error {
	var ids []kbsig.InviteID
	err := s.rowsOf(name(rowKeyed, u[:]), func(n, _ []byte) error {
		if len(n) != 1+len(u)+len(kbsig.InviteID{}) {
			return Refuse(KindCorrupt, "index of invitations of team %s", s.h.ID)
		}
		ids = append(ids, kbsig.InviteID(n[1+len(u):]))
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		i, ok, err := s.Invite(id)
		if err != nil {
			return err
		}
		if ok && !i.Ended {
			if err := fn(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// Subteam is the history of a subteam's names in this chain.
func (s *State) Subteam(t kbsig.TeamID) ([]SubteamPoint, error) {
	points, _, err := get[[]SubteamPoint](s, name(rowSub, t[:]))
	return points, err
}

// Subteams calls fn for the subteams that are alive, in the order of their ids.
func (s *State) Subteams(fn func(kbsig.TeamID) error) error {
	return s.rowsOf([]byte{rowSub}, func(n, v []byte) error {
		points, err := store.Decode[[]SubteamPoint](v)
		if err != nil || len(points) == 0 || len(n) != 1+len(kbsig.TeamID{}) {
			return Refuse(KindCorrupt, "subteam of team %s", s.h.ID)
		}
		if points[len(points)-1].Name == "" {
			return nil
		}
		return fn(kbsig.TeamID(n[1:]))
	})
}

// BotSettings are those of a restricted bot; ok is false if none were given.
func (s *State) BotSettings(uv kbsig.UserVersion) (BotSettings, bool, error) {
	return get[BotSettings](s, name(rowBot, uv.UID[:], be(int64(uv.Eldest))))
}

// Keysets calls fn for the adopted old keys, the newest of each application.
func (s *State) Keysets(fn func(Keyset) error) error { return each(s, []byte{rowKeyset}, fn) }

func each[T any](s *State, prefix []byte, fn func(T) error) error {
	return s.rowsOf(prefix, func(_, v []byte) error {
		x, err := store.Decode[T](v)
		if err != nil {
			return Refuse(KindCorrupt, "row of team %s: %w", s.h.ID, err)
		}
		return fn(x)
	})
}
