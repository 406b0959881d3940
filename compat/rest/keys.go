package rest

import (
	"encoding/hex"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// keyMultiBodyMax bounds a key/multi body, in bytes: three links of a few KiB each
// and a box per device.
const keyMultiBodyMax = 512 << 10

// linkJSON is one link as key/multi and sig/multi carry it: flattened form values,
// so all strings. client: go/libkb/delegatekey.go:Delegator.post
type linkJSON struct {
	Sig           string `json:"sig"`
	SigInner      string `json:"sig_inner"`
	SigningKID    string `json:"signing_kid"`
	Type          string `json:"type"`
	SigIDBase     string `json:"sig_id_base"`
	SigIDShort    string `json:"sig_id_short"`
	PublicKey     string `json:"public_key"`
	EldestKID     string `json:"eldest_kid"`
	IsPrimary     string `json:"is_primary"`
	NewEldest     string `json:"new_eldest"`
	IsRemoteProof string `json:"is_remote_proof"`
	IsUpdate      string `json:"is_update"`
	PrivateKey    string `json:"private_key"`
	PublicKeys    *struct {
		Signing    string `json:"signing"`
		Encryption string `json:"encryption"`
	} `json:"public_keys"`
}

func (l linkJSON) posted() sigchain.Posted {
	p := sigchain.Posted{
		Sig: l.Sig, SigInner: l.SigInner, SigningKID: l.SigningKID, Type: l.Type,
		SigIDBase: l.SigIDBase, SigIDShort: l.SigIDShort, PublicKey: l.PublicKey,
		EldestKID: l.EldestKID, IsPrimary: l.IsPrimary, NewEldest: l.NewEldest,
		IsRemoteProof: l.IsRemoteProof, IsUpdate: l.IsUpdate,
	}
	if l.PublicKeys != nil {
		p.PublicSigning, p.PublicEncrypt = l.PublicKeys.Signing, l.PublicKeys.Encryption
	}
	return p
}

// parseLinks reads and verifies posted links; this is most of a post's work.
func parseLinks(in []linkJSON) ([]*sigchain.Link, error) {
	if len(in) == 0 || len(in) > 16 {
		return nil, status.Input("sigs must hold 1 to 16 links")
	}
	out := make([]*sigchain.Link, len(in))
	for i, l := range in {
		var err error
		if out[i], err = sigchain.Parse(l.posted()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type pukBoxJSON struct {
	Generation  int64  `json:"generation"`
	Box         string `json:"box"`
	ReceiverKID string `json:"receiver_kid"`
}

type keyMultiJSON struct {
	Sigs []linkJSON `json:"sigs"`
	PUK  *struct {
		Generation int64        `json:"generation"`
		Boxes      []pukBoxJSON `json:"boxes"`
		Prev       string       `json:"prev"`
	} `json:"per_user_key"`
	UserEK *struct {
		Sig   string          `json:"sig"`
		Boxes []userEKBoxJSON `json:"boxes"`
	} `json:"user_ek"`
	UserEKRebox *userEKBoxJSON    `json:"user_ek_rebox"`
	DeviceEKs   map[string]string `json:"device_eks"`
	Lease       string            `json:"downgrade_lease_id"`
	Stellar     *walletJSON       `json:"stellar"`
}

// keyMulti: POST key/multi: links of one chain, in order and all or nothing, with
// the boxes that belong to them.
// client: go/libkb/delegatekeyaggregator.go:DelegatorAggregator
func keyMulti(c *call) (any, error) {
	var req keyMultiJSON
	if err := c.body(&req); err != nil {
		return nil, err
	}
	if req.isNothing() {
		return none{}, nil
	}
	p, err := req.post()
	if err != nil {
		return nil, err
	}
	if req.Stellar != nil {
		w := c.wallet(req.Stellar)
		p.Wallet = &w
	}
	ctx, cancel := c.context()
	defer cancel()
	if err := c.s.Identity.Post(ctx, c.who.UID, p); err != nil {
		return nil, walletFault(err)
	}
	for _, l := range p.Links {
		if l.Revoke != nil && l.Device != nil && c.s.Revoked != nil {
			c.s.Revoked(c.who.UID, l.Device.ID)
		}
	}
	return none{}, nil
}

// isNothing reports a list of no links, and nothing beside it: there is nothing to do.
// client: go/service/apiserver_test.go:TestAPIServerPostJSON
func (m *keyMultiJSON) isNothing() bool {
	return m.Sigs != nil && len(m.Sigs) == 0 && m.PUK == nil && m.UserEK == nil && m.UserEKRebox == nil &&
		len(m.DeviceEKs) == 0 && m.Lease == "" && m.Stellar == nil
}

// post turns the request into named types.
func (m *keyMultiJSON) post() (p identity.Post, err error) {
	if p.Links, err = parseLinks(m.Sigs); err != nil {
		return p, err
	}
	for i, l := range m.Sigs {
		if l.PrivateKey == "" {
			continue
		}
		if p.Secret, err = secretKey(l.PrivateKey); err != nil {
			return p, err
		}
		if p.Secret.KID != p.Links[i].Key {
			return p, status.InputField("private_key", "the secret key is of another key")
		}
	}
	if m.PUK != nil {
		p.PUK = &sigchain.PUKExtra{Generation: m.PUK.Generation, Prev: m.PUK.Prev}
		for _, b := range m.PUK.Boxes {
			kid, err := kbsig.ParseKID(b.ReceiverKID)
			if err != nil {
				return p, status.Input("bad receiver_kid in a box: %v", err)
			}
			p.PUK.Boxes = append(p.PUK.Boxes, sigchain.Box{Generation: b.Generation, ReceiverKID: kid, Box: b.Box})
		}
	}
	if err := m.ephemeral(&p); err != nil {
		return p, err
	}
	p.Lease, err = leaseID(m.Lease)
	return p, err
}

func (m *keyMultiJSON) ephemeral(p *identity.Post) error {
	if m.UserEK != nil {
		ek, err := kbsig.OpenUserEK(m.UserEK.Sig)
		if err != nil {
			return status.InputField("user_ek", "not an ephemeral key statement")
		}
		boxes, err := userEKBoxes(m.UserEK.Boxes)
		if err != nil {
			return err
		}
		p.UserEK = &identity.UserEKPost{Key: ek, Boxes: boxes}
	}
	if m.UserEKRebox != nil {
		boxes, err := userEKBoxes([]userEKBoxJSON{*m.UserEKRebox})
		if err != nil {
			return err
		}
		p.UserEKRebox = &boxes[0]
	}
	if len(m.DeviceEKs) > 16 {
		return status.Input("too many device_eks")
	}
	for id, sig := range m.DeviceEKs {
		d, err := kbsig.ParseDeviceID(id)
		if err != nil {
			return status.Input("bad device in device_eks: %v", err)
		}
		ek, err := kbsig.OpenDeviceEK(sig)
		if err != nil {
			return status.InputField("device_eks", "not an ephemeral key statement")
		}
		if p.DeviceEKs == nil {
			p.DeviceEKs = make(map[kbsig.DeviceID]*kbsig.EphemeralKey)
		}
		p.DeviceEKs[d] = ek
	}
	return nil
}

// fetchPUKSecrets: GET key/fetch_per_user_key_secrets.
// client: go/libkb/per_user_key.go:PerUserKeyring.fetchBoxesLocked
func fetchPUKSecrets(c *call) (any, error) {
	have, err := c.integer("generation", 0)
	if err != nil {
		return nil, err
	}
	id, err := c.dev("device_id")
	if err != nil {
		return nil, err
	}
	st, err := identity.Chain(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	dev, ok := st.Device(id)
	if !ok || dev.Subkey.IsZero() {
		return nil, accounts.ErrNoDevice
	}
	box, prevs, err := keyboxes.Secrets(c.view(), c.who.UID, int(st.PUKGeneration()), int(have), dev.Subkey)
	if err != nil {
		return nil, err
	}
	type prevJSON struct {
		Ctext      string `json:"ctext"`
		Generation int    `json:"generation"`
	}
	reply := struct {
		Box   *pukBoxJSON `json:"box"`
		Prevs []prevJSON  `json:"prevs"`
	}{Prevs: []prevJSON{}}
	if box != nil {
		reply.Box = &pukBoxJSON{int64(box.Generation), box.Box, box.Receiver.String()}
	}
	for _, p := range prevs {
		reply.Prevs = append(reply.Prevs, prevJSON{p.Ciphertext, p.Generation})
	}
	return reply, nil
}

type privateKeyJSON struct {
	KID     string `json:"kid"`
	KeyType int    `json:"key_type"` // 2: P3SKB packet, private
	Bundle  string `json:"bundle"`
	MTime   int64  `json:"mtime"`
	CTime   int64  `json:"ctime"`
}

type deviceJSON struct {
	Type          string `json:"type"`
	CTime         int64  `json:"ctime"` // unix seconds
	MTime         int64  `json:"mtime"`
	Name          string `json:"name"`
	Status        int    `json:"status"`
	LKSServerHalf string `json:"lks_server_half"`
	Generation    int    `json:"passphrase_generation"`
	LastUsed      int64  `json:"last_used_time"`
}

// fetchPrivate: GET key/fetch_private: the server's halves of the local keys of all
// devices, and synced secret keys. client: go/libkb/sync_secret.go:ServerPrivateKeys
func fetchPrivate(c *call) (any, error) {
	acct, err := accounts.Get(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	st, err := identity.Chain(c.view(), acct.UID)
	if err != nil {
		return nil, err
	}
	held, err := accounts.Devices(c.view(), acct.UID)
	if err != nil {
		return nil, err
	}
	secrets, err := keyboxes.PrivateKeys(c.view(), acct.UID)
	if err != nil {
		return nil, err
	}
	devices := map[string]deviceJSON{}
	for _, d := range st.Devices {
		if d.Incarnation != st.Incarnation || st.Eldest.IsZero() {
			continue
		}
		row := deviceJSON{
			Type: string(d.Type), Name: d.Name, Status: d.Status,
			CTime: d.AddedCtime, MTime: d.AddedCtime, LastUsed: d.AddedCtime,
		}
		if h := held[d.ID]; h != nil {
			// The server may know a device before its link is made.
			row.CTime = min(row.CTime, h.CTime)
			row.MTime, row.LastUsed, row.Generation = h.MTime, h.LastUsed, h.Generation
			if h.HasHalf && d.Status == sigchain.DeviceActive {
				row.LKSServerHalf = hex.EncodeToString(h.ServerHalf[:])
			}
		}
		devices[d.ID.String()] = row
	}
	// A device that is being added reads its half before its links are posted.
	for id, h := range held {
		if _, known := devices[id.String()]; !known && h.HasHalf && !everInChain(st, id) {
			devices[id.String()] = deviceJSON{
				Type: h.Type, Status: sigchain.DeviceActive, CTime: h.CTime, MTime: h.MTime,
				LKSServerHalf: hex.EncodeToString(h.ServerHalf[:]), Generation: h.Generation, LastUsed: h.LastUsed,
			}
		}
	}
	keys := map[string]privateKeyJSON{}
	for _, k := range secrets {
		keys[k.KID.String()] = privateKeyJSON{k.KID.String(), 2, k.Bundle, k.MTime, k.CTime}
	}
	return struct {
		Version     int64                     `json:"version"`
		MTime       int64                     `json:"mtime"`
		PrivateKeys map[string]privateKeyJSON `json:"private_keys"`
		Devices     map[string]deviceJSON     `json:"devices"`
	}{acct.PrivateVersion, acct.MTime, keys, devices}, nil
}

func everInChain(st *sigchain.State, id kbsig.DeviceID) bool {
	for _, d := range st.Devices {
		if d.ID == id {
			return true
		}
	}
	return false
}

// downgradeKey: POST downgrade/key. client: go/libkb/downgrade_leases.go:RequestDowngradeLeaseByKID
func downgradeKey(c *call) (any, error) {
	list, err := c.str("kids")
	if err != nil {
		return nil, err
	}
	var kids []kbsig.KID
	for _, s := range strings.Split(list, ",") {
		k, err := kbsig.ParseKID(s)
		if err != nil {
			return nil, status.InputField("kids", err.Error())
		}
		kids = append(kids, k)
	}
	return c.lease(kids, nil)
}

// downgradeSig: POST downgrade/sig.
func downgradeSig(c *call) (any, error) {
	list, err := c.str("sig_ids")
	if err != nil {
		return nil, err
	}
	var sigs []kbsig.SigIDBase
	for _, s := range strings.Split(list, ",") {
		id, err := kbsig.ParseSigID(s)
		if err != nil {
			return nil, status.InputField("sig_ids", err.Error())
		}
		sigs = append(sigs, id)
	}
	return c.lease(nil, sigs)
}

func (c *call) lease(kids []kbsig.KID, sigs []kbsig.SigIDBase) (any, error) {
	ctx, cancel := c.context()
	defer cancel()
	id, root, err := c.s.Identity.NewLease(ctx, c.who.UID, kids, sigs)
	if err != nil {
		return nil, err
	}
	return leaseReply(id, root), nil
}

func leaseReply(id identity.LeaseID, root *roots.Root) any {
	return struct {
		ID       string      `json:"downgrade_lease_id"`
		Seqno    kbsig.Seqno `json:"merkle_seqno"`
		HashMeta string      `json:"hash_meta"`
	}{id.String(), root.Seqno, root.HashMeta.String()}
}

// downgradeCancel: POST downgrade/cancel.
func downgradeCancel(c *call) (any, error) {
	id, err := parsed(c, "downgrade_lease_id", identity.ParseLeaseID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	return none{}, c.s.Identity.CancelLease(ctx, c.who.UID, id)
}
