package audit

import (
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/roots"
)

// emptyTable is the top node of a tree without ids, as it is hashed.
const emptyTable = `{"tab":{},"type":1}`

// rootPayload is a root's JSON as clients read it, and some of what they do not.
// client: go/libkb/merkle_client.go:MerkleRootPayloadUnpacked
type rootPayload struct {
	Body struct {
		Blind         string            `json:"blind_merkle_root_hash"`
		LegacyUIDRoot string            `json:"legacy_uid_root"`
		Prev          string            `json:"prev"`
		Root          string            `json:"root"`
		Seqno         kbsig.Seqno       `json:"seqno"`
		Skips         map[string]string `json:"skips"`
		Txid          string            `json:"txid"`
		Type          string            `json:"type"`
		Version       int               `json:"version"`
	} `json:"body"`
	Ctime int64  `json:"ctime"`
	Tag   string `json:"tag"`
}

// rootBefore is what a root is held against.
type rootBefore struct {
	known bool
	prev  string // SHA-512 of its payload, hex
	ctime int64
	node  kbsig.NodeHash
}

// roots is the pass over all roots in order.
func (a *auditor) roots() error {
	var before rootBefore
	err := a.r.Scan(keys.Roots(), keys.End(keys.Roots()), func(k, v []byte) error {
		if err := a.pause(); err != nil {
			return err
		}
		n, ok := keys.RootSeqno(k)
		if !ok || n < 1 || !a.place(n, &before) {
			return nil // an earlier line has said so
		}
		root, err := roots.RootAt(oneRecord(v), n)
		if err != nil {
			a.problem("%v", err)
			a.hashes = append(a.hashes, kbsig.HashMeta{})
			a.unsure.add(n - a.first)
			before = rootBefore{ctime: before.ctime}
			return nil
		}
		a.root(root, &before)
		return a.rootIndex(root)
	})
	if err != nil {
		return err
	}
	if a.newest == 0 && a.keys.stored[keys.Accounts()[0]] > 0 {
		a.problem("roots: there are none")
	}
	if n := len(a.hashes); n > 0 {
		a.seed(a.hashes[n-1])
	}
	return nil
}

// place checks that a root's number follows, and makes room for those that are
// missing; false if the root is so far off that it is not looked at.
func (a *auditor) place(n kbsig.Seqno, before *rootBefore) bool {
	if a.newest == 0 {
		a.first, a.newest = n, n
		return true
	}
	missing := n - a.newest - 1
	if missing > rootGapMax {
		a.problem("root %d: stands %d numbers behind root %d", n, missing+1, a.newest)
		return false
	}
	if missing > 0 {
		a.problem("root %d: missing, %d in a row", a.newest+1, missing)
		a.hashes = append(a.hashes, make([]kbsig.HashMeta, missing)...)
		for i := a.newest + 1; i <= n; i++ {
			a.unsure.add(i - a.first)
		}
		*before = rootBefore{ctime: before.ctime}
	}
	a.newest = n
	return true
}

// root checks one root against the one before it, and becomes what the next one is
// held against.
func (a *auditor) root(root *roots.Root, before *rootBefore) {
	n := root.Seqno
	bad := func(format string, args ...any) { a.problem("root %d: "+format, append([]any{n}, args...)...) }
	// As a client gets it: the packet of key, payload and signature.
	sig, err := kbsig.OpenSignature(root.Armored())
	switch {
	case err != nil:
		bad("signature: %v", err)
	case sig.KID != a.opts.KID:
		bad("signed by %s", sig.KID)
	}
	var p rootPayload
	if err := json.Unmarshal([]byte(root.Payload), &p); err != nil {
		bad("payload: %v", err)
	}
	legacy := hexSum256([]byte(emptyTable))
	switch {
	case p.Body.Seqno != n:
		bad("its payload is that of root %d", p.Body.Seqno)
	case p.Body.Root != root.Hash.String():
		bad("the tree's hash beside the payload is another")
	case p.Body.Txid != hex.EncodeToString(root.Txid[:]):
		bad("the txid beside the payload is another")
	case p.Ctime != root.Ctime:
		bad("the time beside the payload is another")
	case p.Tag != "signature" || p.Body.Type != "merkle_root" || p.Body.Version != 1:
		bad("tag %q, type %q, version %d", p.Tag, p.Body.Type, p.Body.Version)
	case p.Body.LegacyUIDRoot != legacy:
		bad("the legacy tree is not empty")
	}
	switch {
	case n == a.first && p.Body.Prev != "":
		bad("it is the first one stored, but follows another")
	case before.known && p.Body.Prev != before.prev:
		bad("does not follow from root %d", n-1)
	}
	if root.Ctime < before.ctime {
		bad("time goes back by %d s", before.ctime-root.Ctime)
	}
	if err := a.skips(n, p.Body.Skips); err != nil {
		bad("%v", err)
	}
	if err := a.blindOfRoot(n, p.Body.Blind); err != nil {
		bad("%v", err)
	}
	a.noteTree(root, before)
	a.hashes = append(a.hashes, root.HashMeta)
	sum := sha512.Sum512([]byte(root.Payload))
	*before = rootBefore{known: true, prev: hex.EncodeToString(sum[:]), ctime: max(root.Ctime, before.ctime), node: root.Hash}
	a.newestCtime, a.newestNode = root.Ctime, root.Hash
}

