package gregor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/engine/clock"
)

// An item with reminders is told again at its times while it is alive; a reminder is
// due until it is deleted or its item ends, and whoever wakes devices hears of it once.
func TestReminders(t *testing.T) {
	log := &testLog{}
	s, clk := newService(log)
	var notified []string
	s.opts.Notify = func(_ context.Context, u kbsig.UID, it gregor1.ItemAndMetadata) {
		if u != alice {
			t.Errorf("told %s", u)
		}
		notified = append(notified, string(it.Item.Body))
	}
	var e ears
	_, sub, err := s.Subscribe(t.Context(), alice, device("desk"), &e)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Cancel()
	m := creation("1", "todo", "milk")
	m.InBand.StateUpdate.Creation.RemindTimes = []gregor1.TimeOrOffset{{Offset: 9000}, {Offset: 1000}, {}}
	if err := s.Consume(t.Context(), alice, m); err != nil {
		t.Fatal(err)
	}
	if got := e.take(); len(got) != 1 || len(got[0].InBand.StateUpdate.Creation.RemindTimes) != 2 {
		t.Fatalf("heard %+v", got)
	}
	if len(log.wakes) != 1 || log.wakes[0].At != milliseconds(start)+1000 {
		t.Fatalf("to be woken %+v", log.wakes)
	}
	due := func() (out []string) {
		set, err := s.DueReminders(t.Context(), alice, device("desk"), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range set.Reminders {
			out = append(out, fmt.Sprintf("%s/%d@%d", r.Item.Item.Body, r.Seqno, r.RemindTime-milliseconds(start)))
		}
		return out
	}
	remind := func() {
		if err := s.Remind(t.Context(), alice, []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	remind() // too early
	if got := e.take(); len(got) != 0 || len(due()) != 0 {
		t.Errorf("heard %v, due %v", got, due())
	}
	clk.Advance(time.Second)
	remind()
	remind() // twice is once
	if got := e.take(); len(got) != 1 || string(got[0].InBand.StateUpdate.Creation.Body) != "milk" || fmt.Sprint(due()) != "[milk/0@1000]" {
		t.Errorf("heard %v, due %v", got, due())
	}
	if w := log.wakes[len(log.wakes)-1]; w.At != milliseconds(start)+9000 {
		t.Errorf("next woken at %d", w.At)
	}
	clk.Advance(8 * time.Second)
	if got := fmt.Sprint(due()); got != "[milk/0@1000 milk/1@9000]" {
		t.Errorf("due %s", got)
	}
	ids := []gregor1.ReminderID{{MsgID: []byte("1"), Seqno: 1}, {MsgID: []byte("1"), Seqno: 7}, {MsgID: []byte("9")}}
	if err := s.DeleteReminders(t.Context(), alice, ids); err != nil {
		t.Fatal(err)
	}
	remind() // what was deleted is not told
	if got := e.take(); len(got) != 0 || fmt.Sprint(due()) != "[milk/0@1000]" {
		t.Errorf("heard %v, due %v", got, due())
	}
	if err := s.Dismiss(t.Context(), alice, [][]byte{[]byte("1")}); err != nil {
		t.Fatal(err)
	}
	remind()
	if got := due(); len(got) != 0 || fmt.Sprint(notified) != "[milk]" {
		t.Errorf("due %v, notified %v", got, notified)
	}
	if err := s.Remind(t.Context(), bob, []byte("1")); err != nil {
		t.Errorf("nobody's reminder: %v", err)
	}
}

// A client that was connected before is told what happened since, and then has the
// state that the server hashes; one that was away for longer than is remembered, or
// whose clock is no clock, is told the state.
func TestWelcome(t *testing.T) {
	s, clk := newService(&testLog{})
	consume := func(m gregor1.Message) {
		t.Helper()
		if err := s.Consume(t.Context(), alice, m); err != nil {
			t.Fatal(err)
		}
		clk.Advance(time.Second)
	}
	consume(creation("1", "a", "one"))
	consume(creation("2", "b", "two"))
	here := &replica{device: device("desk")}
	welcome := func(since gregor1.Time) Welcome {
		t.Helper()
		w, sub, err := s.SubscribeSince(t.Context(), alice, here.device, since, &ears{})
		if err != nil {
			t.Fatal(err)
		}
		sub.Cancel()
		return w
	}
	w := welcome(0)
	if w.Sync != nil || len(w.State.Items) != 2 {
		t.Fatalf("a new client is told %+v", w)
	}
	here.items = w.State.Items
	consume(creation("3", "b", "three"))
	if err := s.Dismiss(t.Context(), alice, [][]byte{[]byte("1")}); err != nil {
		t.Fatal(err)
	}
	w = welcome(here.items[1].Metadata.CTime)
	if w.Sync == nil || len(w.Sync.Msgs) != 3 {
		t.Fatalf("told %+v", w)
	}
	for _, m := range w.Sync.Msgs {
		here.apply(m.StateUpdate)
	}
	if len(here.items) != 2 || hashed(t, here.state(milliseconds(clk.Now()))) != string(w.Sync.Hash) {
		t.Errorf("has %+v", here.items)
	}
	old := here.items[1].Metadata.CTime
	clk.Advance(deadKeptFor)
	for name, since := range map[string]gregor1.Time{"long away": old, "from the future": milliseconds(clk.Now()) + 1e10} {
		if w := welcome(since); w.State == nil {
			t.Errorf("%s: told %+v", name, w.Sync)
		}
	}
}

// What is out of band goes to all of the user's devices and nobody else's, and is kept
// by nobody; what clients make up for themselves is refused.
func TestOutOfBandByClients(t *testing.T) {
	s, _ := newService(&testLog{})
	var mine, others ears
	for u, e := range map[kbsig.UID]*ears{alice: &mine, bob: &others} {
		_, sub, err := s.Subscribe(t.Context(), u, device("desk"), e)
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Cancel()
	}
	oob := func(system string) gregor1.Message {
		return gregor1.Message{OutOfBand: &gregor1.OutOfBandMessage{UID: bob[:], System: system}}
	}
	if err := s.Consume(t.Context(), alice, oob("x")); err != nil {
		t.Fatal(err)
	}
	got := mine.take()
	if len(got) != 1 || got[0].OutOfBand.Body == nil || string(got[0].OutOfBand.UID) != string(alice[:]) || len(others.take()) != 0 {
		t.Errorf("heard %+v", got)
	}
	for _, system := range []string{"", "internal.reconnect"} {
		if err := s.Consume(t.Context(), alice, oob(system)); err == nil {
			t.Errorf("took %q", system)
		}
	}
}

// What happens to messages is counted by its outcome.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	log := &testLog{}
	s := New(Options{Log: log, Clock: clock.NewFake(start).Now, Rand: &hashes{}, Metrics: reg})
	_, sub, err := s.Subscribe(t.Context(), alice, device("desk"), &ears{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Cancel()
	_ = s.Consume(t.Context(), alice, creation("1", "a", "x"))
	_ = s.Consume(t.Context(), alice, creation("1", "a", "x"))
	_ = s.Consume(t.Context(), alice, creation("", "a", "x"))
	_ = s.Push(t.Context(), alice, "sys", []byte{1})
	log.fail = errors.New("disk")
	_ = s.Consume(t.Context(), alice, creation("2", "a", "x"))
	want := `
# HELP keystead_gregor_messages_total Messages by outcome: kept, repeated (their id was seen before), refused (for their shape), failed (not kept; whoever sent one tries again), out of band (told and not kept).
# TYPE keystead_gregor_messages_total counter
keystead_gregor_messages_total{outcome="failed"} 1
keystead_gregor_messages_total{outcome="kept"} 1
keystead_gregor_messages_total{outcome="out of band"} 1
keystead_gregor_messages_total{outcome="refused"} 1
keystead_gregor_messages_total{outcome="repeated"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), metricMessages); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(reg, metricUsers, metricWelcomes); err != nil || n != 2 {
		t.Errorf("%d other metrics, %v", n, err)
	}
}
