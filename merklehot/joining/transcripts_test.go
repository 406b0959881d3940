package joining_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/known"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/implicit"
	"github.com/keystead/keystead/merklehot/joining"
	"github.com/keystead/keystead/merklehot/stage"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// TestTranscripts proves who may ask, who is invited by what, who may complete it, who is
// told, and what is left of all that when somebody comes, goes, is reset or deleted, as the
// transcripts tell it; and of each refused action in them that it changes nothing.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		w := newWorld(t, 1)
		datadriven.RunTest(t, path, func(_ *testing.T, d *datadriven.TestData) string { return w.run(d) })
	})
}

// world is a stage with the ways into teams.
type world struct {
	*stage.Stage
	ways    *joining.Service
	here    map[kbsig.UID]bool   // who is connected
	proven  map[string]kbsig.UID // service:name
	letters []string
	tokens  map[string]string // by address
}

func newWorld(t stage.T, seed byte) *world {
	w := &world{Stage: stage.New(t, seed), here: map[kbsig.UID]bool{}, proven: map[string]kbsig.UID{}, tokens: map[string]string{}}
	q := chores.New(chores.Options{
		Store: w.Store, Logger: slog.New(slog.DiscardHandler), Connected: func(u kbsig.UID) bool { return w.here[u] },
	})
	w.ways = joining.New(joining.Options{
		Store: w.Store, Identity: w.Identity, Teams: w.Teams, Queue: q, Rand: w.Rand,
		Letter: func(to string, from kbsig.Username, team, token, message string) mail.Message {
			w.letters = append(w.letters, fmt.Sprintf("mail to %s from %s about %q: %q", to, from, team, message))
			return mail.Message{To: to, Subject: "invitation", Text: token + "\n"}
		},
		Text: func(to string, from kbsig.Username, team string) mail.Text {
			w.letters = append(w.letters, fmt.Sprintf("text to %s from %s about %q", to, from, team))
			return mail.Text{To: to, Text: "invitation"}
		},
		Known: func(_ store.Reader, service, name string) (kbsig.UID, bool, error) {
			u, ok := w.proven[service+":"+name]
			return u, ok, nil
		},
		TokenMade: func(address, token string) { w.tokens[address] = token },
	})
	q.Handle(w.Jobs)
	w.ways.Handle(w.Jobs)
	return w
}

func (w *world) run(d *datadriven.TestData) string {
	if out, known := w.Run(d); known {
		return out
	}
	l := stage.Line{TestData: d, S: w.Stage}
	if act := acts[d.Cmd]; act != nil {
		before := w.Dump()
		err := act(w, l)
		if err != nil && len(stage.Changed(before, w.Dump())) > 0 {
			w.T.Errorf("%s: refused, and changes something", d.Pos)
		}
		return w.Result(err)
	}
	if look := looks[d.Cmd]; look != nil {
		var out strings.Builder
		w.Read(func(v *store.View) error {
			if err := look(w, l, v, &out); err != nil {
				out.WriteString(w.Result(err))
			}
			return nil
		})
		if out.Len() == 0 {
			return "nothing\n"
		}
		return out.String()
	}
	w.T.Fatalf("%s: no such command", d.Pos)
	return ""
}

func (w *world) name(l stage.Line) kbsig.TeamName {
	n, err := kbsig.ParseTeamName(l.Word(0))
	w.Must(err)
	return n
}

