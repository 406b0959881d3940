package teamchain

import (
	"bytes"
	"encoding/binary"

	"github.com/keystead/keystead/compat/kbsig"
)

// Posted is an item of a request, as it is sent. client: go/libkb/kbsig.go:SigMultiItem
type Posted struct {
	Sig        string // armoured packet
	SigningKID string
	Type       string
	SigInner   string
	TeamID     string
	SeqType    int
	Version    int // 0 where clients leave it out
}

// RootRef is the Merkle root that a link quotes.
type RootRef struct {
	Seqno    kbsig.Seqno
	HashMeta kbsig.HashMeta
	Ctime    int64 // unix seconds
}

// Link is one visible link, verified and taken apart; its chain has not been asked yet.
type Link struct {
	Team     kbsig.TeamID
	Seqno    kbsig.Seqno
	Type     kbsig.LinkType
	SeqType  int
	ID, Prev kbsig.LinkID
	SigID    kbsig.SigIDBase
	// Signer is who says to have signed; CheckBatch fills in the incarnation.
	Signer   kbsig.UserVersion
	Username kbsig.Username
	KID      kbsig.KID
	Ctime    int64 // unix seconds
	Root     RootRef

	Implicit    bool
	Name        *kbsig.TeamName
	HasMembers  bool // the section stands there, if empty
	Members     []Member
	Parent      *Place
	Subteam     *SubteamSection
	PTK         *PTK
	Admin       *Place
	Invites     *InviteSection
	Completed   []Completed
	Used        []Completed
	Settings    *Settings
	KBFS        *KBFS
	BoxSummary  *[32]byte
	Ratchets    [][32]byte
	BotSettings []BotSettings
	HasBots     bool

	packet, inner []byte
}

// Member is an assignment of a role; RoleNone takes it away.
type Member struct {
	UV   kbsig.UserVersion
	Role Role
}

// Place is a link of another chain, or of the same.
type Place struct {
	Team    kbsig.TeamID
	Seqno   kbsig.Seqno
	SeqType int
}

// SubteamSection names a subteam.
type SubteamSection struct {
	ID   kbsig.TeamID
	Name kbsig.TeamName
}

// PTK is one generation of a team's key.
type PTK struct {
	Generation          int64
	Signing, Encryption kbsig.KID
	Seqno               kbsig.Seqno // of the link that brought it
	Hidden              bool        // the link is of the hidden chain
}

// Invite is an invitation. client: go/teams/chain_parse.go:SCTeamInvite
type Invite struct {
	ID      kbsig.InviteID
	Role    Role
	Type    string
	Name    string
	MaxUses int64 // 0: old style, good once; -1: no limit
	Etime   int64 // 0: none
}

// NewStyle invitations count how often they are used.
func (i Invite) NewStyle() bool { return i.MaxUses != 0 }

// Keybase is the user version that an invitation of that type is for.
func (i Invite) Keybase() (kbsig.UserVersion, bool) {
	if i.Type != InviteKeybase {
		return kbsig.UserVersion{}, false
	}
	uv, err := kbsig.ParseUserVersion(i.Name)
	return uv, err == nil
}

// Types of invitations that have rules of their own.
const (
	InviteKeybase = "keybase"
	InviteLink    = "invitelink"
	InviteSeitan  = "seitan_invite_token"
)

// InviteSection is what a link says of invitations.
type InviteSection struct {
	Added  []Invite
	Cancel []kbsig.InviteID
}

// Completed pairs an invitation with who accepted it.
type Completed struct {
	Invite kbsig.InviteID
	UV     kbsig.UserVersion
}

// Settings are a team's.
type Settings struct {
	HasOpen bool
	Open    bool
	JoinAs  Role
}

// KBFS is what a link says of the team's folder. client: go/teams/chain_parse.go:SCTeamKBFS
type KBFS struct {
	TLF    string // 32 hex characters; empty: none
	Keyset *Keyset
}

// Keyset are the old keys of a folder that a team adopts.
type Keyset struct {
	AppType          int
	TeamGeneration   int64
	LegacyGeneration int64
	Hash             string
}

