package client

import (
	"errors"
	"fmt"
	"slices"
)

// revocation is a link's body.revoke section.
type revocation struct {
	kids   []KID
	sigIDs []string // 66 characters
}

func (r revocation) any() bool { return len(r.kids)+len(r.sigIDs) > 0 }

// readPayload parses the inner JSON and the fields every link has.
// client: go/libkb/chain_link.go:unpackPayloadJSON
func (l *Link) readPayload(subject string) error {
	o, err := parseObject([]byte(l.Payload))
	if err != nil {
		return violated(RuleLinkJSON, subject, "%v", err)
	}
	l.body = o
	if err := l.readFrame(o); err != nil {
		return under(RuleLinkJSON, subject, err)
	}
	if err := l.readOwner(o); err != nil {
		return under(RuleLinkOwner, subject, err)
	}
	if err := l.readMerkle(o); err != nil {
		return under(RuleLinkMerkle, subject, err)
	}
	if err := l.readRevocation(o); err != nil {
		return under(RuleLinkJSON, subject, err)
	}
	return under(RuleLinkJSON, subject, l.readDelegation(o))
}

func (l *Link) readFrame(o object) error {
	var err error
	if tag, err := o.str("tag"); err != nil || tag != "signature" {
		return fmt.Errorf("tag %q", tag)
	}
	version, err := o.int("body", "version")
	if err != nil || version != int64(l.Version) {
		return fmt.Errorf("version %d, sent as %d", version, l.Version)
	}
	if l.Type, err = o.str("body", "type"); err != nil {
		return err
	}
	if v, ok := o.at("ignore_if_unsupported"); ok {
		if l.Ignore, ok = v.(bool); !ok {
			return errors.New("ignore_if_unsupported is not a boolean")
		}
	}
	if _, known := userTypes[l.Type]; !known && (l.Version == 1 || !l.Ignore) {
		return fmt.Errorf("unknown type %q", l.Type)
	}
	seqno, err := o.int("seqno")
	if err != nil || seqno < 1 {
		return fmt.Errorf("seqno %d: %v", seqno, err)
	}
	l.Seqno = Seqno(seqno)
	prev, ok := o.at("prev")
	switch {
	case !ok:
		return errors.New("no prev")
	case prev == nil && l.Seqno != 1, prev != nil && l.Seqno == 1:
		return fmt.Errorf("prev %v at seqno %d", prev, l.Seqno)
	case prev != nil:
		s, err := o.str("prev")
		if err != nil {
			return err
		}
		if l.Prev, err = ParseLinkID(s); err != nil {
			return err
		}
	}
	if l.Ctime, err = o.int("ctime"); err != nil || l.Ctime <= 0 {
		return fmt.Errorf("ctime %d: %v", l.Ctime, err)
	}
	if l.ExpireIn, err = o.int("expire_in"); err != nil || l.ExpireIn <= 0 {
		return fmt.Errorf("expire_in %d: %v", l.ExpireIn, err)
	}
	return l.readHighSkip(o)
}

func (l *Link) readHighSkip(o object) error {
	if !o.has("high_skip") {
		return nil
	}
	n, err := o.int("high_skip", "seqno")
	if err != nil {
		return err
	}
	l.highSkip = &highSkip{seqno: Seqno(n)}
	v, ok := o.at("high_skip", "hash")
	if !ok {
		return errors.New("high_skip without hash")
	}
	if v == nil {
		return nil
	}
	s, err := o.str("high_skip", "hash")
	if err != nil {
		return err
	}
	l.highSkip.hash, err = ParseLinkID(s)
	return err
}

func (l *Link) readOwner(o object) error {
	key, err := o.sub("body", "key")
	if err != nil {
		return err
	}
	if host, err := key.str("host"); err != nil || host != canonicalHost {
		return fmt.Errorf("host %q", host)
	}
	uid, err := key.str("uid")
	if err != nil {
		return err
	}
	if l.UID, err = ParseUID(uid); err != nil {
		return err
	}
	if l.Username, err = key.str("username"); err != nil {
		return err
	}
	if l.Signer, err = key.kid("kid"); err != nil {
		return err
	}
	if key.has("eldest_kid") {
		l.Eldest, err = key.kid("eldest_kid")
	}
	return err
}

