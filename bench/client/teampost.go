package client

import (
	"context"
	"io"
	"net/url"
)

// TeamPost collects links of team chains, and what belongs to them, for one
// sig/multi. client: go/libkb/kbsig.go:SigMultiItem, go/teams/teams.go:sigPayload
type TeamPost struct {
	a     *Account
	items []map[string]any
	body  map[string]any
	root  *Root
	Links []*SignedLink
	tails map[TeamID]teamTip

	blindings []blinding
}

// teamTip is where the next link of a chain goes.
type teamTip struct {
	seqno Seqno
	id    LinkID
}

// newTeamPost begins a request that quotes a root of at least that number.
func (a *Account) newTeamPost(ctx context.Context, least Seqno) (*TeamPost, error) {
	root, err := a.Verifier.rootSince(ctx, max(least, 1))
	if err != nil {
		return nil, err
	}
	return &TeamPost{a: a, body: make(map[string]any), root: root, tails: make(map[TeamID]teamTip)}, nil
}

// follow says where the chain of a loaded team ends.
func (p *TeamPost) follow(c *TeamChain) {
	if _, ok := p.tails[c.ID]; !ok {
		p.tails[c.ID] = teamTip{c.Tail().Seqno, c.Tail().ID}
	}
}

// add signs the next link of a team's chain. key is the per-team key that the link
// announces (announce), or that is current; nil for links without keys beside them.
// client: go/teams/teams.go:sigTeamItemRaw
func (p *TeamPost) add(id TeamID, typ string, team map[string]any, key *TeamKey, announce bool) error {
	team["id"] = id.String()
	if id.Public() {
		team["is_public"] = true
	}
	if err := p.ratchet(id, team); err != nil {
		return err
	}
	tip := p.tails[id]
	spec := &LinkSpec{
		Type: typ, Version: 2, UID: p.a.UID, Username: p.a.Username, Signer: p.a.Device.Sig, Eldest: p.a.eldest,
		Seqno: tip.seqno + 1, Prev: tip.id, Ctime: p.a.Server().Now().Unix(), Root: p.root,
		Body: map[string]any{"team": team}, Number: teamTypes[typ].number, SeqType: id.seqType(),
	}
	if announce {
		team["per_team_key"] = map[string]any{
			"generation": key.Generation, "encryption_kid": key.Enc.KID().String(), "signing_kid": key.Sig.KID().String(),
			"reverse_sig": nil,
		}
		spec.ReverseSigner, spec.ReverseSection = key.Sig, "team.per_team_key"
	}
	if p.a.EditLink != nil {
		p.a.EditLink(spec)
	}
	l, err := BuildLink(spec)
	if err != nil {
		return err
	}
	item := map[string]any{
		"sig": b64(l.Packet), "signing_kid": spec.Signer.KID().String(), "type": spec.Type, "seq_type": spec.SeqType,
		"sig_inner": string(l.Inner), "team_id": id.String(), "version": 0, "sig3": nil, "expansions": nil,
	}
	if typ == "team.root" || typ == "team.new_subteam" {
		item["version"] = 2
	}
	if key != nil {
		item["public_keys"] = map[string]any{"encryption": key.Enc.KID().String(), "signing": key.Sig.KID().String()}
	}
	p.items, p.Links = append(p.items, item), append(p.Links, l)
	p.tails[id] = teamTip{spec.Seqno, l.ID}
	return nil
}

// post sends the request.
func (p *TeamPost) post(ctx context.Context) error {
	p.body["sigs"] = p.items
	if p.a.EditPost != nil {
		p.a.EditPost("sig/multi", p.body)
	}
	p.a.Sent = p.Links
	_, err := p.a.insist(func() (*Reply, error) {
		return p.a.Server().PostJSON(ctx, "sig/multi", p.body, p.a.credential())
	})
	return err
}

