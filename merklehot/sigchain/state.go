package sigchain

import (
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
)

// Limits of one chain, so that its state stays something to rewrite per link.
const (
	// chainLinksMax bounds the length of a chain.
	chainLinksMax = 100_000
	// keysMax bounds keys ever added, all incarnations together.
	keysMax = 2_000
	// tracksMax bounds follow statements that were not taken back.
	tracksMax = 5_000
	// proofsMax, currenciesMax and vouchesMax bound statements of a kind that were
	// not taken back.
	proofsMax     = 500
	currenciesMax = 100
	vouchesMax    = 1_000
)

// State is what a user's chain means. It is a value: methods never change it.
type State struct {
	UID      kbsig.UID
	Username kbsig.Username

	Tail     kbsig.Seqno // 0: no links yet
	TailLink kbsig.LinkID
	TailSig  kbsig.SigIDBase
	HighSkip kbsig.HighSkip // what the next link's high_skip must be

	Eldest      kbsig.KID   // zero: no links yet, or just reset
	EldestSeqno kbsig.Seqno // first link of the current incarnation, 0 without one
	Incarnation int         // counts eldest links

	Resets  ResetTail // the end of the reset chain
	Deleted bool      // for ever: nothing comes after it

	Keys    []Key        // all ever added, oldest first, all incarnations
	Devices []Device     // likewise
	PUKs    []PUK        // likewise
	PGP     []PGPVersion // likewise: what links have brought, oldest first
	Tracks  []Track      // by UID and then oldest first; the newest about a UID counts

	// What was said in the current incarnation and not taken back, oldest first.
	Proofs     []Proof
	Currencies []CurrencyAddress
	Vouches    []Vouch // for others
	Reactions  []Vouch // to vouches of others
	Wallet     *Wallet // nil: none
}

// Role is what a key is for.
type Role uint8

// Roles of keys.
const (
	RoleEldest Role = 1 + iota
	RoleSibkey
	RoleSubkey
)

// Key is a device key, or a PGP key, which has no device. A PGP key that was revoked
// and added again stands here once for each time.
type Key struct {
	KID         kbsig.KID
	Role        Role
	Incarnation int
	Device      kbsig.DeviceID
	Parent      kbsig.KID // subkeys
	AddedBy     kbsig.KID
	AddedAt     kbsig.Seqno
	AddedSig    kbsig.SigIDBase
	AddedCtime  int64
	RevokedAt   kbsig.Seqno // 0: active, as long as its incarnation is
	RevokedBy   kbsig.KID
}

// Device is a device: one signing and one encryption key.
type Device struct {
	ID          kbsig.DeviceID
	Incarnation int
	Name        string
	Type        DeviceType
	Status      int       // DeviceActive or DeviceDefunct
	Sibkey      kbsig.KID // signs
	Subkey      kbsig.KID // encrypts; zero until its link arrives
	AddedAt     kbsig.Seqno
	AddedCtime  int64 // Unix seconds
	RevokedAt   kbsig.Seqno
}

// PUK is one generation of the per-user key.
type PUK struct {
	Generation  int64
	Incarnation int
	Signing     kbsig.KID
	Encryption  kbsig.KID
	SignedBy    kbsig.KID
	AddedAt     kbsig.Seqno
}

// Said is where something was said.
type Said struct {
	Seqno kbsig.Seqno
	SigID kbsig.SigIDBase
}

// Proof is a claim to be somebody elsewhere.
type Proof struct {
	ServiceSection
	Said
	Link       kbsig.LinkID
	Ctime      int64 // Unix seconds
	Superseded bool  // by a later one, which may have been taken back
}

// CurrencyAddress is an address for payments.
type CurrencyAddress struct {
	CurrencySection
	Said
}

// Wallet is the Stellar account that counts.
type Wallet struct {
	WalletSection
	Said
}

// Vouch is a statement about somebody, or a reaction to one; the chain has no more
// of it than the HMAC of what was said.
type Vouch struct {
	Expansion ExpansionID
	Said
}

// Track is a statement that somebody is followed.
type Track struct {
	UID      kbsig.UID
	Username kbsig.Username
	Seqno    kbsig.Seqno
	SigID    kbsig.SigIDBase
}

// NewState is the state of a user without links.
func NewState(uid kbsig.UID, name kbsig.Username) *State {
	return &State{UID: uid, Username: name}
}

func (s *State) clone() *State {
	c := *s
	c.Keys = slices.Clone(s.Keys)
	c.Devices = slices.Clone(s.Devices)
	c.PUKs = slices.Clone(s.PUKs)
	c.PGP = slices.Clone(s.PGP)
	c.Tracks = slices.Clone(s.Tracks)
	c.Proofs = slices.Clone(s.Proofs)
	c.Currencies = slices.Clone(s.Currencies)
	c.Vouches = slices.Clone(s.Vouches)
	c.Reactions = slices.Clone(s.Reactions)
	return &c
}

