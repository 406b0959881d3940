package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// Sizes of what is sealed, in bytes.
const (
	// boxCiphertextBytes is a per-user-key seed and what sealing adds.
	// client: go/libkb/per_user_key.go:NewPerUserKeyBox
	boxCiphertextBytes = 32 + 16
	// prevBytes is a seed sealed under the next generation.
	// client: go/libkb/per_user_key.go:newPerUserKeyPrev
	prevBytes = 1 + 1 + (2 + 24) + (2 + 32 + 16)
)

// ofUser scans a user's records of one family. any is a key of the family and of the
// user; rest is what the keys have behind the user.
func (a *auditor) ofUser(any []byte, fn func(rest, v []byte) error) error {
	lo := any[:1+len(zero.uid)]
	return a.r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		if err := a.pause(); err != nil {
			return err
		}
		if len(k) != len(any) {
			return nil // said by the pass over the keys
		}
		return fn(k[len(lo):], v)
	})
}

// boxes checks that the newest per-user key is there for just the active devices, and
// that no older generation is.
func (a *auditor) boxes(u *user) error {
	if u.state == nil {
		return nil
	}
	newest := u.state.PUKGeneration()
	var want []kbsig.KID
	if newest > 0 {
		want = u.state.ActiveEncryptionKIDs()
	}
	err := a.ofUser(keys.PUKBox(u.uid, 1, zero.kid), func(rest, v []byte) error {
		generation, receiver := number(rest), kbsig.KID(rest[8:])
		subject := fmt.Sprintf("per-user-key box of %s, generation %d, for %s", u.uid, generation, receiver)
		if generation != newest {
			a.problem("%s: the newest generation is %d", subject, newest)
			return nil
		}
		at := slices.Index(want, receiver)
		if at < 0 {
			a.problem("%s: no active device has this key", subject)
			return nil
		}
		want = slices.Delete(want, at, at+1)
		if err := checkBox(u.state, generation, receiver, v); err != nil {
			a.problem("%s: %v", subject, err)
		}
		return nil
	})
	for _, kid := range want {
		a.problem("per-user-key box of %s, generation %d, for %s: missing", u.uid, newest, kid)
	}
	return err
}

func checkBox(st *sigchain.State, generation int64, receiver kbsig.KID, v []byte) error {
	b, err := store.Decode[keyboxes.Box](v)
	if err != nil {
		return err
	}
	if int64(b.Generation) != generation || b.Receiver != receiver {
		return fmt.Errorf("the record is about generation %d for %s", b.Generation, b.Receiver)
	}
	enc, err := kbsig.DecodeArmoredEncryption(b.Box)
	if err != nil {
		return err
	}
	sender, ok := st.Key(enc.Sender)
	switch {
	case enc.Receiver != receiver:
		return fmt.Errorf("sealed for %s", enc.Receiver)
	case !ok || sender.Role != sigchain.RoleSubkey || sender.Incarnation != st.Incarnation:
		return fmt.Errorf("sealed by %s, which is no device of the account", enc.Sender)
	case enc.CiphertextBytes != boxCiphertextBytes:
		return fmt.Errorf("seals %d bytes", enc.CiphertextBytes)
	}
	return nil
}

// prevs checks that each generation but the first leads to the one before it.
func (a *auditor) prevs(u *user) error {
	if u.state == nil {
		return nil
	}
	newest := u.state.PUKGeneration()
	next := int64(2)
	err := a.ofUser(keys.PUKPrev(u.uid, 1), func(rest, v []byte) error {
		generation := number(rest)
		subject := fmt.Sprintf("per-user-key prev of %s, generation %d", u.uid, generation)
		if generation < 2 || generation > newest {
			a.problem("%s: the newest generation is %d", subject, newest)
			return nil
		}
		for ; next < generation; next++ {
			a.problem("per-user-key prev of %s, generation %d: missing", u.uid, next)
		}
		next++
		p, err := store.Decode[keyboxes.Prev](v)
		if err != nil {
			a.problem("%s: %v", subject, err)
			return nil
		}
		b, err := base64.StdEncoding.Strict().DecodeString(p.Ciphertext)
		if int64(p.Generation) != generation-1 || err != nil || len(b) != prevBytes {
			a.problem("%s: holds something else than generation %d", subject, generation-1)
		}
		return nil
	})
	for ; err == nil && next <= newest; next++ {
		a.problem("per-user-key prev of %s, generation %d: missing", u.uid, next)
	}
	return err
}

