package audit

import (
	"bytes"
	"errors"
	"fmt"
	"sort"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
	"github.com/keystead/keystead/merklehot/tree"
)

// team is what the audit holds of the team it is at.
type team struct {
	id      kbsig.TeamID
	leaf    []leafValue
	changed []kbsig.Seqno
	ends    []end
	// state is what the links lead to; nil if the chain does not play.
	state *teamchain.State
}

func (t *team) subject() string { return fmt.Sprintf("chain of team %s", t.id) }

// teamLeaf is a team's present leaf, which waits for its turn in the tree.
type teamLeaf struct {
	id  kbsig.TeamID
	raw []byte
}

// teams is the pass over the visible chains of all teams, in the order of their ids.
func (a *auditor) teams() error {
	var ids []kbsig.TeamID
	err := a.r.Scan(keys.TeamChains(), keys.End(keys.TeamChains()), func(k, _ []byte) error {
		if t, ok := keys.TeamChainOf(k); ok {
			ids = append(ids, t)
		}
		return a.pause()
	})
	if err != nil {
		return err
	}
	links, rows := 0, 0
	for _, id := range ids {
		t := &team{id: id}
		n, err := a.team(t)
		if err != nil {
			return err
		}
		links += len(t.ends)
		rows += n
	}
	zero := kbsig.TeamID{}
	if p, _ := prefixOf(keys.TeamLink(zero, 1)); links != a.keys.stored[p] {
		a.problem("links of teams: %d are stored, %d belong to chains that play", a.keys.stored[p], links)
	}
	if p, _ := prefixOf(keys.TeamRow(zero, []byte{1})); rows != a.keys.stored[p] {
		a.problem("rows of teams: %d are stored, %d belong to a team", a.keys.stored[p], rows)
	}
	return a.pause()
}

// team audits one team, and says how many rows its state has.
func (a *auditor) team(t *team) (rows int, err error) {
	if t.leaf, t.changed, err = a.leafValuesOf(t.id, "team "+t.id.String()); err != nil {
		return 0, err
	}
	for _, n := range t.changed {
		a.leafChanged.add(n - a.first)
	}
	if err := a.teamLinks(t); err != nil {
		return 0, err
	}
	if rows, err = a.teamState(t); err != nil {
		return 0, err
	}
	a.teamLeaves(t)
	if err := a.generations(t); err != nil {
		return 0, err
	}
	switch {
	case t.state != nil:
		a.waiting = append(a.waiting, teamLeaf{t.id, teamLeafOf(t.id, t.ends, kbsig.Seqno(len(t.ends)))})
	case len(t.leaf) > 0:
		a.waiting = append(a.waiting, teamLeaf{t.id, t.leaf[len(t.leaf)-1].raw})
	}
	total := a.keys.stored[keys.Leaves(keys.TreeMain)[0]]
	for i := range t.leaf {
		if a.newest == 0 || !a.chance(total) {
			continue
		}
		if err := a.path([16]byte(t.id), t.leaf, t.leaf[i].root); err != nil {
			return rows, err
		}
	}
	return rows, a.pause()
}

// teamLinks plays a chain again, as stock clients do that load it from the beginning.
func (a *auditor) teamLinks(t *team) error {
	player := teamchain.NewPlayer(past{a, make(map[kbsig.UID]*sigchain.State)})
	broken := false
	err := a.r.Scan(keys.TeamLinks(t.id), keys.End(keys.TeamLinks(t.id)), func(k, v []byte) error {
		if err := a.pause(); err != nil {
			return err
		}
		_, n, ok := keys.TeamLinkOf(k)
		if !ok || n < 1 {
			return nil // said by the pass over the keys
		}
		l, err := a.teamLink(t, player, n, v)
		if err != nil {
			a.problem("%s link %d: %v", t.subject(), n, err)
			broken = true
			return store.ErrStop
		}
		t.ends = append(t.ends, end{l.ID, l.SigID})
		a.links++
		return nil
	})
	if !broken {
		t.state = player.State()
	}
	return err
}

