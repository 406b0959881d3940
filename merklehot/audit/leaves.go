package audit

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/tree"
)

// leafValue is what a leaf was from one root on.
type leafValue struct {
	root  kbsig.Seqno
	raw   []byte
	value tree.Value
}

// leafHistory reads all values that a user's leaf ever had.
func (a *auditor) leafHistory(u *user) (err error) {
	u.leaf, u.changed, err = a.leafValuesOf(u.uid, u.uid.String())
	return err
}

// leafValuesOf reads all values that a leaf ever had, oldest first, and the roots that
// changed it. Those that cannot be looked at are reported and left out.
func (a *auditor) leafValuesOf(id [idBytes]byte, subject string) (leaf []leafValue, changed []kbsig.Seqno, err error) {
	lo := keys.LeafVersions(keys.TreeMain, id[:])
	err = a.r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		if err := a.pause(); err != nil {
			return err
		}
		_, _, n, ok := keys.LeafOf(k)
		if !ok || !isLeaf(k) {
			return nil // said by the pass over the keys
		}
		a.leafValues++
		if !a.hasRoot(n) || n == a.first {
			a.problem("leaf of %s at root %d: there is no such root to change it", subject, n)
			return nil
		}
		changed = append(changed, n)
		value, err := tree.ParseLeaf(v)
		if err != nil {
			a.problem("leaf of %s at root %d: %v", subject, n, err)
			return nil
		}
		leaf = append(leaf, leafValue{n, bytes.Clone(v), value})
		return nil
	})
	slices.Reverse(leaf)
	return leaf, changed, err
}

// leaves checks that each value of a user's leaf is an end that the chain once had,
// that none of them goes back, and that the newest is the end it has now.
func (a *auditor) leaves(u *user) error {
	for i := range u.leaf {
		l := &u.leaf[i]
		bad := func(what string) { a.problem("leaf of %s at root %d: %s", u.uid, l.root, what) }
		n, resets := l.value.Public.Seqno, l.value.Reset.Seqno
		if i > 0 {
			before, resetsBefore := u.leaf[i-1].value.Public, u.leaf[i-1].value.Reset.Seqno
			switch {
			case bytes.Equal(l.raw, u.leaf[i-1].raw):
				bad("the same value again")
			case n < before.Seqno:
				bad(fmt.Sprintf("the chain goes back from link %d to %d", before.Seqno, n))
			case resets < resetsBefore:
				bad(fmt.Sprintf("the reset chain goes back from reset %d to %d", resetsBefore, resets))
			case n == before.Seqno && l.value.Public != before:
				bad(fmt.Sprintf("link %d has two ends", n))
			}
		}
		switch {
		case n > kbsig.Seqno(len(u.ends)):
			if u.state != nil {
				bad(fmt.Sprintf("names link %d, the chain has %d", n, len(u.ends)))
			}
		case u.state == nil && u.points[point{n, resets}] == nil:
			// Behind the place where the chain does not play.
		case !bytes.Equal(l.raw, u.points[point{n, resets}]):
			bad(fmt.Sprintf("not what the chain gives at link %d", n))
		}
	}
	switch {
	case u.state == nil:
	case len(u.changed) == 0:
		a.problem("leaf of %s: none is stored", u.uid)
	case len(u.leaf) > 0:
		newest := u.leaf[len(u.leaf)-1].value
		if n := newest.Public.Seqno; n < u.state.Tail {
			a.problem("leaf of %s: names link %d, the chain has %d", u.uid, n, u.state.Tail)
		} else if n := newest.Reset.Seqno; n < u.state.Resets.Seqno {
			a.problem("leaf of %s: names reset %d, there are %d", u.uid, n, u.state.Resets.Seqno)
		}
	}
	return nil
}

