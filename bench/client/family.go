package client

import (
	"fmt"
	"slices"
)

// Device types and states in links. client: go/libkb/device.go
const (
	DeviceDesktop = "desktop"
	DeviceMobile  = "mobile"
	DevicePaper   = "backup"

	statusActive  = 1
	statusDefunct = 2
)

// Key is one key of a family.
type Key struct {
	KID         KID
	Sibkey      bool
	Device      DeviceID // zero for keys without a device
	Parent      KID      // of a subkey
	DelegatedBy KID
	DelegatedAt Seqno // link
	Expires     int64 // unix seconds, by the delegating link's own claim
	Revoked     bool
	RevokedAt   Seqno // link
}

// DeviceInfo is one device of a family.
type DeviceInfo struct {
	ID      DeviceID
	Name    string
	Type    string
	Signing KID
	DH      KID // zero when the device has no encryption key
	Revoked bool
}

// PUKInfo is one generation of the per-user key.
type PUKInfo struct {
	Generation int
	Signing    KID
	DH         KID
	Seqno      Seqno
	SignedBy   KID
}

// Family is one incarnation of a user: the keys, devices and statements between
// an eldest link and the next reset. client: go/libkb/keyfamily.go
type Family struct {
	Eldest    KID
	First     Seqno
	Keys      map[KID]*Key
	Devices   []*DeviceInfo
	PUKs      []PUKInfo        // by generation, from 1
	Followees map[UID]Followee // current follows
	HasStubs  bool

	sigs map[string]sigFact // by signature id without its suffix
	pgp  map[KID]string     // full hash of the version of a PGP key that counts
}

// Followee is whom a track link names.
type Followee struct {
	UID      UID
	Username string
	Seqno    Seqno // of the track link
}

type sigFact struct {
	seqno   Seqno
	kid     KID // delegated by it, or zero
	revoked bool
}

// ActiveDevices lists devices that are not revoked, oldest first.
func (f *Family) ActiveDevices() []*DeviceInfo {
	var out []*DeviceInfo
	if f == nil {
		return nil
	}
	for _, d := range f.Devices {
		if !d.Revoked {
			out = append(out, d)
		}
	}
	return out
}

