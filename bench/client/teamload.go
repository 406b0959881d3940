package client

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// teamLoadsMax is how often a load begins anew because the chain grew meanwhile.
// client: go/teams/loader.go:load1
const teamLoadsMax = 4

// ErrNoTeam says that the tree has no such team.
var ErrNoTeam = errors.New("no such team")

// Team is a verified view of a team by one of its readers.
type Team struct {
	*TeamChain
	Name  string
	Root  *Root
	Keys  map[int]*TeamKey    // generations that this reader has opened
	Masks map[[2]int][32]byte // by application and generation
	// Adopted are the old keys of folders, as they were sealed.
	Adopted map[TeamApplication][]byte
	// HiddenPTKs are the generations that the hidden chain announces.
	HiddenPTKs map[int]TeamPTK
	// HiddenIDs are the links of the hidden chain, HiddenTail its end, nil without one.
	HiddenIDs  []LinkID
	HiddenTail *HiddenTail
	hidden     hiddenTold
	// SubteamReader says that only the membership of a subteam gave access.
	SubteamReader bool
}

// Key is the newest generation at hand, nil without any.
func (t *Team) Key() *TeamKey {
	var k *TeamKey
	for _, x := range t.Keys {
		if k == nil || x.Generation > k.Generation {
			k = x
		}
	}
	return k
}

// keyLow is the generation up to which all keys and masks are at hand: who becomes a member
// needs masks of old. client: go/teams/loader.go:TeamLoader.lows
func (t *Team) keyLow() int {
	for gen := 1; ; gen++ {
		_, masked := t.Masks[[2]int{1, gen}]
		if t.Keys[gen] == nil || !masked {
			return gen - 1
		}
	}
}

// teamMemory is what an account remembers of teams.
type teamMemory struct {
	loaded map[TeamID]*Team
	tails  map[tailAt]Seqno // of chains in old roots
	users  map[UID]*User

	// While a team is loaded, its ancestors are loaded once, with the links that were named.
	// client: go/teams/loader2.go:parentChainCache
	depth int
	above map[TeamID]*Team
	named map[TeamID]map[Seqno]bool
}

type tailAt struct {
	id   string
	root HashMeta
}

// TeamOptions choose how a team is loaded.
type TeamOptions struct {
	Fresh   bool    // forget what is known
	Subteam TeamID  // read an ancestor as a member of this descendant
	Need    []Seqno // links that must be whole
}

// LookupTeam is the end of a team's chain in the newest root; nil if the tree proves
// that there is no such team. client: go/libkb/merkle_client.go:LookupTeam
func (v *Verifier) LookupTeam(ctx context.Context, id TeamID, c Credential) (*Root, *Triple, error) {
	root, t, _, err := v.lookupTeam(ctx, id, c)
	return root, t, err
}

// TeamTails are the ends of a team's two chains in one root, nil where it has none there.
type TeamTails struct {
	Root    *Root
	Visible *Triple
	Hidden  *HiddenTail
}

// TeamAt is what an older root says of a team, of both chains.
// client: go/libkb/merkle_client.go:LookupLeafAtSeqno
func (v *Verifier) TeamAt(ctx context.Context, id TeamID, at At, c Credential) (TeamTails, error) {
	p, root, err := v.pathAt(ctx, id.String(), at, true, c)
	if err != nil {
		return TeamTails{}, err
	}
	out := TeamTails{Root: root}
	value, found, err := verifyPath(root.Node.String(), id.String(), p.Path)
	if err == nil && found {
		out.Visible, err = teamTail(id, value)
	}
	if err != nil {
		return TeamTails{}, err
	}
	hidden, err := p.hiddenReply.verify(root, id)
	if err == nil && !hidden.told {
		err = violated(RuleBlind, "team "+id.String(), "nothing is said of its hidden chain in root %d", root.Seqno)
	}
	out.Hidden = hidden.tail
	return out, err
}

