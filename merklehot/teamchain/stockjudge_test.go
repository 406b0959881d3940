package teamchain

import (
	"encoding/base64"
	"encoding/json"

	"github.com/keystead/keystead/compat/kbsig"
)

// judged is a line for a stock client.
type judged struct {
	Base     bool        `json:"base"`
	New      bool        `json:"new"`
	Team     string      `json:"team"`
	Link     WireLink    `json:"link"`
	UID      string      `json:"u"`
	Eldest   kbsig.Seqno `json:"e"`
	Implicit bool        `json:"i"`
	Ours     bool        `json:"ours"`
	What     string      `json:"what"`
}

// writeJudged writes what a client is to judge, and what we say of it. Readers do not
// play the ends of chains.
func (b *bout) writeJudged(d *draft, p Posted, links []*Link, at int, what string, refused error) {
	if b.out == nil || d.outer.Type == kbsig.LinkTeamDeleteRoot || d.outer.Type == kbsig.LinkTeamDeleteUpPointer {
		return
	}
	team, by := d.link(), b.signerOf(p)
	if p.TeamID != team.String() { // the chain that was written is another
		return
	}
	line := judged{Team: team.String(), UID: by.UID.String(), Eldest: by.Eldest, Ours: refused == nil, What: what + " " + d.outer.Type.TeamName()}
	line.Link = WireLink{Seqno: d.outer.Seqno, Sig: p.Sig, PayloadJSON: p.SigInner, UID: line.UID, EldestSeqno: by.Eldest, Version: 2}
	line.Implicit = b.impliedAdmin(p, team, by)
	if refused == nil && links[at].Type != d.outer.Type {
		line.What += " as " + links[at].Type.TeamName()
	}
	b.write(line)
}

func (b *bout) write(l judged) {
	if err := b.out.Encode(l); err != nil {
		b.t.Fatal(err)
	}
}

// writeBase writes the chain that mutants come after.
func (b *bout) writeBase(team kbsig.TeamID) {
	lines := []judged{{New: true, What: "nothing", Team: team.String()}}
	if s := b.teams[team]; s != nil {
		lines = nil
		for i, r := range s.records {
			e, l := must(r.Entry(false)), must(r.Link())
			implicit := l.Admin != nil && l.Admin.Team != team
			lines = append(lines, judged{New: i == 0, Base: true, Team: team.String(), Link: e, UID: r.Signer.UID.String(), Eldest: r.Signer.Eldest, Implicit: implicit, What: l.Type.TeamName()})
		}
	}
	for _, l := range lines {
		b.write(l)
	}
}

// signerOf is whose key signed.
func (h *hand) signerOf(p Posted) kbsig.UserVersion {
	raw, _ := base64.StdEncoding.DecodeString(p.Sig)
	if sig, err := kbsig.DecodeSignature(raw); err == nil {
		for _, x := range h.people {
			if kbsig.KIDOfPrivate(x.key) == sig.KID {
				return x.uv()
			}
		}
	}
	return kbsig.UserVersion{}
}

// impliedAdmin reports whether a text names a link by which the signer became an admin
// of a team above, and has been one since.
func (h *hand) impliedAdmin(p Posted, team kbsig.TeamID, by kbsig.UserVersion) bool {
	var doc struct {
		Body struct {
			Team struct {
				Admin *struct {
					Team  string      `json:"team_id"`
					Seqno kbsig.Seqno `json:"seqno"`
					Type  int         `json:"seq_type"`
				} `json:"admin"`
			} `json:"team"`
		} `json:"body"`
	}
	if json.Unmarshal([]byte(p.SigInner), &doc) != nil || doc.Body.Team.Admin == nil || doc.Body.Team.Admin.Type != kbsig.SeqTypeSemiprivate {
		return false
	}
	for at := team; ; {
		st, _ := h.Team(at)
		if st == nil {
			return false
		}
		parent, ok := st.Parent()
		if !ok {
			return false
		}
		at = parent
		if at.String() != doc.Body.Team.Admin.Team {
			continue
		}
		above, _ := h.Team(at)
		points, _ := above.RoleLog(by)
		found := false
		for _, r := range points {
			if r.Seqno == doc.Body.Team.Admin.Seqno {
				found = r.Role.AtLeast(RoleAdmin)
			} else if !r.Role.AtLeast(RoleAdmin) {
				found = false
			}
		}
		return found
	}
}