// postAndLoad sends the request and wants its links in the tree.
func (p *TeamPost) postAndLoad(ctx context.Context, id TeamID) (*Team, error) {
	if err := p.post(ctx); err != nil {
		return nil, err
	}
	if p.a.SkipChecks {
		return nil, nil
	}
	t, err := p.a.LoadTeam(ctx, id, TeamOptions{})
	if err != nil {
		return nil, err
	}
	for _, l := range p.Links {
		if l.Spec.Body["team"].(map[string]any)["id"] != id.String() {
			continue
		}
		if n := l.Spec.Seqno; int(n) > len(t.Links) || t.Links[n-1].ID != l.ID {
			return nil, violated(RulePosted, "team "+id.String(), "acknowledged link %d is not in root %d", n, t.Root.Seqno)
		}
	}
	return t, nil
}

// entropy is what makes the contents of a stub impossible to guess.
// client: go/libkb/kbsig.go:LinkEntropy
func (a *Account) entropy() (string, error) {
	var b [18]byte
	_, err := io.ReadFull(a.Server().Random, b[:])
	return b64(b[:]), err
}

// Version names the account as teams do: its uid and its present incarnation.
func (a *Account) Version() UserVersion { return a.Me.Version() }

// Version names a user as teams do.
func (u *User) Version() UserVersion {
	v := UserVersion{UID: u.UID}
	if u.Family != nil {
		v.Eldest = u.Family.First
	}
	return v
}

// recipients loads users and their newest per-user keys, without those who were reset or
// deleted since they were members: nobody can open a box of theirs.
// client: go/teams/member_set.go:memberSet.loadGroup
func (a *Account) recipients(ctx context.Context, uvs map[UserVersion]bool) ([]recipient, error) {
	var out []recipient
	for uv, is := range uvs {
		if !is {
			continue
		}
		u, err := a.Verifier.LoadUser(ctx, uv.UID, LoadOptions{Credential: a.credential()})
		if err != nil {
			return nil, err
		}
		if u.Family == nil || u.Version() != uv {
			continue
		}
		if puk := u.Family.LatestPUK(); puk != nil {
			out = append(out, recipient{uv.UID, *puk})
		}
	}
	return out, nil
}

// isNow reports that a member has not been reset or deleted since.
func (a *Account) isNow(ctx context.Context, uv UserVersion) (bool, error) {
	u, err := a.Verifier.LoadUser(ctx, uv.UID, LoadOptions{Credential: a.credential()})
	return err == nil && u.Family != nil && u.Version() == uv, err
}

// adminSection says where the account became admin: of the team, or of the nearest
// ancestor. nil, without an error, if it is no admin.
// client: go/teams/teams.go:getAdminPermission
func (a *Account) adminSection(ctx context.Context, c *TeamChain) (map[string]any, error) {
	me, o := a.Version(), TeamOptions{Subteam: c.ID}
	for {
		if c.Role(me).atLeast(RoleAdmin) {
			points := c.Roles[me]
			i := len(points) - 1
			for i > 0 && points[i-1].Role.atLeast(RoleAdmin) {
				i--
			}
			return map[string]any{"team_id": c.ID.String(), "seqno": points[i].Seqno, "seq_type": c.ID.seqType()}, nil
		}
		if !c.ID.Subteam() {
			return nil, nil
		}
		parent, err := a.parentOf(ctx, c, nil, o)
		if err != nil {
			return nil, err
		}
		c = parent.TeamChain
	}
}

// TeamByName asks for the id that a name has now; it is not verified.
// client: go/teams/loader.go:ResolveNameToIDUntrusted
func (a *Account) TeamByName(ctx context.Context, name string) (id TeamID, err error) {
	reply, err := a.Server().Get(ctx, "team/get", url.Values{"name": {name}, "lookup_only": {"1"}}, a.credential())
	if err != nil {
		return id, err
	}
	s, err := reply.text("id")
	if err != nil {
		return id, err
	}
	return ParseTeamID(s)
}