// lookupTeam is LookupTeam with what is told of the hidden chain.
func (v *Verifier) lookupTeam(ctx context.Context, id TeamID, c Credential) (*Root, *Triple, hiddenTold, error) {
	var none hiddenTold
	args := url.Values{"leaf_id": {id.String()}}
	if v.srv.PathPollSeconds > 0 {
		args.Set("poll", strconv.Itoa(v.srv.PathPollSeconds))
	}
	_, p, root, err := v.askPath(ctx, args, c)
	if err != nil {
		return nil, nil, none, err
	}
	if *p.Root.Seqno != root.Seqno {
		return nil, nil, none, violated(RulePathRoot, "path to team "+id.String(), "rooted in %d, asked for %d", *p.Root.Seqno, root.Seqno)
	}
	value, found, err := verifyPath(root.Node.String(), id.String(), p.Path)
	if err != nil {
		return nil, nil, none, err
	}
	hidden, err := p.hiddenReply.verify(root, id)
	if err != nil || !found {
		return root, nil, hidden, err
	}
	t, err := teamTail(id, value)
	return root, t, hidden, err
}

// teamTail reads a team's leaf: one of its two chains has an end.
// client: go/libkb/merkle_client.go:parseMerkleTeamLeaf
func teamTail(id TeamID, v any) (*Triple, error) {
	subject := "leaf of team " + id.String()
	a, ok := v.([]any)
	if !ok || len(a) < 3 || len(a) > 4 {
		return nil, violated(RuleLeaf, subject, "not an array of 3 or 4")
	}
	if ver, err := number(a[0], "0"); err != nil || ver != leafVersion {
		return nil, violated(RuleLeaf, subject, "version %v", a[0])
	}
	public, err1 := parseTriple(a[1])
	private, err2 := parseTriple(a[2])
	if err := errors.Join(err1, err2); err != nil {
		return nil, violated(RuleLeaf, subject, "%v", err)
	}
	here, there := private, public
	if id.Public() {
		here, there = public, private
	}
	if here == nil || there != nil {
		return nil, violated(RuleLeaf, subject, "a chain of the wrong kind")
	}
	return here, nil
}

// LoadTeam fetches what is new of a team and verifies all of it.
// client: go/teams/loader.go:load2InnerLockedRetry
func (a *Account) LoadTeam(ctx context.Context, id TeamID, o TeamOptions) (*Team, error) {
	if a.teams.loaded == nil {
		a.teams = teamMemory{
			loaded: make(map[TeamID]*Team), tails: make(map[tailAt]Seqno), users: make(map[UID]*User),
			above: make(map[TeamID]*Team), named: make(map[TeamID]map[Seqno]bool),
		}
	}
	if o.Fresh {
		clear(a.teams.users)
	}
	for range teamLoadsMax {
		if a.teams.depth == 0 {
			clear(a.teams.above)
			clear(a.teams.named)
		}
		a.teams.depth++
		t, again, err := a.loadTeam(ctx, id, o)
		a.teams.depth--
		if err != nil {
			return nil, fmt.Errorf("load team %s: %w", id, err)
		}
		if !again {
			return t, nil
		}
	}
	return nil, violated(RuleUpdateLoop, "team "+id.String(), "%d loads were not enough", teamLoadsMax)
}

// teamReply is the part of team/get that a full load reads.
// client: go/teams/loader_ctx.go:rawTeam
type teamReply struct {
	ID    string            `json:"id"`
	Chain []json.RawMessage `json:"chain"`
	Box   *teamBox          `json:"box"`
	Prevs map[string]string `json:"prevs"`
	Masks []struct {
		Application int    `json:"application"`
		Generation  int    `json:"generation"`
		Mask        string `json:"mask"`
	} `json:"reader_key_masks"`
	SubteamReader bool              `json:"subteam_reader"`
	Hidden        []json.RawMessage `json:"hidden"`
	Blinding      *string           `json:"ratchet_blinding_keys"`
	LegacyTLF     []legacyUpgrade   `json:"legacy_tlf_upgrade"`
}

