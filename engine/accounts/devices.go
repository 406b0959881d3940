package accounts

import (
	"bytes"
	"cmp"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// devicesPerUserMax bounds the device records of one user, known to the chain or not.
const devicesPerUserMax = 500

// ErrTooManyDevices says that devicesPerUserMax is reached.
var ErrTooManyDevices = errors.New("too many devices")

// Device is what the server holds of a device apart from its links. It may exist
// before the link that makes the device, or after it.
// client: go/libkb/post.go:PostDeviceLKS
type Device struct {
	ID         kbsig.DeviceID `codec:"i"`
	Type       string         `codec:"t"`
	Platform   string         `codec:"p,omitempty"`
	ServerHalf [32]byte       `codec:"sh"` // of the device's local key
	HasHalf    bool           `codec:"hh"`
	Generation int            `codec:"g"` // passphrase generation of the halves
	EncKID     kbsig.KID      `codec:"k"` // whom ClientHalf is encrypted to
	ClientHalf string         `codec:"ch,omitempty"`
	CTime      int64          `codec:"ct"` // unix seconds
	MTime      int64          `codec:"mt"`
	LastUsed   int64          `codec:"lu"`

	CloneToken string `codec:"tk,omitempty"`
	Clones     int    `codec:"cl,omitempty"`
}

// GetDevice loads one device; the error is ErrNoDevice if there is none.
func GetDevice(r store.Reader, u kbsig.UID, d kbsig.DeviceID) (*Device, error) {
	dev, err := store.Load[Device](r, keys.Device(u, d))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoDevice
	}
	if err != nil {
		return nil, fmt.Errorf("load device %s of %s: %w", d, u, err)
	}
	return &dev, nil
}

// Devices loads all device records of a user.
func Devices(r store.Reader, u kbsig.UID) (map[kbsig.DeviceID]*Device, error) {
	out := make(map[kbsig.DeviceID]*Device)
	lo := keys.Devices(u)
	err := r.Scan(lo, keys.End(lo), func(_, v []byte) error {
		d, err := store.Decode[Device](v)
		if err == nil {
			out[d.ID] = &d
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load devices of %s: %w", u, err)
	}
	return out, nil
}

// PutDevice writes a device record, making it if it is new.
func PutDevice(tx *store.Tx, u kbsig.UID, d *Device) error {
	known, err := store.Has(tx, keys.Device(u, d.ID))
	if err != nil {
		return err
	}
	if !known {
		n := 0
		lo := keys.Devices(u)
		if err := tx.Scan(lo, keys.End(lo), func(_, _ []byte) error { n++; return nil }); err != nil {
			return err
		}
		if n >= devicesPerUserMax {
			return ErrTooManyDevices
		}
		d.CTime = tx.Now().Unix()
	}
	d.MTime = tx.Now().Unix()
	if d.LastUsed == 0 {
		d.LastUsed = d.MTime
	}
	store.Save(tx, keys.Device(u, d.ID), d)
	return nil
}

// UpdateDevice changes an existing or new device record in place.
func UpdateDevice(tx *store.Tx, u kbsig.UID, id kbsig.DeviceID, change func(*Device)) error {
	d, err := GetDevice(tx, u, id)
	if errors.Is(err, ErrNoDevice) {
		d, err = &Device{ID: id}, nil
	}
	if err != nil {
		return err
	}
	change(d)
	return PutDevice(tx, u, d)
}

// Clone tokens detect a device folder that was copied: each start of a client
// names the token of the start before.
// client: go/libkb/device_clone_state.go:UpdateDeviceCloneState

// AdvanceCloneToken moves a device's token from prior to stage and returns the
// token that now counts and the number of copies seen, at least 1. Repeating a
// call changes nothing. A prior that is not the stored token is another copy.
func AdvanceCloneToken(tx *store.Tx, u kbsig.UID, id kbsig.DeviceID, prior, stage string) (token string, clones int, err error) {
	err = UpdateDevice(tx, u, id, func(d *Device) {
		if d.Clones == 0 {
			d.Clones = 1
		}
		switch {
		case d.CloneToken == "" || equal(d.CloneToken, prior):
			d.CloneToken = stage
		case equal(d.CloneToken, stage):
		default:
			d.Clones++
			d.CloneToken = stage
		}
		d.LastUsed = tx.Now().Unix()
		token, clones = d.CloneToken, d.Clones
	})
	return token, clones, err
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// An active device is one whose signing key is in the user's current key family;
// the record is kept in step with the chain so that a token is checked with one
// small read.

// ActiveKID is the signing key of an active device; ErrNoDevice if it is not active.
func ActiveKID(r store.Reader, u kbsig.UID, d kbsig.DeviceID) (kbsig.KID, error) {
	k, err := store.Load[kbsig.KID](r, keys.ActiveDevice(u, d))
	if errors.Is(err, store.ErrNotFound) {
		return kbsig.KID{}, ErrNoDevice
	}
	return k, err
}

// SetActive records a device's signing key.
func SetActive(tx *store.Tx, u kbsig.UID, d kbsig.DeviceID, k kbsig.KID) {
	store.Save(tx, keys.ActiveDevice(u, d), k)
}

// SetInactive forgets a revoked device's signing key; its tokens end with it.
func SetInactive(tx *store.Tx, u kbsig.UID, d kbsig.DeviceID) {
	tx.Delete(keys.ActiveDevice(u, d))
}

// SortedDevices is Devices as a list, the one used last first.
func SortedDevices(r store.Reader, u kbsig.UID) ([]*Device, error) {
	all, err := Devices(r, u)
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(all), func(a, b *Device) int {
		return cmp.Or(cmp.Compare(b.LastUsed, a.LastUsed), bytes.Compare(a.ID[:], b.ID[:]))
	}), nil
}
