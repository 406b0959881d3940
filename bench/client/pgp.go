package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/keybase/go-crypto/openpgp"
	"github.com/keybase/go-crypto/openpgp/armor"
	"github.com/keybase/go-crypto/openpgp/packet"
)

// The armour of OpenPGP, as far as it decides how a text is read.
// client: go/libkb/sig.go:IsPGPSig, go/libkb/generickey.go:isPGPBundle
const (
	pgpMessage = "-----BEGIN PGP MESSAGE-----"
	pgpBundle  = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
)

// PGPKey is one version of somebody's public PGP key; with the secret half if it is
// one's own. client: go/libkb/pgp_key.go:PGPKeyBundle
type PGPKey struct {
	KID         KID
	Fingerprint string // hex
	Hash        string // of the bundle, hex: names the version
	Bundle      string // armoured

	entity *openpgp.Entity
}

// parsePGPKey reads a bundle out of all_bundles.
// client: go/libkb/pgp_key.go:ReadOneKeyFromStringLiberal
func parsePGPKey(bundle string) (*PGPKey, error) {
	ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(bundle))
	if err != nil {
		return nil, err
	}
	if len(ring) != 1 || ring[0].PrivateKey != nil {
		return nil, fmt.Errorf("%d keys, or a secret one", len(ring))
	}
	return nameKey(ring[0], bundle)
}

// nameKey computes the names of a key. client: go/libkb/pgp_key.go:GetBinaryKID, FullHash
func nameKey(e *openpgp.Entity, bundle string) (*PGPKey, error) {
	var b bytes.Buffer
	if err := e.PrimaryKey.Serialize(&b); err != nil {
		return nil, err
	}
	material := b.Bytes()[8:]
	if b.Len() >= 193 {
		material = b.Bytes()[9:]
	}
	sum, whole := sha256.Sum256(material), sha256.Sum256([]byte(strings.TrimSpace(bundle)))
	return &PGPKey{
		KID: NewKID(byte(e.PrimaryKey.PubKeyAlgo), sum[:]), Fingerprint: hex.EncodeToString(e.PrimaryKey.Fingerprint[:]),
		Hash: hex.EncodeToString(whole[:]), Bundle: bundle, entity: e,
	}, nil
}

// openPGP takes a signed message apart: its payload, and its body, whose hash is the
// signature's id. client: go/libkb/sig.go:SigExtractPGPPayload
func openPGP(armored string) (payload, body []byte, err error) {
	block, err := armor.Decode(strings.NewReader(armored))
	if err != nil {
		return nil, nil, err
	}
	if body, err = io.ReadAll(block.Body); err != nil {
		return nil, nil, err
	}
	md, err := openpgp.ReadMessage(bytes.NewReader(body), openpgp.EntityList{}, nil, nil)
	if err != nil {
		return nil, nil, err
	}
	payload, err = io.ReadAll(io.LimitReader(md.UnverifiedBody, payloadBytesMax+1))
	return payload, body, err
}

// verify checks that the key signed the message. client: go/libkb/sig.go:ParsedSig.Verify
func (k *PGPKey) verify(body []byte) error {
	md, err := openpgp.ReadMessage(bytes.NewReader(body), openpgp.EntityList{k.entity}, nil, nil)
	if err != nil {
		return err
	}
	if !md.IsSigned || md.SignedBy == nil {
		return errors.New("not signed by it")
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(md.UnverifiedBody, payloadBytesMax+1)); err != nil {
		return err
	}
	if md.SignatureError != nil {
		return md.SignatureError
	}
	if md.Signature == nil && md.SignatureV3 == nil {
		return errors.New("no signature")
	}
	return nil
}

