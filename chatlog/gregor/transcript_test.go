package gregor

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/engine/clock"
)

// The transcripts say what messages, dismissals, expiry and devices do to a state
// and what is told to whom. Times are milliseconds since the start.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		p := newPlay()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return p.step(t, d) })
	})
}

// play is one transcript's world.
type play struct {
	s     *Service
	clock *clock.Fake
	log   *testLog
	ears  map[string]*ears
	order []string
}

func newPlay() *play {
	l := &testLog{}
	s, c := newService(l)
	return &play{s: s, clock: c, log: l, ears: make(map[string]*ears)}
}

func device(name string) (d kbsig.DeviceID) {
	if name != "" {
		copy(d[:], name)
		d[15] = 0x18
	}
	return d
}

func arg(d *datadriven.TestData, key string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) > 0 {
			return strings.Join(a.Vals, ",")
		}
	}
	return ""
}

// momentOf reads "+5s" as an offset and "1200" as milliseconds since the start.
func momentOf(t *testing.T, s string) (too gregor1.TimeOrOffset) {
	switch {
	case s == "":
	case s[0] == '+' || s[0] == '-':
		v, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		too.Offset = gregor1.DurationMsec(v.Milliseconds())
	default:
		v, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		too.Time = milliseconds(start) + gregor1.Time(v)
	}
	return too
}

func (p *play) step(t *testing.T, d *datadriven.TestData) string {
	var out bytes.Buffer
	switch d.Cmd {
	case "listen":
		name := arg(d, "device")
		p.ears[name] = &ears{}
		p.order = append(p.order, name)
		st, _, err := p.s.Subscribe(t.Context(), alice, device(name), p.ears[name])
		if err != nil {
			t.Fatal(err)
		}
		writeState(&out, st)
	case "advance":
		v, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		p.clock.Advance(v)
	case "consume":
		if err := p.s.Consume(t.Context(), alice, p.message(t, d)); errors.Is(err, ErrRefused) {
			fmt.Fprintln(&out, "refused:", err)
		} else if err != nil {
			t.Fatal(err)
		}
	case "inject":
		_, err := p.s.Inject(t.Context(), Injection{
			UID: alice, Category: arg(d, "category"), Body: []byte(arg(d, "body")), DTime: momentOf(t, arg(d, "dtime")),
			MsgID: []byte(arg(d, "id")), Device: device(arg(d, "device")), Replace: d.HasArg("replace"),
		})
		if err != nil {
			t.Fatal(err)
		}
	case "state":
		st, err := p.s.State(t.Context(), alice, device(arg(d, "device")), momentOf(t, arg(d, "at")), arg(d, "prefix"))
		if err != nil {
			t.Fatal(err)
		}
		writeState(&out, st)
	case "since":
		res, err := p.s.Since(t.Context(), alice, device(arg(d, "device")), momentOf(t, d.CmdArgs[0].Key).Time)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range res.Msgs {
			writeUpdate(&out, m.StateUpdate)
		}
	case "records":
		for _, r := range ordered(p.log.records(t, alice)) {
			fmt.Fprintf(&out, "%s @%d item=%v dismissed=%v\n", r.MsgID, r.CTime-milliseconds(start), r.HasItem, r.Dismissed != 0)
		}
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	checkBook(t, p.log, alice)
	for _, name := range p.order {
		for _, m := range p.ears[name].take() {
			fmt.Fprintf(&out, "%s hears ", name)
			writeUpdate(&out, m.InBand.StateUpdate)
		}
	}
	return out.String()
}

// message makes the message that a consume line describes.
func (p *play) message(t *testing.T, d *datadriven.TestData) gregor1.Message {
	m := creation(arg(d, "id"), arg(d, "category"), arg(d, "body"))
	up := m.InBand.StateUpdate
	up.Creation.DTime = momentOf(t, arg(d, "dtime"))
	if dev := device(arg(d, "device")); !dev.IsZero() {
		up.Metadata.DeviceID = dev[:]
	}
	if !d.HasArg("category") {
		up.Creation = nil
	}
	if d.HasArg("dismiss") || d.HasArg("range") {
		up.Dismissal = &gregor1.Dismissal{}
	}
	if s := arg(d, "dismiss"); s != "" {
		for _, id := range strings.Split(s, ",") {
			up.Dismissal.MsgIDs = append(up.Dismissal.MsgIDs, []byte(id))
		}
	}
	if s := arg(d, "range"); s != "" {
		g := gregor1.MsgRange{Category: s, EndTime: momentOf(t, arg(d, "end"))}
		if skip := arg(d, "skip"); skip != "" {
			g.SkipMsgIDs = [][]byte{[]byte(skip)}
		}
		up.Dismissal.Ranges = append(up.Dismissal.Ranges, g)
	}
	return m
}

func writeState(out *bytes.Buffer, st gregor1.State) {
	for _, it := range st.Items {
		fmt.Fprintf(out, "%s @%d %s %q%s\n", it.Metadata.MsgID, it.Metadata.CTime-milliseconds(start), it.Item.Category, it.Item.Body, ending(it.Item.DTime))
	}
}

func ending(too gregor1.TimeOrOffset) string {
	if too.Time == 0 {
		return ""
	}
	return fmt.Sprintf(" until %d", too.Time-milliseconds(start))
}

func writeUpdate(out *bytes.Buffer, up *gregor1.StateUpdateMessage) {
	fmt.Fprintf(out, "%s @%d", up.Metadata.MsgID, up.Metadata.CTime-milliseconds(start))
	if c := up.Creation; c != nil {
		fmt.Fprintf(out, " creates %s %q%s", c.Category, c.Body, ending(c.DTime))
	}
	if d := up.Dismissal; d != nil {
		for _, id := range d.MsgIDs {
			fmt.Fprintf(out, " dismisses %s", id)
		}
		for _, r := range d.Ranges {
			fmt.Fprintf(out, " dismisses all %s up to %d", r.Category, r.EndTime.Time-milliseconds(start))
			for _, id := range r.SkipMsgIDs {
				fmt.Fprintf(out, " but %s", id)
			}
		}
	}
	fmt.Fprintln(out)
}
