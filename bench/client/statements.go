package client

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
)

// Currency states an address for payments, in place of another statement if instead is
// the id of its signature. client: go/engine/cryptocurrency.go:CryptocurrencyEngine.Run
func (a *Account) Currency(ctx context.Context, kind, address, instead string) (sigID string, err error) {
	e, err := entropy(a.Server().Random)
	if err != nil {
		return "", err
	}
	return a.stateAs(ctx, "cryptocurrency", "cryptocurrency", instead, map[string]any{
		"cryptocurrency": map[string]any{"address": address, "entropy": e, "type": kind},
	})
}

// RenameDevice gives one of the account's devices another name.
// client: go/libkb/id_table.go:ParseDeviceChainLink
func (a *Account) RenameDevice(ctx context.Context, id DeviceID, name string) error {
	d := a.Me.Family.Device(id)
	if d == nil {
		return fmt.Errorf("rename %s: no device of %s", id, a.Username)
	}
	_, err := a.stateAs(ctx, "device", "device", "", map[string]any{"device": map[string]any{
		"id": id.String(), "kid": d.Signing.String(), "name": name, "status": statusActive, "type": d.Type,
	}})
	return err
}

// stateAs posts a statement about oneself to sig/post.
func (a *Account) stateAs(ctx context.Context, typ, postedAs, instead string, body map[string]any) (string, error) {
	more := url.Values{"type": {postedAs}, "is_remote_proof": {"0"}}
	if instead != "" {
		l, err := a.takeLease(ctx, "downgrade/sig", url.Values{"sig_ids": {instead}})
		if err != nil {
			return "", err
		}
		more.Set("downgrade_lease_id", l.id)
		body["revoke"] = map[string]any{"sig_id": instead}
	}
	l, _, err := a.postLink(ctx, "sig/post", &LinkSpec{Type: typ, Version: 2, Signer: a.Device.Sig, Body: body}, more)
	if err != nil {
		return "", err
	}
	return l.SigID.SigID(), nil
}

// expansion is what a link about the web of trust stands for.
// client: go/libkb/id_table.go:EmbedExpansionObj
type expansion struct {
	id  string
	all map[string]any
}

func newExpansion(random io.Reader, statement map[string]any) (*expansion, error) {
	key := make([]byte, 16)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, err
	}
	obj, err := canonical(statement)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(obj)
	id := hex.EncodeToString(mac.Sum(nil))
	return &expansion{id, map[string]any{id: map[string]any{"key": hex.EncodeToString(key), "obj": statement}}}, nil
}

// Vouch says something about somebody as loaded before, in place of an earlier vouch if
// instead is the id of its signature. client: go/engine/wot_vouch.go:WotVouch.Run
func (a *Account) Vouch(ctx context.Context, them *User, text, instead string) (sigID string, err error) {
	who := map[string]any{"username": them.Username, "uid": them.UID.String(), "seq_tail": nil}
	if f := them.Family; f != nil {
		who["eldest"] = map[string]any{"kid": f.Eldest.String(), "seqno": f.First}
	}
	if t := them.Tail(); t != nil {
		who["seq_tail"] = map[string]any{"payload_hash": t.LinkID.String(), "seqno": t.Seqno, "sig_id": t.SigID.SigID()}
	}
	return a.postExpansion(ctx, "wot.vouch", "wot_vouch", instead, map[string]any{
		"user": who, "confidence": map[string]any{"username_verified_via": "in_person"}, "vouch_text": text,
	})
}

// React accepts or rejects a vouch for the account. client: go/engine/wot_react.go:WotReact.Run
func (a *Account) React(ctx context.Context, vouch string, accept bool) (sigID string, err error) {
	reaction := map[bool]string{true: "accept", false: "reject"}[accept]
	return a.postExpansion(ctx, "wot.react", "wot_react", "", map[string]any{"sig_id": vouch, "reaction": reaction})
}

func (a *Account) postExpansion(ctx context.Context, typ, section, instead string, statement map[string]any) (string, error) {
	e, err := newExpansion(a.Server().Random, statement)
	if err != nil {
		return "", err
	}
	b, err := a.newBatch(ctx)
	if err != nil {
		return "", err
	}
	body := map[string]any{section: e.id}
	posted := map[string]any{}
	if instead != "" {
		l, err := a.takeLease(ctx, "downgrade/sig", url.Values{"sig_ids": {instead}})
		if err != nil {
			return "", err
		}
		b.root = l.root
		posted["downgrade_lease_id"] = l.id
		body["revoke"] = map[string]any{"sig_id": instead}
	}
	l, err := b.sign(&LinkSpec{Type: typ, Version: 2, Signer: a.Device.Sig, Ignore: true, Body: body})
	if err != nil {
		return "", err
	}
	posted["sigs"] = []any{map[string]any{
		"sig": b64(l.Packet), "signing_kid": l.Spec.Signer.KID().String(), "type": typ, "seq_type": seqTypePublic,
		"sig_inner": string(l.Inner), "version": 2, "expansions": e.all,
	}}
	if a.EditPost != nil {
		a.EditPost("sig/multi", posted)
	}
	a.Sent = b.links
	if _, err := a.insist(func() (*Reply, error) {
		return a.Server().PostJSON(ctx, "sig/multi", posted, a.NIST(a.Device))
	}); err != nil {
		return "", err
	}
	return l.SigID.SigID(), b.done(ctx)
}

