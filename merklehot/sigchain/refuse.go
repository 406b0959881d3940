package sigchain

import "github.com/keystead/keystead/compat/kbsig"

// Refuse makes an Error for rules that the chain's owner applies beside those of
// this package.
func Refuse(k Kind, format string, args ...any) error { return refuse(k, format, args...) }

// LinkID is the id of the recorded link, without verifying it again.
func (r Record) LinkID() (kbsig.LinkID, error) {
	sig, err := kbsig.DecodeSignature(r.Packet)
	if err != nil {
		return kbsig.LinkID{}, refuse(KindCorrupt, "record: %w", err)
	}
	return kbsig.LinkIDOf(sig.Payload), nil
}
