package client

import (
	"context"
	"fmt"
	"net/url"
	"strings"
)

// lease is a promise of the server about the roots to come.
// client: go/libkb/downgrade_leases.go:Lease
type lease struct {
	id   string
	root *Root
}

func (a *Account) takeLease(ctx context.Context, endpoint string, args url.Values) (*lease, error) {
	reply, err := a.postForm(ctx, endpoint, args, a.NIST(a.Device))
	if err != nil {
		return nil, err
	}
	var seqno Seqno
	if err := reply.into("merkle_seqno", &seqno); err != nil {
		return nil, err
	}
	hash, err := reply.text("hash_meta")
	if err != nil {
		return nil, err
	}
	l := new(lease)
	if l.id, err = reply.text("downgrade_lease_id"); err != nil {
		return nil, err
	}
	if l.id == "" || strings.Trim(l.id, "0123456789abcdef") != "" {
		return nil, violated(RuleReply, endpoint, "lease id %q", l.id)
	}
	if l.root, err = a.Verifier.rootSince(ctx, seqno); err != nil {
		return nil, err
	}
	if l.root.Seqno < seqno {
		return nil, violated(RuleReply, endpoint, "lease at root %d, newest is %d", seqno, l.root.Seqno)
	}
	if r, ok := a.Verifier.Witness.seen(seqno); ok && r.HashMeta.String() != hash {
		return nil, violated(RuleFork, endpoint, "root %d is %s, not %s", seqno, r.HashMeta, hash)
	}
	return l, nil
}

func (a *Account) cancelLease(ctx context.Context, l *lease) {
	// Best effort, as in the stock client: the lease runs out by itself.
	_, _ = a.postForm(ctx, "downgrade/cancel", url.Values{"downgrade_lease_id": {l.id}}, a.NIST(a.Device))
}

// RevokeDevice ends a device with all its keys and rolls the per-user key, boxed
// for the devices that remain. client: go/engine/revoke.go:Run
func (a *Account) RevokeDevice(ctx context.Context, id DeviceID) error {
	if err := a.FetchPUKs(ctx, a.Device); err != nil {
		return err
	}
	info := a.Me.Family.Device(id)
	if info == nil || info.Revoked {
		return fmt.Errorf("revoke %s: not an active device of %s", id, a.Username)
	}
	kids := []KID{info.Signing}
	if !info.DH.IsZero() {
		kids = append(kids, info.DH)
	}
	names := make([]string, len(kids))
	for i, k := range kids {
		names[i] = k.String()
	}
	l, err := a.takeLease(ctx, "downgrade/key", url.Values{"kids": {strings.Join(names, ",")}})
	if err != nil {
		return err
	}
	b, err := a.newBatch(ctx)
	if err != nil {
		return err
	}
	b.root = l.root
	b.body["downgrade_lease_id"] = l.id
	next, err := b.rollPUK(id)
	if err != nil {
		return err
	}
	rev, err := b.sign(&LinkSpec{Type: "revoke", Version: 1, Signer: a.Device.Sig, Body: RevokeDeviceBody(info, kids)})
	if err != nil {
		return err
	}
	b.sigs = append(b.sigs, map[string]any{
		"sig": b64(rev.Packet), "signing_kid": rev.Spec.Signer.KID().String(), "type": "revoke",
	})
	if err := b.post(ctx, a.NIST(a.Device)); err != nil {
		if StatusCode(err) >= 0 {
			a.cancelLease(ctx, l)
		}
		return err
	}
	a.PUKs = append(a.PUKs, next)
	delete(a.Devices, id)
	return nil
}

// rollPUK adds the next generation, boxed for every active device but one.
func (b *batch) rollPUK(except DeviceID) (*PUK, error) {
	a := b.a
	seed, err := newSeed(a.Server().Random)
	if err != nil {
		return nil, err
	}
	next, gen := NewPUK(seed), len(a.PUKs)+1
	var to []KID
	for _, d := range a.Me.Family.ActiveDevices() {
		if d.ID != except && !d.DH.IsZero() {
			to = append(to, d.DH)
		}
	}
	boxes, err := a.boxes(a.Device.Enc, seed, gen, to...)
	if err != nil {
		return nil, err
	}
	section := map[string]any{"generation": gen, "boxes": boxes}
	if gen > 1 {
		prev, err := next.SealPrev(a.Server().Random, a.PUKs[gen-2].Seed)
		if err != nil {
			return nil, err
		}
		section["prev"] = prev
	}
	b.body["per_user_key"] = section
	return next, b.perUserKey(a.Device.Sig, next, gen)
}

// RollPUK makes a new per-user-key generation for all active devices.
// client: go/engine/puk_roll.go
func (a *Account) RollPUK(ctx context.Context) error {
	if err := a.FetchPUKs(ctx, a.Device); err != nil {
		return err
	}
	b, err := a.newBatch(ctx)
	if err != nil {
		return err
	}
	next, err := b.rollPUK(DeviceID{})
	if err != nil {
		return err
	}
	if err := b.post(ctx, a.NIST(a.Device)); err != nil {
		return err
	}
	a.PUKs = append(a.PUKs, next)
	return nil
}

// RevokeSigs ends statements by their 66-character signature ids.
// client: go/engine/revoke_sigs.go
func (a *Account) RevokeSigs(ctx context.Context, sigIDs ...string) error {
	l, err := a.takeLease(ctx, "downgrade/sig", url.Values{"sig_ids": {strings.Join(sigIDs, ",")}})
	if err != nil {
		return err
	}
	spec := &LinkSpec{Type: "revoke", Version: 1, Signer: a.Device.Sig, Body: RevokeSigsBody(sigIDs)}
	_, _, err = a.postLink(ctx, "sig/revoke", spec, url.Values{"downgrade_lease_id": {l.id}})
	if StatusCode(err) >= 0 {
		a.cancelLease(ctx, l)
	}
	return err
}
