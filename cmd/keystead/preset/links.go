package preset

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/proofs"
	"github.com/keystead/keystead/merklehot/rooter"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// expireIn is how long a link holds, in seconds. client: go/libkb/constants.go:SigExpireIn
const expireIn = 24 * 60 * 60 * 365 * 16

// batch is a post in the making: links that continue a chain.
type batch struct {
	who    person
	root   map[string]any
	ctime  int64
	eldest kbsig.KID
	tail   kbsig.Seqno
	prev   kbsig.LinkID
	post   identity.Post
}

// do does one deed and returns the chain after it.
func (m maker) do(ctx context.Context, p person, st *sigchain.State, d deed) (*sigchain.State, error) {
	root := m.rootNow()
	// The link may not be older than the root that it quotes.
	b := &batch{who: p, root: root, ctime: root["ctime"].(int64), eldest: st.Eldest, tail: st.Tail, prev: st.TailLink}
	var err error
	switch d := d.(type) {
	case begins:
		err = b.begin(d)
	case adds:
		err = b.add(d)
	case encrypts:
		err = b.pgpKey(m.rand, d)
	case proves:
		err = b.say("web_service_binding", map[string]any{"service": map[string]any{"name": d.service, "username": d.username}},
			sigchain.Posted{IsRemoteProof: "1", RemoteUsername: d.username})
	case hosts:
		err = b.say("web_service_binding", map[string]any{"service": map[string]any{"protocol": d.protocol, "hostname": d.hostname}},
			sigchain.Posted{IsRemoteProof: "1", RemoteHost: d.protocol + "//" + d.hostname})
	case follows:
		err = m.follow(b, d)
	default:
		err = errors.New("no such deed")
	}
	if err != nil {
		return nil, err
	}
	if err := m.keepDevice(ctx, p, d); err != nil {
		return nil, err
	}
	if err := m.identity.Post(ctx, kbsig.UIDOf(p.name), b.post); err != nil {
		return nil, err
	}
	return m.chain(p.name)
}

// places are where the accounts elsewhere are said to be: what the client's tests have
// recorded of these services is about links that others signed, and nobody looks.
var places = map[string]string{
	"github":  "https://gist.github.com/%s",
	"twitter": "https://twitter.com/%s/status",
	"https":   "https://%s/keybase.txt",
}

// assume has the server believe all proofs of a person.
func (m maker) assume(ctx context.Context, p person) error {
	u := kbsig.UIDOf(p.name)
	return m.store.Update(ctx, func(tx *store.Tx) error {
		list, err := proofs.List(tx, u)
		if err != nil {
			return err
		}
		changed := false
		for _, proof := range list {
			if proof.State.Holds() {
				continue
			}
			changed = true
			at, err := m.place(tx, u, proof)
			if err != nil {
				return err
			}
			if err := proofs.Assume(tx, u, proof.SigID, at); err != nil {
				return err
			}
		}
		if !changed {
			return nil
		}
		acct, err := accounts.Get(tx, u)
		if err != nil {
			return err
		}
		acct.TouchIdentity(tx.Now())
		accounts.Put(tx, acct)
		return nil
	})
}

// inner is the frame of a link. client: go/libkb/kbsig.go:ProofMetadata.ToJSON2
func (b *batch) inner(typ string, version int, signer kbsig.KID, sections map[string]any) map[string]any {
	key := map[string]any{
		"host": "keybase.io", "kid": signer.String(), "uid": kbsig.UIDOf(b.who.name).String(), "username": string(b.who.name),
	}
	if !b.eldest.IsZero() {
		key["eldest_kid"] = b.eldest.String()
	}
	body := map[string]any{"key": key, "merkle_root": b.root, "type": typ, "version": version}
	for k, v := range sections {
		body[k] = v
	}
	var prev any
	if b.tail > 0 {
		prev = b.prev.String()
	}
	return map[string]any{
		"body": body, "client": map[string]any{"name": "keystead", "version": "1"}, "ctime": b.ctime,
		"expire_in": expireIn, "prev": prev, "seqno": int64(b.tail) + 1, "tag": "signature",
	}
}

