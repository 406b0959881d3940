package teams

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// Post appends links to the chains of teams, for their author. All of it happens or
// none. Posting again what stands already succeeds without a change: clients send a
// request anew when its answer was lost. The error is a *teamchain.Error if the links
// may not stand.
func (s *Service) Post(ctx context.Context, by kbsig.UID, p Post) error {
	if n := len(p.Items); n == 0 || n > PostLinksMax {
		return teamchain.Refuse(teamchain.KindInput, "%d links in one request", n)
	}
	var visible []*teamchain.Link
	for _, item := range p.Items {
		signer := by
		switch {
		case item.Visible != nil:
			visible = append(visible, item.Visible)
			signer = item.Visible.Signer.UID
		case item.Hidden != nil:
			signer = item.Hidden.Signer.UID
		}
		if signer != by {
			return teamchain.Refuse(teamchain.KindPermission, "a link of %s posted by %s", signer, by)
		}
	}
	if len(visible) != len(p.Items) && len(p.Items) > 1 {
		return teamchain.Refuse(teamchain.KindBatch, "a hidden link comes alone")
	}
	// Taken before the transaction: roots that are quoted were published.
	v := s.store.View()
	defer v.Close()
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		if len(visible) == 0 {
			return s.postHidden(tx, v, by, &p)
		}
		return s.post(tx, v, by, visible, &p)
	})
	if err != nil {
		return fmt.Errorf("post to team %s: %w", p.Items[0].team(), err)
	}
	return nil
}

func (i Item) team() kbsig.TeamID {
	if i.Visible != nil {
		return i.Visible.Team
	}
	return i.Hidden.Team
}

func (s *Service) post(tx *store.Tx, v *store.View, by kbsig.UID, links []*teamchain.Link, p *Post) error {
	if again, err := posted(tx, links); err != nil || again {
		return err
	}
	b, err := newBatch(tx, by)
	if err != nil {
		return err
	}
	b.links = links
	for _, l := range links {
		if err := heldUp(tx, l); err != nil {
			return err
		}
		if err := checkNew(tx, l); err != nil {
			return err
		}
	}
	e := env{tx: tx, b: b, roots: roots.StateOf(v), view: v}
	if b.after, err = teamchain.CheckBatch(links, e); err != nil {
		return err
	}
	for _, t := range b.teams() {
		// What a chain does not ask about itself is known here none the less.
		if _, err := e.Team(t); err != nil {
			return err
		}
	}
	if err := e.checkAdminRoots(links); err != nil {
		return err
	}
	if err := b.note(); err != nil {
		return err
	}
	if err := e.checkResetAdmins(); err != nil {
		return err
	}
	if err := b.putRatchets(tx, p); err != nil {
		return err
	}
	if err := b.checkMembers(tx, by, p); err != nil {
		return err
	}
	if err := b.write(tx); err != nil {
		return err
	}
	if err := b.putKeys(tx, p, s); err != nil {
		return err
	}
	if err := b.putImplicitKeys(tx, p); err != nil {
		return err
	}
	if err := b.dropBoxes(tx); err != nil {
		return err
	}
	if err := b.putLegacyTLF(tx, p); err != nil {
		return err
	}
	if err := s.hooks(tx, PostFact{By: b.by, Before: b.before, After: b.after, Links: links, Post: p}); err != nil {
		return err
	}
	return b.tell(tx)
}

func newBatch(tx *store.Tx, by kbsig.UID) (*batch, error) {
	b := &batch{
		by:     kbsig.UserVersion{UID: by},
		before: make(map[kbsig.TeamID]*teamchain.State),
		users:  make(map[kbsig.UID]*sigchain.State),
	}
	st, err := b.user(tx, by)
	if err != nil {
		return nil, err
	}
	b.by.Eldest = st.EldestSeqno
	return b, nil
}

// checkMembers: whoever comes may come, and whoever goes goes in order.
func (b *batch) checkMembers(tx *store.Tx, by kbsig.UID, p *Post) error {
	if err := b.checkNewcomers(tx); err != nil {
		return err
	}
	if err := b.checkOwners(tx); err != nil {
		return err
	}
	return checkDemotions(tx, by, p, b)
}

func (s *Service) hooks(tx *store.Tx, f PostFact) error {
	for _, fn := range s.onPost {
		if err := fn(tx, f); err != nil {
			return err
		}
	}
	return nil
}

// posted reports that all these links stand already, as they are.
func posted(tx *store.Tx, links []*teamchain.Link) (bool, error) {
	for _, l := range links {
		rec, err := Record(tx, l.Team, l.Seqno)
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if !l.Same(rec) {
			return false, nil
		}
	}
	return true, nil
}

// checkNew refuses the first link of a chain that has begun: the name is taken.
func checkNew(tx *store.Tx, l *teamchain.Link) error {
	if l.Seqno != 1 {
		return nil
	}
	_, err := FactsOf(tx, l.Team)
	if errors.Is(err, ErrNoTeam) {
		return nil
	}
	if err != nil {
		return err
	}
	return teamchain.Refuse(teamchain.KindExists, "team %s exists", l.Team)
}

// putLegacyTLF keeps the old keys that a link adopts.
// client: go/teams/loader2.go:TeamLoader.computeSeedChecks, go/teams/teams.go:Team.AssociateWithTLFKeyset
func (b *batch) putLegacyTLF(tx *store.Tx, p *Post) error {
	used := false
	for _, l := range b.links {
		if l.KBFS == nil || l.KBFS.Keyset == nil {
			continue
		}
		if p.LegacyTLF == nil || used {
			return teamchain.Refuse(teamchain.KindInput, "legacy_tlf_upgrade is missing")
		}
		used = true
		if k := l.KBFS.Keyset; k.AppType != p.LegacyTLF.AppType || k.TeamGeneration != p.LegacyTLF.TeamGeneration || k.LegacyGeneration != p.LegacyTLF.LegacyGeneration || k.Hash != p.LegacyTLF.hash() {
			return teamchain.Refuse(teamchain.KindMismatch, "legacy_tlf_upgrade is another than the link's")
		}
		store.Save(tx, keys.TeamTLFKeys(l.Team, l.Seqno), *p.LegacyTLF)
	}
	if p.LegacyTLF != nil && !used {
		return teamchain.Refuse(teamchain.KindInput, "legacy_tlf_upgrade beside links that adopt nothing")
	}
	return nil
}

// LegacyTLFs are the old keys of folders that a team's links have adopted, oldest first.
func LegacyTLFs(r store.Reader, t kbsig.TeamID) ([]LegacyTLF, error) {
	var out []LegacyTLF
	lo := keys.AllTeamTLFKeys(t)
	err := r.Scan(lo, keys.End(lo), func(_, v []byte) error {
		l, err := store.Decode[LegacyTLF](v)
		out = append(out, l)
		return err
	})
	return out, err
}

// hash is what a link quotes of the keys. client: go/teams/loader2.go:TeamLoader.unboxKBFSCryptKeys
func (l *LegacyTLF) hash() string {
	h := sha256.Sum256([]byte(l.EncryptedKeyset))
	return hex.EncodeToString(h[:])
}
