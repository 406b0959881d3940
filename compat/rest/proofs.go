package rest

import (
	"errors"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/merklehot/proofs"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// hintsJSON is where the proofs of a user are, for those who check them. An empty list
// says that nothing has changed since the version that the client has.
// client: go/libkb/sig_hints.go:SigHints.RefreshWith
type hintsJSON struct {
	Version int64      `json:"version"`
	Hints   []hintJSON `json:"hints"`
}

// hintJSON is one hint. client: go/libkb/sig_hints.go:NewSigHint
type hintJSON struct {
	SigID     string `json:"sig_id"`
	RemoteID  string `json:"remote_id"`
	APIURL    string `json:"api_url"`
	HumanURL  string `json:"human_url"`
	CheckText string `json:"proof_text_check"`
	Verified  bool   `json:"isVerified"`
}

// hints lists all hints of a user, or none if the client has this version. What moves
// a hint moves the account's version.
func (c *call) hints(acct *accounts.Account, low int64) (*hintsJSON, error) {
	out := &hintsJSON{Version: acct.IDVersion, Hints: []hintJSON{}}
	if low < 0 || low >= acct.IDVersion {
		return out, nil
	}
	list, err := proofs.List(c.view(), acct.UID)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		s := c.s.Proofs.Shown(p)
		if s.API == "" {
			continue // nobody knows where: clients call that a missing hint
		}
		out.Hints = append(out.Hints, hintJSON{
			SigID: p.SigID.SigID(), APIURL: s.API, HumanURL: s.Human, CheckText: p.SigID.Medium(),
		})
	}
	return out, nil
}

// sigHints: GET sig/hints. client: go/libkb/sig_hints.go:LoadAndRefreshSigHints
func sigHints(c *call) (any, error) {
	uid, err := c.uid("uid")
	if err != nil {
		return nil, err
	}
	low, err := c.integer("low", 0)
	if err != nil {
		return nil, err
	}
	acct, err := accounts.Get(c.view(), uid)
	if err != nil {
		return nil, err
	}
	return c.hints(acct, low)
}

// acceptProof refuses a statement that nobody could check: before it stands for ever.
func (c *call) acceptProof(l *sigchain.Link) error {
	err := c.s.Proofs.Accept(l.Service)
	switch {
	case errors.Is(err, proofs.ErrUnknownService):
		return status.Input("proofs of that service cannot be checked on this server")
	case errors.Is(err, proofs.ErrBadName):
		return status.Input("nobody can have that name there")
	}
	return err
}

// proofPosted is the answer to a proof. client: go/libkb/post.go:PostProofRes
type proofPosted struct {
	Text     string         `json:"proof_text"` // what has to be published
	ID       string         `json:"proof_id"`
	Metadata map[string]any `json:"proof_metadata"`
}

func (c *call) proofPosted(l *sigchain.Link) (any, error) {
	v := c.s.Store.View()
	defer v.Close()
	p, text, meta, err := c.s.Proofs.Told(v, l.UID, l.SigID)
	if errors.Is(err, proofs.ErrNoProof) {
		return nil, status.Missing("the proof, which was taken back meanwhile,")
	}
	if err != nil {
		return nil, err
	}
	if meta == nil {
		meta = map[string]any{}
	}
	return proofPosted{Text: text, ID: p.ID(), Metadata: meta}, nil
}