func (a *Account) loadTeam(ctx context.Context, id TeamID, o TeamOptions) (t *Team, again bool, err error) {
	root, leaf, hidden, err := a.Verifier.lookupTeam(ctx, id, a.credential())
	if err != nil {
		return nil, false, err
	}
	if leaf == nil {
		return nil, false, ErrNoTeam
	}
	old := a.teams.loaded[id]
	if o.Fresh || old != nil && (old.stubs || old.SubteamReader != (o.Subteam != TeamID{})) {
		old = nil
	}
	reply, err := a.getTeam(ctx, id, old, o.Subteam, nil)
	if err != nil {
		return nil, false, err
	}
	t = &Team{Root: root, TeamChain: &TeamChain{ID: id}, SubteamReader: reply.SubteamReader, hidden: hidden}
	t.Keys, t.Masks, t.HiddenPTKs = make(map[int]*TeamKey), make(map[[2]int][32]byte), make(map[int]TeamPTK)
	var links []*TeamLink
	if old != nil {
		links = slices.Clone(old.Links)
		t.Keys, t.Masks, t.HiddenPTKs = old.Keys, old.Masks, old.HiddenPTKs
	}
	for _, raw := range reply.Chain {
		l, err := parseTeamEntry(id, raw)
		if err != nil {
			return nil, false, err
		}
		links = append(links, l)
	}
	if n := Seqno(len(links)); n < leaf.Seqno {
		return nil, false, violated(RuleTail, "team "+id.String(), "%d links, the leaf says %d", n, leaf.Seqno)
	} else if n > leaf.Seqno {
		return nil, true, nil // the chain grew after the leaf was asked for
	}
	if links, err = a.fillIn(ctx, t, links, o); err != nil {
		return nil, false, err
	}
	for _, l := range links {
		implicit, err := a.checkTeamSigner(ctx, t, l, old, o)
		if err != nil {
			return nil, false, err
		}
		if err := t.play(l, implicit); err != nil {
			return nil, false, err
		}
	}
	tail := t.Tail()
	if tail.ID != leaf.LinkID || !tail.Stubbed && tail.SigID != leaf.SigID {
		return nil, false, violated(RuleTail, tail.subject(), "the leaf names %s", leaf.LinkID)
	}
	if err := a.checkTeamName(ctx, t, o); err != nil {
		return nil, false, err
	}
	if err := a.playHidden(ctx, t, reply); err != nil {
		return nil, false, err
	}
	if err := a.openTeam(t, reply); err != nil {
		return nil, false, err
	}
	a.teams.loaded[id] = t
	return t, false, nil
}

func (a *Account) getTeam(ctx context.Context, id TeamID, old *Team, subteam TeamID, seqnos []Seqno) (*teamReply, error) {
	args := url.Values{"id": {id.String()}, "public": {"0"}, "low": {"0"}, "per_team_key_low": {"0"}, "hidden_low": {"0"}}
	if id.Public() {
		args.Set("public", "1")
	}
	if old != nil {
		args.Set("low", fmt.Sprint(len(old.Links)))
		args.Set("per_team_key_low", strconv.Itoa(old.keyLow()))
	}
	if len(seqnos) > 0 {
		list := make([]string, len(seqnos))
		for i, s := range seqnos {
			list[i] = fmt.Sprint(s)
		}
		args = url.Values{"id": {id.String()}, "public": args["public"], "seqnos": {strings.Join(list, ",")}}
	}
	if subteam != (TeamID{}) {
		args.Set("read_subteam_id", subteam.String())
	}
	reply, err := a.Server().Get(ctx, "team/get", args, a.credential())
	if err != nil {
		return nil, err
	}
	var r teamReply
	if err := reply.Decode(&r); err != nil {
		return nil, err
	}
	switch {
	case r.ID != id.String():
		return nil, violated(RuleReply, "team/get of "+id.String(), "it is about %q", r.ID)
	case len(r.Chain) > teamLinksPerReplyMax:
		return nil, violated(RuleReply, "team/get of "+id.String(), "%d links", len(r.Chain))
	case r.SubteamReader != (subteam != TeamID{}):
		return nil, violated(RuleReply, "team/get of "+id.String(), "subteam_reader %v", r.SubteamReader)
	}
	return &r, nil
}

