package roots

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/tree"
)

// A new store gets two roots over the empty tree with the numbers that clients in
// production mode demand, and a client believes them.
func TestGenesis(t *testing.T) {
	w := newWorld(t, 1)
	w.mustOpen()
	defer w.close()
	s, v := w.state()
	defer v.Close()
	if s.First() != 5323658 || s.Root().Seqno != 5323659 {
		t.Fatalf("genesis from %d to %d", s.First(), s.Root().Seqno)
	}
	c := watcher{kid: w.seq.KID().String()}
	for n := s.First(); n <= s.Root().Seqno; n++ {
		r, err := s.RootAt(v, n)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.see(r.Payload, r.Armored(), []string{}); err != nil {
			t.Fatal(err)
		}
	}
	first, _ := s.RootAt(v, s.First())
	for to, h := range c.last.body.Body.Skips {
		if want := strings.Repeat("0", 64); to != "5323658" && h != want || to == "5323658" && h != first.HashMeta.String() {
			t.Errorf("skip to %s is %s", to, h)
		}
	}
	k := DefaultKits()
	b := c.last.body.Body
	if b.PVL != k.PVL.Hash || b.Proofs != k.ProofParams.Hash || b.URLs != k.ExternalURLs.Hash {
		t.Error("the kits' hashes are not in the root")
	}
	// The legacy tree proves that it knows nobody.
	if _, err := checkPath(b.Legacy, namesKey("nobody"), tree.AppendPath(nil, s.NamesPath("nobody"))); !errors.Is(err, errAbsent) {
		t.Errorf("legacy path: %v", err)
	}
}

