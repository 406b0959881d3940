package gregor

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

// replica is a client's state machine, as short as it can be said: it applies what
// it is told and never asks.
type replica struct {
	device kbsig.DeviceID
	items  []gregor1.ItemAndMetadata
}

func (r *replica) apply(up *gregor1.StateUpdateMessage) {
	if up.Creation != nil && !slices.ContainsFunc(r.items, func(i gregor1.ItemAndMetadata) bool {
		return bytes.Equal(i.Metadata.MsgID, up.Metadata.MsgID)
	}) {
		md, it := up.Metadata, *up.Creation
		it.RemindTimes = nil // no part of a state
		r.items = append(r.items, gregor1.ItemAndMetadata{Metadata: &md, Item: &it})
	}
	if up.Dismissal == nil {
		return
	}
	r.items = slices.DeleteFunc(r.items, func(i gregor1.ItemAndMetadata) bool {
		for _, id := range up.Dismissal.MsgIDs {
			if bytes.Equal(id, i.Metadata.MsgID) {
				return true
			}
		}
		for _, g := range up.Dismissal.Ranges {
			skipped := slices.ContainsFunc(g.SkipMsgIDs, func(id []byte) bool { return bytes.Equal(id, i.Metadata.MsgID) })
			if g.Category == i.Item.Category && i.Metadata.CTime <= g.EndTime.Time && !skipped {
				return true
			}
		}
		return false
	})
}

func (r *replica) state(now gregor1.Time) gregor1.State {
	st := gregor1.State{Items: []gregor1.ItemAndMetadata{}}
	for _, i := range r.items {
		forMe := i.Metadata.DeviceID == nil || bytes.Equal(i.Metadata.DeviceID, r.device[:])
		if forMe && (i.Item.DTime.Time == 0 || i.Item.DTime.Time > now) {
			st.Items = append(st.Items, i)
		}
	}
	return st
}

func hashed(t rapid.TB, st gregor1.State) string {
	h, err := hashState(st)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// Whatever is consumed, by a clock that also goes back: a device that applies the
// broadcasts, and one that was away and applies what happened since, both end with
// the state that the server hashes; and stamps strictly increase.
func TestReplicasAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		log := &testLog{}
		s, clk := newService(log)
		here := &replica{device: device("phone")}
		away := &replica{device: device("desk")}
		e := &ears{}
		_, sub, err := s.Subscribe(ctx, alice, here.device, e)
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Cancel()
		var last, awaySince gregor1.Time
		for range rapid.IntRange(1, 40).Draw(t, "messages") {
			clk.Advance(time.Duration(rapid.IntRange(-2000, 4000).Draw(t, "advance")) * time.Millisecond)
			if err := s.Consume(ctx, alice, drawMessage(t)); err != nil {
				t.Fatal(err)
			}
			for _, m := range e.take() {
				up := m.InBand.StateUpdate
				if up.Metadata.CTime <= last {
					t.Fatalf("stamp %d after %d", up.Metadata.CTime, last)
				}
				last = up.Metadata.CTime
				here.apply(up)
			}
			checkBook(t, log, alice)
			if rapid.IntRange(0, 9).Draw(t, "sync") == 0 {
				res, err := s.Since(ctx, alice, away.device, awaySince)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range res.Msgs {
					away.apply(m.StateUpdate)
					awaySince = max(awaySince, m.StateUpdate.Metadata.CTime)
				}
				if hashed(t, away.state(milliseconds(clk.Now()))) != string(res.Hash) {
					t.Fatalf("a device that was away has %d items after sync", len(away.items))
				}
			}
		}
		st, err := s.State(ctx, alice, here.device, gregor1.TimeOrOffset{}, "")
		if err != nil {
			t.Fatal(err)
		}
		if now := milliseconds(clk.Now()); hashed(t, here.state(now)) != hashed(t, st) {
			t.Fatalf("replica has %d items, the server %d", len(here.state(now).Items), len(st.Items))
		}
	})
}

func drawMessage(t *rapid.T) gregor1.Message {
	id := rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "6", "7", "8", "9"})
	cat := rapid.SampledFrom([]string{"a", "ab", "b"})
	// Ids repeat now and then, as those of clients that send twice do.
	m := creation(fmt.Sprint(id.Draw(t, "id"), rapid.IntRange(0, 5).Draw(t, "nth")), cat.Draw(t, "category"), "x")
	up := m.InBand.StateUpdate
	if rapid.Bool().Draw(t, "expires") {
		up.Creation.DTime.Offset = gregor1.DurationMsec(rapid.IntRange(1, 9000).Draw(t, "dtime"))
	}
	if rapid.IntRange(0, 3).Draw(t, "targeted") == 0 {
		d := device(rapid.SampledFrom([]string{"phone", "desk"}).Draw(t, "device"))
		up.Metadata.DeviceID = d[:]
	}
	if rapid.Bool().Draw(t, "dismisses") {
		up.Dismissal = &gregor1.Dismissal{}
		for range rapid.IntRange(0, 2).Draw(t, "ids") {
			up.Dismissal.MsgIDs = append(up.Dismissal.MsgIDs, []byte(fmt.Sprint(id.Draw(t, "gone"), rapid.IntRange(0, 5).Draw(t, "nth"))))
		}
		if rapid.Bool().Draw(t, "ranged") {
			up.Dismissal.Ranges = []gregor1.MsgRange{{Category: cat.Draw(t, "range"), SkipMsgIDs: [][]byte{up.Metadata.MsgID},
				EndTime: gregor1.TimeOrOffset{Offset: gregor1.DurationMsec(rapid.IntRange(-3000, 0).Draw(t, "end"))}}}
		}
		if rapid.Bool().Draw(t, "bare") {
			up.Creation = nil
		}
	}
	return m
}

