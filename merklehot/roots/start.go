package roots

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/hash"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/blindtree"
	"github.com/keystead/keystead/merklehot/tree"
)

// Start checks what the store holds, installs the sequencer as the store's sealer,
// and makes the genesis if the store is new. It refuses, without having written
// anything, with ErrBehind, ErrForked, ErrWrongKey, ErrCorrupt or tree.ErrCorrupt.
// It is called before the first Update.
func Start(ctx context.Context, st *store.Store, cfg Config) (*Sequencer, error) {
	s, err := newSequencer(st, cfg)
	if err != nil {
		return nil, err
	}
	view := st.View()
	err = s.recover(view)
	view.Close()
	if err != nil {
		return nil, fmt.Errorf("start the sequencer: %w", err)
	}
	if s.sealed != nil {
		st.SetSealer(s, s.sealed)
		if s.sealed.firstBlind > 0 {
			return s, nil
		}
		// The store is older than the blind tree: the next root begins it.
	} else {
		// A beat on an empty store makes the two first roots.
		st.SetSealer(s, nil)
	}
	err = st.Update(ctx, func(tx *store.Tx) error {
		tx.Note(Beat{})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("start the sequencer: %w", err)
	}
	return s, nil
}

func newSequencer(st *store.Store, cfg Config) (*Sequencer, error) {
	if len(cfg.Key) != ed25519.PrivateKeySize || cfg.HighWater == nil || cfg.Rand == nil {
		return nil, errors.New("a sequencer needs a key, a high-water record and a random source")
	}
	if cfg.Interval == 0 {
		cfg.Interval = time.Hour
	}
	if cfg.First == 0 {
		cfg.First = FirstSeqno
	}
	if cfg.Kits == (Kits{}) {
		cfg.Kits = DefaultKits()
	}
	return &Sequencer{cfg: cfg, kid: kbsig.KIDOfPrivate(cfg.Key), store: st}, nil
}

// recover brings the sequencer to the newest root of the store.
func (s *Sequencer) recover(r store.Reader) error {
	s.durable = s.cfg.HighWater.Mark()
	newest, err := s.checkNewest(r)
	if err != nil {
		return err
	}
	if newest == nil {
		if s.durable.Seqno != 0 {
			return fmt.Errorf("there are no roots, but root %d has been shown: %w", s.durable.Seqno, ErrBehind)
		}
		return nil
	}
	if err := s.checkHighWater(r, newest); err != nil {
		return err
	}
	t, err := tree.NewMain().Load(r)
	if err != nil {
		return err
	}
	if t.Root() != newest.Hash {
		return fmt.Errorf("the leaves give %s, root %d says %s: %w", t.Root(), newest.Seqno, newest.Hash, tree.ErrCorrupt)
	}
	blind, firstBlind, err := loadBlind(r, newest)
	if err != nil {
		return err
	}
	s.sealed = &State{
		newest: newest, first: s.hashes.first, firstBlind: firstBlind, names: tree.NewNames(), kits: &s.cfg.Kits,
		recent: []version{{root: newest, tree: t, blind: blind}},
	}
	s.prev = hash.Sum512([]byte(newest.Payload))
	if next := newest.mark(); next != s.durable {
		// The store was fsynced, the record was not moved before the stop. Nobody
		// has seen these roots; from here on they may.
		if err := s.cfg.HighWater.Advance(s.durable, next); err != nil {
			return fmt.Errorf("root %d: %w", next.Seqno, err)
		}
		s.durable = next
	}
	return nil
}

// loadBlind reads the blind tree that the newest root carries, and which root carried
// one first; 0 and the empty tree if none did.
func loadBlind(r store.Reader, newest *Root) (*blindtree.Version, kbsig.Seqno, error) {
	var p parsed
	if err := json.Unmarshal([]byte(newest.Payload), &p); err != nil {
		return nil, 0, fmt.Errorf("root %d: payload: %w (%v)", newest.Seqno, ErrCorrupt, err)
	}
	first, err := blindtree.First(r)
	if errors.Is(err, blindtree.ErrNone) && p.Body.Blind == "" {
		return blindtree.Empty(), 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("root %d: %w", newest.Seqno, err)
	}
	v, err := blindtree.VersionAt(r, newest.Seqno)
	if err != nil {
		return nil, 0, err
	}
	if h := v.Hash(); hex.EncodeToString(h[:]) != p.Body.Blind {
		return nil, 0, fmt.Errorf("root %d: another blind tree in the payload: %w", newest.Seqno, ErrCorrupt)
	}
	return v, first, v.Check(r)
}

// checkNewest reads the newest roots and checks each with the one before. It
// returns nil for a store without roots, and fills s.hashes.
func (s *Sequencer) checkNewest(r store.Reader) (*Root, error) {
	lo, hi := keys.Roots(), keys.End(keys.Roots())
	first, err := firstRoot(r)
	if err != nil || first == 0 {
		return nil, err
	}
	s.hashes.first = first
	var newest []*Root // newest first
	err = r.ScanReverse(lo, hi, func(k, v []byte) error {
		n, ok := keys.RootSeqno(k)
		if !ok {
			return fmt.Errorf("root under a key of %d bytes: %w", len(k), ErrCorrupt)
		}
		root, err := decodeRecord(n, v)
		if err != nil {
			return err
		}
		newest = append(newest, root)
		if len(newest) == checkedRootsMax {
			return store.ErrStop
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := len(newest) - 1; i >= 0; i-- {
		if err := s.checkRoot(r, newest, i); err != nil {
			return nil, err
		}
		s.hashes.push(newest[i].Seqno, newest[i].HashMeta)
	}
	return newest[0], nil
}

func firstRoot(r store.Reader) (first kbsig.Seqno, err error) {
	err = r.Scan(keys.Roots(), keys.End(keys.Roots()), func(k, _ []byte) error {
		var ok bool
		if first, ok = keys.RootSeqno(k); !ok {
			return fmt.Errorf("root under a key of %d bytes: %w", len(k), ErrCorrupt)
		}
		return store.ErrStop
	})
	return first, err
}

// checkRoot checks newest[i] against the root before it, newest[i+1], which is
// missing only for the oldest one looked at.
func (s *Sequencer) checkRoot(r store.Reader, newest []*Root, i int) error {
	root := newest[i]
	var p parsed
	d := json.NewDecoder(bytes.NewReader([]byte(root.Payload)))
	if err := d.Decode(&p); err != nil {
		return fmt.Errorf("root %d: payload: %w (%v)", root.Seqno, ErrCorrupt, err)
	}
	bad := func(what string) error {
		return fmt.Errorf("root %d: %s: %w", root.Seqno, what, ErrCorrupt)
	}
	switch {
	case p.Body.Seqno != root.Seqno:
		return bad("another number in the payload")
	case p.Body.Root != root.Hash.String():
		return bad("another tree in the payload")
	case p.Ctime != root.Ctime:
		return bad("another time in the payload")
	}
	if i == 0 {
		if err := verify(root, s.kid); err != nil {
			return err
		}
	}
	if i+1 < len(newest) {
		before := newest[i+1]
		prev := hash.Sum512([]byte(before.Payload))
		switch {
		case before.Seqno != root.Seqno-1:
			return bad("the root before it is missing")
		case p.Body.Prev != hex.EncodeToString(prev[:]):
			return bad("it does not follow from the root before it")
		case before.Ctime > root.Ctime:
			return bad("time goes back")
		}
	}
	if len(s.hashes.recent) == 0 {
		s.hashes.base = root.Seqno
	}
	want, err := s.hashes.skips(r, root.Seqno)
	if err != nil {
		return err
	}
	if len(p.Body.Skips) != len(want) {
		return bad("wrong number of skips")
	}
	for _, k := range want {
		if p.Body.Skips[k.to] != k.hash.String() {
			return bad("a skip names another root")
		}
	}
	return nil
}

// parsed is what recovery reads back out of a payload.
type parsed struct {
	Body struct {
		Seqno kbsig.Seqno            `json:"seqno"`
		Root  string                 `json:"root"`
		Blind string                 `json:"blind_merkle_root_hash"`
		Prev  string                 `json:"prev"`
		Skips map[kbsig.Seqno]string `json:"skips"`
	} `json:"body"`
	Ctime int64 `json:"ctime"`
}

// checkHighWater compares the store with the newest root that may have been seen.
func (s *Sequencer) checkHighWater(r store.Reader, newest *Root) error {
	mark := s.durable
	switch {
	case mark.Seqno == 0:
		// A new record, or one that the operator adopted the store with.
		return nil
	case mark.Seqno > newest.Seqno:
		return fmt.Errorf("the newest root is %d, but root %d has been shown: %w", newest.Seqno, mark.Seqno, ErrBehind)
	}
	root, err := RootAt(r, mark.Seqno)
	if err != nil {
		return err
	}
	if root.HashMeta != mark.HashMeta {
		return fmt.Errorf("root %d is %s, but %s has been shown: %w", mark.Seqno, root.HashMeta, mark.HashMeta, ErrForked)
	}
	return nil
}
