package client

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
)

// hiddenReply is the part of merkle/path about a hidden chain.
type hiddenReply struct {
	Proof string `json:"enc_value_with_proof"`
	Last  *Seqno `json:"last_hidden_seqno"`
}

// hiddenTold is what merkle/path told of a hidden chain.
type hiddenTold struct {
	told bool        // false: the server left it out
	tail *HiddenTail // that the root names, if any
	last Seqno       // that the server has
}

// verify checks what a root says of a team's hidden chain. Roots without a blind tree
// say nothing. client: go/teams/hidden/loader.go:CheckHiddenMerklePathResponseAndAddRatchets
func (h *hiddenReply) verify(root *Root, id TeamID) (out hiddenTold, err error) {
	if root.BlindRoot == "" {
		return hiddenTold{told: true}, nil
	}
	if h.Proof == "" && h.Last == nil {
		return hiddenTold{}, nil
	}
	if out.tail, err = VerifyBlind(root.BlindRoot, id, h.Proof); err != nil {
		return out, err
	}
	var committed Seqno
	if out.tail != nil {
		committed = out.tail.Seqno
	}
	if h.Last == nil || *h.Last < committed {
		return out, violated(RuleBlind, "hidden chain of "+id.String(), "last_hidden_seqno is before committed link %d", committed)
	}
	out.told, out.last = true, *h.Last
	return out, nil
}

// playHidden verifies the hidden chain: it stands on the visible one, reaches what the
// root commits to, and has every link that visible links commit to. Who reads a team from
// below is promised nothing, and gets stubs.
// client: go/teams/hidden/loader.go:LoaderPackage.Update, CheckParentPointersOnFullLoad
func (a *Account) playHidden(_ context.Context, t *Team, r *teamReply) error {
	if t.ID.Public() && t.Role(a.Version()) == RoleNone {
		if len(r.Hidden) > 0 || t.hidden.last > 0 {
			return violated(RuleHidden, "team "+t.ID.String(), "%d hidden links, %d promised, of a public team", len(r.Hidden), t.hidden.last)
		}
		return nil
	}
	if !t.hidden.told && !t.SubteamReader {
		return violated(RuleBlind, "team "+t.ID.String(), "nothing is said of its hidden chain")
	}
	var ids []LinkID
	clear(t.HiddenPTKs)
	for i, raw := range r.Hidden {
		if t.SubteamReader {
			id, err := hiddenStub(raw, ids)
			if err != nil {
				return under(RuleHidden, fmt.Sprintf("hidden link %d of team %s", i+1, t.ID), err)
			}
			ids = append(ids, id)
			continue
		}
		l, err := parseHiddenJSON(raw)
		if err != nil {
			return err
		}
		if err := t.playHiddenLink(l, ids); err != nil {
			return under(RuleHidden, fmt.Sprintf("hidden link %d of team %s", i+1, t.ID), err)
		}
		ids = append(ids, l.ID)
	}
	if int(t.hidden.last) > len(ids) {
		return violated(RuleHidden, "team "+t.ID.String(), "%d hidden links are promised, %d came", t.hidden.last, len(ids))
	}
	if c := t.hidden.tail; c != nil && (int(c.Seqno) > len(ids) || ids[c.Seqno-1] != c.LinkID) {
		return violated(RuleHidden, "team "+t.ID.String(), "the root commits to hidden link %d, which is not there", c.Seqno)
	}
	t.HiddenIDs, t.HiddenTail = ids, nil
	if n := len(ids); n > 0 {
		t.HiddenTail = &HiddenTail{Seqno(n), ids[n-1]}
	}
	return t.checkRatchets(r, ids)
}

// hiddenStub is the id of a link that is shown without what it says, after others.
func hiddenStub(raw json.RawMessage, before []LinkID) (id LinkID, err error) {
	var j struct{ I, O, S string }
	if err := json.Unmarshal(raw, &j); err != nil {
		return id, err
	}
	if j.I != "" || j.S != "" {
		return id, fmt.Errorf("what it says is shown to somebody from below")
	}
	b, err := unbase64(j.O)
	if err != nil {
		return id, err
	}
	r := packReader{}
	o := r.list(r.whole(b), 8)
	var prev LinkID
	if n := r.int(o[1]); r.err == nil && n != int64(len(before)+1) {
		return id, fmt.Errorf("it is link %d", n)
	}
	if o[2] != nil {
		copy(prev[:], r.bytes(o[2], 32))
	}
	if n := len(before); r.err == nil && (n == 0) != (o[2] == nil) || n > 0 && prev != before[n-1] {
		return id, fmt.Errorf("it follows %x", prev)
	}
	return sha256.Sum256(b), r.err
}

func parseHiddenJSON(raw json.RawMessage) (*HiddenLink, error) {
	var j struct{ I, O, S string }
	if err := json.Unmarshal(raw, &j); err != nil {
		return nil, under(RuleHidden, "hidden link", err)
	}
	return ParseHidden(j.I, j.O, j.S)
}