// fillIn replaces stubs of links that are needed whole.
// client: go/teams/loader2.go:fillInStubbedLinks
func (a *Account) fillIn(ctx context.Context, t *Team, links []*TeamLink, o TeamOptions) ([]*TeamLink, error) {
	var want []Seqno
	for _, s := range o.Need {
		if s < 1 || int(s) > len(links) {
			return nil, violated(RuleTail, "team "+t.ID.String(), "link %d is named and not there", s)
		}
		if links[s-1].Stubbed {
			want = append(want, s)
		}
	}
	if len(want) == 0 {
		return links, nil
	}
	reply, err := a.getTeam(ctx, t.ID, nil, o.Subteam, want)
	if err != nil {
		return nil, err
	}
	for _, raw := range reply.Chain {
		l, err := parseTeamEntry(t.ID, raw)
		if err != nil {
			return nil, err
		}
		if int(l.Seqno) > len(links) || links[l.Seqno-1].ID != l.ID {
			return nil, violated(RuleChainHistory, l.subject(), "the stub had another id")
		}
		links[l.Seqno-1] = l
	}
	for _, s := range want {
		if links[s-1].Stubbed {
			return nil, violated(RuleStub, links[s-1].subject(), "asked for by number and not whole")
		}
	}
	return links, nil
}

// checkTeamName finds a team's full name, and that parent and child tell the same
// story of it. client: go/teams/loader2.go:checkParentChildOperations, calculateName
func (a *Account) checkTeamName(ctx context.Context, t *Team, o TeamOptions) error {
	if !t.ID.Subteam() {
		t.Name = t.NameLog[0].Name
		return nil
	}
	var need []Seqno
	for _, l := range t.Links {
		if !l.Stubbed && (l.Type == "team.subteam_head" || l.Type == "team.rename_up_pointer") {
			n, err := l.team.int("parent", "seqno")
			if err != nil {
				return violated(RuleTeamName, l.subject(), "%v", err)
			}
			need = append(need, Seqno(n))
		}
	}
	parent, err := a.parentOf(ctx, t.TeamChain, need, o)
	if err != nil {
		return err
	}
	i := 0
	for _, l := range t.Links {
		if l.Stubbed || l.Type != "team.subteam_head" && l.Type != "team.rename_up_pointer" {
			continue
		}
		name, err := l.team.str("name")
		if err != nil {
			return violated(RuleTeamName, l.subject(), "%v", err)
		}
		if !slices.Contains(parent.Subteams[t.ID], SubteamPoint{name, need[i]}) {
			return violated(RuleTeamName, l.subject(), "link %d of the parent does not name it %q", need[i], name)
		}
		i++
	}
	t.Name = parent.Name + "." + t.NameLog[len(t.NameLog)-1].Name
	return nil
}

// parentOf loads the parent, as its member or as a member of the child.
func (a *Account) parentOf(ctx context.Context, c *TeamChain, need []Seqno, o TeamOptions) (*Team, error) {
	as := o.Subteam
	if as == (TeamID{}) {
		as = c.ID
	}
	if a.teams.depth > 0 {
		if t := a.teams.above[c.Parent]; t != nil && t.hasWhole(need) {
			return t, nil
		}
		named := a.teams.named[c.Parent]
		if named == nil {
			named = make(map[Seqno]bool)
			a.teams.named[c.Parent] = named
		}
		for _, s := range need {
			named[s] = true
		}
		need = slices.Sorted(maps.Keys(named))
	}
	t, err := a.LoadTeam(ctx, c.Parent, TeamOptions{Need: need})
	var refused *StatusError
	if errors.As(err, &refused) && refused.Code != CodeGeneric { // a server that fails does not say who is in it
		t, err = a.LoadTeam(ctx, c.Parent, TeamOptions{Need: need, Subteam: as})
	}
	if err == nil && a.teams.depth > 0 {
		a.teams.above[c.Parent] = t
	}
	return t, err
}

// hasWhole reports that links are there, and are no stubs.
func (c *TeamChain) hasWhole(need []Seqno) bool {
	return !slices.ContainsFunc(need, func(s Seqno) bool { return s < 1 || int(s) > len(c.Links) || c.Links[s-1].Stubbed })
}

