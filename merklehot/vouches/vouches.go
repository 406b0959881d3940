// Package vouches keeps what people say about each other in the web of trust, and what
// those concerned answer.
//
// A chain holds only the HMAC of a vouch or of a reaction. What was said comes beside
// the link and is kept here, so that clients can hold it against the HMAC: byte for
// byte as their JSON encoder writes it. Of the vouches of one user for another the
// newest is kept, with the newest reaction to it. Whether they were taken back is not
// noted here: the chains say it.
//
// It owns the key family "Z" of engine/keys, both sides of a vouch always together,
// and imports engine/store, engine/keys and merklehot/sigchain.
// Protocol: client: go/libkb/wot.go:FetchWotVouches, go/engine/wot_vouch.go:WotVouch
package vouches

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// listMax bounds the vouches of one list.
const listMax = 1_000

// Vouch is what a voucher says about a vouchee.
type Vouch struct {
	Sig           kbsig.SigIDBase `codec:"s"`
	Seqno         kbsig.Seqno     `codec:"n"` // in the voucher's chain
	At            int64           `codec:"t"` // milliseconds
	VoucherEldest kbsig.Seqno     `codec:"r"` // the incarnations that it is about
	VoucheeEldest kbsig.Seqno     `codec:"e"`
	Expansion     []byte          `codec:"x"`
	Reaction      *Reaction       `codec:"a,omitempty"`
}

// Reaction is what the vouchee answers.
type Reaction struct {
	Sig       kbsig.SigIDBase `codec:"s"`
	Seqno     kbsig.Seqno     `codec:"n"` // in the vouchee's chain
	Accepts   bool            `codec:"a"`
	Expansion []byte          `codec:"x"`
}

// Status is how a vouch stands.
type Status int

// Statuses. client: go/protocol/keybase1/common.go:WotStatusType
const (
	StatusNone     Status = 0 // about accounts that were reset since
	StatusProposed Status = 1
	StatusAccepted Status = 2
	StatusRejected Status = 3
	StatusRevoked  Status = 4
)

// Status is how a vouch stands by the chains of the two.
// client: go/libkb/wot.go:transformUserVouch
func (v *Vouch) Status(voucher, vouchee *sigchain.State) Status {
	switch {
	case v.VoucherEldest != voucher.EldestSeqno || v.VoucheeEldest != vouchee.EldestSeqno:
		return StatusNone
	case !said(voucher.Vouches, v.Sig):
		return StatusRevoked
	case v.Reaction == nil || !said(vouchee.Reactions, v.Reaction.Sig):
		return StatusProposed
	case v.Reaction.Accepts:
		return StatusAccepted
	}
	return StatusRejected
}

func said(list []sigchain.Vouch, id kbsig.SigIDBase) bool {
	return slices.ContainsFunc(list, func(v sigchain.Vouch) bool { return v.SigID == id })
}

// Put keeps a vouch in the place of any earlier one between the two.
func Put(tx *store.Tx, vouchee, voucher kbsig.UID, v Vouch) {
	store.Save(tx, keys.Vouch(vouchee, keys.VouchFor, voucher), v)
	tx.Set(keys.Vouch(voucher, keys.VouchBy, vouchee), []byte{})
}

// Forget takes away what was said by u and about u, for the deletion of the account.
func Forget(tx *store.Tx, u kbsig.UID) error {
	for _, side := range []keys.VouchSide{keys.VouchFor, keys.VouchBy} {
		lo := keys.Vouches(u, side)
		err := tx.Scan(lo, keys.End(lo), func(k, _ []byte) error {
			_, _, other, ok := keys.VouchOf(k)
			if !ok {
				return errors.New("malformed key")
			}
			tx.Delete(keys.Vouch(u, side, other))
			tx.Delete(keys.Vouch(other, otherSide(side), u))
			return nil
		})
		if err != nil {
			return fmt.Errorf("forget the vouches of %s: %w", u, err)
		}
	}
	return nil
}

func otherSide(s keys.VouchSide) keys.VouchSide {
	if s == keys.VouchFor {
		return keys.VouchBy
	}
	return keys.VouchFor
}

// Get finds the newest vouch of voucher for vouchee; nil if there is none.
func Get(r store.Reader, vouchee, voucher kbsig.UID) (*Vouch, error) {
	v, err := store.Load[Vouch](r, keys.Vouch(vouchee, keys.VouchFor, voucher))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("vouch of %s for %s: %w", voucher, vouchee, err)
	}
	return &v, nil
}

// Row is a vouch and who is concerned.
type Row struct {
	Vouchee, Voucher kbsig.UID
	Vouch
}

// List lists the vouches for u, or those by u, oldest first, at most listMax.
func List(r store.Reader, u kbsig.UID, side keys.VouchSide) ([]Row, error) {
	var out []Row
	lo := keys.Vouches(u, side)
	err := r.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		_, _, other, ok := keys.VouchOf(k)
		if !ok {
			return fmt.Errorf("malformed vouch key of %s", u)
		}
		row := Row{Vouchee: u, Voucher: other}
		if side == keys.VouchBy {
			row.Vouchee, row.Voucher = other, u
		}
		v, err := Get(r, row.Vouchee, row.Voucher)
		if err != nil {
			return err
		}
		if v == nil {
			return fmt.Errorf("vouch of %s for %s is in the index only", row.Voucher, row.Vouchee)
		}
		row.Vouch = *v
		if out = append(out, row); len(out) == listMax {
			return store.ErrStop
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("vouches of %s: %w", u, err)
	}
	slices.SortStableFunc(out, func(a, b Row) int { return cmp.Compare(a.At, b.At) })
	return out, nil
}
