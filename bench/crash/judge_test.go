package main

import (
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// id is the id of a link by a letter.
func id(b byte) (l client.LinkID) {
	for i := range l {
		l[i] = b
	}
	return l
}

// booked is a book of one user whose requests are given as links and outcome, in the
// order of sending: {1, "ab", wasAcked} posts link a at 1 and link b at 2.
type booked struct {
	first int64
	links string
	what  outcome
}

func (b booked) attempt(n int64) *attempt {
	a := &attempt{n: n, sent: 2*n - 1, done: 2 * n, outcome: b.what, endpoint: "key/multi", facts: &facts{}}
	for i := range b.links {
		a.facts.Links = append(a.facts.Links, linkFact{Seqno: b.first + int64(i), ID: id(b.links[i]).String()})
	}
	return a
}

// TestChainAgainstTheLedger proves what the checker makes of a chain, given what was
// posted and with which outcome.
func TestChainAgainstTheLedger(t *testing.T) {
	for name, tc := range map[string]struct {
		posts []booked
		chain string
		want  map[kind]int
	}{
		"all acknowledged":          {[]booked{{1, "abc", wasAcked}, {4, "d", wasAcked}}, "abcd", nil},
		"unknown and there":         {[]booked{{1, "a", wasAcked}, {2, "b", wasUnknown}}, "ab", nil},
		"unknown and not there":     {[]booked{{1, "a", wasAcked}, {2, "b", wasUnknown}}, "a", nil},
		"refused and not there":     {[]booked{{1, "a", wasAcked}, {2, "b", wasRefused}}, "a", nil},
		"sent again":                {[]booked{{1, "a", wasUnknown}, {1, "a", wasAcked}, {2, "b", wasAcked}, {2, "b", wasAcked}}, "ab", nil},
		"refused when sent again":   {[]booked{{1, "a", wasUnknown}, {1, "a", wasRefused}}, "a", nil},
		"acknowledged and lost":     {[]booked{{1, "a", wasAcked}, {2, "b", wasAcked}}, "a", map[kind]int{lost: 1}},
		"refused and there":         {[]booked{{1, "a", wasAcked}, {2, "b", wasRefused}}, "ab", map[kind]int{doubled: 1}},
		"never sent and there":      {[]booked{{1, "a", wasAcked}, {2, "b", wasUnsent}}, "ab", map[kind]int{doubled: 1}},
		"twice":                     {[]booked{{1, "a", wasAcked}}, "aa", map[kind]int{doubled: 1}},
		"never posted":              {[]booked{{1, "a", wasAcked}}, "ax", map[kind]int{wrong: 1}},
		"in another place":          {[]booked{{1, "a", wasAcked}, {2, "b", wasAcked}}, "ba", map[kind]int{reordered: 2}},
		"half of a request":         {[]booked{{1, "a", wasAcked}, {2, "bc", wasUnknown}}, "ab", map[kind]int{wrong: 1}},
		"acknowledged out of order": {[]booked{{2, "b", wasAcked}, {1, "a", wasAcked}}, "ab", map[kind]int{reordered: 1}},
	} {
		u := newBook("").user("alice")
		for i, p := range tc.posts {
			u.settle(p.attempt(int64(i+1)), line{What: p.what})
		}
		who := &client.User{}
		for i := range tc.chain {
			who.Chain = append(who.Chain, &client.Link{Seqno: client.Seqno(i + 1), ID: id(tc.chain[i])})
		}
		j := newJudge(io.Discard, 1, "")
		c := &checker{judge: j}
		c.chain(u, who)
		if fmt.Sprint(j.counts) != fmt.Sprint(tc.want) {
			t.Errorf("%s: %v, want %v", name, j.counts, tc.want)
		}
		// What was seen once must stay.
		if len(tc.want) == 0 && len(tc.chain) > 0 {
			who.Chain = who.Chain[:len(who.Chain)-1]
			if c.chain(u, who); j.count(lost) != 1 {
				t.Errorf("%s, then one link less: %v", name, j.counts)
			}
		}
	}
}

// TestNameAgainstTheLedger proves that of several sign-ups of a name exactly the one
// that was told so has made it.
func TestNameAgainstTheLedger(t *testing.T) {
	for name, tc := range map[string]struct {
		outcomes []outcome // of attempts with salt 0, 1, ...
		salt     string    // "" for nobody
		want     kind
	}{
		"made by the one that was told so": {[]outcome{wasRefused, wasAcked, wasUnknown}, "1", ""},
		"made by one without an answer":    {[]outcome{wasUnknown, wasRefused}, "0", ""},
		"made by nobody":                   {[]outcome{wasUnknown, wasUnsent}, "", ""},
		"lost":                             {[]outcome{wasAcked}, "", lost},
		"taken from its owner":             {[]outcome{wasAcked, wasUnknown}, "1", doubled},
		"two told so":                      {[]outcome{wasAcked, wasAcked}, "1", doubled},
		"made by a refused one":            {[]outcome{wasRefused}, "0", doubled},
		"made by a stranger":               {[]outcome{wasRefused}, "9", wrong},
	} {
		u := newBook("").user("alice")
		for i, o := range tc.outcomes {
			u.settle(&attempt{outcome: o, endpoint: "signup", facts: &facts{Salt: fmt.Sprint(i)}}, line{What: o})
		}
		j := newJudge(io.Discard, 1, "")
		c := &checker{judge: j}
		if tc.salt == "" {
			c.absent(u)
		} else {
			c.attemptOf(u, tc.salt)
		}
		if j.total() != j.count(tc.want) || (tc.want != "") != (j.total() > 0) {
			t.Errorf("%s: %v, want %q", name, j.counts, tc.want)
		}
	}
}

// TestRegister proves which values may be read back after writes of known and unknown
// outcome.
func TestRegister(t *testing.T) {
	var r register
	r.write("a", wasAcked)
	r.write("b", wasUnknown)
	r.write("x", wasRefused)
	r.write("c", wasUnknown)
	for value, ok := range map[string]bool{"a": true, "b": true, "c": true, "": false, "x": false} {
		again := register{r.must, r.maybe}
		if again.read(value) != ok {
			t.Errorf("reading %q is not %t", value, ok)
		}
		if ok && (again.read("a") != (value == "a") || !again.read(value)) {
			t.Errorf("after reading %q another value may be read", value)
		}
	}
}

// TestOrder proves that a request may not stand behind one that was sent after it was
// acknowledged, and that newest roots hold what they must and no more.
func TestOrder(t *testing.T) {
	request := func(sent, done, root int64) placed { return placed{a: &attempt{sent: sent, done: done}, root: root} }
	for name, tc := range map[string]struct {
		all   []placed
		polls []poll
		want  int
	}{
		"one after the other": {[]placed{request(1, 2, 5), request(3, 4, 6)}, nil, 0},
		"together":            {[]placed{request(1, 3, 6), request(2, 4, 5)}, nil, 0},
		"in one root":         {[]placed{request(1, 2, 5), request(3, 4, 5)}, nil, 0},
		"reordered":           {[]placed{request(1, 2, 6), request(3, 4, 5)}, nil, 1},
		"seen at once":        {[]placed{request(1, 2, 6)}, []poll{{3, 4, 6}}, 0},
		"not seen":            {[]placed{request(1, 2, 6)}, []poll{{3, 4, 5}}, 1},
		"seen before":         {[]placed{request(3, 4, 6)}, []poll{{1, 2, 6}}, 1},
		"seen meanwhile":      {[]placed{request(2, 4, 6)}, []poll{{1, 3, 6}}, 0},
	} {
		j := newJudge(io.Discard, 1, "")
		compareOrders(j, tc.all, tc.polls)
		if j.count(reordered) != tc.want {
			t.Errorf("%s: %v, want %d", name, j.counts, tc.want)
		}
	}
}

// rootOf is the payload of a root after another one, and its reply to merkle/root.
func payloadOf(n, ctime int64, before string, skips map[string]string) string {
	prev := ""
	if before != "" {
		sum := sha512.Sum512([]byte(before))
		prev = hex.EncodeToString(sum[:])
	}
	b, err := json.Marshal(map[string]any{"ctime": ctime, "body": map[string]any{"seqno": n, "prev": prev, "skips": skips}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func replyOf(n int64, payload string, skips ...string) []byte {
	b, err := json.Marshal(rootReply{Seqno: n, Payload: payload, Skips: &skips})
	if err != nil {
		panic(err)
	}
	return b
}

// TestWitness proves that the witness sees each way in which roots can go wrong.
func TestWitness(t *testing.T) {
	one := payloadOf(1, 10, "", nil)
	two := payloadOf(2, 11, one, map[string]string{"1": hashOf(one)})
	three := payloadOf(3, 11, two, map[string]string{"2": hashOf(two), "1": hashOf(one)})
	for name, tc := range map[string]struct {
		replies [][]byte
		seen    int64 // the newest that was seen before the last question
		ok      bool
	}{
		"in order":              {[][]byte{replyOf(1, one), replyOf(2, two), replyOf(3, three)}, 2, true},
		"the same again":        {[][]byte{replyOf(2, two), replyOf(2, two)}, 2, true},
		"with a way":            {[][]byte{replyOf(3, three, two, one)}, 0, true},
		"going back":            {[][]byte{replyOf(2, two), replyOf(1, one)}, 2, false},
		"an old answer, late":   {[][]byte{replyOf(2, two), replyOf(1, one)}, 1, true},
		"a fork":                {[][]byte{replyOf(2, two), replyOf(2, payloadOf(2, 12, one, nil))}, 2, false},
		"a fork in the past":    {[][]byte{replyOf(2, two), replyOf(3, payloadOf(3, 12, two, map[string]string{"1": hashOf(two)}))}, 2, false},
		"another before":        {[][]byte{replyOf(2, two), replyOf(3, payloadOf(3, 12, one, nil))}, 2, false},
		"time back":             {[][]byte{replyOf(2, two), replyOf(3, payloadOf(3, 10, two, nil))}, 2, false},
		"time back, late":       {[][]byte{replyOf(3, three), replyOf(1, payloadOf(1, 12, "", nil))}, 0, false},
		"a wrong way":           {[][]byte{replyOf(3, three, payloadOf(2, 11, one, nil))}, 0, false},
		"another number inside": {[][]byte{replyOf(4, three)}, 0, false},
		"not a root":            {[][]byte{replyOf(4, "{}")}, 0, false},
	} {
		j := newJudge(io.Discard, 1, "")
		w := newWitness(io.Discard, j.found)
		for i, r := range tc.replies {
			seen := int64(0)
			if i == len(tc.replies)-1 {
				seen = tc.seen
			}
			w.wire("merkle/root", seen, "", r)
		}
		if (j.count(forked) == 0) != tc.ok {
			t.Errorf("%s: %v", name, j.counts)
		}
	}
}

// TestLedger proves that what was written is read back in order, also in parts, and
// that a request without an outcome is noticed.
func TestLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, err := newLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	b := newBook(path)
	e := line{User: "alice", Endpoint: "signup", Facts: &facts{Salt: "0"}}
	e.N = l.sent(e)
	if err := b.readOn(); err == nil {
		t.Error("a request without an outcome was not noticed")
	}
	e.What = wasAcked
	l.came(e)
	if err := b.readOn(); err != nil {
		t.Fatal(err)
	}
	u := b.takeTouched()
	if len(u) != 1 || len(u[0].signups) != 1 || u[0].signups[0].sent != 1 || u[0].signups[0].done != 2 {
		t.Errorf("read %+v", u)
	}
	l.came(e)
	if err := b.readOn(); err == nil {
		t.Error("two outcomes of one request were not noticed")
	}
	if acked, unknown := l.counts(); acked != 2 || unknown != 0 || l.position() != 3 {
		t.Errorf("%d acknowledged, %d unknown in %d lines", acked, unknown, l.position())
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
}

// TestPlace proves that flips land inside of a file, and mostly where it is not zero.
func TestPlace(t *testing.T) {
	b := make([]byte, 1000)
	copy(b[400:], "value")
	rng := rand.New(rand.NewPCG(1, 1))
	hits := 0
	for range 1000 {
		at := place(b, rng)
		if at < 0 || at >= int64(len(b)) {
			t.Fatalf("byte %d", at)
		}
		if b[at] != 0 {
			hits++
		}
	}
	if hits < 800 {
		t.Errorf("%d of 1000 hit", hits)
	}
	if at := place([]byte{0}, rng); at != 0 {
		t.Errorf("byte %d of one", at)
	}
}