// sigPosted: POST sig/posted: has it been published? The server looks.
// client: go/libkb/post.go:CheckPosted
func sigPosted(c *call) (any, error) {
	sig, err := parsed(c, "sig_id", kbsig.ParseSigID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	p, err := c.s.Proofs.Check(ctx, c.who.UID, sig)
	if errors.Is(err, proofs.ErrNoProof) {
		return nil, status.Missing("that proof of yours")
	}
	if err != nil {
		return nil, err
	}
	type result struct {
		Status int    `json:"status"`
		State  int    `json:"state"`
		Desc   string `json:"desc"`
	}
	return struct {
		OK     bool   `json:"proof_ok"`
		ID     string `json:"proof_id"`
		Result result `json:"proof_res"`
	}{p.Status == 1, p.ID(), result{int(p.Status), int(p.State), p.Reason}}, nil
}

// remotesCheck: GET remotes/check: does the web site answer, and by https? Without an
// answer there is no first result. client: go/externals/proof_service_web.go:NormalizeRemoteName
func remotesCheck(c *call) (any, error) {
	host, err := c.str("hostname")
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	type results struct {
		First string `json:"first,omitempty"`
	}
	protocol, err := c.s.Proofs.Site(ctx, host)
	if errors.Is(err, proofs.ErrBadName) {
		return nil, status.InputField("hostname", "that is not the name of a web site")
	}
	if err != nil {
		c.s.Logger.Debug("a web site does not answer", "err", err)
		protocol = ""
	}
	return struct {
		Results results `json:"results"`
	}{results{protocol}}, nil
}

// proofJSON is a proof in a user object, for other tools than the client.
type proofJSON struct {
	Type    string `json:"proof_type"`
	Nametag string `json:"nametag"`
	State   int    `json:"state"`
	Status  int    `json:"status"`
	URL     string `json:"proof_url"`
	Human   string `json:"human_url"`
	API     string `json:"api_url"`
	SigID   string `json:"sig_id"`
	ID      string `json:"proof_id"`
	Group   string `json:"presentation_group"`
	Tag     string `json:"presentation_tag"`
	Checked int64  `json:"last_check"`   // Unix seconds, 0: never
	Seen    int64  `json:"last_success"` // Unix seconds, 0: never
}

// proofsSummary lists a user's proofs that hold.
type proofsSummary struct {
	ByGroup map[string][]proofJSON `json:"by_presentation_group"`
	ByType  map[string][]proofJSON `json:"by_proof_type"`
	All     []proofJSON            `json:"all"`
	HasWeb  bool                   `json:"has_web"`
}

// remoteProofs lists all of a user's proofs that were not taken back.
type remoteProofs struct {
	BySigID map[string]proofJSON `json:"by_sig_id"`
}

// addProofs adds to a user object what the user has proven.
func (c *call) addProofs(u *userJSON, uid kbsig.UID) error {
	list, err := proofs.List(c.view(), uid)
	if err != nil {
		return err
	}
	sum := &proofsSummary{ByGroup: map[string][]proofJSON{}, ByType: map[string][]proofJSON{}, All: []proofJSON{}}
	all := &remoteProofs{BySigID: map[string]proofJSON{}}
	for _, p := range list {
		s := c.s.Proofs.Shown(p)
		row := proofJSON{
			Type: p.Service, Nametag: p.Name, State: int(p.State), Status: int(p.Status),
			URL: s.Human, Human: s.Human, API: s.API, SigID: p.SigID.SigID(), ID: p.ID(),
			Group: s.Group, Tag: p.Name, Checked: p.Checked / 1000, Seen: p.Seen / 1000,
		}
		all.BySigID[row.SigID] = row
		if !p.State.Holds() {
			continue
		}
		sum.All = append(sum.All, row)
		sum.ByGroup[row.Group] = append(sum.ByGroup[row.Group], row)
		sum.ByType[row.Type] = append(sum.ByType[row.Type], row)
		sum.HasWeb = sum.HasWeb || s.Type == proofs.TypeWebSite || s.Type == proofs.TypeDNS
	}
	u.ProofsSummary, u.RemoteProofs = sum, all
	return nil
}

// assertions are words in front of a name that stand for several services.
// client: go/libkb/assertion.go:AssertionWeb.Keys, AssertionHTTP.Keys
var assertions = map[string][]string{
	"web":  {"https", "http", "dns"},
	"http": {"https", "http"},
}

// byProof finds who has proven a name, which the query gives under its service:
// github=alice. Nobody is nil. client: go/libkb/assertion.go:AssertionSocial.ToLookup
func (c *call) byProof() (acct *accounts.Account, asked bool, err error) {
	for k, v := range c.http.QueryArgs().All() {
		key, name := string(k), strings.TrimSpace(string(v))
		services := assertions[key]
		if services == nil && c.s.Proofs.Knows(key) {
			services = []string{key}
		}
		for _, s := range services {
			asked = true
			uid, err := proofs.Owner(c.view(), s, name)
			if errors.Is(err, proofs.ErrNoProof) {
				continue
			}
			if err != nil {
				return nil, true, err
			}
			acct, err = accounts.Get(c.view(), uid)
			return acct, true, err
		}
	}
	return nil, asked, nil
}

// userServiceMaps: POST user/service_maps: the names that people have proven at
// services. client: go/uidmap/servicemap.go:lookupServiceSummariesFromServer
func userServiceMaps(c *call) (any, error) {
	uids, err := c.uidList("uids", usersPerQuestionMax)
	if err != nil {
		return nil, err
	}
	maps := map[string]map[string]string{}
	for _, u := range uids {
		if maps[u.String()], err = c.provenNames(u); err != nil {
			return nil, err
		}
	}
	return struct {
		ServiceMaps map[string]map[string]string `json:"service_maps"`
	}{maps}, nil
}

// provenNames are somebody's names at services, of several at one the newest.
func (c *call) provenNames(u kbsig.UID) (map[string]string, error) {
	list, err := proofs.List(c.view(), u)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, p := range list {
		if p.State.Holds() {
			names[p.Service] = p.Name
		}
	}
	return names, nil
}

// proofTexts are what a user was told to publish, by the number of the link.
func (c *call) proofTexts(uid kbsig.UID) (map[kbsig.Seqno]string, error) {
	list, err := proofs.List(c.view(), uid)
	if err != nil {
		return nil, err
	}
	texts := make(map[kbsig.Seqno]string, len(list))
	for _, p := range list {
		_, text, _, err := c.s.Proofs.Told(c.view(), uid, p.SigID)
		if errors.Is(err, proofs.ErrUnknownService) {
			continue
		}
		if err != nil {
			return nil, err
		}
		texts[p.Seqno] = text
	}
	return texts, nil
}
