package hidden

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Blinding explains a ratchet.
type Blinding = kbsig.Blinding

// CheckRatchets judges the ratchets of a visible link of a team whose hidden chain is in
// state s, with what the post brings to explain them, and returns what must be kept
// beside the link. With needed, one of them must name the end of the hidden chain.
//
// Whoever posts needs them of everybody who can see the hidden chain, for all links but
// the first of a chain and team.kbfs, which clients sign without.
// client: go/teams/hidden/loader.go:LoaderPackage.AddRatchet, go/teams/teams.go:Team.makeRatchet
func CheckRatchets(r store.Reader, team kbsig.TeamID, s *State, ratchets []kbsig.Ratchet, given []Blinding, needed bool) ([]Blinding, error) {
	newest := s.tail.Seqno == 0
	var out []Blinding
	for _, h := range ratchets {
		b, err := explain(r, team, s, h, given)
		if err != nil {
			return nil, err
		}
		out = append(out, *b)
		newest = newest || b.Tail == s.tail
	}
	if needed && !newest {
		return nil, refuse(KindNoRatchet, "the link does not commit to hidden link %d of team %s", s.tail.Seqno, team)
	}
	return out, nil
}

func explain(r store.Reader, team kbsig.TeamID, s *State, h kbsig.Ratchet, given []Blinding) (*Blinding, error) {
	for i := range given {
		b := &given[i]
		if b.Ratchet != h {
			continue
		}
		if kbsig.RatchetOf(b.Tail, b.Key) != h {
			return nil, refuse(KindRatchet, "ratchet %x is not what its key gives", h)
		}
		if b.Tail == s.tail {
			return b, nil
		}
		if b.Tail.Seqno < 1 || b.Tail.Seqno >= s.tail.Seqno {
			return nil, refuse(KindRatchet, "ratchet %x names hidden link %d, team %s has %d", h, b.Tail.Seqno, team, s.tail.Seqno)
		}
		id, err := linkID(r, team, b.Tail.Seqno)
		if err != nil {
			return nil, err
		}
		if id != b.Tail.Link {
			return nil, refuse(KindRatchet, "ratchet %x names another hidden link %d than team %s has", h, b.Tail.Seqno, team)
		}
		return b, nil
	}
	return nil, refuse(KindRatchet, "no blinding key explains ratchet %x", h)
}

// blindingRecord is what is kept of a Blinding under its ratchet.
type blindingRecord struct {
	Seqno kbsig.Seqno  `codec:"n"`
	Link  kbsig.LinkID `codec:"l"`
	Key   [32]byte     `codec:"k"`
}

// PutBlindings keeps what CheckRatchets returned.
func PutBlindings(tx *store.Tx, team kbsig.TeamID, list []Blinding) {
	for _, b := range list {
		store.Save(tx, keys.TeamRatchet(team, b.Ratchet), blindingRecord{b.Tail.Seqno, b.Tail.Link, b.Key})
	}
}

// CheckStored says why a stored ratchet is not explained by what is kept of it.
func CheckStored(r store.Reader, team kbsig.TeamID, h kbsig.Ratchet) error {
	list, err := Blindings(r, team, []kbsig.Ratchet{h})
	if err != nil {
		return err
	}
	b := &list[0]
	id, err := linkID(r, team, b.Tail.Seqno)
	if err != nil {
		return err
	}
	if kbsig.RatchetOf(b.Tail, b.Key) != h || id != b.Tail.Link {
		return refuse(KindCorrupt, "it is no ratchet of hidden link %d", b.Tail.Seqno)
	}
	return nil
}

// Blindings reads what explains the ratchets of links that are served, each once.
func Blindings(r store.Reader, team kbsig.TeamID, ratchets []kbsig.Ratchet) ([]Blinding, error) {
	out := make([]Blinding, 0, len(ratchets))
	seen := make(map[kbsig.Ratchet]bool, len(ratchets))
	for _, h := range ratchets {
		if seen[h] {
			continue
		}
		seen[h] = true
		rec, err := store.Load[blindingRecord](r, keys.TeamRatchet(team, h))
		if errors.Is(err, store.ErrNotFound) {
			return nil, refuse(KindCorrupt, "ratchet %x of team %s has nothing that explains it", h, team)
		}
		if err != nil {
			return nil, fmt.Errorf("ratchet %x of team %s: %w", h, team, err)
		}
		out = append(out, Blinding{Tail: kbsig.Sig3Tail{Seqno: rec.Seqno, Link: rec.Link}, Ratchet: h, Key: rec.Key})
	}
	return out, nil
}
