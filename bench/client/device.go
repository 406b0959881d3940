package client

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
)

// Device is a device whose secrets we hold: a computer, a phone or a paper key.
type Device struct {
	ID         DeviceID
	Name       string
	Type       string
	Sig        *SigningKey
	Enc        *DHKey
	ServerHalf [32]byte // of the local key security secret; zero for paper keys

	cred *NISTCredential
	ek   *deviceEK // newest ephemeral key, nil before the first
}

// NewDevice draws an id, both keys and a server half.
func NewDevice(s *Server, name, typ string) (*Device, error) {
	d := &Device{Name: name, Type: typ}
	var seeds [4]Seed
	for i := range seeds {
		var err error
		if seeds[i], err = newSeed(s.Random); err != nil {
			return nil, fmt.Errorf("new device: %w", err)
		}
	}
	copy(d.ID[:], seeds[0][:])
	d.ID[15] = 0x18
	d.Sig, d.Enc, d.ServerHalf = NewSigningKey(seeds[1]), NewDHKey(seeds[2]), seeds[3]
	return d, nil
}

// newPaperDevice makes the device of a paper key: keys from the stream.
// client: go/engine/paperkey_gen.go:push
func newPaperDevice(s *Server, name string, stream *Stream) (*Device, error) {
	d, err := NewDevice(s, name, DevicePaper)
	if err != nil {
		return nil, err
	}
	d.Sig, d.Enc, d.ServerHalf = NewSigningKey(stream.EdDSASeed()), NewDHKey(stream.DHSeed()), [32]byte{}
	return d, nil
}

// section is body.device of an eldest or sibkey link.
func (d *Device) section() map[string]any {
	return map[string]any{
		"id": d.ID.String(), "kid": d.Sig.KID().String(), "name": d.Name, "status": statusActive, "type": d.Type,
	}
}

// NIST is the device's own credential.
func (a *Account) NIST(d *Device) *NISTCredential {
	if d.cred == nil {
		d.cred = a.Server().NewNISTCredential(a.UID, d.ID, d.Sig)
	}
	return d.cred
}

// updateDevice posts the device's server half and the recovery copy of the client
// half. client: go/libkb/post.go:PostDeviceLKS
func (a *Account) updateDevice(ctx context.Context, d *Device, c Credential) error {
	half, err := SealAnonymous(a.Server().Random, a.Stream.ClientHalf(), d.Enc.KID())
	if err != nil {
		return err
	}
	_, err = a.postForm(ctx, "device/update", url.Values{
		"device_id": {d.ID.String()}, "type": {d.Type}, "lks_server_half": {hex.EncodeToString(d.ServerHalf[:])},
		"ppgen": {strconv.Itoa(a.Generation)}, "lks_client_half": {half.Armor()}, "kid": {d.Enc.KID().String()},
		"platform": {"linux"},
	}, c)
	return err
}

// ProvisionFirst makes the account's first device: eldest, subkey and per-user
// key in one post. After a reset it starts the next incarnation.
// client: go/engine/device_keygen.go:Push
func (a *Account) ProvisionFirst(ctx context.Context, name string) error {
	d, err := NewDevice(a.Server(), name, DeviceDesktop)
	if err != nil {
		return err
	}
	seed, err := newSeed(a.Server().Random)
	if err != nil {
		return err
	}
	puk := NewPUK(seed)
	b, err := a.newBatch(ctx)
	if err != nil {
		return err
	}
	b.eldest = KID{}
	if err := b.delegate("eldest", d.Sig, d.Sig.KID(), EldestBody(d), nil); err != nil {
		return err
	}
	b.eldest = d.Sig.KID()
	if err := b.delegate("subkey", d.Sig, d.Enc.KID(), SubkeyBody(d), nil); err != nil {
		return err
	}
	if err := b.perUserKey(d.Sig, puk, 1); err != nil {
		return err
	}
	boxes, err := a.boxes(d.Enc, seed, 1, d.Enc.KID())
	if err != nil {
		return err
	}
	b.body["per_user_key"] = map[string]any{"generation": 1, "boxes": boxes}
	if err := b.post(ctx, a.Session); err != nil {
		return err
	}
	a.eldest, a.PUKs = d.Sig.KID(), []*PUK{puk}
	a.own(d)
	a.Device = d
	return a.updateDevice(ctx, d, a.Session)
}

func (a *Account) own(d *Device) { a.Devices[d.ID] = d }

// AddPaperKey makes a paper key with the acting device and returns its phrase.
// stream spares the slow derivation for load tests; nil stretches the phrase.
// client: go/engine/paperkey_gen.go
func (a *Account) AddPaperKey(ctx context.Context, stream *Stream) (phrase string, paper *Device, err error) {
	if phrase, err = newPaperPhrase(a.Server().Random); err != nil {
		return "", nil, err
	}
	if stream == nil {
		if stream, err = StretchPaperKey(phrase); err != nil {
			return "", nil, err
		}
	}
	name := phrase[:len("bababa bababa")] // the first two of its words
	if paper, err = newPaperDevice(a.Server(), name, stream); err != nil {
		return "", nil, err
	}
	c := a.NIST(a.Device)
	if err := a.updateDevice(ctx, paper, c); err != nil {
		return "", nil, err
	}
	return phrase, paper, a.addSibling(ctx, paper, a.Device, c)
}