// noteTree notes whether a root has another tree than the one before.
func (a *auditor) noteTree(root *roots.Root, before *rootBefore) {
	i := root.Seqno - a.first
	switch {
	case i == 0:
		if root.Hash != sha512.Sum512([]byte(emptyTable)) {
			a.problem("root %d: the first tree is not empty", root.Seqno)
		}
	case !before.known:
		a.unsure.add(i)
	case root.Hash != before.node:
		a.treeChanged.add(i)
	}
}

// skips checks that a root names just the roots 1, 2, 4, ... before it, down to number
// 1; those before the first have a hash of zeros.
// client: go/libkb/merkle_client.go:computeExpectedRootSkips
func (a *auditor) skips(n kbsig.Seqno, got map[string]string) error {
	want := 0
	for step := kbsig.Seqno(1); step < n; step *= 2 {
		want++
		to := n - step
		hash, ok := got[strconv.FormatInt(int64(to), 10)]
		if !ok {
			return fmt.Errorf("no skip to root %d", to)
		}
		var h kbsig.HashMeta
		if to >= a.first {
			if h = a.hashes[to-a.first]; h == (kbsig.HashMeta{}) {
				continue // damaged or missing, which has been said
			}
		}
		if hash != h.String() {
			return fmt.Errorf("the skip to root %d names another", to)
		}
	}
	if len(got) != want {
		return fmt.Errorf("%d skips, not %d", len(got), want)
	}
	return nil
}

// rootIndex checks the entry by which a root is found by its hash.
func (a *auditor) rootIndex(root *roots.Root) error {
	k := keys.RootHash(root.HashMeta)
	v, err := a.r.Get(k)
	switch {
	case errors.Is(err, store.ErrNotFound):
		a.problem("root %d: not in the index by hash", root.Seqno)
	case err != nil:
		return err
	case len(v) != 8 || kbsig.Seqno(binary.BigEndian.Uint64(v)) != root.Seqno:
		a.problem("root %d: the index by hash says something else", root.Seqno)
		a.keys.right[k[0]]++ // it is not one too many
	default:
		a.keys.right[k[0]]++
	}
	return nil
}

// strayRootHashes names the index entries that belong to no root.
func (a *auditor) strayRootHashes() error {
	lo := keys.RootHash(kbsig.HashMeta{})[:1]
	return a.r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		h, ok := keys.RootHashOf(k)
		if !ok {
			return nil
		}
		n := kbsig.Seqno(0)
		if len(v) == 8 {
			n = kbsig.Seqno(binary.BigEndian.Uint64(v))
		}
		if !a.hasRoot(n) || a.hashes[n-a.first] != h {
			a.problem("root index entry %s: says root %d, which has not this hash", h, n)
		}
		return a.pause()
	})
}

// hasRoot says that a number is one of the roots'.
func (a *auditor) hasRoot(n kbsig.Seqno) bool { return a.newest > 0 && n >= a.first && n <= a.newest }

// rootAt reads a root that has been checked; nil if it was damaged or is not there.
func (a *auditor) rootAt(n kbsig.Seqno) (*roots.Root, error) {
	if !a.hasRoot(n) || a.hashes[n-a.first] == (kbsig.HashMeta{}) {
		return nil, nil
	}
	return roots.RootAt(a.r, n)
}

// oneRecord reads as the value v under every key: it lets a record that a scan has
// at hand be decoded by its owner.
type oneRecord []byte

// Get implements store.Reader.
func (v oneRecord) Get([]byte) ([]byte, error) { return v, nil }

// Scan implements store.Reader: there is nothing to scan.
func (oneRecord) Scan([]byte, []byte, func(k, v []byte) error) error { return nil }

// ScanReverse implements store.Reader.
func (oneRecord) ScanReverse([]byte, []byte, func(k, v []byte) error) error { return nil }