// leafOf is the leaf's JSON at a point of the chains, from them alone.
// client: go/libkb/merkle_client.go:parseV2
func leafOf(st *sigchain.State) []byte {
	public, eldest := "[]", "null"
	if st.Tail > 0 {
		public = fmt.Sprintf(`[%d,"%s","%s"]`, st.Tail, st.TailLink, st.TailSig)
	}
	if !st.Eldest.IsZero() {
		eldest = `"` + hex.EncodeToString(st.Eldest[:]) + `"`
	}
	if st.Resets.Seqno == 0 {
		return fmt.Appendf(nil, `[2,%s,[],%s]`, public, eldest)
	}
	return fmt.Appendf(nil, `[2,%s,[],%s,[%d,"%x"]]`, public, eldest, st.Resets.Seqno, st.Resets.Hash)
}

// addToTree puts a user's leaf into the tree that is built from the chains. A chain
// that does not play gives none; its stored leaf stands in, so that the rest of the
// tree can still be judged.
func (a *auditor) addToTree(u *user) error {
	if err := a.teamsBefore(u.uid[:]); err != nil {
		return err
	}
	if u.state != nil {
		return a.tree.add(u.uid, leafOf(u.state))
	}
	if n := len(u.leaf); n > 0 {
		return a.tree.add(u.uid, u.leaf[n-1].raw)
	}
	return nil
}

// wholeTree finishes the tree over all chains and compares it with what was signed.
func (a *auditor) wholeTree() error {
	if err := a.teamsBefore(nil); err != nil {
		return err
	}
	sum, err := a.tree.finish()
	if err != nil {
		return err
	}
	if a.newest == 0 {
		return nil
	}
	if sum != a.newestNode {
		a.problem("tree: all chains give %.16s..., root %d says %.16s...", sum, a.newest, a.newestNode)
	}
	for i := range kbsig.Seqno(len(a.hashes)) {
		if err := a.pause(); err != nil {
			return err
		}
		switch changed, stored := a.treeChanged.has(i), a.leafChanged.has(i); {
		case a.unsure.has(i) || changed == stored:
		case stored:
			a.problem("root %d: has the tree of the root before, but leaf values of its own", a.first+i)
		default:
			a.problem("root %d: has another tree than the root before, but no leaf changed", a.first+i)
		}
	}
	return a.strayNodes()
}

// historicalPaths verifies paths of a user's leaf in older roots: where it changed, and
// in one root that chance picks.
func (a *auditor) historicalPaths(u *user) error {
	if a.newest == 0 {
		return nil
	}
	total := a.keys.stored[keys.Leaves(keys.TreeMain)[0]] + a.keys.stored[keys.Accounts()[0]]
	for i := range u.leaf {
		if err := a.pause(); err != nil {
			return err
		}
		if a.chance(total) {
			if err := a.path([idBytes]byte(u.uid), u.leaf, u.leaf[i].root); err != nil {
				return err
			}
		}
	}
	if !a.chance(total) {
		return nil
	}
	return a.path([idBytes]byte(u.uid), u.leaf, a.first+kbsig.Seqno(a.random()%uint64(a.newest-a.first+1)))
}

// path takes the path that a client would be served at root n and verifies it against
// the signed root. The path is read from records alone, without help from newer trees.
func (a *auditor) path(id tree.ID, leaf []leafValue, n kbsig.Seqno) error {
	root, err := a.rootAt(n)
	if err != nil || root == nil {
		return err // a damaged root has been reported
	}
	a.paths++
	steps, _, err := tree.NewMain().PathAt(a.r, n, root.Hash, id)
	if err != nil {
		a.problem("path of %x at root %d: %v", id[:], n, err)
		return nil
	}
	got, err := verifyPath(root.Hash, hex.EncodeToString(id[:]), steps)
	if err != nil {
		a.problem("path of %x at root %d: %v", id[:], n, err)
		return nil
	}
	if !bytes.Equal(got, leafBefore(leaf, n)) {
		a.problem("path of %x at root %d: proves another value than is stored", id[:], n)
	}
	return nil
}
