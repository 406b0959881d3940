package client

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
)

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// batch collects links that are posted in one key/multi.
type batch struct {
	a      *Account
	body   map[string]any
	sigs   []map[string]any
	links  []*SignedLink
	eldest KID
	seqno  Seqno // of the last link, posted or collected
	prev   LinkID
	root   *Root
	ctime  int64
}

// newBatch continues the chain as the account knows it.
func (a *Account) newBatch(ctx context.Context) (*batch, error) {
	root, err := a.Verifier.rootSince(ctx, 1)
	if err != nil {
		return nil, err
	}
	return &batch{
		a: a, body: make(map[string]any), eldest: a.eldest, seqno: a.seqno, prev: a.prev,
		root: root, ctime: a.Server().Now().Unix(),
	}, nil
}

// sign builds the next link of the chain.
func (b *batch) sign(s *LinkSpec) (*SignedLink, error) {
	s.UID, s.Username, s.Eldest = b.a.UID, b.a.Username, b.eldest
	s.Seqno, s.Prev, s.Ctime, s.Root = b.seqno+1, b.prev, b.ctime, b.root
	if b.a.EditLink != nil {
		b.a.EditLink(s)
	}
	l, err := BuildLink(s)
	if err != nil {
		return nil, err
	}
	b.links = append(b.links, l)
	b.seqno, b.prev = s.Seqno, l.ID
	return l, nil
}

// delegate adds an eldest, sibkey or subkey link with the flattened fields that
// the stock client sends. client: go/libkb/delegatekey.go:post
//
// The fields beside the signature follow the link as it was built, so that a link
// changed by EditLink is wrong in one respect only.
func (b *batch) delegate(typ string, signer *SigningKey, key KID, body map[string]any, reverse *SigningKey) error {
	l, err := b.sign(&LinkSpec{
		Type: typ, Version: 1, Signer: signer, Body: body, ReverseSigner: reverse, ReverseSection: typ,
	})
	if err != nil {
		return err
	}
	e := map[string]any{
		"sig": b64(l.Packet), "type": l.Spec.Type, "sig_id_base": l.SigID.String(), "sig_id_short": l.SigID.Short(),
		"public_key": key.String(), "signing_kid": l.Spec.Signer.KID().String(), "is_remote_proof": "0",
	}
	if section, ok := l.Spec.Body[typ].(map[string]any); ok {
		e["public_key"] = section["kid"]
	}
	if l.Spec.Type == "eldest" {
		e["is_primary"], e["new_eldest"] = "1", "1"
	} else if !l.Spec.Eldest.IsZero() {
		e["eldest_kid"] = l.Spec.Eldest.String()
	}
	b.sigs = append(b.sigs, e)
	return nil
}

// perUserKey adds a per_user_key link. client: go/libkb/kbsig.go:PerUserKeyProofReverseSigned
func (b *batch) perUserKey(signer *SigningKey, p *PUK, generation int) error {
	l, err := b.sign(&LinkSpec{
		Type: "per_user_key", Version: 1, Signer: signer, Body: PUKBody(p, generation),
		ReverseSigner: p.Sig, ReverseSection: "per_user_key",
	})
	if err != nil {
		return err
	}
	section, _ := l.Spec.Body["per_user_key"].(map[string]any)
	b.sigs = append(b.sigs, map[string]any{
		"sig": b64(l.Packet), "signing_kid": l.Spec.Signer.KID().String(), "type": l.Spec.Type,
		"public_keys": map[string]any{"signing": section["signing_kid"], "encryption": section["encryption_kid"]},
	})
	return nil
}

// post sends the batch and checks that its links are in the tree.
func (b *batch) post(ctx context.Context, c Credential) error {
	b.body["sigs"] = b.sigs
	if b.a.EditPost != nil {
		b.a.EditPost("key/multi", b.body)
	}
	b.a.Sent = b.links
	_, err := b.a.insist(func() (*Reply, error) { return b.a.Server().PostJSON(ctx, "key/multi", b.body, c) })
	if err != nil {
		return err
	}
	return b.done(ctx)
}

