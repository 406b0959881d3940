// Package showcase keeps what teams and their members show to everybody: that a team
// exists, what it is for, and who says to be in it; and finds teams that anybody may join.
//
// It promises:
//   - What is shown of a team is shown because an admin of the team wanted it, and a
//     member only because that user did, and was allowed to by the team.
//   - Nothing is shown of a team that is deleted, nor of somebody who is no member any
//     more.
//   - A team that can be found is a live root team, open to everybody.
//
// Who may change what has been decided before; functions take the caller's transaction.
// It writes the key families 0S, 0z and 0A of engine/keys.
// client: go/teams/showcase_helper.go, go/teams/opensearch/search.go
package showcase

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/limits"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/pictures"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// Limits of what is shown.
const (
	// descriptionBytesMax bounds a team's description.
	descriptionBytesMax = 4 << 10
	// foundMax bounds the teams of one answer of a search, and of the list that clients
	// keep.
	foundMax = 5000
	// suggestedMax is how many teams are suggested to who looks for none in particular.
	suggestedMax = 20
)

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("descriptionBytesMax", descriptionBytesMax, "of the description of a team"),
		limits.Count("foundMax", foundMax, "teams", "in the list of open teams"),
		limits.Count("suggestedMax", suggestedMax, "teams", "suggested to who looks for a team"),
	}
}

// ErrDescription reports a description that cannot be shown.
var ErrDescription = errors.New("the description is too long, or not text")

// Shown is what a team shows. client: go/protocol/keybase1/teams.go:TeamShowcase
type Shown struct {
	Public      bool             `codec:"p,omitempty"` // the team is shown at all
	Description string           `codec:"d,omitempty"`
	SetBy       kbsig.UID        `codec:"u"`           // who changed it last
	AnyMember   bool             `codec:"a,omitempty"` // every member may show being one
	Picture     people.PictureID `codec:"i"`
	Before      people.PictureID `codec:"b"` // for those who have its address
}

// Of is what a team shows.
func Of(r store.Reader, t kbsig.TeamID) (Shown, error) {
	s, err := store.Load[Shown](r, keys.Shown(t))
	if errors.Is(err, store.ErrNotFound) {
		return Shown{AnyMember: true}, nil // client: go/teams/showcase_test.go:TestShowcaseMember
	}
	if err != nil {
		return s, fmt.Errorf("what team %s shows: %w", t, err)
	}
	return s, nil
}

// Set changes what a team shows.
func Set(tx *store.Tx, t kbsig.TeamID, s Shown) error {
	if len(s.Description) > descriptionBytesMax || !utf8.ValidString(s.Description) {
		return ErrDescription
	}
	store.Save(tx, keys.Shown(t), s)
	return Index(tx, t)
}

// SetPicture gives a team the picture whose sizes pictures.Make made. The one before stays
// for those who have its address; the one before that goes.
func SetPicture(tx *store.Tx, t kbsig.TeamID, sizes []pictures.Picture) error {
	s, err := Of(tx, t)
	if err != nil {
		return err
	}
	old := s.Before
	id := people.PutPictures(tx, t, sizes)
	if id == s.Picture {
		return nil
	}
	s.Picture, s.Before = id, s.Picture
	store.Save(tx, keys.Shown(t), s)
	if old.IsZero() || old == id || old == s.Before {
		return nil
	}
	return people.DropPictures(tx, t, old)
}

// Promotes reports whether a user shows being in a team.
func Promotes(r store.Reader, u kbsig.UID, t kbsig.TeamID) (bool, error) {
	return store.Has(r, keys.ShownMember(u, t))
}

// SetMember says whether a user shows being in a team.
func SetMember(tx *store.Tx, u kbsig.UID, t kbsig.TeamID, shown bool) {
	if shown {
		tx.Set(keys.ShownMember(u, t), nil)
	} else {
		tx.Delete(keys.ShownMember(u, t))
	}
}

