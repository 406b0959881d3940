package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/directory"
	"github.com/keystead/keystead/merklehot/home"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/vouches"
)

// Post is what one request appends to a user's chain, and what belongs to it.
// client: go/libkb/delegatekeyaggregator.go:DelegatorAggregator
type Post struct {
	Links []*sigchain.Link
	PUK   *sigchain.PUKExtra
	Lease *LeaseID // of a revocation
	// Wallet comes with the link that names its primary account.
	Wallet *keyboxes.WalletPost
	// Expansion is what the only link stands for, if it is about the web of trust.
	Expansion *vouches.Expansion

	Secret *keyboxes.PrivateKey // of the PGP key that a link adds; times are set here

	UserEK      *UserEKPost
	UserEKRebox *keyboxes.UserEKBox
	DeviceEKs   map[kbsig.DeviceID]*kbsig.EphemeralKey
}

// UserEKPost is a new user ephemeral key with its boxes.
type UserEKPost struct {
	Key   *kbsig.EphemeralKey
	Boxes []keyboxes.UserEKBox
}

// OnPost registers what else has to happen in the transaction of each post to a user's
// chain, which it took from one state to another. It is called before the service is used.
func (s *Service) OnPost(fn func(tx *store.Tx, before, after *sigchain.State) error) {
	s.onPost = append(s.onPost, fn)
}

// Post appends links to u's chain. All of it happens or none. Posting again what is
// already the end of the chain succeeds without a change: clients send a request
// anew when its answer was lost. The error is a *sigchain.Error if the links may
// not stand.
func (s *Service) Post(ctx context.Context, u kbsig.UID, p Post) error {
	for _, l := range p.Links {
		if l.UID != u {
			return sigchain.Refuse(sigchain.KindWrongUser, "link of %s posted by %s", l.UID, u)
		}
	}
	s.verifyPGP(u, p.Links)
	err := s.store.Update(ctx, func(tx *store.Tx) error { return s.post(tx, u, p) })
	if err != nil {
		return fmt.Errorf("post to the chain of %s: %w", u, err)
	}
	return nil
}

func (s *Service) post(tx *store.Tx, u kbsig.UID, p Post) error {
	st, err := Chain(tx, u)
	if err != nil {
		return err
	}
	again, err := sigchain.AlreadyPosted(st, p.Links, func(n kbsig.Seqno) (sigchain.Record, bool, error) {
		rec, err := Record(tx, u, n)
		if errors.Is(err, store.ErrNotFound) {
			return rec, false, nil
		}
		return rec, err == nil, err
	})
	if err != nil || again {
		return err
	}
	lease, err := useLease(tx, u, p.Lease)
	if err != nil {
		return err
	}
	env, err := newEnv(tx)
	if err != nil {
		return err
	}
	next, err := sigchain.CheckBatch(st, p.Links, sigchain.Extras{PUK: p.PUK, Lease: lease}, env)
	if err != nil {
		return err
	}
	if err := appendLinks(tx, next, p.Links); err != nil {
		return err
	}
	if err := syncDevices(tx, st, next); err != nil {
		return err
	}
	if err := putPUK(tx, u, st, next, p.PUK); err != nil {
		return err
	}
	if err := putEphemeral(tx, next, p); err != nil {
		return err
	}
	if err := syncFollows(tx, st, next); err != nil {
		return err
	}
	if err := syncSecrets(tx, st, next, p.Secret); err != nil {
		return err
	}
	if err := s.syncProofs(tx, st, next); err != nil {
		return err
	}
	if err := putExpansion(tx, next, p.Links[0], p.Expansion); err != nil {
		return err
	}
	if err := putWallet(tx, st, next, p.Wallet); err != nil {
		return err
	}
	acct, err := accounts.Get(tx, u)
	if err != nil {
		return err
	}
	acct.TouchIdentity(tx.Now())
	acct.TouchPrivate()
	if len(st.Followees()) != len(next.Followees()) {
		acct.TrackVersion++
	}
	accounts.Put(tx, acct)
	for _, fn := range s.onPost {
		if err := fn(tx, st, next); err != nil {
			return err
		}
	}
	noteLeaf(tx, next)
	if err := home.RefreshFrom(tx, acct, next); err != nil {
		return err
	}
	return tell(tx, st, next, p.Links)
}

