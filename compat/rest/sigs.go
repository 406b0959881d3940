package rest

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/vouches"
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

// sigGetHigh: GET sig/get_high: the newest link, and before each link the one that its
// high_skip leads to. Most clients write no high_skip; before their links comes the one
// that they follow. client: go/libkb/upak_lite.go:HighSigChain.VerifyChain
func sigGetHigh(c *call) (any, error) {
	uid, err := c.uid("uid")
	if err != nil {
		return nil, err
	}
	st, err := identity.Chain(c.view(), uid)
	if err != nil {
		return nil, err
	}
	sigs := []entryJSON{}
	for n := st.Tail; n > 0; {
		rec, err := identity.Record(c.view(), uid, n)
		if err != nil {
			return nil, err
		}
		l, err := rec.Link()
		if err != nil {
			return nil, fmt.Errorf("link %d of %s: %w", n, uid, err)
		}
		e, err := rec.Entry(false)
		if err != nil {
			return nil, err
		}
		sigs = append(sigs, entryOf(e))
		before := n - 1
		if l.HighSkip != nil {
			before = l.HighSkip.Seqno
		}
		if before >= n {
			return nil, fmt.Errorf("link %d of %s: its high_skip leads to %d", n, uid, before)
		}
		n = before
	}
	slices.Reverse(sigs)
	return struct {
		Sigs []entryJSON `json:"sigs"`
	}{sigs}, nil
}

// entryJSON is one link of a chain, whole or as a stub.
// client: go/libkb/chain_link_parse_2.go:ImportLinkFromServer
type entryJSON struct {
	SigVersion  int    `json:"sig_version,omitempty"`
	SI1         string `json:"si1,omitempty"`
	SI2         string `json:"si2,omitempty"`
	S2          string `json:"s2,omitempty"`
	PayloadJSON string `json:"payload_json,omitempty"`
	Sig         string `json:"sig,omitempty"`
	KID         string `json:"kid,omitempty"`
	// ProofText is what the user was told to publish; sent to its author only.
	ProofText string `json:"proof_text_full,omitempty"`
}

func entryOf(e kbsig.WireEntry) entryJSON {
	j := entryJSON{SigVersion: e.SigVersion, SI1: e.SI1, SI2: e.SI2, S2: e.S2, PayloadJSON: e.PayloadJSON, Sig: e.Sig}
	if e.Sig != "" {
		j.KID = e.KID.String()
	}
	return j
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
	var texts map[kbsig.Seqno]string
	if c.who != nil && c.who.UID == uid {
		if texts, err = c.proofTexts(uid); err != nil {
			return nil, err
		}
	}
	sigs := []entryJSON{}
	err = identity.Records(c.view(), uid, low, func(n kbsig.Seqno, rec sigchain.Record) error {
		// The first link of the incarnation and what may be the tail are needed whole.
		e, err := rec.Entry(stub && n <= st.Tail-tailsWholeMax && n != st.EldestSeqno)
		j := entryOf(e)
		j.ProofText = texts[n]
		sigs = append(sigs, j)
		return err
	})
	if err != nil {
		return nil, err
	}
	return struct {
		Sigs []entryJSON `json:"sigs"`
	}{sigs}, nil
}