func (l *Link) readMerkle(o object) error {
	var err error
	if l.Merkle, err = parseRootRef(o, "body", "merkle_root"); err != nil {
		return err
	}
	hash, err := o.str("body", "merkle_root", "hash")
	if err != nil {
		return err
	}
	if l.node, err = ParseNodeHash(hash); err != nil {
		return err
	}
	_, err = o.int("body", "merkle_root", "ctime")
	return err
}

// readRevocation reads plural and singular forms.
// client: go/libkb/chain_link.go:GetRevocations, GetRevokeKids
func (l *Link) readRevocation(o object) error {
	if !o.has("body", "revoke") {
		if l.Type == "revoke" {
			return errors.New("a revoke link that revokes nothing")
		}
		return nil
	}
	rev, err := o.sub("body", "revoke")
	if err != nil {
		return err
	}
	kids, err := oneOrMany(rev, "kid", "kids")
	if err != nil {
		return err
	}
	for _, s := range kids {
		k, err := ParseKID(s)
		if err != nil {
			return err
		}
		l.revokes.kids = append(l.revokes.kids, k)
	}
	if l.revokes.sigIDs, err = oneOrMany(rev, "sig_id", "sig_ids"); err != nil {
		return err
	}
	for _, s := range l.revokes.sigIDs {
		if len(s) != 66 {
			return fmt.Errorf("signature id %q", s)
		}
	}
	if !l.revokes.any() {
		return errors.New("an empty revoke section")
	}
	return nil
}

func oneOrMany(o object, one, many string) ([]string, error) {
	var out []string
	if o.has(one) {
		s, err := o.str(one)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if v, ok := o.at(many); ok {
		a, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf("%s is not an array", many)
		}
		for _, x := range a {
			s, ok := x.(string)
			if !ok || slices.Contains(out, s) {
				return nil, fmt.Errorf("%s holds %v", many, x)
			}
			out = append(out, s)
		}
	}
	return out, nil
}

// readDelegation finds the key that a link introduces.
func (l *Link) readDelegation(o object) error {
	var err error
	switch l.Type {
	case "eldest":
		l.delegated = l.Signer
	case "sibkey":
		l.delegated, err = o.kid("body", "sibkey", "kid")
	case "subkey":
		l.delegated, err = o.kid("body", "subkey", "kid")
	}
	return err
}

// reverseSigPlaces says where a type keeps the signature of the key it announces,
// and where it names that key.
var reverseSigPlaces = map[string]struct{ section, kid string }{
	"sibkey":         {"sibkey", "kid"},
	"per_user_key":   {"per_user_key", "signing_kid"},
	"wallet.stellar": {"wallet_key", "kid"},
}

// checkReverseSigs verifies that the announced key signed the same statement with
// its signature still null. client: go/libkb/id_table.go:VerifyReverseSig
func (l *Link) checkReverseSigs(subject string) error {
	place, ok := reverseSigPlaces[l.Type]
	if !ok {
		return nil
	}
	kid, err := l.body.kid("body", place.section, place.kid)
	if err != nil {
		return violated(RuleLinkJSON, subject, "%v", err)
	}
	if kid.IsDH() {
		return violated(RuleDelegation, subject, "%s cannot sign", kid)
	}
	if kid.IsPGP() {
		return nil // checked when the chain has told which version counts
	}
	armored, err := l.body.str("body", place.section, "reverse_sig")
	if err != nil {
		return violated(RuleReverseSig, subject, "%v", err)
	}
	signer, payload, _, err := openArmored(armored)
	if err != nil {
		return violated(RuleReverseSig, subject, "%v", err)
	}
	if signer != kid {
		return violated(RuleReverseSig, subject, "signed by %s, not by %s", signer, kid)
	}
	return l.checkReversed(subject, place.section, payload)
}

// checkReversed compares what a new key signed with the statement, its signature null.
func (l *Link) checkReversed(subject, section string, payload []byte) error {
	signed, err := parseObject(payload)
	if err != nil {
		return violated(RuleReverseSig, subject, "%v", err)
	}
	got, err1 := canonical(signed)
	blank, err2 := parseObject([]byte(l.Payload))
	if err1 != nil || err2 != nil {
		return violated(RuleReverseSig, subject, "%v %v", err1, err2)
	}
	if err := blank.set(nil, "body", section, "reverse_sig"); err != nil {
		return violated(RuleReverseSig, subject, "%v", err)
	}
	want, err := canonical(blank)
	if err != nil || string(got) != string(want) {
		return violated(RuleReverseSig, subject, "signed another statement")
	}
	return nil
}
