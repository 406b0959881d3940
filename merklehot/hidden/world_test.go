package hidden_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/highwater"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/roots"
)

// markRecord is a high-water record in memory.
type markRecord struct{ mark highwater.Mark }

func (m *markRecord) Mark() highwater.Mark { return m.mark }

func (m *markRecord) Advance(_, next highwater.Mark) error { m.mark = next; return nil }

// world is a store with a sequencer, and teams whose visible chains are made up.
type world struct {
	st      *store.Store
	visible map[kbsig.TeamID]hidden.Visible
	mayNot  error // what Signer says
}

func newWorld(t testing.TB) *world {
	st, err := store.Open(store.Options{
		Dir: "data", FS: vfs.NewMem(), Clock: clock.NewFake(time.Unix(1795289782, 0)).Now,
		Rand: rand.NewChaCha8([32]byte{1}), CacheBytes: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	if _, err := roots.Start(t.Context(), st, roots.Config{Key: key, HighWater: &markRecord{}, Rand: rand.NewChaCha8([32]byte{2})}); err != nil {
		t.Fatal(err)
	}
	return &world{st: st, visible: make(map[kbsig.TeamID]hidden.Visible)}
}

func (w *world) Visible(team kbsig.TeamID) (hidden.Visible, error) {
	v, ok := w.visible[team]
	if !ok {
		return v, errNoTeam
	}
	return v, nil
}

func (w *world) Signer(*hidden.Link) error { return w.mayNot }

var errNoTeam = errors.New("no such team")

func team(i byte) kbsig.TeamID { return kbsig.TeamID{i * 91, i, 15: 0x24} }

func key(name string) *client.SigningKey {
	seed := client.Seed{}
	copy(seed[:], "seed of "+name)
	return client.NewSigningKey(seed)
}

func encryptionKey(name string) client.KID {
	seed := client.Seed{}
	copy(seed[:], "seed of "+name)
	return client.NewDHKey(seed).KID()
}

// next is the rotation that a client would post next, with generation gen.
func (w *world) next(t testing.TB, id kbsig.TeamID, gen int64) *client.HiddenLink {
	st, v := w.load(t, id), w.visible[id]
	l := &client.HiddenLink{
		Team: id, Seqno: client.Seqno(st.Tail().Seqno) + 1, Prev: client.LinkID(st.Tail().Link),
		Key:   client.HiddenKey{Generation: int(gen), Enc: encryptionKey(fmt.Sprintf("gen %d", gen)), Check: [32]byte{byte(gen)}},
		Ctime: 1795289783, Entropy: []byte("sixteen bytes of"), Client: &[2]string{"a client", "1.0"},
		RootCtime: 1795289782, RootHash: client.HashMeta{1}, RootSeqno: 5323659,
		Parent: client.HiddenTail{Seqno: client.Seqno(v.Tail.Seqno), LinkID: client.LinkID(v.Tail.Link)},
		UID:    client.UIDOf("alice"), Eldest: 1, Implicit: v.Implicit,
	}
	l.Build(key("device"), key(fmt.Sprintf("gen %d", gen)))
	return l
}

func (w *world) load(t testing.TB, id kbsig.TeamID) *hidden.State {
	v := w.st.View()
	defer v.Close()
	st, err := hidden.Load(v, id)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// item is the link as an item of sig/multi.
func item(l *client.HiddenLink) hidden.Posted {
	return hidden.Posted{
		Type: "team.rotate_key_hidden", TeamID: fmt.Sprintf("%x", l.Team), SigningKID: l.KID.String(), SeqType: 17, Version: 3,
		Inner: l.Inner, Outer: l.Outer, Sig: l.Sig, Signing: l.Key.Sig.String(), Encryption: l.Key.Enc.String(),
	}
}

// post posts an item as a service would.
func (w *world) post(p hidden.Posted) error {
	l, err := hidden.Parse(p)
	if err != nil {
		return err
	}
	return w.st.Update(context.Background(), func(tx *store.Tx) error {
		st, err := hidden.Load(tx, l.Team)
		if err != nil {
			return err
		}
		if st, err = st.Apply(l, w); err != nil {
			return err
		}
		return hidden.Append(tx, st, l)
	})
}

func (w *world) rotate(t testing.TB, id kbsig.TeamID, gen int64) *client.HiddenLink {
	t.Helper()
	l := w.next(t, id, gen)
	if err := w.post(item(l)); err != nil {
		t.Fatal(err)
	}
	return l
}
