package audit

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/blindtree"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/roots"
)

// hiddenTeam is the n-th team: some begin alike.
func hiddenTeam(n int) kbsig.TeamID {
	id := kbsig.TeamID{byte(n*71) &^ 3, byte(n), 15: 0x24}
	if n%3 == 0 {
		id[0], id[1] = 0x5a, 0xa5
		id[2] = byte(n)
	}
	return id
}

// anyChain takes every link that follows: the visible chains are not part of this.
type anyChain struct{ v hidden.Visible }

func (c anyChain) Visible(kbsig.TeamID) (hidden.Visible, error) { return c.v, nil }
func (anyChain) Signer(*hidden.Link) error                      { return nil }

// rotate posts a hidden link of a team, in a transaction with whatever else.
func (w *world) rotate(tx *store.Tx, team kbsig.TeamID) {
	st, err := hidden.Load(tx, team)
	w.must(err)
	v := hidden.Visible{Tail: kbsig.Sig3Tail{Seqno: st.Tail().Seqno + 1, Link: kbsig.LinkID{1}}, Generation: st.PTK().Generation + 1}
	seed := client.Seed{byte(st.Tail().Seqno), team[0]}
	l := &client.HiddenLink{
		Team: team, Seqno: client.Seqno(st.Tail().Seqno) + 1, Prev: client.LinkID(st.Tail().Link),
		Key:   client.HiddenKey{Generation: int(v.Generation) + 1, Enc: client.NewDHKey(seed).KID()},
		Ctime: 1795289783, Entropy: []byte("sixteen bytes of"), RootSeqno: 5323659,
		Parent: client.HiddenTail{Seqno: client.Seqno(v.Tail.Seqno), LinkID: client.LinkID(v.Tail.Link)},
		UID:    client.UIDOf("alice"), Eldest: 1,
	}
	l.Build(client.NewSigningKey(client.Seed{1}), client.NewSigningKey(seed))
	parsed, err := hidden.Parse(hidden.Posted{
		Type: "team.rotate_key_hidden", TeamID: team.String(), SigningKID: l.KID.String(), SeqType: 17, Version: 3,
		Inner: l.Inner, Outer: l.Outer, Sig: l.Sig, Signing: l.Key.Sig.String(), Encryption: l.Key.Enc.String(),
	})
	w.must(err)
	next, err := st.Apply(parsed, anyChain{v})
	w.must(err)
	w.must(hidden.Append(tx, next, parsed))
	tail := next.Tail()
	hidden.PutBlindings(tx, team, []hidden.Blinding{{Tail: tail, Ratchet: kbsig.RatchetOf(tail, [32]byte{2}), Key: [32]byte{2}}})
}

// newHiddenScene is a world with hidden chains that grew in many roots.
func newHiddenScene(t tb) *scene {
	w := newWorld(t, 1)
	s := &scene{world: w, alice: w.signUp("alice", "")}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 25 {
		w.inTx = true
		err := w.st.Update(t.Context(), func(tx *store.Tx) error {
			for range 1 + rng.IntN(3) {
				w.rotate(tx, hiddenTeam(rng.IntN(14)))
			}
			return nil
		})
		w.inTx = false
		w.must(err)
		if rng.IntN(8) == 0 {
			w.restart()
		}
	}
	return s
}

// family lists the keys with a prefix.
func (s *scene) family(prefix []byte) (out [][]byte) {
	v := s.st.View()
	defer v.Close()
	s.must(v.Scan(prefix, keys.End(prefix), func(k, _ []byte) error {
		out = append(out, bytes.Clone(k))
		return nil
	}))
	return out
}