// appendLinks writes the links, the state after them and the indexes over them.
func appendLinks(tx *store.Tx, next *sigchain.State, links []*sigchain.Link) error {
	for _, l := range links {
		tx.Set(keys.Link(l.UID, l.Seqno), l.Record().Encode())
		store.Save(tx, keys.SigID(l.SigID), SigPlace{UID: l.UID, Seqno: l.Seqno})
		var added []kbsig.KID
		switch {
		case l.Bundle() != nil:
			if err := indexPGP(tx, l); err != nil {
				return err
			}
		case !l.Key.IsZero():
			added = append(added, l.Key)
		}
		if l.PUK != nil {
			added = append(added, l.PUK.Signing, l.PUK.Encryption)
		}
		for _, k := range added {
			store.Save(tx, keys.KIDOwner(k), l.UID)
		}
	}
	tx.Set(keys.Chain(next.UID), next.Encode())
	return nil
}

// SigPlace says where a signature stands.
type SigPlace struct {
	UID   kbsig.UID   `codec:"u"`
	Seqno kbsig.Seqno `codec:"n"`
}

// syncDevices keeps the index of active devices in step with the chain, and takes
// from revoked devices what only active ones may have.
func syncDevices(tx *store.Tx, before, after *sigchain.State) error {
	for _, d := range after.ActiveDevices() {
		if kid, ok := before.SigningKID(d.ID); !ok || kid != d.Sibkey {
			accounts.SetActive(tx, after.UID, d.ID, d.Sibkey)
			err := accounts.UpdateDevice(tx, after.UID, d.ID, func(dev *accounts.Device) {
				if dev.Type == "" {
					dev.Type = string(d.Type)
				}
			})
			if err != nil {
				return err
			}
		}
	}
	for _, d := range before.ActiveDevices() {
		if _, ok := after.SigningKID(d.ID); !ok {
			accounts.SetInactive(tx, after.UID, d.ID)
			keyboxes.DropDeviceEK(tx, after.UID, d.ID)
		}
	}
	return nil
}

// putPUK stores the boxes that CheckBatch has found to be right.
func putPUK(tx *store.Tx, u kbsig.UID, before, after *sigchain.State, p *sigchain.PUKExtra) error {
	if p == nil {
		return nil
	}
	boxes := make([]keyboxes.Box, len(p.Boxes))
	for i, b := range p.Boxes {
		boxes[i] = keyboxes.Box{Generation: int(b.Generation), Box: b.Box, Receiver: b.ReceiverKID}
	}
	if after.PUKGeneration() != before.PUKGeneration() {
		return keyboxes.PutGeneration(tx, u, int(p.Generation), boxes, p.Prev)
	}
	for _, b := range boxes {
		keyboxes.PutBox(tx, u, b)
	}
	return nil
}

// putEphemeral stores the ephemeral keys that come with links, judged against the
// chain as it is after them.
func putEphemeral(tx *store.Tx, next *sigchain.State, p Post) error {
	for d, ek := range p.DeviceEKs {
		if err := putDeviceEK(tx, next, d, ek); err != nil {
			return err
		}
	}
	if p.UserEK != nil {
		if err := putUserEK(tx, next, p.UserEK.Key, p.UserEK.Boxes); err != nil {
			return err
		}
	}
	if p.UserEKRebox != nil {
		newest, err := keyboxes.NewestUserEK(tx, next.UID)
		if err != nil || newest == nil {
			return err
		}
		return keyboxes.PutUserEKBox(tx, next.UID, newest.Generation, *p.UserEKRebox)
	}
	return nil
}

// syncFollows keeps the follower index in step with the chain.
func syncFollows(tx *store.Tx, before, after *sigchain.State) error {
	changed := func(other kbsig.UID) error {
		acct, err := accounts.Get(tx, other)
		if err != nil {
			return err
		}
		acct.TrackVersion++
		accounts.Put(tx, acct)
		return nil
	}
	for _, t := range after.Followees() {
		if old, ok := before.Follows(t.UID); ok && old == t {
			continue
		}
		rec, err := Record(tx, after.UID, t.Seqno)
		if err != nil {
			return err
		}
		link, err := rec.LinkID()
		if err != nil {
			return err
		}
		eldest, err := EldestSeqno(tx, t.UID)
		if err != nil {
			return err
		}
		directory.SetFollow(tx, after.UID, t.UID, link, eldest)
		if err := changed(t.UID); err != nil {
			return err
		}
		if _, ok := before.Follows(t.UID); ok {
			continue
		}
		if err := home.Followed(tx, after.UID, t.UID); err != nil {
			return err
		}
	}
	for _, t := range before.Followees() {
		if _, ok := after.Follows(t.UID); !ok {
			directory.DropFollow(tx, after.UID, t.UID)
			if err := changed(t.UID); err != nil {
				return err
			}
			if err := home.Unfollowed(tx, after.UID, t.UID); err != nil {
				return err
			}
		}
	}
	return nil
}

