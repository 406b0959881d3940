package roots

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/hash"
	"github.com/keystead/keystead/engine/highwater"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/blindtree"
	"github.com/keystead/keystead/merklehot/tree"
)

// HighWater is the record of the newest root that may have been seen; see
// engine/highwater.
type HighWater interface {
	Mark() highwater.Mark
	Advance(old, next highwater.Mark) error
}

// Config is what a sequencer is given from outside.
type Config struct {
	Key       ed25519.PrivateKey // signs the roots
	HighWater HighWater
	Rand      io.Reader
	Kits      Kits
	// Interval is how old the newest root may get before Heartbeat makes another.
	// Default: one hour. Clients want a root of the last 24 hours.
	Interval time.Duration
	// First is the number of the first root of a new store. Default: FirstSeqno.
	First kbsig.Seqno
	// HoldBlind is how long tails of hidden chains may wait for the root that commits to
	// them, unless BlindBuild asks for it. Default: not at all. Tests of clients want to
	// see links that no root commits to yet.
	HoldBlind time.Duration
}

// Sequencer signs roots. It implements store.Sealer: Seal runs on the store's
// committer and Durable on its durability goroutine; each keeps to its own fields.
type Sequencer struct {
	cfg   Config
	kid   kbsig.KID
	store *store.Store

	// Of the committer.
	sealed *State // what the next root follows; may not be durable yet
	prev   [hash.Size512]byte
	hashes hashes
	held   []blindtree.Change // tails that wait; lost with the process, see hidden.Recommit
	since  time.Time          // when the first of them came

	// Of the durability goroutine.
	durable highwater.Mark
}

// KID is the key that clients must be told to trust.
func (s *Sequencer) KID() kbsig.KID { return s.kid }

// Seal implements store.Sealer: it makes the root of a group, unless nothing changed.
func (s *Sequencer) Seal(tx *store.Tx, notes []any) (any, error) {
	changes, hidden, asked, err := collect(notes)
	if err != nil {
		return nil, err
	}
	beat, build := asked.beat, asked.build
	hidden = s.hold(tx.Now(), hidden, build)
	if s.sealed == nil {
		if err := s.genesis(tx); err != nil {
			return nil, fmt.Errorf("genesis: %w", err)
		}
		beat = false
	}
	t := s.sealed.tree()
	next, delta, err := t.Update(changes, checkGrowth)
	if err != nil {
		return nil, fmt.Errorf("root %d: %w", s.sealed.newest.Seqno+1, err)
	}
	if delta == nil && len(hidden) == 0 && !beat && !build {
		return s.sealed, nil
	}
	blind, blindDelta, err := s.nextBlind(tx, hidden, build)
	if err != nil {
		return nil, fmt.Errorf("root %d: %w", s.sealed.newest.Seqno+1, err)
	}
	// Before the tree's many records: signing reads, and reading past own writes
	// costs with their number.
	root, err := s.sign(tx, next, blind)
	if err != nil {
		return nil, err
	}
	if blindDelta != nil {
		blindDelta.Write(tx)
	}
	made := 0
	if delta != nil {
		putChanges(tx, root.Seqno, delta)
		delta.Write(tx, root.Seqno)
		made = delta.Bytes()
	}
	s.sealed = s.sealed.next(root, next, blind, made)
	s.sealed.verified = verifyAside(root, s.kid)
	return s.sealed, nil
}

// hold keeps tails back as long as they may wait, and returns those that may not.
func (s *Sequencer) hold(now time.Time, hidden []blindtree.Change, build bool) []blindtree.Change {
	if s.cfg.HoldBlind == 0 {
		return hidden
	}
	if len(s.held) == 0 {
		s.since = now
	}
	s.held = append(s.held, hidden...)
	if !build && now.Sub(s.since) < s.cfg.HoldBlind {
		return nil
	}
	hidden, s.held = s.held, nil
	return hidden
}

// nextBlind is the blind tree under the next root: that of the newest one, unless
// hidden chains grew, or somebody wants another.
func (s *Sequencer) nextBlind(tx *store.Tx, hidden []blindtree.Change, build bool) (*blindtree.Version, *blindtree.Delta, error) {
	blind, n := s.sealed.blind(), s.sealed.newest.Seqno+1
	if blind.Root == 0 {
		// The store is older than the blind tree.
		blind = blind.At(n)
		if len(hidden) == 0 {
			blind.Put(tx)
			return blind, nil, nil
		}
	}
	if len(hidden) == 0 && !build {
		return blind, nil, nil
	}
	return blind.Update(tx, n, hidden, s.cfg.Rand)
}

// wishes are roots that are made although no leaf changes.
type wishes struct{ beat, build bool }

// collect turns notes into changes.
func collect(notes []any) (changes []tree.Change[tree.ID], hidden []blindtree.Change, asked wishes, err error) {
	changes = make([]tree.Change[tree.ID], 0, len(notes))
	for _, note := range notes {
		switch n := note.(type) {
		case Beat:
			asked.beat = true
		case BlindBuild:
			asked.build = true
		case LeafChange:
			changes = append(changes, tree.Change[tree.ID]{ID: n.ID, Leaf: n.Leaf.Encode()})
		case BlindChange:
			hidden = append(hidden, blindtree.Change(n))
		default:
			return nil, nil, asked, fmt.Errorf("a note of type %T: the sequencer does not know what it changes", note)
		}
	}
	return changes, hidden, asked, nil
}

