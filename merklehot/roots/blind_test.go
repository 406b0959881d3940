package roots

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/hash"
	"github.com/keystead/keystead/engine/highwater"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/blindtree"
)

func team(i byte) blindtree.Key { return blindtree.Key{i * 67, i, 15: 0x24} }

func hiddenAt(i byte, n kbsig.Seqno) BlindChange {
	return BlindChange{team(i), blindtree.Tail{Seqno: n, Link: kbsig.LinkID{i, byte(n), byte(n >> 8), 3}}}
}

// blindSays asks what root n says of a team's hidden chain, and has an independent
// client verify it against the root's own payload.
func (w *world) blindSays(t interface{ Fatal(...any) }, i byte, n kbsig.Seqno) (seqno kbsig.Seqno, p *BlindProof) {
	s, v := w.state()
	defer v.Close()
	root, err := s.RootAt(v, n)
	if err != nil {
		t.Fatal(err)
	}
	var payload parsed
	if err := json.Unmarshal([]byte(root.Payload), &payload); err != nil {
		t.Fatal(err)
	}
	if p, err = s.BlindProof(v, team(i), n); err != nil {
		t.Fatal(err)
	}
	if payload.Body.Blind == "" {
		if p.InRoot {
			t.Fatal("a root without a blind tree is said to carry it")
		}
		payload.Body.Blind = hex.EncodeToString(p.Hash[:])
	}
	tail, err := client.VerifyBlind(payload.Body.Blind, team(i), base64.StdEncoding.EncodeToString(p.Proof))
	if err != nil {
		t.Fatal(err)
	}
	if tail == nil {
		return 0, p
	}
	return kbsig.Seqno(tail.Seqno), p
}

// The very root of a group commits to the hidden links of the group, older roots go on
// to say what they said, over restarts too, and a client that is behind is told so.
func TestRootsCommitToHiddenChains(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(nopTB{}, 1)
		w.mustOpen()
		said := map[kbsig.Seqno]map[byte]kbsig.Seqno{}
		now := map[byte]kbsig.Seqno{}
		height := kbsig.Seqno(0)
		for range rapid.IntRange(1, 25).Draw(t, "groups") {
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				w.close()
				w.mustOpen()
			case 1:
				height++
				w.mustNote(at(1, height))
			default:
				var notes []any
				for range rapid.IntRange(1, 3).Draw(t, "links") {
					i := byte(rapid.IntRange(1, 9).Draw(t, "team"))
					now[i]++
					notes = append(notes, hiddenAt(i, now[i]))
				}
				w.mustNote(notes...)
			}
			s, v := w.state()
			n := s.Root().Seqno
			v.Close()
			said[n] = make(map[byte]kbsig.Seqno)
			for i, m := range now {
				said[n][i] = m
			}
		}
		for n, want := range said {
			i := byte(rapid.IntRange(1, 9).Draw(t, "asked"))
			got, p := w.blindSays(t, i, n)
			if got != want[i] || p.Newest != now[i] || !p.InRoot {
				t.Fatalf("root %d says link %d of team %d, newest %d; it was %d, newest %d", n, got, i, p.Newest, want[i], now[i])
			}
			s, v := w.state()
			changed, err := s.BlindChangedAfter(v, team(i), n)
			v.Close()
			if err != nil || changed != (want[i] != now[i]) {
				t.Fatalf("after root %d team %d changed: %v, %v", n, i, changed, err)
			}
		}
		w.close()
	})
}

// A hidden chain with two ends of one number is fatal and makes no root.
func TestHiddenChainsDoNotGoBack(t *testing.T) {
	w := newWorld(t, 1)
	w.mustOpen()
	w.mustNote(hiddenAt(1, 2))
	other := hiddenAt(1, 2)
	other.Tail.Link[0]++
	if err := w.note(other); err == nil || !errors.Is(w.fatal, blindtree.ErrBackwards) {
		t.Errorf("%v, %v", err, w.fatal)
	}
	w.close()
}

