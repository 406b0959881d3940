// Package hidden is the hidden chains of teams: key rotations that leave the visible
// chain as it is, and the ratchets by which visible links commit to them.
//
// It says which link may stand next and what it means, and keeps links as they were
// received. Its promises:
//   - a link is taken only if every client takes it: both signatures hold, it follows
//     the end of the hidden chain, stands on the end of the visible chain, and brings the
//     generation after the newest of the two chains;
//   - a link in the store has been noted for the blind tree in the same batch, so that
//     the root that covers it commits to it;
//   - a ratchet is kept with what explains it, and explained only with a link that is in
//     the chain.
//
// Who may sign is the business of whoever knows the visible chain: see Env. Public teams
// have no hidden chain. The package writes keys.HiddenLink, keys.HiddenChain and
// keys.Ratchet. client: go/teams/hidden/loader.go:LoaderPackage, go/sig3/sig3.go:RotateKey
package hidden

import (
	"github.com/keystead/keystead/compat/kbsig"
)

// linkType is how a post names a hidden rotation.
// client: go/teams/hidden/hidden.go:GenerateKeyRotation
const (
	linkType    = "team.rotate_key_hidden"
	sig3Version = 3
)

// Posted is an item of sig/multi that carries a hidden link.
type Posted struct {
	Type, TeamID, SigningKID, SigInner string
	SeqType, Version                   int
	Inner, Outer, Sig                  string // of sig3
	// Signing and Encryption are the item's public_keys.
	Signing, Encryption string
}

// PTK is a per-team key of the hidden chain.
type PTK struct {
	Generation          int64
	Signing, Encryption kbsig.KID
	Seqno               kbsig.Seqno // of the link that brought it
}

// Link is a hidden link whose signatures hold. It is immutable.
type Link struct {
	Team  kbsig.TeamID
	Seqno kbsig.Seqno
	ID    kbsig.LinkID
	Prev  kbsig.LinkID // zero for the first

	Signer    kbsig.UserVersion
	KID       kbsig.KID
	Admin     *kbsig.Sig3Admin // where an implicit admin became one; nil for members
	Ctime     int64            // in seconds
	RootSeqno kbsig.Seqno      // of the Merkle root that the signer quotes
	RootHash  kbsig.HashMeta
	Parent    kbsig.Sig3Tail // end of the visible chain that the signer saw
	Implicit  bool
	PTK       PTK

	record Record
}

// Record is a link as it is kept and served: the bytes that were received.
type Record struct {
	Inner []byte `codec:"i"`
	Outer []byte `codec:"o"`
	Sig   []byte `codec:"s"`
}

// WireLink is a link in team/get. A stub has only the signed half.
// client: go/sig3/prot.go:ExportJSON
type WireLink struct {
	Inner string `json:"i,omitempty"`
	Outer string `json:"o"`
	Sig   string `json:"s,omitempty"`
}

// Parse reads a posted hidden link and checks all that needs no state.
func Parse(p Posted) (*Link, error) {
	if p.Type != linkType || p.SeqType != kbsig.SeqTypeTeamHidden || p.Version != sig3Version || p.SigInner != "" {
		return nil, refuse(KindInput, "an item of type %.40q, chain %d, version %d is no hidden rotation", p.Type, p.SeqType, p.Version)
	}
	s, err := kbsig.ParseSig3(p.Inner, p.Outer, p.Sig)
	if err != nil {
		return nil, refuseParse(err)
	}
	l := linkOf(s)
	switch {
	case p.TeamID != l.Team.String():
		return nil, refuse(KindMismatch, "the link is one of team %s", l.Team)
	case p.SigningKID != l.KID.String():
		return nil, refuse(KindMismatch, "the link is signed by %s", l.KID)
	case p.Signing != l.PTK.Signing.String() || p.Encryption != l.PTK.Encryption.String():
		return nil, refuse(KindMismatch, "the link brings other keys than the item names")
	case s.Inner.IsPublic || l.Team.Public():
		return nil, refuse(KindPublic, "team %s is public", l.Team)
	}
	return l, nil
}

func linkOf(s *kbsig.Sig3) *Link {
	in := &s.Inner
	return &Link{
		Team: in.Team, Seqno: s.Outer.Seqno, ID: s.ID, Prev: s.Outer.Prev,
		Signer: in.Signer, KID: in.KID, Admin: in.Admin, Ctime: in.Ctime,
		RootSeqno: in.RootSeqno, RootHash: in.RootHash, Parent: in.Parent, Implicit: in.IsImplicit,
		PTK:    PTK{in.PTK.Generation, in.PTK.Signing, in.PTK.Encryption, s.Outer.Seqno},
		record: Record{s.RawInner, s.RawOuter, s.RawSig()},
	}
}

// Record is the link as it is kept.
func (l *Link) Record() Record { return l.record }

// Link reads a record again, verifying everything that needs no state.
func (r Record) Link() (*Link, error) {
	w := r.Entry(false)
	s, err := kbsig.ParseSig3(w.Inner, w.Outer, w.Sig)
	if err != nil {
		return nil, refuse(KindCorrupt, "record: %w", err)
	}
	return linkOf(s), nil
}

// Entry is the link as clients get it; stubs without what it says.
func (r Record) Entry(stub bool) WireLink {
	if stub {
		return WireLink{Outer: kbsig.Armor(r.Outer)}
	}
	return WireLink{kbsig.Armor(r.Inner), kbsig.Armor(r.Outer), kbsig.Armor(r.Sig)}
}