// BotSettings are where a restricted bot works.
type BotSettings struct {
	Bot            kbsig.UserVersion
	Cmds, Mentions bool
	Triggers       []string
	Convs          []string
}

// Record is a link as it is kept: the bytes that were received, and which incarnation of
// its author signed.
type Record struct {
	Packet []byte
	Inner  []byte
	Signer kbsig.UserVersion
}

const recordVersion = 1

// Record is the link's stored form.
func (l *Link) Record() Record { return Record{Packet: l.packet, Inner: l.inner, Signer: l.Signer} }

// Same reports whether a record is of this very link.
func (l *Link) Same(r Record) bool {
	return bytes.Equal(l.packet, r.Packet) && bytes.Equal(l.inner, r.Inner)
}

// Encode writes the stored form.
func (r Record) Encode() []byte {
	b := make([]byte, 0, len(r.Packet)+len(r.Inner)+40)
	b = append(b, recordVersion)
	b = append(b, r.Signer.UID[:]...)
	b = binary.AppendUvarint(b, uint64(r.Signer.Eldest))
	b = binary.AppendUvarint(b, uint64(len(r.Packet)))
	b = append(b, r.Packet...)
	return append(b, r.Inner...)
}

// DecodeRecord reads what Encode wrote; the result has its own memory.
func DecodeRecord(b []byte) (r Record, err error) {
	bad := func() (Record, error) { return Record{}, Refuse(KindCorrupt, "record of a link that does not decode") }
	if len(b) < 1+len(r.Signer.UID) || b[0] != recordVersion {
		return bad()
	}
	b = bytes.Clone(b[1:])
	copy(r.Signer.UID[:], b)
	b = b[len(r.Signer.UID):]
	eldest, n := binary.Uvarint(b)
	if n <= 0 {
		return bad()
	}
	r.Signer.Eldest, b = kbsig.Seqno(eldest), b[n:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return bad()
	}
	b = b[n:]
	r.Packet, r.Inner = b[:size], b[size:]
	return r, nil
}

// WireLink is an element of "chain" in team/get. client: go/teams/chain_parse.go:SCChainLink
type WireLink struct {
	Seqno       kbsig.Seqno `json:"seqno"`
	Sig         string      `json:"sig"`
	S2          string      `json:"s2"`
	PayloadJSON string      `json:"payload_json"`
	UID         string      `json:"uid"`
	EldestSeqno kbsig.Seqno `json:"eldest_seqno"`
	Version     int         `json:"version"`
}

// Outer is what the record's link signs.
func (r Record) Outer() (*kbsig.TeamOuter, *kbsig.Signature, error) {
	sig, err := kbsig.DecodeSignature(r.Packet)
	if err != nil {
		return nil, nil, Refuse(KindCorrupt, "record: %w", err)
	}
	outer, err := kbsig.DecodeTeamOuter(sig.Payload)
	if err != nil {
		return nil, nil, Refuse(KindCorrupt, "record: %w", err)
	}
	return outer, sig, nil
}

// Entry is what clients are given of the link; the outer link alone if stub asks for it,
// whether or not clients take one of this type: see kbsig.LinkType.TeamStubbable.
func (r Record) Entry(stub bool) (WireLink, error) {
	outer, sig, err := r.Outer()
	if err != nil {
		return WireLink{}, err
	}
	w := WireLink{Seqno: outer.Seqno, UID: r.Signer.UID.String(), EldestSeqno: r.Signer.Eldest, Version: 2}
	if stub && outer.Seqno > 1 {
		w.S2 = kbsig.Armor(sig.Payload)
		return w, nil
	}
	w.Sig, w.PayloadJSON = kbsig.Armor(r.Packet), string(r.Inner)
	return w, nil
}

// Link reads and verifies a record again, as if it had just been posted.
func (r Record) Link() (*Link, error) {
	l, err := parseLink(r.Packet, r.Inner)
	if err != nil {
		return nil, err
	}
	if l.Signer.UID != r.Signer.UID {
		return nil, Refuse(KindCorrupt, "record of another author's link")
	}
	l.Signer = r.Signer
	return l, nil
}
