package archive

import (
	"encoding/hex"
	"errors"
	"fmt"
	"sort"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/merklehot/blindtree"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/tree"
)

// team is what the archive has told of a team so far.
type team struct {
	links  []teamchain.Record
	ends   []tree.Triple // after each link
	tails  []tail        // of its leaf, by root
	hidden []kbsig.LinkID
	last   *hidden.Link
	said   kbsig.Seqno // the hidden link that the blind tree names

	state   *teamchain.State // once it was played
	playing bool
}

// tail is where a leaf says that a chain ends, from a root on.
type tail struct {
	root kbsig.Seqno
	end  tree.Triple
}

func (r *rebuild) team(t kbsig.TeamID) *team {
	if r.teams[t] == nil {
		r.teams[t] = new(team)
	}
	return r.teams[t]
}

// part takes in some of what the blocks before it lack.
func (r *rebuild) part(b *Block) error {
	if r.told {
		return errors.New("a part brings what blocks before it have")
	}
	return r.newOfTeams(b)
}

// teamLinks takes in the links of teams of a block, and what the blind tree says.
func (r *rebuild) teamLinks(b *Block) error {
	switch {
	case r.told && !b.Teams:
		return errors.New("it lacks what belongs to teams, which blocks before it have")
	case !b.Teams && len(b.Team)+len(b.Hidden)+len(b.Blind) > 0:
		return errors.New("it has links of teams, which its file says that it has not")
	case b.Teams && !r.told:
		if r.told = true; r.sum.Roots > 0 {
			r.sum.TeamsFrom = b.Seqno
		}
	}
	return r.newOfTeams(b)
}

func (r *rebuild) newOfTeams(b *Block) error {
	for _, l := range b.Team {
		if err := r.teamLink(l); err != nil {
			return fmt.Errorf("link %d of team %s: %w", l.Seqno, l.Team, err)
		}
	}
	for _, l := range b.Hidden {
		if err := r.hiddenLink(l); err != nil {
			return fmt.Errorf("hidden link %d of team %s: %w", l.Seqno, l.Team, err)
		}
	}
	for _, c := range b.Blind {
		t := r.team(kbsig.TeamID(c.Team))
		if n := c.Tail.Seqno; n <= t.said || int(n) != len(t.hidden) || c.Tail.Link != t.hidden[n-1] {
			return fmt.Errorf("the blind tree names hidden link %d of team %x, which is not its newest", n, c.Team)
		}
		t.said = c.Tail.Seqno
		r.blind.Set(c)
	}
	return nil
}

// teamLink verifies a link by itself; what it means is judged in the end.
func (r *rebuild) teamLink(l TeamLink) error {
	t := r.team(l.Team)
	link, err := l.Record.Link()
	if err != nil {
		return err
	}
	var before kbsig.LinkID
	if n := len(t.ends); n > 0 {
		before = t.ends[n-1].Link
	}
	if link.Team != l.Team || link.Seqno != l.Seqno || int(l.Seqno) != len(t.links)+1 || link.Prev != before {
		return errors.New("it does not follow the one before")
	}
	t.links = append(t.links, l.Record)
	t.ends = append(t.ends, tree.Triple{Seqno: l.Seqno, Link: link.ID, Sig: link.SigID})
	r.sum.TeamLinks++
	return nil
}

// hiddenLink holds a hidden link to those before it and to the visible link under it.
func (r *rebuild) hiddenLink(l HiddenLink) error {
	t := r.team(l.Team)
	link, err := l.Record.Link()
	if err != nil {
		return err
	}
	var before kbsig.LinkID
	if n := len(t.hidden); n > 0 {
		before = t.hidden[n-1]
	}
	under := int(link.Parent.Seqno)
	switch {
	case link.Team != l.Team || link.Seqno != l.Seqno || int(l.Seqno) != len(t.hidden)+1 || link.Prev != before:
		return errors.New("it does not follow the one before")
	case under < 1 || under > len(t.ends) || t.ends[under-1].Link != link.Parent.Link:
		return fmt.Errorf("it stands on visible link %d, which is another", under)
	case t.last != nil && (link.PTK.Generation <= t.last.PTK.Generation || link.Parent.Seqno < t.last.Parent.Seqno):
		return errors.New("it goes back behind the one before")
	case r.kids[link.KID] != link.Signer.UID:
		return fmt.Errorf("it is signed by %s, which is no key of %s", link.KID, link.Signer.UID)
	}
	t.hidden, t.last = append(t.hidden, link.ID), link
	r.sum.TeamLinks++
	return nil
}

// teamLeaf holds a team's leaf to its chain; of blocks without teams that is done when
// the links have come.
func (r *rebuild) teamLeaf(n kbsig.Seqno, id kbsig.TeamID, v tree.Value) error {
	here, other := v.Private, v.Public
	if id.Public() {
		here, other = other, here
	}
	t := r.team(id)
	if k := len(t.tails); other != (tree.Triple{}) || k > 0 && here.Seqno <= t.tails[k-1].end.Seqno {
		return errors.New("it names the wrong chain, or goes back")
	}
	t.tails = append(t.tails, tail{n, here})
	if r.told && (int(here.Seqno) != len(t.ends) || !t.says(here)) {
		return errors.New("it does not say what the chain says")
	}
	return nil
}

