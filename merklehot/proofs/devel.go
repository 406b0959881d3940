package proofs

import "github.com/keystead/keystead/merklehot/pvl"

// DevelServices are the generic services that exist only in the client's own tests,
// at addresses of this server. client: go/externals/services_test.go
func DevelServices() []*Config {
	gubble := func(domain, name, display, group string) *Config {
		pages, api := develServer+"/_/gubble_universe/"+name, develServer+"/_/api/1.0/gubble_universe/"+name
		return &Config{
			Version: 2, Domain: domain, DisplayName: display, Group: group,
			Description: "A network of the tests of Keybase clients",
			Username:    ConfigName{Re: `^([a-zA-Z0-9_])+$`, Min: 2, Max: 20},
			BrandColor:  "#FFB800",
			PrefillURL:  pages + "?kb_username=%{kb_username}&username=%{username}&sig_hash=%{sig_hash}&kb_ua=%{kb_ua}",
			ProfileURL:  pages + "/%{username}",
			CheckURL:    api + "/%{username}/proofs.json",
			CheckPath:   []pvl.Selector{pvl.Key("res"), pvl.Key("keybase_proofs")},
			AvatarPath:  []pvl.Selector{pvl.Key("res"), pvl.Key("avatar")},
		}
	}
	return []*Config{
		gubble("gubble.social", "gubble_social", "Gubble.social", "Gubble instance"),
		gubble("gubble.cloud", "gubble_cloud", "Gubble.cloud", "Gubble instance"),
		gubble("gubble-with-dashes.dot", "gubble_with_dashes", "Gubble with dashes", "Gubble instance"),
		gubble("mastodon.local", "mastodon_local", "mastodon.local", "Mastodon"),
		gubble("theqrl.org", "theqrl_org", "Quantum Resistant Ledger", ""),
	}
}