// acts are what people do.
var acts = map[string]func(*world, stage.Line) error{
	"here": func(w *world, l stage.Line) error { return w.connect(l, true) },
	"away": func(w *world, l stage.Line) error { return w.connect(l, false) },
	"ask": func(w *world, l stage.Line) error {
		_, err := w.ways.Ask(w.T.Context(), l.By().UID, w.name(l))
		return err
	},
	"ignore": func(w *world, l stage.Line) error {
		return w.ways.Ignore(w.T.Context(), l.By().UID, w.name(l), w.Someone(l.Text("whom")).UID)
	},
	"shut": func(w *world, l stage.Line) error { return w.ways.SetClosed(w.T.Context(), l.By().UID, l.Team(), true) },
	"unshut": func(w *world, l stage.Line) error {
		return w.ways.SetClosed(w.T.Context(), l.By().UID, l.Team(), false)
	},
	"answer": func(w *world, l stage.Line) error {
		at := w.Clock.Now()
		if l.Has("off") {
			d, err := time.ParseDuration(l.Text("off"))
			w.Must(err)
			at = at.Add(d)
		}
		return w.ways.Accept(w.T.Context(), l.By().UID, joining.Answer{
			Invite: w.InviteID(l.Word(0)), AKey: akey(l.Text("with")), Ctime: at.Unix(), At: at, Link: l.Has("link"), KeyNeeded: l.Has("needs-key"),
		})
	},
	"reject": func(w *world, l stage.Line) error {
		uv := w.Someone(l.Text("whom")).UV()
		return w.ways.Reject(w.T.Context(), l.By().UID, w.InviteID(l.Word(0)), uv, akey(l.Text("with")))
	},
	"token": func(w *world, l stage.Line) error {
		token := w.tokens[l.Word(0)]
		if l.Has("as") {
			token = l.Text("as")
		}
		return w.ways.AcceptToken(w.T.Context(), l.By().UID, " "+token+"\n")
	},
	"prove":   func(w *world, l stage.Line) error { return w.prove(w.Someone(l.Word(0)), l.Text("is"), true) },
	"unprove": func(w *world, l stage.Line) error { return w.prove(w.Someone(l.Word(0)), l.Text("is"), false) },
	"mail": func(w *world, l stage.Line) error {
		u, a := w.Someone(l.Word(0)).UID, l.Text("is")
		return w.Update(func(tx *store.Tx) error {
			if err := accounts.AddMail(tx, u, a, accounts.Public); err != nil {
				return err
			}
			return accounts.VerifyMail(tx, u, a)
		})
	},
	"unmail": func(w *world, l stage.Line) error {
		return w.Update(func(tx *store.Tx) error { return accounts.DeleteMail(tx, w.Someone(l.Word(0)).UID, l.Text("is")) })
	},
	"phone": func(w *world, l stage.Line) error {
		u, n := w.Someone(l.Word(0)).UID, l.Text("is")
		return w.Update(func(tx *store.Tx) error {
			code, err := accounts.AddPhone(tx, w.Rand, u, n, accounts.Public)
			if err != nil {
				return err
			}
			refused, err := accounts.TryPhoneCode(tx, u, n, code)
			return errors.Join(refused, err)
		})
	},
	"shy": func(w *world, l stage.Line) error {
		settings := accounts.ContactSettings{Enabled: true}
		for _, name := range l.Texts("but-in") {
			settings.AllowGoodTeams = true
			settings.Teams = append(settings.Teams, accounts.TeamContact{TeamID: w.TeamID(name).String(), Enabled: true})
		}
		return w.Update(func(tx *store.Tx) error { return accounts.SetContactSettings(tx, w.Someone(l.Word(0)).UID, settings) })
	},
}

