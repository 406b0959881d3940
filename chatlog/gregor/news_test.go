package gregor

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/engine/events"
)

func entry(n int64, news events.News) events.Entry {
	return events.Entry{News: news, Number: n, ID: [16]byte{byte(n)}}
}

func bodies(t *testing.T, s *Service, u kbsig.UID, d kbsig.DeviceID) (out []string) {
	t.Helper()
	st, err := s.State(t.Context(), u, d, gregor1.TimeOrOffset{}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range st.Items {
		out = append(out, i.Item.Category+":"+string(i.Item.Body))
	}
	return out
}

// News becomes items in order, also when it is delivered again; it replaces, dismisses
// and ends as it says, and is not for the device that it skips.
func TestNewsBecomesItems(t *testing.T) {
	s, clk := newService(&testLog{})
	desk, phone := device("desk"), device("phone")
	var atDesk, atPhone ears
	for d, e := range map[kbsig.DeviceID]*ears{desk: &atDesk, phone: &atPhone} {
		_, sub, err := s.Subscribe(t.Context(), alice, d, e)
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Cancel()
	}
	batch := []events.Entry{
		entry(1, events.News{To: alice, Category: "follow", Body: []byte("1")}),
		entry(2, events.News{To: bob, Category: "follow", Body: []byte("2")}),
		entry(3, events.News{To: alice, Category: "device.new", Body: []byte("3"), Skip: phone}),
		entry(4, events.News{To: alice, Category: "home.state", Body: []byte("4"), Replace: true}),
		entry(5, events.News{To: alice, Category: "home.state", Body: []byte("5"), Replace: true}),
		entry(6, events.News{To: alice, Category: "user.key_change", Body: []byte("6")}),
		entry(7, events.News{To: alice, Category: "brief", Body: []byte("7"), Lasts: time.Second}),
		entry(8, events.News{To: alice, Category: "", Body: []byte("8")}), // cannot be delivered
		entry(9, events.News{To: alice, Category: "sys", Body: []byte("9"), OutOfBand: true, Skip: desk}),
		entry(10, events.News{To: alice, Category: "follow", Replace: true}),
	}
	for range 2 {
		if err := s.DeliverNews(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(bodies(t, s, alice, desk)); got != "[device.new:3 home.state:5 user.key_change:6 brief:7]" {
		t.Errorf("at the desk %s", got)
	}
	if got := fmt.Sprint(bodies(t, s, alice, phone)); got != "[home.state:5 user.key_change:6 brief:7]" {
		t.Errorf("at the phone %s", got)
	}
	if got := fmt.Sprint(bodies(t, s, bob, desk)); got != "[follow:2]" {
		t.Errorf("bob has %s", got)
	}
	heard := func(e *ears) (out []string) {
		for _, m := range e.take() {
			switch {
			case m.OutOfBand != nil:
				out = append(out, m.OutOfBand.System)
			case m.InBand.StateUpdate.Creation != nil:
				out = append(out, string(m.InBand.StateUpdate.Creation.Body))
			default:
				out = append(out, "-"+m.InBand.StateUpdate.Dismissal.Ranges[0].Category)
			}
		}
		return out
	}
	// What is out of band is told each time it is delivered.
	if got := fmt.Sprint(heard(&atDesk)); got != "[1 3 4 5 6 7 -follow]" {
		t.Errorf("the desk heard %s", got)
	}
	if got := fmt.Sprint(heard(&atPhone)); got != "[1 4 5 6 7 sys -follow sys]" {
		t.Errorf("the phone heard %s", got)
	}
	clk.Advance(2 * time.Second)
	if got := fmt.Sprint(bodies(t, s, alice, desk)); got != "[device.new:3 home.state:5 user.key_change:6]" {
		t.Errorf("a moment later %s", got)
	}
	clk.Advance(hintLasts)
	if got := fmt.Sprint(bodies(t, s, alice, desk)); got != "[device.new:3 home.state:5]" {
		t.Errorf("a week later %s", got)
	}
}

// When news cannot be kept, the outbox is told, and the rest comes when it asks again.
func TestNewsThatFails(t *testing.T) {
	log := &testLog{fail: errors.New("no disk")}
	s, _ := newService(log)
	batch := []events.Entry{
		entry(1, events.News{To: alice, Category: "a", Body: []byte("1")}),
		entry(2, events.News{To: alice, Category: "a", Body: []byte("2")}),
	}
	if err := s.DeliverNews(t.Context(), batch); err == nil {
		t.Error("nobody was told")
	}
	if got := bodies(t, s, alice, kbsig.DeviceID{}); got != nil {
		t.Errorf("out of order: %s", got)
	}
	if err := s.DeliverNews(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(bodies(t, s, alice, kbsig.DeviceID{})); got != "[a:1 a:2]" {
		t.Errorf("got %s", got)
	}
}

// News ends the items that it names by their ids, with an item of its own or without, and
// others of the same category stay.
func TestNewsEndsItemsByID(t *testing.T) {
	s, _ := newService(&testLog{})
	item := func(id string) events.Entry {
		e := entry(int64(len(id)), events.News{To: alice, Category: "a", Body: []byte(id), ID: events.IDOf("a", id)})
		e.ID = e.News.ID
		return e
	}
	batch := []events.Entry{
		item("x"), item("xy"), item("xyz"),
		entry(4, events.News{To: alice, Category: "a", Ends: []events.ID{events.IDOf("a", "xy")}}),
		entry(5, events.News{To: alice, Category: "b", Body: []byte("5"), Ends: []events.ID{events.IDOf("a", "x"), events.IDOf("never")}}),
	}
	for range 2 {
		if err := s.DeliverNews(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(bodies(t, s, alice, kbsig.DeviceID{})); got != "[a:xyz b:5]" {
			t.Errorf("got %s", got)
		}
	}
}