// The kits have the hashes of the worked example in the protocol notes.
func TestKitHashes(t *testing.T) {
	k := DefaultKits()
	for _, c := range []struct{ got, want string }{
		{k.PVL.Hash[:16], "38458e9620877b87"},
		{k.ProofParams.Hash[:16], "9e022179830d8dc4"},
		{k.ExternalURLs.Hash[:16], "63adadac6ca284a2"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

// A root renders to the very bytes of a root that the stock client has accepted.
func TestPayloadBytes(t *testing.T) {
	const want = `{"body":{"blind_merkle_root_hash":"","external_urls_hash":"63adadac6ca284a2949f69a0c41842871bad41ddfb2b8e6a098263126418496f1d05fbd6706e392c3a7667df8eb1688dd17d398aef9b81a293b2aa2bd2148cb8","kbfs":{"private":{"root":null,"version":null},"privateteam":{"root":null,"version":null},"public":{"root":null,"version":null}},"legacy_uid_root":"0000000000000000000000000000000000000000000000000000000000000000","prev":"","proof_services_hash":"9e022179830d8dc46fd51b7e995d3f7e3e0b849a981e9793f20ffb8feb559f6ead6730bcf7e9bd2e471235dd941aaabe514d9b8a3c23089e090d60e56153bc57","pvl_hash":"38458e9620877b8797ee514469d9ce544a14f5b35f3afc41379bdcb0341fa20161c719e26fec8faa1e0065ad74a2c660a881e2bd94d7aee4180b9990baf9d820","root":"ab3208ee87cdb45930532b9d8ccc8518fe992ccc8b3fbf3aafaa3cf83f3120f8f01d2985a9c3aec27879cb6f1d06b8b5af9ee8f8e8f096a98e44454f31a36464","seqno":1,"skips":{},"txid":"ab3453b587ec8a413276960a5966e634","type":"merkle_root","version":1},"ctime":1795289782,"tag":"signature"}`
	k := DefaultKits()
	b := body{seqno: 1, ctime: 1795289782, root: tree.NewMain().Root(), kits: &k}
	hex.Decode(b.txid[:], []byte("ab3453b587ec8a413276960a5966e634"))
	if d := cmp.Diff(want, string(b.payload())); d != "" {
		t.Error(d)
	}
}

// Skip tables and skip paths are those of the worked table in the protocol notes.
func TestSkips(t *testing.T) {
	for _, c := range []struct {
		older, newer kbsig.Seqno
		want         []kbsig.Seqno
	}{
		{9, 10, nil},
		{8, 12, nil},
		{3, 10, []kbsig.Seqno{6, 4}},
		{1, 16, []kbsig.Seqno{8, 4, 2}},
		{100, 1000, []kbsig.Seqno{488, 232, 104}},
		{7, 7, nil},
	} {
		if d := cmp.Diff(c.want, skipPath(c.older, c.newer)); d != "" {
			t.Errorf("from %d to %d: %s", c.newer, c.older, d)
		}
	}
	for _, c := range []struct {
		n    kbsig.Seqno
		want []kbsig.Seqno
	}{
		{1, nil},
		{2, []kbsig.Seqno{1}},
		{3, []kbsig.Seqno{2, 1}},
		{8, []kbsig.Seqno{7, 6, 4}},
		{9, []kbsig.Seqno{8, 7, 5, 1}},
	} {
		if d := cmp.Diff(c.want, skipTargets(c.n)); d != "" {
			t.Errorf("table of %d: %s", c.n, d)
		}
	}
	if n := len(skipTargets(FirstSeqno)); n != 23 {
		t.Errorf("%d skips in the first root, the genuine one of that number has 23", n)
	}
}

// A client that looks at the newest root now and then, at any distance, believes
// each; every path at any earlier root, from memory or from the store, proves the
// leaf that was there then; and all of that holds across restarts.
func TestHistoryAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(nopTB{}, 2)
		w.cfg.First = kbsig.Seqno(rapid.SampledFrom([]int64{1, 100, int64(FirstSeqno)}).Draw(t, "first"))
		w.mustOpen()
		defer func() { w.close() }()
		c := watcher{kid: w.seq.KID().String()}
		heights := map[byte]kbsig.Seqno{}
		model := map[kbsig.Seqno]map[byte]kbsig.Seqno{} // by root
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				w.clock.Advance(time.Duration(rapid.IntRange(-100, 100).Draw(t, "seconds")) * time.Second)
				var notes []any
				for range rapid.IntRange(1, 5).Draw(t, "leaves") {
					i := rapid.ByteRange(0, 40).Draw(t, "user")
					heights[i]++
					notes = append(notes, at(i, heights[i]))
				}
				if err := w.note(notes...); err != nil {
					t.Fatal(err)
				}
				s, v := w.state()
				defer v.Close()
				model[s.Root().Seqno] = cloneMap(heights)
			},
			"beat": func(t *rapid.T) {
				if err := w.note(Beat{}); err != nil {
					t.Fatal(err)
				}
				s, v := w.state()
				defer v.Close()
				model[s.Root().Seqno] = cloneMap(heights)
			},
			"reopen": func(t *rapid.T) {
				w.close()
				if err := w.open(); err != nil {
					t.Fatal(err)
				}
			},
			"look": func(t *rapid.T) {
				s, v := w.state()
				defer v.Close()
				var skips []string
				if c.last != nil {
					var err error
					if skips, err = s.SkipsBetween(v, kbsig.Seqno(c.last.seqno()), s.Root().Seqno); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.see(s.Root().Payload, s.Root().Armored(), skips); err != nil {
					t.Fatal(err)
				}
			},
			"past": func(t *rapid.T) {
				s, v := w.state()
				defer v.Close()
				n := kbsig.Seqno(rapid.Int64Range(int64(s.First()), int64(s.Root().Seqno)).Draw(t, "root"))
				checkPastRoot(t, s, v, n, model[n])
				// The same without anything in memory but the newest tree.
				bare := *s
				bare.recent = s.recent[len(s.recent)-1:]
				checkPastRoot(t, &bare, v, n, model[n])
			},
			"": func(t *rapid.T) {
				if w.fatal != nil {
					t.Fatal(w.fatal)
				}
			},
		})
	})
}