func (a *auditor) teamLink(t *team, player *teamchain.Player, n kbsig.Seqno, v []byte) (*teamchain.Link, error) {
	rec, err := teamchain.DecodeRecord(v)
	if err != nil {
		return nil, err
	}
	l, err := rec.Link()
	if err != nil {
		return nil, err
	}
	switch {
	case !bytes.Equal(rec.Encode(), v):
		return nil, errors.New("the record holds more than the link")
	case l.Team != t.id || l.Seqno != n:
		return nil, fmt.Errorf("the record is link %d of team %s", l.Seqno, l.Team)
	}
	return l, player.Add(l)
}

// teamState checks that the stored state is what the links lead to, byte for byte.
func (a *auditor) teamState(t *team) (rows int, err error) {
	want := make(map[string][]byte)
	if t.state != nil {
		head, err := a.r.Get(keys.TeamChain(t.id))
		if err != nil {
			return 0, err
		}
		if !bytes.Equal(head, t.state.Header()) {
			a.problem("%s: the stored state is not what its links lead to", t.subject())
		}
		t.state.ChangedRows(func(name, value []byte) {
			if value != nil {
				want[string(name)] = value
			}
		})
	}
	lo := keys.TeamRows(t.id, nil)
	err = a.r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		rows++
		_, name, ok := keys.TeamRowOf(k)
		if !ok || t.state == nil {
			return a.pause()
		}
		if w, ok := want[string(name)]; !ok || !bytes.Equal(w, v) {
			a.problem("%s: row %x is not what its links lead to", t.subject(), name)
		}
		delete(want, string(name))
		return a.pause()
	})
	if len(want) > 0 {
		a.problem("%s: %d rows of its state are missing", t.subject(), len(want))
	}
	return rows, err
}

// teamLeaves checks that each value of a team's leaf is an end that the chain once had,
// that none of them goes back, and that the newest is the end it has now.
func (a *auditor) teamLeaves(t *team) {
	last := kbsig.Seqno(0)
	for _, l := range t.leaf {
		triple := l.value.Private
		if t.id.Public() {
			triple = l.value.Public
		}
		bad := func(what string) { a.problem("leaf of team %s at root %d: %s", t.id, l.root, what) }
		switch n := triple.Seqno; {
		case n <= last:
			bad(fmt.Sprintf("the chain goes back from link %d to %d", last, n))
		case n > kbsig.Seqno(len(t.ends)):
			if t.state != nil {
				bad(fmt.Sprintf("names link %d, the chain has %d", n, len(t.ends)))
			}
		case !bytes.Equal(l.raw, teamLeafOf(t.id, t.ends, n)):
			bad(fmt.Sprintf("not what the chain gives at link %d", n))
		}
		last = triple.Seqno
	}
	if t.state != nil && last != kbsig.Seqno(len(t.ends)) {
		a.problem("leaf of team %s: names link %d, the chain has %d", t.id, last, len(t.ends))
	}
}

// teamLeafOf is the leaf's JSON after n links, from them alone.
// client: go/libkb/merkle_client.go:parseMerkleTeamLeaf
func teamLeafOf(t kbsig.TeamID, ends []end, n kbsig.Seqno) []byte {
	e := ends[n-1]
	triple := fmt.Sprintf(`[%d,"%s","%s"]`, n, e.link, e.sig)
	if t.Public() {
		return fmt.Appendf(nil, `[2,%s,[],null]`, triple)
	}
	return fmt.Appendf(nil, `[2,[],%s,null]`, triple)
}