// checkGrowth enforces, for each chain of a leaf, that its number never falls and
// that one number has one end.
func checkGrowth(id tree.ID, before, after []byte) error {
	b, err := tree.ParseLeaf(before)
	if err != nil {
		return fmt.Errorf("leaf %s: %w", id, err)
	}
	a, err := tree.ParseLeaf(after)
	if err != nil {
		return fmt.Errorf("leaf %s: %w", id, err)
	}
	for _, c := range [][2]tree.Triple{{b.Public, a.Public}, {b.Private, a.Private}} {
		if c[1].Seqno < c[0].Seqno || c[1].Seqno == c[0].Seqno && c[1] != c[0] {
			return fmt.Errorf("leaf %s, from link %d to %d: %w", id, c[0].Seqno, c[1].Seqno, ErrOddEven)
		}
	}
	if a.Reset.Seqno < b.Reset.Seqno || a.Reset.Seqno == b.Reset.Seqno && a.Reset != b.Reset {
		return fmt.Errorf("leaf %s, from reset %d to %d: %w", id, b.Reset.Seqno, a.Reset.Seqno, ErrOddEven)
	}
	return nil
}

// genesis makes the first two roots, both over the empty tree. The second one begins the
// blind tree: clients want a root from before it, for their audits of what was there then.
// client: go/teams/audit_test.go:TestAuditFailsIfDataIsInconsistent
func (s *Sequencer) genesis(tx *store.Tx) error {
	s.sealed = &State{
		newest: &Root{Seqno: s.cfg.First - 1},
		first:  s.cfg.First, names: tree.NewNames(), kits: &s.cfg.Kits,
	}
	s.hashes.first = s.cfg.First
	empty, begins := tree.NewMain(), blindtree.Empty().At(s.cfg.First+1)
	begins.Put(tx)
	for _, blind := range []*blindtree.Version{nil, begins} {
		root, err := s.sign(tx, empty, blind)
		if err != nil {
			return err
		}
		s.sealed = s.sealed.next(root, empty, blind, 0)
		s.sealed.verified = verifyAside(root, s.kid)
	}
	return nil
}

// sign makes, signs and writes the root after s.sealed over t and the blind tree.
func (s *Sequencer) sign(tx *store.Tx, t *tree.Main, blind *blindtree.Version) (*Root, error) {
	last := s.sealed.newest
	b := body{
		seqno: last.Seqno + 1,
		// A clock that went back must not show: clients compare.
		ctime: max(last.Ctime, tx.Now().Unix()),
		root:  t.Root(), legacyUID: s.sealed.names.Root(), kits: s.sealed.kits,
	}
	if blind != nil {
		sum := blind.Hash()
		b.blind = &sum
	}
	if last.Payload != "" {
		b.prev = hex.EncodeToString(s.prev[:])
	}
	var err error
	if b.skips, err = s.hashes.skips(tx, b.seqno); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(s.cfg.Rand, b.txid[:]); err != nil {
		return nil, fmt.Errorf("root %d: txid: %w", b.seqno, err)
	}
	payload := b.payload()
	root := &Root{
		Seqno: b.seqno, HashMeta: hash.Sum256(payload), Hash: b.root, Ctime: b.ctime,
		Txid: b.txid, KID: s.kid, Payload: string(payload),
	}
	copy(root.Sig[:], ed25519.Sign(s.cfg.Key, payload))
	put(tx, root)
	s.prev = hash.Sum512(payload)
	s.hashes.push(root.Seqno, root.HashMeta)
	return root, nil
}

// Durable implements store.Sealer: it moves the high-water record to a state that is
// on stable storage and about to be shown. The signature has been checked once more:
// a bit that flipped while signing must not be published.
func (s *Sequencer) Durable(sealed any) error {
	st, ok := sealed.(*State)
	if !ok || st == nil {
		return nil
	}
	if err := <-st.verified; err != nil {
		return err
	}
	next := st.newest.mark()
	if err := s.cfg.HighWater.Advance(s.durable, next); err != nil {
		return fmt.Errorf("root %d: %w", next.Seqno, err)
	}
	s.durable = next
	return nil
}

// verifyAside checks a signature while the root is on its way to the disk.
func verifyAside(r *Root, kid kbsig.KID) <-chan error {
	done := make(chan error, 1)
	go func() { done <- verify(r, kid) }()
	return done
}

func verify(r *Root, kid kbsig.KID) error {
	if r.KID != kid {
		return fmt.Errorf("root %d is signed by %s: %w", r.Seqno, r.KID, ErrWrongKey)
	}
	if !ed25519.Verify(kid.PublicKey(), []byte(r.Payload), r.Sig[:]) {
		return fmt.Errorf("root %d: signature does not verify: %w", r.Seqno, ErrCorrupt)
	}
	return nil
}

// Heartbeat makes a root if the newest is older than the interval. The caller's
// timer calls it, more often than the interval.
func (s *Sequencer) Heartbeat(ctx context.Context) error {
	v := s.store.View()
	newest := StateOf(v).Root()
	v.Close()
	if s.store.Now().Sub(time.Unix(newest.Ctime, 0)) < s.cfg.Interval {
		return nil
	}
	return s.store.Update(ctx, func(tx *store.Tx) error {
		tx.Note(Beat{})
		return nil
	})
}