func cloneMap(m map[byte]kbsig.Seqno) map[byte]kbsig.Seqno {
	out := make(map[byte]kbsig.Seqno, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func checkPastRoot(t *rapid.T, s *State, v *store.View, n kbsig.Seqno, heights map[byte]kbsig.Seqno) {
	root, err := s.RootAt(v, n)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.SeqnoByHashMeta(v, root.HashMeta); err != nil || got != n {
		t.Fatalf("root %d found as %d, %v", n, got, err)
	}
	i := rapid.ByteRange(0, 41).Draw(t, "user")
	steps, leaf, err := s.Path(v, user(i), n)
	if err != nil {
		t.Fatal(err)
	}
	wire, again, err := s.AppendPath(nil, v, user(i), n)
	if err != nil || !bytes.Equal(again, leaf) || !bytes.Equal(wire, tree.AppendPath(nil, steps)) {
		t.Fatalf("user %d at root %d: two forms of one path, %v", i, n, err)
	}
	got, err := checkPath(root.Hash.String(), user(i).String(), wire)
	h := heights[i]
	switch {
	case h == 0 && (leaf != nil || !errors.Is(err, errAbsent)):
		t.Fatalf("user %d at root %d: %q, %v; want a proof of absence", i, n, got, err)
	case h != 0 && (err != nil || got != string(leaf) || got != string(at(i, h).Leaf.Encode())):
		t.Fatalf("user %d at root %d: %q, %v; want link %d", i, n, got, err, h)
	}
	changed, err := s.LeafChangedAfter(v, user(i), n)
	if err != nil {
		t.Fatal(err)
	}
	if want := !bytes.Equal(leaf, s.Leaf(user(i))); changed != want {
		t.Fatalf("user %d changed after root %d: %v", i, n, changed)
	}
}

// nopTB lets a world be used inside rapid, which has its own T.
type nopTB struct{ testing.TB }

func (nopTB) Helper()           {}
func (nopTB) Fatal(args ...any) { panic(args) }

// Roots that do not exist are named so, whatever is asked of them.
func TestNoSuchRoot(t *testing.T) {
	w := newWorld(t, 3)
	w.mustOpen()
	defer w.close()
	s, v := w.state()
	defer v.Close()
	for _, n := range []kbsig.Seqno{-1, 0, 1, FirstSeqno - 1, FirstSeqno + 2} {
		_, err1 := s.RootAt(v, n)
		_, _, err2 := s.Path(v, user(1), n)
		_, err3 := s.SkipsBetween(v, min(n, s.Root().Seqno), max(n, s.Root().Seqno))
		_, _, err4 := s.AppendPath(nil, v, user(1), n)
		for i, err := range []error{err1, err2, err3, err4} {
			if !errors.Is(err, ErrNoRoot) {
				t.Errorf("root %d, question %d: %v", n, i, err)
			}
		}
	}
	if _, err := s.SeqnoByHashMeta(v, kbsig.HashMeta{1}); !errors.Is(err, ErrNoRoot) {
		t.Errorf("by hash: %v", err)
	}
}

// A group that changes nothing gets no root; a beat and a new leaf get one each, and
// all transactions of a group share theirs.
func TestWhenRootsAreMade(t *testing.T) {
	w := newWorld(t, 4)
	w.mustOpen()
	defer w.close()
	newest := func() kbsig.Seqno {
		s, v := w.state()
		defer v.Close()
		return s.Root().Seqno
	}
	start := newest()
	w.mustNote()
	if newest() != start {
		t.Error("a root without a reason")
	}
	w.mustNote(at(1, 1), at(2, 1))
	if newest() != start+1 {
		t.Error("two leaves in one transaction: not one root")
	}
	w.mustNote(at(1, 1))
	if newest() != start+1 {
		t.Error("a leaf that is there already made a root")
	}
	w.mustNote(Beat{}, at(3, 1))
	if newest() != start+2 {
		t.Error("beat and leaf: not one root")
	}
	ctx := context.Background()
	if err := w.seq.Heartbeat(ctx); err != nil || newest() != start+2 {
		t.Errorf("a heartbeat while the root is young: %v", err)
	}
	w.clock.Advance(time.Hour)
	if err := w.seq.Heartbeat(ctx); err != nil || newest() != start+3 {
		t.Errorf("a heartbeat after an hour: %v", err)
	}
}

// Signed time never goes back, whatever the clock does.
func TestClockGoesBack(t *testing.T) {
	w := newWorld(t, 5)
	w.mustOpen()
	defer w.close()
	last := int64(0)
	for i, d := range []time.Duration{time.Second, -time.Second, -time.Hour, 10 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour, 0} {
		w.clock.Advance(d)
		w.mustNote(at(1, kbsig.Seqno(i+1)))
		s, v := w.state()
		v.Close()
		if s.Root().Ctime < last {
			t.Fatalf("ctime %d after %d", s.Root().Ctime, last)
		}
		last = s.Root().Ctime
	}
}

// A chain end that changes while its number does not, or goes back, stops the server
// before a root is signed; so does a note nobody knows.
func TestOddEven(t *testing.T) {
	other := at(1, 5)
	other.Leaf = tree.UserLeaf{Seqno: 5, Link: kbsig.LinkID{9}, Sig: kbsig.SigIDBase{9}}
	team := func(n kbsig.Seqno, b byte) LeafChange {
		return LeafChange{user(2), tree.TeamLeaf{Private: tree.Triple{Seqno: n, Link: kbsig.LinkID{b}}}}
	}
	reset := func(n kbsig.Seqno, b byte) LeafChange {
		return LeafChange{user(3), tree.UserLeaf{Reset: tree.ResetTail{Seqno: n, Hash: [64]byte{b}}}}
	}
	for name, c := range map[string]struct {
		before []any
		bad    any
		want   error
	}{
		"another end":         {[]any{at(1, 5)}, other, ErrOddEven},
		"back":                {[]any{at(1, 5)}, at(1, 4), ErrOddEven},
		"team, another end":   {[]any{team(3, 1)}, team(3, 2), ErrOddEven},
		"resets, another end": {[]any{reset(1, 1)}, reset(1, 2), ErrOddEven},
		"resets, back":        {[]any{reset(2, 1)}, reset(1, 1), ErrOddEven},
		"unknown note":        {nil, "a note", nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 6)
			w.mustOpen()
			w.mustNote(append(c.before, Beat{})...)
			mark := w.mark.mark
			err := w.note(c.bad)
			if !errors.Is(err, store.ErrStopped) || w.fatal == nil || c.want != nil && !errors.Is(w.fatal, c.want) {
				t.Errorf("update: %v, fatal: %v", err, w.fatal)
			}
			w.close()
			if w.mark.mark != mark {
				t.Error("the high-water record moved")
			}
			w.mustOpen()
			w.close()
		})
	}
	// The same two ends inside one group.
	w := newWorld(t, 7)
	w.mustOpen()
	if err := w.note(at(1, 5), other); !errors.Is(err, store.ErrStopped) || !errors.Is(w.fatal, ErrOddEven) {
		t.Errorf("both in a group: %v, fatal: %v", err, w.fatal)
	}
	w.close()
}

