package teams_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/stage"
	"github.com/keystead/keystead/merklehot/teams"
)

// TestTranscripts proves who may see what, whose names are whose, when somebody may be
// demoted, who gets which key and who is told what, as the transcripts tell it; and of
// each post in them that it changes nothing when it is refused or sent again.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := script{stage.New(t, 1), map[string]identity.LeaseID{}}
		datadriven.RunTest(t, path, func(_ *testing.T, d *datadriven.TestData) string { return s.run(d) })
	})
}

type script struct {
	*stage.Stage
	leases map[string]identity.LeaseID
}

func (s script) run(d *datadriven.TestData) (out string) {
	if out, known := s.Run(d); known {
		return out
	}
	l := stage.Line{TestData: d, S: s.Stage}
	switch d.Cmd {
	case "who":
		return s.MembersText(l.Team())
	case "lease":
		id, _, err := s.Teams.NewLease(s.T.Context(), l.By().UID, l.Team(), s.uids(l.Texts("over")))
		s.leases[l.Text("called")] = id
		return s.Result(err)
	case "cancel-lease":
		return s.Result(s.Identity.CancelLease(s.T.Context(), l.By().UID, s.leases[l.Word(0)]))
	case "demote":
		draft := l.By().Change(l.Team(), stage.Change{Members: []stage.Member{{UV: s.Someone(l.Text("whom")).UV()}}, NoLease: true})
		if id, ok := s.leases[l.Text("with")]; ok {
			draft.Post.Lease = &id
		}
		return s.Result(draft.Send())
	}
	s.Read(func(v *store.View) (err error) {
		out, err = s.look(l, v)
		return err
	})
	return out
}

func (s script) uids(names []string) (out []kbsig.UID) {
	for _, n := range names {
		out = append(out, s.Someone(n).UID)
	}
	return out
}

// look does the commands that only read.
func (s script) look(l stage.Line, v *store.View) (string, error) {
	var out strings.Builder
	switch l.Cmd {
	case "access":
		var below kbsig.TeamID
		if name := l.Text("below"); name != "" {
			below = s.TeamID(name)
		}
		for _, name := range l.Texts("for") {
			var u kbsig.UID
			if name != "anybody" {
				u = s.Someone(name).UID
			}
			a, err := teams.AccessOf(v, l.Team(), u, below)
			if err != nil {
				return s.Result(err), nil
			}
			out.WriteString(name + ":" + rights(a) + "\n")
		}
	case "standing":
		st, err := teams.StandingOf(v, l.Team(), s.Someone(l.Text("of")).UID)
		if err != nil {
			return s.Result(err), nil
		}
		fmt.Fprintf(&out, "%s", st.Role)
		if st.Any() && st.Implicit != 0 {
			fmt.Fprintf(&out, ", %s of %s", st.Implicit, s.Plain(st.Ancestor.String()))
		}
		fmt.Fprintf(&out, ", does what admins do: %v\n", st.Admin())
	case "lists":
		return s.lists(v, s.Someone(l.Word(0)).UID)
	case "find":
		name, err := kbsig.ParseTeamName(l.Word(0))
		if err != nil {
			return "", err
		}
		t, err := teams.ByName(v, name)
		if err != nil {
			return s.Result(err), nil
		}
		f, err := teams.FactsOf(v, t)
		fmt.Fprintf(&out, "%s, deleted: %v\n", s.Plain(t.String()), f.Deleted)
		return out.String(), err
	case "keys":
		return s.keys(v, l.Team())
	default:
		l.Fatalf(s.T.(*testing.T), "no such command")
	}
	return out.String(), nil
}

// rights are the columns of the table of who may see what.
func rights(a teams.Access) (out string) {
	for _, column := range []struct {
		name string
		yes  bool
	}{
		{"member", a.Member()}, {"chain", a.Chain()}, {"whole", a.Whole()}, {"keys", a.Keys()}, {"masks", a.Masks()},
		{"hidden", a.Hidden()}, {"managed", a.Managed()},
	} {
		if column.yes {
			out += " " + column.name
		}
	}
	if out == "" {
		return " nothing"
	}
	return out
}

// lists are the teams of a user, in the order of their names.
func (s script) lists(v *store.View, u kbsig.UID) (string, error) {
	names := func(ids []kbsig.TeamID) string {
		var out []string
		for _, id := range ids {
			out = append(out, s.Plain(id.String()))
		}
		slices.Sort(out)
		return strings.Join(out, " ") + "\n"
	}
	list, err := teams.StandingsOf(v, u)
	if err != nil {
		return "", err
	}
	var in []kbsig.TeamID
	for _, st := range list {
		in = append(in, st.Team)
	}
	branches, err := teams.Branches(v, u)
	if err != nil {
		return "", err
	}
	version, err := teams.RoleMapVersion(v, u)
	return "in: " + names(in) + "branches: " + names(slices.Collect(maps.Keys(branches))) + fmt.Sprintf("version: %d\n", version), err
}

// keys tell who has a box of which generation, and which generations have masks and a
// sealed seed before.
func (s script) keys(v *store.View, t kbsig.TeamID) (string, error) {
	var out []string
	for _, p := range s.People() {
		b, err := keyboxes.TeamBoxOf(v, t, p.UID, p.UV().Eldest)
		if err != nil {
			return "", err
		}
		if b != nil {
			out = append(out, fmt.Sprintf("%s: %d\n", p.Name, b.Generation))
		}
	}
	masks, prevs := "masks:", "prevs:"
	err := keyboxes.EachTeamMasks(v, t, 1, func(n int64, _ keyboxes.TeamMasks) error {
		masks += fmt.Sprintf(" %d", n)
		return nil
	})
	if err != nil {
		return "", err
	}
	err = keyboxes.TeamPrevs(v, t, 0, func(n int64, _ string) error {
		prevs += fmt.Sprintf(" %d", n)
		return nil
	})
	return strings.Join(out, "") + masks + "\n" + prevs + "\n", err
}