// parsePGPEntry reads a link that PGP signs. Whether the signature is good shows when the
// chain has told which version of the key counts.
// client: go/libkb/chain_link_parse_2.go:importLinkFromServerPGP
func parsePGPEntry(subject, sig string, e map[string]json.RawMessage) (*Link, error) {
	if string(e["sig_version"]) != "1" {
		return nil, violated(RuleLinkShape, subject, "sig_version %s of a PGP signature", e["sig_version"])
	}
	payload, body, err := openPGP(sig)
	if err != nil {
		return nil, violated(RuleLinkSig, subject, "%v", err)
	}
	l := &Link{Version: 1, Payload: string(payload), ID: linkIDOf(payload), SigID: SigIDBaseOf(body), pgp: body}
	if err := l.readPayload(subject); err != nil {
		return nil, err
	}
	var kid string
	if json.Unmarshal(e["kid"], &kid) != nil || kid != l.Signer.String() || !l.Signer.IsPGP() {
		return nil, violated(RuleLinkSig, subject, "by %s, the link says %s", kid, l.Signer)
	}
	return l, l.checkReverseSigs(subject)
}

// version finds the version of a PGP key that counts in f.
func (p *player) version(f *Family, kid KID) *PGPKey { return p.pgp[kid][f.pgp[kid]] }

// setVersion notes the version that a section names, which the server must have given.
// client: go/libkb/keyfamily.go:SetActivePGPHash
func (p *player) setVersion(subject string, f *Family, l *Link, kid KID, section string) error {
	hash, err := l.body.str("body", section, "full_hash")
	if err != nil {
		return violated(RuleDelegation, subject, "full_hash: %v", err)
	}
	k := p.pgp[kid][hash]
	if k == nil {
		return violated(RuleBundle, subject, "version %s of PGP key %s is not in all_bundles", hash, kid)
	}
	if print, err := l.body.str("body", section, "fingerprint"); err != nil || print != k.Fingerprint {
		return violated(RuleDelegation, subject, "fingerprint %q, the key has %s", print, k.Fingerprint)
	}
	f.pgp[kid] = hash
	return nil
}

// checkPGPSigner verifies a link that PGP signs.
func (p *player) checkPGPSigner(subject string, f *Family, l *Link) error {
	if l.pgp == nil {
		return nil
	}
	k := p.version(f, l.Signer)
	if k == nil {
		return violated(RuleSigner, subject, "no version of PGP key %s counts", l.Signer)
	}
	if l.body.has("body", "key", "fingerprint") {
		if print, err := l.body.str("body", "key", "fingerprint"); err != nil || print != k.Fingerprint {
			return violated(RuleLinkSig, subject, "fingerprint %q, the key has %s", print, k.Fingerprint)
		}
	}
	if err := k.verify(l.pgp); err != nil {
		return violated(RuleLinkSig, subject, "%v", err)
	}
	return nil
}

// checkPGPReverse verifies that a new PGP key signed the statement that adds it.
func (p *player) checkPGPReverse(subject string, f *Family, l *Link, kid KID) error {
	armored, err := l.body.str("body", "sibkey", "reverse_sig")
	if err != nil {
		return violated(RuleReverseSig, subject, "%v", err)
	}
	payload, body, err := openPGP(armored)
	if err != nil {
		return violated(RuleReverseSig, subject, "%v", err)
	}
	if err := l.checkReversed(subject, "sibkey", payload); err != nil {
		return err
	}
	if err := p.version(f, kid).verify(body); err != nil {
		return violated(RuleReverseSig, subject, "%v", err)
	}
	return nil
}

// NewPGPKey makes a PGP key of one's own: small, since it guards nothing.
func NewPGPKey(random io.Reader, name string) (*PGPKey, error) {
	e, err := openpgp.NewEntity(name, "", name+"@example.com", &packet.Config{RSABits: 1024, Rand: random})
	if err != nil {
		return nil, fmt.Errorf("PGP key: %w", err)
	}
	// Self-signatures are made when the secret key is written.
	if err := e.SerializePrivate(io.Discard, nil); err != nil {
		return nil, fmt.Errorf("PGP key: %w", err)
	}
	return (&PGPKey{entity: e}).Version(1)
}

