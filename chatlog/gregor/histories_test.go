package gregor

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/store"
)

var (
	steps = flag.Int("steps", 500, "steps of random histories in all")
	seed  = flag.Uint64("seed", 1, "of the random histories")
)

// historySteps is how many steps one history has, which begins with an empty store.
const historySteps = 500

// Whatever is consumed, told as news, dismissed, reminded of, missed by devices that
// are away, and cut off by power failures: every connected device, by what it was told
// alone, and every device that comes back, by what it is told then, has the state that
// a small model has and the server hashes; and every reminder is told once.
func TestHistories(t *testing.T) {
	incremental := 0
	if testing.Short() {
		*steps = min(*steps, 150)
	}
	for n := range max(1, *steps/historySteps) {
		h := newHistory(t, *seed+uint64(n))
		for i := range min(*steps, historySteps) {
			h.step()
			if err := h.check(i%20 == 0); err != nil {
				t.Fatalf("history %d, step %d (%s): %v", *seed+uint64(n), i, h.last, err)
			}
		}
		incremental += h.incremental
		h.close()
	}
	t.Logf("%d steps, %d incremental syncs, each with the hash of the full state", *steps, incremental)
	if incremental < *steps/100 {
		t.Errorf("only %d incremental syncs", incremental)
	}
}

// fact is an item as the model knows it.
type fact struct {
	id, category, body string
	ctime, dtime       gregor1.Time
	only, skip         kbsig.DeviceID
	gone               bool
	reminders          map[gregor1.Time]bool // told already
}

// history is a world: the server, a model of what it must be, and devices.
type history struct {
	t    *testing.T
	rng  *rand.Rand
	clk  *clock.Fake
	fs   *vfs.MemFS
	st   *store.Store
	s    *Service
	run  *jobs.Runner
	box  *events.Outbox
	last string

	made    int
	sent    []gregor1.Message // lately
	facts   []*fact
	ended   map[string]bool // ids of bare dismissals
	newest  gregor1.Time    // stamp
	devices []*away

	incremental int
}

// away is a device that comes and goes.
type away struct {
	replica
	id    kbsig.DeviceID
	ears  *ears
	sub   *Subscription
	since gregor1.Time // of the last item it was told of
	fresh bool
	again map[string]int // how often an item that it had was told again
}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{
		t: t, rng: rand.New(rand.NewPCG(seed, 2)), clk: clock.NewFake(start), fs: vfs.NewCrashableMem(),
		ended: map[string]bool{},
	}
	for i := range 4 {
		d := device(fmt.Sprint("device ", i))
		h.devices = append(h.devices, &away{replica: replica{device: d}, id: d, fresh: true, again: map[string]int{}})
	}
	h.open()
	return h
}

func (h *history) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("%s: %v", h.last, err)
	}
}

func (h *history) open() {
	var err error
	h.st, err = store.Open(store.Options{Dir: "d", FS: h.fs, Rand: &hashes{}, Clock: h.clk.Now, CacheBytes: 1 << 20})
	h.must(err)
	h.s = New(Options{Log: StoreLog(h.st), Clock: h.clk.Now, Rand: &hashes{}})
	h.run = jobs.NewRunner(jobs.Options{Store: h.st, Clock: h.clk.Now, Logger: slog.New(slog.DiscardHandler)})
	h.s.HandleJobs(h.run)
	h.box, err = events.Open(context.Background(), h.st, events.Options{Consumers: []string{Consumer}})
	h.must(err)
}

func (h *history) close() {
	for _, d := range h.devices {
		h.leave(d)
	}
	h.must(h.st.Close())
}

