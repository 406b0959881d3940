package roots

import (
	"context"
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/hash"
	"github.com/keystead/keystead/engine/highwater"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/tree"
)

func sum256(s string) kbsig.HashMeta { return hash.Sum256([]byte(s)) }

// After power loss at any moment the server starts again with every root that was
// shown, and a client that saw the newest before believes what comes after.
func TestCrash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(nopTB{}, 1)
		w.mustOpen()
		c := watcher{kid: w.seq.KID().String()}
		height := kbsig.Seqno(0)
		for range rapid.IntRange(1, 4).Draw(t, "lives") {
			for range rapid.IntRange(0, 6).Draw(t, "writes") {
				height++
				w.mustNote(at(1, height), at(byte(2+height%30), height))
			}
			s, v := w.state()
			var skips []string
			var err error
			if c.last != nil {
				skips, err = s.SkipsBetween(v, kbsig.Seqno(c.last.seqno()), s.Root().Seqno)
			}
			if err == nil {
				err = c.see(s.Root().Payload, s.Root().Armored(), skips)
			}
			v.Close()
			if err != nil {
				t.Fatal(err)
			}
			// What was not synced is lost, all of it or some.
			crashed := w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "kept"), RNG: rng(rapid.Uint64().Draw(t, "seed"))})
			w.close()
			w.fs = crashed
			if err := w.open(); err != nil {
				t.Fatal(err)
			}
			s, v = w.state()
			if int64(s.Root().Seqno) < c.last.seqno() {
				t.Fatalf("root %d after the crash, %d was shown", s.Root().Seqno, c.last.seqno())
			}
			v.Close()
		}
		w.close()
	})
}

// A store that is behind what was shown, or holds another root in its place, or was
// signed by another key, is refused; one that is ahead is taken, and the record
// follows.
func TestRefusals(t *testing.T) {
	build := func(t *testing.T) *world {
		w := newWorld(t, 1)
		w.mustOpen()
		for i := range 5 {
			w.mustNote(at(1, kbsig.Seqno(i+1)))
		}
		return w
	}
	t.Run("behind", func(t *testing.T) {
		w := build(t)
		old := w.fs.CrashClone(vfs.CrashCloneCfg{})
		w.mustNote(at(1, 6))
		w.close()
		w.fs = old
		if err := w.open(); !errors.Is(err, ErrBehind) {
			t.Fatalf("an old copy of the store: %v", err)
		}
	})
	t.Run("empty", func(t *testing.T) {
		w := build(t)
		w.close()
		w.fs = vfs.NewCrashableMem()
		if err := w.open(); !errors.Is(err, ErrBehind) {
			t.Fatalf("an empty store: %v", err)
		}
	})
	t.Run("forked", func(t *testing.T) {
		w := build(t)
		w.close()
		w.mark.mark.HashMeta[0] ^= 1
		if err := w.open(); !errors.Is(err, ErrForked) {
			t.Fatalf("another root was shown: %v", err)
		}
	})
	t.Run("forked earlier", func(t *testing.T) {
		w := build(t)
		w.close()
		w.mark.mark.Seqno--
		if err := w.open(); !errors.Is(err, ErrForked) {
			t.Fatalf("another root was shown: %v", err)
		}
	})
	t.Run("wrong key", func(t *testing.T) {
		w := build(t)
		w.close()
		w.cfg.Key = testKey(2)
		if err := w.open(); !errors.Is(err, ErrWrongKey) {
			t.Fatalf("another key: %v", err)
		}
	})
	t.Run("ahead", func(t *testing.T) {
		w := build(t)
		before := w.mark.mark
		w.mustNote(at(1, 6))
		w.mustNote(at(1, 7))
		newest := w.mark.mark
		w.close()
		w.mark.mark = before
		w.mustOpen()
		defer w.close()
		if w.mark.mark != newest {
			t.Fatalf("record at %d, newest root %d", w.mark.mark.Seqno, newest.Seqno)
		}
	})
	t.Run("new record", func(t *testing.T) {
		w := build(t)
		w.close()
		w.mark.mark = highwater.Mark{}
		w.mustOpen()
		defer w.close()
		if w.mark.mark.Seqno == 0 {
			t.Fatal("the record did not follow")
		}
	})
}

// When the record cannot be moved nobody sees the root, and the next start takes it.
func TestHighWaterFails(t *testing.T) {
	w := newWorld(t, 1)
	w.mustOpen()
	w.mustNote(at(1, 1))
	w.mark.fail = errors.New("disk on fire")
	if err := w.note(at(1, 2)); !errors.Is(err, store.ErrStopped) || !errors.Is(w.fatal, w.mark.fail) {
		t.Fatalf("update: %v, fatal: %v", err, w.fatal)
	}
	s, v := w.state()
	if string(s.Leaf(user(1))) != string(at(1, 1).Leaf.Encode()) {
		t.Error("a root was shown before the record moved")
	}
	v.Close()
	w.close()
	w.mark.fail = nil
	w.mustOpen()
	defer w.close()
	s, v = w.state()
	defer v.Close()
	if string(s.Leaf(user(1))) != string(at(1, 2).Leaf.Encode()) || w.mark.mark.Seqno != s.Root().Seqno {
		t.Error("the durable root is not there after the restart")
	}
}

