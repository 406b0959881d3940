package accounts

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
)

// ErrHalves says that a change of the passphrase does not carry a new client half for
// exactly the devices that need one.
var ErrHalves = errors.New("client halves do not fit the devices")

// ErrStaleGeneration says that the passphrase has been changed meanwhile.
var ErrStaleGeneration = errors.New("the passphrase has been changed meanwhile")

// PassphraseChange is a new passphrase, as a client derives it.
// client: go/engine/passphrase_change.go:PassphraseChange.commonArgs
type PassphraseChange struct {
	Pwh          [32]byte // seed of the new pdpka4 key; not kept
	PDPKA5       kbsig.KID
	Mask         [32]byte             // old client half XOR new: goes into every server half
	ClientHalves map[kbsig.KID]string // new client half, by the encryption key of the device
	Generation   int                  // that the change is based on
	// Keep is the password session that asks, if one does: it alone outlives the change.
	Keep SessionID
}

// ChangePassphrase puts a new passphrase in place of the old one: the login keys, the
// server halves of all devices, so that each device's local key stays what it was, and
// the encrypted client halves of those in needed, the active devices. Sessions made with
// the old passphrase end.
func ChangePassphrase(tx *store.Tx, u kbsig.UID, c PassphraseChange, needed []kbsig.KID) error {
	acct, err := Get(tx, u)
	if err != nil {
		return err
	}
	if c.Generation != acct.Generation {
		return fmt.Errorf("based on generation %d, it is %d: %w", c.Generation, acct.Generation, ErrStaleGeneration)
	}
	if len(c.ClientHalves) != len(needed) {
		return fmt.Errorf("%d halves for %d devices: %w", len(c.ClientHalves), len(needed), ErrHalves)
	}
	for _, k := range needed {
		if c.ClientHalves[k] == "" {
			return fmt.Errorf("none for %s: %w", k, ErrHalves)
		}
	}
	devices, err := Devices(tx, u)
	if err != nil {
		return err
	}
	for _, d := range devices {
		if d.HasHalf {
			for i := range d.ServerHalf {
				d.ServerHalf[i] ^= c.Mask[i]
			}
		}
		if half := c.ClientHalves[d.EncKID]; half != "" {
			d.ClientHalf = half
		}
		d.Generation = acct.Generation + 1
		if err := PutDevice(tx, u, d); err != nil {
			return err
		}
	}
	acct.PDPKA4 = kbsig.KIDOfPrivate(ed25519.NewKeyFromSeed(c.Pwh[:]))
	acct.PDPKA5 = c.PDPKA5
	acct.Generation++
	acct.RandomPW = false
	acct.TouchIdentity(tx.Now())
	acct.TouchPrivate()
	Put(tx, acct)
	if _, err := EndSessions(tx, u, func(s ListedSession) bool { return !s.Vouched() && s.ID != c.Keep }); err != nil {
		return err
	}
	return tellPassphrase(tx, acct)
}

// UpdateClientHalf replaces the encrypted client half of the device whose encryption key
// is kid, which a repaired client has made for the passphrase of a generation. The error
// is ErrNoDevice if no device of u has the key.
func UpdateClientHalf(tx *store.Tx, u kbsig.UID, kid kbsig.KID, half string, generation int) error {
	acct, err := Get(tx, u)
	if err != nil {
		return err
	}
	if generation != acct.Generation {
		return fmt.Errorf("made for generation %d, it is %d: %w", generation, acct.Generation, ErrStaleGeneration)
	}
	devices, err := Devices(tx, u)
	if err != nil {
		return err
	}
	for _, d := range devices {
		if d.EncKID == kid {
			d.ClientHalf = half
			return PutDevice(tx, u, d)
		}
	}
	return ErrNoDevice
}
