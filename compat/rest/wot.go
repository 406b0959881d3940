package rest

import (
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/vouches"
)

// vouchJSON is one row of the web of trust. client: go/libkb/wot.go:serverWotVouch
type vouchJSON struct {
	Voucher           string      `json:"voucher"`
	VoucherEldest     kbsig.Seqno `json:"voucher_eldest_seqno"`
	Vouchee           string      `json:"vouchee"`
	VoucheeEldest     kbsig.Seqno `json:"vouchee_eldest_seqno"`
	VouchSig          string      `json:"vouch_sig"`
	VouchExpansion    string      `json:"vouch_expansion"`
	ReactionSig       *string     `json:"reaction_sig,omitempty"`
	ReactionExpansion *string     `json:"reaction_expansion,omitempty"`
	Status            int         `json:"status"`
}

// wotGet: GET wot/get: the vouches for somebody, for oneself if nobody is named, or by
// somebody. What is not accepted is shown to those concerned only.
// client: go/libkb/wot.go:fetchWot
func wotGet(c *call) (any, error) {
	rows, err := c.vouchRows()
	if err != nil {
		return nil, err
	}
	out := []vouchJSON{}
	for _, r := range rows {
		voucher, err := identity.Chain(c.view(), r.Voucher)
		if err != nil {
			return nil, err
		}
		vouchee, err := identity.Chain(c.view(), r.Vouchee)
		if err != nil {
			return nil, err
		}
		st := r.Status(voucher, vouchee)
		mine := c.who.UID == r.Voucher || c.who.UID == r.Vouchee
		// One about accounts that were reset since would make the whole list
		// unreadable. client: go/libkb/wot.go:assertVouchIsForUser
		if st == vouches.StatusNone || !mine && st != vouches.StatusAccepted {
			continue
		}
		row := vouchJSON{
			Voucher: r.Voucher.String(), VoucherEldest: r.VoucherEldest,
			Vouchee: r.Vouchee.String(), VoucheeEldest: r.VoucheeEldest,
			VouchSig: r.Sig.SigID(), VouchExpansion: string(r.Expansion), Status: int(st),
		}
		if r.Reaction != nil {
			sig, text := r.Reaction.Sig.SigID(), string(r.Reaction.Expansion)
			row.ReactionSig, row.ReactionExpansion = &sig, &text
		}
		out = append(out, row)
	}
	return struct {
		Vouches []vouchJSON `json:"webOfTrust"`
	}{out}, nil
}

func (c *call) vouchRows() ([]vouches.Row, error) {
	vouchee, voucher := c.who.UID, kbsig.UID{}
	for name, u := range map[string]*kbsig.UID{"vouchee": &vouchee, "voucher": &voucher} {
		if !c.has(name) {
			continue
		}
		n, err := parsed(c, name, kbsig.ParseUsername)
		if err != nil {
			return nil, err
		}
		acct, err := accounts.ByName(c.view(), n)
		if err != nil {
			return nil, err
		}
		*u = acct.UID
	}
	switch {
	case voucher.IsZero():
		return vouches.List(c.view(), vouchee, keys.VouchFor)
	case !c.has("vouchee"):
		return vouches.List(c.view(), voucher, keys.VouchBy)
	}
	v, err := vouches.Get(c.view(), vouchee, voucher)
	if err != nil || v == nil {
		return nil, err
	}
	return []vouches.Row{{Vouchee: vouchee, Voucher: voucher, Vouch: *v}}, nil
}