func (h *history) step() {
	h.clk.Advance(time.Duration(h.rng.IntN(1500)) * time.Millisecond)
	switch n := h.rng.IntN(100); {
	case n < 40:
		h.last = "consume"
		h.consume(h.message())
	case n < 45 && len(h.sent) > 0:
		h.last = "send again"
		h.consume(h.sent[h.rng.IntN(len(h.sent))])
	case n < 60:
		h.last = "news"
		h.news()
	case n < 70:
		h.last = "remind"
		h.remind()
	case n < 93:
		h.last = "come or go"
		d := h.devices[h.rng.IntN(len(h.devices))]
		if d.sub != nil {
			h.leave(d)
		} else {
			h.come(d)
		}
	case n < 96:
		h.last = "device begins anew"
		d := h.devices[h.rng.IntN(len(h.devices))]
		h.leave(d)
		d.items, d.since, d.fresh = nil, 0, true
		h.come(d)
	default:
		h.last = "power failure"
		for _, d := range h.devices {
			h.leave(d)
		}
		clone := h.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: h.rng})
		h.must(h.st.Close())
		h.fs = clone
		h.open()
	}
}

// message makes a random message of a client.
func (h *history) message() gregor1.Message {
	h.made++
	m := creation(fmt.Sprint("m", h.made), h.category(), fmt.Sprint("body ", h.made))
	up := m.InBand.StateUpdate
	if h.rng.IntN(3) == 0 {
		up.Creation.DTime.Offset = gregor1.DurationMsec(1 + h.rng.IntN(60_000))
	}
	for range h.rng.IntN(3) {
		up.Creation.RemindTimes = append(up.Creation.RemindTimes, gregor1.TimeOrOffset{Offset: gregor1.DurationMsec(1 + h.rng.IntN(90_000))})
	}
	if h.rng.IntN(5) == 0 {
		d := h.devices[h.rng.IntN(len(h.devices))].id
		up.Metadata.DeviceID = d[:]
	}
	if h.rng.IntN(2) == 0 {
		return m
	}
	up.Dismissal = &gregor1.Dismissal{}
	for range h.rng.IntN(4) {
		if len(h.facts) > 0 {
			up.Dismissal.MsgIDs = append(up.Dismissal.MsgIDs, []byte(h.facts[h.rng.IntN(len(h.facts))].id))
		}
	}
	if h.rng.IntN(3) == 0 {
		g := gregor1.MsgRange{Category: h.category(), SkipMsgIDs: [][]byte{up.Metadata.MsgID}}
		if h.rng.IntN(2) == 0 {
			g.EndTime.Time = milliseconds(h.clk.Now()) - gregor1.Time(h.rng.IntN(30_000))
		}
		up.Dismissal.Ranges = []gregor1.MsgRange{g}
	}
	if h.rng.IntN(3) == 0 {
		up.Creation = nil
	}
	return m
}

func (h *history) category() string { return []string{"a", "ab", "b", "follow"}[h.rng.IntN(4)] }

func (h *history) consume(m gregor1.Message) {
	if h.sent = append(h.sent, m); len(h.sent) > 50 {
		h.sent = h.sent[1:]
	}
	h.must(h.s.Consume(context.Background(), alice, m))
	up := m.InBand.StateUpdate
	f := &fact{id: string(up.Metadata.MsgID)}
	copy(f.only[:], up.Metadata.DeviceID)
	h.model(f, up)
}

