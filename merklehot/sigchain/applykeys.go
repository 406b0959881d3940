package sigchain

import (
	"fmt"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
)

// The methods here change the state they are called on; Apply gives them a clone.

// fresh refuses a key that anybody has ever used. Clients would let a key come
// back to life. client: go/libkb/keyfamily.go:Delegate
//
// A device key of an incarnation that is over may serve its owner again: it is the same
// person's, and clients count keys by incarnation.
// client: go/libkb/keyfamily.go:ComputedKeyInfos
func (s *State) fresh(kid kbsig.KID, env Env) error {
	taken := s.knows(kid)
	if k, ok := s.Key(kid); ok && k.Incarnation != s.Incarnation {
		taken = false
	} else if !taken {
		var err error
		if taken, err = env.KIDTaken(kid); err != nil {
			return fmt.Errorf("key %s: %w", kid, err)
		}
	}
	if taken {
		return refuse(KindKeyInUse, "key %s is in use", kid)
	}
	if len(s.Keys) >= keysMax || len(s.PUKs) >= keysMax {
		return refuse(KindTooMany, "account with %d keys", len(s.Keys))
	}
	return nil
}

func (s *State) addEldest(l *Link, env Env) error {
	s.Eldest, s.EldestSeqno = l.Key, l.Seqno
	s.Incarnation++
	if l.bundle != nil {
		return s.addPGP(l, RoleEldest)
	}
	return s.addDevice(l, RoleEldest, env)
}

func (s *State) addSibkey(l *Link, env Env) error {
	if l.bundle != nil {
		return s.addPGP(l, RoleSibkey)
	}
	return s.addDevice(l, RoleSibkey, env)
}

// addDevice adds a device and its signing key.
func (s *State) addDevice(l *Link, role Role, env Env) error {
	if err := s.fresh(l.Key, env); err != nil {
		return err
	}
	name := NormalDeviceName(l.Device.Name)
	for i := range s.Devices {
		d := &s.Devices[i]
		if d.ID == l.Device.ID {
			return refuse(KindDeviceStatus, "device %s is known already", d.ID)
		}
		if s.live(d.Incarnation) && NormalDeviceName(d.Name) == name {
			return refuse(KindDeviceNameUse, "device name of %s is used by %s", l.Device.ID, d.ID)
		}
	}
	s.addKey(l, role, l.Device.ID)
	s.Devices = append(s.Devices, Device{
		ID: l.Device.ID, Incarnation: s.Incarnation, Name: l.Device.Name, Type: l.Device.Type,
		Status: DeviceActive, Sibkey: l.Key, AddedAt: l.Seqno, AddedCtime: l.Ctime,
	})
	return nil
}

func (s *State) addKey(l *Link, role Role, device kbsig.DeviceID) {
	s.Keys = append(s.Keys, Key{
		KID: l.Key, Role: role, Incarnation: s.Incarnation, Device: device, Parent: l.Parent,
		AddedBy: l.KID, AddedAt: l.Seqno, AddedSig: l.SigID, AddedCtime: l.Ctime,
	})
}

// addSubkey adds the encryption key of the device that signs: stock clients let
// each device sign its own. client: go/libkb/kbsig.go:KeyProof2
func (s *State) addSubkey(l *Link, env Env) error {
	if l.Parent != l.KID {
		return refuse(KindWrongKey, "subkey of %s signed by %s", l.Parent, l.KID)
	}
	if err := s.fresh(l.Key, env); err != nil {
		return err
	}
	for i := range s.Devices {
		d := &s.Devices[i]
		if !s.live(d.Incarnation) || d.ID != l.Device.ID {
			continue
		}
		switch {
		case d.Sibkey != l.Parent:
			return refuse(KindDeviceOther, "device %s has not the key %s", d.ID, l.Parent)
		case d.Status != DeviceActive:
			return refuse(KindDeviceStatus, "device %s is revoked", d.ID)
		case !d.Subkey.IsZero():
			return refuse(KindSibkeyExists, "device %s has an encryption key", d.ID)
		}
		d.Subkey = l.Key
		s.addKey(l, RoleSubkey, d.ID)
		return nil
	}
	return refuse(KindDevice, "device %s is unknown", l.Device.ID)
}

