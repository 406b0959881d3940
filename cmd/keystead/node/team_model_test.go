package node

import (
	"maps"
	"slices"
	"strings"

	"github.com/keystead/keystead/bench/client"
)

// The model of teams: what a team should be after what was done, by maps. It shares no
// code with the server; of the client it has names of things only.

// soul is one of those who are in teams.
type soul struct {
	*client.Account
	name    string
	gone    bool // the account was deleted
	keyless bool // the account was reset, and has no device yet
	devices int  // ever made
}

// here reports somebody who can act.
func (s *soul) here() bool { return !s.gone && !s.keyless }

// ticket is an active invitation.
type ticket struct {
	id, typ, name string
	role          client.TeamRole
	max, uses     int64
	uid           client.UID // of a Keybase invitation
}

// crew is a team.
type crew struct {
	id       client.TeamID
	name     string // the last part
	parent   *crew
	subs     []*crew
	roles    map[client.UserVersion]client.TeamRole
	bots     map[client.UserVersion]bool // with settings
	gen      int
	hidden   int
	kinds    []linkKind // of each link
	tickets  map[string]*ticket
	spent    []string // ids of invitations that are active no more
	open     bool
	joinAs   client.TeamRole
	tlfs     int
	gone     bool
	implicit bool
	public   bool
	called   string // the people of an implicit team

	banned, left, asked, ignored map[client.UID]bool
}

// linkKind is what a link is about as far as readers see it or not: an invitation, a
// subteam, or what is for everybody.
type linkKind struct {
	invite bool
	sub    *crew
}

func newCrew(id client.TeamID, name string, parent *crew) *crew {
	b := &crew{
		id: id, name: name, parent: parent, roles: map[client.UserVersion]client.TeamRole{}, bots: map[client.UserVersion]bool{},
		gen: 1, kinds: []linkKind{{}}, tickets: map[string]*ticket{},
		banned: map[client.UID]bool{}, left: map[client.UID]bool{}, asked: map[client.UID]bool{}, ignored: map[client.UID]bool{},
	}
	if parent != nil {
		parent.subs = append(parent.subs, b)
	}
	return b
}

func (b *crew) full() string {
	if b.parent == nil {
		return b.name
	}
	return b.parent.full() + "." + b.name
}

func (b *crew) depth() int {
	if b.parent == nil {
		return 0
	}
	return b.parent.depth() + 1
}

// link counts a link for everybody, or for those who see what it is about.
func (b *crew) link(k ...linkKind) { b.kinds = append(b.kinds, append(k, linkKind{})[0]) }

func (b *crew) role(s *soul) client.TeamRole {
	if !s.here() {
		return client.RoleNone
	}
	return b.roles[s.Version()]
}

func admin(r client.TeamRole) bool { return r == client.RoleAdmin || r == client.RoleOwner }

// keyed reports a role with the key of the team.
func keyed(r client.TeamRole) bool { return r != client.RoleNone && r != client.RoleRestrictedBot }

// above reports an admin of a team above.
func (b *crew) above(s *soul) bool {
	return b.parent != nil && (admin(b.parent.role(s)) || b.parent.above(s))
}

// rules reports who may change a team, and has the keys for that: a restricted bot has
// none even if it is an admin above.
func (b *crew) rules(s *soul) bool {
	return admin(b.role(s)) || b.above(s) && b.role(s) != client.RoleRestrictedBot
}

func (b *crew) stands(s *soul) bool { return b.role(s) != client.RoleNone || b.above(s) }

// reads reports who may load the team.
func (b *crew) reads(s *soul) bool { return !b.gone && (b.stands(s) || b.public && s.here()) }

// botBelow reports a restricted bot of a team below.
func (b *crew) botBelow(s *soul) bool {
	return slices.ContainsFunc(b.live(), func(x *crew) bool { return x.role(s) == client.RoleRestrictedBot || x.botBelow(s) })
}

// keys reports who has the key.
func (b *crew) keys(s *soul) bool { return keyed(b.role(s)) || b.rules(s) }

// whole reports who sees all links.
func (b *crew) whole(s *soul) bool { return b.implicit || admin(b.role(s)) || b.above(s) }

// rotates reports who may make a new key.
func (b *crew) rotates(s *soul) bool { return b.role(s) == client.RoleWriter || b.rules(s) }

// within reports somebody who is in a live team at or below this one.
func (b *crew) within(s *soul) bool {
	return !b.gone && (b.stands(s) || slices.ContainsFunc(b.subs, func(x *crew) bool { return x.within(s) }))
}

func (b *crew) live() []*crew {
	return slices.DeleteFunc(slices.Clone(b.subs), func(x *crew) bool { return x.gone })
}

func (b *crew) owners() int {
	n := 0
	for _, r := range b.roles {
		if r == client.RoleOwner {
			n++
		}
	}
	return n
}

// stale are the former incarnations of somebody that are members still.
func (b *crew) stale(s *soul) []client.UserVersion {
	var out []client.UserVersion
	for u := range b.roles {
		if u.UID == s.UID && (!s.here() || u != s.Version()) {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(x, y client.UserVersion) int { return int(x.Eldest - y.Eldest) })
	return out
}

// set gives somebody a role by a link that changes members.
func (b *crew) set(u client.UserVersion, r client.TeamRole) {
	b.put(u, r)
	for _, i := range b.tickets {
		if i.typ == "keybase" && i.uid == u.UID {
			b.spend(i)
		}
	}
	if r != client.RoleNone {
		delete(b.banned, u.UID)
		delete(b.asked, u.UID)
		delete(b.ignored, u.UID)
	}
}

func (b *crew) put(u client.UserVersion, r client.TeamRole) {
	if r == client.RoleNone {
		delete(b.roles, u)
	} else {
		b.roles[u] = r
	}
	if r != client.RoleRestrictedBot {
		delete(b.bots, u)
	}
}

func (b *crew) spend(i *ticket) {
	delete(b.tickets, i.id)
	b.spent = append(b.spent, i.id)
}

// active are the invitations in order of their ids, so that a seed means one history.
func (b *crew) active(typ ...string) []*ticket {
	var out []*ticket
	for _, id := range slices.Sorted(maps.Keys(b.tickets)) {
		if i := b.tickets[id]; len(typ) == 0 || slices.Contains(typ, i.typ) {
			out = append(out, i)
		}
	}
	return out
}

// members are those named by the chain, in order.
func (b *crew) members() []client.UserVersion {
	return slices.SortedFunc(maps.Keys(b.roles), func(x, y client.UserVersion) int {
		return strings.Compare(x.String(), y.String())
	})
}

// people is what an implicit team is called: writers, then readers, by name.
func (b *crew) people(name func(client.UID) string) string {
	lists := map[client.TeamRole]map[string]bool{client.RoleOwner: {}, client.RoleReader: {}}
	for u, r := range b.roles {
		if lists[r] != nil {
			lists[r][name(u.UID)] = true
		}
	}
	for _, i := range b.tickets {
		text := "[" + i.name + "]@email"
		if i.typ == "keybase" {
			text = name(i.uid)
		}
		lists[i.role][text] = true
	}
	for text := range lists[client.RoleOwner] {
		delete(lists[client.RoleReader], text)
	}
	out := strings.Join(slices.Sorted(maps.Keys(lists[client.RoleOwner])), ",")
	if len(lists[client.RoleReader]) > 0 {
		out += "#" + strings.Join(slices.Sorted(maps.Keys(lists[client.RoleReader])), ",")
	}
	return out
}