// akey is the answer to a secret as clients spell it.
func akey(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func (w *world) connect(l stage.Line, is bool) error {
	for _, a := range l.CmdArgs {
		w.here[w.Someone(a.Key).UID] = is
	}
	return nil
}

// prove has somebody be, or be no more, somebody elsewhere: what is service:name.
func (w *world) prove(p *stage.Person, what string, is bool) error {
	service, name, _ := strings.Cut(what, ":")
	delete(w.proven, what)
	if is {
		w.proven[what] = p.UID
	}
	return w.Update(func(tx *store.Tx) error { return known.Say(tx, known.Fact{UID: p.UID, Service: service, Name: name}) })
}

// looks are the commands that only read.
var looks = map[string]func(*world, stage.Line, *store.View, *strings.Builder) error{
	"who": func(w *world, l stage.Line, _ *store.View, out *strings.Builder) error {
		out.WriteString(w.MembersText(l.Team()))
		return nil
	},
	"letters": func(w *world, _ stage.Line, _ *store.View, out *strings.Builder) error {
		for _, text := range w.letters {
			out.WriteString(text + "\n")
		}
		w.letters = nil
		return nil
	},
	"waiting": func(w *world, l stage.Line, v *store.View, out *strings.Builder) error {
		list, err := joining.Waiting(v, l.By().UID, w.name(l))
		return requests(out, list, err)
	},
	"waiting-everywhere": func(_ *world, l stage.Line, v *store.View, out *strings.Builder) error {
		list, err := joining.WaitingEverywhere(v, l.By().UID)
		return requests(out, list, err)
	},
	"mine": func(w *world, l stage.Line, v *store.View, out *strings.Builder) error {
		var only *kbsig.TeamName
		if l.Has("at") {
			n, err := kbsig.ParseTeamName(l.Text("at"))
			w.Must(err)
			only = &n
		}
		list, err := joining.Mine(v, l.By().UID, only)
		return requests(out, list, err)
	},
	"blocked": func(_ *world, l stage.Line, v *store.View, out *strings.Builder) error {
		list, err := joining.Blocked(v, l.By().UID)
		return requests(out, list, err)
	},
	"shut?": func(_ *world, l stage.Line, v *store.View, out *strings.Builder) error {
		closed, err := joining.Closed(v, l.By().UID, l.Team())
		if err == nil {
			fmt.Fprintln(out, closed)
		}
		return err
	},
	"details": func(w *world, l stage.Line, v *store.View, out *strings.Builder) error {
		d, err := joining.DetailsOf(v, w.InviteID(l.Word(0)), w.Clock.Now())
		if err == nil {
			fmt.Fprintf(out, "team %s, open: %v, %d members, by %s, who is gone: %v\n", d.Name, d.Open, d.Members, w.Plain(d.Inviter.String()), d.InviterGone)
		}
		return err
	},
	"called": func(w *world, l stage.Line, v *store.View, out *strings.Builder) error {
		c, err := implicit.CalledOf(v, l.Team())
		if err == nil {
			fmt.Fprintf(out, "%s, is about to be: %v\n", c.Name, c.Coming)
		}
		return err
	},
	"left": func(w *world, l stage.Line, v *store.View, out *strings.Builder) error {
		return w.left(v, l.Team(), out)
	},
}

func requests(out *strings.Builder, list []joining.Request, err error) error {
	for _, r := range list {
		fmt.Fprintf(out, "%s %s\n", r.Name, r.User)
	}
	return err
}

// left is all that is kept of a team's ways in.
func (w *world) left(v *store.View, t kbsig.TeamID, out *strings.Builder) error {
	d, err := joining.DoorOf(v, t)
	if err != nil {
		return err
	}
	if d != (joining.Door{}) {
		fmt.Fprintf(out, "door: shut %v, %d wait\n", d.Closed, d.Waiting)
	}
	for _, p := range w.People() {
		o, err := joining.OutsiderOf(v, t, p.UID)
		if err != nil {
			return err
		}
		for _, is := range []struct {
			so   bool
			what string
		}{
			{o.Asked != 0 && !o.Ignored, "asks"}, {o.Ignored, "is ignored"}, {o.Banned != 0, "is banned"}, {o.Left != 0, "left for good"},
			{o.Reset != 0, "was reset"},
		} {
			if is.so {
				fmt.Fprintf(out, "%s %s\n", p.Name, is.what)
			}
		}
	}
	err = joining.Acceptances(v, t, func(u kbsig.UID, i kbsig.InviteID, a joining.Acceptance) error {
		how := map[joining.Kind]string{joining.Named: "is", joining.Secret: "answers"}[a.Kind]
		fmt.Fprintf(out, "%s %s %s\n", w.Plain(u.String()), how, w.Plain(i.String()))
		return nil
	})
	if err != nil {
		return err
	}
	if what := w.leads(v, t); what != "" {
		fmt.Fprintf(out, "led to:%s\n", what)
	}
	for _, k := range []chores.Kind{chores.Rotate, chores.Sweep, chores.People, chores.Requests, chores.Tokens} {
		c, err := chores.Load(v, t, k)
		if err != nil {
			return err
		}
		if c != nil {
			fmt.Fprintf(out, "to do: %s\n", map[chores.Kind]string{
				chores.Rotate: "rotate", chores.Sweep: "sweep", chores.People: "let people in", chores.Requests: "grant requests", chores.Tokens: "check answers",
			}[k])
		}
	}
	return nil
}

// leads are how many things lead to each invite of a team.
func (w *world) leads(v *store.View, t kbsig.TeamID) (out string) {
	n := map[string]int{}
	lo := keys.InviteLeads([32]byte{})[:2]
	w.Must(v.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		if _, team, invite, ok := keys.InviteLeadOf(k); ok && team == t {
			n[w.Plain(kbsig.InviteID(invite).String())]++
		}
		return nil
	}))
	var names []string
	for name := range n {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		out += fmt.Sprintf(" %s by %d", name, n[name])
	}
	return out
}

// standing is what somebody is in a team, which is all that a member is.
func (w *world) standing(v *store.View, t kbsig.TeamID, u kbsig.UID) teamchain.Role {
	s, err := teams.StandingOf(v, t, u)
	w.Must(err)
	return s.Role
}
