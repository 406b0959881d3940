package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var alice = kbsig.UIDOf("alice")

// fill is a source of bytes for the store's id.
type fill byte

func (f fill) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(f)
	}
	return len(b), nil
}

type failer interface {
	Helper()
	Fatal(...any)
}

func open(t failer, fs vfs.FS) *store.Store {
	t.Helper()
	st, err := store.Open(store.Options{Dir: "d", FS: fs, Rand: fill(7), Clock: clock.NewFake(time.UnixMilli(1_700_000_000_000)).Now})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func openBox(t failer, st *store.Store, consumers ...string) *Outbox {
	t.Helper()
	b, err := Open(context.Background(), st, Options{Consumers: consumers})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func news(i int) News {
	return News{To: alice, Category: "a", Body: fmt.Appendf(nil, "%d", i)}
}

func add(st *store.Store, ns ...News) error {
	return st.Update(context.Background(), func(tx *store.Tx) error {
		for _, n := range ns {
			if err := Add(tx, n); err != nil {
				return err
			}
		}
		return nil
	})
}

// read runs a consumer until it has been given n entries, and returns them.
func read(t failer, b *Outbox, consumer string, n int) (got []Entry) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if n == 0 {
		return nil
	}
	if err := b.Run(ctx, consumer, func(_ context.Context, es []Entry) error {
		if got = append(got, es...); len(got) >= n {
			cancel()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// kept counts the entries in the store.
func kept(t failer, st *store.Store) (n int) {
	t.Helper()
	v := st.View()
	defer v.Close()
	if err := v.Scan(keys.Events(), keys.End(keys.Events()), func(_, _ []byte) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// A refused transaction leaves no news, an accepted one all of its own; what a
// consumer reads is whole, in order, and once.
func TestFactAndNewsAreOne(t *testing.T) {
	st := open(t, vfs.NewMem())
	defer st.Close()
	b := openBox(t, st, "x")
	whole := News{To: alice, Category: "a", Body: []byte("{}"), Replace: true, Skip: kbsig.DeviceID{1}, Lasts: time.Hour}
	if err := add(st, news(1), whole); err != nil {
		t.Fatal(err)
	}
	refusal := errors.New("refused")
	if err := st.Update(t.Context(), func(tx *store.Tx) error { return errors.Join(Add(tx, news(9)), refusal) }); !errors.Is(err, refusal) {
		t.Fatal(err)
	}
	if err := add(st, News{To: alice, Category: "sys", Body: []byte{1}, OutOfBand: true}, News{To: alice, Category: "a", Replace: true}); err != nil {
		t.Fatal(err)
	}
	if n := b.Backlog("x"); n != 4 {
		t.Errorf("a backlog of %d", n)
	}
	got := read(t, b, "x", 4)
	for i, e := range got {
		if e.Number != int64(i+1) || e.At.UnixMilli() != 1_700_000_000_000 {
			t.Errorf("entry %d has number %d of %s", i, e.Number, e.At)
		}
	}
	if got[1].To != whole.To || string(got[1].Body) != "{}" || !got[1].Replace || got[1].Skip != whole.Skip || got[1].Lasts != time.Hour {
		t.Errorf("read %+v", got[1])
	}
	if !got[2].OutOfBand || got[3].Body != nil || !got[3].Replace {
		t.Errorf("read %+v", got[2:])
	}
	if b.Backlog("x") != 0 || kept(t, st) != 0 {
		t.Errorf("a backlog of %d, %d kept", b.Backlog("x"), kept(t, st))
	}
}

// News that no device could be told is refused, and so is the fact with it.
func TestMalformedNews(t *testing.T) {
	st := open(t, vfs.NewMem())
	defer st.Close()
	for name, n := range map[string]News{
		"nobody":      {Category: "a", Body: []byte("{}")},
		"no category": {To: alice, Body: []byte("{}")},
		"no body":     {To: alice, Category: "a"},
		"silent":      {To: alice, Category: "a", OutOfBand: true},
		"kept or not": {To: alice, Category: "a", Body: []byte("{}"), OutOfBand: true, Replace: true},
		"big":         {To: alice, Category: "a", Body: make([]byte, bodyBytesMax+1)},
		"long":        {To: alice, Category: string(make([]byte, categoryBytesMax+1)), Body: []byte("{}")},
		"ended":       {To: alice, Category: "a", Body: []byte("{}"), Lasts: -1},
	} {
		if err := add(st, n); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := kept(t, st); n != 0 {
		t.Errorf("%d entries", n)
	}
	for _, name := range []string{"", "a b", "é", string(make([]byte, consumerBytesMax+1))} {
		if _, err := Open(t.Context(), st, Options{Consumers: []string{name}}); !errors.Is(err, ErrMalformed) {
			t.Errorf("consumer %q: %v", name, err)
		}
	}
}

// The slowest consumer's backlog bounds the outbox: beyond it facts are refused until
// the consumer has come further.
func TestBacklogMax(t *testing.T) {
	st := open(t, vfs.NewMem())
	defer st.Close()
	err := st.Update(t.Context(), func(tx *store.Tx) error {
		store.Save(tx, keys.EventCursor(""), place{Passed: 5, Added: 5 + backlogMax})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := add(st, news(1)); !errors.Is(err, ErrBacklog) {
		t.Errorf("got %v", err)
	}
}

// A consumer that fails is given the same entries again, and nothing is passed
// meanwhile; Run ends quietly when it is told to.
func TestFailuresAreRetried(t *testing.T) {
	st := open(t, vfs.NewMem())
	defer st.Close()
	b := openBox(t, st, "x")
	if err := add(st, news(1), news(2)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var first []Entry
	tries := 0
	err := b.Run(ctx, "x", func(_ context.Context, es []Entry) error {
		switch tries++; tries {
		case 1:
			first = es
			return errors.New("not now")
		case 2:
			if len(es) != 2 || es[0].ID != first[0].ID || es[1].ID != first[1].ID || b.Backlog("x") != 2 {
				t.Errorf("given %v after %v", es, first)
			}
			cancel()
			return errors.New("told to stop")
		}
		t.Error("asked after it was told to stop")
		return nil
	})
	if err != nil || b.Backlog("x") != 2 {
		t.Errorf("%v, a backlog of %d", err, b.Backlog("x"))
	}
	if err := b.Run(t.Context(), "y", nil); err == nil {
		t.Error("a consumer without a place read")
	}
}

// people are n users, none of them alice.
func people(n int) []kbsig.UID {
	us := make([]kbsig.UID, n)
	for i := range us {
		us[i] = kbsig.UIDOf(kbsig.Username(fmt.Sprintf("p%d", i)))
	}
	return us
}

func addMany(st *store.Store, to []kbsig.UID, n News) error {
	return st.Update(context.Background(), func(tx *store.Tx) error { return AddMany(tx, to, n) })
}

// What a team of 5,000 is told is a handful of entries of a bounded size, and each
// member is given it once, in the order of the facts, also when somebody is named twice.
func TestManyAreToldByFewEntries(t *testing.T) {
	st := open(t, vfs.NewMem())
	defer st.Close()
	b := openBox(t, st, "x")
	team := people(5000)
	twice := append(append([]kbsig.UID{}, team...), team[:100]...)
	body := News{Category: "team.change", Body: []byte(`[{"id":"x"}]`), Skip: kbsig.DeviceID{1}, Lasts: time.Hour}
	for _, step := range []func() error{
		func() error { return add(st, News{To: team[3], Category: "a", Body: []byte("before")}) },
		func() error { return addMany(st, twice, body) },
		func() error { return add(st, News{To: team[3], Category: "a", Body: []byte("after")}) },
		func() error { return addMany(st, nil, body) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if n := kept(t, st); n != 2+5 {
		t.Errorf("%d entries are kept", n)
	}
	got := read(t, b, "x", 5002)
	if len(got) != 5002 || string(got[0].Body) != "before" || string(got[5001].Body) != "after" {
		t.Fatalf("read %d entries, from %q to %q", len(got), got[0].Body, got[len(got)-1].Body)
	}
	for i, e := range got[1:5001] {
		if e.To != team[i] || e.Category != body.Category || string(e.Body) != string(body.Body) || e.Skip != body.Skip ||
			e.Lasts != body.Lasts || e.Number != int64(2+i/addresseesMax) {
			t.Fatalf("member %d was given %+v", i, e)
		}
	}
	if b.Backlog("x") != 0 || kept(t, st) != 0 {
		t.Errorf("a backlog of %d, %d kept", b.Backlog("x"), kept(t, st))
	}
	for name, to := range map[string][]kbsig.UID{"nobody among many": {alice, {}}, "too many": make([]kbsig.UID, addressedMax+1)} {
		if err := addMany(st, to, body); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := addMany(st, team, News{Category: "a"}); !errors.Is(err, ErrMalformed) || kept(t, st) != 0 {
		t.Errorf("silent news: %v", err)
	}
}

// A consumer is given a bounded share of what is for very many, and all of it in the end.
func TestManyAreGivenInParts(t *testing.T) {
	st := open(t, vfs.NewMem())
	defer st.Close()
	b := openBox(t, st, "x")
	all := people(3*batchToldMax + 5)
	if err := addMany(st, all, news(1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told, failed := 0, false
	err := b.Run(ctx, "x", func(_ context.Context, es []Entry) error {
		if len(es) >= batchToldMax+addresseesMax {
			t.Errorf("given %d at a time", len(es))
		}
		if !failed {
			failed = true
			return errors.New("not now")
		}
		for i, e := range es {
			if e.To != all[told+i] {
				t.Fatalf("%d is given to another", told+i)
			}
		}
		if told += len(es); told == len(all) {
			cancel()
		}
		return nil
	})
	if err != nil || told != len(all) {
		t.Errorf("%v, %d of %d are told", err, told, len(all))
	}
}

// A record whose users are cut short is an error, not somebody else.
func TestFurtherUsersAreWhole(t *testing.T) {
	if _, err := (Record{To: alice, Also: make([]byte, 17)}).entries([16]byte{}, 1); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

// Who waits for a consumer goes on when it has handled all that was there, and not before;
// or when there is no more time.
func TestPassed(t *testing.T) {
	st := open(t, vfs.NewMem())
	defer st.Close()
	b := openBox(t, st, "x")
	if err := b.Passed(t.Context(), "x"); err != nil {
		t.Fatalf("with nothing to wait for: %v", err)
	}
	if err := add(st, news(1), news(2)); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Passed(over, "x"); !errors.Is(err, context.Canceled) {
		t.Fatalf("without time: %v", err)
	}
	var handled atomic.Bool
	ctx, stop := context.WithCancel(t.Context())
	done, ran := make(chan error), make(chan error)
	go func() {
		err := b.Passed(t.Context(), "x")
		if err == nil && !handled.Load() {
			err = errors.New("before the consumer")
		}
		done <- err
	}()
	go func() {
		ran <- b.Run(ctx, "x", func(context.Context, []Entry) error {
			handled.Store(true)
			return nil
		})
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

// A waiting consumer is woken by news.
func TestNewsWakes(t *testing.T) {
	st := open(t, vfs.NewMem())
	defer st.Close()
	b := openBox(t, st, "x")
	got := make(chan []Entry)
	go func() { got <- read(t, b, "x", 1) }()
	if err := add(st, news(1)); err != nil {
		t.Fatal(err)
	}
	if es := <-got; len(es) != 1 || string(es[0].Body) != "1" {
		t.Errorf("got %v", es)
	}
}

// Two consumers each get everything; an entry stays until the slower one has passed;
// who is no longer named holds nothing back, and who is new begins at what is kept.
func TestConsumersHavePlaces(t *testing.T) {
	st := open(t, vfs.NewMem())
	defer st.Close()
	b := openBox(t, st, "fast", "slow")
	for i := range 2*batchMax + 3 {
		if err := add(st, news(i)); err != nil {
			t.Fatal(err)
		}
	}
	all := 2*batchMax + 3
	if got := read(t, b, "fast", all); len(got) != all || kept(t, st) != all {
		t.Fatalf("read %d, %d kept", len(got), kept(t, st))
	}
	if got := read(t, b, "slow", 1); len(got) != batchMax || kept(t, st) != all-batchMax {
		t.Fatalf("read %d, %d kept", len(got), kept(t, st))
	}
	b = openBox(t, st, "fast", "new")
	if n := b.Backlog("new"); n != int64(all-batchMax) {
		t.Errorf("a new consumer is behind by %d", n)
	}
	if got := read(t, b, "new", 1); got[0].Number != batchMax+1 {
		t.Errorf("a new consumer begins at %d", got[0].Number)
	}
	v := st.View()
	defer v.Close()
	if ok, _ := store.Has(v, keys.EventCursor("slow")); ok {
		t.Error("the place of one who left is kept")
	}
}

// Whatever is added, read, failed and lost by cutting the power: every consumer gets
// exactly the news of the facts that were acknowledged (or one that was under way), in
// order, each with an id of its own, and each at least once.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewCrashableMem()
		st := open(t, fs)
		names := []string{"a", "b"}
		b := openBox(t, st, names...)
		var added []string
		got := map[string][]Entry{}
		ids := map[[16]byte]int64{}
		for i := range rapid.IntRange(1, 25).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"add", "add", "many", "refuse", "read", "crash", "reopen"}).Draw(t, "step") {
			case "many":
				to := people(rapid.SampledFrom([]int{2, 40, addresseesMax + 1}).Draw(t, "people"))
				if err := addMany(st, to, news(10*i)); err != nil {
					t.Fatal(err)
				}
				for _, u := range to {
					added = append(added, u.String()+fmt.Sprint(10*i))
				}
			case "add":
				var ns []News
				for j := range rapid.IntRange(1, 3).Draw(t, "news") {
					ns = append(ns, news(10*i+j))
				}
				if err := add(st, ns...); err != nil {
					t.Fatal(err)
				}
				for _, n := range ns {
					added = append(added, n.To.String()+string(n.Body))
				}
			case "refuse":
				_ = st.Update(context.Background(), func(tx *store.Tx) error { return errors.Join(Add(tx, news(i)), errors.New("no")) })
			case "read":
				name := rapid.SampledFrom(names).Draw(t, "consumer")
				got[name] = append(got[name], read(t, b, name, int(b.Backlog(name)))...)
			case "crash", "reopen":
				next := fs.CrashClone(vfs.CrashCloneCfg{})
				if err := st.Close(); err != nil {
					t.Fatal(err)
				}
				if rapid.Bool().Draw(t, "power") {
					fs = next
				}
				st = open(t, fs)
				b = openBox(t, st, names...)
			}
		}
		for _, name := range names {
			// One entry can be news for many, so that as many news as there are entries are
			// not all of them.
			for b.Backlog(name) > 0 {
				got[name] = append(got[name], read(t, b, name, 1)...)
			}
			// Twice is allowed; the first time is what counts.
			var bodies []string
			last, known := int64(0), map[kbsig.UID]bool{}
			for _, e := range got[name] {
				if n, ok := ids[e.ID]; ok && n != e.Number {
					t.Fatalf("entries %d and %d share an id", n, e.Number)
				}
				ids[e.ID] = e.Number
				if e.Number > last {
					if e.Number != last+1 {
						t.Fatalf("%s got %d after %d", name, e.Number, last)
					}
					last, known = e.Number, map[kbsig.UID]bool{}
				}
				if e.Number == last && !known[e.To] {
					known[e.To] = true
					bodies = append(bodies, e.To.String()+string(e.Body))
				}
			}
			if !slices.Equal(bodies, added) {
				t.Fatalf("%s got %d of %d news; the first that differs is number %d", name, len(bodies), len(added), firstOther(bodies, added))
			}
		}
		if n := kept(t, st); n != 0 {
			t.Fatalf("%d entries are kept for nobody", n)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func firstOther(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// News with an ID of its own keeps it, and the items that it ends, through the outbox.
func TestNewsWithAnIDKeepsIt(t *testing.T) {
	st := open(t, vfs.NewMem())
	defer st.Close()
	b := openBox(t, st, "x")
	one, other := IDOf("a", "bc"), IDOf("ab", "c")
	if one == other {
		t.Fatal("two things have one ID")
	}
	err := add(st, News{To: alice, Category: "a", Body: []byte("{}"), ID: one, Ends: []ID{other}}, News{To: alice, Category: "a", Ends: []ID{one}})
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, b, "x", 2)
	if got[0].ID != one || len(got[0].Ends) != 1 || got[0].Ends[0] != other {
		t.Errorf("read %+v", got[0])
	}
	if got[1].ID == (ID{}) || got[1].ID == one || got[1].Body != nil || got[1].Ends[0] != one {
		t.Errorf("read %+v", got[1])
	}
	if err := add(st, News{To: alice, Category: "a", Body: []byte("{}"), Ends: make([]ID, endsMax+1)}); !errors.Is(err, ErrMalformed) {
		t.Errorf("too many ends: %v", err)
	}
}
