package archive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/merklehot/blindtree"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/tree"
)

// Summary is what an archive holds.
type Summary struct {
	StoreID   [16]byte
	Roots     int
	Links     int
	Resets    int // and deletions
	Users     int
	Teams     int
	TeamLinks int // of both kinds of chains
	// TeamsFrom is the root from which on the archive has all of teams; 0 if it has from
	// the first. NoTeams says that it was written before teams were archived.
	TeamsFrom   kbsig.Seqno
	NoTeams     bool
	Newest      kbsig.Seqno
	HashMeta    kbsig.HashMeta // of the newest root
	Tree        kbsig.NodeHash // recomputed from the leaves, equal to the newest root's
	NewestCtime int64          // unix seconds
}

// Rebuild reads an archive from its first byte and believes nothing: every root's
// signature by kid, the roots' numbers and order, every link played against the chain
// before it, every leaf against the chain that it names, the tree over all leaves and the
// blind tree over all hidden chains against each root, and in the end the chains of all
// teams as clients play them. The error says what does not hold.
//
// It keeps all chains in memory: about 2 KiB a user, and the links of teams.
func Rebuild(fs vfs.FS, dir string, kid kbsig.KID) (Summary, error) {
	r := &rebuild{
		kid: kid, names: map[kbsig.UID]kbsig.Username{}, chains: map[kbsig.UID]*sigchain.State{},
		roots: map[kbsig.Seqno]sigchain.RootRef{}, kids: map[kbsig.KID]kbsig.UID{},
		bundle: map[bundleAt]string{}, tree: tree.NewMain(), quoted: map[bundleAt]kbsig.Seqno{},
		teams: map[kbsig.TeamID]*team{},
	}
	store, err := Read(fs, dir, r.block)
	if err != nil {
		return r.sum, err
	}
	r.sum.NoTeams = !r.told && r.sum.Roots > 0
	if err := r.playTeams(); err != nil {
		return r.sum, err
	}
	r.sum.StoreID, r.sum.Users = store, len(r.names)
	return r.sum, nil
}

// bundleAt is a link of a user, such as one that brought a PGP key.
type bundleAt struct {
	uid   kbsig.UID
	seqno kbsig.Seqno
}

type rebuild struct {
	kid    kbsig.KID
	names  map[kbsig.UID]kbsig.Username
	chains map[kbsig.UID]*sigchain.State
	kids   map[kbsig.KID]kbsig.UID
	roots  map[kbsig.Seqno]sigchain.RootRef
	bundle map[bundleAt]string
	tree   *tree.Main
	sum    Summary

	quoted map[bundleAt]kbsig.Seqno // the root that a link quotes
	teams  map[kbsig.TeamID]*team
	told   bool // blocks have all of teams
	blind  blindtree.Replica
}

func (r *rebuild) block(b *Block) error {
	if b.Part {
		return r.part(b)
	}
	for _, n := range b.Names {
		if kbsig.UIDOf(n.Name) != n.UID || r.names[n.UID] != "" {
			return fmt.Errorf("name of %s is wrong or stands twice", n.UID)
		}
		r.names[n.UID], r.chains[n.UID] = n.Name, sigchain.NewState(n.UID, n.Name)
	}
	if err := r.chainsOf(b); err != nil {
		return err
	}
	if err := r.teamLinks(b); err != nil {
		return err
	}
	changes := make([]tree.Change[tree.ID], len(b.Leaves))
	for i, l := range b.Leaves {
		if err := r.leaf(b.Seqno, l); err != nil {
			return fmt.Errorf("leaf %x: %w", l.ID[:], err)
		}
		changes[i] = tree.Change[tree.ID]{ID: l.ID, Leaf: l.JSON}
	}
	next, _, err := r.tree.Update(changes, nil)
	if err != nil {
		return err
	}
	r.tree = next
	if err := r.ends(b); err != nil {
		return err
	}
	return r.root(b)
}

// chainsOf plays the links and resets of a block. They are in order by themselves; each
// reset says after which link it comes.
func (r *rebuild) chainsOf(b *Block) error {
	resets := make(map[kbsig.UID][]*sigchain.ResetLink)
	for _, l := range b.Resets {
		resets[l.UID] = append(resets[l.UID], l)
	}
	due := func(u kbsig.UID) error {
		for len(resets[u]) > 0 {
			st := r.chains[u]
			l := resets[u][0]
			if st == nil {
				return fmt.Errorf("reset %d of %s: nobody of that id", l.Seqno, u)
			}
			if l.Tail > st.Tail {
				return nil
			}
			next, err := st.ApplyReset(l, r)
			if err != nil {
				return fmt.Errorf("reset %d of %s: %w", l.Seqno, u, err)
			}
			r.chains[u], resets[u] = next, resets[u][1:]
			r.sum.Resets++
		}
		return nil
	}
	for _, l := range b.Links {
		if err := due(l.UID); err != nil {
			return err
		}
		if err := r.link(l); err != nil {
			return fmt.Errorf("link %d of %s: %w", l.Seqno, l.UID, err)
		}
	}
	for _, l := range b.Resets {
		if err := due(l.UID); err != nil {
			return err
		}
		if left := resets[l.UID]; len(left) > 0 {
			return fmt.Errorf("reset %d of %s: after link %d, which is not there", left[0].Seqno, l.UID, left[0].Tail)
		}
	}
	return nil
}

