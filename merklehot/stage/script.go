package stage

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// Line is a command of a transcript.
type Line struct {
	*datadriven.TestData
	S *Stage
}

// Has says whether a word stands in the line.
func (l Line) Has(word string) bool { return l.TestData.HasArg(word) }

// Text is the value of a word; empty if it does not stand there.
func (l Line) Text(word string) string { return strings.Join(l.Texts(word), ",") }

// Texts are its values.
func (l Line) Texts(word string) []string {
	for _, a := range l.CmdArgs {
		if a.Key == word {
			return a.Vals
		}
	}
	return nil
}

// Word is the n-th word.
func (l Line) Word(n int) string {
	if n >= len(l.CmdArgs) {
		l.S.T.Fatalf("%s: %s wants more words", l.Pos, l.Cmd)
	}
	return l.CmdArgs[n].Key
}

// By is who does it.
func (l Line) By() *Person { return l.S.Someone(l.Text("by")) }

// Someone is a person who is there.
func (s *Stage) Someone(name string) *Person {
	s.T.Helper()
	p := s.people[name]
	if p == nil {
		s.T.Fatalf("there is no %q", name)
	}
	return p
}

// TeamID is the id of the team that the stage knows by a name, or else the server.
func (s *Stage) TeamID(name string) (t kbsig.TeamID) {
	s.T.Helper()
	for id, called := range s.plain {
		t, err := kbsig.ParseTeamID(id)
		if called == name && err == nil && s.Team(t) != nil {
			return t
		}
	}
	full, err := kbsig.ParseTeamName(name)
	s.Must(err)
	s.Read(func(v *store.View) (err error) {
		if t, err = teams.ByName(v, full); errors.Is(err, teams.ErrNoTeam) {
			t, err = kbsig.TeamIDOf(full, false), nil
		}
		return err
	})
	return t
}

// Team is the team that the line is about.
func (l Line) Team() kbsig.TeamID { return l.S.TeamID(l.Word(0)) }

// InviteID is the id of the invite that transcripts call so.
func (s *Stage) InviteID(name string) kbsig.InviteID {
	sum := sha256.Sum256([]byte("invite " + name))
	id := kbsig.InviteID(sum[:16])
	id[15] = 0x27
	s.Call(id, name)
	return id
}

// invites are those of a line: role=(name:type:value[:uses[:until]], ...) and
// cancel=(name, ...).
func (l Line) invites() Obj {
	out := Obj{}
	for _, role := range rosterRoles[:4] {
		var list []Obj
		for _, text := range l.Texts(role.String()) {
			parts := strings.Split(text, ":")
			if len(parts) < 3 {
				continue // somebody who becomes a member
			}
			value := parts[2]
			if parts[1] == "keybase" {
				name, eldest, _ := strings.Cut(value, "%")
				uv := l.S.Someone(name).UV()
				if eldest != "" {
					n, _ := strconv.ParseInt(eldest, 10, 64)
					uv.Eldest = kbsig.Seqno(n)
				}
				value = uv.String()
			}
			i := Obj{"id": l.S.InviteID(parts[0]).String(), "type": parts[1], "name": value}
			for n, field := range []string{"max_uses", "etime"} {
				if len(parts) > n+3 {
					i[field], _ = strconv.ParseInt(parts[n+3], 10, 64)
				}
			}
			list = append(list, i)
		}
		if list != nil {
			out[role.String()] = list
		}
	}
	if names := l.Texts("cancel"); names != nil {
		var ids []string
		for _, n := range names {
			ids = append(ids, l.S.InviteID(n).String())
		}
		out["cancel"] = ids
	}
	return out
}

// members are those of a line: role=(name, ...). Who becomes none is the incarnation that
// is a member; others come as they are now, or as name%link.
func (l Line) members(t kbsig.TeamID) (out []Member) {
	for _, role := range append([]teamchain.Role{teamchain.RoleNone}, rosterRoles...) {
		for _, text := range l.Texts(role.String()) {
			if strings.Contains(text, ":") {
				continue // an invite
			}
			name, eldest, exact := strings.Cut(text, "%")
			p := l.S.Someone(name)
			uv := p.UV()
			if st := l.S.Team(t); st != nil && role == teamchain.RoleNone {
				if was, ok, err := st.CurrentUV(p.UID); err == nil && ok {
					uv = was
				}
			}
			if exact {
				n, _ := strconv.ParseInt(eldest, 10, 64)
				uv.Eldest = kbsig.Seqno(n)
			}
			out = append(out, Member{uv, role})
		}
	}
	return out
}

