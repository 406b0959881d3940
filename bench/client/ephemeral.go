package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
)

// EKStatement is a signed announcement of an ephemeral key.
// client: go/protocol/keybase1/ephemeral.go:DeviceEkMetadata, UserEkMetadata
type EKStatement struct {
	KID        KID
	Generation int
	HashMeta   HashMeta
	Ctime      int64 // milliseconds, of the quoted root
	Signer     KID
}

// deviceEK is the newest ephemeral key of one of our devices.
type deviceEK struct {
	generation int
	key        *DHKey
}

// UserEK is a user ephemeral key whose seed we hold.
type UserEK struct {
	Generation int
	Seed       Seed
	Key        *DHKey
}

const (
	deviceEKSection = "current_device_ek_metadata"
	deviceEKField   = "device_ephemeral_dh_public"
	userEKSection   = "current_user_ek_metadata"
	userEKField     = "user_ephemeral_dh_public"
)

// signEK makes a statement quoting a root, its fields in the stock client's order.
// client: go/ephemeral/device_ek.go:signDeviceEKStatement
func signEK(section, field string, key *SigningKey, kid KID, generation int, root *Root) string {
	meta := fmt.Sprintf(`"%s":"%s","hash_meta":"%s","generation":%d,"ctime":%d`,
		field, kid, root.HashMeta, generation, root.Ctime*1000)
	if section == deviceEKSection {
		meta += `,"deviceCtime":0`
	}
	return SignPacket(key, []byte(`{"`+section+`":{`+meta+`}}`)).Armor()
}

func openEK(section, field, armored string) (*EKStatement, error) {
	signer, payload, _, err := openArmored(armored)
	if err != nil {
		return nil, err
	}
	o, err := parseObject(payload)
	if err != nil {
		return nil, err
	}
	m, err := o.sub(section)
	if err != nil {
		return nil, err
	}
	s := &EKStatement{Signer: signer}
	if s.KID, err = m.kid(field); err != nil {
		return nil, err
	}
	gen, err := m.int("generation")
	if err != nil {
		return nil, err
	}
	s.Generation = int(gen)
	if s.Ctime, err = m.int("ctime"); err != nil {
		return nil, err
	}
	hash, err := m.str("hash_meta")
	if err != nil {
		return nil, err
	}
	s.HashMeta, err = ParseHashMeta(hash)
	return s, err
}

// PostDeviceEK publishes the next ephemeral key of one of our devices.
func (a *Account) PostDeviceEK(ctx context.Context, d *Device) (*EKStatement, error) {
	root, err := a.Verifier.RefreshRoot(ctx)
	if err != nil {
		return nil, err
	}
	seed, err := newSeed(a.Server().Random)
	if err != nil {
		return nil, err
	}
	ek := &deviceEK{generation: 1, key: NewDHKey(seed.derive(reasonDeviceEK))}
	if d.ek != nil {
		ek.generation = d.ek.generation + 1
	}
	sig := signEK(deviceEKSection, deviceEKField, d.Sig, ek.key.KID(), ek.generation, root)
	args := url.Values{"sig": {sig}, "device_id": {d.ID.String()}}
	if _, err := a.postForm(ctx, "user/device_ek", args, a.NIST(d)); err != nil {
		return nil, err
	}
	d.ek = ek
	return openEK(deviceEKSection, deviceEKField, sig)
}

// DeviceEKs fetches the statements of all active devices and verifies that each
// is signed by one. client: go/ephemeral/device_ek.go:allDeviceEKMetadataMaybeStale
func (a *Account) DeviceEKs(ctx context.Context) (map[DeviceID]*EKStatement, error) {
	reply, err := a.Server().Get(ctx, "user/device_eks", nil, a.credential())
	if err != nil {
		return nil, err
	}
	var sigs []string
	if err := reply.into("sigs", &sigs); err != nil {
		return nil, err
	}
	if err := a.Reload(ctx); err != nil {
		return nil, err
	}
	if a.Me.Family == nil {
		return nil, violated(RuleEK, "user/device_eks", "%s has no keys", a.Username)
	}
	out := make(map[DeviceID]*EKStatement)
	for _, armored := range sigs {
		s, err := openEK(deviceEKSection, deviceEKField, armored)
		if err != nil {
			return nil, violated(RuleEK, "user/device_eks", "%v", err)
		}
		k := a.Me.Family.Keys[s.Signer]
		if k == nil || k.Revoked || !k.Sibkey || out[k.Device] != nil {
			return nil, violated(RuleEK, "user/device_eks", "statement by %s, which is no active device", s.Signer)
		}
		if err := a.checkEKRoot(s); err != nil {
			return nil, err
		}
		out[k.Device] = s
	}
	return out, nil
}

func (a *Account) checkEKRoot(s *EKStatement) error {
	r, ok := a.Verifier.Witness.named(s.HashMeta)
	if ok && r.Ctime != 0 && r.Ctime*1000 != s.Ctime {
		return violated(RuleEK, "ephemeral key", "ctime %d ms of root %d, which is of %d s", s.Ctime, r.Seqno, r.Ctime)
	}
	return nil
}

