package client

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// TeamJudge reads visible chains of teams as a member does who sees all of them, but
// without a server: from entries in the form of team/get's chain. Who may sign for whom
// it asks Signer. It does not look at the roots that links quote; see checkTeamSigner.
type TeamJudge struct {
	// Signer tells the incarnation of a user that a key signs for, 0 if it is no key of
	// the user's.
	Signer func(UID, KID) Seqno
	chains map[TeamID]*TeamChain
}

// TeamEntry is a link as team/get delivers it.
type TeamEntry struct {
	Team TeamID
	JSON json.RawMessage
}

// Chain is what a chain means by now, nil without links.
func (j *TeamJudge) Chain(id TeamID) *TeamChain { return j.chains[id] }

// Judge plays links that were posted together onto the chains, which stay as they are,
// and returns those that grew, or why a reader refuses them.
func (j *TeamJudge) Judge(batch []TeamEntry) (map[TeamID]*TeamChain, error) {
	after := &TeamJudge{Signer: j.Signer, chains: maps.Clone(j.chains)}
	if after.chains == nil {
		after.chains = make(map[TeamID]*TeamChain)
	}
	grown := make(map[TeamID]*TeamChain)
	for _, e := range batch {
		c := grown[e.Team]
		if c == nil {
			c = &TeamChain{ID: e.Team}
			if old := j.chains[e.Team]; old != nil {
				c = old.clone()
			}
			grown[e.Team], after.chains[e.Team] = c, c
		}
		if err := after.play(c, e.JSON); err != nil {
			return nil, err
		}
	}
	return grown, nil
}

// Keep makes what Judge returned the chains from now on.
func (j *TeamJudge) Keep(after map[TeamID]*TeamChain) {
	if j.chains == nil {
		j.chains = make(map[TeamID]*TeamChain)
	}
	maps.Copy(j.chains, after)
}

func (j *TeamJudge) play(c *TeamChain, raw json.RawMessage) error {
	l, err := parseTeamEntry(c.ID, raw)
	if err != nil {
		return err
	}
	if eldest := j.Signer(l.By.UID, l.Signer); eldest == 0 || eldest != l.By.Eldest {
		return violated(RuleSigner, l.subject(), "signed by %s, which is no key of %s", l.Signer, l.By)
	}
	if l.Seqno == 1 && c.ID.Subteam() {
		if c.Parent, err = l.parent(); err != nil {
			return violated(RuleTeamLink, l.subject(), "%v", err)
		}
	}
	implicit := false
	if l.team.has("admin") {
		if implicit, err = j.admin(c, l); err != nil {
			return err
		}
	}
	if err := c.play(l, implicit); err != nil {
		return err
	}
	if !c.ID.Subteam() || l.Type != "team.subteam_head" && l.Type != "team.rename_up_pointer" {
		return nil
	}
	n, err := l.team.int("parent", "seqno")
	name, err2 := l.team.str("name")
	up := j.chains[c.Parent]
	if err != nil || err2 != nil || up == nil || !slices.Contains(up.Subteams[c.ID], SubteamPoint{name, Seqno(n)}) {
		return violated(RuleTeamName, l.subject(), "link %d of the parent does not name it %q", n, name)
	}
	return nil
}

// admin verifies the admin section of a link and reports whether it is of an ancestor.
func (j *TeamJudge) admin(c *TeamChain, l *TeamLink) (implicit bool, err error) {
	s, err := l.team.str("admin", "team_id")
	if err != nil {
		return false, violated(RuleTeamLink, l.subject(), "%v", err)
	}
	n, err := l.team.int("admin", "seqno")
	if err != nil {
		return false, violated(RuleTeamLink, l.subject(), "%v", err)
	}
	above := c
	for above != nil && above.ID.String() != s {
		above = j.chains[above.Parent]
	}
	if above == nil {
		return false, violated(RuleTeamRole, l.subject(), "admin of %s, which is no ancestor", s)
	}
	if kind, err := l.team.int("admin", "seq_type"); err != nil || kind != above.ID.seqType() {
		return false, violated(RuleTeamLink, l.subject(), "admin.seq_type %d: %v", kind, err)
	}
	down, err := above.becameAdmin(l.By, Seqno(n))
	if err != nil {
		return false, violated(RuleTeamRole, l.subject(), "%v", err)
	}
	if down != nil {
		return false, violated(RuleTeamRole, l.subject(), "%s is admin of %s no more", l.By, s)
	}
	return above != c, nil
}

// clone is a chain that grows by itself.
func (c *TeamChain) clone() *TeamChain {
	n := *c
	n.NameLog, n.Links, n.TLFs = slices.Clip(c.NameLog), slices.Clip(c.Links), slices.Clip(c.TLFs)
	n.Roles, n.Gone, n.PTKs, n.Bots = maps.Clone(c.Roles), maps.Clone(c.Gone), maps.Clone(c.PTKs), maps.Clone(c.Bots)
	n.Subteams, n.Invites = make(map[TeamID][]SubteamPoint), make(map[string]*TeamInvite)
	for id, log := range c.Subteams {
		n.Subteams[id] = slices.Clip(log)
	}
	for id, i := range c.Invites {
		other := *i
		n.Invites[id] = &other
	}
	return &n
}

// Says is what a chain means, by subject, in words that another reader of the same chain
// can be held against.
func (c *TeamChain) Says() map[string]string {
	out := map[string]string{
		"deleted": fmt.Sprint(c.Deleted), "implicit": fmt.Sprint(c.Implicit), "name": c.NameLog[len(c.NameLog)-1].Name,
		"open": fmt.Sprint(c.Open), "links": fmt.Sprint(len(c.Links)), "tail": c.Tail().ID.String(),
	}
	if c.Open {
		out["join as"] = c.JoinAs.String()
	}
	if n := len(c.TLFs); n > 0 {
		out["folder"] = c.TLFs[n-1]
	}
	for u, r := range c.Members() {
		out["member "+u.String()] = r.String()
	}
	for gen, k := range c.PTKs {
		out[fmt.Sprintf("key %d", gen)] = fmt.Sprintf("%s %s link %d", k.Signing, k.DH, k.Seqno)
	}
	for id, log := range c.Subteams {
		if !c.Gone[id] {
			out["subteam "+id.String()] = fmt.Sprint(log)
		}
	}
	for id, i := range c.Invites {
		if i.Active {
			out["invitation "+id] = fmt.Sprintf("%s %s %q %d of %d, link %d", i.Role, i.Type, i.Name, i.Uses, i.MaxUses, i.Seqno)
		}
	}
	for u, o := range c.Bots {
		out["bot "+u.String()] = fmt.Sprintf("%v %v %v %v", o["cmds"], o["mentions"], o["triggers"], o["convs"])
	}
	return out
}
