package audit

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
)

// leafIDsMax is how many ids share a leaf node; a prefix of more is an interior node.
const leafIDsMax = 4

// idBytes is the length of a user's or team's id.
const idBytes = 16

// shape builds the main tree from ids in order and their values, with nothing of it in
// memory but the way down to the newest id. Its zero value is the empty tree.
type shape struct {
	open []*subtree // from depth 1 down, all but the last interior; empty before the first id
	top  subtree
	// check is called for each interior node when all below it is known.
	check func(*subtree) error
}

// subtree is the part of the tree under one prefix.
type subtree struct {
	depth  int // hex digits of the prefix
	prefix [idBytes]byte
	ids    []idValue // until there are too many for a leaf node
	deep   bool      // interior: there were
	kids   [16]kid
}

type idValue struct {
	id    [idBytes]byte
	value []byte
}

// kid is a finished child of an interior node.
type kid struct {
	there bool
	deep  bool
	sum   kbsig.NodeHash
	ids   [][idBytes]byte // of a leaf node
}

func digit(id *[idBytes]byte, at int) byte { return id[at/2] >> (4 * (1 - at%2)) & 15 }

// under says that an id begins with the subtree's prefix.
func (s *subtree) under(id *[idBytes]byte) bool {
	for i := range s.depth {
		if digit(id, i) != digit(&s.prefix, i) {
			return false
		}
	}
	return true
}

// add takes the next id. Ids must come in order.
func (t *shape) add(id [idBytes]byte, value []byte) error {
	for n := len(t.open); n > 0 && !t.open[n-1].under(&id); n = len(t.open) {
		if err := t.closeLast(); err != nil {
			return err
		}
	}
	t.top.deep = true
	return t.put(idValue{id, value})
}

// put files an id under the last open subtree, which its prefix fits.
func (t *shape) put(v idValue) error {
	last := &t.top
	if n := len(t.open); n > 0 {
		last = t.open[n-1]
	}
	if last.deep {
		t.open = append(t.open, &subtree{depth: last.depth + 1, prefix: v.id, ids: []idValue{v}})
		return nil
	}
	if len(last.ids) < leafIDsMax {
		last.ids = append(last.ids, v)
		return nil
	}
	// One too many: what was a leaf node becomes an interior node over them all.
	again := append(last.ids, v)
	last.deep, last.ids = true, nil
	for _, v := range again {
		for !t.open[len(t.open)-1].under(&v.id) {
			if err := t.closeLast(); err != nil {
				return err
			}
		}
		if err := t.put(v); err != nil {
			return err
		}
	}
	return nil
}

// closeLast finishes the last open subtree: its hash goes into the node above.
func (t *shape) closeLast() error {
	n := len(t.open) - 1
	s := t.open[n]
	t.open = t.open[:n]
	above := &t.top
	if n > 0 {
		above = t.open[n-1]
	}
	k := &above.kids[digit(&s.prefix, s.depth-1)]
	k.there, k.deep = true, s.deep
	if !s.deep {
		for _, v := range s.ids {
			k.ids = append(k.ids, v.id)
		}
	}
	k.sum = sha512.Sum512(s.json())
	if s.deep && t.check != nil {
		return t.check(s)
	}
	return nil
}

// finish is the hash of the tree of all ids that were added.
func (t *shape) finish() (kbsig.NodeHash, error) {
	for len(t.open) > 0 {
		if err := t.closeLast(); err != nil {
			return kbsig.NodeHash{}, err
		}
	}
	empty := !t.top.deep
	t.top.deep = true
	var err error
	if t.check != nil && !empty {
		err = t.check(&t.top)
	}
	return sha512.Sum512(t.top.json()), err
}

// json is the subtree's node as it is hashed. client: go/libkb/merkle_client.go:PathSteps.VerifyPath
func (s *subtree) json() []byte {
	b := []byte(`{"tab":{`)
	comma := ""
	if !s.deep {
		for _, v := range s.ids {
			b = fmt.Appendf(b, `%s"%x":%s`, comma, v.id, v.value)
			comma = ","
		}
		return append(b, `},"type":2}`...)
	}
	prefix := hex.EncodeToString(s.prefix[:])[:s.depth]
	for d, k := range s.kids {
		if k.there {
			b = fmt.Appendf(b, `%s"%s%x":"%s"`, comma, prefix, d, k.sum)
			comma = ","
		}
	}
	return append(b, `},"type":1}`...)
}