// openTeam opens box and prevs and compares the seeds with the chains.
// client: go/teams/loader2.go:addSecrets
func (a *Account) openTeam(t *Team, r *teamReply) error {
	subject := "keys of team " + t.ID.String()
	bad := func(format string, args ...any) error { return violated(RuleTeamKey, subject, format, args...) }
	me := UserVersion{UID: a.UID}
	if a.Me != nil && a.Me.Family != nil {
		me.Eldest = a.Me.Family.First
	}
	role := t.Role(me)
	if t.Deleted || t.SubteamReader || role == RoleRestrictedBot || t.ID.Public() && role == RoleNone {
		// Who is an admin of a team above may have one none the less, and does not open it.
		if r.Box != nil && role != RoleNone && !t.ID.Subteam() {
			return bad("a box for %s", role)
		}
		return nil
	}
	if r.Box == nil {
		return bad("no box")
	}
	newest := t.Newest
	for gen := range t.HiddenPTKs {
		newest = max(newest, gen)
	}
	if r.Box.Generation != newest {
		return bad("box of generation %d, the chains are at %d", r.Box.Generation, newest)
	}
	seed, err := r.Box.open(a)
	if err != nil {
		return bad("box: %v", err)
	}
	seeds := map[int]Seed{newest: seed}
	for gen := newest; gen > 1 && t.Keys[gen-1] == nil; gen-- {
		prev, ok := r.Prevs[strconv.Itoa(gen)]
		if !ok {
			return bad("no prev under generation %d", gen)
		}
		if seeds[gen-1], err = openTeamPrev(seeds[gen], prev); err != nil {
			return bad("prev under generation %d: %v", gen, err)
		}
	}
	for gen := 1; gen <= newest; gen++ {
		ptk, ok := t.PTKs[gen]
		if h, hidden := t.HiddenPTKs[gen]; hidden {
			if ok {
				return bad("generation %d in both chains", gen)
			}
			ptk, ok = h, true
		}
		if !ok {
			return bad("generation %d in no chain", gen)
		}
		seed, fresh := seeds[gen]
		if k := t.Keys[gen]; k != nil {
			if fresh && k.Seed != seed {
				return bad("generation %d changed", gen)
			}
			continue
		}
		k := newTeamKey(t.ID, gen, seed, t.Keys[gen-1])
		if k.Sig.KID() != ptk.Signing || k.Enc.KID() != ptk.DH {
			return bad("the seed of generation %d makes other keys", gen)
		}
		if ptk.Check != nil && sha256.Sum256(k.Check[:]) != *ptk.Check {
			return bad("the seed of generation %d is not what the hidden chain says", gen)
		}
		t.Keys[gen] = k
	}
	return a.readMasks(t, r, role, newest)
}

func (a *Account) readMasks(t *Team, r *teamReply, role TeamRole, newest int) error {
	subject := "masks of team " + t.ID.String()
	for _, m := range r.Masks {
		b, err := unbase64(m.Mask)
		if err != nil || len(b) != 32 || m.Application < 1 || m.Application > teamApplications || m.Generation < 1 {
			return violated(RuleTeamKey, subject, "mask of application %d, generation %d", m.Application, m.Generation)
		}
		at := [2]int{m.Application, m.Generation}
		if old, ok := t.Masks[at]; ok && old != [32]byte(b) {
			return violated(RuleTeamKey, subject, "mask of application %d, generation %d changed", m.Application, m.Generation)
		}
		t.Masks[at] = [32]byte(b)
	}
	if !role.atLeast(RoleBot) {
		if len(r.Masks)+len(r.LegacyTLF) > 0 {
			return violated(RuleTeamKey, subject, "%d masks and %d old keys for %s", len(r.Masks), len(r.LegacyTLF), role)
		}
		return nil
	}
	for app := 1; app <= teamApplications; app++ {
		for gen := 1; gen <= newest; gen++ {
			if _, ok := t.Masks[[2]int{app, gen}]; !ok {
				return violated(RuleTeamKey, subject, "no mask of application %d, generation %d", app, gen)
			}
		}
	}
	return t.openAdopted(r)
}
