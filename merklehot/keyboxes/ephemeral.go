package keyboxes

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// userEKsKept is how many generations of a user's ephemeral key are kept with their
// boxes; clients ask for old ones while messages under them live, at most a month,
// and make a new one a day. client: go/ephemeral/lib.go
const userEKsKept = 60

// Errors of ephemeral keys.
var (
	ErrBadGeneration = errors.New("the generation is not the next one")
	ErrNoDeviceEK    = errors.New("the device has no ephemeral key")
)

// DeviceEK is a device's newest ephemeral key statement.
// client: go/ephemeral/device_ek.go
type DeviceEK struct {
	DeviceID   kbsig.DeviceID `codec:"d"`
	Generation int            `codec:"g"`
	Sig        string         `codec:"s"` // as received
}

// PutDeviceEK stores a newer statement of a device.
func PutDeviceEK(tx *store.Tx, u kbsig.UID, ek DeviceEK) error {
	if ek.Generation < 1 {
		return fmt.Errorf("device ephemeral key %d: %w", ek.Generation, ErrBadGeneration)
	}
	old, err := GetDeviceEK(tx, u, ek.DeviceID)
	switch {
	case err == nil && old.Sig == ek.Sig:
		return nil // sent again
	case err == nil && ek.Generation <= old.Generation:
		return fmt.Errorf("device ephemeral key %d after %d: %w", ek.Generation, old.Generation, ErrBadGeneration)
	case err != nil && !errors.Is(err, ErrNoDeviceEK):
		return err
	}
	store.Save(tx, keys.DeviceEK(u, ek.DeviceID), ek)
	return nil
}

// GetDeviceEK loads a device's statement or fails with ErrNoDeviceEK.
func GetDeviceEK(r store.Reader, u kbsig.UID, d kbsig.DeviceID) (*DeviceEK, error) {
	ek, err := store.Load[DeviceEK](r, keys.DeviceEK(u, d))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoDeviceEK
	}
	return &ek, err
}

// DropDeviceEK removes the statement of a revoked device: clients take a statement
// by a key that is not an active device for an attack.
func DropDeviceEK(tx *store.Tx, u kbsig.UID, d kbsig.DeviceID) { tx.Delete(keys.DeviceEK(u, d)) }

// DeviceEKs loads the statements of all devices of a user.
func DeviceEKs(r store.Reader, u kbsig.UID) ([]DeviceEK, error) {
	var out []DeviceEK
	lo := keys.DeviceEKs(u)
	err := r.Scan(lo, keys.End(lo), func(_, v []byte) error {
		ek, err := store.Decode[DeviceEK](v)
		out = append(out, ek)
		return err
	})
	return out, err
}

// UserEK is one generation of a user's ephemeral key.
// client: go/ephemeral/user_ek.go
type UserEK struct {
	Generation int    `codec:"g"`
	Sig        string `codec:"s"` // as received
	// Link is the newest link of the user's chain that it was made after.
	Link kbsig.Seqno `codec:"l,omitempty"`
}

// UserEKBox is a user ephemeral key's seed encrypted to a device's ephemeral key.
type UserEKBox struct {
	Box                string         `codec:"b"`
	DeviceID           kbsig.DeviceID `codec:"d"`
	DeviceEKGeneration int            `codec:"g"`
}

// NewestUserEK loads a user's newest generation; nil if there is none.
func NewestUserEK(r store.Reader, u kbsig.UID) (*UserEK, error) {
	var out *UserEK
	lo := keys.UserEKs(u)
	err := r.ScanReverse(lo, keys.End(lo), func(_, v []byte) error {
		ek, err := store.Decode[UserEK](v)
		if err != nil {
			return err
		}
		out = &ek
		return store.ErrStop
	})
	return out, err
}

// PutUserEK stores the next generation and its boxes. A box must name the newest
// ephemeral key of its device.
func PutUserEK(tx *store.Tx, u kbsig.UID, ek UserEK, boxes []UserEKBox) error {
	newest, err := NewestUserEK(tx, u)
	if err != nil {
		return err
	}
	if newest != nil && newest.Sig == ek.Sig {
		return nil // sent again
	}
	if newest != nil && ek.Generation != newest.Generation+1 {
		return fmt.Errorf("user ephemeral key %d after %d: %w", ek.Generation, newest.Generation, ErrBadGeneration)
	}
	if newest == nil && ek.Generation < 1 {
		return fmt.Errorf("user ephemeral key %d: %w", ek.Generation, ErrBadGeneration)
	}
	store.Save(tx, keys.UserEK(u, ek.Generation), ek)
	for _, b := range boxes {
		if err := PutUserEKBox(tx, u, ek.Generation, b); err != nil {
			return err
		}
	}
	return dropOldUserEKs(tx, u, ek.Generation-userEKsKept)
}

// PutUserEKBox adds a device's box to an existing generation.
func PutUserEKBox(tx *store.Tx, u kbsig.UID, generation int, b UserEKBox) error {
	if known, err := store.Has(tx, keys.UserEK(u, generation)); err != nil {
		return err
	} else if !known {
		return fmt.Errorf("box of user ephemeral key %d, which is not there: %w", generation, ErrBadGeneration)
	}
	ek, err := GetDeviceEK(tx, u, b.DeviceID)
	if err != nil {
		return err
	}
	if b.DeviceEKGeneration != ek.Generation {
		return fmt.Errorf("box for device ephemeral key %d, newest is %d: %w", b.DeviceEKGeneration, ek.Generation, ErrBadGeneration)
	}
	store.Save(tx, keys.UserEKBox(u, generation, b.DeviceID), b)
	return nil
}

func dropOldUserEKs(tx *store.Tx, u kbsig.UID, last int) error {
	if last < 1 {
		return nil
	}
	tx.Delete(keys.UserEK(u, last))
	lo := keys.UserEKBoxes(u, last)
	return drop(tx, lo, keys.End(lo))
}

// GetUserEKBox loads a device's box of one generation, and the statement that it belongs
// to; each is nil if it is not there.
func GetUserEKBox(r store.Reader, u kbsig.UID, generation int, d kbsig.DeviceID) (*UserEKBox, *UserEK, error) {
	ek, err := store.Load[UserEK](r, keys.UserEK(u, generation))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	b, err := store.Load[UserEKBox](r, keys.UserEKBox(u, generation, d))
	if errors.Is(err, store.ErrNotFound) {
		return nil, &ek, nil
	}
	return &b, &ek, err
}
