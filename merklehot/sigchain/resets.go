package sigchain

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
)

// The reset chain of a user is beside the chain of links: the server's word, hashed into
// the Merkle leaf, that what the account was before it is no more. A reset leaves an
// account without keys, whose next link is a new eldest; after a deletion nothing comes.
// client: go/libkb/merkle_reset_chain.go:MerkleResets.verifyAndLoad

// resetsMax bounds a user's reset chain: clients are sent all of it with each look-up.
const resetsMax = 200

// ResetKind is what happened to an account.
type ResetKind string

// Kinds of resets. client: go/protocol/keybase1/extras.go:ResetType.UnmarshalJSON
const (
	KindReset  ResetKind = "reset"
	KindDelete ResetKind = "delete"
)

// ResetTail is the end of a reset chain: the number of its last entry and SHA-512 of
// that entry's JSON. The zero ResetTail is an empty chain.
type ResetTail struct {
	Seqno kbsig.Seqno
	Hash  [sha512.Size]byte
}

// ResetLink is one entry of a reset chain.
// client: go/protocol/keybase1/reset.go:ResetLink
type ResetLink struct {
	UID    kbsig.UID
	Kind   ResetKind
	Seqno  kbsig.Seqno
	Ctime  int64 // Unix seconds
	Root   RootRef
	Eldest kbsig.KID         // of the incarnation that ended; zero without one
	Tail   kbsig.Seqno       // its last link, 0 without any
	Prev   [sha512.Size]byte // hash of the entry before; zero in the first
}

// resetJSON is the entry as it is hashed and served. Its fields are in the order of
// their names.
type resetJSON struct {
	Ctime int64 `json:"ctime"`
	Root  struct {
		HashMeta string      `json:"hash_meta"`
		Seqno    kbsig.Seqno `json:"seqno"`
	} `json:"merkle_root"`
	Prev struct {
		Eldest *string     `json:"eldest_kid,omitempty"`
		Tail   kbsig.Seqno `json:"public_seqno"`
		Reset  *string     `json:"reset"`
	} `json:"prev"`
	Seqno kbsig.Seqno `json:"reset_seqno"`
	Kind  ResetKind   `json:"type"`
	UID   string      `json:"uid"`
}

// JSON is the entry's text, from which its hash is taken.
func (l *ResetLink) JSON() []byte {
	j := resetJSON{Ctime: l.Ctime, Seqno: l.Seqno, Kind: l.Kind, UID: l.UID.String()}
	j.Root.HashMeta, j.Root.Seqno = l.Root.HashMeta.String(), l.Root.Seqno
	j.Prev.Tail = l.Tail
	if !l.Eldest.IsZero() {
		kid := l.Eldest.String()
		j.Prev.Eldest = &kid
	}
	if l.Seqno > 1 {
		before := hex.EncodeToString(l.Prev[:])
		j.Prev.Reset = &before
	}
	b, err := json.Marshal(j)
	if err != nil {
		panic(fmt.Sprintf("reset link of %s: %v", l.UID, err)) // strings and numbers always encode
	}
	return b
}

// ParseResetLink reads exactly what JSON writes. Of the root only number and hash are
// known.
func ParseResetLink(b []byte) (*ResetLink, error) {
	var j resetJSON
	bad := func(err error) (*ResetLink, error) {
		return nil, refuse(KindCorrupt, "reset link of %d bytes: %w", len(b), err)
	}
	if err := json.Unmarshal(b, &j); err != nil {
		return bad(err)
	}
	l := &ResetLink{Kind: j.Kind, Seqno: j.Seqno, Ctime: j.Ctime, Tail: j.Prev.Tail, Root: RootRef{Seqno: j.Root.Seqno}}
	var err error
	if l.UID, err = kbsig.ParseUID(j.UID); err != nil {
		return bad(err)
	}
	if l.Root.HashMeta, err = kbsig.ParseHashMeta(j.Root.HashMeta); err != nil {
		return bad(err)
	}
	if j.Prev.Eldest != nil {
		if l.Eldest, err = kbsig.ParseKID(*j.Prev.Eldest); err != nil {
			return bad(err)
		}
	}
	if j.Prev.Reset != nil {
		if n, err := hex.Decode(l.Prev[:], []byte(*j.Prev.Reset)[:min(len(*j.Prev.Reset), 2*len(l.Prev))]); err != nil || n != len(l.Prev) {
			return bad(fmt.Errorf("hash of the one before"))
		}
	}
	if !bytes.Equal(l.JSON(), b) {
		return bad(fmt.Errorf("not as this server writes it"))
	}
	return l, nil
}

// NextReset is the entry that ends the account's incarnation now, as ApplyReset takes
// it; root is the newest published one.
func (s *State) NextReset(kind ResetKind, root RootRef, env Env) *ResetLink {
	return &ResetLink{
		UID: s.UID, Kind: kind, Seqno: s.Resets.Seqno + 1, Ctime: max(env.Now().Unix(), root.Ctime),
		Root: root, Eldest: s.Eldest, Tail: s.Tail, Prev: s.Resets.Hash,
	}
}

// ApplyReset judges an entry of the reset chain against the account so far and returns
// the state with it: links and keys stay on record, none of them counts any more.
func (s *State) ApplyReset(l *ResetLink, env Env) (*State, error) {
	switch {
	case s.Deleted:
		return nil, refuse(KindDeleted, "%s of %s, who is deleted", l.Kind, s.UID)
	case l.Kind != KindReset && l.Kind != KindDelete:
		return nil, refuse(KindInput, "reset of the kind %.16q", l.Kind)
	case l.UID != s.UID:
		return nil, refuse(KindWrongUser, "reset of %s among those of %s", l.UID, s.UID)
	case l.Seqno != s.Resets.Seqno+1 || l.Prev != s.Resets.Hash:
		return nil, refuse(KindOldSeqno, "reset %d after reset %d", l.Seqno, s.Resets.Seqno)
	case l.Tail != s.Tail || l.Eldest != s.Eldest:
		return nil, refuse(KindOrder, "reset %d after link %d, not %d", l.Seqno, l.Tail, s.Tail)
	case l.Kind == KindReset && l.Seqno > resetsMax:
		// A deletion always finds its place: it is the last.
		return nil, refuse(KindTooMany, "account that was reset %d times", s.Resets.Seqno)
	}
	if l.Root.Seqno > env.LatestRoot() {
		return nil, refuse(KindOrder, "reset %d quotes root %d, which is not published", l.Seqno, l.Root.Seqno)
	}
	ref, ok, err := env.Root(l.Root.Seqno)
	if err != nil {
		return nil, fmt.Errorf("root %d: %w", l.Root.Seqno, err)
	}
	if !ok || ref.HashMeta != l.Root.HashMeta || l.Ctime < ref.Ctime {
		return nil, refuse(KindOrder, "reset %d quotes a root %d that was never published, or a later one", l.Seqno, l.Root.Seqno)
	}
	next := s.clone()
	next.Eldest, next.EldestSeqno = kbsig.KID{}, 0
	next.Tracks = nil
	next.Proofs, next.Currencies, next.Vouches, next.Reactions, next.Wallet = nil, nil, nil, nil, nil
	next.Deleted = l.Kind == KindDelete
	next.Resets = ResetTail{Seqno: l.Seqno, Hash: sha512.Sum512(l.JSON())}
	return next, nil
}
