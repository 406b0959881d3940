package hidden

import (
	"github.com/keystead/keystead/compat/kbsig"
)

// State is what a hidden chain means. It is immutable; the zero State is that of a team
// without hidden links.
type State struct {
	tail   kbsig.Sig3Tail
	ptk    PTK
	parent kbsig.Seqno // of the newest link
}

// Tail is the end of the chain; seqno 0 if it has no links.
func (s *State) Tail() kbsig.Sig3Tail { return s.tail }

// PTK is the newest key of the chain; generation 0 if it has none.
func (s *State) PTK() PTK { return s.ptk }

// Visible is what the visible chain of a team says, as far as hidden links depend on it.
type Visible struct {
	Tail       kbsig.Sig3Tail
	Generation int64 // newest of the visible chain
	Implicit   bool
}

// Env is what a hidden chain's own state does not say. Whoever posts implements it over
// the transaction, as it is when the link comes.
type Env interface {
	// Visible is the team's visible chain.
	Visible(kbsig.TeamID) (Visible, error)
	// Signer says why the signer may not rotate the team's key: the key must be an
	// active one of that user, the user a writer, or an admin of where Admin says, and
	// the quoted root one that was published.
	Signer(*Link) error
}

// Apply is the state after one more link of the same team.
func (s *State) Apply(l *Link, env Env) (*State, error) {
	if l.Seqno != s.tail.Seqno+1 || l.Prev != s.tail.Link {
		return nil, refuse(KindOldSeqno, "hidden link %d of team %s does not follow link %d", l.Seqno, l.Team, s.tail.Seqno)
	}
	v, err := env.Visible(l.Team)
	if err != nil {
		return nil, err
	}
	switch {
	case l.Implicit != v.Implicit:
		return nil, refuse(KindMismatch, "hidden link %d says whether team %s is implicit, and is wrong", l.Seqno, l.Team)
	case l.Parent != v.Tail:
		return nil, refuse(KindOrder, "hidden link %d of team %s stands on visible link %d, the chain has %d", l.Seqno, l.Team, l.Parent.Seqno, v.Tail.Seqno)
	case l.PTK.Generation != max(v.Generation, s.ptk.Generation)+1:
		return nil, refuse(KindGeneration, "hidden link %d of team %s brings generation %d, the newest are %d and %d", l.Seqno, l.Team, l.PTK.Generation, v.Generation, s.ptk.Generation)
	}
	if err := env.Signer(l); err != nil {
		return nil, err
	}
	return s.after(l), nil
}

// StateAfter is the state of a chain that ends with a link.
func StateAfter(l *Link) *State { return new(State).after(l) }

func (s *State) after(l *Link) *State {
	return &State{kbsig.Sig3Tail{Seqno: l.Seqno, Link: l.ID}, l.PTK, l.Parent.Seqno}
}