// Far skips are read from the store in windows; they are the same hashes as those in
// memory, and a missing root is noticed.
func TestFarSkips(t *testing.T) {
	w := newWorld(t, 8)
	w.mustOpen()
	defer w.close()
	for i := range 300 {
		w.mustNote(at(1, kbsig.Seqno(i+1)))
	}
	s, v := w.state()
	defer v.Close()
	near := w.seq.hashes
	far := hashes{first: near.first, base: s.Root().Seqno + 1}
	for n := s.First() + 200; n <= s.Root().Seqno+1; n++ {
		a, err1 := near.skips(v, n)
		b, err2 := far.skips(v, n)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if d := cmp.Diff(a, b, cmp.AllowUnexported(skip{})); d != "" {
			t.Fatalf("root %d: %s", n, d)
		}
	}
	beyond := hashes{first: near.first, base: s.Root().Seqno + 10}
	if _, err := beyond.skips(v, s.Root().Seqno+5); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a skip to a root that is not there: %v", err)
	}
}

// The hashes kept in memory stay in step with the roots when old ones are dropped.
func TestHashesInMemory(t *testing.T) {
	h := hashes{first: 1}
	for n := kbsig.Seqno(1); n <= 2*hashesMax+10; n++ {
		h.push(n, kbsig.HashMeta{byte(n >> 16), byte(n >> 8), byte(n)})
	}
	n := kbsig.Seqno(2*hashesMax + 10)
	if len(h.recent) >= 2*hashesMax || h.recent[n-h.base] != (kbsig.HashMeta{byte(n >> 16), byte(n >> 8), byte(n)}) {
		t.Fatalf("%d hashes from %d", len(h.recent), h.base)
	}
}