// take adds a signed link to the post.
func (b *batch) take(packet []byte, inner string, by kbsig.KID, typ string, p sigchain.Posted) error {
	p.Sig, p.SigInner, p.SigningKID, p.Type = kbsig.Armor(packet), inner, by.String(), typ
	l, err := sigchain.Parse(p)
	if err != nil {
		return fmt.Errorf("%s: %w", typ, err)
	}
	b.post.Links = append(b.post.Links, l)
	b.tail, b.prev = l.Seqno, l.ID
	return nil
}

// delegate adds a v1 link that the key reverse, if there is one, signs first.
func (b *batch) delegate(typ string, by signKey, sections map[string]any, reverse *signKey, p sigchain.Posted) error {
	if reverse == nil {
		return b.delegateTo(typ, by, sections, nil, p)
	}
	return b.delegateTo(typ, by, sections, func(payload []byte) (string, error) {
		return kbsig.Armor(kbsig.SignPacket(reverse.private, payload)), nil
	}, p)
}

// delegateTo adds a v1 link that the key which it adds signs first with reverse, if that
// is not nil, in the section of the link's type.
func (b *batch) delegateTo(typ string, by signKey, sections map[string]any, reverse func([]byte) (string, error), p sigchain.Posted) error {
	doc := b.inner(typ, 1, by.kid, sections)
	if reverse != nil {
		section, ok := sections[typ].(map[string]any)
		if !ok {
			return fmt.Errorf("%s without its section", typ)
		}
		section["reverse_sig"] = nil
		first, err := compact(doc)
		if err != nil {
			return err
		}
		if section["reverse_sig"], err = reverse(first); err != nil {
			return err
		}
	}
	payload, err := compact(doc)
	if err != nil {
		return err
	}
	return b.take(kbsig.SignPacket(by.private, payload), "", by.kid, typ, p)
}

// say adds a v2 link by the first device.
func (b *batch) say(typ string, sections map[string]any, p sigchain.Posted) error {
	first, err := firstDevice(b.who)
	if err != nil {
		return err
	}
	for _, s := range sections {
		if section, ok := s.(map[string]any); ok {
			e := secret(b.who.name, fmt.Sprintf("entropy of link %d", b.tail+1))
			section["entropy"] = base64.StdEncoding.EncodeToString(e[:18])
		}
	}
	payload, err := compact(b.inner(typ, 2, first.sign.kid, sections))
	if err != nil {
		return err
	}
	outer := kbsig.Outer{
		Fields: 7, Seqno: b.tail + 1, Prev: b.prev, Curr: sha256.Sum256(payload), Type: kbsig.LinkTypeOf(typ, false),
	}
	return b.take(kbsig.SignPacket(first.sign.private, outer.Encode()), string(payload), first.sign.kid, typ, p)
}

func (d device) section(whole bool) map[string]any {
	s := map[string]any{"id": d.id.String(), "kid": d.sign.kid.String(), "status": 1}
	if whole {
		s["name"], s["type"] = d.name, d.kind
	} else {
		s["kid"] = d.box.kid.String()
	}
	return s
}

// firstDevice is the device that a person began with.
func firstDevice(p person) (device, error) {
	for _, d := range p.deeds {
		if d, ok := d.(begins); ok {
			return d.make(p.name)
		}
	}
	return device{}, fmt.Errorf("%s has no device", p.name)
}

func (d begins) make(n kbsig.Username) (device, error) {
	dev, err := newDevice(n, d.device, desktop)
	if err == nil && d.id != "" {
		dev.id, err = kbsig.ParseDeviceID(d.id)
	}
	return dev, err
}