// Device finds a device by id, nil when there is none.
func (f *Family) Device(id DeviceID) *DeviceInfo {
	if f == nil {
		return nil
	}
	for _, d := range f.Devices {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// ActiveKeys lists keys that are not revoked, in no order.
func (f *Family) ActiveKeys() []KID {
	var out []KID
	if f == nil {
		return nil
	}
	for _, k := range f.Keys {
		if !k.Revoked {
			out = append(out, k.KID)
		}
	}
	return out
}

// LatestPUK is the newest per-user key, or nil.
func (f *Family) LatestPUK() *PUKInfo {
	if f == nil || len(f.PUKs) == 0 {
		return nil
	}
	return &f.PUKs[len(f.PUKs)-1]
}

// player replays a chain from its first link.
// client: go/libkb/sig_chain.go:verifySubchain
type player struct {
	bundles  map[KID]bool // public keys that the server gave
	pgp      map[KID]map[string]*PGPKey
	used     map[KID]bool // keys of all incarnations: but PGP keys none is ever used twice
	devices  map[DeviceID]bool
	families []*Family
}

func (p *player) now() *Family {
	if len(p.families) == 0 {
		return nil
	}
	return p.families[len(p.families)-1]
}

// play applies one link that is in its place in the chain.
func (p *player) play(l *Link) error {
	if l.Stubbed {
		return p.playStub(l)
	}
	subject := l.subject()
	if l.Type == "eldest" {
		return p.begin(subject, l)
	}
	f := p.now()
	if f == nil {
		return violated(RuleEldest, subject, "a chain that does not begin with an eldest link")
	}
	if l.Eldest != f.Eldest {
		return violated(RuleEldest, subject, "speaks of eldest key %s, not %s", l.Eldest, f.Eldest)
	}
	if err := p.checkSigner(subject, f, l); err != nil {
		return err
	}
	if l.Type == "pgp_update" {
		if err := p.pgpUpdate(subject, f, l); err != nil {
			return err
		}
	}
	if err := p.checkPGPSigner(subject, f, l); err != nil {
		return err
	}
	f.sigs[l.SigID.String()] = sigFact{seqno: l.Seqno, kid: l.delegated}
	if err := p.apply(subject, f, l); err != nil {
		return err
	}
	return p.revoke(subject, f, l)
}

func (p *player) playStub(l *Link) error {
	f := p.now()
	if f == nil {
		return violated(RuleStub, fmt.Sprintf("link %d", l.Seqno), "the first link is a stub")
	}
	f.HasStubs = true
	return nil
}

func (p *player) apply(subject string, f *Family, l *Link) error {
	switch l.Type {
	case "sibkey":
		return p.delegate(subject, f, l, true)
	case "subkey":
		return p.subkey(subject, f, l)
	case "per_user_key":
		return p.perUserKey(subject, f, l)
	case "track", "untrack":
		return p.track(subject, f, l)
	}
	return nil
}

// pgpUpdate sets the version before the signature is checked, as clients do.
func (p *player) pgpUpdate(subject string, f *Family, l *Link) error {
	kid, err := l.body.kid("body", "pgp_update", "kid")
	if err != nil || !kid.IsPGP() {
		return violated(RuleDelegation, subject, "pgp_update of %s: %v", kid, err)
	}
	if k := f.Keys[kid]; k == nil || k.Revoked {
		return violated(RuleDelegation, subject, "pgp_update of %s, which is not an active key", kid)
	}
	return p.setVersion(subject, f, l, kid, "pgp_update")
}

// begin starts an incarnation: the eldest key signs for itself.
func (p *player) begin(subject string, l *Link) error {
	if !l.Eldest.IsZero() && l.Eldest != l.Signer {
		return violated(RuleEldest, subject, "an eldest link with another eldest key")
	}
	if !l.Signer.IsSigning() && !l.Signer.IsPGP() {
		return violated(RuleDelegation, subject, "eldest key %s is not a signing key", l.Signer)
	}
	f := &Family{
		Eldest: l.Signer, First: l.Seqno, Keys: make(map[KID]*Key),
		Followees: make(map[UID]Followee), sigs: make(map[string]sigFact), pgp: make(map[KID]string),
	}
	p.families = append(p.families, f)
	if l.Signer.IsPGP() {
		if err := p.setVersion(subject, f, l, l.Signer, "key"); err != nil {
			return err
		}
		if err := p.checkPGPSigner(subject, f, l); err != nil {
			return err
		}
	}
	f.sigs[l.SigID.String()] = sigFact{seqno: l.Seqno, kid: l.Signer}
	if l.revokes.any() {
		return violated(RuleRevoke, subject, "an eldest link that revokes")
	}
	return p.delegate(subject, f, l, true)
}

// checkSigner wants an active sibkey whose public key the server gave.
// client: go/libkb/keyfamily.go:FindActiveSibkeyAtTime
func (p *player) checkSigner(subject string, f *Family, l *Link) error {
	k := f.Keys[l.Signer]
	switch {
	case k == nil:
		return violated(RuleSigner, subject, "signed by %s, which is not a key of this incarnation", l.Signer)
	case !k.Sibkey:
		return violated(RuleSigner, subject, "signed by the subkey %s", l.Signer)
	case k.Revoked:
		return violated(RuleSigner, subject, "signed by %s, revoked at link %d", l.Signer, k.RevokedAt)
	case l.Ctime > k.Expires:
		return violated(RuleSigner, subject, "signed by %s after it expired", l.Signer)
	}
	return nil
}

// delegate adds a key that no incarnation has used.
func (p *player) delegate(subject string, f *Family, l *Link, sibkey bool) error {
	kid := l.delegated
	if kid.IsPGP() && sibkey {
		return p.delegatePGP(subject, f, l)
	}
	if err := p.claim(subject, kid); err != nil {
		return err
	}
	if !p.bundles[kid] {
		return violated(RuleBundle, subject, "%s is not in all_bundles", kid)
	}
	k := &Key{KID: kid, Sibkey: sibkey, DelegatedBy: l.Signer, DelegatedAt: l.Seqno, Expires: l.Ctime + l.ExpireIn}
	f.Keys[kid] = k
	if !sibkey {
		return nil
	}
	return p.newDevice(subject, f, l, k)
}

// delegatePGP adds a PGP key, which has no device and may have been here before.
func (p *player) delegatePGP(subject string, f *Family, l *Link) error {
	kid := l.delegated
	if k := f.Keys[kid]; k != nil && !k.Revoked {
		return violated(RuleDelegation, subject, "PGP key %s is active", kid)
	}
	if l.body.has("body", "device") {
		return violated(RuleDelegation, subject, "PGP key %s with a device", kid)
	}
	if l.Type == "sibkey" {
		if err := p.setVersion(subject, f, l, kid, "sibkey"); err != nil {
			return err
		}
		if err := p.checkPGPReverse(subject, f, l, kid); err != nil {
			return err
		}
	}
	f.Keys[kid] = &Key{KID: kid, Sibkey: true, DelegatedBy: l.Signer, DelegatedAt: l.Seqno, Expires: l.Ctime + l.ExpireIn}
	return nil
}

func (p *player) claim(subject string, kid KID) error {
	if p.used[kid] {
		return violated(RuleDelegation, subject, "%s was used before", kid)
	}
	p.used[kid] = true
	return nil
}

// newDevice reads the device section of an eldest or sibkey link.
func (p *player) newDevice(subject string, f *Family, l *Link, k *Key) error {
	d, err := l.device()
	if err != nil {
		return violated(RuleDelegation, subject, "device: %v", err)
	}
	status, err := l.body.int("body", "device", "status")
	switch {
	case err != nil || status != statusActive:
		return violated(RuleDelegation, subject, "device status %d", status)
	case d.Signing != k.KID:
		return violated(RuleDelegation, subject, "device with key %s", d.Signing)
	case d.Name == "":
		return violated(RuleDelegation, subject, "device without a name")
	case d.Type != DeviceDesktop && d.Type != DeviceMobile && d.Type != DevicePaper:
		return violated(RuleDelegation, subject, "device of type %q", d.Type)
	case p.devices[d.ID]:
		return violated(RuleDelegation, subject, "device id %s was used before", d.ID)
	}
	p.devices[d.ID] = true
	k.Device = d.ID
	f.Devices = append(f.Devices, d)
	return nil
}

// device reads body.device; name, type and key are absent in some links.
func (l *Link) device() (*DeviceInfo, error) {
	o, err := l.body.sub("body", "device")
	if err != nil {
		return nil, err
	}
	id, err := o.str("id")
	if err != nil {
		return nil, err
	}
	d := new(DeviceInfo)
	if d.ID, err = ParseDeviceID(id); err != nil {
		return nil, err
	}
	if o.has("kid") {
		if d.Signing, err = o.kid("kid"); err != nil {
			return nil, err
		}
	}
	d.Name, _ = o.str("name")
	d.Type, _ = o.str("type")
	return d, nil
}

// subkey hangs an encryption key on an active sibkey.
func (p *player) subkey(subject string, f *Family, l *Link) error {
	parent, err := l.body.kid("body", "subkey", "parent_kid")
	if err != nil {
		return violated(RuleDelegation, subject, "%v", err)
	}
	pk := f.Keys[parent]
	switch {
	case !l.delegated.IsDH():
		return violated(RuleDelegation, subject, "subkey %s cannot encrypt", l.delegated)
	case pk == nil || !pk.Sibkey || pk.Revoked:
		return violated(RuleDelegation, subject, "parent %s is not an active sibkey", parent)
	}
	if err := p.delegate(subject, f, l, false); err != nil {
		return err
	}
	k := f.Keys[l.delegated]
	k.Parent, k.Device = parent, pk.Device
	dev := f.Device(pk.Device)
	if dev == nil {
		return nil
	}
	if d, err := l.device(); err != nil || d.ID != dev.ID || (d.Signing != k.KID && !d.Signing.IsZero()) {
		return violated(RuleDelegation, subject, "device section of another device: %v", err)
	}
	dev.DH = k.KID
	return nil
}

// perUserKey adds the next generation. client: go/libkb/keyfamily.go:DelegatePerUserKey
func (p *player) perUserKey(subject string, f *Family, l *Link) error {
	sec, err := l.body.sub("body", "per_user_key")
	if err != nil {
		return violated(RulePUK, subject, "%v", err)
	}
	gen, err := sec.int("generation")
	if err != nil || gen != int64(len(f.PUKs)+1) {
		return violated(RulePUK, subject, "generation %d after %d", gen, len(f.PUKs))
	}
	sig, err1 := sec.kid("signing_kid")
	dh, err2 := sec.kid("encryption_kid")
	if err1 != nil || err2 != nil || !sig.IsSigning() || !dh.IsDH() {
		return violated(RulePUK, subject, "keys %s and %s: %v %v", sig, dh, err1, err2)
	}
	for _, kid := range []KID{sig, dh} {
		if err := p.claim(subject, kid); err != nil {
			return err
		}
	}
	f.PUKs = append(f.PUKs, PUKInfo{int(gen), sig, dh, l.Seqno, l.Signer})
	return nil
}

// track reads whom a link follows or no longer follows.
func (p *player) track(subject string, f *Family, l *Link) error {
	id, err1 := l.body.str("body", l.Type, "id")
	name, err2 := l.body.str("body", l.Type, "basics", "username")
	uid, err3 := ParseUID(id)
	if err1 != nil || err2 != nil || err3 != nil {
		return violated(RuleLinkJSON, subject, "%s section: %v %v %v", l.Type, err1, err2, err3)
	}
	if l.Type == "untrack" {
		delete(f.Followees, uid)
		return nil
	}
	f.Followees[uid] = Followee{uid, name, l.Seqno}
	return nil
}

// revoke applies a revoke section after the link itself, so that a key may sign
// its own end. client: go/libkb/keyfamily.go:Revoke
func (p *player) revoke(subject string, f *Family, l *Link) error {
	for _, kid := range l.revokes.kids {
		k := f.Keys[kid]
		if k == nil || k.Revoked {
			return violated(RuleRevoke, subject, "%s is not an active key", kid)
		}
		p.end(f, k, l)
	}
	for _, id := range l.revokes.sigIDs {
		s, ok := f.sigs[id[:64]]
		if !ok && f.HasStubs {
			continue // the id of a stub's signature is not known
		}
		if !ok || s.revoked || s.seqno == l.Seqno {
			return violated(RuleRevoke, subject, "%s is not an active signature", id)
		}
		s.revoked = true
		f.sigs[id[:64]] = s
		if k := f.Keys[s.kid]; k != nil && !k.Revoked {
			p.end(f, k, l)
		}
	}
	if !l.revokes.any() || !l.body.has("body", "device") {
		return nil
	}
	d, err := l.device()
	status, _ := l.body.int("body", "device", "status")
	if err != nil || status != statusDefunct || f.Device(d.ID) == nil {
		return violated(RuleRevoke, subject, "device section with status %d: %v", status, err)
	}
	f.Device(d.ID).Revoked = true
	return nil
}

func (p *player) end(f *Family, k *Key, by *Link) {
	k.Revoked, k.RevokedAt = true, by.Seqno
	i := slices.IndexFunc(f.Devices, func(d *DeviceInfo) bool { return d.Signing == k.KID })
	if i >= 0 {
		f.Devices[i].Revoked = true
	}
}