// SetWallet states the Stellar account of a key. client: go/libkb/kbsig.go:StellarProofReverseSigned
func (a *Account) SetWallet(ctx context.Context, key *SigningKey) error {
	e, err := entropy(a.Server().Random)
	if err != nil {
		return err
	}
	b, err := a.newBatch(ctx)
	if err != nil {
		return err
	}
	l, err := b.sign(&LinkSpec{
		Type: "wallet.stellar", Version: 2, Signer: a.Device.Sig, Ignore: true,
		Body: map[string]any{
			"wallet":     map[string]any{"address": StellarAccount(key), "network": "stellar", "entropy": e},
			"wallet_key": map[string]any{"kid": key.KID().String(), "reverse_sig": nil},
		},
		ReverseSigner: key, ReverseSection: "wallet_key",
	})
	if err != nil {
		return err
	}
	b.sigs = append(b.sigs, map[string]any{
		"sig": b64(l.Packet), "sig_inner": string(l.Inner), "signing_kid": l.Spec.Signer.KID().String(),
		"public_key": key.KID().String(), "type": l.Spec.Type,
	})
	return b.post(ctx, a.NIST(a.Device))
}

// StellarAccount names the account of a key.
func StellarAccount(key *SigningKey) string {
	kid := key.KID()
	raw := append([]byte{6 << 3}, kid[2:34]...)
	sum := uint16(0)
	for _, b := range raw {
		for bit := 7; bit >= 0; bit-- {
			top := sum>>15 ^ uint16(b>>bit)&1
			if sum <<= 1; top == 1 {
				sum ^= 0x1021
			}
		}
	}
	return base32.StdEncoding.EncodeToString(append(raw, byte(sum), byte(sum>>8)))
}

// Vouched is one row of the web of trust, held against the chain of the voucher.
type Vouched struct {
	Voucher, Vouchee UID
	SigID            string
	Text             string
	Status           int // 1 proposed, 2 accepted, 3 rejected, 4 revoked
}

// WebOfTrust lists vouches for somebody, by somebody, or both; for the account without
// either. client: go/libkb/wot.go:FetchWotVouches
func (a *Account) WebOfTrust(ctx context.Context, vouchee, voucher string) ([]Vouched, error) {
	args := url.Values{}
	for name, v := range map[string]string{"vouchee": vouchee, "voucher": voucher} {
		if v != "" {
			args.Set(name, v)
		}
	}
	reply, err := a.Server().Get(ctx, "wot/get", args, a.NIST(a.Device))
	if err != nil {
		return nil, err
	}
	var rows []struct {
		Voucher   string `json:"voucher"`
		Vouchee   string `json:"vouchee"`
		Sig       string `json:"vouch_sig"`
		Expansion string `json:"vouch_expansion"`
		Status    int    `json:"status"`
	}
	if err := reply.into("webOfTrust", &rows); err != nil {
		return nil, err
	}
	out := []Vouched{}
	for _, r := range rows {
		v := Vouched{SigID: r.Sig, Status: r.Status}
		if v.Voucher, err = ParseUID(r.Voucher); err != nil {
			return nil, violated(RuleReply, "wot/get", "voucher: %v", err)
		}
		if v.Vouchee, err = ParseUID(r.Vouchee); err != nil {
			return nil, violated(RuleReply, "wot/get", "vouchee: %v", err)
		}
		if v.Text, err = a.vouchText(ctx, v, r.Expansion); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// vouchText opens a vouch: the voucher's chain has its HMAC.
// client: go/libkb/id_table.go:ExtractExpansionObj
func (a *Account) vouchText(ctx context.Context, v Vouched, text string) (string, error) {
	var in map[string]struct {
		Key string `json:"key"`
		Obj any    `json:"obj"`
	}
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return "", violated(RuleReply, "wot/get", "expansion: %v", err)
	}
	u, err := a.Verifier.LoadUser(ctx, v.Voucher, LoadOptions{Credential: a.credential()})
	if err != nil {
		return "", err
	}
	for _, l := range u.Chain {
		if l.Stubbed || l.Type != "wot.vouch" || l.SigID.SigID() != v.SigID {
			continue
		}
		id, err := l.body.str("body", "wot_vouch")
		if err != nil {
			return "", violated(RuleLinkJSON, l.subject(), "%v", err)
		}
		obj, err := json.Marshal(in[id].Obj)
		if err != nil {
			return "", err
		}
		key, err := hex.DecodeString(in[id].Key)
		mac := hmac.New(sha256.New, key)
		mac.Write(obj)
		if err != nil || hex.EncodeToString(mac.Sum(nil)) != id {
			return "", violated(RuleReply, "wot/get", "what is said is not what link %d stands for", l.Seqno)
		}
		about, _ := in[id].Obj.(map[string]any)
		said, _ := about["vouch_text"].(string)
		return said, nil
	}
	return "", violated(RuleReply, "wot/get", "no link of %s has the signature %s", v.Voucher, v.SigID)
}
