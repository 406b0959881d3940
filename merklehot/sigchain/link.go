package sigchain

import (
	"github.com/keystead/keystead/compat/kbsig"
)

// RootRef is a Merkle root as links quote it.
// client: go/libkb/merkle_client.go:ToSigJSON
type RootRef struct {
	Seqno    kbsig.Seqno
	HashMeta kbsig.HashMeta // SHA-256 of the root's payload
	NodeHash kbsig.NodeHash // of the top node
	Ctime    int64          // Unix seconds
}

// Link is one link that was read and whose signatures verify. Fields of other
// types than the link's own are nil or zero.
type Link struct {
	Version  int // 1: JSON is signed; 2: an outer link is
	Type     kbsig.LinkType
	Seqno    kbsig.Seqno
	Prev     kbsig.LinkID // zero for seqno 1
	ID       kbsig.LinkID
	SigID    kbsig.SigIDBase
	UID      kbsig.UID
	Username kbsig.Username
	KID      kbsig.KID       // who signed
	Eldest   kbsig.KID       // body.key.eldest_kid; zero in an eldest link
	HighSkip *kbsig.HighSkip // when the client wrote one
	Root     RootRef
	Ctime    int64 // Unix seconds by the signer's clock
	ExpireIn int64 // seconds; stock clients of v6 do not act on it

	Device  *DeviceSection // eldest, sibkey, subkey, device; revoke of a device
	Key     kbsig.KID      // what eldest, sibkey and subkey add
	Parent  kbsig.KID      // subkey: the device's sibkey
	PUK     *PUKSection    // per_user_key
	Revoke  *RevokeSection // revoke; what other statements come in place of
	Track   *TrackSection  // track
	Untrack *Followee      // untrack

	Service   *ServiceSection  // web_service_binding
	Currency  *CurrencySection // cryptocurrency
	Wallet    *WalletSection   // wallet.stellar
	Expansion *ExpansionID     // wot.vouch, wot.react

	ignorable bool // by clients that do not know the type

	outer  *kbsig.Outer     // v2
	inner  []byte           // the JSON
	packet []byte           // what signs, as received: a packet or a PGP message
	sig    *kbsig.Signature // the packet, unless PGP signs
	pgpLink
}

// Inner is the signed JSON, byte for byte. The caller must not change it.
func (l *Link) Inner() []byte { return l.inner }

// Packet is the signature packet or PGP message, byte for byte. The caller must not change it.
func (l *Link) Packet() []byte { return l.packet }

// DeviceSection is body.device. client: go/libkb/device.go:Device
type DeviceSection struct {
	ID     kbsig.DeviceID
	KID    kbsig.KID // zero in a revoke
	Name   string    // empty in subkey and revoke
	Type   DeviceType
	Status int // DeviceActive or DeviceDefunct
}

// Device statuses. client: go/libkb/constants.go:DeviceStatusActive
const (
	DeviceActive  = 1
	DeviceDefunct = 2
)

// DeviceType is what kind of device it is.
type DeviceType string

// Device types. A backup is a paper key.
const (
	DeviceDesktop DeviceType = "desktop"
	DeviceMobile  DeviceType = "mobile"
	DeviceBackup  DeviceType = "backup"
)

// PUKSection is body.per_user_key. client: go/libkb/kbsig.go:PerUserKeyProof
type PUKSection struct {
	Generation int64
	Signing    kbsig.KID
	Encryption kbsig.KID
}

// RevokeSection is body.revoke: keys or signatures, never both.
// client: go/libkb/kbsig.go:RevokeKeysProof, RevokeSigsProof
type RevokeSection struct {
	KIDs   []kbsig.KID
	SigIDs []kbsig.SigIDBase
}

// Followee is somebody followed or unfollowed.
type Followee struct {
	UID      kbsig.UID
	Username kbsig.Username
}

// TrackSection is body.track. client: go/libkb/kbsig.go:ToTrackingStatement
type TrackSection struct {
	Followee
	Key  kbsig.KID  // the followee's eldest key; zero if there was none
	Tail *TrackTail // the followee's chain as the follower saw it; nil if empty
}

// TrackTail is body.track.seq_tail.
type TrackTail struct {
	Seqno kbsig.Seqno
	Link  kbsig.LinkID
	SigID kbsig.SigIDBase
}

// Entry is the link's element in a sig/get reply; a stub if asked for one and
// clients take one of this type.
func (l *Link) Entry(stub bool) kbsig.WireEntry {
	switch {
	case l.message != nil:
		return kbsig.EntryPGP(l.message.Armored, l.KID)
	case l.Version == 1:
		return kbsig.EntryV1(l.sig)
	case stub && l.Type.Stubbable():
		return kbsig.EntryStub(l.sig)
	}
	return kbsig.EntryV2(l.sig, l.outer, l.inner)
}
