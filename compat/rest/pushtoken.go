package rest

import (
	"errors"

	"github.com/keystead/keystead/chatlog/push"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
)

// pushDevice reads whose token a request is about: the device that asks, or, with a
// password session, an active one of the caller's.
func (c *call) pushDevice() (kbsig.DeviceID, push.Way, error) {
	d, err := c.dev("device_id")
	if err != nil {
		return d, "", err
	}
	if !c.who.DeviceID.IsZero() && c.who.DeviceID != d {
		return d, "", status.InputField("device_id", "that is not the device that asks")
	}
	if _, err := accounts.ActiveKID(c.view(), c.who.UID, d); err != nil {
		return d, "", err
	}
	way, ok := push.ParseWay(c.raw("token_type"))
	if !ok {
		return d, "", status.InputField("token_type", "not a kind of push token")
	}
	return d, way, nil
}

// pushTokenSave: POST device/push_token: how the device is woken from now on.
// client: shared/constants/push.native.tsx:uploadPushToken
func pushTokenSave(c *call) (any, error) {
	d, way, err := c.pushDevice()
	if err != nil {
		return nil, err
	}
	token := push.Token{Device: d, Way: way, Token: c.raw("push_token")}
	err = c.update(func(tx *store.Tx) error { return push.Save(tx, c.who.UID, token) })
	if errors.Is(err, push.ErrToken) {
		return nil, status.InputField("push_token", "not a push token")
	}
	return none{}, err
}

// pushTokenDrop: DELETE device/push_token, before a log-out.
// client: shared/constants/push.native.tsx:deleteToken
func pushTokenDrop(c *call) (any, error) {
	d, way, err := c.pushDevice()
	if err != nil {
		return nil, err
	}
	return none{}, c.update(func(tx *store.Tx) error { return push.Drop(tx, c.who.UID, d, way) })
}