// says tells whether the chain has a link at a place.
func (t *team) says(at tree.Triple) bool {
	return at.Seqno >= 1 && int(at.Seqno) <= len(t.ends) && at == t.ends[at.Seqno-1]
}

// ends wants the leaf of each team that has got links to name the newest.
func (r *rebuild) ends(b *Block) error {
	if b.Teams && r.sum.TeamsFrom == b.Seqno {
		for id, t := range r.teams {
			if err := t.ended(id); err != nil {
				return err
			}
			if int(t.said) != len(t.hidden) {
				return fmt.Errorf("the blind tree does not name hidden link %d of team %s", len(t.hidden), id)
			}
			for _, at := range t.tails {
				if !t.says(at.end) {
					return fmt.Errorf("the leaf of team %s in root %d names another link %d", id, at.root, at.end.Seqno)
				}
			}
		}
	}
	for _, l := range b.Team {
		if err := r.teams[l.Team].ended(l.Team); err != nil {
			return err
		}
	}
	for _, l := range b.Hidden {
		if t := r.teams[l.Team]; int(t.said) != len(t.hidden) {
			return fmt.Errorf("the blind tree does not name hidden link %d of team %s", len(t.hidden), l.Team)
		}
	}
	return nil
}

func (t *team) ended(id kbsig.TeamID) error {
	if n := len(t.tails); n == 0 || int(t.tails[n-1].end.Seqno) != len(t.ends) {
		return fmt.Errorf("no leaf names link %d of team %s", len(t.ends), id)
	}
	return nil
}

// carry holds the blind tree to what a root names.
func (r *rebuild) carry(n kbsig.Seqno, named string) error {
	_, begun := r.blind.Hash()
	if named == "" && !begun {
		return nil
	}
	h, err := hex.DecodeString(named)
	if err != nil || len(h) != len(blindtree.Sum{}) {
		return errors.New("root names no blind tree")
	}
	return r.blind.Carry(n, blindtree.Sum(h), !r.told)
}

// playTeams plays the chains of all teams, each as a client that loads it from its
// beginning, and wants each generation of a key to be brought once.
func (r *rebuild) playTeams() error {
	if !r.told {
		return nil
	}
	r.sum.Teams = len(r.teams)
	for id, t := range r.teams {
		st, err := r.played(id)
		if err != nil {
			return err
		}
		if st == nil {
			return fmt.Errorf("team %s has no links", id)
		}
		keys, newest := int64(len(t.hidden)), st.PTK().Generation
		if t.last != nil {
			newest = max(newest, t.last.PTK.Generation)
		}
		if err := st.PTKs(func(teamchain.PTK) error { keys++; return nil }); err != nil {
			return err
		}
		if keys != newest {
			return fmt.Errorf("team %s: its chains bring %d keys, the newest has generation %d", id, keys, newest)
		}
	}
	return nil
}

// played is what a team's chain means in the end; nil if there is none.
func (r *rebuild) played(id kbsig.TeamID) (*teamchain.State, error) {
	t := r.teams[id]
	if t == nil || t.state != nil {
		return stateOf(t), nil
	}
	if t.playing {
		return nil, fmt.Errorf("team %s stands above itself", id)
	}
	t.playing = true
	st, err := teamchain.Replay(t.links, past{r})
	if err != nil {
		return nil, fmt.Errorf("team %s: %w", id, err)
	}
	t.state = st
	return st, nil
}

func stateOf(t *team) *teamchain.State {
	if t == nil {
		return nil
	}
	return t.state
}

// past is the world in which the chains of teams have grown, as the archive tells it.
type past struct{ *rebuild }

// User implements teamchain.Past.
func (p past) User(u kbsig.UID) (*sigchain.State, error) { return p.chains[u], nil }

// UserRoot implements teamchain.Past.
func (p past) UserRoot(u kbsig.UID, n kbsig.Seqno) (kbsig.Seqno, error) {
	root, ok := p.quoted[bundleAt{u, n}]
	if !ok {
		return 0, fmt.Errorf("link %d of %s is not there", n, u)
	}
	return root, nil
}

// Team implements teamchain.Past.
func (p past) Team(t kbsig.TeamID) (*teamchain.State, error) { return p.played(t) }

// TeamRoot implements teamchain.Past.
func (p past) TeamRoot(t kbsig.TeamID, n kbsig.Seqno) (kbsig.Seqno, error) {
	x := p.teams[t]
	if x == nil || n < 1 || int(n) > len(x.links) {
		return 0, fmt.Errorf("link %d of team %s is not there", n, t)
	}
	l, err := x.links[n-1].Link()
	if err != nil {
		return 0, err
	}
	return l.Root.Seqno, nil
}

// TailAt implements teamchain.Past.
func (p past) TailAt(t kbsig.TeamID, root kbsig.Seqno) (kbsig.Seqno, error) {
	x := p.teams[t]
	if x == nil {
		return 0, nil
	}
	i := sort.Search(len(x.tails), func(i int) bool { return x.tails[i].root > root })
	if i == 0 {
		return 0, nil
	}
	return x.tails[i-1].end.Seqno, nil
}

// Root implements teamchain.Past.
func (p past) Root(ref teamchain.RootRef) error {
	r, ok := p.roots[ref.Seqno]
	if !ok || r.HashMeta != ref.HashMeta || r.Ctime != ref.Ctime {
		return fmt.Errorf("quotes a root %d that was never published", ref.Seqno)
	}
	return nil
}
