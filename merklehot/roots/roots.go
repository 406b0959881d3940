// Package roots is the sequencer: the only place that signs a Merkle root, and the
// one that says which root is the newest.
//
// It completes each group of the store (store.Sealer): the leaves that the group's
// transactions noted go into the tree in one update, tails of hidden chains into the
// blind tree, the two new hashes into a new root, and root, leaf values and tree
// records into the same batch. Nobody is
// answered before the root that covers the write is on stable storage and published.
//
// Promises, on which clients check us for ever:
//   - numbers grow by one, prev and skips name the roots before, time never goes back;
//   - one number, one root: the high-water record (engine/highwater) moves after the
//     fsync and before anybody sees a root, and a start with a store that is behind
//     it, or differs, is refused;
//   - one chain length, one tail: a leaf whose chain end changes while its number
//     does not, or goes back, is a fatal error and not a root;
//   - every root, and every path under it, stays answerable.
//
// The first two roots are numbered FirstSeqno and the one after: clients in
// production mode refuse lower numbers, and their self-audit needs two.
//
// The package writes keys.Root and keys.RootHash; the tree's records are written by
// merklehot/tree and merklehot/blindtree. client: go/libkb/merkle_client.go, go/engine/merkle_audit.go
package roots

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/hash"
	"github.com/keystead/keystead/engine/highwater"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/blindtree"
	"github.com/keystead/keystead/merklehot/tree"
)

// FirstSeqno is the number of the first root: the checkpoint compiled into clients.
// client: go/libkb/merkle_checkpoint.go:prodCheckpoint5323658
const FirstSeqno kbsig.Seqno = 5323658

// Limits of the sequencer.
const (
	// recentTreesMax is how many versions of the tree are kept in memory, and
	// recentBytesMax how many bytes the older ones of them may cost: paths in them
	// are served without reading the store.
	recentTreesMax = 128
	recentBytesMax = 64 << 20
	// checkedRootsMax is how many of the newest roots are checked at start.
	checkedRootsMax = 1024
	// payloadBytesMax bounds a root's payload as stored.
	payloadBytesMax = 64 << 10
)

// Errors of the sequencer.
var (
	// ErrNoRoot says that there is no root of that number or hash.
	ErrNoRoot = errors.New("no such root")
	// ErrCorrupt says that a stored root is not what was signed.
	ErrCorrupt = errors.New("a stored root is damaged")
	// ErrBehind says that the store lacks roots that have been shown: it was rolled
	// back, or an old copy was restored.
	ErrBehind = errors.New("the store is behind the high-water record")
	// ErrForked says that the store holds another root than was shown.
	ErrForked = errors.New("the store holds another root than the high-water record")
	// ErrWrongKey says that the newest root was signed by another key.
	ErrWrongKey = errors.New("the roots were signed by another key")
	// ErrOddEven says that a leaf names two ends for one chain length, or a chain
	// that got shorter.
	ErrOddEven = errors.New("a chain's end changed without the chain growing")
)

// LeafChange is noted by a transaction that changes what the tree says about a user
// or a team. The last one of an id in a group counts.
type LeafChange struct {
	ID   tree.ID
	Leaf tree.Leaf
}

// BlindChange is noted by a transaction in which a team's hidden chain grew: the very
// next root commits its new tail. Of several of a team in a group each is longer than
// the one before.
type BlindChange struct {
	Team blindtree.Key
	Tail blindtree.Tail
}

// BlindBuild is noted to have a new version of the blind tree with all that waits.
type BlindBuild struct{}

// Beat is noted to have a root even if no leaf changes.
type Beat struct{}

// Root is one signed root. It is immutable.
type Root struct {
	Seqno    kbsig.Seqno
	HashMeta kbsig.HashMeta // SHA-256 of Payload: the name of the root
	Hash     kbsig.NodeHash // of the main tree's top node
	Ctime    int64          // in seconds
	Txid     [16]byte
	KID      kbsig.KID // that signed
	Sig      [64]byte  // over Payload
	Payload  string    // the JSON that is signed
}

