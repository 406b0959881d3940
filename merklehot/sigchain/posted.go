package sigchain

import (
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
)

// Posted is one link as a request carries it: an element of "sigs" in key/multi
// and sig/multi, or the form of follow, sig/post and sig/revoke. All values are
// strings, absent ones empty. client: go/libkb/delegatekey.go:post,
// go/libkb/kbsig.go:PerUserKeyProofReverseSigned, go/engine/track_token.go
type Posted struct {
	Sig        string // base64 packet, or armoured PGP message
	SigInner   string // v2: inner JSON
	SigningKID string
	Type       string // body.type; sig/revoke sends none

	SigIDBase     string
	SigIDShort    string
	PublicKey     string // delegations: what is added, a key id or an armoured PGP key
	PublicSigning string // public_keys of a per-user key
	PublicEncrypt string
	EldestKID     string
	IsPrimary     string // "1" in eldest links
	NewEldest     string
	IsRemoteProof string
	IsUpdate      string
	UID           string // follow: the followee

	RemoteUsername string // proofs: who at a service
	RemoteHost     string // proofs: a web site with its protocol, or a domain
	RemoteService  string // proofs at a service by configuration: its domain
}

// Parse reads a posted link: packet, signatures, shape, and the agreement of
// everything that was sent beside the signature. It needs no state.
func Parse(p Posted) (*Link, error) {
	packet, err := postedPacket(p.Sig)
	if err != nil {
		return nil, refuse(KindSignature, "%w", err)
	}
	bundle := ""
	if pgp.Armored(p.PublicKey) {
		bundle = p.PublicKey
	}
	if len(p.SigInner) > kbsig.InnerBytesMax {
		return nil, refuse(KindInput, "inner link of %d bytes", len(p.SigInner))
	}
	l, err := parseLink(packet, []byte(p.SigInner), bundle)
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
	if l.message != nil && p.SigIDBase == l.ID.String() {
		// Clients that have gpg sign take the payload's hash for the signature's id.
		// client: go/libkb/gpg_key.go:SignToStringMctx
		p.SigIDBase, p.SigIDShort = "", ""
	}
	isEldest := l.Type == kbsig.LinkEldest
	sent := []sentBeside{
		{"type", baseType(p.Type), l.Type.String()},
		{"sig_id_base", p.SigIDBase, l.SigID.String()},
		{"sig_id_short", p.SigIDShort, l.SigID.Short()},
		{"is_remote_proof", p.IsRemoteProof, oneIf(l.Service != nil)},
		{"is_update", p.IsUpdate, oneIf(l.Type == kbsig.LinkPGPUpdate)},
		{"is_primary", p.IsPrimary, oneIf(isEldest)},
		{"new_eldest", p.NewEldest, oneIf(isEldest)},
		{"eldest_kid", p.EldestKID, kidText(l.Eldest)},
		{"public_key", p.PublicKey, l.publicKeyText()},
		{"uid", p.UID, l.followee()},
	}
	sent = append(sent, l.sentBesideProof(p)...)
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
	if p.PublicKey == "" && !l.publicKey().IsZero() {
		return refuse(KindMismatch, "public_key is missing")
	}
	return nil
}

// sentBeside is something that was sent beside a signature, and what it must be if it
// was sent.
type sentBeside struct{ name, got, want string }

// baseType is a posted type without the service that clients add to proofs.
func baseType(sent string) string {
	// The network of the client's own tests has a word more.
	// client: go/externals/proof_service_rooter.go:GetProofType
	if strings.HasPrefix(sent, "web_service_binding.") || sent == "test.web_service_binding.rooter" {
		return "web_service_binding"
	}
	return sent
}

// sentBesideProof is what is sent with a proof only.
// client: go/libkb/post.go:PostProof, go/engine/prove.go:postProofToServer
func (l *Link) sentBesideProof(p Posted) []sentBeside {
	var service, user, host, generic string
	switch s := l.Service; {
	case s == nil:
	case s.Protocol == "dns":
		service, host = "dns", s.Host
	case !s.Social():
		service, host = "generic", s.Protocol+"//"+s.Host
	case s.Generic():
		service, user, generic = "generic_social", s.Username, s.Name
	default:
		service, user = s.Name, s.Username
	}
	_, sent, _ := strings.Cut(p.Type, "web_service_binding.")
	return []sentBeside{
		{"type", sent, service},
		{"remote_username", p.RemoteUsername, user},
		{"remote_host", p.RemoteHost, host},
		{"remote_service", p.RemoteService, generic},
	}
}

// publicKey is the key that is sent beside a link that brings one.
func (l *Link) publicKey() kbsig.KID {
	if l.Wallet != nil {
		return l.Wallet.KID
	}
	return l.Key
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

// postedPacket takes the armour off a packet; PGP messages keep theirs.
func postedPacket(sig string) ([]byte, error) {
	if pgp.IsMessage(sig) {
		return []byte(sig), nil
	}
	return kbsig.DecodeArmored(sig, kbsig.PacketBytesMax)
}

// publicKeyText is publicKey as clients send it: a PGP key whole.
func (l *Link) publicKeyText() string {
	if l.bundle != nil {
		return l.bundle.Bundle
	}
	return kidText(l.publicKey())
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
