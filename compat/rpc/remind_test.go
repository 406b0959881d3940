package rpc

import (
	"fmt"
	"testing"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

// At the door a user's devices are told an item again when its reminder is due, see the
// reminder until one of them deletes it, and have nothing to do with those of others.
func TestReminders(t *testing.T) {
	d := openDoor(t, Limits{})
	one, two, other := d.login(t, "alice"), d.login(t, "alice/2"), d.login(t, "bob")
	id := []byte("milk")
	m := gregor1.Message{InBand: &gregor1.InBandMessage{StateUpdate: &gregor1.StateUpdateMessage{
		Metadata: gregor1.Metadata{MsgID: id, InBandMsgType: gregor1.InBandUpdate},
		Creation: &gregor1.Item{Category: "todo", Body: []byte("buy milk"), RemindTimes: []gregor1.TimeOrOffset{{Time: 1}, {Time: 2}, {Offset: 3_600_000}}},
	}}}
	if st := one.call(0, "gregor.1.incoming.consumeMessage", gregor1.ConsumeMessageArg{Message: m}, nil); st != nil {
		t.Fatalf("%+v", st)
	}
	due := func(c *testClient, max int) string {
		var set gregor1.ReminderSet
		if st := c.call(0, "gregor.1.remind.getReminders", gregor1.GetRemindersArg{MaxReminders: max}, &set); st != nil {
			t.Fatalf("%+v", st)
		}
		s := ""
		for _, r := range set.Reminders {
			s += fmt.Sprintf("%s %d at %d, ", r.Item.Item.Body, r.Seqno, r.RemindTime)
		}
		return fmt.Sprint(s, set.MoreRemindersReady)
	}
	const both = "buy milk 0 at 1, buy milk 1 at 2, false"
	for c, want := range map[*testClient]string{one: both, two: both, other: "false"} {
		if got := due(c, 10); got != want {
			t.Errorf("due are %q, not %q", got, want)
		}
	}
	if got := due(one, 1); got != "buy milk 0 at 1, true" {
		t.Errorf("of one at most: %q", got)
	}
	if st := one.call(0, "gregor.1.remind.getReminders", gregor1.GetRemindersArg{MaxReminders: -1}, nil); st == nil || st.Code != status.InputError {
		t.Errorf("fewer than none: %+v", st)
	}

	alice := kbsig.UIDOf("alice")
	if err := d.gregor.Remind(t.Context(), alice, id); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*testClient{one, two} {
		for _, when := range []string{"created", "reminded"} {
			if up := c.broadcast().InBand.StateUpdate; string(up.Metadata.MsgID) != "milk" || up.Creation == nil || string(up.Creation.Body) != "buy milk" {
				t.Errorf("when %s: %+v", when, up)
			}
		}
	}

	drop := gregor1.DeleteRemindersArg{ReminderIDs: []gregor1.ReminderID{{UID: alice[:], MsgID: id, Seqno: 0}}}
	if st := other.call(0, "gregor.1.remind.deleteReminders", drop, nil); st == nil || st.Code != status.InputError {
		t.Errorf("another's reminder: %+v", st)
	}
	if got := due(two, 10); got != both {
		t.Errorf("after another tried: %q", got)
	}
	if st := two.call(0, "gregor.1.remind.deleteReminders", drop, nil); st != nil {
		t.Fatalf("%+v", st)
	}
	if got := due(one, 10); got != "buy milk 1 at 2, false" {
		t.Errorf("after one was deleted: %q", got)
	}
	if len(other.pushed) != 0 {
		t.Error("another user was told")
	}
}

// A connection that authenticates by its session token hears what comes from then on,
// as one does that syncs.
func TestSessionTokenSubscribes(t *testing.T) {
	d := openDoor(t, Limits{})
	c, sender := d.dial(t), d.login(t, "alice/2")
	var auth gregor1.AuthResult
	if st := c.call(0, "gregor.1.auth.authenticateSessionToken", gregor1.AuthenticateSessionTokenArg{Session: "alice"}, &auth); st != nil {
		t.Fatalf("%+v", st)
	}
	if auth.Username != "alice" || auth.SID != "sid-alice" || len(auth.UID) != len(kbsig.UID{}) {
		t.Errorf("%+v", auth)
	}
	m := gregor1.Message{OutOfBand: &gregor1.OutOfBandMessage{System: "bench", Body: []byte("hello")}}
	if st := sender.call(0, "gregor.1.incoming.consumeMessage", gregor1.ConsumeMessageArg{Message: m}, nil); st != nil {
		t.Fatalf("%+v", st)
	}
	if o := c.broadcast().OutOfBand; o == nil || string(o.Body) != "hello" {
		t.Errorf("heard %+v", o)
	}
	for token, code := range map[string]int{"": status.BadSession, "nobody": status.BadSession} {
		if st := d.dial(t).call(0, "gregor.1.auth.authenticateSessionToken", gregor1.AuthenticateSessionTokenArg{Session: token}, nil); st == nil || st.Code != code {
			t.Errorf("token %q: %+v", token, st)
		}
	}
}
