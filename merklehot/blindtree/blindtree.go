// Package blindtree keeps the blind tree: what each root says about the hidden chains
// of teams, in a form that shows a client the tail of one team and nothing about the
// tails of others.
//
// It is a binary tree over 16-byte team ids with one team in a leaf. A leaf holds not
// the value but a MAC of it under a secret of that team and version, which only the
// proof for that very team carries. The metadata of a version chains it to older ones;
// its hash stands in the body of the roots.
//
// Promises:
//   - a version that a root carries can be proven for ever: all records are kept, under
//     the number of the first root that carries them, and only what changed is written;
//   - a team's tail only grows: another is ErrBackwards and no version;
//   - a group without hidden links costs nothing and keeps the version of the one before;
//   - what is read is checked against the hash above it, or is ErrCorrupt.
//
// Nothing is kept in memory but the newest version's metadata. Four levels of the tree
// are one page; an update reads and writes a page for each four levels of each path
// that changes. The package writes keys.BlindLeaf, keys.BlindPage and keys.BlindRoot.
// client: go/merkletree2/tree.go:Tree, go/blindtree/defaults.go:GetCurrentBlindTreeConfig
package blindtree

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Limits of the blind tree.
const (
	// deltasMax is how many records of a page may follow a full one before the next
	// full one: a reader of an old version looks at no more than this many and one.
	deltasMax = 15
	// depthMax is how many pages lie under each other at most.
	depthMax = 32
	// skipsMax bounds the pointers of a version to older ones.
	skipsMax = 63
)

// Errors of the blind tree.
var (
	// ErrBackwards says that a team's hidden tail does not grow.
	ErrBackwards = errors.New("a hidden chain's end changed without the chain growing")
	// ErrCorrupt says that a stored record is not what was signed.
	ErrCorrupt = errors.New("a stored record of the blind tree is damaged")
	// ErrNone says that there was no blind tree yet at that root.
	ErrNone = errors.New("no version of the blind tree")
)

// Key is a team's id.
type Key = [16]byte

// Sum is SHA-512/256.
type Sum = [32]byte

// Tail is the end of a team's hidden chain.
type Tail struct {
	Seqno kbsig.Seqno
	Link  kbsig.LinkID
}

// Change is a team's new tail.
type Change struct {
	Team Key
	Tail Tail
}

// Version is one version of the tree. It is immutable.
type Version struct {
	// Root is the first root that carries it; 0 if none does yet.
	Root kbsig.Seqno
	// Number counts versions from 1, which is the empty tree.
	Number int64
	// Teams is how many leaves there are.
	Teams int64

	top   Sum   // hash of the top node
	skips []Sum // hashes of the older versions that this one names
	hash  Sum   // of the metadata
}

// Hash names the version: it is what roots carry.
func (v *Version) Hash() Sum { return v.hash }

// Empty is the first version: it has no teams, and every server has the same.
func Empty() *Version {
	v := &Version{Number: 1, top: emptyNode()}
	v.hash = sum(v.appendMeta(nil, true))
	return v
}

// next is the version after v over another tree.
func (v *Version) next(root kbsig.Seqno, top Sum, teams int64) *Version {
	n := &Version{Root: root, Number: v.Number + 1, Teams: teams, top: top}
	// A version names those whose numbers are the sums of the high bits of the number
	// before it: all but the last are among those that v names.
	keep := bits.OnesCount64(uint64(v.Number)) - 1
	n.skips = append(append(make([]Sum, 0, keep+1), v.skips[:keep]...), v.hash)
	n.hash = sum(n.appendMeta(nil, true))
	return n
}

// At is v as first carried by a root.
func (v *Version) At(root kbsig.Seqno) *Version {
	n := *v
	n.Root = root
	return &n
}

// Record of a version under keys.BlindRoot:
//
//	0   version of this layout
//	1   number, 8 bytes
//	9   teams, 8 bytes
//	17  hash of the top node
//	49  hash of the metadata
//	81  hashes of older versions
const (
	recordVersion = 1
	recordBytes   = 81
)

// Put writes a version under its root.
func (v *Version) Put(w Writer) {
	b := make([]byte, 0, recordBytes+32*len(v.skips))
	b = binary.BigEndian.AppendUint64(append(b, recordVersion), uint64(v.Number))
	b = binary.BigEndian.AppendUint64(b, uint64(v.Teams))
	b = append(append(b, v.top[:]...), v.hash[:]...)
	for i := range v.skips {
		b = append(b, v.skips[i][:]...)
	}
	w.Set(keys.BlindRoot(v.Root), b)
}

