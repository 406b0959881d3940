package sigchain

import (
	"github.com/keystead/keystead/compat/kbsig"
)

// Posted is one link as a request carries it: an element of "sigs" in key/multi
// and sig/multi, or the form of follow, sig/post and sig/revoke. All values are
// strings, absent ones empty. client: go/libkb/delegatekey.go:post,
// go/libkb/kbsig.go:PerUserKeyProofReverseSigned, go/engine/track_token.go
type Posted struct {
	Sig        string // base64 packet
	SigInner   string // v2: inner JSON
	SigningKID string
	Type       string // body.type; sig/revoke sends none

	SigIDBase     string
	SigIDShort    string
	PublicKey     string // delegations: what is added
	PublicSigning string // public_keys of a per-user key
	PublicEncrypt string
	EldestKID     string
	IsPrimary     string // "1" in eldest links
	NewEldest     string
	IsRemoteProof string
	IsUpdate      string
	UID           string // follow: the followee
}

// Parse reads a posted link: packet, signatures, shape, and the agreement of
// everything that was sent beside the signature. It needs no state.
func Parse(p Posted) (*Link, error) {
	packet, err := kbsig.DecodeArmored(p.Sig, kbsig.PacketBytesMax)
	if err != nil {
		return nil, refuse(KindSignature, "%w", err)
	}
	if len(p.SigInner) > kbsig.InnerBytesMax {
		return nil, refuse(KindInput, "inner link of %d bytes", len(p.SigInner))
	}
	l, err := parseLink(packet, []byte(p.SigInner))
	if err != nil {
		return nil, err
	}
	return l, l.checkPosted(p)
}

// checkPosted compares what was sent beside the signature with what was signed.
func (l *Link) checkPosted(p Posted) error {
	if p.SigningKID != l.KID.String() {
		return refuse(KindWrongKey, "signing_kid is not the key that signed")
	}
	isEldest := l.Type == kbsig.LinkEldest
	sent := []struct{ name, got, want string }{
		{"type", p.Type, l.Type.String()},
		{"sig_id_base", p.SigIDBase, l.SigID.String()},
		{"sig_id_short", p.SigIDShort, l.SigID.Short()},
		{"is_remote_proof", p.IsRemoteProof, "0"},
		{"is_update", p.IsUpdate, "0"},
		{"is_primary", p.IsPrimary, oneIf(isEldest)},
		{"new_eldest", p.NewEldest, oneIf(isEldest)},
		{"eldest_kid", p.EldestKID, kidText(l.Eldest)},
		{"public_key", p.PublicKey, kidText(l.Key)},
		{"uid", p.UID, l.followee()},
	}
	if l.PUK != nil {
		if p.PublicSigning != l.PUK.Signing.String() || p.PublicEncrypt != l.PUK.Encryption.String() {
			return refuse(KindMismatch, "public_keys are not the keys that were signed")
		}
	} else if p.PublicSigning != "" || p.PublicEncrypt != "" {
		return refuse(KindMismatch, "public_keys beside a link of type %s", l.Type)
	}
	for _, s := range sent {
		if s.got != "" && s.got != s.want {
			return refuse(KindMismatch, "%s does not agree with the signature", s.name)
		}
	}
	if p.PublicKey == "" && !l.Key.IsZero() {
		return refuse(KindMismatch, "public_key is missing")
	}
	return nil
}

func oneIf(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func kidText(k kbsig.KID) string {
	if k.IsZero() {
		return ""
	}
	return k.String()
}

func (l *Link) followee() string {
	switch {
	case l.Track != nil:
		return l.Track.UID.String()
	case l.Untrack != nil:
		return l.Untrack.UID.String()
	}
	return ""
}