// formLink reads one link out of a form.
func (c *call) formLink() (*sigchain.Link, error) {
	if _, err := c.str("sig"); err != nil {
		return nil, err
	}
	p := sigchain.Posted{
		Sig: c.raw("sig"), SigInner: c.raw("sig_inner"), SigningKID: c.raw("signing_kid"),
		SigIDBase: c.raw("sig_id_base"), SigIDShort: c.raw("sig_id_short"),
		Type: c.raw("type"), UID: c.raw("uid"), IsRemoteProof: c.raw("is_remote_proof"),
		RemoteUsername: c.raw("remote_username"), RemoteHost: c.raw("remote_host"),
		RemoteService: c.raw("remote_service"),
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
	if p.Lease, err = leaseID(c.raw("downgrade_lease_id")); err != nil {
		return nil, err
	}
	return none{}, c.postLinks(p)
}

// leaseID reads the lease that a post quotes; nil if it quotes none.
func leaseID(raw string) (*identity.LeaseID, error) {
	if raw == "" {
		return nil, nil
	}
	id, err := identity.ParseLeaseID(raw)
	if err != nil {
		return nil, status.InputField("downgrade_lease_id", err.Error())
	}
	return &id, nil
}

// sigPost: POST sig/post: a statement of a user about itself: a proof, a currency
// address, a device's name.
// client: go/libkb/post.go:PostProof, go/engine/cryptocurrency.go:CryptocurrencyEngine.Run
func sigPost(c *call) (any, error) {
	l, err := c.formLink()
	if err != nil {
		return nil, err
	}
	if l.Service == nil && l.Currency == nil && l.Type != kbsig.LinkDevice {
		return nil, status.InputField("type", "sig/post takes statements about oneself only")
	}
	// What takes the place of what follows from the chain, whatever the client thought.
	if s := c.raw("supersede"); s != "" && s != "0" && s != "1" {
		return nil, status.InputField("supersede", "supersede is 0 or 1")
	}
	p := identity.Post{Links: []*sigchain.Link{l}}
	if p.Lease, err = leaseID(c.raw("downgrade_lease_id")); err != nil {
		return nil, err
	}
	if l.Service != nil {
		if err := c.acceptProof(l); err != nil {
			return nil, err
		}
	}
	if err := c.postLinks(p); err != nil || l.Service == nil {
		return none{}, err
	}
	return c.proofPosted(l)
}

// multiJSON is an element of "sigs" in sig/multi. client: go/libkb/kbsig.go:SigMultiItem
type multiJSON struct {
	linkJSON
	TeamID     string          `json:"team_id"`
	SeqType    int             `json:"seq_type"`
	Version    int             `json:"version"`
	Sig3       *sig3JSON       `json:"sig3"`
	Expansions json.RawMessage `json:"expansions"`
}

// sigMulti: POST sig/multi: links of teams, or statements of the web of trust, which are
// a user's own. The two do not come together.
// client: go/engine/wot_vouch.go:WotVouch.Run, go/engine/wot_react.go:WotReact.Run
func sigMulti(c *call) (any, error) {
	var req struct {
		Sigs  []multiJSON `json:"sigs"`
		Lease string      `json:"downgrade_lease_id"`
		teamMultiJSON
	}
	if err := c.body(&req); err != nil {
		return nil, err
	}
	for _, item := range req.Sigs {
		if item.TeamID != "" || item.Sig3 != nil {
			return c.teamMulti(req.Sigs, req.Lease, &req.teamMultiJSON)
		}
	}
	var p identity.Post
	links := make([]linkJSON, len(req.Sigs))
	for i, item := range req.Sigs {
		if item.SeqType != 0 && item.SeqType != kbsig.SeqTypePublic {
			return nil, status.InputField("seq_type", "links of users are public")
		}
		links[i] = item.linkJSON
		if item.Expansions == nil || string(item.Expansions) == "null" {
			continue
		}
		if len(req.Sigs) > 1 {
			return nil, status.InputField("expansions", "a link with something beside it must come alone")
		}
		var err error
		if p.Expansion, err = vouches.ParseExpansion(item.Expansions); err != nil {
			return nil, err
		}
	}
	var err error
	if p.Links, err = parseLinks(links); err != nil {
		return nil, err
	}
	for i, l := range p.Links {
		if v := req.Sigs[i].Version; v != 0 && v != l.Version {
			return nil, status.InputField("version", "the link is of another version")
		}
	}
	if p.Lease, err = leaseID(req.Lease); err != nil {
		return nil, err
	}
	return none{}, c.postLinks(p)
}
