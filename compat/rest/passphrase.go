package rest

import (
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
)

// passphraseRecover: GET passphrase/recover: the password half of the local key,
// encrypted to one of the caller's devices. client: go/engine/common.go:fetchLKS
func passphraseRecover(c *call) (any, error) {
	kid, err := c.kid("kid")
	if err != nil {
		return nil, err
	}
	acct, err := accounts.Get(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	devices, err := accounts.Devices(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		if d.EncKID == kid && d.ClientHalf != "" {
			return struct {
				Ctext      string `json:"ctext"`
				Generation int    `json:"passphrase_generation"`
			}{d.ClientHalf, acct.Generation}, nil
		}
	}
	return nil, status.Missing("key")
}