// change is a change of members as a line tells it.
func (l Line) change(t kbsig.TeamID) Change {
	c := Change{Members: l.members(t), Rotate: l.Has("rotate"), Permanent: l.Has("permanent"), NoLease: l.Has("no-lease")}
	for word, list := range map[string]*[]teamchain.Completed{"completed": &c.Completed, "used": &c.Used} {
		for _, text := range l.Texts(word) {
			invite, name, _ := strings.Cut(text, ":")
			*list = append(*list, teamchain.Completed{Invite: l.S.InviteID(invite), UV: l.S.Someone(name).UV()})
		}
	}
	return c
}

// Result is what a transcript shows of an action.
func (s *Stage) Result(err error) string {
	if err != nil {
		return "refused: " + s.Plain(err.Error()) + "\n"
	}
	return "ok\n"
}

// Run does a command that all transcripts know; known is false if it is none.
func (s *Stage) Run(d *datadriven.TestData) (out string, known bool) {
	l := Line{d, s}
	if draft := l.Draft(); draft != nil {
		if m := l.Text("message"); m != "" {
			draft.Post.EmailInviteMsg = m
		}
		return s.Result(draft.Send()), true
	}
	switch d.Cmd {
	case "news":
		return s.News(l.Texts("of")...), true
	case "quiet":
		s.News()
	case "wait":
		pause, err := time.ParseDuration(l.Word(0))
		s.Must(err)
		s.Work(pause)
	default:
		if !l.person() {
			return "", false
		}
	}
	return "", true
}

// person does what people do with their accounts, to each that the line names.
func (l Line) person() bool {
	deeds := map[string]func(name string){
		"person":   func(name string) { l.S.Person(name) },
		"newcomer": func(name string) { l.S.Newcomer(name) },
		"begin":    func(name string) { l.S.Someone(name).Begin() },
		"device":   func(name string) { l.S.Someone(name).AddDevice() },
		"roll":     func(name string) { l.S.Someone(name).Roll() },
		"ek":       func(name string) { l.S.Someone(name).EphemeralKey() },
		"reset":    func(name string) { l.S.Someone(name).End(sigchain.KindReset) },
		"erase":    func(name string) { l.S.Someone(name).End(sigchain.KindDelete) },
	}
	deed := deeds[l.Cmd]
	if deed == nil {
		return false
	}
	for _, a := range l.CmdArgs {
		deed(a.Key)
	}
	return true
}

// Draft is the post that a line makes; nil if it makes none.
func (l Line) Draft() *Draft {
	var draft *Draft
	var t kbsig.TeamID
	switch l.Cmd {
	case "team":
		t, draft = l.By().Create(l.Word(0))
	case "subteam":
		at := strings.LastIndexByte(l.Word(0), '.')
		as := teamchain.RoleNone
		if l.Has("as") {
			as = l.role("as")
		}
		t, draft = l.By().CreateSub(l.S.TeamID(l.Word(0)[:at]), l.Word(0)[at+1:], as)
	case "implicit":
		var invites Obj
		if i := l.invites(); len(i) > 0 {
			invites = i
		}
		_, draft = l.By().CreateImplicit(l.Word(0), l.Has("public"), l.members(kbsig.TeamID{}), invites)
	case "change":
		draft = l.By().Change(l.Team(), l.change(l.Team()))
	case "rotate":
		draft = l.By().Rotate(l.Team())
	case "rotate-hidden":
		draft = l.By().RotateHidden(l.Team())
	case "leave":
		draft = l.By().Leave(l.Team(), l.Has("permanent"))
	case "invite":
		draft = l.By().Invite(l.Team(), l.invites())
	case "open":
		draft = l.By().Open(l.Team(), l.role("as"))
	case "close":
		draft = l.By().Open(l.Team(), teamchain.RoleNone)
	case "rename":
		draft = l.By().Rename(l.Team(), l.Text("to"))
	case "delete":
		draft = l.By().Delete(l.Team())
	}
	if l.Has("called") {
		l.S.Call(t, l.Text("called"))
	}
	return draft
}

func (l Line) role(word string) teamchain.Role {
	r, err := teamchain.ParseRole(l.Text(word))
	l.S.Must(err)
	return r
}

// MembersText tells who is what in a team.
func (s *Stage) MembersText(t kbsig.TeamID) string {
	var out strings.Builder
	for _, m := range s.Members(t) {
		note := ""
		if !s.present(m.UV) {
			note = ", of the past"
		}
		fmt.Fprintf(&out, "%s: %s%s\n", s.Plain(m.UV.UID.String()), m.Role, note)
	}
	s.Read(func(v *store.View) error {
		f, err := teams.FactsOf(v, t)
		if f.Deleted {
			out.WriteString("deleted\n")
		}
		return err
	})
	return out.String()
}
