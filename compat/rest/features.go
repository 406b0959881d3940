package rest

import (
	"strings"
	"time"

	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
)

const (
	// featureCacheTime is how long a client may keep a switch.
	featureCacheTime = time.Hour
	// featuresMax bounds the switches of one question.
	featuresMax = 100
)

// userFeatures: GET user/features: the switches that the operator set, and those that a
// test set for this user. "admin" is always there: clients want to know, and nobody is
// an admin of a hosted service. client: go/libkb/features.go:FeatureFlagSet.refreshAllLocked,
// go/service/config.go:ConfigHandler.UpdateLastLoggedInAndServerConfig
func userFeatures(c *call) (any, error) {
	acct, err := accounts.Get(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	type feature struct {
		Value    bool  `json:"value"`
		CacheSec int64 `json:"cache_sec"`
	}
	usual := int64(featureCacheTime / time.Second)
	out := map[string]feature{"admin": {CacheSec: usual}}
	for _, n := range c.s.Features {
		out[n] = feature{true, usual}
	}
	if asked := c.raw("features"); asked != "" {
		names := strings.Split(asked, ",")
		if len(names) > featuresMax {
			return nil, status.InputField("features", "too many features asked for")
		}
		for _, n := range names {
			if _, known := out[n]; !known && n != "" && len(n) <= accounts.FeatureBytesMax {
				out[n] = feature{CacheSec: usual}
			}
		}
	}
	if c.s.Devel {
		for _, f := range acct.Features {
			out[f.Name] = feature{f.On, f.CacheSec}
		}
	}
	return struct {
		Features map[string]feature `json:"features"`
	}{out}, nil
}

// testFeature: POST test/feature, in devel only: sets a switch for the caller.
// client: go/engine/features_test.go:TestFeatureFlagSet
func testFeature(c *call) (any, error) {
	name, err := c.str("feature")
	if err != nil {
		return nil, err
	}
	value, err := c.integer("value", 0)
	if err != nil {
		return nil, err
	}
	cache, err := c.integer("cache_sec", 0)
	if err != nil {
		return nil, err
	}
	if len(name) > accounts.FeatureBytesMax || cache > int64(24*time.Hour/time.Second) {
		return nil, status.InputField("feature", "such a feature cannot be set")
	}
	return none{}, c.update(func(tx *store.Tx) error {
		return accounts.SetFeature(tx, c.who.UID, accounts.Feature{Name: name, On: value != 0, CacheSec: cache})
	})
}
