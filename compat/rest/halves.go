package rest

import (
	"bytes"
	"encoding/hex"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/observe"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
)

// Clients once kept secret keys under a local key made with another device's server
// half. Who finds such a key encrypts it anew, gives the server its password half again
// and reports which halves it had used.
// client: go/libkb/bug_3964_repairman.go

// repairedHalvesMax bounds the halves of one report: there is one for each device.
const repairedHalvesMax = 500

// updateClientHalf: POST device/update_lks_client_half.
// client: go/libkb/bug_3964_repairman.go:fixLKSClientHalf
func updateClientHalf(c *call) (any, error) {
	kid, err := c.kid("kid")
	if err != nil {
		return nil, err
	}
	half, err := parsed(c, "lks_client_half", func(s string) (string, error) {
		box, err := kbsig.DecodeArmoredEncryption(s)
		if err != nil || box.Receiver != kid {
			return "", status.Input("not encrypted to the key named")
		}
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	generation, err := c.integer("ppgen", 0)
	if err != nil {
		return nil, err
	}
	return none{}, c.update(func(tx *store.Tx) error {
		st, err := identity.Chain(tx, c.who.UID)
		if err != nil {
			return err
		}
		for _, k := range st.ActiveEncryptionKIDs() {
			if k == kid {
				return accounts.UpdateClientHalf(tx, c.who.UID, kid, half, int(generation))
			}
		}
		return accounts.ErrNoDevice
	})
}

// repairReport: POST user/bug_3964_repair: a device reports the server halves of other
// devices that it had used. By then it has repaired itself, and nothing is left to change
// here; the operator reads of it in the log.
// client: go/libkb/bug_3964_repairman.go:postToServer
func repairReport(c *call) (any, error) {
	id, err := c.dev("device_id")
	if err != nil {
		return nil, err
	}
	acct, err := accounts.Get(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	if n, err := c.integer("ppgen", 0); err != nil || n != int64(acct.Generation) {
		return nil, status.InputField("ppgen", "not the generation of the passphrase")
	}
	devices, err := accounts.Devices(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	if devices[id] == nil {
		return nil, accounts.ErrNoDevice
	}
	list, err := c.str("lks_server_halves")
	if err != nil {
		return nil, err
	}
	halves := strings.Split(list, ",")
	if len(halves) > repairedHalvesMax {
		return nil, status.InputField("lks_server_halves", "too many")
	}
	for _, h := range halves {
		if !isServerHalf(devices, h) {
			return nil, status.InputField("lks_server_halves", "not the server half of a device of this account")
		}
	}
	c.s.Logger.Info("a device has repaired keys under wrong server halves", "device", id.String(), "halves", len(halves), observe.FieldEndpoint, c.route.name)
	return none{}, nil
}

func isServerHalf(devices map[kbsig.DeviceID]*accounts.Device, text string) bool {
	half, err := hex.DecodeString(text)
	if err != nil {
		return false
	}
	for _, d := range devices {
		if d.HasHalf && bytes.Equal(half, d.ServerHalf[:]) {
			return true
		}
	}
	return false
}
