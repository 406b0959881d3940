package client

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
)

// newPassword are the arguments that both ways of changing the password share.
// client: go/engine/passphrase_change.go:PassphraseChange.commonArgs
func (a *Account) newPassword(ctx context.Context, next *Stream) (map[string]any, error) {
	if err := a.Reload(ctx); err != nil {
		return nil, err
	}
	mask := make([]byte, len(next.ClientHalf()))
	for i, b := range next.ClientHalf() {
		mask[i] = b ^ a.Stream.ClientHalf()[i]
	}
	halves := make(map[string]any)
	for _, d := range a.Me.Family.ActiveDevices() {
		box, err := SealAnonymous(a.Server().Random, next.ClientHalf(), d.DH)
		if err != nil {
			return nil, err
		}
		halves[d.DH.String()] = box.Armor()
	}
	return map[string]any{
		"pwh": hex.EncodeToString(next.PasswordHash()), "pwh_version": passphraseVersion,
		"pdpka5_kid": next.LoginKID().String(), "lks_mask": hex.EncodeToString(mask),
		"lks_client_halves": halves, "private_keys": nil,
	}, nil
}

// ChangePassword puts next in place of the password, which the account knows.
// client: go/engine/passphrase_change.go:runStandardUpdate
func (a *Account) ChangePassword(ctx context.Context, next *Stream) error {
	loginSession, err := a.getSalt(ctx)
	if err != nil {
		return err
	}
	proofs, err := a.loginProofs(loginSession)
	if err != nil {
		return err
	}
	body, err := a.newPassword(ctx, next)
	if err != nil {
		return err
	}
	body["ppgen"] = a.Generation
	body["old_pdpka4"], body["old_pdpka5"] = proofs.Get("pdpka4"), proofs.Get("pdpka5")
	return a.postPassword(ctx, "passphrase/replace", body, next, a.credential())
}

// RecoverHalf asks for the password half that the server keeps for a device and makes
// it the account's, of whose password nothing else is known then.
func (a *Account) RecoverHalf(ctx context.Context, d *Device) error {
	return a.recoverClientHalf(ctx, d)
}

// RecoverPassword puts next in place of the password on the word of device d, which
// knows the old one's half only from what the server keeps for it.
// client: go/engine/passphrase_change.go:runForcedUpdate
func (a *Account) RecoverPassword(ctx context.Context, d *Device, next *Stream) error {
	if err := a.RecoverHalf(ctx, d); err != nil {
		return err
	}
	body, err := a.newPassword(ctx, next)
	if err != nil {
		return err
	}
	b, err := a.newBatch(ctx)
	if err != nil {
		return err
	}
	l, err := b.sign(&LinkSpec{Type: "update_passphrase_hash", Version: 1, Signer: d.Sig, Body: map[string]any{
		"update_passphrase_hash": map[string]any{
			"hash": body["pwh"], "pdpka5_kid": body["pdpka5_kid"], "version": passphraseVersion,
			"passphrase_generation": a.Generation + 1,
		},
	}})
	if err != nil {
		return fmt.Errorf("sign the password: %w", err)
	}
	body["sig"], body["signing_kid"] = b64(l.Packet), d.Sig.KID().String()
	return a.postPassword(ctx, "passphrase/sign", body, next, a.NIST(d))
}

func (a *Account) postPassword(ctx context.Context, endpoint string, body map[string]any, next *Stream, c Credential) error {
	if a.EditPost != nil {
		a.EditPost(endpoint, body)
	}
	_, err := a.insist(func() (*Reply, error) { return a.Server().PostJSON(ctx, endpoint, body, c) })
	if err != nil {
		return err
	}
	a.Stream = next
	a.Generation++
	return nil
}

// RepairClientHalf gives the server the password half for a device again.
// client: go/libkb/bug_3964_repairman.go:fixLKSClientHalf
func (a *Account) RepairClientHalf(ctx context.Context, d *Device) error {
	box, err := SealAnonymous(a.Server().Random, a.Stream.ClientHalf(), d.Enc.KID())
	if err != nil {
		return err
	}
	_, err = a.postForm(ctx, "device/update_lks_client_half", url.Values{
		"ppgen": {strconv.Itoa(a.Generation)}, "kid": {d.Enc.KID().String()}, "lks_client_half": {box.Armor()},
	}, a.NIST(d))
	return err
}

// LockdownChange is one row of the history of lockdown mode.
type LockdownChange struct {
	Enabled bool   `json:"status"`
	Time    int64  `json:"ctime"` // unix milliseconds
	Device  string `json:"device_id"`
}

// Lockdown asks for lockdown mode and its history.
// client: go/service/account.go:AccountHandler.GetLockdownMode
func (a *Account) Lockdown(ctx context.Context) (enabled bool, history []LockdownChange, err error) {
	reply, err := a.Server().Get(ctx, "account/lockdown", nil, a.credential())
	if err != nil {
		return false, nil, err
	}
	if err := reply.into("enabled", &enabled); err != nil {
		return false, nil, err
	}
	return enabled, history, reply.into("history", &history)
}

// SetLockdown switches lockdown mode.
// client: go/service/account.go:AccountHandler.SetLockdownMode
func (a *Account) SetLockdown(ctx context.Context, enabled bool) error {
	v := "0"
	if enabled {
		v = "1"
	}
	_, err := a.postForm(ctx, "account/lockdown", url.Values{"enabled": {v}}, a.credential())
	return err
}
