package limits

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
)

// model is a token bucket by its definition: of the events that happened, no window
// that ends now holds more than the burst and what came back in it.
type model struct {
	rate   Rate
	events map[Key][]int64
}

func (m *model) allows(k Key, now int64) bool {
	all := append(slices.Clone(m.events[k]), now)
	for i, begin := range all {
		if int64(len(all)-i)*int64(m.rate.step()) > int64(m.rate.Burst)*int64(m.rate.step())+now-begin {
			return false
		}
	}
	return true
}

func testKey(n int) (k Key) {
	binary.BigEndian.PutUint64(k[:], uint64(n))
	return k
}

// TestBucketsAgainstTheDefinition proves that over any history of several keys the
// compact counts allow exactly what a token bucket allows, that a refusal names a
// wait after which the event may happen and not sooner, and that an event which is
// given back at once never was.
func TestBucketsAgainstTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{
			Burst: rapid.IntRange(1, 6).Draw(t, "burst"), Refill: rapid.IntRange(1, 4).Draw(t, "refill"),
			Per: time.Duration(rapid.IntRange(1, 7).Draw(t, "seconds")) * time.Second,
		}
		b, m := newBuckets(r, 8), &model{r, map[Key][]int64{}}
		now := int64(1_700_000_000_000_000_000)
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			now += rapid.Int64Range(0, 2*int64(r.Per)).Draw(t, "pause") * rapid.Int64Range(0, 1).Draw(t, "moves")
			k := testKey(rapid.IntRange(0, 5).Draw(t, "key"))
			if rapid.Bool().Draw(t, "is given back") {
				if _, ok := b.take(k, now); ok {
					b.give(k, now)
				}
				continue
			}
			wait, ok := b.take(k, now)
			if want := m.allows(k, now); ok != want {
				t.Fatalf("allowed %t, want %t", ok, want)
			}
			if ok {
				m.events[k] = append(m.events[k], now)
				continue
			}
			if m.allows(k, now+int64(wait)-1) || !m.allows(k, now+int64(wait)) {
				t.Fatalf("%s is not the time to wait", wait)
			}
		}
	})
}

// TestBucketsAreBounded proves that any history leaves at most max counts, that the
// heap and the index agree, and that a flood of new keys does not free the one that
// has done most.
func TestBucketsAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 7
		r := Rate{Burst: 5, Refill: 1, Per: time.Minute}
		b := newBuckets(r, most)
		now := int64(time.Hour)
		worst := testKey(-1)
		for range r.Burst {
			if _, ok := b.take(worst, now); !ok {
				t.Fatal("refused within the burst")
			}
		}
		begin := now
		for range rapid.IntRange(1, 200).Draw(t, "events") {
			now += rapid.Int64Range(0, int64(time.Second)).Draw(t, "pause")
			k := testKey(rapid.IntRange(0, 40).Draw(t, "key"))
			if _, ok := b.take(k, now); ok && rapid.IntRange(0, 3).Draw(t, "gives back") == 0 {
				b.give(k, now)
			}
			if len(b.heap) > most || len(b.at) != len(b.heap) || len(b.slots) > most {
				t.Fatalf("%d in the heap, %d in the index, %d slots", len(b.heap), len(b.at), len(b.slots))
			}
			for pos, i := range b.heap {
				if b.slots[i].pos != int32(pos) || b.at[b.slots[i].key] != i {
					t.Fatal("heap and index disagree")
				}
				if pos > 0 && b.slots[b.heap[(pos-1)/2]].full > b.slots[i].full {
					t.Fatal("the heap is out of order")
				}
			}
		}
		others := 0
		for _, i := range b.heap {
			if b.slots[i].key != worst && b.slots[i].full >= begin+5*int64(time.Minute) {
				others++
			}
		}
		if _, known := b.at[worst]; !known && others < most && now < begin+5*int64(time.Minute) {
			t.Fatal("a flood of new keys freed the worst")
		}
	})
}

