package joining_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/joining"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/stage"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// Limits, as LimitRows tells them.
const (
	requestsMax    = 2000
	myRequestsMax  = 500
	acceptancesMax = 2000
	offeredMax     = 100
	messageMax     = 1000
	akeyCharsMax   = 128
	clockSlack     = 24 * time.Hour
)

// ghost is a user who is nowhere but in indexes.
func ghost(i int) kbsig.UID { return kbsig.UIDOf(kbsig.Username(fmt.Sprintf("ghost%d", i))) }

// opened is a world in which bob is no member of alice's team, which has an invite of each
// kind that can be answered.
func opened(t *testing.T) (w *world, alice, bob *stage.Person, team kbsig.TeamID) {
	w = newWorld(t, 9)
	alice, bob = w.Person("alice"), w.Person("bob")
	team, d := alice.Create("acme")
	w.Must(d.Send())
	w.Must(alice.Invite(team, stage.Obj{"writer": []stage.Obj{
		{"id": w.InviteID("s1").String(), "type": "seitan_invite_token", "name": "sealed"},
		{"id": w.InviteID("l1").String(), "type": "invitelink", "name": "sealed", "max_uses": -1},
	}}).Send())
	return w, alice, bob, team
}

// TestTooManyWait proves that of requests and answers as many are taken as may be, and that
// the next is refused and changes nothing.
func TestTooManyWait(t *testing.T) {
	ask := func(w *world, u kbsig.UID) error {
		name, err := kbsig.ParseTeamName("acme")
		w.Must(err)
		_, err = w.ways.Ask(w.T.Context(), u, name)
		return err
	}
	answer := func(w *world, u kbsig.UID) error {
		return w.ways.Accept(w.T.Context(), u, joining.Answer{Invite: w.InviteID("s1"), AKey: akey("x"), At: w.Clock.Now()})
	}
	for _, row := range []struct {
		what string
		max  int
		put  func(w *world, tx *store.Tx, team kbsig.TeamID, u kbsig.UID, n int)
		try  func(w *world, u kbsig.UID) error
	}{
		{"requests at a team", requestsMax, func(_ *world, tx *store.Tx, team kbsig.TeamID, _ kbsig.UID, n int) {
			store.Save(tx, keys.TeamDoor(team), joining.Door{Waiting: n})
		}, ask},
		{"teams at which one asks", myRequestsMax, func(_ *world, tx *store.Tx, _ kbsig.TeamID, u kbsig.UID, n int) {
			for i := range n {
				other := kbsig.TeamID{byte(i), byte(i >> 8), 15: 0x24}
				store.Save(tx, keys.Outsider(other, u), joining.Outsider{Asked: 1})
				tx.Set(keys.OutsiderTeam(u, other), nil)
			}
		}, ask},
		{"answers at a team", acceptancesMax, func(w *world, tx *store.Tx, team kbsig.TeamID, _ kbsig.UID, n int) {
			for i := range n {
				store.Save(tx, keys.Acceptance(team, ghost(i), w.InviteID("l1")), joining.Acceptance{Kind: joining.Secret})
			}
		}, answer},
	} {
		for n, want := range map[int]error{row.max: joining.ErrFull, row.max - 1: nil} {
			w, _, bob, team := opened(t)
			w.Must(w.Update(func(tx *store.Tx) error { row.put(w, tx, team, bob.UID, n); return nil }))
			before := w.Dump()
			err := row.try(w, bob.UID)
			if !errors.Is(err, want) {
				t.Errorf("beside %d %s: %v", n, row.what, err)
			}
			if err != nil && len(stage.Changed(before, w.Dump())) > 0 {
				t.Errorf("beside %d %s: refused, and changes something", n, row.what)
			}
		}
	}
}

