package teams

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// newestGeneration is the newest generation of a team's key in both chains.
func newestGeneration(r store.Reader, t kbsig.TeamID, st *teamchain.State) (int64, error) {
	h, err := hidden.Load(r, t)
	if err != nil {
		return 0, err
	}
	return max(h.PTK().Generation, st.PTK().Generation), nil
}

// NewestGeneration is the newest generation of a team's key in both chains.
func NewestGeneration(r store.Reader, t kbsig.TeamID) (int64, error) {
	st, err := Load(r, t)
	if err != nil {
		return 0, err
	}
	return newestGeneration(r, t, st)
}

// rotator answers what a hidden chain asks.
type rotator struct{ env }

func (r rotator) Visible(t kbsig.TeamID) (v hidden.Visible, err error) {
	st, err := r.Team(t)
	if err != nil {
		return v, err
	}
	if st == nil {
		return v, teamchain.Refuse(teamchain.KindNoTeam, "no team %s", t)
	}
	n, link, _ := st.Tail()
	return hidden.Visible{Tail: kbsig.Sig3Tail{Seqno: n, Link: link}, Generation: st.PTK().Generation, Implicit: st.Implicit()}, nil
}

func (r rotator) Signer(l *hidden.Link) error {
	root, err := roots.RootAt(r.tx, l.RootSeqno)
	if errors.Is(err, roots.ErrNoRoot) {
		return teamchain.Refuse(teamchain.KindOrder, "quotes root %d, which was never published", l.RootSeqno)
	}
	if err != nil {
		return err
	}
	return teamchain.CheckRotation(teamchain.Rotation{
		Team: l.Team, Signer: l.Signer, KID: l.KID, Admin: place(l.Admin),
		Root: teamchain.RootRef{Seqno: l.RootSeqno, HashMeta: l.RootHash, Ctime: root.Ctime},
	}, r.env)
}

func place(a *kbsig.Sig3Admin) *teamchain.Place {
	if a == nil {
		return nil
	}
	return &teamchain.Place{Team: a.Team, Seqno: a.Seqno, SeqType: a.Chain}
}

// postHidden appends the one hidden link of a post.
func (s *Service) postHidden(tx *store.Tx, v *store.View, by kbsig.UID, p *Post) error {
	l := p.Items[0].Hidden
	if again, err := postedHidden(tx, l); err != nil || again {
		return err
	}
	b, err := newBatch(tx, by)
	if err != nil {
		return err
	}
	r := rotator{env{tx: tx, b: b, roots: roots.StateOf(v), view: v}}
	// What the link rests on is judged as if it were a visible one.
	as := &teamchain.Link{Team: l.Team, Signer: l.Signer, KID: l.KID, Admin: place(l.Admin), Root: teamchain.RootRef{Seqno: l.RootSeqno}}
	if err := heldUp(tx, as); err != nil {
		return err
	}
	chain, err := hidden.Load(tx, l.Team)
	if err != nil {
		return err
	}
	next, err := chain.Apply(l, r)
	if err != nil {
		return err
	}
	if err := r.checkAdminRoots([]*teamchain.Link{as}); err != nil {
		return err
	}
	if len(p.Blindings) > 0 || len(p.ImplicitKeys) > 0 || p.LegacyTLF != nil {
		return teamchain.Refuse(teamchain.KindInput, "something beside a hidden link that does not belong to it")
	}
	if err := hidden.Append(tx, next, l); err != nil {
		return err
	}
	st, err := Load(tx, l.Team)
	if err != nil {
		return err
	}
	b.after = map[kbsig.TeamID]*teamchain.State{l.Team: st}
	to, err := b.everybody(tx, l.Team, st)
	if err != nil {
		return err
	}
	if err := b.checkBoxes(tx, l.Team, p.Keys, to, to, l.PTK.Generation, true); err != nil {
		return err
	}
	keyboxes.PutTeamBoxes(tx, l.Team, p.Keys, func(u kbsig.UID) kbsig.Seqno { return to[u] })
	if err := keyboxes.NewTeamMasks(tx, l.Team, l.PTK.Generation, s.rand); err != nil {
		return err
	}
	fact := PostFact{
		By: b.by, Before: map[kbsig.TeamID]*teamchain.State{}, After: map[kbsig.TeamID]*teamchain.State{},
		Hidden: []*hidden.Link{l}, Post: p,
	}
	if err := s.hooks(tx, fact); err != nil {
		return err
	}
	return b.tellChange(tx, l.Team, Change{KeyRotated: true, Also: []kbsig.UID{by}})
}

// postedHidden reports that the link stands already, as it is.
func postedHidden(tx *store.Tx, l *hidden.Link) (bool, error) {
	rec, err := store.Load[hidden.Record](tx, keys.HiddenLink(l.Team, l.Seqno))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("hidden link %d of team %s: %w", l.Seqno, l.Team, err)
	}
	return kbsig.LinkIDOf(rec.Outer) == l.ID, nil
}

// putRatchets checks what links commit to of hidden chains, and keeps what explains it.
// client: go/teams/hidden/ratchet.go
func (b *batch) putRatchets(tx *store.Tx, p *Post) error {
	seen := make(map[kbsig.Ratchet]bool)
	for _, l := range b.links {
		h, err := hidden.Load(tx, l.Team)
		if err != nil {
			return err
		}
		ratchets := make([]kbsig.Ratchet, len(l.Ratchets))
		for i, r := range l.Ratchets {
			ratchets[i] = r
			seen[r] = true
		}
		// Restricted bots cannot see the hidden chain, and folders are named without.
		needed := l.Seqno > 1 && l.Type != kbsig.LinkTeamKBFS && !l.Team.Public() &&
			!b.restricted(l)
		keep, err := hidden.CheckRatchets(tx, l.Team, h, ratchets, p.Blindings, needed)
		if err != nil {
			return err
		}
		hidden.PutBlindings(tx, l.Team, keep)
	}
	for _, g := range p.Blindings {
		if !seen[g.Ratchet] {
			return teamchain.Refuse(teamchain.KindInput, "a blinding key of no ratchet")
		}
	}
	return nil
}

// restricted reports a link that a restricted bot signed.
func (b *batch) restricted(l *teamchain.Link) bool {
	for _, c := range b.changes(l) {
		if l.Type == kbsig.LinkTeamLeave && c.uv == l.Signer {
			return c.before == teamchain.RoleRestrictedBot
		}
	}
	return false
}
