package identity

import (
	"encoding/json"
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/vouches"
)

// putExpansion keeps what a link about the web of trust stands for, and tells the one
// whom it concerns. A link without it could never be read by anybody, and a vouch that
// does not fit its vouchee would spoil the vouchee's whole list for all clients.
// client: go/libkb/wot.go:transformUserVouch
func putExpansion(tx *store.Tx, next *sigchain.State, l *sigchain.Link, e *vouches.Expansion) error {
	switch {
	case l.Expansion == nil && e == nil:
		return nil
	case l.Expansion == nil || e == nil || *l.Expansion != e.ID:
		return sigchain.Refuse(sigchain.KindMismatch, "what the statement stands for was not sent with it")
	case l.Type == kbsig.LinkWotReact:
		return putReaction(tx, next, l, e)
	}
	return putVouch(tx, next, l, e)
}

func putVouch(tx *store.Tx, voucher *sigchain.State, l *sigchain.Link, e *vouches.Expansion) error {
	about, err := e.Vouch()
	if err != nil {
		return err
	}
	if about.UID == voucher.UID {
		return sigchain.Refuse(sigchain.KindTarget, "%s vouches for itself", voucher.Username)
	}
	vouchee, err := Chain(tx, about.UID)
	if errors.Is(err, accounts.ErrNoUser) {
		return sigchain.Refuse(sigchain.KindTarget, "vouches for %s, whom nobody knows", about.UID)
	}
	if err != nil {
		return err
	}
	if vouchee.Username != about.Username || vouchee.Eldest != about.Eldest ||
		vouchee.EldestSeqno != about.EldestSeqno || vouchee.Eldest.IsZero() {
		return sigchain.Refuse(sigchain.KindTarget, "vouches for a %s who is not the one that is there now", about.Username)
	}
	old, err := vouches.Get(tx, vouchee.UID, voucher.UID)
	if err != nil {
		return err
	}
	if old != nil {
		switch old.Status(voucher, vouchee) {
		case vouches.StatusNone, vouches.StatusRevoked:
		default:
			return sigchain.Refuse(sigchain.KindTarget, "vouches for %s a second time without taking the first vouch back", about.Username)
		}
	}
	vouches.Put(tx, vouchee.UID, voucher.UID, vouches.Vouch{
		Sig: l.SigID, Seqno: l.Seqno, At: tx.Now().UnixMilli(),
		VoucherEldest: voucher.EldestSeqno, VoucheeEldest: vouchee.EldestSeqno, Expansion: e.Text,
	})
	return wotNews(tx, vouchee.UID, "wot.new_vouch", "voucher", voucher.Username)
}

func putReaction(tx *store.Tx, vouchee *sigchain.State, l *sigchain.Link, e *vouches.Expansion) error {
	sig, accepts, err := e.Reaction()
	if err != nil {
		return err
	}
	unknown := sigchain.Refuse(sigchain.KindKeyNotFound, "reacts to %s, which is no vouch for %s", sig, vouchee.Username)
	place, err := store.Load[SigPlace](tx, keys.SigID(sig))
	if errors.Is(err, store.ErrNotFound) {
		return unknown
	}
	if err != nil {
		return err
	}
	v, err := vouches.Get(tx, vouchee.UID, place.UID)
	if err != nil {
		return err
	}
	if v == nil || v.Sig != sig {
		return unknown
	}
	voucher, err := Chain(tx, place.UID)
	if err != nil {
		return err
	}
	switch status := v.Status(voucher, vouchee); {
	case status == vouches.StatusProposed, status == vouches.StatusAccepted && !accepts:
	case status == vouches.StatusAccepted:
		return sigchain.Refuse(sigchain.KindTarget, "accepts a vouch that is accepted already")
	case status == vouches.StatusRejected:
		return sigchain.Refuse(sigchain.KindTarget, "reacts to a vouch that was rejected")
	default:
		return sigchain.Refuse(sigchain.KindTarget, "reacts to a vouch that was taken back")
	}
	v.Reaction = &vouches.Reaction{Sig: l.SigID, Seqno: l.Seqno, Accepts: accepts, Expansion: e.Text}
	vouches.Put(tx, vouchee.UID, place.UID, *v)
	category := "wot.rejected"
	if accepts {
		category = "wot.accepted"
	}
	return wotNews(tx, place.UID, category, "vouchee", vouchee.Username)
}

// wotNews tells a user's devices what somebody else said.
// client: go/badges/badgestate.go:UpdateWithGregor, go/libkb/wot.go:_wotMsg
func wotNews(tx *store.Tx, to kbsig.UID, category, role string, who kbsig.Username) error {
	body, err := json.Marshal(map[string]kbsig.Username{role: who})
	if err != nil {
		return err
	}
	return events.Add(tx, events.News{To: to, Category: category, Body: body})
}
