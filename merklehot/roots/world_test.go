package roots

import (
	"context"
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/highwater"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/tree"
)

// markRecord is a high-water record in memory; unlike a file it outlives a crash of
// the file system it is beside.
type markRecord struct {
	mark highwater.Mark
	fail error
}

func (m *markRecord) Mark() highwater.Mark { return m.mark }

func (m *markRecord) Advance(old, next highwater.Mark) error {
	if m.fail != nil {
		return m.fail
	}
	if m.mark != old || next.Seqno <= old.Seqno {
		return highwater.ErrMoved
	}
	m.mark = next
	return nil
}

// world is a store in memory with everything a sequencer needs, all of it
// reproducible from a seed.
type world struct {
	t     testing.TB
	fs    *vfs.MemFS
	via   vfs.FS // what the store is given, if not fs
	clock *clock.Fake
	mark  *markRecord
	rng   *rand.ChaCha8
	cfg   Config
	fatal error

	st  *store.Store
	seq *Sequencer
}

func newWorld(t testing.TB, seed byte) *world {
	w := &world{
		t: t, fs: vfs.NewCrashableMem(), mark: &markRecord{},
		clock: clock.NewFake(time.Unix(1795289782, 0)),
		rng:   rand.NewChaCha8([32]byte{seed}),
	}
	w.cfg = Config{Key: testKey(seed), HighWater: w.mark, Rand: w.rng}
	return w
}

func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, 31), seed))
}

// open opens the store and starts the sequencer; after an error the store is closed.
func (w *world) open() error {
	w.fatal = nil
	fs := vfs.FS(w.fs)
	if w.via != nil {
		fs = w.via
	}
	st, err := store.Open(store.Options{
		Dir: "data", FS: fs, Clock: w.clock.Now, Rand: w.rng, CacheBytes: 1 << 20,
		Fatal: func(err error) { w.fatal = err },
	})
	if err != nil {
		return err
	}
	seq, err := Start(context.Background(), st, w.cfg)
	if err != nil {
		return errors.Join(err, st.Close())
	}
	w.st, w.seq = st, seq
	return nil
}

func (w *world) mustOpen() {
	w.t.Helper()
	if err := w.open(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) close() {
	w.t.Helper()
	if err := w.st.Close(); err != nil && w.fatal == nil && w.via == nil {
		w.t.Fatal(err)
	}
}

// note runs one transaction that notes all of notes.
func (w *world) note(notes ...any) error {
	return w.st.Update(context.Background(), func(tx *store.Tx) error {
		for _, n := range notes {
			tx.Note(n)
		}
		return nil
	})
}

func (w *world) mustNote(notes ...any) {
	w.t.Helper()
	if err := w.note(notes...); err != nil {
		w.t.Fatal(err)
	}
}

// state returns the published state; the view is closed when the test ends.
func (w *world) state() (*State, *store.View) {
	v := w.st.View()
	return StateOf(v), v
}

// user is a user's id made of a number.
func user(i byte) tree.ID { return tree.ID{i<<4 | i>>4, i, 15: 0x19} }

// at is a leaf whose chain ends at n; the hashes follow from user and number.
func at(i byte, n kbsig.Seqno) LeafChange {
	return LeafChange{user(i), tree.UserLeaf{Seqno: n, Link: kbsig.LinkID{i, byte(n), 1}, Sig: kbsig.SigIDBase{i, byte(n), 2}}}
}