// Promoted calls fn for the live teams that a user is in and shows to be in.
func Promoted(r store.Reader, u kbsig.UID, fn func(kbsig.TeamID, teamchain.Role) error) error {
	return teams.TeamsOf(r, u, func(t kbsig.TeamID, role teamchain.Role) error {
		shown, err := Promotes(r, u, t)
		if err != nil || !shown {
			return err
		}
		s, err := Of(r, t)
		if err != nil || !s.AnyMember && !role.AtLeast(teamchain.RoleAdmin) {
			return err
		}
		return fn(t, role)
	})
}

// Posted follows what happens to teams: see teams.Service.OnPost.
func Posted(tx *store.Tx, f teams.PostFact) error {
	for t := range f.After {
		if err := Index(tx, t); err != nil {
			return err
		}
	}
	return nil
}

// Index keeps a team among those that can be found, or not.
func Index(tx *store.Tx, t kbsig.TeamID) error {
	st, err := teams.Load(tx, t)
	if err != nil {
		return err
	}
	_, below := st.Parent()
	if _, open := st.Open(); open && !below && !st.Implicit() && !st.Deleted() && st.MemberCount() > 0 {
		tx.Set(keys.PublicTeam(t), nil)
	} else {
		tx.Delete(keys.PublicTeam(t))
	}
	return nil
}

// Found is a team that anybody may find and join.
type Found struct {
	Team        kbsig.TeamID
	Name        string
	Description string
	Members     int
	Changed     int64 // Unix milliseconds: when something about it changed last
}

// Search finds open teams by a word of their name or description, the largest first; all
// of them if the query is empty. At most limit, which 0 leaves to the package.
// client: go/teams/opensearch/search.go:Remote
func Search(r store.Reader, query string, limit int) ([]Found, error) {
	if limit <= 0 || limit > foundMax {
		limit = foundMax
	}
	query = strings.ToLower(strings.TrimSpace(query))
	var out []Found
	lo := keys.PublicTeams()
	err := r.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		t, ok := keys.PublicTeamOf(k)
		if !ok {
			return fmt.Errorf("malformed key of an open team")
		}
		f, err := found(r, t)
		if err != nil {
			return err
		}
		if f.Members > 0 && (strings.Contains(strings.ToLower(f.Name), query) || strings.Contains(strings.ToLower(f.Description), query)) {
			out = append(out, f)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("search for teams: %w", err)
	}
	slices.SortFunc(out, func(a, b Found) int {
		if a.Members != b.Members {
			return b.Members - a.Members
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out[:min(len(out), limit)], nil
}

func found(r store.Reader, t kbsig.TeamID) (Found, error) {
	st, err := teams.Load(r, t)
	if err != nil {
		return Found{}, err
	}
	s, err := Of(r, t)
	if err != nil {
		return Found{}, err
	}
	f, err := teams.FactsOf(r, t)
	return Found{Team: t, Name: st.Name().String(), Description: s.Description, Members: st.MemberCount(), Changed: f.Changed}, err
}

// Suggested are the teams that are shown to who looks for none in particular: the first
// of a search's result.
func Suggested(list []Found) []Found { return list[:min(len(list), suggestedMax)] }

// Hash is how clients name a list of teams that they have: when it is the same, nothing
// need be sent. Counts of members matter in their first digit only.
// client: go/protocol/keybase1/extras.go:TeamSearchExport.Hash
func Hash(list, suggested []Found) string {
	h := sha256.New()
	byID := slices.SortedFunc(slices.Values(list), func(a, b Found) int { return bytes.Compare(a.Team[:], b.Team[:]) })
	for _, f := range byID {
		h.Write(f.Team[:])
		h.Write([]byte(firstDigit(f.Members)))
	}
	for _, f := range suggested {
		h.Write(f.Team[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// firstDigit is a positive number with zeros behind its first digit.
func firstDigit(n int) string {
	text := strconv.Itoa(n)
	return text[:1] + strings.Repeat("0", len(text)-1)
}