// client: go/libkb/keyfamily.go:DelegatePerUserKey
func (s *State) addPerUserKey(l *Link, env Env) error {
	if want := s.PUKGeneration() + 1; l.PUK.Generation != want {
		return refuse(KindGeneration, "per-user key generation %d, not %d", l.PUK.Generation, want)
	}
	for _, kid := range []kbsig.KID{l.PUK.Signing, l.PUK.Encryption} {
		if err := s.fresh(kid, env); err != nil {
			return err
		}
	}
	s.PUKs = append(s.PUKs, PUK{
		Generation: l.PUK.Generation, Incarnation: s.Incarnation, Signing: l.PUK.Signing,
		Encryption: l.PUK.Encryption, SignedBy: l.KID, AddedAt: l.Seqno,
	})
	return nil
}

// revoke takes back a device with all its keys, or signatures. The last device may go
// too: stock clients ask a person twice and then do it, and the account is left
// without keys until it is reset. client: go/engine/revoke.go:RevokeEngine.run
//
// Clients would also
// take single keys of a device, and signatures that delegate keys; the device
// would stay active without a key, and the account could never again make boxes
// for all its devices. client: go/engine/revoke.go:getPukReceivers
func (s *State) revoke(l *Link, _ Env) error {
	if l.Revoke.SigIDs != nil {
		return s.revokeSigs(l)
	}
	for _, kid := range l.Revoke.KIDs {
		k, ok := s.Key(kid)
		if !ok || !s.live(k.Incarnation) {
			return refuse(KindKeyNotFound, "revokes %s, which is no key of the account", kid)
		}
		if k.RevokedAt != 0 {
			return refuse(KindKeyRevoked, "%s was revoked by link %d", kid, k.RevokedAt)
		}
	}
	if l.Device == nil {
		return s.revokePGP(l)
	}
	at := slices.IndexFunc(s.Devices, func(d Device) bool {
		return d.ID == l.Device.ID && s.live(d.Incarnation)
	})
	if at < 0 {
		return refuse(KindDevice, "device %s is unknown", l.Device.ID)
	}
	d := &s.Devices[at]
	switch {
	case d.Status != DeviceActive:
		return refuse(KindDeviceStatus, "device %s is revoked", d.ID)
	case d.Type != l.Device.Type:
		return refuse(KindDeviceOther, "device %s is a %s", d.ID, d.Type)
	}
	d.Status, d.RevokedAt = DeviceDefunct, l.Seqno
	left := len(l.Revoke.KIDs)
	for i := range s.Keys {
		k := &s.Keys[i]
		if k.Device != d.ID || !s.KeyActive(*k) {
			continue
		}
		if !slices.Contains(l.Revoke.KIDs, k.KID) {
			return refuse(KindDeviceOther, "revokes device %s but not its key %s", d.ID, k.KID)
		}
		k.RevokedAt, k.RevokedBy = l.Seqno, l.KID
		left--
	}
	if left != 0 {
		return refuse(KindDeviceOther, "revokes %d keys of other devices than %s", left, d.ID)
	}
	return nil
}

// track adds a follow statement. Those made before about the same person stay, so
// that one of them counts again if this one is taken back.
// client: go/libkb/id_table.go:TrackChainLinkFor
func (s *State) track(l *Link, env Env) error {
	ok, err := env.UserExists(l.Track.UID)
	if err != nil {
		return fmt.Errorf("user %s: %w", l.Track.UID, err)
	}
	if !ok {
		return refuse(KindTarget, "follows %s, whom nobody knows", l.Track.UID)
	}
	t := Track{UID: l.Track.UID, Username: l.Track.Username, Seqno: l.Seqno, SigID: l.SigID}
	if len(s.Tracks) >= tracksMax {
		return refuse(KindTooMany, "%d follow statements", len(s.Tracks))
	}
	_, end := s.trackRange(t.UID)
	s.Tracks = slices.Insert(s.Tracks, end, t)
	return nil
}

// untrack takes an unfollow of somebody not followed only if clients would have
// let a person ask for it: never. client: go/engine/untrack.go
func (s *State) untrack(l *Link, _ Env) error {
	at, end := s.trackRange(l.Untrack.UID)
	if at == end {
		return refuse(KindTarget, "unfollows %s, whom it does not follow", l.Untrack.UID)
	}
	s.Tracks = slices.Delete(s.Tracks, at, end)
	return nil
}