// news tells through the outbox, all that waits in one go.
func (h *history) news() {
	var told []events.News
	for range 1 + h.rng.IntN(3) {
		h.made++
		n := events.News{To: alice, Category: h.category(), Replace: h.rng.IntN(3) == 0, Body: fmt.Appendf(nil, "news %d", h.made)}
		if h.rng.IntN(4) == 0 {
			n.Skip = h.devices[h.rng.IntN(len(h.devices))].id
		}
		if h.rng.IntN(4) == 0 {
			n.Lasts = time.Duration(1+h.rng.IntN(60_000)) * time.Millisecond
		}
		if n.Replace && h.rng.IntN(3) == 0 {
			n.Body = nil
		}
		told = append(told, n)
	}
	h.must(h.st.Update(context.Background(), func(tx *store.Tx) error {
		for _, n := range told {
			if err := events.Add(tx, n); err != nil {
				return err
			}
		}
		return nil
	}))
	var entries []events.Entry
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h.must(h.box.Run(ctx, Consumer, func(ctx context.Context, es []events.Entry) error {
		entries = append(entries, es...)
		// Twice, as after a failure between the delivery and its record.
		if err := h.s.DeliverNews(ctx, es); err != nil {
			return err
		}
		if len(entries) == len(told) {
			cancel()
		}
		return h.s.DeliverNews(context.Background(), es)
	}))
	for i, e := range entries {
		n := told[i]
		up := &gregor1.StateUpdateMessage{}
		if n.Body != nil {
			up.Creation = &gregor1.Item{Category: n.Category, Body: n.Body, DTime: gregor1.TimeOrOffset{Offset: gregor1.DurationMsec(n.Lasts.Milliseconds())}}
		}
		if n.Replace {
			up.Dismissal = &gregor1.Dismissal{Ranges: []gregor1.MsgRange{{Category: n.Category, SkipMsgIDs: [][]byte{e.ID[:]}}}}
		}
		h.model(&fact{id: string(e.ID[:]), skip: n.Skip}, up)
	}
}

// model does to the facts what the server must do.
func (h *history) model(f *fact, up *gregor1.StateUpdateMessage) {
	if h.ended[f.id] || slices.ContainsFunc(h.facts, func(g *fact) bool { return g.id == f.id }) {
		return
	}
	now := milliseconds(h.clk.Now())
	f.ctime = max(now, h.newest+1)
	h.newest = f.ctime
	if c := up.Creation; c != nil {
		f.category, f.body, f.reminders = c.Category, string(c.Body), map[gregor1.Time]bool{}
		if c.DTime.Offset != 0 {
			f.dtime = f.ctime + gregor1.Time(c.DTime.Offset)
		}
		for _, r := range c.RemindTimes {
			f.reminders[f.ctime+gregor1.Time(r.Offset)] = false
		}
		h.facts = append(h.facts, f)
	} else {
		h.ended[f.id] = true
	}
	if up.Dismissal == nil {
		return
	}
	for _, g := range h.facts {
		for _, id := range up.Dismissal.MsgIDs {
			g.gone = g.gone || g.id == string(id)
		}
		for _, r := range up.Dismissal.Ranges {
			end := r.EndTime.Time
			if end == 0 {
				end = f.ctime
			}
			if g.category == r.Category && g.ctime <= end && !slices.ContainsFunc(r.SkipMsgIDs, func(id []byte) bool { return string(id) == g.id }) {
				g.gone = true
			}
		}
	}
}

func (f *fact) alive(now gregor1.Time) bool { return !f.gone && (f.dtime == 0 || f.dtime > now) }

func (f *fact) visible(d kbsig.DeviceID) bool {
	return (f.only.IsZero() || f.only == d) && f.skip != d
}

// remind lets the jobs run, and expects each item that is due to be told again once.
func (h *history) remind() {
	for _, d := range h.devices {
		d.listen()
		clear(d.again)
	}
	_, err := h.run.RunDue(context.Background())
	h.must(err)
	now := milliseconds(h.clk.Now())
	for _, d := range h.devices {
		d.listen()
	}
	for _, f := range h.facts {
		due := false
		for at, told := range f.reminders {
			if at <= now && !told && f.alive(now) {
				due, f.reminders[at] = true, true
			}
		}
		for _, d := range h.devices {
			if want := due && d.sub != nil && f.visible(d.id); (d.again[f.id] == 1) != want || d.again[f.id] > 1 {
				h.t.Fatalf("item %s was told %d times again to %s, due: %v", f.id, d.again[f.id], d.id, want)
			}
		}
	}
}

// listen applies what the device was told.
func (d *away) listen() {
	if d.ears == nil {
		return
	}
	for _, m := range d.ears.take() {
		d.hear(m.InBand.StateUpdate)
	}
}

