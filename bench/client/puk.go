package client

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
)

// boxes seals a per-user seed to encryption keys.
// client: go/libkb/per_user_key.go:NewPerUserKeyBox
func (a *Account) boxes(sender *DHKey, seed Seed, generation int, to ...KID) ([]map[string]any, error) {
	out := make([]map[string]any, 0, len(to))
	for _, kid := range to {
		s, err := sender.Seal(a.Server().Random, seed[:], kid)
		if err != nil {
			return nil, fmt.Errorf("box of generation %d: %w", generation, err)
		}
		out = append(out, map[string]any{"generation": generation, "box": s.Armor(), "receiver_kid": kid.String()})
	}
	return out, nil
}

// FetchPUKs brings the account's per-user keys up to the newest generation with
// the box of one device, and checks every seed against the chain.
// client: go/libkb/per_user_key.go:importLocked
func (a *Account) FetchPUKs(ctx context.Context, d *Device) error {
	have := len(a.PUKs)
	reply, err := a.Server().Get(ctx, "key/fetch_per_user_key_secrets", url.Values{
		"generation": {strconv.Itoa(have)}, "device_id": {d.ID.String()},
	}, a.NIST(d))
	if err != nil {
		return err
	}
	var r struct {
		Box *struct {
			Generation  int    `json:"generation"`
			Box         string `json:"box"`
			ReceiverKID string `json:"receiver_kid"`
		} `json:"box"`
		Prevs []struct {
			Ctext      string `json:"ctext"`
			Generation int    `json:"generation"`
		} `json:"prevs"`
	}
	if err := reply.Decode(&r); err != nil {
		return err
	}
	if err := a.Reload(ctx); err != nil {
		return err
	}
	subject := "per-user keys of " + a.Username
	latest := a.Me.Family.LatestPUK()
	if r.Box == nil {
		if len(r.Prevs) != 0 || (latest != nil && latest.Generation > have) {
			return violated(RuleBox, subject, "no box, %d prevs, have %d", len(r.Prevs), have)
		}
		return nil
	}
	switch {
	case latest == nil || r.Box.Generation != latest.Generation:
		return violated(RuleBox, subject, "box of generation %d, chain has %v", r.Box.Generation, latest)
	case r.Box.ReceiverKID != d.Enc.KID().String():
		return violated(RuleBox, subject, "box for %s", r.Box.ReceiverKID)
	case len(r.Prevs) != latest.Generation-have-1:
		return violated(RuleBox, subject, "%d prevs from %d down to %d", len(r.Prevs), latest.Generation, have)
	}
	plain, sender, err := d.Enc.Open(r.Box.Box)
	if err != nil || len(plain) != len(Seed{}) {
		return violated(RuleBox, subject, "box: %v", err)
	}
	if k := a.Me.Family.Keys[sender]; k == nil || k.Sibkey {
		return violated(RuleBox, subject, "box sealed by %s, which is no device of the user", sender)
	}
	got := []*PUK{NewPUK(Seed(plain))}
	for i, prev := range r.Prevs {
		if prev.Generation != latest.Generation-1-i {
			return violated(RuleBox, subject, "prev %d is of generation %d", i, prev.Generation)
		}
		seed, err := got[i].OpenPrev(prev.Ctext)
		if err != nil {
			return violated(RuleBox, subject, "prev of generation %d: %v", prev.Generation, err)
		}
		got = append(got, NewPUK(seed))
	}
	return a.addPUKs(subject, got)
}

// addPUKs appends seeds, newest first, that must fit the chain's announcements.
func (a *Account) addPUKs(subject string, got []*PUK) error {
	for i := len(got) - 1; i >= 0; i-- {
		gen := len(a.PUKs) + 1
		info := a.Me.Family.PUKs[gen-1]
		if info.Signing != got[i].Sig.KID() || info.DH != got[i].Enc.KID() {
			return violated(RuleBox, subject, "seed of generation %d makes other keys", gen)
		}
		a.PUKs = append(a.PUKs, got[i])
	}
	return nil
}

// PrivateKeys is what key/fetch_private tells about the account's devices.
type PrivateKeys struct {
	Version int64
	Devices map[string]struct {
		Type       string `json:"type"`
		Name       string `json:"name"`
		Status     int    `json:"status"`
		ServerHalf string `json:"lks_server_half"`
		Generation int    `json:"passphrase_generation"`
		CTime      int64  `json:"ctime"`
		LastUsed   int64  `json:"last_used_time"`
	}
}

// FetchPrivate asks for devices and server halves. client: go/libkb/sync_secret.go
func (a *Account) FetchPrivate(ctx context.Context, c Credential) (*PrivateKeys, error) {
	if c == nil {
		c = a.credential()
	}
	reply, err := a.Server().Get(ctx, "key/fetch_private", nil, c)
	if err != nil {
		return nil, err
	}
	p := new(PrivateKeys)
	if err := reply.into("version", &p.Version); err != nil {
		return nil, err
	}
	return p, reply.into("devices", &p.Devices)
}
