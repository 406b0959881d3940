package audit

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/directory"
)

// activeDevices checks that the index of active devices is what the chain says, and
// that each has a device record.
func (a *auditor) activeDevices(u *user) error {
	if u.state == nil {
		return nil
	}
	listed := make(map[kbsig.DeviceID]bool)
	err := a.ofUser(keys.ActiveDevice(u.uid, zero.device), func(rest, v []byte) error {
		d := kbsig.DeviceID(rest)
		listed[d] = true
		kid, ok := u.state.SigningKID(d)
		switch {
		case !ok:
			a.problem("active device %s of %s: the chain says it is not active", d, u.uid)
		case !bytes.Equal(v, store.Encode(kid)):
			a.problem("active device %s of %s: listed with another key than %s", d, u.uid, kid)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range u.state.ActiveDevices() {
		if !listed[d.ID] {
			a.problem("active device %s of %s: not listed as active", d.ID, u.uid)
		}
		known, err := store.Has(a.r, keys.Device(u.uid, d.ID))
		if err != nil {
			return err
		}
		if !known {
			a.problem("device %s of %s: active, but without a record", d.ID, u.uid)
		}
	}
	return nil
}

// follows checks that the index of whom a user follows is what the chain says, and that
// each is in the other's index too.
func (a *auditor) follows(u *user) error {
	if u.state == nil {
		return nil
	}
	listed := make(map[kbsig.UID]bool)
	err := a.ofUser(keys.Follow(u.uid, zero.uid), func(rest, v []byte) error {
		other := kbsig.UID(rest)
		listed[other] = true
		subject := fmt.Sprintf("follow of %s by %s", other, u.uid)
		track, ok := u.state.Follows(other)
		if !ok {
			a.problem("%s: the chain does not say so", subject)
			return nil
		}
		f, err := store.Decode[directory.Follow](v)
		switch {
		case err != nil:
			a.problem("%s: %v", subject, err)
			return nil
		case f.UID != other || f.Link != u.ends[track.Seqno-1].link:
			a.problem("%s: listed with another link than link %d", subject, track.Seqno)
		}
		back, err := store.Load[directory.Follow](a.r, keys.Follower(other, u.uid))
		switch {
		case errors.Is(err, store.ErrNotFound):
			a.problem("%s: not listed as a follower", subject)
		case err != nil:
			a.problem("%s: listed as a follower: %v", subject, err)
		case back != directory.Follow{UID: u.uid, Link: f.Link, Ctime: f.Ctime, Eldest: f.Eldest}:
			a.problem("%s: listed differently as a follower", subject)
		}
		return nil
	})
	for _, t := range u.state.Followees() {
		if err == nil && !listed[t.UID] {
			a.problem("follow of %s by %s: not listed", t.UID, u.uid)
		}
	}
	return err
}

// followers checks that whoever is listed as a follower follows. That the two entries
// agree is checked from the other side.
func (a *auditor) followers(u *user) error {
	return a.ofUser(keys.Follower(u.uid, zero.uid), func(rest, _ []byte) error {
		other := kbsig.UID(rest)
		ok, err := store.Has(a.r, keys.Follow(other, u.uid))
		if err != nil {
			return err
		}
		if !ok {
			a.problem("follower %s of %s: not listed as following", other, u.uid)
		}
		return nil
	})
}