// Armored is the root's signature packet as clients take it.
func (r *Root) Armored() string {
	return kbsig.Armor(kbsig.EncodeSignature(r.KID, []byte(r.Payload), r.Sig))
}

func (r *Root) mark() highwater.Mark { return highwater.Mark{Seqno: r.Seqno, HashMeta: r.HashMeta} }

// Record of a root under keys.Root. The hash stands first, where the skips of later
// roots need it.
//
//	0    version of this layout
//	1    hash meta, 32 bytes
//	33   top node hash, 64 bytes
//	97   ctime, 8 bytes
//	105  txid, 16 bytes
//	121  kid, 35 bytes
//	156  signature, 64 bytes
//	220  payload
const (
	recordVersion = 1
	hashAt        = 1
	nodeAt        = 33
	ctimeAt       = 97
	txidAt        = 105
	kidAt         = 121
	sigAt         = 156
	payloadAt     = 220
)

func encodeRecord(r *Root) []byte {
	b := make([]byte, payloadAt, payloadAt+len(r.Payload))
	b[0] = recordVersion
	copy(b[hashAt:], r.HashMeta[:])
	copy(b[nodeAt:], r.Hash[:])
	binary.BigEndian.PutUint64(b[ctimeAt:], uint64(r.Ctime))
	copy(b[txidAt:], r.Txid[:])
	copy(b[kidAt:], r.KID[:])
	copy(b[sigAt:], r.Sig[:])
	return append(b, r.Payload...)
}

// decodeRecord reads a root and checks that its payload has its hash. The other
// fields are checked against the payload at start and by merklehot/audit; a wrong
// node hash cannot pass unnoticed, since no path leads to it.
func decodeRecord(n kbsig.Seqno, b []byte) (*Root, error) {
	if len(b) <= payloadAt || len(b) > payloadAt+payloadBytesMax || b[0] != recordVersion {
		return nil, fmt.Errorf("root %d: record of %d bytes: %w", n, len(b), ErrCorrupt)
	}
	r := &Root{Seqno: n, Payload: string(b[payloadAt:]), Ctime: int64(binary.BigEndian.Uint64(b[ctimeAt:]))}
	copy(r.HashMeta[:], b[hashAt:])
	copy(r.Hash[:], b[nodeAt:])
	copy(r.Txid[:], b[txidAt:])
	copy(r.KID[:], b[kidAt:])
	copy(r.Sig[:], b[sigAt:])
	if hash.Sum256(b[payloadAt:]) != r.HashMeta {
		return nil, fmt.Errorf("root %d: payload does not have its hash: %w", n, ErrCorrupt)
	}
	return r, nil
}

// RootAt reads a root; the error is ErrNoRoot if there is none of that number.
func RootAt(r store.Reader, n kbsig.Seqno) (*Root, error) {
	if n < 1 {
		return nil, fmt.Errorf("root %d: %w", n, ErrNoRoot)
	}
	b, err := r.Get(keys.Root(n))
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("root %d: %w", n, ErrNoRoot)
	}
	if err != nil {
		return nil, fmt.Errorf("root %d: %w", n, err)
	}
	return decodeRecord(n, b)
}

// SeqnoByHashMeta finds the number of a root by its hash; the error is ErrNoRoot if
// there never was one.
func SeqnoByHashMeta(r store.Reader, h kbsig.HashMeta) (kbsig.Seqno, error) {
	b, err := r.Get(keys.RootHash(h))
	if errors.Is(err, store.ErrNotFound) {
		return 0, fmt.Errorf("root %s: %w", h, ErrNoRoot)
	}
	if err != nil {
		return 0, fmt.Errorf("root %s: %w", h, err)
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("root %s: index record of %d bytes: %w", h, len(b), ErrCorrupt)
	}
	return kbsig.Seqno(binary.BigEndian.Uint64(b)), nil
}

func put(tx *store.Tx, r *Root) {
	tx.Set(keys.Root(r.Seqno), encodeRecord(r))
	tx.Set(keys.RootHash(r.HashMeta), binary.BigEndian.AppendUint64(nil, uint64(r.Seqno)))
}
