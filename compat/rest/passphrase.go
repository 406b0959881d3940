package rest

import (
	"encoding/hex"
	"errors"

	"github.com/keystead/keystead/compat/auth"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// Limits of changing a passphrase.
const (
	// secretKeysMax bounds the secret keys that are sealed anew with it.
	secretKeysMax = 8
	// passphraseBodyMax bounds such a request, in bytes.
	passphraseBodyMax = 2 << 20
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

// passphraseJSON is what both ways of changing a passphrase send.
// client: go/engine/passphrase_change.go:PassphraseChange.commonArgs
type passphraseJSON struct {
	Pwh          string            `json:"pwh"`
	PwhVersion   int               `json:"pwh_version"`
	PDPKA5       string            `json:"pdpka5_kid"`
	Mask         string            `json:"lks_mask"`
	ClientHalves map[string]string `json:"lks_client_halves"`
	PrivateKeys  []string          `json:"private_keys"`

	Generation int    `json:"ppgen"`
	OldPDPKA4  string `json:"old_pdpka4"`
	OldPDPKA5  string `json:"old_pdpka5"`

	Sig        string `json:"sig"`
	SigningKID string `json:"signing_kid"`
}

// parse turns the request into named types.
func (p *passphraseJSON) parse() (c accounts.PassphraseChange, secrets []keyboxes.PrivateKey, err error) {
	if c, err = p.change(); err == nil {
		secrets, err = p.secrets()
	}
	return c, secrets, err
}

// change is the part of it about the passphrase itself.
func (p *passphraseJSON) change() (c accounts.PassphraseChange, err error) {
	if p.PwhVersion != identity.PwhVersion {
		return c, status.InputField("pwh_version", "this server wants password hashes of version 3")
	}
	for _, f := range []struct {
		name, hex string
		dst       []byte
	}{{"pwh", p.Pwh, c.Pwh[:]}, {"lks_mask", p.Mask, c.Mask[:]}} {
		b, err := hex.DecodeString(f.hex)
		if err != nil || len(b) != len(f.dst) {
			return c, status.InputField(f.name, "not 32 bytes of hex")
		}
		copy(f.dst, b)
	}
	if c.PDPKA5, err = kbsig.ParseKID(p.PDPKA5); err != nil || !c.PDPKA5.IsSigning() {
		return c, status.InputField("pdpka5_kid", "not a signing key")
	}
	c.Generation = p.Generation
	c.ClientHalves = make(map[kbsig.KID]string, len(p.ClientHalves))
	for k, half := range p.ClientHalves {
		kid, err := kbsig.ParseKID(k)
		if err != nil {
			return c, status.InputField("lks_client_halves", "bad key id")
		}
		box, err := kbsig.DecodeArmoredEncryption(half)
		if err != nil || box.Receiver != kid {
			return c, status.InputField("lks_client_halves", "not encrypted to the key named")
		}
		c.ClientHalves[kid] = half
	}
	return c, nil
}

// secrets are the secret keys that the server keeps, sealed with the new passphrase.
func (p *passphraseJSON) secrets() ([]keyboxes.PrivateKey, error) {
	if len(p.PrivateKeys) > secretKeysMax {
		return nil, status.InputField("private_keys", "too many secret keys")
	}
	var out []keyboxes.PrivateKey
	for _, armored := range p.PrivateKeys {
		k, err := secretKey(armored)
		if err != nil {
			return nil, err
		}
		if k == nil {
			return nil, status.InputField("private_keys", "an empty secret key")
		}
		out = append(out, *k)
	}
	return out, nil
}

// passphraseReplace: POST passphrase/replace: a new passphrase by somebody who knows
// the old one. client: go/engine/passphrase_change.go:runStandardUpdate
func passphraseReplace(c *call) (any, error) {
	var req passphraseJSON
	if err := c.body(&req); err != nil {
		return nil, err
	}
	change, secrets, err := req.parse()
	if err != nil {
		return nil, err
	}
	acct, err := accounts.Get(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	if err := c.s.Auth.CheckLogin(acct, req.OldPDPKA4, req.OldPDPKA5); err != nil {
		if errors.Is(err, auth.ErrWrongPassword) {
			return nil, status.New(status.BadLoginPassword, "BAD_LOGIN_PASSWORD", "the old password is wrong")
		}
		return nil, err
	}
	change.Keep = c.who.Session
	ctx, cancel := c.context()
	defer cancel()
	return none{}, c.s.Identity.ReplacePassphrase(ctx, c.who.UID, change, secrets)
}

// passphraseSign: POST passphrase/sign: a new passphrase on the word of a device or a
// paper key. client: go/engine/passphrase_change.go:forceUpdatePassphrase
func passphraseSign(c *call) (any, error) {
	var req passphraseJSON
	if err := c.body(&req); err != nil {
		return nil, err
	}
	change, secrets, err := req.parse()
	if err != nil {
		return nil, err
	}
	kid, err := kbsig.ParseKID(req.SigningKID)
	if err != nil {
		return nil, status.InputField("signing_kid", err.Error())
	}
	statement, err := sigchain.ParsePassphraseStatement(req.Sig, kid)
	if err != nil {
		return nil, err
	}
	change.Keep = c.who.Session
	ctx, cancel := c.context()
	defer cancel()
	return none{}, c.s.Identity.SignPassphrase(ctx, c.who.UID, change, statement, secrets)
}