func (d *away) hear(up *gregor1.StateUpdateMessage) {
	if up.Creation != nil {
		if slices.ContainsFunc(d.items, func(i gregor1.ItemAndMetadata) bool {
			return string(i.Metadata.MsgID) == string(up.Metadata.MsgID)
		}) {
			d.again[string(up.Metadata.MsgID)]++
		} else {
			d.since = max(d.since, up.Metadata.CTime)
		}
	}
	d.apply(up)
}

func (h *history) leave(d *away) {
	if d.sub != nil {
		d.listen()
		d.sub.Cancel()
		d.sub, d.ears = nil, nil
	}
}

// come connects a device, which then has the state it is told, and checks the hash.
func (h *history) come(d *away) {
	d.ears = &ears{}
	w, sub, err := h.s.SubscribeSince(context.Background(), alice, d.id, d.since, d.ears)
	h.must(err)
	d.sub = sub
	if w.State != nil {
		if !d.fresh && d.since != 0 {
			h.t.Fatal("a device that was away briefly is told the whole state")
		}
		d.items = slices.Clone(w.State.Items)
		for _, i := range d.items {
			d.since = max(d.since, i.Metadata.CTime)
		}
	} else {
		h.incremental++
		for _, m := range w.Sync.Msgs {
			d.hear(m.StateUpdate)
		}
		if hashed(h.t, d.state(milliseconds(h.clk.Now()))) != string(w.Sync.Hash) {
			h.t.Fatalf("%s came back since %d and has another state than the server", d.id, d.since)
		}
	}
	d.fresh = false
}

// check compares the model with the server's full state for each device, or for one of
// them, and with what the device has if it is connected.
func (h *history) check(all bool) error {
	now := milliseconds(h.clk.Now())
	devices := h.devices
	if !all {
		i := h.rng.IntN(len(devices))
		devices = devices[i : i+1]
	}
	for _, d := range devices {
		want := gregor1.State{Items: []gregor1.ItemAndMetadata{}}
		for _, f := range h.facts {
			if !f.alive(now) || !f.visible(d.id) {
				continue
			}
			md := gregor1.Metadata{UID: alice[:], MsgID: []byte(f.id), CTime: f.ctime, InBandMsgType: gregor1.InBandUpdate}
			if !f.only.IsZero() {
				md.DeviceID = f.only[:]
			}
			want.Items = append(want.Items, gregor1.ItemAndMetadata{Metadata: &md, Item: &gregor1.Item{
				Category: f.category, Body: []byte(f.body), DTime: gregor1.TimeOrOffset{Time: f.dtime},
			}})
		}
		got, err := h.s.State(context.Background(), alice, d.id, gregor1.TimeOrOffset{}, "")
		if err != nil {
			return err
		}
		if !sameItems(got.Items, want.Items) {
			return fmt.Errorf("%s: the server has %d items, the model %d", d.id, len(got.Items), len(want.Items))
		}
		if d.listen(); d.sub == nil {
			continue
		}
		if !sameItems(d.state(now).Items, want.Items) {
			return fmt.Errorf("%s has %d items, the model %d", d.id, len(d.state(now).Items), len(want.Items))
		}
	}
	checkBook(h.t, StoreLog(h.st), alice)
	if len(h.facts) > 300 {
		h.facts = slices.DeleteFunc(h.facts, func(f *fact) bool { return !f.alive(now) && h.newest-f.ctime > 200_000 })
	}
	return nil
}

func sameItems(a, b []gregor1.ItemAndMetadata) bool {
	return slices.EqualFunc(a, b, func(a, b gregor1.ItemAndMetadata) bool {
		return string(a.Metadata.MsgID) == string(b.Metadata.MsgID) && a.Metadata.CTime == b.Metadata.CTime &&
			string(a.Metadata.DeviceID) == string(b.Metadata.DeviceID) && a.Item.Category == b.Item.Category &&
			string(a.Item.Body) == string(b.Item.Body) && a.Item.DTime == b.Item.DTime
	})
}