// deviceKeys checks that ephemeral keys are those of active devices, signed by them.
func (a *auditor) deviceKeys(u *user) error {
	if u.state == nil {
		return nil
	}
	return a.ofUser(keys.DeviceEK(u.uid, zero.device), func(rest, v []byte) error {
		d := kbsig.DeviceID(rest)
		bad := func(format string, args ...any) {
			a.problem("ephemeral key of device %s of %s: %s", d, u.uid, fmt.Sprintf(format, args...))
		}
		kid, ok := u.state.SigningKID(d)
		if !ok {
			bad("the device is not active")
			return nil
		}
		rec, err := store.Decode[keyboxes.DeviceEK](v)
		if err != nil {
			bad("%v", err)
			return nil
		}
		ek, err := kbsig.OpenDeviceEK(rec.Sig)
		switch {
		case err != nil:
			bad("%v", err)
		case rec.DeviceID != d:
			bad("the record is about device %s", rec.DeviceID)
		case ek.Signer != kid:
			bad("signed by %s", ek.Signer)
		case ek.Generation != int64(rec.Generation):
			bad("generation %d is signed, %d stored", ek.Generation, rec.Generation)
		default:
			if err := a.quotedRoot(ek); err != nil {
				bad("%v", err)
			}
		}
		return nil
	})
}

// quotedRoot checks that a statement quotes a root of ours, with its time.
func (a *auditor) quotedRoot(ek *kbsig.EphemeralKey) error {
	v, err := a.r.Get(keys.RootHash(ek.HashMeta))
	if err != nil || len(v) != 8 {
		return errors.New("quotes a root that is not known")
	}
	root, err := a.rootAt(kbsig.Seqno(number(v)))
	switch {
	case err != nil:
		return err
	case root == nil:
		return nil // a damaged root has been reported
	case root.HashMeta != ek.HashMeta || root.Ctime*1000 != ek.CtimeMs:
		return fmt.Errorf("quotes root %d with another hash or time", root.Seqno)
	}
	return nil
}

// userKeys checks that a user's ephemeral keys are without a gap, and signed by
// per-user keys of the chain.
func (a *auditor) userKeys(u *user) error {
	if u.state == nil {
		return nil
	}
	before := int64(0)
	return a.ofUser(keys.UserEK(u.uid, 1), func(rest, v []byte) error {
		generation := number(rest)
		bad := func(format string, args ...any) {
			a.problem("ephemeral key %d of %s: %s", generation, u.uid, fmt.Sprintf(format, args...))
		}
		if before != 0 && generation != before+1 {
			bad("comes after generation %d", before)
		}
		before = generation
		rec, err := store.Decode[keyboxes.UserEK](v)
		if err != nil {
			bad("%v", err)
			return nil
		}
		ek, err := kbsig.OpenUserEK(rec.Sig)
		switch {
		case err != nil:
			bad("%v", err)
		case !slices.ContainsFunc(u.state.PUKs, func(p sigchain.PUK) bool { return p.Signing == ek.Signer }):
			bad("signed by %s, which is no per-user key", ek.Signer)
		case ek.Generation != generation || int64(rec.Generation) != generation:
			bad("generation %d is signed, %d stored", ek.Generation, rec.Generation)
		default:
			if err := a.quotedRoot(ek); err != nil {
				bad("%v", err)
			}
		}
		return nil
	})
}

// userKeyBoxes checks that boxes are of ephemeral keys that are there, for devices that
// the chain knows.
func (a *auditor) userKeyBoxes(u *user) error {
	if u.state == nil {
		return nil
	}
	return a.ofUser(keys.UserEKBox(u.uid, 1, zero.device), func(rest, v []byte) error {
		generation, d := number(rest), kbsig.DeviceID(rest[8:])
		subject := fmt.Sprintf("box of ephemeral key %d of %s for device %s", generation, u.uid, d)
		there, err := store.Has(a.r, keys.UserEK(u.uid, int(generation)))
		if err != nil {
			return err
		}
		b, err := store.Decode[keyboxes.UserEKBox](v)
		switch {
		case err != nil:
			a.problem("%s: %v", subject, err)
		case b.DeviceID != d:
			a.problem("%s: the record is about device %s", subject, b.DeviceID)
		case !there:
			a.problem("%s: there is no such key", subject)
		case !slices.ContainsFunc(u.state.Devices, func(x sigchain.Device) bool { return x.ID == d }):
			a.problem("%s: the chain has no such device", subject)
		case b.Box == "" || b.DeviceEKGeneration < 1:
			a.problem("%s: there is nothing in it", subject)
		}
		return nil
	})
}

// leases checks that open leases are over what the chain has, at a root that exists.
func (a *auditor) leases(u *user) error {
	return a.ofUser(keys.Lease(u.uid, [16]byte{}), func(rest, v []byte) error {
		subject := fmt.Sprintf("lease %x of %s", rest, u.uid)
		l, err := store.Decode[identity.Lease](v)
		switch {
		case err != nil: // said by the pass over the keys
		case l.Root != 0 && !a.hasRoot(l.Root): // one that ended between its two writes has none, and is good for nothing
			a.problem("%s: there is no root %d", subject, l.Root)
		case u.state == nil:
		default:
			for _, kid := range l.KIDs {
				if _, ok := u.state.Key(kid); !ok {
					a.problem("%s: the chain has no key %s", subject, kid)
				}
			}
			for _, id := range l.SigIDs {
				if !slices.ContainsFunc(u.ends, func(e end) bool { return bytes.Equal(e.sig[:], id[:]) }) {
					a.problem("%s: the chain has no signature %s", subject, id)
				}
			}
		}
		return nil
	})
}
