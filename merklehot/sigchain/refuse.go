package sigchain

import (
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
)

// Refuse makes an Error for rules that the chain's owner applies beside those of
// this package.
func Refuse(k Kind, format string, args ...any) error { return refuse(k, format, args...) }

// LinkID is the id of the recorded link, without verifying it again.
func (r Record) LinkID() (kbsig.LinkID, error) {
	id, _, err := r.ids()
	return id, err
}

// SigID is the id of the recorded link's signature, without verifying it again.
func (r Record) SigID() (kbsig.SigIDBase, error) {
	_, id, err := r.ids()
	return id, err
}

func (r Record) ids() (kbsig.LinkID, kbsig.SigIDBase, error) {
	if pgp.IsMessage(string(r.Packet)) {
		m, err := pgp.ParseMessage(string(r.Packet))
		if err != nil {
			return kbsig.LinkID{}, kbsig.SigIDBase{}, refuse(KindCorrupt, "record: %w", err)
		}
		return kbsig.LinkIDOf(m.Payload), m.ID, nil
	}
	sig, err := kbsig.DecodeSignature(r.Packet)
	if err != nil {
		return kbsig.LinkID{}, kbsig.SigIDBase{}, refuse(KindCorrupt, "record: %w", err)
	}
	return kbsig.LinkIDOf(sig.Payload), sig.ID(), nil
}
