package teams

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Facts are what most questions about a team need, without its chain.
type Facts struct {
	// Part is the last part of the name, the whole name of a root team, as it was
	// spelled when the team was made or renamed last.
	Part     string       `codec:"p"`
	Parent   kbsig.TeamID `codec:"u"` // zero: a root team
	Implicit bool         `codec:"i,omitempty"`
	Deleted  bool         `codec:"d,omitempty"`
	// Offchain counts changes that stand in no chain, such as what is shown of a team.
	Offchain int64 `codec:"o,omitempty"`
	// Told counts what members were told of the team's changes.
	Told int64 `codec:"t,omitempty"`
	// Changed is when something about the team changed last, in Unix milliseconds.
	Changed int64 `codec:"c,omitempty"`
}

// FactsOf loads a team's facts, or fails with ErrNoTeam.
func FactsOf(r store.Reader, t kbsig.TeamID) (Facts, error) {
	f, err := store.Load[Facts](r, keys.TeamFacts(t))
	if errors.Is(err, store.ErrNotFound) {
		return f, ErrNoTeam
	}
	if err != nil {
		return f, fmt.Errorf("facts of team %s: %w", t, err)
	}
	return f, nil
}

func putFacts(tx *store.Tx, t kbsig.TeamID, f Facts) { store.Save(tx, keys.TeamFacts(t), f) }

// Ancestors are a team's parent, grandparent and so on up to its root team.
func Ancestors(r store.Reader, t kbsig.TeamID) ([]kbsig.TeamID, error) {
	f, err := FactsOf(r, t)
	if err != nil {
		return nil, err
	}
	var out []kbsig.TeamID
	for f.Parent != (kbsig.TeamID{}) {
		if len(out) == DepthMax {
			return nil, fmt.Errorf("team %s lies too deep: %w", t, ErrCorrupt)
		}
		out = append(out, f.Parent)
		if f, err = FactsOf(r, f.Parent); err != nil {
			return nil, fmt.Errorf("ancestors of team %s: %w: %w", t, ErrCorrupt, err)
		}
	}
	return out, nil
}

// FullName is a team's name with those of its ancestors, as they are now; the name that
// the team's own chain knows may be older.
func FullName(r store.Reader, t kbsig.TeamID) (kbsig.TeamName, error) {
	f, err := FactsOf(r, t)
	if err != nil {
		return kbsig.TeamName{}, err
	}
	text := f.Part
	for depth := 0; f.Parent != (kbsig.TeamID{}); depth++ {
		if depth == DepthMax {
			return kbsig.TeamName{}, fmt.Errorf("team %s lies too deep: %w", t, ErrCorrupt)
		}
		if f, err = FactsOf(r, f.Parent); err != nil {
			return kbsig.TeamName{}, fmt.Errorf("name of team %s: %w: %w", t, ErrCorrupt, err)
		}
		text = f.Part + "." + text
	}
	name, err := kbsig.ParseTeamName(text)
	if err != nil {
		return name, fmt.Errorf("name of team %s: %w: %w", t, ErrCorrupt, err)
	}
	return name, nil
}

// subteam is what a name below a team belongs to. A team that is renamed gives it up; one
// that is deleted is found by it until another takes it.
type subteam struct {
	ID      kbsig.TeamID `codec:"i"`
	Deleted bool         `codec:"f,omitempty"`
}

func loadSubteam(r store.Reader, parent kbsig.TeamID, part string) (subteam, error) {
	return store.Load[subteam](r, keys.Subteam(parent, part))
}

// ByName finds a team by its present name, in whatever letter case; deleted teams keep
// theirs. The error is ErrNoTeam if there is none.
func ByName(r store.Reader, name kbsig.TeamName) (kbsig.TeamID, error) {
	id, err := rootByName(r, name)
	if err != nil {
		return kbsig.TeamID{}, err
	}
	for _, part := range name.Parts()[1:] {
		sub, err := loadSubteam(r, id, lower(part))
		if errors.Is(err, store.ErrNotFound) {
			return kbsig.TeamID{}, ErrNoTeam
		}
		if err != nil {
			return kbsig.TeamID{}, fmt.Errorf("find a team: %w", err)
		}
		id = sub.ID
	}
	return id, nil
}

// rootByName finds a root team; its id follows from its name.
func rootByName(r store.Reader, name kbsig.TeamName) (kbsig.TeamID, error) {
	for _, public := range []bool{false, true} {
		id := kbsig.TeamIDOf(name.Root(), public)
		known, err := store.Has(r, keys.TeamFacts(id))
		if err != nil {
			return kbsig.TeamID{}, fmt.Errorf("find a team: %w", err)
		}
		if known {
			return id, nil
		}
	}
	return kbsig.TeamID{}, ErrNoTeam
}

// Children are the live subteams right below a team, in the order of their names.
func Children(r store.Reader, t kbsig.TeamID) ([]kbsig.TeamID, error) {
	var out []kbsig.TeamID
	lo := keys.Subteams(t)
	err := r.Scan(lo, keys.End(lo), func(_, v []byte) error {
		sub, err := store.Decode[subteam](v)
		if err == nil && !sub.Deleted {
			out = append(out, sub.ID)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("subteams of %s: %w", t, err)
	}
	return out, nil
}

// Descendants calls fn for all live subteams below a team, parents before children.
func Descendants(r store.Reader, t kbsig.TeamID, fn func(kbsig.TeamID) error) error {
	todo := []kbsig.TeamID{t}
	for len(todo) > 0 {
		children, err := Children(r, todo[0])
		if err != nil {
			return err
		}
		todo = append(todo[1:], children...)
		for _, c := range children {
			if err := fn(c); err != nil {
				return err
			}
		}
	}
	return nil
}