// Any damage to the records of the newest roots, or to a leaf, is found at start.
func TestDamageAtStart(t *testing.T) {
	damage := func(t *testing.T, change func(tx *store.Tx)) error {
		w := newWorld(t, 1)
		w.mustOpen()
		for i := range 5 {
			w.mustNote(at(byte(i), 1))
		}
		w.close()
		// Without its sealer a store takes anything.
		st, err := store.Open(store.Options{Dir: "data", FS: w.fs})
		if err != nil {
			t.Fatal(err)
		}
		err = st.Update(context.Background(), func(tx *store.Tx) error {
			change(tx)
			return nil
		})
		if err := errors.Join(err, st.Close()); err != nil {
			t.Fatal(err)
		}
		err = w.open()
		if err == nil {
			w.close()
		}
		return err
	}
	newest := FirstSeqno + 6
	flip := func(n kbsig.Seqno, at int) func(*store.Tx) {
		return func(tx *store.Tx) {
			v, err := tx.Get(keys.Root(n))
			if err != nil {
				panic(err)
			}
			v[at] ^= 1
			tx.Set(keys.Root(n), v)
		}
	}
	// forge signs the newest root anew with another payload.
	forge := func(before, after string) func(*store.Tx) {
		return func(tx *store.Tx) {
			r, err := RootAt(tx, newest)
			if err != nil {
				panic(err)
			}
			at := strings.Index(r.Payload, before) + len(before)
			r.Payload = r.Payload[:at] + after + r.Payload[at+len(after):]
			r.HashMeta = sum256(r.Payload)
			copy(r.Sig[:], ed25519.Sign(testKey(1), []byte(r.Payload)))
			put(tx, r)
		}
	}
	for name, c := range map[string]struct {
		change func(*store.Tx)
		want   error
	}{
		"payload":     {flip(newest-2, payloadAt+300), ErrCorrupt},
		"hash":        {flip(newest-1, hashAt), ErrCorrupt},
		"node hash":   {flip(newest-1, nodeAt), ErrCorrupt},
		"time":        {flip(newest-1, ctimeAt+7), ErrCorrupt},
		"signature":   {flip(newest, sigAt+3), ErrCorrupt},
		"key":         {flip(newest, kidAt+3), ErrWrongKey},
		"version":     {flip(newest, 0), ErrCorrupt},
		"wrong prev":  {forge(`"prev":"`, "0123456789abcdef"), ErrCorrupt},
		"wrong skip":  {forge(`"skips":{"1129360":"`, "0123456789abcdef"), ErrCorrupt},
		"no skip":     {forge(`"skips":{"112936`, "1"), ErrCorrupt},
		"wrong tree":  {forge(`,"root":"`, "0123456789abcdef"), ErrCorrupt},
		"wrong seqno": {forge(`"seqno":532366`, "9"), ErrCorrupt},
		"wrong ctime": {forge(`"ctime":179528978`, "9"), ErrCorrupt},
		"no payload":  {forge(`{"body":`, "!"), ErrCorrupt},
		"root gone":   {func(tx *store.Tx) { tx.Delete(keys.Root(newest - 2)) }, ErrCorrupt},
		"newest gone": {func(tx *store.Tx) { tx.Delete(keys.Root(newest)) }, ErrBehind},
		"leaf value": {func(tx *store.Tx) {
			id := user(2)
			tx.Set(keys.Leaf(keys.TreeMain, id[:], newest), at(2, 9).Leaf.Encode())
		}, tree.ErrCorrupt},
		"leaf gone": {func(tx *store.Tx) {
			id := user(4)
			tx.Delete(keys.Leaf(keys.TreeMain, id[:], newest))
		}, tree.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			if err := damage(t, c.change); !errors.Is(err, c.want) {
				t.Errorf("start: %v, want %v", err, c.want)
			}
		})
	}
}

// A sequencer without its parts is not made.
func TestConfig(t *testing.T) {
	if _, err := Start(context.Background(), nil, Config{}); err == nil {
		t.Fatal("started with nothing")
	}
}

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// When any one write to the disk fails, at the store's making or later, the server
// stops rather than go on; after the power loss that follows it starts again, holds
// every root that was shown, and signs none of those numbers anew.
func TestWriteFaults(t *testing.T) {
	scenario := func(w *world, c *watcher) error {
		if err := w.open(); err != nil {
			return err
		}
		defer w.close()
		for i := range 4 {
			s, v := w.state()
			var skips []string
			var err error
			if c.last != nil {
				skips, err = s.SkipsBetween(v, kbsig.Seqno(c.last.seqno()), s.Root().Seqno)
			}
			if err == nil {
				err = c.see(s.Root().Payload, s.Root().Armored(), skips)
			}
			v.Close()
			if err != nil {
				t.Fatal(err)
			}
			if err := w.note(at(1, s.Root().Seqno), at(byte(2+i), s.Root().Seqno)); err != nil {
				return err
			}
		}
		return nil
	}
	for n := range 500 {
		w := newWorld(t, 1)
		c := &watcher{kid: kbsig.KIDOfPrivate(w.cfg.Key).String()}
		var writes atomic.Int64
		w.via = errorfs.Wrap(w.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && writes.Add(1) == int64(n)+1 {
				return errorfs.ErrInjected
			}
			return nil
		}))
		err := scenario(w, c)
		hit := writes.Load() > int64(n)
		if err == nil && hit {
			// A failure that nothing depended on, such as removing an old file.
			t.Logf("write %d: harmless", n)
		}
		w.fs, w.via = w.fs.CrashClone(vfs.CrashCloneCfg{}), nil
		if err := scenario(w, c); err != nil {
			t.Fatalf("write %d failed (%v), after the restart: %v", n, err, err)
		}
		if !hit {
			t.Logf("%d writes, each failed once", n)
			return
		}
	}
	t.Fatal("the scenario has too many writes")
}
