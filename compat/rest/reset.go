package rest

import (
	"errors"

	"github.com/keystead/keystead/compat/auth"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// nuke: POST nuke: the account is reset at once by somebody who knows its password.
// client: go/libkb/reset_delete.go:ResetAccount
func nuke(c *call) (any, error) {
	check, err := c.mayEnd(sigchain.KindReset)
	if err != nil {
		return nil, err
	}
	return none{}, c.endIncarnation(identity.ResetRequest{UID: c.who.UID, Kind: sigchain.KindReset, Session: c.session(), Check: check})
}

// deleteAccount: POST delete, for ever. client: go/libkb/reset_delete.go:DeleteAccount
func deleteAccount(c *call) (any, error) {
	check, err := c.mayEnd(sigchain.KindDelete)
	if err != nil {
		return nil, err
	}
	return none{}, c.endIncarnation(identity.ResetRequest{UID: c.who.UID, Kind: sigchain.KindDelete, Session: c.session(), Check: check})
}

// mayEnd checks the proof of the password, or, where nobody knows a password and the
// account is to be deleted, that one of its devices asks. What was proved must still be
// true in the transaction.
func (c *call) mayEnd(kind sigchain.ResetKind) (func(*store.Tx, *accounts.Account) error, error) {
	acct, err := accounts.Get(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	wrong := status.New(status.BadLoginPassword, "BAD_LOGIN_PASSWORD", "this needs the password of the account")
	if !c.has("pdpka4") && !c.has("pdpka5") {
		if kind != sigchain.KindDelete || c.who.Kind != auth.Device || !acct.RandomPW {
			return nil, wrong
		}
		return func(tx *store.Tx, now *accounts.Account) error {
			kid, err := accounts.ActiveKID(tx, now.UID, c.who.DeviceID)
			if err == nil && (kid != c.who.KID || !now.RandomPW) {
				err = wrong
			}
			return err
		}, nil
	}
	if err := c.s.Auth.CheckLogin(acct, c.raw("pdpka4"), c.raw("pdpka5")); err != nil {
		if errors.Is(err, auth.ErrWrongPassword) {
			return nil, wrong
		}
		return nil, err
	}
	return func(_ *store.Tx, now *accounts.Account) error {
		if now.PDPKA5 != acct.PDPKA5 || now.PDPKA4 != acct.PDPKA4 {
			return wrong
		}
		return nil
	}, nil
}

// session is the password session that asks; nil if a device does.
func (c *call) session() *accounts.SessionTokens {
	if c.who.Kind != auth.Password {
		return nil
	}
	return &accounts.SessionTokens{
		Session: string(c.http.Request.Header.Peek("X-Keybase-Session")),
		CSRF:    string(c.http.Request.Header.Peek("X-CSRF-Token")),
	}
}

// endIncarnation resets or deletes an account and cuts off its devices.
func (c *call) endIncarnation(req identity.ResetRequest) error {
	ctx, cancel := c.context()
	defer cancel()
	ended, err := c.s.Identity.Reset(ctx, req)
	if err != nil {
		return err
	}
	c.s.cutOff(req.UID, ended)
	return nil
}

// cutOff ends the connections of devices that are no more.
func (s *Server) cutOff(u kbsig.UID, devices []kbsig.DeviceID) {
	if s.Revoked == nil {
		return
	}
	for _, d := range devices {
		s.Revoked(u, d)
	}
}
