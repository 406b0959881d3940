package rest

import (
	"fmt"
	"slices"
	"time"

	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/roots"
)

// Devel mode. These endpoints let the client's own tests look behind the scenes and move
// things on; a server outside devel mode answers as if they did not exist.

// develInvitation is a code that is always good in devel mode, unless sign-up is closed.
// client: go/libkb/constants.go:TestInvitationCode
const develInvitation = "202020202020202020202020"

// develTable are the endpoints that only devel mode has.
func develTable() []route {
	return append(slices.Concat(rooterRoutes(), contactHooks(), joiningHooks()), []route{
		{"autoreset/timetravel", post, authOptional, ratePost, 0, refused, resetTravel},
		{"autoreset/process_dev", post, authNone, rateLookup, 0, natural, resetProcess},
		{"autoreset/status_dev", get, authOptional, rateLookup, 0, reads, resetStatusDevel},
		{"test/accelerate_autoresetd", post, authOptional, rateLookup, 0, natural, resetProcess},
		{"me", get, authRequired, rateOwn, 0, reads, aboutMe},
		{"pkg/show", get, authOptional, rateRead, 0, reads, packageShow},
		{"teambot/delete_for_test", post, authRequired, ratePost, 0, natural, forgetBotKey},
		{"test/build_blind_tree", get, authOptional, ratePost, 0, natural, buildBlindTree},
		{"test/feature", post, authRequired, ratePost, 0, natural, testFeature},
		{"test/big_state_cutoff", post, authRequired, ratePost, 0, natural, setBigState},
		{"test/agedevice", post, authRequired, ratePost, 0, refused, ageDevice},
	}...)
}

// buildBlindTree: GET test/build_blind_tree: a root that commits to all hidden links.
// client: go/teams/hidden_loader_test.go:requestNewBlindTreeFromArchitectAndWaitUntilDone
func buildBlindTree(c *call) (any, error) {
	return nil, c.update(func(tx *store.Tx) error {
		tx.Note(roots.BlindBuild{})
		return nil
	})
}

// bigStateMax bounds how many items a state may be said to be big from.
const bigStateMax = 1 << 20

// setBigState: POST test/big_state_cutoff: the caller hears of no single team's changes
// while more items wait. client: go/systests/teams_test.go:TestForceRepollState
func setBigState(c *call) (any, error) {
	n, err := c.integer("cutoff", 0)
	if err != nil {
		return nil, err
	}
	if n < 1 || n > bigStateMax {
		return nil, status.InputField("cutoff", fmt.Sprintf("it must be between 1 and %d items", bigStateMax))
	}
	if c.s.BigState != nil {
		c.s.BigState(c.who.UID, int(n))
	}
	return none{}, nil
}

// aboutMe: GET me: what the server holds of the caller's mail and password.
// client: go/engine/email_change_test.go:assertEmail
func aboutMe(c *call) (any, error) {
	acct, err := accounts.Get(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	type mail struct {
		Email      string `json:"email"`
		IsVerified int    `json:"is_verified"`
	}
	type emails struct {
		Primary *mail `json:"primary"`
	}
	type self struct {
		ID     string   `json:"id"`
		Basics meBasics `json:"basics"`
		Emails emails   `json:"emails"`
	}
	var primary *mail
	contact, err := accounts.GetContact(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	if len(contact.Mails) > 0 {
		primary = &mail{Email: contact.Mails[0].Address}
		if contact.Mails[0].Verified != 0 {
			primary.IsVerified = 1
		}
	}
	return struct {
		Me self `json:"me"`
	}{self{acct.UID.String(), meBasics{string(acct.Name), acct.Generation, 0}, emails{primary}}}, nil
}

// packageShow: GET pkg/show: the names that the client gave its device and its
// installation, as they arrived. client: go/libkb/api_test.go:TestInstallIDHeaders
func packageShow(c *call) (any, error) {
	header := func(name string) string { return string(c.http.Request.Header.Peek(name)) }
	return struct {
		DeviceID  string `json:"device_id,omitempty"`
		InstallID string `json:"install_id,omitempty"`
	}{header("X-Keybase-Device-ID"), header("X-Keybase-Install-ID")}, nil
}

// deviceAging is how much older test/agedevice makes a device. The client's tests want
// one that is past a week of probation.
const deviceAging = 30 * 24 * time.Hour

// ageDevice: POST test/agedevice: make one of the caller's devices older.
// client: go/stellar/stellarsvc/service_test.go:makeActiveDeviceOlder
func ageDevice(c *call) (any, error) {
	id, err := c.dev("device_id")
	if err != nil {
		return nil, err
	}
	return none{}, c.update(func(tx *store.Tx) error {
		if _, err := accounts.GetDevice(tx, c.who.UID, id); err != nil {
			return err
		}
		err := accounts.UpdateDevice(tx, c.who.UID, id, func(d *accounts.Device) {
			d.CTime -= int64(deviceAging / time.Second)
		})
		if err != nil {
			return err
		}
		acct, err := accounts.Get(tx, c.who.UID)
		if err != nil {
			return err
		}
		acct.TouchPrivate()
		accounts.Put(tx, acct)
		return nil
	})
}