// A store whose blind tree is not the one that the newest root names is refused.
func TestAnotherBlindTreeIsRefused(t *testing.T) {
	for name, damage := range map[string]func(tx *store.Tx, n kbsig.Seqno){
		"version":  func(tx *store.Tx, n kbsig.Seqno) { tx.Delete(keys.BlindRoot(n)) },
		"top page": func(tx *store.Tx, n kbsig.Seqno) { tx.Delete(keys.BlindPage(0, blindtree.Key{}, n)) },
		"versions": func(tx *store.Tx, n kbsig.Seqno) {
			tx.Delete(keys.BlindRoot(n))
			tx.Delete(keys.BlindRoot(FirstSeqno + 1))
		},
	} {
		w := newWorld(t, 1)
		w.mustOpen()
		w.mustNote(hiddenAt(1, 1), hiddenAt(2, 1))
		s, v := w.state()
		n := s.Root().Seqno
		v.Close()
		err := w.st.Update(t.Context(), func(tx *store.Tx) error { damage(tx, n); return nil })
		if err != nil {
			t.Fatal(err)
		}
		w.close()
		if err := w.open(); !errors.Is(err, ErrCorrupt) && !errors.Is(err, blindtree.ErrCorrupt) && !errors.Is(err, blindtree.ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A store from before the blind tree begins it with its next root; its older roots say
// that there are no hidden chains, by a hash that they do not carry.
func TestStoreOlderThanTheBlindTree(t *testing.T) {
	w := newWorld(t, 1)
	w.mustOpen()
	w.withoutBlindTree()
	w.close()
	w.mustOpen()
	s, v := w.state()
	first := s.FirstBlind()
	v.Close()
	if first != FirstSeqno+2 || s.First() != FirstSeqno {
		t.Fatalf("roots from %d, the blind tree from %d", s.First(), first)
	}
	w.mustNote(hiddenAt(1, 1))
	for n, want := range map[kbsig.Seqno]kbsig.Seqno{FirstSeqno: 0, first: 0, first + 1: 1} {
		got, p := w.blindSays(t, 1, n)
		if got != want || p.InRoot != (n >= first) || p.Newest != 1 {
			t.Errorf("root %d: %d, %+v", n, got, p)
		}
	}
	w.close()
	w.mustOpen()
	if got, _ := w.blindSays(t, 1, first+1); got != 1 {
		t.Errorf("after the restart: %d", got)
	}
	w.close()
}

// withoutBlindTree makes of the first two roots what they were before roots carried a
// blind tree.
func (w *world) withoutBlindTree() {
	w.t.Helper()
	v := w.st.View()
	empty := blindtree.Empty().Hash()
	var renamed []string
	var made []*Root
	for n := FirstSeqno; n < FirstSeqno+2; n++ {
		r, err := RootAt(v, n)
		if err != nil {
			w.t.Fatal(err)
		}
		old := *r
		r.Payload = strings.NewReplacer(append(renamed, hex.EncodeToString(empty[:]), "")...).Replace(r.Payload)
		r.HashMeta = sum256(r.Payload)
		copy(r.Sig[:], ed25519.Sign(w.cfg.Key, []byte(r.Payload)))
		was, is := hash.Sum512([]byte(old.Payload)), hash.Sum512([]byte(r.Payload))
		renamed = append(renamed, hex.EncodeToString(was[:]), hex.EncodeToString(is[:]), old.HashMeta.String(), r.HashMeta.String())
		made = append(made, r)
	}
	v.Close()
	err := w.st.Update(w.t.Context(), func(tx *store.Tx) error {
		tx.Delete(keys.BlindRoot(FirstSeqno + 1))
		for _, r := range made {
			put(tx, r)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mark.mark = highwater.Mark{Seqno: made[1].Seqno, HashMeta: made[1].HashMeta}
}