// begin makes the first device. Nobody has a per-user key: these accounts are older than
// those, and clients see how they invite such people. client: go/engine/device_keygen.go:DeviceKeygen.Push
func (b *batch) begin(d begins) error {
	dev, err := d.make(b.who.name)
	if err != nil {
		return err
	}
	err = b.delegate("eldest", dev.sign, map[string]any{"device": dev.section(true)}, nil,
		sigchain.Posted{PublicKey: dev.sign.kid.String(), IsPrimary: "1", NewEldest: "1"})
	if err != nil {
		return err
	}
	b.eldest = dev.sign.kid
	return b.subkey(dev)
}

// add makes another device, on the word of the first.
func (b *batch) add(d adds) error {
	first, err := firstDevice(b.who)
	if err != nil {
		return err
	}
	dev, err := newDevice(b.who.name, d.device, d.kind)
	if err != nil {
		return err
	}
	err = b.delegate("sibkey", first.sign, map[string]any{
		"device": dev.section(true), "sibkey": map[string]any{"kid": dev.sign.kid.String()},
	}, &dev.sign, sigchain.Posted{PublicKey: dev.sign.kid.String(), EldestKID: b.eldest.String()})
	if err != nil {
		return err
	}
	return b.subkey(dev)
}

func (b *batch) subkey(dev device) error {
	return b.delegate("subkey", dev.sign, map[string]any{
		"device": dev.section(false), "subkey": map[string]any{"kid": dev.box.kid.String(), "parent_kid": dev.sign.kid.String()},
	}, nil, sigchain.Posted{PublicKey: dev.box.kid.String(), EldestKID: b.eldest.String()})
}

// keepDevice gives the server what a client gives it for a device, before or after its links.
// client: go/libkb/post.go:PostDeviceLKS
func (m maker) keepDevice(ctx context.Context, p person, d deed) error {
	var dev device
	var err error
	switch d := d.(type) {
	case begins:
		dev, err = d.make(p.name)
	case adds:
		dev, err = newDevice(p.name, d.device, d.kind)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	return m.store.Update(ctx, func(tx *store.Tx) error {
		return accounts.UpdateDevice(tx, kbsig.UIDOf(p.name), dev.id, func(r *accounts.Device) {
			r.Type, r.Platform, r.EncKID, r.Generation = dev.kind, "linux", dev.box.kid, 1
			if dev.kind != paper {
				r.ServerHalf = secret(p.name, "server half of "+dev.name)
			}
			r.HasHalf = true
		})
	})
}

// follow says that a person follows another one, as that one is now.
// client: go/libkb/kbsig.go:User.TrackingProofFor
func (m maker) follow(b *batch, f follows) error {
	them, err := m.chain(f.name)
	if err != nil {
		return err
	}
	v := m.store.View()
	acct, err := accounts.ByName(v, f.name)
	v.Close()
	if err != nil {
		return err
	}
	return b.say("track", map[string]any{"track": map[string]any{
		"basics": map[string]any{
			"id_version": acct.IDVersion, "last_id_change": acct.LastIDChange, "username": string(f.name),
		},
		"id":            acct.UID.String(),
		"key":           map[string]any{"kid": them.Eldest.String()},
		"remote_proofs": []any{},
		"seq_tail": map[string]any{
			"payload_hash": them.TailLink.String(), "seqno": int64(them.Tail), "sig_id": hex.EncodeToString(them.TailSig[:]) + "0f",
		},
	}}, sigchain.Posted{UID: acct.UID.String()})
}

// place is where a proof is: at rooter, which is on this server, it is really posted.
func (m maker) place(tx *store.Tx, u kbsig.UID, p proofs.Proof) (string, error) {
	if p.Service != rooter.Network {
		return fmt.Sprintf(places[p.Service], p.Name), nil
	}
	_, text, _, err := m.book.Told(tx, u, p.SigID)
	if err != nil {
		return "", err
	}
	if _, err := rooter.Put(tx, m.rand, rooter.Post{Network: rooter.Network, Name: p.Name, Text: text}); err != nil {
		return "", err
	}
	all, err := rooter.Addresses(tx, rooter.Network, p.Name)
	if err != nil || len(all) == 0 {
		return "", fmt.Errorf("find the post of %s: %w", p.Name, err)
	}
	return all[0], nil
}
