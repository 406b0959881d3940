package gregor

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// checkBook holds a user's sum and places against those that the records alone give.
func checkBook(t failer, l Log, u kbsig.UID) {
	t.Helper()
	v, err := l.View(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	b := book{v, u}
	got, _, err := b.sum()
	if err != nil {
		t.Fatal(err)
	}
	recs, err := b.all()
	if err != nil {
		t.Fatal(err)
	}
	want := newEdit(b, Sum{Swept: got.Swept})
	for i := range recs {
		want.sum.Newest = max(want.sum.Newest, recs[i].CTime)
		want.move(nil, &recs[i])
	}
	if want.sum.Newest = max(want.sum.Newest, got.Newest); want.sum != got {
		t.Fatalf("the sum is %+v, the records give %+v", got, want.sum)
	}
	prefix := keys.GregorPlaces(u)
	err = v.Scan(prefix, keys.End(prefix), func(k, id []byte) error {
		if string(want.rows[string(k)]) != string(id) {
			return fmt.Errorf("message %q has a place %x that it should not have", id, k)
		}
		delete(want.rows, string(k))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(want.rows) != 0 {
		t.Fatalf("%d places are missing", len(want.rows))
	}
}

func openLog(t testing.TB) (*store.Store, Log, *Service, *clock.Fake) {
	t.Helper()
	clk := clock.NewFake(start)
	st, err := store.Open(store.Options{Dir: "d", FS: vfs.NewMem(), Rand: &hashes{}, Clock: clk.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	l := StoreLog(st)
	return st, l, New(Options{Log: l, Clock: clk.Now, Rand: &hashes{}}), clk
}

// A person of whom there is more news than is kept has as many items as fit, the newest
// ones; the oldest are forgotten after they made room.
func TestPopularPerson(t *testing.T) {
	_, l, s, clk := openLog(t)
	n := itemsMax + 40
	if !testing.Short() {
		n = itemsMax + deadMax + 100
	}
	for i := range n {
		in := Injection{UID: alice, Category: "follow", Body: []byte("x"), MsgID: fmt.Appendf(nil, "%05d", i)}
		if i == 7 {
			in.DTime.Offset = 1
		}
		if i%100 == 3 {
			in.DTime.Offset = 1e9 // these make room before all others
		}
		if _, err := s.Inject(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		clk.Advance(time.Millisecond)
	}
	checkBook(t, l, alice)
	st, err := s.State(t.Context(), alice, kbsig.DeviceID{}, gregor1.TimeOrOffset{}, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(st.Items) != itemsMax {
		t.Errorf("%d items", len(st.Items))
	}
	if last := string(st.Items[len(st.Items)-1].Metadata.MsgID); last != fmt.Sprintf("%05d", n-1) {
		t.Errorf("the newest item is %s of %d", last, n)
	}
	v, err := l.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	recs, err := book{v, alice}.all()
	if err != nil {
		t.Fatal(err)
	}
	if len(recs) != min(n, itemsMax+deadMax) {
		t.Errorf("%d records of %d messages", len(recs), n)
	}
}

// Records from before there were sums are counted at the first message, which then finds
// what it dismisses.
func TestRecordsWithoutSum(t *testing.T) {
	st, l, s, clk := openLog(t)
	for i := range 5 {
		m := creation(fmt.Sprint(i), []string{"a", "b"}[i%2], "x")
		if i == 3 {
			m.InBand.StateUpdate.Creation.DTime.Offset = 1500
		}
		if err := s.Consume(t.Context(), alice, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Update(t.Context(), func(tx *store.Tx) error {
		tx.Delete(keys.GregorSum(alice))
		prefix := keys.GregorPlaces(alice)
		return tx.Scan(prefix, keys.End(prefix), func(k, _ []byte) error {
			tx.Delete(append([]byte{}, k...))
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	clk.Advance(2 * time.Second)
	if err := s.Dismiss(t.Context(), alice, nil, "a"); err != nil {
		t.Fatal(err)
	}
	checkBook(t, l, alice)
	if got := fmt.Sprint(bodies(t, s, alice, kbsig.DeviceID{})); got != "[b:x]" {
		t.Errorf("left are %s", got)
	}
}

// Of a user who is forgotten nothing is left, and what others have stays.
func TestForgetLeavesNothing(t *testing.T) {
	st, _, s, _ := openLog(t)
	m := creation("1", "a", "x")
	m.InBand.StateUpdate.Creation.DTime.Offset = 1500
	for _, u := range []kbsig.UID{alice, bob} {
		for _, m := range []gregor1.Message{m, creation("2", "b", "x")} {
			if err := s.Consume(t.Context(), u, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Forget(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	count := func(u kbsig.UID) (n int) {
		v := st.View()
		defer v.Close()
		for _, prefix := range [][]byte{keys.Gregors(u), keys.GregorPlaces(u), keys.GregorSum(u)} {
			if err := v.Scan(prefix, keys.End(prefix), func(_, _ []byte) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	if count(alice) != 0 || count(bob) != 2+5+1 {
		t.Errorf("%d rows of alice, %d of bob", count(alice), count(bob))
	}
}

// twoFaced lets somebody else be faster, a number of times.
type twoFaced struct {
	Log
	other  *Service
	faster int
}

func (l *twoFaced) Commit(ctx context.Context, u kbsig.UID, c Change) error {
	if l.faster > 0 {
		l.faster--
		if err := l.other.Consume(ctx, u, creation(fmt.Sprint("other ", l.faster), "a", "y")); err != nil {
			return err
		}
	}
	return l.Log.Commit(ctx, u, c)
}

// Two services on one store do not spoil each other's sums: who was slower computes
// again, and gives up in the end.
func TestTwoServices(t *testing.T) {
	_, l, other, clk := openLog(t)
	two := &twoFaced{Log: l, other: other, faster: 3}
	s := New(Options{Log: two, Clock: clk.Now, Rand: &hashes{}})
	if err := s.Consume(t.Context(), alice, creation("mine", "a", "x")); err != nil {
		t.Fatal(err)
	}
	checkBook(t, l, alice)
	if got := len(bodies(t, s, alice, kbsig.DeviceID{})); got != 4 {
		t.Errorf("%d items", got)
	}
	two.faster = 3 + movedMax + 1
	if err := s.Consume(t.Context(), alice, creation("late", "a", "x")); !errors.Is(err, ErrMoved) {
		t.Errorf("got %v", err)
	}
	checkBook(t, l, alice)
}

// One message costs the same however many items its user has (compare the rows).
func BenchmarkConsume(b *testing.B) {
	for _, items := range []int{1, 100, 2000} {
		b.Run(fmt.Sprintf("items=%d", items), func(b *testing.B) {
			_, _, s, clk := openLog(b)
			for i := range items {
				if err := s.Consume(b.Context(), alice, creation(fmt.Sprint("old ", i), "follow", "x")); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				// Each takes the place of the one before, as badges do.
				clk.Advance(time.Second)
				_, err := s.Inject(b.Context(), Injection{UID: alice, Category: "home.state", Body: []byte("{}"), MsgID: fmt.Append(nil, "new ", i), Replace: true})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// News for a team of 5,000 who each have a few items; the figure is of one member.
func BenchmarkNewsForTeam(b *testing.B) {
	const members = 5000
	_, _, s, _ := openLog(b)
	var entries []events.Entry
	for i := range members {
		u := kbsig.UIDOf(kbsig.Username(fmt.Sprint("m", i)))
		entries = append(entries, events.Entry{News: events.News{To: u, Category: "team.change", Body: []byte(`[{"id":"x"}]`)}})
	}
	round := func(n int) {
		for i := range entries {
			entries[i].ID = [16]byte{1, byte(n), byte(n >> 8), byte(n >> 16)}
		}
		if err := s.DeliverNews(b.Context(), entries); err != nil {
			b.Fatal(err)
		}
	}
	for n := range 5 {
		round(n)
	}
	b.ResetTimer()
	for n := range b.N {
		round(1000 + n)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*members), "ns/member")
}
