package identity

import (
	"encoding/json"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// Categories of what is told of a post.
// client: go/service/user_handler.go:userHandler.Create, go/badges/badgestate.go:UpdateWithGregor
const (
	newsKeys     = "user.key_change"
	newsIdentity = "user.identity_change"
	newsDevice   = "device.new"
	newsRevoked  = "device.revoked"
	newsFollow   = "follow"
)

// deviceNews is the body of newsDevice and newsRevoked.
// client: go/service/device.go:LoopAndDismissForDeviceChangeNotifications
type deviceNews struct {
	DeviceID string `json:"device_id"`
}

// userNews is the body of news about a user; clients do not read it.
type userNews struct {
	UID      string `json:"uid"`
	Username string `json:"username"`
}

// tell puts into the outbox what a post means to others: to the user's own devices,
// which then load the chain anew (and log themselves out if they were revoked), and
// to those who are followed.
func tell(tx *store.Tx, before, after *sigchain.State, links []*sigchain.Link) error {
	changed := newsIdentity
	for _, l := range links {
		if !l.Key.IsZero() || l.PUK != nil || l.Revoke != nil && len(l.Revoke.KIDs) > 0 {
			changed = newsKeys
		}
	}
	about := userNews{after.UID.String(), string(after.Username)}
	if err := add(tx, events.News{To: after.UID, Category: changed, Replace: true}, about); err != nil {
		return err
	}
	if err := tellDevices(tx, before, after, links); err != nil {
		return err
	}
	for _, t := range after.Tracks {
		if _, old := before.Follows(t.UID); old {
			continue
		}
		if err := add(tx, events.News{To: t.UID, Category: newsFollow}, about); err != nil {
			return err
		}
	}
	return nil
}

// tellDevices makes badges of devices that came and went: a new device is news to
// those that were there before, and a removed one to all but the one that removed it.
func tellDevices(tx *store.Tx, before, after *sigchain.State, links []*sigchain.Link) error {
	others := before.ActiveDevices()
	for _, d := range after.ActiveDevices() {
		if _, old := before.SigningKID(d.ID); old || len(others) == 0 {
			continue
		}
		if err := add(tx, events.News{To: after.UID, Category: newsDevice, Skip: d.ID}, deviceNews{d.ID.String()}); err != nil {
			return err
		}
	}
	for _, d := range others {
		if _, still := after.SigningKID(d.ID); still {
			continue
		}
		if err := add(tx, events.News{To: after.UID, Category: newsRevoked, Skip: signer(before, links)}, deviceNews{d.ID.String()}); err != nil {
			return err
		}
	}
	return nil
}

// signer is the device that signed the first link; zero if none of the active ones did.
func signer(before *sigchain.State, links []*sigchain.Link) (d kbsig.DeviceID) {
	for _, dev := range before.ActiveDevices() {
		if len(links) > 0 && dev.Sibkey == links[0].KID {
			return dev.ID
		}
	}
	return d
}

func add(tx *store.Tx, n events.News, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("spell news %s: %w", n.Category, err)
	}
	n.Body = b
	return events.Add(tx, n)
}