// TestRecoveredCountsAreForgotten proves that memory is given up without any clean-up.
func TestRecoveredCountsAreForgotten(t *testing.T) {
	b := newBuckets(Rate{Burst: 2, Refill: 1, Per: time.Second}, 1000)
	for i := range 500 {
		b.take(testKey(i), int64(i))
	}
	for i := range 300 {
		b.take(testKey(-1), int64(time.Minute)+int64(i)*int64(time.Second))
	}
	if n := b.len(); n != 1 {
		t.Errorf("%d counts are kept", n)
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// wantRefused fails unless err is a refusal by the named limit; "" wants none.
func wantRefused(t *testing.T, err error, name Name) {
	t.Helper()
	var r *Refused
	if name == "" {
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		return
	}
	if !errors.As(err, &r) || r.Name != name || r.Wait <= 0 {
		t.Fatalf("got %v, want a refusal by %s", err, name)
	}
}

func testSet(keysMax int) (*Set, *clock.Fake, map[Name]int) {
	now := clock.NewFake(time.Unix(1_700_000_000, 0))
	refused := make(map[Name]int)
	return New(Table(), Options{
		Clock: now.Now, Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, KeysMax: keysMax,
		Refused: func(n Name) { refused[n]++ },
	}), now, refused
}

// TestAllOrNothing proves that a Take that one limit refuses takes from no other,
// that refusals are told by name, and that the exempt are never refused.
func TestAllOrNothing(t *testing.T) {
	s, now, refused := testSet(0)
	strange := Who{Addr: addr("192.0.2.1")}
	for range 20 {
		_, err := s.Take(strange, SignUpByPrefix, SignUpByAddress)
		wantRefused(t, err, "")
	}
	for range 1000 {
		_, err := s.Take(strange, SignUpByPrefix, SignUpByAddress)
		wantRefused(t, err, SignUpByAddress)
	}
	for i := range 80 {
		_, err := s.Take(Who{Addr: addr(fmt.Sprintf("192.0.2.%d", 2+i%100))}, SignUpByPrefix, SignUpByAddress)
		wantRefused(t, err, "")
	}
	_, err := s.Take(Who{Addr: addr("192.0.2.200")}, SignUpByPrefix, SignUpByAddress)
	wantRefused(t, err, SignUpByPrefix)
	_, err = s.Take(Who{Addr: addr("192.0.3.200")}, SignUpByPrefix, SignUpByAddress)
	wantRefused(t, err, "")
	if refused[SignUpByAddress] != 1000 || refused[SignUpByPrefix] != 1 {
		t.Errorf("told of %v", refused)
	}
	for range 1000 {
		_, err := s.Take(Who{Addr: addr("::ffff:127.0.0.9")}, SignUpByPrefix, SignUpByAddress)
		wantRefused(t, err, "")
	}
	now.Advance(5 * time.Hour)
	_, err = s.Take(strange, SignUpByPrefix, SignUpByAddress)
	wantRefused(t, err, "")
	var none *Set
	if _, err := none.Take(strange, SignUpByAddress); err != nil {
		t.Errorf("the nil Set refuses: %v", err)
	}
}

// TestScopes proves who shares a count: the IPv4 address and the IPv6 /64, the /24
// and the /48, one user wherever from, one name as it is.
func TestScopes(t *testing.T) {
	u := kbsig.UID{1}
	for _, tc := range []struct {
		scope Scope
		a, b  Who
		same  bool
	}{
		{ByAddress, Who{Addr: addr("192.0.2.1")}, Who{Addr: addr("192.0.2.2")}, false},
		{ByAddress, Who{Addr: addr("192.0.2.1")}, Who{Addr: addr("::ffff:192.0.2.1")}, true},
		{ByAddress, Who{Addr: addr("2001:db8::1")}, Who{Addr: addr("2001:db8::ffff:1")}, true},
		{ByAddress, Who{Addr: addr("2001:db8:0:1::1")}, Who{Addr: addr("2001:db8:0:2::1")}, false},
		{ByPrefix, Who{Addr: addr("192.0.2.1")}, Who{Addr: addr("192.0.2.2")}, true},
		{ByPrefix, Who{Addr: addr("192.0.2.1")}, Who{Addr: addr("192.0.3.1")}, false},
		{ByPrefix, Who{Addr: addr("2001:db8:0:1::1")}, Who{Addr: addr("2001:db8:0:2::1")}, true},
		{ByUser, Who{Addr: addr("192.0.2.1"), User: u}, Who{Addr: addr("198.51.100.1"), User: u}, true},
		{ByName, Who{Addr: addr("192.0.2.1"), Name: "a"}, Who{Addr: addr("198.51.100.1"), Name: "a"}, true},
		{ByName, Who{Addr: addr("192.0.2.1"), Name: "a"}, Who{Addr: addr("192.0.2.1"), Name: "b"}, false},
		{ByNameAndAddress, Who{Addr: addr("192.0.2.1"), Name: "a"}, Who{Addr: addr("192.0.2.2"), Name: "a"}, false},
		{ByNameAndPrefix, Who{Addr: addr("192.0.2.1"), Name: "a"}, Who{Addr: addr("192.0.2.2"), Name: "a"}, true},
	} {
		a, okA := tc.a.key(tc.scope)
		b, okB := tc.b.key(tc.scope)
		if !okA || !okB || (a == b) != tc.same {
			t.Errorf("by %s: %v and %v share: %t, want %t", tc.scope, tc.a, tc.b, a == b, tc.same)
		}
	}
	for _, s := range []Scope{ByUser, ByName, ByNameAndAddress, ByNameAndPrefix} {
		if _, applies := (&Who{Addr: addr("192.0.2.1")}).key(s); applies {
			t.Errorf("by %s applies to nobody", s)
		}
	}
}

var loginLimits = []Name{LoginByName, LoginByNameAndAddress, LoginByNameAndPrefix, LoginByAddress, LoginByPrefix}

// TestStrangersCannotKeepTheOwnerOut proves that however many addresses guess at a
// name, its owner gets in from an address of his own, time and again, while the
// guesses are held to the named figures.
func TestStrangersCannotKeepTheOwnerOut(t *testing.T) {
	s, now, refused := testSet(0)
	guesses := 0
	for minute := range 30 {
		for prefix := range 40 {
			for try := range 10 {
				w := Who{Addr: addr(fmt.Sprintf("198.18.%d.%d", prefix, try)), Name: "victim"}
				if _, err := s.Take(w, loginLimits...); err == nil {
					guesses++
				}
			}
		}
		owner := Who{Addr: addr("203.0.113.7"), Name: "victim"}
		ticket, err := s.Take(owner, loginLimits...)
		wantRefused(t, err, "")
		if minute%2 == 0 {
			ticket.Return() // the right password
		}
		now.Advance(time.Minute)
	}
	// The burst by name, one more a minute, and each prefix's first of a minute.
	if most := 50 + 30 + 40*30; guesses > most {
		t.Errorf("%d guesses were allowed, at most %d should be", guesses, most)
	}
	if refused[LoginByName] == 0 {
		t.Errorf("refusals: %v", refused)
	}
	// One address, many names: the address runs out.
	for i := range 60 {
		_, err := s.Take(Who{Addr: addr("192.0.2.1"), Name: fmt.Sprint("name", i)}, loginLimits...)
		wantRefused(t, err, "")
	}
	_, err := s.Take(Who{Addr: addr("192.0.2.1"), Name: "another"}, loginLimits...)
	wantRefused(t, err, LoginByAddress)
}

// TestTable proves that every row is usable and named once, and that what it spares
// is there.
func TestTable(t *testing.T) {
	seen := map[Name]bool{}
	table := Table()
	for _, l := range table {
		if seen[l.Name] {
			t.Errorf("%s stands twice", l.Name)
		}
		seen[l.Name] = true
		if err := l.check(); err != nil || l.Burst == 0 || l.What == "" {
			t.Errorf("%s: %v, burst %d, %q", l.Name, err, l.Burst, l.What)
		}
		if want := "by-" + strings.ReplaceAll(l.Scope.String(), " ", "-"); !strings.HasSuffix(string(l.Name), want) {
			t.Errorf("%s does not end in %s", l.Name, want)
		}
		if i := indexOf(table, l.Spares); l.Spares != "" && (i < 0 || table[i].Scope != ByNameAndPrefix) {
			t.Errorf("%s spares %s", l.Name, l.Spares)
		}
	}
}

// TestOverrides proves what an operator may write, and that each mistake is told.
func TestOverrides(t *testing.T) {
	got, err := With(Table(), []string{"signup-by-address=600 per 1h, burst 500", " signup-by-prefix = off "})
	if err != nil {
		t.Fatal(err)
	}
	if r := got[indexOf(got, SignUpByAddress)].Rate; r != (Rate{500, 600, time.Hour}) || r.String() != "600 per 1h, burst 500" {
		t.Errorf("got %v", r)
	}
	if r := got[indexOf(got, SignUpByPrefix)].Rate; r.String() != "off" {
		t.Errorf("got %v", r)
	}
	if Table()[indexOf(got, SignUpByAddress)].Burst == 500 {
		t.Error("the usual table changed")
	}
	for _, l := range got {
		if l.Burst == 0 {
			continue
		}
		if _, err := With(Table(), []string{fmt.Sprintf("%s = %s", l.Name, l.Rate)}); err != nil {
			t.Errorf("what is printed is not read: %v", err)
		}
	}
	s := New(got, Options{Clock: time.Now})
	for range 1000 {
		_, err := s.Take(Who{Addr: addr("192.0.2.1")}, SignUpByPrefix)
		wantRefused(t, err, "")
	}
	for _, bad := range []string{
		"", "signup-by-address", "signup-by-adress = off", "signup-by-address = on", "signup-by-address = 5 per 1h",
		"signup-by-address = 5 per 1h, burst 0", "signup-by-address = 0 per 1h, burst 5", "signup-by-address = 5 per 1ms, burst 5",
		"signup-by-address = 5 per 25h, burst 5", "signup-by-address = 5 per 1h, burst 99999999", "signup-by-address = -5 per 1h, burst 5",
		"signup-by-address = 1 per 24h, burst 1000000", "signup-by-address = 5 per 1h, burst 5, x",
	} {
		if _, err := With(Table(), []string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, err := With(Table(), []string{"signup-by-prefix = off", "signup-by-prefix = off"}); err == nil {
		t.Error("set twice")
	}
}

// FuzzOverride proves that no text panics and that what is taken is within bounds.
func FuzzOverride(f *testing.F) {
	for _, s := range []string{"login-by-name = off", "login-by-name = 5 per 1h, burst 5", "=", "x = 1 per 9999999h, burst 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		table, err := With(Table(), []string{text})
		if err != nil {
			return
		}
		for _, l := range table {
			if err := l.check(); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
	})
}

// TestParsePrefixes proves which ranges are read.
func TestParsePrefixes(t *testing.T) {
	got, err := ParsePrefixes([]string{"10.1.2.3/8", "::1", "192.0.2.1"})
	if err != nil || fmt.Sprint(got) != "[10.0.0.0/8 ::1/128 192.0.2.1/32]" {
		t.Fatalf("%v, %v", got, err)
	}
	if !Within(got, addr("10.9.9.9")) || Within(got, addr("192.0.2.2")) || !Within(got, addr("::ffff:192.0.2.1")) {
		t.Error("Within is wrong")
	}
	for _, bad := range []string{"", "10.0.0.0/33", "localhost", "fe80::1%eth0", "1.2.3"} {
		if _, err := ParsePrefixes([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, err := ParsePrefixes(make([]string, prefixesMax+1)); err == nil {
		t.Error("too many were taken")
	}
}

// TestBudget proves that a budget never gives more than it has.
func TestBudget(t *testing.T) {
	b := NewBudget(100)
	if !b.Take(60) || b.Take(41) || !b.Take(40) || b.Used() != 100 {
		t.Fatalf("used %d", b.Used())
	}
	b.Give(100)
	if b.Used() != 0 {
		t.Fatalf("used %d", b.Used())
	}
}

// BenchmarkTake measures what a request pays for its limits.
func BenchmarkTake(b *testing.B) {
	s := New(Table(), Options{Clock: time.Now, Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	for i := 0; b.Loop(); i++ {
		w := Who{Addr: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}
		_, _ = s.Take(w, RequestByPrefix, RequestByAddress, PathByAddress)
	}
}