// Hidden chains that only the server has written hold together, and so does the blind
// tree over them, however teams' ids lie.
func TestSoundHiddenChainsPass(t *testing.T) {
	s := newHiddenScene(t)
	for _, o := range []Options{{}, {Paths: 3}, {Paths: AllPaths}} {
		if out, err := s.audit(o); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// The shape that the audit builds from sorted teams is the one that the tree has.
func TestBlindShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, 1)
		ids := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) (id blindtree.Key) {
			copy(id[:], rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 0x80, 0xff}), 0, 16).Draw(t, "id"))
			return id
		}), 1, 40, func(k blindtree.Key) blindtree.Key { return k }).Draw(t, "teams")
		w.must(w.st.Update(t.Context(), func(tx *store.Tx) error {
			for _, id := range ids {
				tx.Note(roots.BlindChange{Team: id, Tail: blindtree.Tail{Seqno: 1}})
			}
			return nil
		}))
		v := w.st.View()
		defer v.Close()
		var shape blindShape
		lo := keys.BlindLeaves()
		w.must(v.Scan(lo, keys.End(lo), func(k, b []byte) error {
			shape.add(kbsig.TeamID(k[2:18]), blindMAC(b[41:], blindValue(1, b[9:41])))
			return nil
		}))
		top, teams := shape.finish()
		a := &auditor{ctx: t.Context(), r: v}
		w.must(a.blindVersions())
		if newest := a.blind[len(a.blind)-1]; newest.top != top || newest.teams != teams || teams != int64(len(ids)) {
			t.Fatalf("%d teams, %x; the tree has %d, %x", teams, top, newest.teams, newest.top)
		}
	})
}

// Any one bit that flips in a record of hidden chains, ratchets or the blind tree is
// found, and so is any record of chains and tree that is lost.
func TestDamagedHiddenChainsAreFound(t *testing.T) {
	s := newHiddenScene(t)
	var all [][]byte
	for _, p := range [][]byte{
		keys.AllHiddenLinks(), keys.HiddenChains(), keys.BlindLeaves(), keys.BlindPages(), keys.BlindRoots(),
	} {
		all = append(all, s.family(p)...)
	}
	ratchets := s.family(keys.TeamRatchets(kbsig.TeamID{})[:2])
	rapid.Check(t, func(t *rapid.T) {
		lost := rapid.Bool().Draw(t, "lost")
		some := all
		if !lost {
			some = append(some[:len(some):len(some)], ratchets...)
		}
		k := rapid.SampledFrom(some).Draw(t, "key")
		at, bit := rapid.Uint().Draw(t, "byte"), rapid.IntRange(0, 7).Draw(t, "bit")
		out, err := s.damaged(func(tx *store.Tx) {
			if lost {
				tx.Delete(k)
				return
			}
			change(s, tx, k, func(v []byte) []byte {
				v[at%uint(len(v))] ^= 1 << bit
				return v
			})
		})
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("%s, lost %v: not found: %v\n%s", keyText(k), lost, err, out)
		}
	})
}

// What does not belong to any hidden chain is named.
func TestStrayHiddenRecords(t *testing.T) {
	s := newHiddenScene(t)
	nobody := kbsig.TeamID{1, 2, 3, 15: 0x24}
	v := s.st.View()
	n := roots.StateOf(v).Root().Seqno
	v.Close()
	take := func(prefix []byte) []byte { return s.family(prefix)[0] }
	for want, damage := range map[string]func(tx *store.Tx){
		"blind leaf of team " + nobody.String(): func(tx *store.Tx) {
			b, err := tx.Get(take(keys.BlindLeaves()))
			s.must(err)
			tx.Set(keys.BlindLeaf(nobody, n), b)
		},
		"hidden chain state of team " + nobody.String(): func(tx *store.Tx) {
			b, err := tx.Get(take(keys.HiddenChains()))
			s.must(err)
			tx.Set(keys.HiddenChain(nobody), b)
		},
		"page of the blind tree, depth 0": func(tx *store.Tx) {
			tx.Set(keys.BlindPage(0, nobody, 5323658), []byte{1, 0x20, 31: 0, 33: 1})
		},
		fmt.Sprintf("blind tree of root %d: there is no such root", n+5): func(tx *store.Tx) {
			b, err := tx.Get(take(keys.BlindRoots()))
			s.must(err)
			tx.Set(keys.BlindRoot(n+5), b)
		},
		"malformed key of a hidden link": func(tx *store.Tx) { tx.Set(keys.HiddenLink(nobody, 0), nil) },
	} {
		out, err := s.damaged(damage)
		if !errors.Is(err, ErrDamaged) || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s", want, err, out)
		}
	}
}
