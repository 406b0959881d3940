package client

import (
	"context"
	"fmt"
)

// checkTeamSigner verifies that the key and the role behind a link were there when it
// was signed: what it rests on stands in the tree under the root that it quotes, and
// what ended the key or the role quotes a root that already has the link. It reports
// whether the signer acted as admin of an ancestor. Links of old were checked before.
// client: go/teams/loader2.go:verifyLink, addProofsForKeyInUserSigchain
func (a *Account) checkTeamSigner(ctx context.Context, t *Team, l *TeamLink, old *Team, o TeamOptions) (implicit bool, err error) {
	if l.Stubbed {
		return false, nil
	}
	admin := l.team.has("admin")
	if admin {
		id, err := l.team.str("admin", "team_id")
		if err != nil {
			return false, violated(RuleTeamLink, l.subject(), "%v", err)
		}
		implicit = id != t.ID.String()
	}
	if old != nil && int(l.Seqno) <= len(old.Links) {
		return implicit, nil
	}
	if err := a.checkTeamKey(ctx, t, l); err != nil {
		return false, err
	}
	if l.Seqno == 1 && t.ID.Subteam() {
		// Who may begin a subteam shows in the parent. client: go/teams/loader2.go:verifyLink
		if t.Parent, err = l.parent(); err != nil {
			return false, violated(RuleTeamLink, l.subject(), "%v", err)
		}
	}
	if !admin {
		return false, nil
	}
	return implicit, a.checkTeamAdmin(ctx, t, l, o)
}

// checkTeamKey: the signing key was delegated before the link and revoked after it.
func (a *Account) checkTeamKey(ctx context.Context, t *Team, l *TeamLink) error {
	u, err := a.userFor(ctx, l.By.UID, l.Signer)
	if err != nil {
		return err
	}
	var family *Family
	for _, f := range append(u.Past, u.Family) {
		if f != nil && f.Keys[l.Signer] != nil {
			family = f
		}
	}
	if family == nil || !family.Keys[l.Signer].Sibkey {
		return violated(RuleSigner, l.subject(), "signed by %s, no signing key of %s", l.Signer, l.By.UID)
	}
	if family.First != l.By.Eldest {
		return violated(RuleSigner, l.subject(), "eldest seqno %d, the key is of %d", l.By.Eldest, family.First)
	}
	key := family.Keys[l.Signer]
	if err := a.wasThere(ctx, l, l.By.UID.String(), key.DelegatedAt, l.Merkle.HashMeta, "the key was delegated"); err != nil {
		return err
	}
	if !key.Revoked {
		return nil
	}
	end := u.Link(key.RevokedAt)
	return a.wasThere(ctx, l, t.ID.String(), l.Seqno, end.Merkle.HashMeta, "the link was signed before its key was revoked")
}

// userFor loads the signer of a link; what is known already will do if it has the key.
func (a *Account) userFor(ctx context.Context, uid UID, kid KID) (*User, error) {
	if u := a.teams.users[uid]; u != nil {
		for _, f := range append(u.Past, u.Family) {
			if f != nil && f.Keys[kid] != nil {
				return u, nil
			}
		}
	}
	u, err := a.Verifier.LoadUser(ctx, uid, LoadOptions{Credential: a.credential()})
	if err == nil {
		a.teams.users[uid] = u
	}
	return u, err
}

// checkTeamAdmin: the signer had become admin of the team or of an ancestor.
// client: go/teams/loader2.go:verifyAdminPermissions
func (a *Account) checkTeamAdmin(ctx context.Context, t *Team, l *TeamLink, o TeamOptions) error {
	s, err := l.team.str("admin", "team_id")
	if err != nil {
		return violated(RuleTeamLink, l.subject(), "%v", err)
	}
	id, err := ParseTeamID(s)
	if err != nil {
		return violated(RuleTeamLink, l.subject(), "%v", err)
	}
	n, err := l.team.int("admin", "seqno")
	if err != nil {
		return violated(RuleTeamLink, l.subject(), "%v", err)
	}
	if kind, err := l.team.int("admin", "seq_type"); err != nil || kind != id.seqType() {
		return violated(RuleTeamLink, l.subject(), "admin.seq_type %d: %v", kind, err)
	}
	if o.Subteam == (TeamID{}) {
		o.Subteam = t.ID
	}
	chain := t.TeamChain
	for chain.ID != id {
		if !chain.ID.Subteam() {
			return violated(RuleTeamRole, l.subject(), "admin of %s, which is no ancestor", id)
		}
		var need []Seqno
		if chain.Parent == id {
			need = []Seqno{Seqno(n)}
		}
		parent, err := a.parentOf(ctx, chain, need, o)
		if err != nil {
			return err
		}
		chain = parent.TeamChain
	}
	down, err := chain.becameAdmin(l.By, Seqno(n))
	if err != nil {
		return violated(RuleTeamRole, l.subject(), "%v", err)
	}
	if chain.ID == t.ID {
		if down != nil && down.Seqno < l.Seqno {
			return violated(RuleTeamRole, l.subject(), "%s was admin no more", l.By)
		}
		return nil
	}
	if err := a.wasThere(ctx, l, id.String(), Seqno(n), l.Merkle.HashMeta, "the signer became admin"); err != nil || down == nil {
		return err
	}
	return a.wasThere(ctx, l, t.ID.String(), l.Seqno, down.Merkle.HashMeta, "the link was signed before its signer was demoted")
}

// wasThere verifies that a chain had reached a link in the root of that hash.
// client: go/teams/proofs.go:proof.check
func (a *Account) wasThere(ctx context.Context, l *TeamLink, id string, link Seqno, root HashMeta, what string) error {
	at := tailAt{id, root}
	tail, known := a.teams.tails[at]
	if !known {
		_, value, found, err := a.Verifier.LookupAt(ctx, id, At{HashMeta: root}, true, a.credential())
		if err != nil {
			return err
		}
		if found {
			if tail, err = tailIn(id, value); err != nil {
				return err
			}
		}
		a.teams.tails[at] = tail
	}
	if tail < link {
		return violated(RuleTeamOrder, l.subject(), "%s: link %d of %s, but root %s has %d only", what, link, id, root, tail)
	}
	return nil
}

// tailIn is the number of the last link that a leaf of a user or team names.
func tailIn(id string, value any) (Seqno, error) {
	if team, err := ParseTeamID(id); err == nil {
		t, err := teamTail(team, value)
		if err != nil {
			return 0, err
		}
		return t.Seqno, nil
	}
	leaf, err := parseLeaf(fmt.Sprintf("leaf of %s", id), value)
	return leaf.tailSeqno(), err
}
