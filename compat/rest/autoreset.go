package rest

import (
	"encoding/hex"
	"errors"
	"time"

	"github.com/keystead/keystead/compat/auth"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/autoreset"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// resetEnter: POST autoreset/enter: asks for a reset, with the password, or by name
// alone. client: go/engine/account_reset.go:AccountReset.Run
func resetEnter(c *call) (any, error) {
	uid, self, err := c.whoseReset()
	if err != nil {
		return nil, err
	}
	return none{}, c.update(func(tx *store.Tx) error { return c.s.Autoreset.Enter(tx, uid, self) })
}

// whoseReset is whose account is to be reset, and whether its password was shown.
func (c *call) whoseReset() (u kbsig.UID, self bool, err error) {
	if c.flag("self") {
		switch {
		case c.who == nil:
			return u, false, status.New(status.LoginRequired, "LOGIN_REQUIRED", "log in with the password, or ask by name")
		case c.who.Kind != auth.Password || c.who.Vouched:
			return u, false, status.Input("this device has the keys of the account; there is no need to reset it")
		}
		return c.who.UID, true, nil
	}
	name, err := parsed(c, "username", kbsig.ParseUsername)
	if err != nil {
		return u, false, err
	}
	acct, err := accounts.ByName(c.view(), name)
	if err != nil {
		return u, false, err
	}
	if acct.Status == accounts.StatusDeleted {
		return u, false, status.New(status.Deleted, "DELETED", "the account "+string(acct.Name)+" has been deleted")
	}
	return acct.UID, false, nil
}

// resetStatus: GET autoreset/status.
// client: go/engine/account_reset.go:AccountReset.loadResetStatus
func resetStatus(c *call) (any, error) {
	type reply struct {
		ID        *string         `json:"reset_id"`
		EventTime string          `json:"event_time,omitempty"`
		Delay     int64           `json:"delay_secs"`
		Event     autoreset.Event `json:"event_type"`
		HasWallet bool            `json:"has_wallet"`
	}
	r, err := autoreset.Get(c.view(), c.who.UID)
	if errors.Is(err, autoreset.ErrNone) {
		return reply{}, nil
	}
	if err != nil {
		return nil, err
	}
	wallet, err := keyboxes.LoadWallet(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	id := hex.EncodeToString(r.ID[:])
	return reply{HasWallet: wallet.Revision > 0, ID: &id, EventTime: time.Unix(r.Since, 0).UTC().Format(time.RFC3339), Delay: r.Delay, Event: r.Event}, nil
}

// resetCancel: POST autoreset/cancel, from any device or with the password.
// client: go/libkb/reset_delete.go:CancelResetPipeline
func resetCancel(c *call) (any, error) {
	return none{}, c.update(func(tx *store.Tx) error { return c.s.Autoreset.Cancel(tx, c.who.UID) })
}

// resetFinish: POST autoreset/reset: does what has waited long enough. The session goes
// on: with it the client adds a first device.
// client: go/engine/account_reset.go:AccountReset.resetPrompt
func resetFinish(c *call) (any, error) {
	session := c.session()
	if session == nil {
		return nil, status.Input("this device has the keys of the account; there is no need to reset it")
	}
	return none{}, c.endIncarnation(identity.ResetRequest{
		UID: c.who.UID, Kind: sigchain.KindReset, Session: session, Keep: true,
		Check: func(tx *store.Tx, _ *accounts.Account) error { return c.s.Autoreset.Take(tx, c.who.UID) },
	})
}

// The rest is for tests, in devel mode only.

// resetTravel: POST autoreset/timetravel: moves a waiting reset towards its end.
// client: go/service/account.go:AccountHandler.TimeTravelReset
func resetTravel(c *call) (any, error) {
	seconds, err := c.integer("duration_sec", 0)
	if err != nil {
		return nil, err
	}
	if seconds > int64(autoreset.TravelMax/time.Second) {
		return nil, status.InputField("duration_sec", "that is too far")
	}
	var uid kbsig.UID
	if c.has("username") {
		name, err := parsed(c, "username", kbsig.ParseUsername)
		if err != nil {
			return nil, err
		}
		uid = kbsig.UIDOf(name)
	} else if c.who != nil {
		uid = c.who.UID
	} else {
		return nil, status.InputField("username", "the argument username is missing")
	}
	return none{}, c.update(func(tx *store.Tx) error {
		return c.s.Autoreset.Travel(tx, uid, time.Duration(seconds)*time.Second)
	})
}

// resetProcess: POST autoreset/process_dev and test/accelerate_autoresetd: does at once
// what is due.
func resetProcess(c *call) (any, error) {
	waiting, err := autoreset.Waiting(c.view())
	if err != nil {
		return nil, err
	}
	for _, u := range waiting {
		if err := c.update(func(tx *store.Tx) error { return c.s.Autoreset.Move(tx, u) }); err != nil {
			return nil, err
		}
	}
	return none{}, nil
}

// resetStatusDevel: GET autoreset/status_dev: how far the reset of any user has come.
func resetStatusDevel(c *call) (any, error) {
	uid, err := c.uid("uid")
	if err != nil {
		return nil, err
	}
	type state struct {
		Type autoreset.Event `json:"type"`
	}
	var reply struct {
		Autoreset *state `json:"autoreset"`
	}
	switch r, err := autoreset.Get(c.view(), uid); {
	case err == nil:
		reply.Autoreset = &state{r.Event}
	case !errors.Is(err, autoreset.ErrNone):
		return nil, err
	}
	return reply, nil
}
