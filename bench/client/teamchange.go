package client

import (
	"errors"
	"fmt"
	"slices"
)

// change plays team.change_membership.
func (c *TeamChain) change(l *TeamLink, byOwner bool) error {
	updates, err := l.members()
	if err != nil {
		return err
	}
	for u, role := range updates {
		readmitted := false
		for other, r := range updates {
			readmitted = readmitted || r != RoleNone && other.UID == u.UID && other.Eldest > u.Eldest
		}
		switch was := c.Role(u); {
		case role == RoleOwner && c.ID.Subteam():
			return errors.New("a subteam with an owner")
		case role == RoleOwner && !byOwner:
			return violated(RuleTeamRole, l.subject(), "somebody who is no owner adds one")
		case was == RoleOwner && role != RoleOwner && !byOwner && !(role == RoleNone && readmitted):
			return violated(RuleTeamRole, l.subject(), "somebody who is no owner demotes one")
		case c.Implicit && (role == RoleAdmin || role == RoleWriter):
			return fmt.Errorf("role %s in an implicit team", role)
		}
	}
	completed, err := l.completed()
	if err != nil {
		return err
	}
	if c.Implicit {
		if err := c.changeImplicit(updates, completed); err != nil {
			return err
		}
	}
	for u, role := range updates {
		c.set(l, u, role)
	}
	for id := range completed {
		if i := c.Invites[id]; i != nil && i.Active {
			if i.newStyle() {
				return fmt.Errorf("completed invite %s, which is used", id)
			}
			i.Active = false
		}
	}
	for _, i := range c.Invites {
		if u, err := ParseUserVersion(i.Name); i.Type == "keybase" && err == nil {
			for x := range updates {
				i.Active = i.Active && x.UID != u.UID
			}
		}
	}
	return firstError(c.useInvites(l, updates), c.key(l))
}