// AddDevice makes another device the way kex2 does: the acting device signs, the
// new one posts under a session handed to it, before it has a token of its own.
// client: go/engine/kex2_provisionee.go
func (a *Account) AddDevice(ctx context.Context, name, typ string) (*Device, error) {
	d, err := NewDevice(a.Server(), name, typ)
	if err != nil {
		return nil, err
	}
	s, err := a.NewSession(ctx)
	if err != nil {
		return nil, err
	}
	s.Device = d.ID
	if err := a.updateDevice(ctx, d, s); err != nil {
		return nil, err
	}
	if err := a.addSibling(ctx, d, a.Device, s); err != nil {
		return d, err // its keys are needed if the post was taken after all
	}
	// The new device's token must work at once.
	_, err = a.Server().Get(ctx, "user/has_random_pw", nil, a.NIST(d))
	return d, err
}

// addSibling posts sibkey and subkey of a new device, signed by an existing one,
// with a box of the newest per-user key.
func (a *Account) addSibling(ctx context.Context, d, by *Device, c Credential) error {
	b, err := a.newBatch(ctx)
	if err != nil {
		return err
	}
	if err := b.delegate("sibkey", by.Sig, d.Sig.KID(), SibkeyBody(d), d.Sig); err != nil {
		return err
	}
	if err := b.delegate("subkey", d.Sig, d.Enc.KID(), SubkeyBody(d), nil); err != nil {
		return err
	}
	if n := len(a.PUKs); n > 0 {
		boxes, err := a.boxes(by.Enc, a.PUKs[n-1].Seed, n, d.Enc.KID())
		if err != nil {
			return err
		}
		b.body["per_user_key"] = map[string]any{"generation": n, "boxes": boxes}
	}
	if err := b.post(ctx, c); err != nil {
		return err
	}
	a.own(d)
	return nil
}

// LoginPaperKey provisions a new computer with a paper key: it returns an account
// that acts as the new device. stream spares the slow derivation; nil stretches
// the phrase. client: go/engine/login_provision.go, go/libkb/device_with_keys.go:Populate
func LoginPaperKey(ctx context.Context, v *Verifier, phrase string, stream *Stream, deviceName string) (*Account, error) {
	var err error
	if stream == nil {
		if stream, err = StretchPaperKey(phrase); err != nil {
			return nil, err
		}
	}
	paper := &Device{Type: DevicePaper, Sig: NewSigningKey(stream.EdDSASeed()), Enc: NewDHKey(stream.DHSeed())}
	a, err := accountOfKey(ctx, v, paper)
	if err != nil {
		return nil, err
	}
	if err := a.recoverClientHalf(ctx, paper); err != nil {
		return nil, err
	}
	if err := a.FetchPUKs(ctx, paper); err != nil {
		return nil, err
	}
	d, err := NewDevice(v.srv, deviceName, DeviceDesktop)
	if err != nil {
		return nil, err
	}
	if err := a.addSibling(ctx, d, paper, a.NIST(paper)); err != nil {
		return nil, err
	}
	a.Device = d
	return a, a.updateDevice(ctx, d, a.NIST(paper))
}

// accountOfKey asks who owns a device key and checks it against the owner's chain.
func accountOfKey(ctx context.Context, v *Verifier, d *Device) (*Account, error) {
	reply, err := v.srv.Get(ctx, "key/owner/device", url.Values{"kid": {d.Sig.KID().String()}}, nil)
	if err != nil {
		return nil, err
	}
	uidText, err := reply.text("uid")
	if err != nil {
		return nil, err
	}
	idText, err := reply.text("device_id")
	if err != nil {
		return nil, err
	}
	uid, err1 := ParseUID(uidText)
	id, err2 := ParseDeviceID(idText)
	if err1 != nil || err2 != nil {
		return nil, violated(RuleReply, "key/owner/device", "%v %v", err1, err2)
	}
	u, err := v.LoadUser(ctx, uid, LoadOptions{})
	if err != nil {
		return nil, err
	}
	info := u.Family.Device(id)
	if info == nil || info.Revoked || info.Signing != d.Sig.KID() || info.DH != d.Enc.KID() {
		return nil, violated(RuleUserObject, "key/owner/device", "device %s of %s has other keys", id, u.Username)
	}
	d.ID, d.Name = id, info.Name
	a := newAccount(v, u.Username)
	a.own(d)
	a.adopt(u)
	return a, nil
}

// recoverClientHalf opens the copy that the server keeps for a key.
// client: go/engine/common.go:fetchLKS
func (a *Account) recoverClientHalf(ctx context.Context, d *Device) error {
	reply, err := a.Server().Get(ctx, "passphrase/recover", url.Values{"kid": {d.Enc.KID().String()}}, a.NIST(d))
	if err != nil {
		return err
	}
	ctext, err := reply.text("ctext")
	if err != nil {
		return err
	}
	half, _, err := d.Enc.Open(ctext)
	if err != nil || len(half) != 32 {
		return violated(RuleBox, "passphrase/recover", "client half: %v", err)
	}
	a.Stream = new(Stream)
	copy(a.Stream[96:], half)
	return reply.into("passphrase_generation", &a.Generation)
}
