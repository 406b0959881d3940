package rest

import (
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/merklehot/directory"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// keyAddBodyMax bounds a key/add form, in bytes: a PGP key, a link that names it, and
// the same key's secret half, with what forms add.
const keyAddBodyMax = 1536 << 10

// keyAdd: POST key/add: a PGP key is added, or replaced by a newer version of itself, and
// its secret half may come along, sealed with the passphrase. With the secret half alone,
// it is kept of a key that was added before.
// client: go/libkb/delegatekey.go:Delegator.post, go/engine/pgp_import_key.go:pushSecretOnly
func keyAdd(c *call) (any, error) {
	secret, err := secretKey(c.raw("private_key"))
	if err != nil {
		return nil, err
	}
	if !c.has("sig") {
		if secret == nil {
			return nil, status.Input("key/add wants sig, private_key or both")
		}
		ctx, cancel := c.context()
		defer cancel()
		return none{}, c.s.Identity.PutSecret(ctx, c.who.UID, *secret)
	}
	l, err := sigchain.Parse(linkJSON{
		Sig: c.raw("sig"), SigInner: c.raw("sig_inner"), SigningKID: c.raw("signing_kid"), Type: c.raw("type"),
		SigIDBase: c.raw("sig_id_base"), SigIDShort: c.raw("sig_id_short"), PublicKey: c.raw("public_key"),
		EldestKID: c.raw("eldest_kid"), IsPrimary: c.raw("is_primary"), NewEldest: c.raw("new_eldest"),
		IsRemoteProof: c.raw("is_remote_proof"), IsUpdate: c.raw("is_update"),
	}.posted())
	if err != nil {
		return nil, err
	}
	switch {
	case l.Bundle() == nil:
		return nil, status.InputField("public_key", "key/add takes PGP keys only")
	case secret != nil && secret.KID != l.Key:
		return nil, status.InputField("private_key", "the secret key is of another key")
	}
	return none{}, c.postLinks(identity.Post{Links: []*sigchain.Link{l}, Secret: secret})
}

// secretKey reads a secret key that a client wants kept; nil if there is none.
func secretKey(armored string) (*keyboxes.PrivateKey, error) {
	if armored == "" {
		return nil, nil
	}
	sealed, err := kbsig.DecodeArmoredSecretKey(armored)
	if err != nil {
		return nil, status.InputField("private_key", "not a secret key sealed with a passphrase")
	}
	kid, err := pgp.KIDOfPublic(sealed.Public)
	if err != nil {
		return nil, status.InputField("private_key", "not the secret key of one PGP key")
	}
	return &keyboxes.PrivateKey{KID: kid, Bundle: armored}, nil
}

// keyRevoke: POST key/revoke, by which clients of the early days had the server forget a
// key without a signature. What is in a chain goes by a signed revocation only.
// client: go/libkb/post.go:DeletePrimary
func keyRevoke(*call) (any, error) {
	return nil, status.New(status.KeyNotFound, "KEY_NOT_FOUND",
		"no key can be forgotten without a signature; use `keybase pgp drop`, which signs that the key is revoked")
}

// keySpecial: GET key/special: the keys that roots may be signed with. There is one, and
// its id is the whole key. client: go/libkb/special_keys.go:SpecialKeyRing.Load
func keySpecial(c *call) (any, error) {
	kid, err := c.kid("kid")
	if err != nil {
		return nil, err
	}
	if kid != c.roots().Root().KID {
		return nil, status.New(status.KeyNotFound, "KEY_NOT_FOUND", "no such key")
	}
	return struct {
		Bundle string `json:"bundle"`
	}{kid.String()}, nil
}

// keyBasics: GET key/basics: whose a key is, by its id, by a PGP fingerprint, or by the
// end of one. client: go/libkb/key_lookup.go:keyLookup
func keyBasics(c *call) (any, error) {
	missing := status.New(status.KeyNotFound, "KEY_NOT_FOUND", "no such key")
	found, err := c.keysAsked()
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if !c.flag("include_revoked") {
			st, err := identity.Chain(c.view(), f.UID)
			if err != nil {
				return nil, err
			}
			if k, ok := st.Key(f.KID); !ok || !st.KeyActive(k) {
				continue
			}
		}
		acct, err := accounts.Get(c.view(), f.UID)
		if err != nil {
			return nil, err
		}
		return struct {
			UID      string `json:"uid"`
			Username string `json:"username"`
			KID      string `json:"kid"`
		}{f.UID.String(), string(acct.Name), f.KID.String()}, nil
	}
	return nil, missing
}

