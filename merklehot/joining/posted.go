package joining

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/known"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// postedTeam is what a post has done to one team.
type postedTeam struct {
	fact          *teams.PostFact
	before, after *teamchain.State // before is nil if the post made the team
	links         []*teamchain.Link
	rotated       bool
}

// posted follows each post of teams, in its transaction.
func (s *Service) posted(tx *store.Tx, f teams.PostFact) error {
	if err := willing(tx, f); err != nil {
		return err
	}
	byTeam := map[kbsig.TeamID]*postedTeam{}
	var order []kbsig.TeamID
	at := func(t kbsig.TeamID) *postedTeam {
		p := byTeam[t]
		if p == nil {
			p = &postedTeam{fact: &f, before: f.Before[t], after: f.After[t]}
			byTeam[t] = p
			order = append(order, t)
		}
		return p
	}
	for _, l := range f.Links {
		p := at(l.Team)
		p.links = append(p.links, l)
		p.rotated = p.rotated || l.PTK != nil
	}
	for _, h := range f.Hidden {
		at(h.Team).rotated = true
	}
	for _, t := range order {
		if err := s.postedTo(tx, t, byTeam[t]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) postedTo(tx *store.Tx, t kbsig.TeamID, p *postedTeam) error {
	if p.after != nil && p.after.Deleted() {
		return s.gone(tx, t)
	}
	for _, l := range p.links {
		if err := s.postedInvites(tx, t, p, l); err != nil {
			return err
		}
	}
	changes, err := p.changes()
	if err != nil {
		return err
	}
	for _, c := range changes {
		if err := s.postedMember(tx, t, p, c); err != nil {
			return err
		}
	}
	if p.after != nil {
		if err := s.postedWhole(tx, t, p, changes); err != nil {
			return err
		}
	}
	return chores.Look(tx, t)
}

// postedWhole is what follows for the team as a whole.
func (s *Service) postedWhole(tx *store.Tx, t kbsig.TeamID, p *postedTeam, changes []change) error {
	if p.after.Implicit() {
		if err := s.recall(tx, p.after, p.before == nil); err != nil {
			return err
		}
	}
	d, err := DoorOf(tx, t)
	if err != nil {
		return err
	}
	if _, open := p.after.Open(); open && d.Waiting > 0 {
		if err := chores.Want(tx, t, chores.Requests); err != nil {
			return err
		}
	}
	return s.rotateAfter(tx, t, p, changes)
}

// change is what a post makes of a member.
type change struct {
	uv            kbsig.UserVersion
	before, after teamchain.Role
	left          bool // by the member's own will
}

func (p *postedTeam) changes() (out []change, failed error) {
	seen := map[kbsig.UserVersion]bool{}
	add := func(uv kbsig.UserVersion, left bool) {
		if seen[uv] {
			return
		}
		seen[uv] = true
		c := change{uv: uv, left: left}
		var err error
		if c.after, err = p.after.RoleOf(uv); err == nil && p.before != nil {
			c.before, err = p.before.RoleOf(uv)
		}
		failed = errors.Join(failed, err)
		out = append(out, c)
	}
	for _, l := range p.links {
		for _, m := range l.Members {
			add(m.UV, false)
		}
		if l.Type == kbsig.LinkTeamLeave {
			add(l.Signer, true)
		}
	}
	return out, failed
}

// keyed says whether a role comes with the team's key.
func keyed(r teamchain.Role) bool {
	return r != teamchain.RoleNone && r != teamchain.RoleRestrictedBot
}

// postedMember ends what was between a team and somebody who came or went.
func (s *Service) postedMember(tx *store.Tx, t kbsig.TeamID, p *postedTeam, c change) error {
	u := c.uv.UID
	if err := s.endAccountInvites(tx, t, p, u); err != nil {
		return err
	}
	o, err := OutsiderOf(tx, t, u)
	if err != nil {
		return err
	}
	was := o
	permanent := p.fact.Post != nil && p.fact.Post.Permanent != nil && *p.fact.Post.Permanent
	// A past incarnation goes when the user is let in again: that is no farewell.
	_, stays, err := p.after.CurrentUV(u)
	if err != nil {
		return err
	}
	switch {
	case c.after != teamchain.RoleNone:
		if o.Left != 0 && c.before == teamchain.RoleNone && p.fact.By.UID != u {
			return fmt.Errorf("add %s to team %s: %w", u, t, ErrLeft)
		}
		o = Outsider{Reset: o.Reset}
		err := s.dropAcceptances(tx, t, u, func(id kbsig.InviteID, _ Acceptance) (bool, error) {
			invite, err := activeInvite(p.after, id)
			return invite == nil, err
		})
		if err != nil {
			return err
		}
	case c.left && permanent:
		o.Left = tx.Now().UnixMilli()
	case permanent && !stays:
		o.Banned = tx.Now().UnixMilli()
	}
	if o.Reset != 0 {
		was := kbsig.UserVersion{UID: u, Eldest: o.Reset}
		role, err := p.after.RoleOf(was)
		if err != nil {
			return err
		}
		if role == teamchain.RoleNone || c.after != teamchain.RoleNone && c.uv != was {
			if err := endResetNews(tx, p.after, was); err != nil {
				return err
			}
			o.Reset = 0
		}
	}
	if err := putOutsider(tx, t, u, o); err != nil || !was.waits() || o.waits() {
		return err
	}
	return untellAdmins(tx, p.after)
}

func (s *Service) dropAcceptances(tx *store.Tx, t kbsig.TeamID, u kbsig.UID, which func(kbsig.InviteID, Acceptance) (bool, error)) error {
	var drop []kbsig.InviteID
	err := AcceptancesBy(tx, t, u, func(id kbsig.InviteID, a Acceptance) error {
		gone, err := which(id, a)
		if gone {
			drop = append(drop, id)
		}
		return err
	})
	for _, id := range drop {
		err = errors.Join(err, dropAcceptance(tx, t, u, id))
	}
	return err
}

// rotateAfter asks for a new key where somebody who had the key has gone and the post
// brought no new one. Open teams are not rotated: everybody may have their key.
func (s *Service) rotateAfter(tx *store.Tx, t kbsig.TeamID, p *postedTeam, changes []change) error {
	_, open := p.after.Open()
	for _, c := range changes {
		if keyed(c.before) && !keyed(c.after) && !p.rotated && !open {
			if err := wantRotation(tx, t); err != nil {
				return err
			}
		}
		if c.before.AtLeast(teamchain.RoleAdmin) && !c.after.AtLeast(teamchain.RoleAdmin) {
			if err := rotateBelow(tx, t, c.uv.UID); err != nil {
				return err
			}
		}
	}
	return nil
}

// rotateBelow asks for new keys of the subteams of which somebody had the keys as an admin
// above, and is nothing any more.
func rotateBelow(tx *store.Tx, t kbsig.TeamID, u kbsig.UID) error {
	return teams.Descendants(tx, t, func(d kbsig.TeamID) error {
		standing, err := teams.StandingOf(tx, d, u)
		if err != nil || standing.Implicit != teamchain.RoleNone || keyed(standing.Role) {
			return err
		}
		return wantRotation(tx, d)
	})
}

// wantRotation asks for a newer key than a team has now.
func wantRotation(tx *store.Tx, t kbsig.TeamID, resets ...chores.Reset) error {
	st, err := teams.Load(tx, t)
	if err != nil || st.Deleted() {
		return err
	}
	generation, err := teams.NewestGeneration(tx, st.ID())
	if err != nil {
		return err
	}
	return chores.WantRotation(tx, t, generation, resets...)
}

// postedInvites keeps what leads to invites, and looks whether somebody may complete new
// ones at once.
func (s *Service) postedInvites(tx *store.Tx, t kbsig.TeamID, p *postedTeam, l *teamchain.Link) error {
	message := ""
	if p.fact.Post != nil {
		message = p.fact.Post.EmailInviteMsg
	}
	if l.Invites != nil {
		for i := range l.Invites.Added {
			if err := s.addInvite(tx, t, p, &l.Invites.Added[i], l.Signer, message); err != nil {
				return err
			}
		}
		for _, id := range l.Invites.Cancel {
			if err := s.endInvite(tx, t, p, id); err != nil {
				return err
			}
		}
	}
	for _, done := range slices.Concat(l.Completed, l.Used) {
		if err := s.endInvite(tx, t, p, done.Invite); err != nil {
			return err
		}
		if err := dropAcceptance(tx, t, done.UV.UID, done.Invite); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) addInvite(tx *store.Tx, t kbsig.TeamID, p *postedTeam, invite *teamchain.Invite, by kbsig.UserVersion, message string) error {
	others, err := leads(tx, byID(invite.ID))
	if err != nil {
		return err
	}
	for _, o := range others {
		if o.Team != t {
			return fmt.Errorf("invite %s: %w", invite.ID, ErrInviteTaken)
		}
	}
	if invite.Type == typePhone && !numberOK(invite.Name) {
		return fmt.Errorf("invite %s: %w", invite.ID, ErrBadNumber)
	}
	service, name := subject(invite)
	store.Save(tx, keys.InviteLead(byID(invite.ID), t, invite.ID), madeBy{Inviter: by, Service: service, Name: name})
	if active, err := activeInvite(p.after, invite.ID); err != nil || active == nil {
		return err // cancelled in the same post
	}
	if service == "" {
		return nil
	}
	tx.Set(keys.InviteLead(byName(service, name), t, invite.ID), nil)
	u, ok, err := s.WhoIs(tx, service, name)
	if err != nil {
		return err
	}
	if ok {
		return s.name(tx, t, p.after, invite, u)
	}
	return s.writeTo(tx, p.after, invite, p.fact.By.UID, message)
}

// northAmericaDigits are those of a number behind country code 1, with it.
const northAmericaDigits = 11

// numberOK says whether an invite's name, digits without a plus, can be a telephone
// number: nobody could ever answer another one.
func numberOK(name string) bool {
	return mail.NumberOK("+"+name) && (name[0] != '1' || len(name) == northAmericaDigits)
}

// endInvite forgets what led to an invite that has ended, and who accepted one that nobody
// can complete any more.
func (s *Service) endInvite(tx *store.Tx, t kbsig.TeamID, p *postedTeam, id kbsig.InviteID) error {
	st, known, err := p.after.Invite(id)
	if err != nil || known && st.Good() {
		return err
	}
	if !known || st.Ended {
		if err := forgetLeads(tx, t, id); err != nil {
			return err
		}
	}
	var by []kbsig.UID
	err = Acceptances(tx, t, func(u kbsig.UID, i kbsig.InviteID, _ Acceptance) error {
		if i == id {
			by = append(by, u)
		}
		return nil
	})
	for _, u := range by {
		err = errors.Join(err, dropAcceptance(tx, t, u, id))
	}
	return err
}

// forgetLeads forgets what leads to an invite.
func forgetLeads(tx *store.Tx, t kbsig.TeamID, id kbsig.InviteID) error {
	made, found, err := loadOr[madeBy](tx, keys.InviteLead(byID(id), t, id))
	if err != nil || !found {
		return err
	}
	tx.Delete(keys.InviteLead(byID(id), t, id))
	tx.Delete(keys.InviteLead(byName(made.Service, made.Name), t, id))
	if len(made.Token) == sha256.Size {
		tx.Delete(keys.InviteLead([sha256.Size]byte(made.Token), t, id))
	}
	return nil
}

// endAccountInvites ends those invites of a user's account that end by themselves when a
// link says anything of the user.
func (s *Service) endAccountInvites(tx *store.Tx, t kbsig.TeamID, p *postedTeam, u kbsig.UID) error {
	found, err := leads(tx, byName(typeKeybase, u.String()))
	if err != nil {
		return err
	}
	for _, l := range found {
		if l.Team == t {
			err = errors.Join(err, s.endInvite(tx, t, p, l.Invite))
		}
	}
	return err
}

// subject is whom an invite names, in the form in which it is found: a service and a name,
// or "keybase" and a uid; an empty service if it names nobody.
func subject(invite *teamchain.Invite) (service, name string) {
	switch invite.Type {
	case typeSecret, typeLink:
		return "", ""
	case typeKeybase:
		uv, err := kbsig.ParseUserVersion(invite.Name)
		if err != nil {
			return "", ""
		}
		return typeKeybase, uv.UID.String()
	}
	return strings.ToLower(invite.Type), strings.ToLower(invite.Name)
}

// WhoIs is the user whom a name leads everybody to.
func (s *Service) WhoIs(r store.Reader, service, name string) (u kbsig.UID, ok bool, err error) {
	switch service {
	case typeKeybase:
		u, err = kbsig.ParseUID(name)
		return u, err == nil, nil
	case known.Mail, known.Phone:
		if service == known.Phone {
			name = "+" + name
		}
		acct, err := accounts.ByAddress(r, name)
		if errors.Is(err, accounts.ErrNoUser) {
			return u, false, nil
		}
		if err != nil {
			return u, false, err
		}
		return acct.UID, true, nil
	}
	return s.o.Known(r, service, name)
}

// name notes that a user may complete an invite by the server's word, if so.
func (s *Service) name(tx *store.Tx, t kbsig.TeamID, st *teamchain.State, invite *teamchain.Invite, u kbsig.UID) error {
	eldest, keyed, err := present(tx, u)
	if err != nil {
		return err
	}
	if invite.Type == typeKeybase && !(keyed && takes(invite, u, eldest)) {
		return nil
	}
	o, err := OutsiderOf(tx, t, u)
	if err != nil || o.Left != 0 {
		return err
	}
	putAcceptance(tx, t, u, invite.ID, Acceptance{Kind: Named, Eldest: eldest, At: tx.Now().UnixMilli()})
	if !keyed {
		return nil
	}
	return chores.Want(tx, t, chores.People)
}

// takes says whether an invite of a user is for this incarnation: one that was made while
// the user had no keys is for the next.
// client: go/teams/handler.go:assertCanAcceptKeybaseInvite
func takes(invite *teamchain.Invite, u kbsig.UID, eldest kbsig.Seqno) bool {
	uv, err := kbsig.ParseUserVersion(invite.Name)
	return err == nil && uv.UID == u && (uv.Eldest == 0 || uv.Eldest == eldest)
}

// resetNewsID is the item that tells admins that a member was reset.
func resetNewsID(t kbsig.TeamID, uv kbsig.UserVersion) events.ID {
	return events.IDOf("member out from reset", t.String(), uv.String())
}

// endResetNews takes that item back.
func endResetNews(tx *store.Tx, st *teamchain.State, uv kbsig.UserVersion) error {
	admins, err := adminsOf(tx, st)
	if err != nil {
		return err
	}
	admins = slices.DeleteFunc(admins, func(u kbsig.UID) bool { return u == uv.UID })
	return events.AddMany(tx, admins, events.News{Category: newsMemberReset, Ends: []events.ID{resetNewsID(st.ID(), uv)}})
}