// PutDeviceEK stores a device's ephemeral key statement, signed by that device.
func PutDeviceEK(tx *store.Tx, u kbsig.UID, d kbsig.DeviceID, ek *kbsig.EphemeralKey) error {
	st, err := Chain(tx, u)
	if err != nil {
		return err
	}
	return putDeviceEK(tx, st, d, ek)
}

func putDeviceEK(tx *store.Tx, st *sigchain.State, d kbsig.DeviceID, ek *kbsig.EphemeralKey) error {
	kid, ok := st.SigningKID(d)
	if !ok {
		return sigchain.Refuse(sigchain.KindDevice, "ephemeral key of %s, which is no active device", d)
	}
	if ek.Signer != kid {
		return sigchain.Refuse(sigchain.KindWrongKey, "ephemeral key of device %s signed by another key", d)
	}
	if err := CheckEKRoot(tx, ek); err != nil {
		return err
	}
	return keyboxes.PutDeviceEK(tx, st.UID, keyboxes.DeviceEK{DeviceID: d, Generation: int(ek.Generation), Sig: ek.Statement})
}

// PutUserEK stores a user's next ephemeral key, signed by the newest per-user key.
func PutUserEK(tx *store.Tx, u kbsig.UID, ek *kbsig.EphemeralKey, boxes []keyboxes.UserEKBox) error {
	st, err := Chain(tx, u)
	if err != nil {
		return err
	}
	return putUserEK(tx, st, ek, boxes)
}

func putUserEK(tx *store.Tx, st *sigchain.State, ek *kbsig.EphemeralKey, boxes []keyboxes.UserEKBox) error {
	puk, ok := st.LatestPUK()
	if !ok || ek.Signer != puk.Signing {
		return sigchain.Refuse(sigchain.KindWrongKey, "ephemeral key not signed by the newest per-user key of %s", st.UID)
	}
	if err := CheckEKRoot(tx, ek); err != nil {
		return err
	}
	for _, b := range boxes {
		if _, ok := st.SigningKID(b.DeviceID); !ok {
			return sigchain.Refuse(sigchain.KindDevice, "box for %s, which is no active device", b.DeviceID)
		}
	}
	return keyboxes.PutUserEK(tx, st.UID, keyboxes.UserEK{Generation: int(ek.Generation), Sig: ek.Statement, Link: st.Tail}, boxes)
}

// ekRootAgeMax is how old a root an ephemeral key may quote: others judge the age of
// the key by it. client: go/ephemeral/common.go:ctimeIsStale, go/libkb/constants.go:EphemeralKeyGenInterval
const ekRootAgeMax = 24 * time.Hour

// CheckEKRoot: the quoted root was published, its time is quoted truthfully, and it
// is recent.
func CheckEKRoot(tx *store.Tx, ek *kbsig.EphemeralKey) error {
	seqno, err := roots.SeqnoByHashMeta(tx, ek.HashMeta)
	if errors.Is(err, roots.ErrNoRoot) {
		return sigchain.Refuse(sigchain.KindOrder, "ephemeral key quotes a root that was never published")
	}
	if err != nil {
		return err
	}
	root, err := roots.RootAt(tx, seqno)
	if err != nil {
		return err
	}
	if ek.CtimeMs != root.Ctime*1000 {
		return sigchain.Refuse(sigchain.KindOrder, "ephemeral key quotes another time than its root's")
	}
	next, err := roots.RootAt(tx, seqno+1)
	switch {
	case errors.Is(err, roots.ErrNoRoot):
		return nil // it is the newest
	case err != nil:
		return err
	case next.Ctime < tx.Now().Add(-ekRootAgeMax).Unix():
		return sigchain.Refuse(sigchain.KindOrder, "ephemeral key quotes a root that is too old")
	}
	return nil
}