func (t *Team) playHiddenLink(l *HiddenLink, ids []LinkID) error {
	n := len(ids)
	switch {
	case l.Team != t.ID || l.Public || l.Implicit != t.Implicit:
		return fmt.Errorf("it is one of team %x, public %v, implicit %v", l.Team, l.Public, l.Implicit)
	case int(l.Seqno) != n+1 || n > 0 && l.Prev != ids[n-1]:
		return fmt.Errorf("it is link %d after %x", l.Seqno, l.Prev)
	case int(l.Parent.Seqno) > len(t.Links) || t.Links[l.Parent.Seqno-1].ID != l.Parent.LinkID:
		return fmt.Errorf("it stands on visible link %d, which is another", l.Parent.Seqno)
	}
	if _, known := t.HiddenPTKs[l.Key.Generation]; known {
		return fmt.Errorf("it brings generation %d again", l.Key.Generation)
	}
	check := l.Key.Check
	t.HiddenPTKs[l.Key.Generation] = TeamPTK{Signing: l.Key.Sig, DH: l.Key.Enc, Seqno: l.Seqno, Check: &check}
	return nil
}

// checkRatchets looks at the ratchets of links that the reply delivers.
// client: go/teams/loader2.go:consumeRatchets
func (t *Team) checkRatchets(r *teamReply, ids []LinkID) error {
	text := ""
	if r.Blinding != nil {
		text = *r.Blinding
	}
	known, err := ParseBlindings(text)
	if err != nil {
		return err
	}
	for _, l := range t.Links[max(0, len(t.Links)-len(r.Chain)):] {
		list, _ := l.team["ratchets"].([]any)
		for _, x := range list {
			var h Ratchet
			s, _ := x.(string)
			if err := unhex("ratchet", s, h[:]); err != nil {
				return under(RuleRatchet, l.subject(), err)
			}
			tail, ok := known[h]
			if !ok || int(tail.Seqno) > len(ids) || ids[tail.Seqno-1] != tail.LinkID {
				return violated(RuleRatchet, l.subject(), "ratchet %s commits to hidden link %d, which is not there", s, tail.Seqno)
			}
		}
	}
	return nil
}

// ratchet makes a link commit to the hidden chain of its team, if there is one.
// client: go/teams/hidden/ratchet.go:MakeRatchet
func (p *TeamPost) ratchet(id TeamID, team map[string]any) error {
	t := p.a.teams.loaded[id]
	if t == nil || t.HiddenTail == nil {
		return nil
	}
	var key [32]byte
	if _, err := io.ReadFull(p.a.Server().Random, key[:]); err != nil {
		return fmt.Errorf("draw a blinding key: %w", err)
	}
	h := RatchetOf(*t.HiddenTail, key)
	team["ratchets"] = []string{fmt.Sprintf("%x", h)}
	p.blindings = append(p.blindings, blinding{*t.HiddenTail, key})
	p.body["ratchet_blinding_keys"] = encodeBlindings(p.blindings)
	return nil
}

// RotateTeamHidden gives a team a new key on its hidden chain.
// client: go/teams/teams.go:rotatePostHidden
func (a *Account) RotateTeamHidden(ctx context.Context, t *Team) (*Team, error) {
	p, err := a.newTeamPost(ctx, t.Root.Seqno)
	if err != nil {
		return nil, err
	}
	section, err := a.teamSection(ctx, t, make(map[string]any))
	if err != nil {
		return nil, err
	}
	key, err := a.rotation(ctx, p, t, nil, section)
	if err != nil {
		return nil, err
	}
	tail := t.Tail()
	l := &HiddenLink{
		Team: t.ID, Seqno: 1, Ctime: a.Server().Now().Unix(), Entropy: make([]byte, 16),
		Key:       HiddenKey{Generation: key.Generation, Enc: key.Enc.KID(), Check: sha256.Sum256(key.Check[:])},
		Client:    &[2]string{"keystead bench", "1"},
		RootCtime: p.root.Ctime, RootHash: p.root.HashMeta, RootSeqno: p.root.Seqno,
		Parent: HiddenTail{tail.Seqno, tail.ID}, UID: a.UID, Eldest: a.Version().Eldest, Implicit: t.Implicit,
	}
	if _, err := io.ReadFull(a.Server().Random, l.Entropy); err != nil {
		return nil, fmt.Errorf("draw entropy: %w", err)
	}
	if t.HiddenTail != nil {
		l.Seqno, l.Prev = t.HiddenTail.Seqno+1, t.HiddenTail.LinkID
	}
	if admin, ok := section["admin"].(map[string]any); ok {
		id, err := ParseTeamID(admin["team_id"].(string))
		if err != nil {
			return nil, err
		}
		l.Admin = &HiddenAdmin{Team: id, Seqno: admin["seqno"].(Seqno), SeqType: visibleSeqType}
	}
	l.Build(a.Device.Sig, key.Sig)
	p.items = append(p.items, map[string]any{
		"sig": "", "signing_kid": l.KID.String(), "type": "team.rotate_key_hidden", "seq_type": hiddenSeqType, "sig_inner": "",
		"team_id": t.ID.String(), "version": hiddenVersion, "expansions": nil,
		"sig3":        map[string]any{"i": l.Inner, "o": l.Outer, "s": l.Sig},
		"public_keys": map[string]any{"encryption": l.Key.Enc.String(), "signing": l.Key.Sig.String()},
	})
	after, err := p.postAndLoad(ctx, t.ID)
	if err != nil || after == nil {
		return after, err
	}
	if after.HiddenTail == nil || after.HiddenTail.Seqno < l.Seqno {
		return nil, violated(RulePosted, "team "+t.ID.String(), "acknowledged hidden link %d is not there", l.Seqno)
	}
	return after, nil
}
