package rest

import (
	"encoding/hex"
	"errors"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// lookupNamesMax bounds the names of one look-up.
const lookupNamesMax = 100

// userJSON is a user object. client: go/libkb/user.go:NewUserFromServer
type userJSON struct {
	ProofsSummary *proofsSummary `json:"proofs_summary,omitempty"`
	RemoteProofs  *remoteProofs  `json:"remote_proofs,omitempty"`

	ID         string            `json:"id"`
	Basics     userBasics        `json:"basics"`
	Profile    *userProfile      `json:"profile,omitempty"`
	PublicKeys *userKeys         `json:"public_keys,omitempty"`
	Sigs       *userSigs         `json:"sigs,omitempty"`
	Pictures   map[string]string `json:"pictures,omitempty"`
	// Currencies is by family of currencies. Stellar is there for those who have it.
	Currencies map[string][]userCurrency `json:"cryptocurrency_addresses,omitempty"`
	Stellar    *userStellar              `json:"stellar,omitempty"`
}

// userCurrency is an address that a user's chain names.
type userCurrency struct {
	Address string `json:"address"`
	SigID   string `json:"sig_id"`
}

// userStellar is the wallet that a user's chain names.
type userStellar struct {
	Hidden  bool `json:"hidden"`
	Primary struct {
		AccountID string `json:"account_id"`
	} `json:"primary"`
}

type userBasics struct {
	Username             string `json:"username"`
	UsernameCased        string `json:"username_cased"`
	Status               int    `json:"status"`
	IDVersion            int64  `json:"id_version"`
	TrackVersion         int64  `json:"track_version"`
	LastIDChange         int64  `json:"last_id_change"`
	EldestSeqno          int64  `json:"eldest_seqno"`
	PassphraseGeneration int    `json:"passphrase_generation"`
	Salt                 string `json:"salt"`
	CTime                int64  `json:"ctime"`
	MTime                int64  `json:"mtime"`
}

type userProfile struct {
	FullName string `json:"full_name"`
	Location string `json:"location"`
	Bio      string `json:"bio"`
}

// userKeys lists keys. Clients read all_bundles; machine look-ups read the others.
type userKeys struct {
	AllBundles    []string `json:"all_bundles"`
	EldestKID     *string  `json:"eldest_kid"`
	Sibkeys       []string `json:"sibkeys"`
	Subkeys       []string `json:"subkeys"`
	PGPPublicKeys []string `json:"pgp_public_keys"`
	// Primary is what tools encrypt to for a user of whom they know the name only.
	Primary *pgpKeyJSON `json:"primary"`
}

type userSigs struct {
	Last struct {
		Seqno       int64  `json:"seqno"`
		PayloadHash string `json:"payload_hash"`
		SigID       string `json:"sig_id"`
	} `json:"last"`
}

// userObject builds the object of one user.
func (c *call) userObject(acct *accounts.Account) (*userJSON, error) {
	st, err := identity.Chain(c.view(), acct.UID)
	if err != nil {
		return nil, err
	}
	u := &userJSON{
		ID: acct.UID.String(),
		Basics: userBasics{
			Username: string(acct.Name), UsernameCased: acct.Cased, Status: acct.Status,
			IDVersion: acct.IDVersion, TrackVersion: acct.TrackVersion, LastIDChange: acct.LastIDChange,
			EldestSeqno: int64(st.EldestSeqno), PassphraseGeneration: acct.Generation,
			Salt: hex.EncodeToString(acct.Salt[:]), CTime: acct.CTime, MTime: acct.MTime,
		},
		Profile: &userProfile{acct.FullName, acct.Location, acct.Bio},
		PublicKeys: &userKeys{
			AllBundles: []string{}, Sibkeys: []string{}, Subkeys: []string{}, PGPPublicKeys: []string{},
		},
		Sigs: &userSigs{},
	}
	for _, k := range st.Keys {
		if !pgp.IsKID(k.KID) {
			u.PublicKeys.AllBundles = append(u.PublicKeys.AllBundles, k.KID.String())
		}
		switch {
		case !st.KeyActive(k):
		case k.Role != sigchain.RoleSubkey:
			u.PublicKeys.Sibkeys = append(u.PublicKeys.Sibkeys, k.KID.String())
		default:
			u.PublicKeys.Subkeys = append(u.PublicKeys.Subkeys, k.KID.String())
		}
	}
	if err := c.addPGP(u.PublicKeys, st); err != nil {
		return nil, err
	}
	if !st.Eldest.IsZero() {
		s := st.Eldest.String()
		u.PublicKeys.EldestKID = &s
	}
	for _, a := range st.Currencies {
		if u.Currencies == nil {
			u.Currencies = map[string][]userCurrency{}
		}
		family := a.Kind.Family()
		u.Currencies[family] = append(u.Currencies[family], userCurrency{a.Address, a.SigID.SigID()})
	}
	if st.Wallet != nil {
		u.Stellar = &userStellar{}
		u.Stellar.Primary.AccountID = st.Wallet.Address
	}
	if u.Sigs.Last.Seqno = int64(st.Tail); st.Tail > 0 {
		u.Sigs.Last.PayloadHash, u.Sigs.Last.SigID = st.TailLink.String(), st.TailSig.SigID()
	}
	return u, c.addProofs(u, acct.UID)
}

// userLookup: GET user/lookup, in its two forms: several users as an array, for
// resolvers, or one by uid as an object, for loaders.
// client: go/libkb/resolve.go:resolveURLViaServerLookup, go/libkb/loaduser.go:LoadUserFromServer
func userLookup(c *call) (any, error) {
	if c.has("uid") && !c.has("multi") {
		uid, err := c.uid("uid")
		if err != nil {
			return nil, err
		}
		return c.lookupOne(accounts.Get(c.view(), uid))
	}
	if c.has("username") && !c.has("multi") {
		n, err := kbsig.ParseUsername(c.raw("username"))
		if err != nil {
			return nil, status.Missing("user")
		}
		return c.lookupOne(accounts.ByName(c.view(), n))
	}
	them, err := c.lookupMany()
	if err != nil {
		return nil, err
	}
	return struct {
		Them []*userJSON `json:"them"`
	}{them}, nil
}

func (c *call) lookupOne(acct *accounts.Account, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if err := c.wantsDeleted(acct); err != nil {
		return nil, err
	}
	u, err := c.userObject(acct)
	if err != nil {
		return nil, err
	}
	return struct {
		Them *userJSON `json:"them"`
	}{u}, nil
}

// lookupMany answers a resolver, or a machine that asks for several names at once and
// gets a row for each, null if there is nobody. To a resolver a name or an id that nobody
// has is NOT_FOUND; that nobody has proven something is an empty list, since that is
// what may be invited to a team. client: go/libkb/resolve.go:resolveURLViaServerLookup
func (c *call) lookupMany() ([]*userJSON, error) {
	if c.has("usernames") {
		return c.lookupRows(strings.Split(c.raw("usernames"), ","))
	}
	var acct *accounts.Account
	var err error
	switch {
	case c.has("uid"):
		uid, perr := c.uid("uid")
		if perr != nil {
			return nil, perr
		}
		acct, err = accounts.Get(c.view(), uid)
	case c.has("key_fingerprint") || c.has("key_suffix"):
		return c.lookupPGP(c.raw("key_fingerprint") + c.raw("key_suffix"))
	case c.has("username"):
		n, perr := kbsig.ParseUsername(c.raw("username"))
		if perr != nil {
			return nil, status.Missing("user")
		}
		acct, err = accounts.ByName(c.view(), n)
	default:
		var asked bool
		acct, asked, err = c.byProof()
		switch {
		case err == nil && !asked:
			return nil, status.Missing("user")
		case err == nil && acct == nil:
			return []*userJSON{}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if err := c.wantsDeleted(acct); err != nil {
		return nil, err
	}
	u, err := c.userObject(acct)
	return []*userJSON{u}, err
}

// wantsDeleted refuses a deleted account to those who have not said that they know what
// to do with one. client: go/libkb/resolve.go:resolveURLViaServerLookup (load_deleted_v2),
// go/libkb/loaduser.go:LoadUserFromServer (load_deleted)
func (c *call) wantsDeleted(acct *accounts.Account) error {
	if acct.Status == accounts.StatusDeleted && !c.flag("load_deleted") && !c.flag("load_deleted_v2") {
		return status.New(status.Deleted, "DELETED", "the account "+string(acct.Name)+" has been deleted")
	}
	return nil
}

func (c *call) lookupRows(names []string) ([]*userJSON, error) {
	if len(names) > lookupNamesMax {
		return nil, status.Input("too many names, at most %d", lookupNamesMax)
	}
	rows := make([]*userJSON, len(names))
	for i, raw := range names {
		n, err := kbsig.ParseUsername(raw)
		if err != nil {
			continue
		}
		acct, err := accounts.ByName(c.view(), n)
		if errors.Is(err, accounts.ErrNoUser) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if c.wantsDeleted(acct) != nil {
			continue
		}
		if rows[i], err = c.userObject(acct); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// userNames: POST user/names. Unknown users are left out.
// client: go/uidmap/uidmap.go:UIDMap.lookupFromServerBatch
func userNames(c *call) (any, error) {
	uids, err := c.uidList("uids", usersPerQuestionMax)
	if err != nil {
		return nil, err
	}
	type row struct {
		Username    string `json:"username"`
		FullName    string `json:"full_name"`
		EldestSeqno int64  `json:"eldest_seqno"`
		Status      int    `json:"status"`
	}
	users := map[string]row{}
	for _, u := range uids {
		acct, err := accounts.Get(c.view(), u)
		if errors.Is(err, accounts.ErrNoUser) {
			continue
		}
		if err != nil {
			return nil, err
		}
		eldest, err := identity.EldestSeqno(c.view(), u)
		if err != nil {
			return nil, err
		}
		users[u.String()] = row{string(acct.Name), acct.FullName, int64(eldest), acct.Status}
	}
	return struct {
		Users map[string]row `json:"users"`
	}{users}, nil
}

// keyOwnerDevice: GET key/owner/device, the first question of a paper key.
// client: go/libkb/device_with_keys.go:DeviceWithKeys.Populate
func keyOwnerDevice(c *call) (any, error) {
	kid, err := c.kid("kid")
	if err != nil {
		return nil, err
	}
	missing := status.Missing("a device with that key")
	owner, err := identity.OwnerOf(c.view(), kid)
	if err != nil {
		return nil, err
	}
	if owner == nil {
		return nil, missing
	}
	st, err := identity.Chain(c.view(), *owner)
	if err != nil {
		return nil, err
	}
	key, ok := st.Key(kid)
	if !ok || !st.KeyActive(key) {
		return nil, missing
	}
	dev, ok := st.Device(key.Device)
	if !ok {
		return nil, missing
	}
	// In devel mode tests make devices older than their links say.
	since := dev.AddedCtime
	if kept, err := accounts.GetDevice(c.view(), *owner, dev.ID); err == nil && kept.CTime < since {
		since = kept.CTime
	}
	return struct {
		UID        string `json:"uid"`
		DeviceID   string `json:"device_id"`
		DeviceName string `json:"device_name"`
		CTimeMs    int64  `json:"device_ctime"`
	}{owner.String(), dev.ID.String(), dev.Name, since * 1000}, nil
}

// userPublicKeys: GET user/keys, for servers that check tokens.
// client: go/auth/user_keys_api.go:userKeyAPI.GetUser
func userPublicKeys(c *call) (any, error) {
	acct, err := c.account()
	if err != nil {
		return nil, err
	}
	u, err := c.userObject(acct)
	if err != nil {
		return nil, err
	}
	type keys struct {
		Sibkeys []string `json:"sibkeys"`
		Subkeys []string `json:"subkeys"`
	}
	return struct {
		Username   string `json:"username"`
		PublicKeys keys   `json:"public_keys"`
		Deleted    bool   `json:"deleted"`
	}{string(acct.Name), keys{u.PublicKeys.Sibkeys, u.PublicKeys.Subkeys}, acct.Status == accounts.StatusDeleted}, nil
}
