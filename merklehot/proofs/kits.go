package proofs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/keystead/keystead/merklehot/pvl"
	"github.com/keystead/keystead/merklehot/roots"
)

// kitVersion is that of the frame around an entry, and the only one of entries.
// client: go/merklestore/store.go:merkleStoreKitT
const kitVersion = 1

// kit is a document of which the roots hold the hash.
type kit struct {
	Version int            `json:"kit_version"`
	Ctime   int64          `json:"ctime"`
	Tab     map[string]any `json:"tab"`
}

// externalService is one row of the services that clients know of.
// client: go/protocol/keybase1/prove_common.go:ExternalServiceConfig
type externalService struct {
	Schema  int      `json:"schema_version"`
	Display *display `json:"display,omitempty"`
	Config  *Config  `json:"config,omitempty"`
}

// display says how a service is shown. client: go/protocol/keybase1/prove_common.go:ServiceDisplayConfig
type display struct {
	CreationDisabled bool   `json:"creation_disabled"`
	Priority         int    `json:"priority"`
	Key              string `json:"key"`
	Group            string `json:"group,omitempty"`
	New              bool   `json:"new"`
	LogoKey          string `json:"logo_key"`
}

// place is a service, or what else can be put on a profile, in the order in which
// people are asked.
type place struct {
	key, logo string
	closed    bool // new proofs are not offered
	below     bool // shown only to those who ask for more
}

// shown are the places of an ordinary server. New proofs of the last two networks are
// not offered: they show posts to their own users only, so nobody could check.
var shown = []place{
	{key: "github"}, {key: "reddit"}, {key: "hackernews"},
	{key: "web"}, {key: "http", logo: "web"}, {key: "https", logo: "web"}, {key: "dns", logo: "web"},
	{key: "pgp"}, {key: "btc"}, {key: "zcash"},
	{key: "twitter", closed: true}, {key: "facebook", closed: true},
}

// shownInDevel is the same for the client's own tests, which want the networks of
// their time and those that exist only there.
// client: go/systests/profile_test.go:TestProofSuggestions
var shownInDevel = []place{
	{key: "twitter"}, {key: "github"}, {key: "reddit"}, {key: "hackernews"}, {key: "rooter"},
	{key: "gubble.social"},
	{key: "web"}, {key: "http", logo: "web"}, {key: "https", logo: "web"}, {key: "dns", logo: "web"},
	{key: "pgp"}, {key: "btc"}, {key: "zcash"},
	{key: "facebook", closed: true},
	{key: "gubble.cloud", below: true}, {key: "theqrl.org", below: true},
	{key: "gubble-with-dashes.dot", below: true}, {key: "mastodon.local", below: true},
}

// foldAfter is the priority from which services are below the fold; the operator's
// come before it unless their files say otherwise.
const foldAfter = 500

// Kits are the documents of this server's services. The same services always give the
// same documents, for their hashes stand in every root.
func Kits(services []*Config, devel bool) (roots.Kits, error) {
	program, err := document(pvl.Kit(devel))
	if err != nil {
		return roots.Kits{}, err
	}
	params, err := document(map[string]any{"suggestion_fold": foldAfter, "services": rows(services, devel)})
	if err != nil {
		return roots.Kits{}, err
	}
	// Of what clients look for there is nothing: no partners of a wallet.
	// client: go/libkb/constants.go:ExternalURLsStellarPartners
	urls, err := document(map[string]any{"external_urls": map[string][]string{"stellar_partners": {}}})
	if err != nil {
		return roots.Kits{}, err
	}
	return roots.Kits{PVL: program, ProofParams: params, ExternalURLs: urls}, nil
}

// document frames an entry.
func document(entry any) (roots.Kit, error) {
	b, err := json.Marshal(kit{Version: kitVersion, Ctime: 1, Tab: map[string]any{fmt.Sprint(kitVersion): entry}})
	if err != nil {
		return roots.Kit{}, fmt.Errorf("write a kit: %w", err)
	}
	return roots.NewKit(string(b)), nil
}

// rows lists all services, the operator's own behind the others, by their domain.
func rows(services []*Config, devel bool) []externalService {
	list := shown
	if devel {
		list = shownInDevel
	}
	byDomain := make(map[string]*Config)
	for _, c := range services {
		byDomain[c.Domain] = c
	}
	out := []externalService{}
	for i, p := range list {
		d := &display{Key: p.key, Priority: i + 1, CreationDisabled: p.closed, LogoKey: p.logo}
		if p.below {
			d.Priority += foldAfter
		}
		out = append(out, row(d, byDomain[p.key]))
		delete(byDomain, p.key)
	}
	for i, domain := range slices.Sorted(maps.Keys(byDomain)) {
		out = append(out, row(&display{Key: domain, Priority: len(list) + i + 1}, byDomain[domain]))
	}
	return out
}

// row is one service; c is nil for those that clients have built in.
func row(d *display, c *Config) externalService {
	if c != nil {
		d.Group, d.LogoKey = c.Group, c.LogoKey
		if c.Priority > 0 {
			d.Priority = c.Priority
		}
	}
	if d.LogoKey == "" {
		d.LogoKey = d.Key
	}
	return externalService{Schema: 1, Config: c, Display: d}
}