func (l *TeamLink) completed() (map[string]UserVersion, error) {
	out := make(map[string]UserVersion)
	if !l.team.has("completed_invites") {
		return out, nil
	}
	m, err := l.team.sub("completed_invites")
	if err != nil {
		return nil, err
	}
	for id, v := range m {
		s, _ := v.(string)
		if err := checkInviteID(id); err != nil {
			return nil, err
		}
		if out[id], err = ParseUserVersion(s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func checkInviteID(s string) error {
	var b [16]byte
	if err := unhex("invite id", s, b[:]); err != nil {
		return err
	}
	if b[15] != 0x27 {
		return fmt.Errorf("invite id with suffix %02x", b[15])
	}
	return nil
}

// changeImplicit keeps an implicit team who it is: only bots come and go; others
// come by completing an invite or in place of their former selves.
// client: go/teams/chain.go:addInnerLink
func (c *TeamChain) changeImplicit(updates map[UserVersion]TeamRole, completed map[string]UserVersion) error {
	invited := make(map[UID]bool)
	for id, u := range completed {
		if i := c.Invites[id]; i == nil || !i.Active {
			return fmt.Errorf("completed invite %s is not active", id)
		}
		invited[u.UID] = true
	}
	removed := make(map[UID]UserVersion)
	for u, role := range updates {
		if role == RoleNone {
			removed[u.UID] = u
		}
	}
	added := make(map[UID]bool)
	expected := 0
	for u, role := range updates {
		if role != RoleOwner && role != RoleReader {
			continue
		}
		old, replaces := removed[u.UID]
		if replaces && old.Eldest >= u.Eldest {
			return fmt.Errorf("%s replaced by %s", old, u)
		}
		if !replaces || invited[u.UID] {
			expected++
			added[u.UID] = true
		}
		delete(removed, u.UID)
	}
	for _, u := range removed {
		if r := c.Role(u); r != RoleBot && r != RoleRestrictedBot {
			return fmt.Errorf("%s removed from an implicit team", u)
		}
	}
	n := len(completed)
	for _, u := range completed {
		if added[u.UID] {
			continue
		}
		if c.Role(u) == RoleNone {
			return fmt.Errorf("completed invite of %s, who is no member", u)
		}
		n--
	}
	if n != expected {
		return fmt.Errorf("%d additions for %d completed invites", expected, n)
	}
	return nil
}

// useInvites plays used_invites. client: go/teams/chain.go:useInvites
func (c *TeamChain) useInvites(l *TeamLink, updates map[UserVersion]TeamRole) error {
	v, ok := l.team.at("used_invites")
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return errors.New("used_invites is no list")
	}
	seen := make(map[UserVersion]bool)
	for _, x := range list {
		o, _ := x.(object)
		id, err1 := o.str("id")
		s, err2 := o.str("uv")
		u, err3 := ParseUserVersion(s)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		i := c.Invites[id]
		if (i == nil || !i.Active) && c.stubs {
			continue
		}
		switch {
		case i == nil || !i.Active:
			return fmt.Errorf("used invite %s is not active", id)
		case !i.newStyle() || i.MaxUses > 0 && i.Uses >= i.MaxUses:
			return fmt.Errorf("invite %s cannot be used (again)", id)
		case seen[u] || updates[u] != i.Role:
			return fmt.Errorf("used invite of %s, who was not just added as %s", u, i.Role)
		}
		seen[u] = true
		i.Uses++
	}
	return nil
}

// invite plays the invites section. client: go/teams/chain.go:sanityCheckInvites
func (c *TeamChain) invite(l *TeamLink, byOwner bool) error {
	m, err := l.team.sub("invites")
	if err != nil {
		return err
	}
	ids, names := make(map[string]bool), make(map[string]bool)
	var cancelled []string
	if v, ok := m.at("cancel"); ok {
		list, _ := v.([]any)
		for _, x := range list {
			id, _ := x.(string)
			if err := checkInviteID(id); err != nil {
				return err
			}
			ids[id] = true
			cancelled = append(cancelled, id)
		}
	}
	var added []*TeamInvite
	for name, v := range m {
		if name == "cancel" {
			continue
		}
		list, isList := v.([]any)
		role := roleNames[name]
		if !isList || role == RoleNone || role == RoleBot || role == RoleRestrictedBot {
			return fmt.Errorf("invites.%s", name)
		}
		for _, x := range list {
			o, _ := x.(object)
			i, err := c.oneInvite(o, role, byOwner)
			if err != nil {
				return err
			}
			if ids[i.ID] || names[i.Type+":"+i.Name] {
				return fmt.Errorf("invite %s stands twice", i.ID)
			}
			ids[i.ID], names[i.Type+":"+i.Name], i.Seqno = true, true, l.Seqno
			added = append(added, i)
		}
	}
	if c.Implicit && l.Type == "team.invite" {
		if err := c.reinvite(added, cancelled); err != nil {
			return err
		}
	}
	for _, i := range added {
		c.Invites[i.ID] = i
	}
	for _, id := range cancelled {
		if i := c.Invites[id]; i != nil {
			i.Active = false
		}
	}
	return nil
}

func (c *TeamChain) oneInvite(o object, role TeamRole, byOwner bool) (*TeamInvite, error) {
	i := &TeamInvite{Role: role, Active: true}
	var err1, err2, err3 error
	i.ID, err1 = o.str("id")
	i.Type, err2 = o.str("type")
	i.Name, err3 = o.str("name")
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	if err := checkInviteID(i.ID); err != nil {
		return nil, err
	}
	if o.has("max_uses") {
		n, err := o.int("max_uses")
		if err != nil || n == 0 || n < -1 {
			return nil, fmt.Errorf("max_uses %d: %v", n, err)
		}
		i.MaxUses = n
	}
	if o.has("etime") {
		if n, err := o.int("etime"); err != nil || n <= 0 {
			return nil, fmt.Errorf("etime %d: %v", n, err)
		}
	}
	if i.Type == "keybase" {
		if _, err := ParseUserVersion(i.Name); err != nil {
			return nil, err
		}
	}
	switch {
	case role == RoleOwner && (c.ID.Subteam() || !byOwner || !c.Implicit && i.Type != "keybase"):
		return nil, errors.New("an invitation to be owner")
	case c.Implicit && (role == RoleAdmin || role == RoleWriter || i.newStyle()):
		return nil, fmt.Errorf("invite %s in an implicit team", i.ID)
	case i.Type == "invitelink" && (!i.newStyle() || role.atLeast(RoleAdmin)):
		return nil, fmt.Errorf("invite link %s for %s", i.ID, role)
	case i.newStyle() && i.Type != "invitelink":
		return nil, fmt.Errorf("invite %s of type %s with max_uses", i.ID, i.Type)
	}
	return i, nil
}

// reinvite: in an implicit team only those who were there are invited, again.
func (c *TeamChain) reinvite(added []*TeamInvite, cancelled []string) error {
	again := make(map[UID]bool)
	for _, i := range added {
		u, err := ParseUserVersion(i.Name)
		if i.Type != "keybase" || err != nil {
			return fmt.Errorf("an invite of type %s in an implicit team", i.Type)
		}
		known := false
		for x := range c.Roles {
			known = known || x.UID == u.UID
		}
		for _, old := range c.Invites {
			o, err := ParseUserVersion(old.Name)
			known = known || old.Active && old.Type == "keybase" && err == nil && o.UID == u.UID
		}
		if !known {
			return fmt.Errorf("%s was never in this implicit team", u)
		}
		again[u.UID] = true
	}
	for _, id := range cancelled {
		i := c.Invites[id]
		if i == nil || !i.Active {
			continue
		}
		if u, err := ParseUserVersion(i.Name); err != nil || !again[u.UID] {
			return fmt.Errorf("invite %s cancelled without another", id)
		}
	}
	return nil
}

// child plays what a parent says about a subteam.
func (c *TeamChain) child(l *TeamLink) error {
	s, err := l.team.str("subteam", "id")
	if err != nil {
		return err
	}
	id, err := ParseTeamID(s)
	if err != nil || !id.Subteam() {
		return fmt.Errorf("subteam %q: %v", s, err)
	}
	name, err := l.team.str("subteam", "name")
	if err != nil {
		return err
	}
	parts, err := teamParts(name)
	if err != nil {
		return err
	}
	if parts[0] != c.Root || len(parts) != c.Depth+1 || parts[len(parts)-2] != c.NameLog[len(c.NameLog)-1].Name {
		return fmt.Errorf("subteam %q of %s", name, c.Root)
	}
	if l.Type == "team.delete_subteam" {
		if len(c.Subteams[id]) == 0 || c.Gone[id] {
			return fmt.Errorf("deletes %s, which is no subteam", id)
		}
		c.Gone[id] = true
		return nil
	}
	if c.Gone[id] || !c.stubs && (l.Type == "team.new_subteam") != (len(c.Subteams[id]) == 0) {
		return fmt.Errorf("%s of %s", l.Type, id)
	}
	for other, log := range c.Subteams {
		if other != id && !c.Gone[other] && log[len(log)-1].Name == name {
			return fmt.Errorf("two subteams %q", name)
		}
	}
	c.Subteams[id] = append(c.Subteams[id], SubteamPoint{name, l.Seqno})
	return nil
}

// renamed plays team.rename_up_pointer.
func (c *TeamChain) renamed(l *TeamLink) error {
	parent, err := l.parent()
	if err != nil {
		return err
	}
	name, err := l.team.str("name")
	if err != nil {
		return err
	}
	parts, err := teamParts(name)
	if err != nil {
		return err
	}
	if !c.ID.Subteam() || parent != c.Parent || parts[0] != c.Root || len(parts) != c.Depth {
		return fmt.Errorf("renamed to %q under %s", name, parent)
	}
	c.NameLog = append(c.NameLog, SubteamPoint{parts[len(parts)-1], l.Seqno})
	return nil
}

// settings plays the settings section, if there is one.
func (c *TeamChain) settings(l *TeamLink) error {
	if !l.team.has("settings", "open") {
		return nil
	}
	v, _ := l.team.at("settings", "open", "enabled")
	open, isBool := v.(bool)
	has := l.team.has("settings", "open", "options")
	if !isBool || c.Implicit || open != has {
		return fmt.Errorf("settings.open %v with options %v", v, has)
	}
	c.Open = open
	if !open {
		return nil
	}
	as, err := l.team.str("settings", "open", "options", "join_as")
	if err != nil || (as != "reader" && as != "writer") {
		return fmt.Errorf("join_as %q", as)
	}
	c.JoinAs = roleNames[as]
	return nil
}

func (c *TeamChain) kbfs(l *TeamLink) error {
	if l.team.has("kbfs", "tlf") {
		id, err := l.team.str("kbfs", "tlf", "id")
		if err != nil {
			return err
		}
		c.TLFs = append(c.TLFs, id)
	}
	return c.keyset(l)
}

func (c *TeamChain) bots(l *TeamLink) error {
	v, _ := l.team.at("bot_settings")
	list, ok := v.([]any)
	if !ok {
		return errors.New("bot_settings is no list")
	}
	for _, x := range list {
		o, _ := x.(object)
		s, err1 := o.str("bot", "uid")
		uid, err2 := ParseUID(s)
		n, err3 := o.int("bot", "eldest_seqno")
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		u := UserVersion{uid, Seqno(n)}
		if c.Role(u) != RoleRestrictedBot {
			return fmt.Errorf("settings of %s, who is no restricted bot", u)
		}
		c.Bots[u] = o
	}
	return nil
}

// becameAdmin finds the point at which somebody became admin by just that link, and
// the first link after it that took it away. client: go/teams/chain.go:assertBecameAdminAt
func (c *TeamChain) becameAdmin(u UserVersion, at Seqno) (down *RolePoint, err error) {
	points := c.Roles[u]
	i := slices.IndexFunc(points, func(p RolePoint) bool { return p.Seqno == at })
	if i < 0 || !points[i].Role.atLeast(RoleAdmin) {
		return nil, fmt.Errorf("%s did not become admin of %s by link %d", u, c.ID, at)
	}
	for _, p := range points[i+1:] {
		if !p.Role.atLeast(RoleAdmin) {
			return &p, nil
		}
	}
	return nil, nil
}