// PostUserEK publishes the next user ephemeral key, boxed for every device that
// has an ephemeral key of its own. client: go/ephemeral/user_ek.go:publishNewUserEK
func (a *Account) PostUserEK(ctx context.Context) (*UserEK, error) {
	devices, err := a.DeviceEKs(ctx)
	if err != nil {
		return nil, err
	}
	_, newest, err := a.userEK(ctx, a.UID)
	if err != nil {
		return nil, err
	}
	root, err := a.Verifier.RefreshRoot(ctx)
	if err != nil {
		return nil, err
	}
	ek := &UserEK{Generation: newest + 1}
	if ek.Seed, err = newSeed(a.Server().Random); err != nil {
		return nil, err
	}
	ek.Key = NewDHKey(ek.Seed.derive(reasonUserEK))
	signer := a.PUKs[len(a.PUKs)-1].Sig
	sig := signEK(userEKSection, userEKField, signer, ek.Key.KID(), ek.Generation, root)
	boxes := []map[string]any{}
	for id, s := range devices {
		box, err := SealAnonymous(a.Server().Random, ek.Seed[:], s.KID)
		if err != nil {
			return nil, err
		}
		boxes = append(boxes, map[string]any{
			"box": box.Armor(), "recipient_generation": s.Generation, "recipient_device_id": id.String(),
		})
	}
	b, err := json.Marshal(boxes)
	if err != nil {
		return nil, err
	}
	_, err = a.postForm(ctx, "user/user_ek", url.Values{"sig": {sig}, "boxes": {string(b)}}, a.credential())
	return ek, err
}

// UserEK is a user's newest statement, nil when there is none or when the signer
// is an older per-user key. client: go/ephemeral/user_ek.go:fetchUserEKStatement
func (a *Account) UserEK(ctx context.Context, uid UID) (*EKStatement, error) {
	s, _, err := a.userEK(ctx, uid)
	return s, err
}

// userEK also tells the newest statement's generation, 0 when there was never any: what
// an older per-user key has signed counts, too, for generations go on.
func (a *Account) userEK(ctx context.Context, uid UID) (*EKStatement, int, error) {
	reply, err := a.Server().Get(ctx, "user/user_ek", url.Values{"uids": {uid.String()}}, a.credential())
	if err != nil {
		return nil, 0, err
	}
	var sigs map[string]*string
	if err := reply.into("sigs", &sigs); err != nil {
		return nil, 0, err
	}
	if len(sigs) == 0 {
		return nil, 0, nil
	}
	armored := sigs[uid.String()]
	if len(sigs) != 1 || armored == nil {
		return nil, 0, violated(RuleEK, "user/user_ek", "%d statements, none for %s or null", len(sigs), uid)
	}
	s, err := openEK(userEKSection, userEKField, *armored)
	if err != nil {
		return nil, 0, violated(RuleEK, "user/user_ek", "%v", err)
	}
	u, err := a.Verifier.LoadUser(ctx, uid, LoadOptions{})
	if err != nil {
		return nil, 0, err
	}
	latest := u.Family.LatestPUK()
	if latest != nil && s.Signer == latest.Signing {
		return s, s.Generation, nil
	}
	for _, f := range append(u.Past, u.Family) {
		for i := range f.pukList() {
			if f.PUKs[i].Signing == s.Signer {
				return nil, s.Generation, nil // an older per-user key: the user rolled without a new one
			}
		}
	}
	return nil, 0, violated(RuleEK, "user/user_ek", "signed by %s, no per-user key of %s", s.Signer, u.Username)
}

func (f *Family) pukList() []PUKInfo {
	if f == nil {
		return nil
	}
	return f.PUKs
}

// OpenUserEK fetches one of our device's box of a user ephemeral key and opens it.
// client: go/ephemeral/user_ek_box_storage.go
func (a *Account) OpenUserEK(ctx context.Context, d *Device, generation int) (*UserEK, error) {
	reply, err := a.Server().Get(ctx, "user/user_ek_box", url.Values{
		"generation": {strconv.Itoa(generation)}, "recipient_device_id": {d.ID.String()},
	}, a.NIST(d))
	if err != nil {
		return nil, err
	}
	var r *struct {
		Box        string `json:"box"`
		Generation int    `json:"device_ek_generation"`
		Sig        string `json:"sig"`
	}
	if err := reply.into("result", &r); err != nil || r == nil {
		return nil, err
	}
	s, err := openEK(userEKSection, userEKField, r.Sig)
	if err != nil || s.Generation != generation {
		return nil, violated(RuleEK, "user/user_ek_box", "statement: %v", err)
	}
	if d.ek == nil || d.ek.generation != r.Generation {
		return nil, violated(RuleEK, "user/user_ek_box", "boxed for device generation %d", r.Generation)
	}
	seed, _, err := d.ek.key.Open(r.Box)
	if err != nil || len(seed) != len(Seed{}) {
		return nil, violated(RuleBox, "user/user_ek_box", "%v", err)
	}
	ek := &UserEK{Generation: generation, Seed: Seed(seed), Key: NewDHKey(Seed(seed).derive(reasonUserEK))}
	if ek.Key.KID() != s.KID {
		return nil, violated(RuleBox, "user/user_ek_box", "seed makes another key")
	}
	return ek, nil
}
