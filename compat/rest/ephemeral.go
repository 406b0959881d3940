package rest

import (
	"encoding/json"
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
)

// postDeviceEK: POST user/device_ek.
// client: go/ephemeral/device_ek.go:postNewDeviceEK
func postDeviceEK(c *call) (any, error) {
	sig, err := c.str("sig")
	if err != nil {
		return nil, err
	}
	id, err := c.dev("device_id")
	if err != nil {
		return nil, err
	}
	ek, err := kbsig.OpenDeviceEK(sig)
	if err != nil {
		return nil, status.InputField("sig", "not an ephemeral key statement")
	}
	return none{}, c.update(func(tx *store.Tx) error {
		return identity.PutDeviceEK(tx, c.who.UID, id, ek)
	})
}

// deviceEKs: GET user/device_eks: the statements of the caller's active devices. A
// statement by another key would be taken for an attack.
// client: go/ephemeral/device_ek.go:allDeviceEKMetadataMaybeStale
func deviceEKs(c *call) (any, error) {
	list, err := keyboxes.DeviceEKs(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	reply := struct {
		Sigs []string `json:"sigs"`
	}{[]string{}}
	for _, ek := range list {
		switch _, err := accounts.ActiveKID(c.view(), c.who.UID, ek.DeviceID); {
		case err == nil:
			reply.Sigs = append(reply.Sigs, ek.Sig)
		case !errors.Is(err, accounts.ErrNoDevice):
			return nil, err
		}
	}
	return reply, nil
}

// userEKBoxJSON is a user ephemeral key's box as clients post it.
// client: go/protocol/keybase1/ephemeral.go:UserEkBoxMetadata
type userEKBoxJSON struct {
	Box        string `json:"box"`
	Generation int    `json:"recipient_generation"`
	DeviceID   string `json:"recipient_device_id"`
}

func userEKBoxes(in []userEKBoxJSON) ([]keyboxes.UserEKBox, error) {
	out := make([]keyboxes.UserEKBox, 0, len(in))
	for _, b := range in {
		d, err := kbsig.ParseDeviceID(b.DeviceID)
		if err != nil {
			return nil, status.Input("bad device in a box: %v", err)
		}
		// That it is a whole box. client: go/ephemeral/user_ek.go:boxUserEKForDevices
		if _, err := kbsig.DecodeArmoredEncryption(b.Box); err != nil {
			return nil, status.Input("not a box: %v", err)
		}
		out = append(out, keyboxes.UserEKBox{Box: b.Box, DeviceID: d, DeviceEKGeneration: b.Generation})
	}
	return out, nil
}

// postUserEK: POST user/user_ek. client: go/ephemeral/user_ek.go:postNewUserEK
func postUserEK(c *call) (any, error) {
	sig, err := c.str("sig")
	if err != nil {
		return nil, err
	}
	var in []userEKBoxJSON
	if raw := c.raw("boxes"); raw != "" {
		if len(raw) > argBytesMax || json.Unmarshal([]byte(raw), &in) != nil || namesOnce([]byte(raw)) != nil {
			return nil, status.InputField("boxes", "not a list of boxes")
		}
	}
	boxes, err := userEKBoxes(in)
	if err != nil {
		return nil, err
	}
	ek, err := kbsig.OpenUserEK(sig)
	if err != nil {
		return nil, status.InputField("sig", "not an ephemeral key statement")
	}
	return none{}, c.update(func(tx *store.Tx) error {
		return identity.PutUserEK(tx, c.who.UID, ek, boxes)
	})
}

// userEK: GET user/user_ek. A user without a key is left out: a null would crash
// the client. client: go/ephemeral/user_ek.go:fetchUserEKStatement
func userEK(c *call) (any, error) {
	uids, err := c.uidList("uids", usersPerQuestionMax)
	if err != nil {
		return nil, err
	}
	sigs := map[string]string{}
	for _, u := range uids {
		ek, err := keyboxes.NewestUserEK(c.view(), u)
		if err != nil {
			return nil, err
		}
		if ek != nil {
			sigs[u.String()] = ek.Sig
		}
	}
	return struct {
		Sigs map[string]string `json:"sigs"`
	}{sigs}, nil
}

// userEKBatch: POST user/get_user_ek_batch. Here a user without a key is null.
// client: go/ephemeral/user_ek.go:fetchUserEKStatements
func userEKBatch(c *call) (any, error) {
	uids, err := c.uidList("uids", usersPerQuestionMax)
	if err != nil {
		return nil, err
	}
	sigs := map[string]*string{}
	for _, u := range uids {
		ek, err := keyboxes.NewestUserEK(c.view(), u)
		if err != nil {
			return nil, err
		}
		sigs[u.String()] = nil
		if ek != nil {
			sigs[u.String()] = &ek.Sig
		}
	}
	return struct {
		Sigs map[string]*string `json:"sigs"`
	}{sigs}, nil
}

// userEKBox: GET user/user_ek_box.
// client: go/ephemeral/user_ek_box_storage.go:UserEKBoxStorage.fetchAndStore
func userEKBox(c *call) (any, error) {
	generation, err := c.integer("generation", 0)
	if err != nil {
		return nil, err
	}
	d, err := c.dev("recipient_device_id")
	if err != nil {
		return nil, err
	}
	type result struct {
		Box                string `json:"box"`
		DeviceEKGeneration int    `json:"device_ek_generation"`
		Sig                string `json:"sig"`
	}
	reply := struct {
		Result *result `json:"result"`
	}{}
	if generation < 1 {
		return reply, nil
	}
	box, ek, err := keyboxes.GetUserEKBox(c.view(), c.who.UID, int(generation), d)
	if err != nil || ek == nil {
		return reply, err
	}
	if box == nil {
		return reply, c.cameAfter(d, ek)
	}
	reply.Result = &result{box.Box, box.DeviceEKGeneration, ek.Sig}
	return reply, nil
}

// cameAfter refuses a device that was added only after a key was made: it will never have
// it. client: go/ephemeral/errors.go:newEphemeralKeyErrorFromStatus
func (c *call) cameAfter(d kbsig.DeviceID, ek *keyboxes.UserEK) error {
	st, err := identity.Chain(c.view(), c.who.UID)
	if err != nil {
		return err
	}
	if dev, ok := st.Device(d); ok && ek.Link > 0 && dev.AddedAt > ek.Link {
		return status.New(status.EKDeviceAfter, "EPHEMERAL_DEVICE_AFTER_EK", "this device was added after the key was made")
	}
	return nil
}
