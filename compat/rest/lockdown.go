package rest

import (
	"github.com/keystead/keystead/compat/auth"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
)

// Lockdown mode keeps the account from those who have its password and no device. A
// stock client never needs what is locked: it asks with a device's token, or in a
// session that a device of the account asked for. The password alone still lets it
// unlock a device that it is on, add one with the help of another device or of a
// synced key (the link must be signed by a key of the account), begin anew on an
// account without devices, and reset one through the waiting time.
// client: go/client/cmd_account_lockdown.go:NewCmdAccountLockdown

// errLocked is the answer to what lockdown mode keeps from a session of the password.
var errLocked = status.New(status.Generic, "LOCKDOWN", "this account is in lockdown mode, and this needs one of its devices")

// locked are the endpoints that lockdown mode keeps from sessions of the password, by
// method.
var locked = map[string]map[string]bool{
	post: set(
		// deleting and resetting without the waiting time
		"delete", "nuke",
		// signatures
		"sig/post", "sig/multi", "sig/revoke", "follow", "key/add", "key/revoke",
		"downgrade/key", "downgrade/sig", "downgrade/team",
		// password, mail addresses, phone numbers
		"passphrase/replace", "passphrase/sign", "account/email_update_signed",
		"email/add", "email/delete", "email/set-primary", "email/send-verify", "email/set-visibility",
		"user/phone_numbers", "user/phone_number_verify", "user/phone_number_visibility",
		// profile and picture
		"profile-edit", "image/upload_user_avatar", "image/upload_team_avatar", "image/set_preference",
		// settings, lockdown mode first of all
		"account/lockdown", "account/contact_settings", "user/block", "user/set_blocks",
		"bot/token/create", "bot/token/delete", "kbfs/favorite/add",
	),
	"DELETE": set("user/phone_numbers"),
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// unlocked is nil unless lockdown mode keeps this request from who asks.
func (c *call) unlocked() error {
	if c.who.Kind != auth.Password || c.who.Vouched || !locked[c.route.method][c.route.name] {
		return nil
	}
	l, err := accounts.GetLockdown(c.view(), c.who.UID)
	if err == nil && l.Enabled {
		err = errLocked
	}
	return err
}

// lockdownGet: GET account/lockdown.
// client: go/service/account.go:AccountHandler.GetLockdownMode
func lockdownGet(c *call) (any, error) {
	l, err := accounts.GetLockdown(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	type change struct {
		Status bool   `json:"status"`
		CTime  int64  `json:"ctime"`
		Device string `json:"device_id"`
	}
	history := make([]change, 0, len(l.History))
	for i := len(l.History) - 1; i >= 0; i-- {
		h := l.History[i]
		row := change{Status: h.Enabled, CTime: h.Time}
		if h.Device != (kbsig.DeviceID{}) {
			row.Device = h.Device.String()
		}
		history = append(history, row)
	}
	return struct {
		Enabled bool     `json:"enabled"`
		History []change `json:"history"`
	}{l.Enabled, history}, nil
}

// lockdownSet: POST account/lockdown.
// client: go/service/account.go:AccountHandler.SetLockdownMode
func lockdownSet(c *call) (any, error) {
	enabled, err := parsed(c, "enabled", parseFlag)
	if err != nil {
		return nil, err
	}
	return none{}, c.update(func(tx *store.Tx) error {
		return accounts.SetLockdown(tx, c.who.UID, enabled, c.who.DeviceID)
	})
}

// parseFlag reads a boolean that must be there. client: go/libkb/http.go:B
func parseFlag(s string) (bool, error) {
	switch s {
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, status.Input("neither 0 nor 1")
}