// Version is the same key in a bundle of other text, which is another version.
func (k *PGPKey) Version(n int) (*PGPKey, error) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, "PGP PUBLIC KEY BLOCK", map[string]string{"Comment": fmt.Sprintf("version %d", n)})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(k.entity.Serialize(w), w.Close()); err != nil {
		return nil, err
	}
	return nameKey(k.entity, b.String())
}

type bufferCloser struct{ *bytes.Buffer }

func (bufferCloser) Close() error { return nil }

// Sign makes a signed message. client: go/libkb/sign.go:SimpleSign
func (k *PGPKey) Sign(payload []byte) (string, error) {
	var b bytes.Buffer
	out, err := armor.Encode(bufferCloser{&b}, "PGP MESSAGE", nil)
	if err != nil {
		return "", err
	}
	in, err := openpgp.AttachedSign(out, *k.entity, nil, nil)
	if err != nil {
		return "", err
	}
	_, err = in.Write(payload)
	err = errors.Join(err, in.Close())
	return b.String(), err
}

func (k *PGPKey) section() map[string]any {
	return map[string]any{
		"kid": k.KID.String(), "fingerprint": k.Fingerprint, "full_hash": k.Hash,
		"key_id": strings.ToUpper(k.Fingerprint[24:]),
	}
}

// AddPGP adds a PGP key with the acting device. client: go/engine/pgp_import_key.go
func (a *Account) AddPGP(ctx context.Context, k *PGPKey) error {
	return a.postPGP(ctx, k, &LinkSpec{
		Type: "sibkey", Version: 1, Signer: a.Device.Sig, Body: map[string]any{"sibkey": k.section()},
		ReverseSign: k.Sign, ReverseSection: "sibkey",
	}, nil)
}

// UpdatePGP puts another version of a PGP key in the place of the one that counts.
// client: go/engine/pgp_update.go
func (a *Account) UpdatePGP(ctx context.Context, k *PGPKey) error {
	return a.postPGP(ctx, k, &LinkSpec{
		Type: "pgp_update", Version: 1, Signer: a.Device.Sig, Body: map[string]any{"pgp_update": k.section()},
	}, url.Values{"is_update": {"1"}})
}

func (a *Account) postPGP(ctx context.Context, k *PGPKey, spec *LinkSpec, more url.Values) error {
	args := url.Values{"public_key": {k.Bundle}, "is_remote_proof": {"0"}, "eldest_kid": {a.eldest.String()}}
	for name, v := range more {
		args[name] = v
	}
	_, _, err := a.postLink(ctx, "key/add", spec, args)
	return err
}

// RevokePGP takes a PGP key back and rolls the per-user key, as every revocation does.
// client: go/engine/revoke.go:NewRevokeKeyEngine
func (a *Account) RevokePGP(ctx context.Context, kid KID) error {
	if err := a.FetchPUKs(ctx, a.Device); err != nil {
		return err
	}
	l, err := a.takeLease(ctx, "downgrade/key", url.Values{"kids": {kid.String()}})
	if err != nil {
		return err
	}
	b, err := a.newBatch(ctx)
	if err != nil {
		return err
	}
	b.root = l.root
	b.body["downgrade_lease_id"] = l.id
	next, err := b.rollPUK(DeviceID{})
	if err != nil {
		return err
	}
	body := map[string]any{"revoke": map[string]any{"kids": []any{kid.String()}}}
	rev, err := b.sign(&LinkSpec{Type: "revoke", Version: 1, Signer: a.Device.Sig, Body: body})
	if err != nil {
		return err
	}
	b.sigs = append(b.sigs, map[string]any{
		"sig": b64(rev.Packet), "signing_kid": rev.Spec.Signer.KID().String(), "type": "revoke",
	})
	if err := b.post(ctx, a.NIST(a.Device)); err != nil {
		if StatusCode(err) >= 0 {
			a.cancelLease(ctx, l)
		}
		return err
	}
	a.PUKs = append(a.PUKs, next)
	return nil
}
