package audit

import (
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/vouches"
)

// vouches checks that what is kept of the vouches for and by a user is what the links
// of both stand for, and that each is found from both sides.
func (a *auditor) vouches(u *user) error {
	return a.ofUser(keys.Vouch(u.uid, keys.VouchFor, zero.uid), func(rest, v []byte) error {
		side, other := keys.VouchSide(rest[0]), kbsig.UID(rest[1:])
		if side == keys.VouchBy {
			return a.haveVouch(keys.Vouch(other, keys.VouchFor, u.uid), other, u.uid, v)
		}
		subject := "vouch of " + other.String() + " for " + u.uid.String()
		vouch, err := store.Decode[vouches.Vouch](v)
		if err != nil {
			a.problem("%s: %v", subject, err)
			return nil
		}
		if ok, err := store.Has(a.r, keys.Vouch(other, keys.VouchBy, u.uid)); err != nil || !ok {
			a.problem("%s: not listed with the voucher", subject)
		}
		about := a.expansion(subject, other, vouch.Seqno, vouch.Sig, vouch.Expansion)
		if about != nil {
			if who, err := about.Vouch(); err != nil || who.UID != u.uid || who.EldestSeqno != vouch.VoucheeEldest {
				a.problem("%s: it is about somebody else", subject)
			}
		}
		if r := vouch.Reaction; r != nil {
			if e := a.expansion(subject+": reaction", u.uid, r.Seqno, r.Sig, r.Expansion); e != nil {
				if sig, accepts, err := e.Reaction(); err != nil || sig != vouch.Sig || accepts != r.Accepts {
					a.problem("%s: reaction to something else", subject)
				}
			}
		}
		return nil
	})
}

func (a *auditor) haveVouch(k []byte, vouchee, voucher kbsig.UID, index []byte) error {
	ok, err := store.Has(a.r, k)
	if err == nil && (!ok || len(index) != 0) {
		a.problem("vouch of %s for %s: only in the index", voucher, vouchee)
	}
	return err
}

// expansion checks what a link stands for against the link; nil if it does not fit.
func (a *auditor) expansion(subject string, u kbsig.UID, n kbsig.Seqno, sig kbsig.SigIDBase, text []byte) *vouches.Expansion {
	e, err := vouches.ParseExpansion(text)
	if err != nil {
		a.problem("%s: %v", subject, err)
		return nil
	}
	rec, err := identity.Record(a.r, u, n)
	var l *sigchain.Link
	if err == nil {
		l, err = rec.Link()
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		a.problem("%s: there is no link %d of %s", subject, n, u)
	case err != nil:
		a.problem("%s: link %d of %s: %v", subject, n, u, err)
	case l.SigID != sig || l.Expansion == nil || *l.Expansion != e.ID:
		a.problem("%s: link %d of %s is about something else", subject, n, u)
	default:
		return e
	}
	return nil
}