// insist posts until there is an answer of the protocol or Retry gives up.
// client: go/libkb/api.go:doRetry
func (a *Account) insist(post func() (*Reply, error)) (*Reply, error) {
	for attempt := 1; ; attempt++ {
		reply, err := post()
		if err == nil || a.Retry == nil || !Unknown(err) || !a.Retry(attempt, err) {
			return reply, err
		}
	}
}

// Unknown reports an error after which nobody can say whether the server took the
// request: neither a refusal nor an answer.
func Unknown(err error) bool {
	return err != nil && StatusCode(err) < 0 && ViolatedRule(err) == ""
}

// done moves the account to the batch's end after the server acknowledged it.
func (b *batch) done(ctx context.Context) error {
	b.a.eldest, b.a.seqno, b.a.prev = b.eldest, b.seqno, b.prev
	b.a.Posted = append(b.a.Posted, b.links...)
	if b.a.SkipChecks {
		return nil
	}
	return b.a.CheckPosted(ctx, b.links...)
}

// postForm sends a form after the account's hook saw it.
func (a *Account) postForm(ctx context.Context, endpoint string, args url.Values, c Credential) (*Reply, error) {
	if a.EditPost != nil {
		body := make(map[string]any, len(args))
		for k := range args {
			body[k] = args.Get(k)
		}
		a.EditPost(endpoint, body)
		args = url.Values{}
		for k, v := range body {
			args.Set(k, fmt.Sprint(v))
		}
	}
	return a.insist(func() (*Reply, error) { return a.Server().Post(ctx, endpoint, args, c) })
}

// CheckPosted loads the account's own chain and wants to find links that the
// server acknowledged: merkle/path, 300, merkle/root, merkle/path, user/lookup,
// sig/get. client: go/libkb/merkle_tools.go:MerkleCheckPostedUserSig
func (a *Account) CheckPosted(ctx context.Context, links ...*SignedLink) error {
	u, err := a.Verifier.LoadUser(ctx, a.UID, LoadOptions{Credential: a.credential()})
	if err != nil {
		return err
	}
	for _, l := range links {
		got := u.Link(l.Spec.Seqno)
		if got == nil {
			return violated(RulePosted, "chain of "+a.Username, "acknowledged link %d is not in root %d", l.Spec.Seqno, u.Root.Seqno)
		}
		if got.ID != l.ID {
			return violated(RulePosted, "chain of "+a.Username, "link %d is %s, posted was %s", l.Spec.Seqno, got.ID, l.ID)
		}
	}
	a.adopt(u)
	return nil
}

// adopt makes a verified view of oneself the basis of the next link.
func (a *Account) adopt(u *User) {
	a.Me = u
	a.UID, a.Username = u.UID, u.Username
	a.seqno, a.prev, a.eldest = 0, LinkID{}, u.Leaf.Eldest
	if t := u.Tail(); t != nil {
		a.seqno, a.prev = t.Seqno, t.LinkID
	}
}

// Reload verifies one's own account anew and continues from there.
func (a *Account) Reload(ctx context.Context) error {
	u, err := a.Verifier.LoadUser(ctx, a.UID, LoadOptions{Credential: a.credential()})
	if err != nil {
		return err
	}
	a.adopt(u)
	return nil
}

// postLink signs one link and posts it as a form with the usual fields and more.
func (a *Account) postLink(ctx context.Context, endpoint string, spec *LinkSpec, more url.Values) (*SignedLink, *Reply, error) {
	b, err := a.newBatch(ctx)
	if err != nil {
		return nil, nil, err
	}
	l, err := b.sign(spec)
	if err != nil {
		return nil, nil, err
	}
	args := url.Values{
		"sig": {b64(l.Packet)}, "sig_id_base": {l.SigID.String()}, "sig_id_short": {l.SigID.Short()},
		"signing_kid": {spec.Signer.KID().String()}, "type": {spec.Type},
	}
	if l.Outer != nil {
		args.Set("sig_inner", string(l.Inner))
	}
	for k, v := range more {
		args[k] = v
	}
	a.Sent = b.links
	reply, err := a.postForm(ctx, endpoint, args, a.NIST(a.Device))
	if err != nil {
		return l, nil, err
	}
	return l, reply, b.done(ctx)
}
