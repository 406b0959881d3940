package rest

import (
	"encoding/hex"
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// usersPerQuestionMax bounds lists of users in one question.
const usersPerQuestionMax = 1000

// deviceUpdate: POST device/update. It comes before the link that makes the device,
// or after it, so the id may be unknown to the chain.
// client: go/libkb/post.go:PostDeviceLKS
func deviceUpdate(c *call) (any, error) {
	id, err := c.dev("device_id")
	if err != nil {
		return nil, err
	}
	typ := sigchain.DeviceType(c.raw("type"))
	switch typ {
	case sigchain.DeviceDesktop, sigchain.DeviceMobile, sigchain.DeviceBackup:
	default:
		return nil, status.InputField("type", "unknown type of device")
	}
	half, err := c.hexBytes("lks_server_half", 32)
	if err != nil {
		return nil, err
	}
	generation, err := c.integer("ppgen", 0)
	if err != nil {
		return nil, err
	}
	clientHalf, err := c.base64Max("lks_client_half", kbsig.BoxBytesMax)
	if err != nil {
		return nil, err
	}
	kid, err := c.kid("kid")
	if err != nil {
		return nil, err
	}
	box, err := kbsig.DecodeArmoredEncryption(clientHalf)
	if err != nil || box.Receiver != kid {
		return nil, status.InputField("lks_client_half", "not encrypted to the key named in kid")
	}
	platform := c.raw("platform")
	if !platformOK(platform) {
		return nil, status.InputField("platform", "not a name of a platform")
	}
	return none{}, c.update(func(tx *store.Tx) error {
		acct, err := accounts.Get(tx, c.who.UID)
		if err != nil {
			return err
		}
		if generation < passphraseUnknown || generation > int64(acct.Generation) {
			return status.InputField("ppgen", "no generation of the passphrase")
		}
		err = accounts.UpdateDevice(tx, acct.UID, id, func(d *accounts.Device) {
			d.Type, d.Platform = string(typ), platform
			copy(d.ServerHalf[:], half)
			d.HasHalf = true
			d.Generation = int(generation)
			d.EncKID, d.ClientHalf = kid, clientHalf
		})
		if err != nil {
			return err
		}
		acct.TouchPrivate()
		accounts.Put(tx, acct)
		return nil
	})
}

// passphraseUnknown is the generation that a client sends if it does not know it.
// client: go/libkb/lksec.go:NewLKSecWithFullSecret
const passphraseUnknown = -1

// platformMax bounds the name of a platform, in bytes. client: go/libkb/env.go:GetPlatformString
const platformMax = 64

func platformOK(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= platformMax
}

// cloneToken: POST device/clone_detection_token.
// client: go/libkb/device_clone_state.go:UpdateDeviceCloneState
func cloneToken(c *call) (any, error) {
	id, err := c.dev("device_id")
	if err != nil {
		return nil, err
	}
	if c.who.DeviceID != id {
		return nil, status.New(1410, "DEVICE_MISMATCH", "that is not the device that asks")
	}
	prior, err := c.hexBytes("prior", 16)
	if err != nil {
		return nil, err
	}
	stage, err := c.hexBytes("stage", 16)
	if err != nil {
		return nil, err
	}
	var reply struct {
		Token  string `json:"token"`
		Clones int    `json:"clones"`
	}
	err = c.update(func(tx *store.Tx) (err error) {
		reply.Token, reply.Clones, err = accounts.AdvanceCloneToken(
			tx, c.who.UID, id, hex.EncodeToString(prior), hex.EncodeToString(stage))
		return err
	})
	return reply, err
}

// deviceCheckName: GET device/check_name.
// client: go/service/device.go:DeviceHandler.CheckDeviceNameForUser
func deviceCheckName(c *call) (any, error) {
	n, err := parsed(c, "username", kbsig.ParseUsername)
	if err != nil {
		return nil, err
	}
	name, err := c.str("devicename")
	if err != nil {
		return nil, err
	}
	if !sigchain.DeviceNameOK(name) {
		return nil, status.InputField("devicename", "a device name has 3 to 64 letters, digits, spaces and -_'")
	}
	acct, err := accounts.ByName(c.view(), n)
	if err != nil {
		return nil, err
	}
	st, err := identity.Chain(c.view(), acct.UID)
	if err != nil {
		return nil, err
	}
	for _, d := range st.Devices {
		if sigchain.NormalDeviceName(d.Name) == sigchain.NormalDeviceName(name) {
			return nil, status.New(status.DeviceNameInUse, "DEVICE_NAME_IN_USE", "that device name has been used before")
		}
	}
	return none{}, nil
}

// deviceError: POST device/error, a client's report of trouble with its secret
// store. It is logged without its text, which may say more than it should.
// client: go/libkb/secret_store.go:reportPrimeSecretStoreFailure
func deviceError(c *call) (any, error) {
	event := c.raw("event")
	c.s.Logger.Info("a client reports an error", "event", event[:min(len(event), 64)])
	return none{}, nil
}

// deviceForUsers: POST device/for_users: which of these devices are still theirs.
// client: go/libkb/all_provisioned_usernames.go:GetAllProvisionedUsernames
func deviceForUsers(c *call) (any, error) {
	type row struct {
		UID      string `json:"uid"`
		DeviceID string `json:"device_id"`
		OK       bool   `json:"ok"`
		Username string `json:"username"`
	}
	var req struct {
		UserConfigs []row `json:"user_configs"`
	}
	if err := c.body(&req); err != nil {
		return nil, err
	}
	if len(req.UserConfigs) > usersPerQuestionMax {
		return nil, status.Input("too many users")
	}
	for i := range req.UserConfigs {
		r := &req.UserConfigs[i]
		r.OK, r.Username = false, ""
		u, err := kbsig.ParseUID(r.UID)
		if err != nil {
			continue
		}
		acct, err := accounts.Get(c.view(), u)
		if errors.Is(err, accounts.ErrNoUser) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r.Username = string(acct.Name)
		d, err := kbsig.ParseDeviceID(r.DeviceID)
		if err != nil || acct.Status == accounts.StatusDeleted {
			continue
		}
		switch _, err := accounts.ActiveKID(c.view(), u, d); {
		case err == nil:
			r.OK = true
		case !errors.Is(err, accounts.ErrNoDevice):
			return nil, err
		}
	}
	if req.UserConfigs == nil {
		req.UserConfigs = []row{}
	}
	return req, nil
}
