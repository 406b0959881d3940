// Package implicit knows implicit teams by their display names: "alice,bob#charlie" is
// the team in which alice and bob write and charlie reads, and every direct message
// stands on it.
//
// The chain of an implicit team has a random name; who is in it says how it is called.
// Here stands which team has which name now. Contract:
//   - A name belongs to the first team that came to have it. A team cannot be made under
//     a name that is taken (ErrTaken); one that comes to it later, because somebody whom
//     it names turned out to be a user, keeps its people and is a conflicted copy: with a
//     number and a date that never change. client: go/teams/implicit.go, conflicts.go
//   - A team of which is known what it will be called once its invites are completed
//     holds that name from then on: nobody makes another one meanwhile.
//   - A team without any living member has no name, and its old name is free.
//
// It owns the key families 0i and 0I of engine/keys; who may ask is decided by callers.
package implicit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Errors of this package.
var (
	// ErrTaken says that another team has the name, or is about to have it.
	ErrTaken = errors.New("an implicit team of these people exists already")
	// ErrNone says that no team has a name.
	ErrNone = errors.New("no implicit team of these people")
)

// Holder is a team that has a name.
type Holder struct {
	Team kbsig.TeamID `codec:"t"`
	// Generation is 0 if the team has the plain name, else the number of the copy.
	Generation int   `codec:"g,omitempty"`
	Since      int64 `codec:"s"` // Unix milliseconds
}

// Place is everything about one name.
type Place struct {
	Have []Holder `codec:"h,omitempty"` // in the order in which they came
	// Coming are the teams that will have the name when their invites are completed.
	Coming []kbsig.TeamID `codec:"c,omitempty"`
	// Copies is how many conflicted copies there ever were.
	Copies int `codec:"n,omitempty"`
}

// Called is how a team is called.
type Called struct {
	Public bool   `codec:"p,omitempty"`
	Name   string `codec:"n"`
	// Coming is what it will be called; empty: the same.
	Coming string `codec:"c,omitempty"`
	Holder Holder `codec:"h"`
}

func digest(public bool, name string) [32]byte {
	kind := "private "
	if public {
		kind = "public "
	}
	return sha256.Sum256([]byte(kind + name))
}

func load[T any](r store.Reader, key []byte) (v T, found bool, err error) {
	v, err = store.Load[T](r, key)
	if errors.Is(err, store.ErrNotFound) {
		return v, false, nil
	}
	return v, err == nil, err
}

func placeOf(r store.Reader, public bool, name string) (Place, error) {
	p, _, err := load[Place](r, keys.ImplicitName(digest(public, name)))
	if err != nil {
		return p, fmt.Errorf("load who is called so: %w", err)
	}
	return p, nil
}

func putPlace(tx *store.Tx, public bool, name string, p Place) {
	k := keys.ImplicitName(digest(public, name))
	if len(p.Have) == 0 && len(p.Coming) == 0 && p.Copies == 0 {
		tx.Delete(k)
		return
	}
	store.Save(tx, k, p)
}

// Find is who is called so, or is about to be.
func Find(r store.Reader, n Name) (Place, error) { return placeOf(r, n.Public, n.String()) }

// Plain is the team that has the plain name.
func (p Place) Plain() (kbsig.TeamID, bool) {
	for _, h := range p.Have {
		if h.Generation == 0 {
			return h.Team, true
		}
	}
	return kbsig.TeamID{}, false
}

// CalledOf is how a team is called; the error is ErrNone if it is no implicit team or has
// no name any more.
func CalledOf(r store.Reader, t kbsig.TeamID) (Called, error) {
	c, found, err := load[Called](r, keys.ImplicitTeam(t))
	if err == nil && !found {
		err = ErrNone
	}
	return c, err
}

// Make gives a new team its name, and what it is about to be called. The error is ErrTaken
// if another team has either.
func Make(tx *store.Tx, t kbsig.TeamID, name, coming Name) error {
	for _, n := range []Name{name, coming} {
		p, err := Find(tx, n)
		if err != nil {
			return err
		}
		if _, plain := p.Plain(); plain || len(p.Coming) > 0 {
			return ErrTaken
		}
	}
	return Call(tx, t, name, coming)
}

// Call notes how a team is called from now on, and what it is about to be called: the same
// if nothing waits.
func Call(tx *store.Tx, t kbsig.TeamID, name, coming Name) error {
	was, found, err := load[Called](tx, keys.ImplicitTeam(t))
	if err != nil {
		return err
	}
	is := Called{Public: name.Public, Name: name.String(), Coming: coming.String(), Holder: was.Holder}
	if is.Coming == is.Name {
		is.Coming = ""
	}
	if found && was.Coming != "" && was.Coming != is.Coming {
		if err := uncome(tx, t, was.Public, was.Coming); err != nil {
			return err
		}
	}
	if !found || was.Name != is.Name {
		if found {
			if err := leave(tx, t, was); err != nil {
				return err
			}
		}
		if is.Holder, err = enter(tx, t, is); err != nil {
			return err
		}
	}
	if is.Coming != "" {
		p, err := placeOf(tx, is.Public, is.Coming)
		if err != nil {
			return err
		}
		if !slices.Contains(p.Coming, t) {
			p.Coming = append(p.Coming, t)
			putPlace(tx, is.Public, is.Coming, p)
		}
	}
	if !found || was != is {
		store.Save(tx, keys.ImplicitTeam(t), is)
	}
	return nil
}

// Forget takes its name from a team in which nobody is left; had reports that it had one.
func Forget(tx *store.Tx, t kbsig.TeamID) (had bool, err error) {
	was, found, err := load[Called](tx, keys.ImplicitTeam(t))
	if err != nil || !found {
		return false, err
	}
	if was.Coming != "" {
		if err := uncome(tx, t, was.Public, was.Coming); err != nil {
			return false, err
		}
	}
	tx.Delete(keys.ImplicitTeam(t))
	return true, leave(tx, t, was)
}

// enter makes a team one of those that have a name.
func enter(tx *store.Tx, t kbsig.TeamID, c Called) (Holder, error) {
	p, err := placeOf(tx, c.Public, c.Name)
	if err != nil {
		return Holder{}, err
	}
	h := Holder{Team: t, Since: tx.Now().UnixMilli()}
	if _, taken := p.Plain(); taken {
		p.Copies++
		h.Generation = p.Copies
	}
	p.Have = append(p.Have, h)
	putPlace(tx, c.Public, c.Name, p)
	return h, nil
}

func leave(tx *store.Tx, t kbsig.TeamID, c Called) error {
	p, err := placeOf(tx, c.Public, c.Name)
	if err != nil {
		return err
	}
	p.Have = slices.DeleteFunc(p.Have, func(h Holder) bool { return h.Team == t })
	putPlace(tx, c.Public, c.Name, p)
	return nil
}

func uncome(tx *store.Tx, t kbsig.TeamID, public bool, name string) error {
	p, err := placeOf(tx, public, name)
	if err != nil {
		return err
	}
	p.Coming = slices.DeleteFunc(p.Coming, func(o kbsig.TeamID) bool { return o == t })
	putPlace(tx, public, name, p)
	return nil
}