func (r *rebuild) link(l Link) error {
	st := r.chains[l.UID]
	if st == nil {
		return fmt.Errorf("nobody of that id")
	}
	link, err := l.Record.Link()
	if err != nil {
		return err
	}
	if st, err = st.Apply(link, r); err != nil {
		return err
	}
	r.chains[l.UID] = st
	r.quoted[bundleAt{l.UID, l.Seqno}] = link.Root.Seqno
	if len(l.Record.Bundle) > 0 {
		r.bundle[bundleAt{l.UID, l.Seqno}] = string(l.Record.Bundle)
	}
	for _, k := range st.AllKIDs() {
		r.kids[k] = l.UID
	}
	r.sum.Links++
	return nil
}

// leaf holds a leaf to the chains it stands for.
func (r *rebuild) leaf(n kbsig.Seqno, l Leaf) error {
	v, err := tree.ParseLeaf(l.JSON)
	if err != nil {
		return err
	}
	uid, err := kbsig.ParseUID(fmt.Sprintf("%x", l.ID[:]))
	if err != nil {
		return r.teamLeaf(n, kbsig.TeamID(l.ID), v)
	}
	st := r.chains[uid]
	if st == nil {
		return fmt.Errorf("leaf of nobody")
	}
	want := tree.Triple{Seqno: st.Tail, Link: st.TailLink, Sig: st.TailSig}
	resets := tree.ResetTail{Seqno: st.Resets.Seqno, Hash: st.Resets.Hash}
	if v.Public != want || v.Eldest != st.Eldest || v.Reset != resets {
		return fmt.Errorf("it does not say what the chain says")
	}
	return nil
}

func (r *rebuild) root(b *Block) error {
	sig, err := kbsig.DecodeSignature(b.Root)
	if err != nil {
		return err
	}
	if sig.KID != r.kid {
		return fmt.Errorf("root is signed by %s, not %s", sig.KID, r.kid)
	}
	if err := sig.Verify(); err != nil {
		return err
	}
	var p struct {
		Body struct {
			Seqno kbsig.Seqno `json:"seqno"`
			Root  string      `json:"root"`
			Blind string      `json:"blind_merkle_root_hash"`
		} `json:"body"`
		Ctime int64 `json:"ctime"`
	}
	if err := json.NewDecoder(bytes.NewReader(sig.Payload)).Decode(&p); err != nil {
		return err
	}
	top := r.tree.Root()
	if p.Body.Seqno != b.Seqno || p.Body.Root != kbsig.NodeHash(top).String() || p.Ctime < r.sum.NewestCtime {
		return fmt.Errorf("root has another number or tree, or its time goes back")
	}
	if err := r.carry(b.Seqno, p.Body.Blind); err != nil {
		return err
	}
	hash := kbsig.HashMeta(kbsig.LinkIDOf(sig.Payload))
	r.roots[b.Seqno] = sigchain.RootRef{Seqno: b.Seqno, HashMeta: hash, NodeHash: kbsig.NodeHash(top), Ctime: p.Ctime}
	r.sum.Roots++
	r.sum.Newest, r.sum.HashMeta, r.sum.Tree, r.sum.NewestCtime = b.Seqno, hash, kbsig.NodeHash(top), p.Ctime
	return nil
}

// The rest is sigchain.Env: what the chains are judged against.

// Now is the time of the newest root: links were judged at their arrival.
func (r *rebuild) Now() time.Time { return time.Unix(r.sum.NewestCtime, 0).Add(24 * time.Hour) }

func (r *rebuild) Root(n kbsig.Seqno) (sigchain.RootRef, bool, error) {
	ref, ok := r.roots[n]
	return ref, ok, nil
}

func (r *rebuild) LatestRoot() kbsig.Seqno { return r.sum.Newest }

func (r *rebuild) KIDTaken(k kbsig.KID) (bool, error) {
	_, ok := r.kids[k]
	return ok, nil
}

func (r *rebuild) Bundle(u kbsig.UID, n kbsig.Seqno) (string, error) {
	b, ok := r.bundle[bundleAt{u, n}]
	if !ok {
		return "", fmt.Errorf("link %d of %s brought no key", n, u)
	}
	return b, nil
}

func (r *rebuild) UserExists(u kbsig.UID) (bool, error) {
	_, ok := r.names[u]
	return ok, nil
}
