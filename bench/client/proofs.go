package client

import (
	"context"
	"net/url"
	"strconv"
)

// ProveSite claims a web site ("http:" or "https:") or a domain ("dns") and returns the
// text to publish there. client: go/externals/proof_service_web.go:ToServiceJSON,
// go/externals/proof_service_dns.go:ToServiceJSON
func (a *Account) ProveSite(ctx context.Context, protocol, host string) (proofText, sigID string, err error) {
	e, err := entropy(a.Server().Random)
	if err != nil {
		return "", "", err
	}
	service := map[string]any{"entropy": e, "protocol": protocol, "hostname": host}
	typ, name := "generic", protocol+"//"+host
	if protocol == "dns" {
		service = map[string]any{"entropy": e, "protocol": protocol, "domain": host}
		typ, name = "dns", host
	}
	spec := &LinkSpec{Type: "web_service_binding", Version: 2, Signer: a.Device.Sig, Body: map[string]any{"service": service}}
	l, reply, err := a.postLink(ctx, "sig/post", spec, url.Values{
		"type": {"web_service_binding." + typ}, "is_remote_proof": {"1"}, "supersede": {"0"}, "remote_host": {name},
	})
	if err != nil {
		return "", "", err
	}
	if _, err := reply.text("proof_id"); err != nil {
		return "", "", err
	}
	text, err := reply.text("proof_text")
	return text, l.SigID.SigID(), err
}

// LookFor asks the server to look for a proof. client: go/libkb/post.go:CheckPosted
func (a *Account) LookFor(ctx context.Context, sigID string) (found bool, state, status int, err error) {
	reply, err := a.Server().Post(ctx, "sig/posted", url.Values{"sig_id": {sigID}}, a.credential())
	if err != nil {
		return false, 0, 0, err
	}
	var r struct {
		OK  *bool `json:"proof_ok"`
		Res struct {
			State  *int `json:"state"`
			Status *int `json:"status"`
		} `json:"proof_res"`
	}
	if err := reply.Decode(&r); err != nil {
		return false, 0, 0, err
	}
	if r.OK == nil || r.Res.State == nil || r.Res.Status == nil {
		return false, 0, 0, violated(RuleReply, "sig/posted", "proof_ok, proof_res.state or proof_res.status is missing")
	}
	return *r.OK, *r.Res.State, *r.Res.Status, nil
}

// SigHint is where the server says that a proof is.
// client: go/libkb/sig_hints.go:NewSigHint
type SigHint struct {
	SigID  string `json:"sig_id"`
	APIURL string `json:"api_url"`
	Human  string `json:"human_url"`
}

// SigHints asks for hints newer than a version; none say that nothing has changed.
// client: go/libkb/sig_hints.go:SigHints.Refresh
func (v *Verifier) SigHints(ctx context.Context, uid UID, low int) (version int, hints []SigHint, err error) {
	reply, err := v.srv.Get(ctx, "sig/hints", url.Values{"uid": {uid.String()}, "low": {strconv.Itoa(low)}}, nil)
	if err != nil {
		return 0, nil, err
	}
	if err := reply.into("version", &version); err != nil {
		return 0, nil, err
	}
	err = reply.into("hints", &hints)
	return version, hints, err
}

// WhoHas finds who has proven a name at a service; several are for the caller to
// refuse. client: go/libkb/resolve.go:resolveURLViaServerLookup
func (v *Verifier) WhoHas(ctx context.Context, service, name string) (uids []string, err error) {
	reply, err := v.srv.Get(ctx, "user/lookup", url.Values{service: {name}, "fields": {"basics"}}, nil)
	if err != nil {
		return nil, err
	}
	var them []struct {
		ID string `json:"id"`
	}
	if err := reply.into("them", &them); err != nil {
		return nil, err
	}
	for _, t := range them {
		uids = append(uids, t.ID)
	}
	return uids, nil
}
