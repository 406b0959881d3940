package rest

import (
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// tailsWholeMax is how many links at the end of a chain are never stubbed. A client
// asks for the leaf first and for the links then, and wants to find the very link
// that the leaf named, whole; meanwhile the chain may have grown.
const tailsWholeMax = 16

// sigGet: GET sig/get: the links of a chain after seqno low. With c3=2 links that
// clients can do without are sent as stubs, never the newest ones.
// client: go/libkb/sig_chain.go:SigChain.LoadServerBody
func sigGet(c *call) (any, error) {
	low, err := c.seqno("low")
	if err != nil {
		return nil, err
	}
	return c.links(low, c.raw("c3") == "2")
}

// sigGetHigh: GET sig/get_high. Clients do not write high_skip, so the only answer
// that links up is the whole chain. client: go/libkb/upak_lite.go:HighSigChain.LoadFromServer
func sigGetHigh(c *call) (any, error) { return c.links(0, false) }

// entryJSON is one link of a chain, whole or as a stub.
// client: go/libkb/chain_link_parse_2.go:ImportLinkFromServer
type entryJSON struct {
	SigVersion  int    `json:"sig_version,omitempty"`
	SI1         string `json:"si1,omitempty"`
	SI2         string `json:"si2,omitempty"`
	S2          string `json:"s2,omitempty"`
	PayloadJSON string `json:"payload_json,omitempty"`
}

func (c *call) links(low kbsig.Seqno, stub bool) (any, error) {
	uid, err := c.uid("uid")
	if err != nil {
		return nil, err
	}
	st, err := identity.Chain(c.view(), uid)
	if err != nil {
		return nil, err
	}
	sigs := []entryJSON{}
	err = identity.Records(c.view(), uid, low, func(n kbsig.Seqno, rec sigchain.Record) error {
		// The first link of the incarnation and what may be the tail are needed whole.
		e, err := rec.Entry(stub && n <= st.Tail-tailsWholeMax && n != st.EldestSeqno)
		sigs = append(sigs, entryJSON{e.SigVersion, e.SI1, e.SI2, e.S2, e.PayloadJSON})
		return err
	})
	if err != nil {
		return nil, err
	}
	return struct {
		Sigs []entryJSON `json:"sigs"`
	}{sigs}, nil
}

// sigHints: GET sig/hints. There are no proofs of outside services yet, so there
// is nothing to hint at. client: go/libkb/sig_hints.go:LoadAndRefreshSigHints
func sigHints(c *call) (any, error) {
	if _, err := c.uid("uid"); err != nil {
		return nil, err
	}
	return noHints, nil
}

type hintsJSON struct {
	Version int   `json:"version"`
	Hints   []any `json:"hints"`
}

var noHints = hintsJSON{Hints: []any{}}

// form reads one link out of a form.
func (c *call) formLink() (*sigchain.Link, error) {
	if _, err := c.str("sig"); err != nil {
		return nil, err
	}
	p := sigchain.Posted{
		Sig: c.raw("sig"), SigInner: c.raw("sig_inner"), SigningKID: c.raw("signing_kid"),
		SigIDBase: c.raw("sig_id_base"), SigIDShort: c.raw("sig_id_short"),
		Type: c.raw("type"), UID: c.raw("uid"), IsRemoteProof: c.raw("is_remote_proof"),
	}
	return sigchain.Parse(p)
}

func (c *call) postLinks(p identity.Post) error {
	ctx, cancel := c.context()
	defer cancel()
	return c.s.Identity.Post(ctx, c.who.UID, p)
}

// follow: POST follow, for following and for taking it back.
// client: go/engine/track_token.go:TrackToken.storeRemoteTrack, go/engine/untrack.go
func follow(c *call) (any, error) {
	l, err := c.formLink()
	if err != nil {
		return nil, err
	}
	if l.Track == nil && l.Untrack == nil {
		return nil, status.InputField("type", "follow takes track and untrack statements only")
	}
	return none{}, c.postLinks(identity.Post{Links: []*sigchain.Link{l}})
}

// sigRevoke: POST sig/revoke. client: go/engine/revoke_sigs.go:RevokeSigsEngine.Run
func sigRevoke(c *call) (any, error) {
	l, err := c.formLink()
	if err != nil {
		return nil, err
	}
	if l.Revoke == nil || len(l.Revoke.SigIDs) == 0 {
		return nil, status.InputField("sig", "sig/revoke takes revocations of signatures only")
	}
	p := identity.Post{Links: []*sigchain.Link{l}}
	if raw := c.raw("downgrade_lease_id"); raw != "" {
		id, err := identity.ParseLeaseID(raw)
		if err != nil {
			return nil, status.InputField("downgrade_lease_id", err.Error())
		}
		p.Lease = &id
	}
	return none{}, c.postLinks(p)
}

// sigMulti: POST sig/multi. Of what clients post here (teams, web of trust) nothing
// is served yet; what is a user's own link is taken by the rules of key/multi.
func sigMulti(c *call) (any, error) {
	var req struct {
		Sigs  []linkJSON `json:"sigs"`
		Lease string     `json:"downgrade_lease_id"`
	}
	if err := c.body(&req); err != nil {
		return nil, err
	}
	links, err := parseLinks(req.Sigs)
	if err != nil {
		return nil, err
	}
	return none{}, c.postLinks(identity.Post{Links: links})
}
