package teamchain

import (
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// Past is what is known of the world in which a chain has grown.
type Past interface {
	// User is what a user's chain means in the end; nil if there is none.
	User(u kbsig.UID) (*sigchain.State, error)
	// UserRoot is the root that a link of a user's chain quotes.
	UserRoot(u kbsig.UID, n kbsig.Seqno) (kbsig.Seqno, error)
	// Team is what another team's chain means in the end; nil if there is none.
	Team(t kbsig.TeamID) (*State, error)
	// TeamRoot is the root that a link of a team's chain quotes.
	TeamRoot(t kbsig.TeamID, n kbsig.Seqno) (kbsig.Seqno, error)
	// TailAt is how many links of a team's chain a root covers.
	TailAt(t kbsig.TeamID, root kbsig.Seqno) (kbsig.Seqno, error)
	// Root refuses a Merkle root that was never published, or not as it is quoted.
	Root(ref RootRef) error
}

// Player plays one chain again, link by link, and demands of it what stock clients
// demand who load it from the beginning: signatures, rules, and the order of events in
// several chains as roots prove it.
// client: go/teams/loader2.go:TeamLoader.verifyLink, go/teams/proofs.go
type Player struct {
	past Past
	s    *State
}

// NewPlayer begins a chain.
func NewPlayer(past Past) *Player { return &Player{past: past} }

// State is what the links so far mean; nil before the first.
func (p *Player) State() *State { return p.s }

// Replay plays a whole chain again from its records, verifying everything anew. Errors
// name the link.
func Replay(records []Record, past Past) (*State, error) {
	p := NewPlayer(past)
	for i, r := range records {
		l, err := r.Link()
		if err == nil {
			err = p.Add(l)
		}
		if err != nil {
			return nil, fmt.Errorf("link %d: %w", i+1, err)
		}
	}
	return p.s, nil
}

// Add plays the next link. After an error the chain cannot go on.
func (p *Player) Add(l *Link) error {
	if err := p.identify(l); err != nil {
		return err
	}
	if err := p.past.Root(l.Root); err != nil {
		return err
	}
	if p.s == nil {
		s, err := begin(l)
		if err != nil {
			return err
		}
		p.s = s
		return p.checkParent(l)
	}
	if l.Team != p.s.h.ID {
		return Refuse(KindMismatch, "link of team %s in the chain of %s", l.Team, p.s.h.ID)
	}
	g, err := p.authority(l)
	if err != nil {
		return err
	}
	// The hidden chain takes generations too; that each is taken once is seen when both
	// chains are looked at together.
	hidden := int64(0)
	if l.PTK != nil {
		hidden = l.PTK.Generation - 1
	}
	if err := p.s.add(l, g, hidden); err != nil {
		return err
	}
	return p.checkParent(l)
}

// identify: the signer's device had its key in that incarnation, and was not revoked
// before the link.
// client: go/teams/loader2.go:TeamLoader.addProofsForKeyInUserSigchain
func (p *Player) identify(l *Link) error {
	u, err := p.past.User(l.Signer.UID)
	if err != nil {
		return err
	}
	if u == nil || u.Username != l.Username {
		return Refuse(KindWrongKey, "signed by %s, who does not exist or is called otherwise", l.Signer.UID)
	}
	begun := make(map[int]kbsig.Seqno)
	for _, k := range u.Keys {
		if k.Role == sigchain.RoleEldest {
			begun[k.Incarnation] = k.AddedAt
		}
	}
	for _, k := range u.Keys {
		if k.KID != l.KID || k.Role == sigchain.RoleSubkey || begun[k.Incarnation] != l.Signer.Eldest {
			continue
		}
		if k.RevokedAt == 0 {
			return nil
		}
		root, err := p.past.UserRoot(l.Signer.UID, k.RevokedAt)
		if err != nil {
			return err
		}
		return p.covered(root, l, "the revocation of the key that signed")
	}
	return Refuse(KindWrongKey, "signed by %s, which was no device of %s", l.KID, l.Signer)
}

// covered: a root that something later quotes has the link in it.
func (p *Player) covered(root kbsig.Seqno, l *Link, by string) error {
	tail, err := p.past.TailAt(l.Team, root)
	if err != nil {
		return err
	}
	if tail < l.Seqno {
		return Refuse(KindOrder, "%s quotes root %d, which ends with link %d", by, root, tail)
	}
	return nil
}

// authority is what the author of a link acted as.
// client: go/teams/loader2.go:TeamLoader.verifyAdminPermissions
func (p *Player) authority(l *Link) (g signer, err error) {
	if g.role, err = p.s.RoleOf(l.Signer); err != nil || l.Type == kbsig.LinkTeamLeave || l.Admin == nil {
		return g, err
	}
	if l.Admin.Team == p.s.h.ID {
		b := &batch{}
		return g, b.checkAdmin(p.s, l, false)
	}
	at, err := p.above(l.Admin.Team)
	if err != nil {
		return g, err
	}
	points, err := at.RoleLog(l.Signer)
	if err != nil {
		return g, err
	}
	found := false
	for _, r := range points {
		switch {
		case r.Seqno == l.Admin.Seqno:
			found = r.Role.AtLeast(RoleAdmin)
		case found && !r.Role.AtLeast(RoleAdmin):
			root, err := p.past.TeamRoot(at.h.ID, r.Seqno)
			if err != nil {
				return g, err
			}
			g.implicit = true
			return g, p.covered(root, l, fmt.Sprintf("the end of that role in link %d of team %s", r.Seqno, at.h.ID))
		}
	}
	if !found {
		return g, Refuse(KindAdminChain, "%s did not become an admin with link %d of team %s", l.Signer, l.Admin.Seqno, at.h.ID)
	}
	tail, err := p.past.TailAt(at.h.ID, l.Root.Seqno)
	if err != nil {
		return g, err
	}
	if tail < l.Admin.Seqno {
		return g, Refuse(KindOrder, "quotes root %d, by which its signer was no admin of team %s", l.Root.Seqno, at.h.ID)
	}
	g.implicit = true
	return g, nil
}

// above finds a team above this one.
func (p *Player) above(t kbsig.TeamID) (*State, error) {
	at := p.s
	for range depthMax {
		parent, ok := at.Parent()
		if !ok {
			break
		}
		next, err := p.past.Team(parent)
		if err != nil {
			return nil, err
		}
		if next == nil {
			return nil, Refuse(KindNoTeam, "no team %s", parent)
		}
		if at = next; parent == t {
			return at, nil
		}
	}
	return nil, Refuse(KindAdminChain, "admin of %s, which is not above", t)
}

// checkParent: the parent's chain says the same of a subteam.
// client: go/teams/chain.go:TeamSigChainState.SubteamRenameOccurred
func (p *Player) checkParent(l *Link) error {
	if l.Parent == nil {
		return nil
	}
	up, err := p.past.Team(l.Parent.Team)
	if err != nil {
		return err
	}
	if up == nil {
		return Refuse(KindNoTeam, "no team %s", l.Parent.Team)
	}
	points, err := up.Subteam(l.Team)
	if err != nil {
		return err
	}
	for _, at := range points {
		if at.Seqno != l.Parent.Seqno {
			continue
		}
		n, err := kbsig.ParseTeamName(at.Name)
		gone := l.Type == kbsig.LinkTeamDeleteUpPointer
		if gone && at.Name == "" || !gone && err == nil && n.Last() == l.Name.Last() {
			return nil
		}
	}
	return Refuse(KindMismatch, "link %d of team %s does not say that of the subteam", l.Parent.Seqno, l.Parent.Team)
}