// keysAsked finds keys by whichever name was sent.
func (c *call) keysAsked() ([]directory.PGPFound, error) {
	if end := c.raw("fingerprint") + c.raw("pgp_key_id"); end != "" {
		if len(end) < 16 {
			// Clients send key ids as numbers are written, without leading zeroes.
			end = strings.Repeat("0", 16-len(end)) + end
		}
		return directory.FindPGP(c.view(), end)
	}
	if !c.has("kid") {
		return nil, nil
	}
	kid, err := c.kid("kid")
	if err != nil {
		return nil, err
	}
	owner, err := identity.OwnerOf(c.view(), kid)
	if err != nil || owner == nil {
		return nil, err
	}
	found := []directory.PGPFound{{KID: kid, UID: *owner}}
	if !pgp.IsKID(kid) {
		return found, nil
	}
	return c.sharedPGP(found[0])
}

// sharedPGP adds the others who have added the same PGP key.
func (c *call) sharedPGP(first directory.PGPFound) ([]directory.PGPFound, error) {
	st, err := identity.Chain(c.view(), first.UID)
	if err != nil {
		return nil, err
	}
	out := []directory.PGPFound{first}
	if v, ok := st.PGPVersion(first.KID); ok {
		all, err := directory.FindPGP(c.view(), v.Fingerprint.String())
		if err != nil {
			return nil, err
		}
		out = append(out, all...)
	}
	return out, nil
}

// lookupPGP answers a resolver who asks by a fingerprint or by the end of one: those who
// have such a key now. client: go/libkb/assertion.go:AssertionFingerprint.ToLookup
func (c *call) lookupPGP(end string) ([]*userJSON, error) {
	found, err := directory.FindPGP(c.view(), end)
	if err != nil {
		return nil, err
	}
	var out []*userJSON
	seen := map[kbsig.UID]bool{}
	for _, f := range found {
		if seen[f.UID] {
			continue
		}
		st, err := identity.Chain(c.view(), f.UID)
		if err != nil {
			return nil, err
		}
		if v, ok := st.PGPVersion(f.KID); !ok || !st.ActiveSibkey(f.KID) || v.Fingerprint != f.Fingerprint {
			continue
		}
		seen[f.UID] = true
		acct, err := accounts.Get(c.view(), f.UID)
		if err != nil {
			return nil, err
		}
		u, err := c.userObject(acct)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	if len(out) == 0 {
		return nil, status.Missing("user")
	}
	return out, nil
}

// pgpKeyJSON is the PGP key that machine look-ups encrypt to.
type pgpKeyJSON struct {
	KID         string `json:"kid"`
	Fingerprint string `json:"key_fingerprint"`
	Bundle      string `json:"bundle"`
}

// addPGP adds the PGP keys to a user object: all versions that there ever were to
// all_bundles, and those that count now to the lists of people's tools.
func (c *call) addPGP(u *userKeys, st *sigchain.State) error {
	active := map[pgp.Hash]bool{}
	for _, v := range st.ActivePGP() {
		active[v.Hash] = true
	}
	return identity.Bundles(c.view(), st, func(v sigchain.PGPVersion, bundle string) {
		u.AllBundles = append(u.AllBundles, bundle)
		if !active[v.Hash] {
			return
		}
		u.PGPPublicKeys = append(u.PGPPublicKeys, bundle)
		if u.Primary == nil {
			u.Primary = &pgpKeyJSON{v.KID.String(), v.Fingerprint.String(), bundle}
		}
	})
}
