package accounts

import (
	"fmt"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
)

const (
	// FeatureBytesMax bounds the name of a client's switch.
	FeatureBytesMax = 64
	// featuresOfUserMax bounds the switches that tests set for one user.
	featuresOfUserMax = 20
)

// Feature is a client's switch that a test set for one user.
type Feature struct {
	Name     string `codec:"n"`
	On       bool   `codec:"o"`
	CacheSec int64  `codec:"c"` // how long the client may keep it
}

// SetFeature sets a switch for a user.
func SetFeature(tx *store.Tx, u kbsig.UID, f Feature) error {
	a, err := Get(tx, u)
	if err != nil {
		return err
	}
	a.Features = slices.DeleteFunc(a.Features, func(o Feature) bool { return o.Name == f.Name })
	if len(a.Features) >= featuresOfUserMax {
		return fmt.Errorf("%s has %d switches", u, len(a.Features))
	}
	a.Features = append(a.Features, f)
	Put(tx, a)
	return nil
}