func decodeVersion(root kbsig.Seqno, b []byte) (*Version, error) {
	bad := func() (*Version, error) {
		return nil, fmt.Errorf("blind tree of root %d: %w", root, ErrCorrupt)
	}
	if len(b) < recordBytes || len(b) > recordBytes+32*skipsMax || (len(b)-recordBytes)%32 != 0 || b[0] != recordVersion {
		return bad()
	}
	v := &Version{Root: root, Number: int64(binary.BigEndian.Uint64(b[1:])), Teams: int64(binary.BigEndian.Uint64(b[9:])), top: Sum(b[17:49]), hash: Sum(b[49:81])}
	for b = b[recordBytes:]; len(b) > 0; b = b[32:] {
		v.skips = append(v.skips, Sum(b[:32]))
	}
	if v.Number < 1 || v.Teams < 0 || len(v.skips) != bits.OnesCount64(uint64(v.Number-1)) || v.hash != sum(v.appendMeta(nil, true)) {
		return bad()
	}
	return v, nil
}

// VersionAt is the version that a root carries; the error is ErrNone for roots from
// before the first.
func VersionAt(r store.Reader, root kbsig.Seqno) (v *Version, err error) {
	err = r.ScanReverse(keys.BlindRoots(), keys.BlindRoot(root+1), func(k, b []byte) error {
		n, ok := keys.BlindRootSeqno(k)
		if !ok {
			return fmt.Errorf("blind tree under a key of %d bytes: %w", len(k), ErrCorrupt)
		}
		if v, err = decodeVersion(n, b); err != nil {
			return err
		}
		return store.ErrStop
	})
	if err == nil && v == nil {
		err = fmt.Errorf("root %d: %w", root, ErrNone)
	}
	return v, err
}

// First is the first root that carries a blind tree; the error is ErrNone if none does.
func First(r store.Reader) (first kbsig.Seqno, err error) {
	err = r.Scan(keys.BlindRoots(), keys.End(keys.BlindRoots()), func(k, _ []byte) error {
		var ok bool
		if first, ok = keys.BlindRootSeqno(k); !ok {
			return fmt.Errorf("blind tree under a key of %d bytes: %w", len(k), ErrCorrupt)
		}
		return store.ErrStop
	})
	if err == nil && first == 0 {
		err = ErrNone
	}
	return first, err
}

// Check reads the top of a version and compares it with its hash.
func (v *Version) Check(r store.Reader) error {
	_, err := v.topPage(r)
	return err
}

func (v *Version) topPage(r store.Reader) (*page, error) {
	if v.Teams == 0 {
		if v.top != emptyNode() {
			return nil, fmt.Errorf("blind tree of root %d: %w", v.Root, ErrCorrupt)
		}
		return new(page), nil
	}
	return readPage(r, 0, Key{}, v.Root, v.top)
}

// leafRecord is what is stored of a team at a version: layout version, seqno, link,
// secret.
const leafBytes = 1 + 8 + 32 + 32

func encodeLeaf(t Tail, secret Sum) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 1, leafBytes), uint64(t.Seqno))
	b[0] = recordVersion
	return append(append(b, t.Link[:]...), secret[:]...)
}

func decodeLeaf(b []byte) (t Tail, secret Sum, err error) {
	if len(b) != leafBytes || b[0] != recordVersion {
		return t, secret, fmt.Errorf("blind leaf of %d bytes: %w", len(b), ErrCorrupt)
	}
	t.Seqno = kbsig.Seqno(binary.BigEndian.Uint64(b[1:]))
	copy(t.Link[:], b[9:])
	copy(secret[:], b[41:])
	if t.Seqno < 1 {
		return t, secret, fmt.Errorf("blind leaf of link %d: %w", t.Seqno, ErrCorrupt)
	}
	return t, secret, nil
}

// leafAt reads a team's value as of a root, and since when it was that; the error is
// store.ErrNotFound if the tree did not know the team.
func leafAt(r store.Reader, team Key, root kbsig.Seqno) (t Tail, secret Sum, since kbsig.Seqno, err error) {
	lo := keys.BlindLeaf(team, root)
	err = r.Scan(lo, keys.End(keys.BlindLeafVersions(team)), func(k, b []byte) error {
		_, since, _ = keys.BlindLeafOf(k)
		if t, secret, err = decodeLeaf(b); err != nil {
			return err
		}
		return store.ErrStop
	})
	if err == nil && since == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		err = fmt.Errorf("blind leaf of %x at root %d: %w", team, root, err)
	}
	return t, secret, since, err
}

// TailAt is what a root says about a team, and the root since which it does; the error
// is store.ErrNotFound if it says nothing.
func TailAt(r store.Reader, team Key, root kbsig.Seqno) (t Tail, since kbsig.Seqno, err error) {
	t, _, since, err = leafAt(r, team, root)
	return t, since, err
}

func sum(b []byte) Sum { return sha512.Sum512_256(b) }

// mac is the keyed hash of the format.
func mac(key, msg []byte) (out Sum) {
	h := hmac.New(sha512.New512_256, key)
	h.Write(msg)
	h.Sum(out[:0])
	return out
}
