package audit

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

var errNodeRecord = errors.New("the record does not read")

// node checks the records from which an interior node's older versions are rebuilt:
// that they read, that each belongs to a root whose tree changed, that there is a full
// one to start from, and that together they give the node as it is now. What older
// ones say is checked with the paths.
func (a *auditor) node(s *subtree) error {
	subject := fmt.Sprintf("tree record of node %q", s.name())
	var now [16]kid
	known := false // a full record was read: older ones are history
	full := false
	lo := keys.NodeVersions(keys.TreeMain, s.depth, s.prefix[:])
	err := a.r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		if err := a.pause(); err != nil {
			return err
		}
		_, _, _, n, ok := keys.NodeOf(k)
		if !ok {
			return nil // said by the pass over the keys
		}
		a.keys.right[k[0]]++
		if !a.hasRoot(n) || !a.treeChanged.has(n-a.first) && !a.unsure.has(n-a.first) {
			a.problem("%s at root %d: that root has no tree of its own", subject, n)
		}
		kids, isFull, err := readNode(v)
		if err != nil {
			a.problem("%s at root %d: %v", subject, n, err)
			return nil
		}
		full = isFull
		if known {
			return nil
		}
		for d := range kids {
			if kids[d].there && !now[d].there {
				now[d] = kids[d]
			}
		}
		known = isFull
		return nil
	})
	if err != nil {
		return err
	}
	if !full {
		a.problem("%s: the oldest is not a full one", subject)
		return nil
	}
	for d := range now {
		if !sameKid(&now[d], &s.kids[d]) {
			a.problem("%s: they give another child %x than the chains", subject, d)
		}
	}
	return nil
}

// name is the prefix in hex digits.
func (s *subtree) name() string { return fmt.Sprintf("%x", s.prefix)[:s.depth] }

func sameKid(got, want *kid) bool {
	if got.there != want.there || got.deep != want.deep || len(got.ids) != len(want.ids) {
		return false
	}
	for i := range got.ids {
		if got.ids[i] != want.ids[i] {
			return false
		}
	}
	return !want.deep || got.sum == want.sum
}

// readNode reads one record of an interior node of the main tree: a byte that is 1 if
// it has all children, then per child a byte with its kind (1 interior, 0 leaf) and its
// digit, and its hash, or the number of its ids and the ids. Digits ascend.
func readNode(v []byte) (kids [16]kid, full bool, err error) {
	if len(v) < 2 || v[0] > 1 {
		return kids, false, errNodeRecord
	}
	full, v = v[0] == 1, v[1:]
	for last := -1; len(v) > 0; {
		kind, d := v[0]>>4, int(v[0]&15)
		if kind > 1 || d <= last {
			return kids, false, errNodeRecord
		}
		last, v = d, v[1:]
		k := &kids[d]
		k.there, k.deep = true, kind == 1
		if k.deep {
			if len(v) < len(k.sum) {
				return kids, false, errNodeRecord
			}
			k.sum, v = kbsig.NodeHash(v[:len(k.sum)]), v[len(k.sum):]
			continue
		}
		if len(v) == 0 || v[0] == 0 || v[0] > leafIDsMax || len(v) < 1+int(v[0])*idBytes {
			return kids, false, errNodeRecord
		}
		n := int(v[0])
		v = v[1:]
		for range n {
			k.ids = append(k.ids, [idBytes]byte(v[:idBytes]))
			v = v[idBytes:]
		}
	}
	return kids, full, nil
}

// strayNodes names tree records of nodes that are not in the tree. It looks only where
// there are more records than the nodes have.
func (a *auditor) strayNodes() error {
	all := keys.Nodes(keys.TreeMain)[:1]
	if !a.keys.extra(all) {
		return nil
	}
	return a.r.Scan(all, keys.End(all), func(k, _ []byte) error {
		_, depth, prefix, n, ok := keys.NodeOf(k)
		if !ok || !isNode(k) {
			return nil // said by the pass over the keys
		}
		s := subtree{depth: depth}
		copy(s.prefix[:], prefix)
		under, err := a.idsUnder(&s)
		if err != nil {
			return err
		}
		if under <= leafIDsMax && (depth > 0 || under == 0) {
			a.problem("tree record of node %q at root %d: the tree has no such node", s.name(), n)
		}
		return a.pause()
	})
}

// idsUnder counts accounts below a prefix, no further than is needed.
func (a *auditor) idsUnder(s *subtree) (n int, err error) {
	err = a.r.Scan(keys.Account(s.prefix), keys.End(keys.Accounts()), func(k, _ []byte) error {
		u, ok := keys.AccountUID(k)
		id := [idBytes]byte(u)
		if !ok {
			return nil
		}
		if !s.under(&id) || n > leafIDsMax {
			return store.ErrStop
		}
		n++
		return nil
	})
	return n, err
}