// Trees are kept in memory up to their number and their bytes, oldest dropped first.
func TestRecentTrees(t *testing.T) {
	s := &State{newest: &Root{Seqno: 9}, first: 10}
	empty := tree.NewMain()
	for n := kbsig.Seqno(10); n < 10+3*recentTreesMax; n++ {
		s = s.next(&Root{Seqno: n}, empty, nil, 1000)
	}
	if len(s.recent) != recentTreesMax || s.bytes != (recentTreesMax-1)*1000 {
		t.Fatalf("%d trees of %d bytes", len(s.recent), s.bytes)
	}
	n := s.newest.Seqno + 1
	s = s.next(&Root{Seqno: n}, empty, nil, recentBytesMax-5000)
	if len(s.recent) != 7 || s.at(n) == nil || s.at(n-6) == nil || s.at(n-7) != nil || s.at(n+1) != nil {
		t.Fatalf("%d trees after a large update, %d bytes", len(s.recent), s.bytes)
	}
	s = s.next(&Root{Seqno: n + 1}, empty, nil, 2*recentBytesMax)
	if len(s.recent) != 1 || s.bytes != 0 {
		t.Fatalf("%d trees after a huge update, %d bytes", len(s.recent), s.bytes)
	}
	if s = s.next(&Root{Seqno: n + 2}, empty, nil, 10); len(s.recent) != 2 || s.bytes != 10 {
		t.Fatalf("%d trees of %d bytes", len(s.recent), s.bytes)
	}
}

// Records of roots that were tampered with are refused or equal to what was written.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add(encodeRecord(&Root{Seqno: 1, Payload: "{}"}))
	r := &Root{Seqno: 7, Payload: `{"a":1}`}
	r.HashMeta = sum256(r.Payload)
	f.Add(encodeRecord(r))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(7, b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		if !bytes.Equal(encodeRecord(r), b) {
			t.Fatal("a record that reads as another")
		}
	})
}

// Every root is found under its key and by its hash.
func TestRootKeys(t *testing.T) {
	w := newWorld(t, 9)
	w.mustOpen()
	defer w.close()
	w.mustNote(at(1, 1))
	_, v := w.state()
	defer v.Close()
	count := 0
	err := v.Scan(keys.Roots(), keys.End(keys.Roots()), func(k, b []byte) error {
		n, _ := keys.RootSeqno(k)
		r, err := decodeRecord(n, b)
		if err != nil {
			return err
		}
		count++
		if got, err := SeqnoByHashMeta(v, r.HashMeta); err != nil || got != n {
			t.Errorf("root %d by hash: %d, %v", n, got, err)
		}
		return nil
	})
	if err != nil || count != 3 {
		t.Fatalf("%d roots, %v", count, err)
	}
}

// A root whose signature does not hold is not published, though it is on the disk.
func TestBadSignatureIsNotShown(t *testing.T) {
	w := newWorld(t, 10)
	w.mustOpen()
	mark := w.mark.mark
	w.seq.cfg.Key = testKey(11) // as if memory had changed
	if err := w.note(at(1, 1)); !errors.Is(err, store.ErrStopped) || !errors.Is(w.fatal, ErrCorrupt) {
		t.Errorf("update: %v, fatal: %v", err, w.fatal)
	}
	if s, v := w.state(); s.Root().Seqno != mark.Seqno || w.mark.mark != mark {
		t.Errorf("root %d is shown, the record is at %d", s.Root().Seqno, w.mark.mark.Seqno)
	} else {
		v.Close()
	}
	w.close()
}