// generations checks that each generation of a team's key was brought by one link of
// one of its two chains.
func (a *auditor) generations(t *team) error {
	if t.state == nil {
		return nil
	}
	h, err := hidden.Load(a.r, t.id)
	if err != nil {
		a.problem("hidden chain of team %s: %v", t.id, err)
		return nil
	}
	visible := int64(0)
	if err := t.state.PTKs(func(teamchain.PTK) error { visible++; return nil }); err != nil {
		return err
	}
	newest := max(t.state.PTK().Generation, h.PTK().Generation)
	if both := visible + int64(h.Tail().Seqno); both != newest {
		a.problem("team %s: its chains bring %d keys, the newest has generation %d", t.id, both, newest)
	}
	return nil
}

// teamsBefore puts the leaves of teams into the tree that come before an id.
func (a *auditor) teamsBefore(id []byte) error {
	for len(a.waiting) > 0 && (id == nil || bytes.Compare(a.waiting[0].id[:], id) < 0) {
		t := a.waiting[0]
		a.waiting = a.waiting[1:]
		if err := a.tree.add(t.id, t.raw); err != nil {
			return err
		}
	}
	return nil
}

// past is the world in which the chains of teams have grown, as the store has it. That
// of users is as their stored states say, which are audited by themselves.
type past struct {
	a     *auditor
	users map[kbsig.UID]*sigchain.State // that were asked for lately
}

// pastUsersMax bounds the users that are kept at hand.
const pastUsersMax = 256

// User implements teamchain.Past.
func (p past) User(u kbsig.UID) (*sigchain.State, error) {
	if st, ok := p.users[u]; ok {
		return st, nil
	}
	st, err := identity.Chain(p.a.r, u)
	if errors.Is(err, accounts.ErrNoUser) {
		st, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(p.users) >= pastUsersMax {
		clear(p.users)
	}
	p.users[u] = st
	return st, nil
}

// UserRoot implements teamchain.Past.
func (p past) UserRoot(u kbsig.UID, n kbsig.Seqno) (kbsig.Seqno, error) {
	rec, err := identity.Record(p.a.r, u, n)
	if err != nil {
		return 0, err
	}
	l, err := rec.Link()
	if err != nil {
		return 0, err
	}
	return l.Root.Seqno, nil
}

// Team implements teamchain.Past.
func (p past) Team(t kbsig.TeamID) (*teamchain.State, error) {
	st, err := teams.Load(p.a.r, t)
	if errors.Is(err, teams.ErrNoTeam) {
		return nil, nil
	}
	return st, err
}

// TeamRoot implements teamchain.Past.
func (p past) TeamRoot(t kbsig.TeamID, n kbsig.Seqno) (kbsig.Seqno, error) {
	rec, err := teams.Record(p.a.r, t, n)
	if err != nil {
		return 0, err
	}
	l, err := rec.Link()
	if err != nil {
		return 0, err
	}
	return l.Root.Seqno, nil
}

// TailAt implements teamchain.Past.
func (p past) TailAt(t kbsig.TeamID, root kbsig.Seqno) (n kbsig.Seqno, err error) {
	lo, hi := keys.Leaf(keys.TreeMain, t[:], root), keys.End(keys.LeafVersions(keys.TreeMain, t[:]))
	err = p.a.r.Scan(lo, hi, func(_, v []byte) error {
		value, err := tree.ParseLeaf(v)
		if err != nil {
			return err
		}
		if n = value.Private.Seqno; t.Public() {
			n = value.Public.Seqno
		}
		return store.ErrStop
	})
	return n, err
}

// Root implements teamchain.Past.
func (p past) Root(ref teamchain.RootRef) error {
	r, err := p.a.rootAt(ref.Seqno)
	if err != nil {
		return err
	}
	if r == nil || r.HashMeta != ref.HashMeta || r.Ctime != ref.Ctime {
		return teamchain.Refuse(teamchain.KindOrder, "quotes a root %d that was never published", ref.Seqno)
	}
	return nil
}

// leafBefore is the value that a leaf had in a root; nil if it was not there yet.
func leafBefore(leaf []leafValue, n kbsig.Seqno) []byte {
	if at := sort.Search(len(leaf), func(i int) bool { return leaf[i].root > n }); at > 0 {
		return leaf[at-1].raw
	}
	return nil
}