// live reports that something of this incarnation counts now.
func (s *State) live(incarnation int) bool {
	return !s.Eldest.IsZero() && incarnation == s.Incarnation
}

// Key finds a key of any incarnation, active or not, as it was added last.
func (s *State) Key(kid kbsig.KID) (Key, bool) {
	for i := len(s.Keys) - 1; i >= 0; i-- {
		if s.Keys[i].KID == kid {
			return s.Keys[i], true
		}
	}
	return Key{}, false
}

// KeyActive reports that a key counts now.
func (s *State) KeyActive(k Key) bool { return s.live(k.Incarnation) && k.RevokedAt == 0 }

// ActiveSibkey reports that kid may sign links now.
func (s *State) ActiveSibkey(kid kbsig.KID) bool {
	k, ok := s.Key(kid)
	return ok && s.KeyActive(k) && k.Role != RoleSubkey
}

// Device finds a device of the current incarnation.
func (s *State) Device(id kbsig.DeviceID) (Device, bool) {
	for i := range s.Devices {
		if s.Devices[i].ID == id && s.live(s.Devices[i].Incarnation) {
			return s.Devices[i], true
		}
	}
	return Device{}, false
}

// SigningKID is the key with which an active device signs links and NISTs.
func (s *State) SigningKID(id kbsig.DeviceID) (kbsig.KID, bool) {
	d, ok := s.Device(id)
	if !ok || d.Status != DeviceActive {
		return kbsig.KID{}, false
	}
	return d.Sibkey, true
}

// ActiveDevices lists the devices that count now, oldest first.
func (s *State) ActiveDevices() []Device {
	var out []Device
	for _, d := range s.Devices {
		if s.live(d.Incarnation) && d.Status == DeviceActive {
			out = append(out, d)
		}
	}
	return out
}

// ActiveEncryptionKIDs lists the encryption keys of active devices: who gets a
// box of a new per-user key.
func (s *State) ActiveEncryptionKIDs() []kbsig.KID {
	var out []kbsig.KID
	for _, d := range s.ActiveDevices() {
		if !d.Subkey.IsZero() {
			out = append(out, d.Subkey)
		}
	}
	return out
}

// AllKIDs lists every key ever added: clients verify old links with revoked keys and
// with those of old incarnations.
func (s *State) AllKIDs() []kbsig.KID {
	out := make([]kbsig.KID, 0, len(s.Keys))
	seen := make(map[kbsig.KID]bool)
	for i := range s.Keys {
		if k := s.Keys[i].KID; !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}

// LatestPUK is the newest generation of the current incarnation.
func (s *State) LatestPUK() (PUK, bool) {
	if n := len(s.PUKs); n > 0 && s.live(s.PUKs[n-1].Incarnation) {
		return s.PUKs[n-1], true
	}
	return PUK{}, false
}

// PUKGeneration is the newest generation of the current incarnation, 0 without.
func (s *State) PUKGeneration() int64 {
	p, _ := s.LatestPUK()
	return p.Generation
}

// Follows finds the newest statement by which uid is followed.
func (s *State) Follows(uid kbsig.UID) (Track, bool) {
	at, end := s.trackRange(uid)
	if at == end {
		return Track{}, false
	}
	return s.Tracks[end-1], true
}

// Followees lists who is followed, each by the newest statement, in the order of UIDs.
func (s *State) Followees() []Track {
	var out []Track
	for i, t := range s.Tracks {
		if i+1 == len(s.Tracks) || s.Tracks[i+1].UID != t.UID {
			out = append(out, t)
		}
	}
	return out
}

// trackRange is where the statements about uid stand, or would.
func (s *State) trackRange(uid kbsig.UID) (at, end int) {
	at, _ = slices.BinarySearchFunc(s.Tracks, uid, func(t Track, u kbsig.UID) int {
		return slices.Compare(t.UID[:], u[:])
	})
	for end = at; end < len(s.Tracks) && s.Tracks[end].UID == uid; end++ {
	}
	return at, end
}

// ActiveProofs lists the proofs that count, oldest first.
func (s *State) ActiveProofs() []Proof {
	var out []Proof
	for _, p := range s.Proofs {
		if !p.Superseded {
			out = append(out, p)
		}
	}
	return out
}

// Proof finds a proof that was not taken back.
func (s *State) Proof(id kbsig.SigIDBase) (Proof, bool) {
	for _, p := range s.Proofs {
		if p.SigID == id {
			return p, true
		}
	}
	return Proof{}, false
}

// knows reports that a KID occurs anywhere in this chain, in any role, even if
// its incarnation is over.
func (s *State) knows(kid kbsig.KID) bool {
	if _, ok := s.Key(kid); ok {
		return true
	}
	for i := range s.PUKs {
		if s.PUKs[i].Signing == kid || s.PUKs[i].Encryption == kid {
			return true
		}
	}
	return false
}