// A subscription and its state are one moment: with writers at work, state and
// broadcasts together hold every message exactly once, the latter in order.
func TestSubscribeIsOneMoment(t *testing.T) {
	s, _ := newService(&testLog{})
	const writers, each = 4, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := s.Consume(t.Context(), alice, creation(fmt.Sprintf("%d/%d", w, i), "a", "x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var sinks [8]ears
	var states [8]gregor1.State
	for i := range sinks {
		wg.Go(func() {
			st, sub, err := s.Subscribe(t.Context(), alice, device("x"), &sinks[i])
			if err != nil {
				t.Error(err)
			}
			states[i] = st
			t.Cleanup(sub.Cancel)
		})
	}
	wg.Wait()
	for i := range sinks {
		seen := make(map[string]bool)
		var last gregor1.Time
		note := func(md *gregor1.Metadata) {
			if seen[string(md.MsgID)] || md.CTime <= last {
				t.Errorf("subscription %d: %s twice or out of order", i, md.MsgID)
			}
			seen[string(md.MsgID)], last = true, md.CTime
		}
		for _, it := range states[i].Items {
			note(it.Metadata)
		}
		for _, m := range sinks[i].take() {
			note(&m.InBand.StateUpdate.Metadata)
		}
		if len(seen) != writers*each {
			t.Errorf("subscription %d knows %d messages, not %d", i, len(seen), writers*each)
		}
	}
}

// A user's live items stay within their limits: what ends by itself goes first,
// then the oldest, and devices are told.
func TestOverfullStates(t *testing.T) {
	s, _ := newService(&testLog{})
	r := &replica{}
	e := &ears{}
	_, sub, err := s.Subscribe(t.Context(), alice, kbsig.DeviceID{}, e)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Cancel()
	body := bytes.Repeat([]byte{'x'}, bodyBytesMax)
	for i := range 40 {
		in := Injection{UID: alice, Category: "a", Body: body, MsgID: fmt.Appendf(nil, "%02d", i)}
		if i == 20 {
			in.DTime.Offset = 1_000_000
		}
		if _, err := s.Inject(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		for _, m := range e.take() {
			r.apply(m.InBand.StateUpdate)
		}
	}
	st, err := s.State(t.Context(), alice, kbsig.DeviceID{}, gregor1.TimeOrOffset{}, "")
	if err != nil {
		t.Fatal(err)
	}
	const fit = itemBytesMax / (bodyBytesMax + 1)
	// Item 20 and the oldest had to go.
	if len(st.Items) != fit || string(st.Items[0].Metadata.MsgID) != fmt.Sprintf("%02d", 40-fit-1) ||
		slices.ContainsFunc(st.Items, func(i gregor1.ItemAndMetadata) bool { return string(i.Metadata.MsgID) == "20" }) {
		t.Errorf("%d items from %s on", len(st.Items), st.Items[0].Metadata.MsgID)
	}
	if hashed(t, r.state(0)) != hashed(t, st) {
		t.Error("the devices were not told what had to go")
	}
}

// A user's connections are bounded: the oldest makes room and hears of it; rooms
// without anybody in them are gone.
func TestSubscriptionsMax(t *testing.T) {
	s, _ := newService(&testLog{})
	var sinks [subscriptionsMax + 1]ears
	var subs []*Subscription
	for i := range sinks {
		_, sub, err := s.Subscribe(t.Context(), alice, device(fmt.Sprint(i)), &sinks[i])
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, sub)
	}
	if sinks[0].dropped == "" || sinks[1].dropped != "" || len(s.Connected(alice)) != subscriptionsMax {
		t.Errorf("dropped %q and %q, %d connected", sinks[0].dropped, sinks[1].dropped, len(s.Connected(alice)))
	}
	for _, sub := range subs {
		sub.Cancel()
		sub.Cancel()
	}
	if len(s.rooms.byUID) != 0 {
		t.Error("an empty room was kept")
	}
}

// Whoever waits for a user's turn can give up.
func TestEnterGivesUp(t *testing.T) {
	s, _ := newService(&testLog{})
	r, err := s.rooms.enter(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Consume(ctx, alice, creation("1", "a", "x")); err == nil {
		t.Error("consumed out of turn")
	}
	s.rooms.leave(alice, r)
	if err := s.Consume(t.Context(), alice, creation("1", "a", "x")); err != nil {
		t.Error(err)
	}
}
