package teamkeys_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/stage"
	"github.com/keystead/keystead/merklehot/teamkeys"
	"github.com/keystead/keystead/merklehot/teams"
)

// TestTranscripts proves which ephemeral keys of teams and which keys of bots are taken,
// who gets a box, who is told, and with which code the others are refused, as the
// transcripts tell it; and of each refusal in them that it changes nothing.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		w := newWorld(t, 1)
		datadriven.RunTest(t, path, func(_ *testing.T, d *datadriven.TestData) string { return w.run(d) })
	})
}

// world is a stage on which keys of teams are taken, also beside links.
type world struct{ *stage.Stage }

func newWorld(t stage.T, seed byte) world {
	w := world{stage.New(t, seed)}
	w.Teams.OnPost(teamkeys.Posted)
	return w
}

func (w world) run(d *datadriven.TestData) string {
	l := stage.Line{TestData: d, S: w.Stage}
	if l.Has("rebox") || l.Has("with-ek") {
		return w.result(w.beside(l))
	}
	if out, known := w.Run(d); known {
		return out
	}
	var act func(tx *store.Tx) error
	switch d.Cmd {
	case "team-ek":
		ek, err := kbsig.OpenTeamEK(w.teamEK(l, w.signer(l)))
		w.Must(err)
		act = func(tx *store.Tx) error {
			return teamkeys.PutTeamEK(tx, l.Team(), l.By().UID, ek, w.boxes(l, "boxes"))
		}
	case "bot-key":
		k, err := kbsig.OpenBotKey(w.botKey(l), l.Has("ephemeral"))
		w.Must(err)
		act = func(tx *store.Tx) error {
			return teamkeys.PutBotKey(tx, l.Team(), l.By().UID, k, "sealed", l.Has("ephemeral"))
		}
	case "need":
		act = func(tx *store.Tx) error { return teamkeys.Need(tx, w.series(l), int64(w.number(l, "n", 0))) }
	default:
		return w.look(l)
	}
	before := w.Dump()
	err := w.Update(act)
	if err == nil && d.Cmd == "team-ek" {
		before = w.Dump() // sent again, it changes nothing
		w.Must(w.Update(act))
	}
	if (err != nil || d.Cmd == "team-ek") && len(stage.Changed(before, w.Dump())) > 0 {
		w.T.Errorf("%s: refused or sent again, it changes something", d.Pos)
	}
	return w.result(err)
}

// result shows the code on which clients act.
func (w world) result(err error) string {
	var e *status.Error
	if errors.As(err, &e) {
		return fmt.Sprintf("refused: %d %s\n", e.Code, e.Name)
	}
	return w.Result(err)
}

// look does the commands that only read.
func (w world) look(l stage.Line) string {
	var out strings.Builder
	w.Read(func(v *store.View) error {
		switch l.Cmd {
		case "member-eks":
			return teamkeys.MemberEKs(v, l.Team(), func(u kbsig.UID, sig string) {
				ek, err := kbsig.OpenUserEK(sig)
				w.Must(err)
				fmt.Fprintf(&out, "%s: %d\n", w.Plain(u.String()), ek.Generation)
			})
		case "kept":
			return w.kept(l, v, &out)
		case "joined":
			later, err := teamkeys.JoinedAfter(v, l.Team(), w.Someone(l.Text("of")).UV(), kbsig.Seqno(w.number(l, "link", 0)))
			fmt.Fprintln(&out, later)
			return err
		}
		w.T.Fatalf("%s: no such command", l.Pos)
		return nil
	})
	if out.Len() == 0 {
		return "nothing\n"
	}
	return out.String()
}

// kept are the newest ephemeral key of a team with its boxes, and the newest keys of bots.
func (w world) kept(l stage.Line, v *store.View, out *strings.Builder) error {
	ek, err := keyboxes.NewestTeamEK(v, l.Team())
	if err != nil || ek == nil {
		return err
	}
	fmt.Fprintf(out, "ephemeral key %d, made after link %d\n", ek.Generation, ek.Link)
	for _, p := range w.People() {
		_, box, err := keyboxes.GetTeamEKBox(v, l.Team(), ek.Generation, p.UV())
		if err != nil {
			return err
		}
		if box != nil {
			fmt.Fprintf(out, "box for %s, key %d\n", p.Name, box.Generation)
		}
	}
	return nil
}

func (w world) number(l stage.Line, word string, usual int) int {
	if l.Text(word) == "" {
		return usual
	}
	n, err := strconv.Atoi(l.Text(word))
	w.Must(err)
	return n
}

// boxes are those of a word: who:generation of the ephemeral key that it is for.
func (w world) boxes(l stage.Line, word string) (out []teams.TeamEKBox) {
	for _, text := range l.Texts(word) {
		name, generation, _ := strings.Cut(text, ":")
		n, err := strconv.ParseInt(generation, 10, 64)
		w.Must(err)
		out = append(out, teams.TeamEKBox{Box: "sealed", Generation: n, User: w.Someone(name).UID})
	}
	return out
}

// signer is the team's newest key, or one that the line names.
func (w world) signer(l stage.Line) *stage.Key {
	return w.Key(l.Team(), int64(w.number(l, "signed", 0)))
}

func (w world) teamEK(l stage.Line, by *stage.Key) string {
	return w.Statement(by.Sig, "team", w.number(l, "n", 1), "")
}

// botKey is a statement about a bot's key.
func (w world) botKey(l stage.Line) string {
	more := fmt.Sprintf(`"application":%d,"puk_generation":%d`, w.number(l, "app", 1), w.number(l, "sealed", 1))
	if l.Has("ephemeral") {
		w.Read(func(v *store.View) error {
			root := roots.StateOf(v).Root()
			more = fmt.Sprintf(`"user_ek_generation":%d,"hash_meta":"%s","ctime":%d`, w.number(l, "sealed", 1), root.HashMeta, root.Ctime*1000)
			return nil
		})
	}
	team := w.signer(l)
	return client.SignPacket(team.Sig, fmt.Appendf(nil, `{"teambot_dh_public":"%s","generation":%d,"uid":"%s",%s}`,
		team.Enc.KID(), w.number(l, "n", 1), w.Someone(l.Text("for")).UID, more)).Armor()
}

func (w world) series(l stage.Line) keyboxes.BotKeyID {
	bot := w.Someone(l.Text("for")).UV()
	id := keyboxes.BotKeyID{Team: l.Team(), Bot: bot.UID, Eldest: bot.Eldest, Application: w.number(l, "app", 1), Ephemeral: l.Has("ephemeral")}
	if id.Ephemeral {
		id.Application = kbsig.AppChat
	}
	return id
}

// beside posts a change of members with an ephemeral key, or with further boxes of the
// newest one.
func (w world) beside(l stage.Line) error {
	draft := l.Draft()
	if l.Has("rebox") {
		draft.Post.TeamEKRebox = &teams.TeamEKPost{Team: l.Team(), Boxes: w.boxes(l, "rebox")}
	} else {
		by := draft.Key(l.Team())
		if by == nil || l.Has("signed") {
			by = w.signer(l)
		}
		draft.Post.TeamEK = &teams.TeamEKPost{Team: l.Team(), Sig: w.teamEK(l, by), Boxes: w.boxes(l, "with-ek")}
	}
	return draft.Send()
}