// TestOfferedAtATime proves that a member is asked to let in so many at a time, and the
// others when these are in.
func TestOfferedAtATime(t *testing.T) {
	w, alice, _, team := opened(t)
	w.here[alice.UID] = true
	w.Must(alice.Open(team, teamchain.RoleReader).Send())
	w.Must(w.Update(func(tx *store.Tx) error {
		for i := range offeredMax + 1 {
			u := ghost(i)
			st := sigchain.NewState(u, kbsig.Username(fmt.Sprintf("ghost%d", i)))
			st.Eldest, st.EldestSeqno, st.Incarnation = kbsig.NewKID(kbsig.KIDTypeEdDSA, [32]byte{1}), 1, 1
			st.PUKs = []sigchain.PUK{{Generation: 1, Incarnation: 1, AddedAt: 3}}
			tx.Set(keys.Chain(u), st.Encode())
			store.Save(tx, keys.Outsider(team, u), joining.Outsider{Asked: 1})
			store.Save(tx, keys.Acceptance(team, u, w.InviteID("s1")), joining.Acceptance{Kind: joining.Secret, Eldest: 1})
		}
		store.Save(tx, keys.TeamDoor(team), joining.Door{Waiting: offeredMax + 1})
		return nil
	}))
	w.Must(alice.Rotate(team).Send()) // any post has the door looked at
	w.News()
	w.Work(time.Second)
	if got := strings.Count(w.News("team.openreq"), `"uid"`); got != offeredMax {
		t.Errorf("%d requests at a time", got)
	}
	w.Must(w.ways.Accept(t.Context(), w.Someone("bob").UID, joining.Answer{Invite: w.InviteID("s1"), AKey: akey("x"), At: w.Clock.Now()}))
	w.Work(time.Second)
	if got := strings.Count(w.News("team.seitan"), `"uid"`); got != offeredMax {
		t.Errorf("%d answers at a time", got)
	}
}

// TestAnswersAreChecked proves which answers are read at all: by their form, and by how far
// the clock of who answers is off.
func TestAnswersAreChecked(t *testing.T) {
	w, _, bob, _ := opened(t)
	longest := base64.StdEncoding.EncodeToString(make([]byte, akeyCharsMax/4*3))
	for _, row := range []struct {
		akey string
		off  time.Duration
		ok   bool
	}{
		{longest, 0, true}, {longest + "AAAA", 0, false}, {"", 0, false}, {"no base64", 0, false}, {akey("x"), clockSlack, true},
		{akey("x"), -clockSlack, true}, {akey("x"), clockSlack + time.Second, false}, {akey("x"), -clockSlack - time.Second, false},
	} {
		before := w.Dump()
		err := w.ways.Accept(t.Context(), bob.UID, joining.Answer{Invite: w.InviteID("s1"), AKey: row.akey, At: w.Clock.Now().Add(row.off)})
		if row.ok != (err == nil) || err != nil && (!errors.Is(err, joining.ErrNoInvite) || len(stage.Changed(before, w.Dump())) > 0) {
			t.Errorf("%q, the clock off by %s: %v", row.akey, row.off, err)
		}
	}
}

// TestLettersAreShort proves that of what an inviter writes no more goes into the mail than
// may, and that further invitations stand when the day's letters are used up.
func TestLettersAreShort(t *testing.T) {
	const perDay = 200
	w, alice, _, team := opened(t)
	for i := range 3 {
		d := alice.Invite(team, stage.Obj{"reader": invitees(w, i, 70)})
		d.Post.EmailInviteMsg = strings.Repeat("x", 2*messageMax)
		w.Must(d.Send())
	}
	if len(w.letters) != perDay {
		t.Errorf("%d letters in a day", len(w.letters))
	}
	if got := strings.Count(w.letters[0], "x"); got != messageMax {
		t.Errorf("%d characters in a letter", got)
	}
	w.Clock.Advance(24 * time.Hour)
	w.Must(alice.Invite(team, stage.Obj{"reader": invitees(w, 3, 1)}).Send())
	if len(w.letters) != perDay+1 {
		t.Errorf("%d letters a day later", len(w.letters))
	}
}

func invitees(w *world, round, n int) (out []stage.Obj) {
	for i := range n {
		who := fmt.Sprintf("m%d-%d@host.org", round, i)
		out = append(out, stage.Obj{"id": w.InviteID(who).String(), "type": "email", "name": who})
	}
	return out
}
