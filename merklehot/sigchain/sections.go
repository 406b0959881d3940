package sigchain

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
)

// Limits of sections.
const (
	// revokeTargetsMax bounds what one link revokes; a device has two keys.
	revokeTargetsMax = 64
	// pukGenerationMax bounds per-user key generations; one a revocation.
	pukGenerationMax = 1 << 20
	// trackProofsMax and trackPGPKeysMax bound a follow statement's lists.
	trackProofsMax  = 256
	trackPGPKeysMax = 64
	// entropyBytes hides withheld inner links from guessing.
	entropyBytes = 18
)

// sections has a reader for every link type that is taken; a type without one is
// refused as not available. To take a new type, add its reader here and its
// effect in effects.
var sections = map[kbsig.LinkType]func(*Link, *kbsig.JSONSection) error{
	kbsig.LinkEldest:     (*Link).readEldest,
	kbsig.LinkSibkey:     (*Link).readSibkey,
	kbsig.LinkSubkey:     (*Link).readSubkey,
	kbsig.LinkPerUserKey: (*Link).readPerUserKey,
	kbsig.LinkRevoke:     (*Link).readRevoke,
	kbsig.LinkTrack:      (*Link).readTrack,
	kbsig.LinkUntrack:    (*Link).readUntrack,
	kbsig.LinkPGPUpdate:  (*Link).readPGPUpdate,
	kbsig.LinkDevice:     (*Link).readRename,

	kbsig.LinkWebServiceBinding:       (*Link).readService,
	kbsig.LinkWebServiceBindingRevoke: (*Link).readService,
	kbsig.LinkCryptocurrency:          (*Link).readCurrency,
	kbsig.LinkCryptocurrencyRevoke:    (*Link).readCurrency,
	kbsig.LinkWalletStellar:           (*Link).readWallet,
	kbsig.LinkWotVouch:                (*Link).readVouch,
	kbsig.LinkWotVouchRevoke:          (*Link).readVouch,
	kbsig.LinkWotReact:                (*Link).readReaction,
}

// client: go/libkb/id_table.go:ParseEldestChainLink
func (l *Link) readEldest(body *kbsig.JSONSection) error {
	if !l.Eldest.IsZero() {
		return refuse(KindEldest, "eldest link that names another eldest key")
	}
	l.Key = l.KID
	if pgp.IsKID(l.Key) {
		return l.checkNewPGP(body, l.signer)
	}
	return l.readDevice(body)
}

// client: go/libkb/id_table.go:ParseSibkeyChainLink
func (l *Link) readSibkey(body *kbsig.JSONSection) error {
	s := body.Object("sibkey")
	l.Key = kbsig.Parsed(&s, "kid", kbsig.ParseKID)
	rev := s.Value("reverse_sig")
	isPGP, names := pgp.IsKID(l.Key), pgpNames{}
	check := kbsig.CheckSigningKey
	if isPGP {
		names, check = readPGPNames(&s), nil
	}
	s.End()
	if err := l.checkNewKey(&s, rev, check); err != nil {
		return err
	}
	if isPGP {
		if err := l.checkNewPGP(body, names); err != nil {
			return err
		}
		return l.checkReverseSig(rev, l.Key)
	}
	if err := l.checkReverseSig(rev, l.Key); err != nil {
		return err
	}
	return l.readDevice(body)
}

// client: go/libkb/id_table.go:ParseSubkeyChainLink
func (l *Link) readSubkey(body *kbsig.JSONSection) error {
	s := body.Object("subkey")
	l.Key = kbsig.Parsed(&s, "kid", kbsig.ParseKID)
	l.Parent = kbsig.Parsed(&s, "parent_kid", kbsig.ParseKID)
	s.End()
	if err := s.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	if err := kbsig.CheckEncryptionKey(l.Key); err != nil {
		return refuse(KindInput, "subkey: %w", err)
	}
	return l.readDevice(body)
}

// checkNewKey checks a delegated signing key whose reverse signature is a string.
func (l *Link) checkNewKey(s *kbsig.JSONSection, rev *kbsig.JSONValue, check func(kbsig.KID) error) error {
	if rev == nil || rev.Kind != kbsig.JSONString {
		s.Fail("reverse_sig is not a string")
	}
	if err := s.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	if check == nil {
		return nil // a PGP key is checked with its bundle
	}
	if err := check(l.Key); err != nil {
		return refuse(KindInput, "new key: %w", err)
	}
	return nil
}

// readDevice reads the device section of a link that adds a key.
// client: go/libkb/device.go:Export
func (l *Link) readDevice(body *kbsig.JSONSection) error {
	s := body.Object("device")
	d := &DeviceSection{}
	d.ID = kbsig.Parsed(&s, "id", kbsig.ParseDeviceID)
	d.KID = kbsig.Parsed(&s, "kid", kbsig.ParseKID)
	d.Status = int(s.Int("status", DeviceActive, DeviceActive))
	if l.Type != kbsig.LinkSubkey {
		d.Name = s.String("name")
		d.Type = kbsig.Parsed(&s, "type", parseDeviceType)
	}
	s.End()
	if err := s.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	if d.KID != l.Key {
		return refuse(KindDeviceOther, "device of key %s in a link that adds %s", d.KID, l.Key)
	}
	if l.Type != kbsig.LinkSubkey && !DeviceNameOK(d.Name) {
		return refuse(KindDeviceName, "device name of %d bytes", len(d.Name))
	}
	l.Device = d
	return nil
}

func parseDeviceType(s string) (DeviceType, error) {
	switch t := DeviceType(s); t {
	case DeviceDesktop, DeviceMobile, DeviceBackup:
		return t, nil
	}
	return "", fmt.Errorf("device type: %w", kbsig.ErrBadID)
}

// Rules for device names. client: go/libkb/checkers.go:CheckDeviceName
var (
	deviceName    = regexp.MustCompile(`^[a-zA-Z0-9][ _'a-zA-Z0-9+‘’—–-]*$`)
	deviceNameBad = regexp.MustCompile(`  |[ '_-]$|['_-][ ]?['_-]`)
	deviceNameCut = regexp.MustCompile(`[^a-zA-Z0-9]`)
)

// Bounds of a normalised device name, in characters, and of one as typed, in bytes.
const (
	deviceNameMin      = 3
	deviceNameMax      = 64
	deviceNameBytesMax = 256
)

// NormalDeviceName is the form in which device names must differ.
func NormalDeviceName(s string) string {
	return strings.ToLower(deviceNameCut.ReplaceAllString(s, ""))
}

// DeviceNameOK reports whether clients let a person choose this name.
func DeviceNameOK(s string) bool {
	if len(s) > deviceNameBytesMax {
		return false
	}
	n := len(NormalDeviceName(s))
	return n >= deviceNameMin && n <= deviceNameMax && deviceName.MatchString(s) && !deviceNameBad.MatchString(s)
}

// client: go/libkb/id_table.go:ParsePerUserKeyChainLink
func (l *Link) readPerUserKey(body *kbsig.JSONSection) error {
	s := body.Object("per_user_key")
	p := &PUKSection{Generation: s.Int("generation", 1, pukGenerationMax)}
	p.Signing = kbsig.Parsed(&s, "signing_kid", kbsig.ParseKID)
	p.Encryption = kbsig.Parsed(&s, "encryption_kid", kbsig.ParseKID)
	rev := s.Value("reverse_sig")
	s.End()
	if rev == nil || rev.Kind != kbsig.JSONString {
		s.Fail("reverse_sig is not a string")
	}
	if err := s.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	if err := kbsig.CheckSigningKey(p.Signing); err != nil {
		return refuse(KindInput, "per-user signing key: %w", err)
	}
	if err := kbsig.CheckEncryptionKey(p.Encryption); err != nil {
		return refuse(KindInput, "per-user encryption key: %w", err)
	}
	l.PUK = p
	return l.checkReverseSig(rev, p.Signing)
}

// client: go/libkb/id_table.go:ParseRevokeChainLink, chain_link.go:GetRevokeKids
func (l *Link) readRevoke(body *kbsig.JSONSection) error {
	s := body.Object("revoke")
	r := &RevokeSection{KIDs: readTargets(&s, "kid", "kids", kbsig.ParseKID)}
	r.SigIDs = readTargets(&s, "sig_id", "sig_ids", kbsig.ParseSigID)
	s.End()
	if err := s.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	if (len(r.KIDs) == 0) == (len(r.SigIDs) == 0) {
		return refuse(KindInput, "revoke of %d keys and %d signatures", len(r.KIDs), len(r.SigIDs))
	}
	l.Revoke = r
	if !body.Has("device") {
		return nil
	}
	d := body.Object("device")
	l.Device = &DeviceSection{ID: kbsig.Parsed(&d, "id", kbsig.ParseDeviceID)}
	l.Device.Status = int(d.Int("status", DeviceDefunct, DeviceDefunct))
	l.Device.Type = kbsig.Parsed(&d, "type", parseDeviceType)
	d.End()
	if err := d.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	if len(r.KIDs) == 0 {
		return refuse(KindInput, "revoke of a device without its keys")
	}
	return nil
}

// readTargets reads the singular or the plural form, not both, no target twice.
func readTargets[T comparable](s *kbsig.JSONSection, one, many string, parse func(string) (T, error)) []T {
	if s.Has(one) {
		return []T{kbsig.Parsed(s, one, parse)}
	}
	if !s.Has(many) {
		return nil
	}
	elems := s.Array(many)
	if len(elems) == 0 || len(elems) > revokeTargetsMax {
		s.Fail("%s has %d elements", many, len(elems))
		return nil
	}
	out := make([]T, 0, len(elems))
	seen := map[T]bool{}
	for i := range elems {
		t, err := parse(elems[i].Str)
		if elems[i].Kind != kbsig.JSONString || err != nil || seen[t] {
			s.Fail("%s[%d] is malformed or repeated", many, i)
			return nil
		}
		seen[t] = true
		out = append(out, t)
	}
	return out
}

// client: go/libkb/id_table.go:ParseTrackChainLink, kbsig.go:ToTrackingStatement
func (l *Link) readTrack(body *kbsig.JSONSection) error {
	s := body.Object("track")
	t := &TrackSection{}
	basics := s.Object("basics")
	t.Followee = readFollowee(&s, &basics)
	for _, name := range []string{"id_version", "last_id_change"} {
		if basics.Has(name) {
			basics.Int(name, 0, timeMax)
		}
	}
	basics.End()
	if s.Has("key") {
		key := s.Object("key")
		t.Key = readTrackedKey(&key)
	}
	if s.Has("pgp_keys") {
		readTrackedPGPKeys(&s)
	}
	if len(s.Array("remote_proofs")) > trackProofsMax {
		s.Fail("too many remote_proofs")
	}
	t.Tail = readTail(&s)
	s.End()
	if err := s.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	l.Track = t
	return l.checkFollowee(t.Followee)
}

// readTrackedKey reads a key of the followee. Clients cannot identify somebody any
// more whose keys they cannot read in their own statement.
// client: go/libkb/id_table.go:trackedKeyFromJSON
func readTrackedKey(key *kbsig.JSONSection) kbsig.KID {
	kid := kbsig.Parsed(key, "kid", kbsig.ParseKID)
	if key.Has("key_fingerprint") {
		key.String("key_fingerprint")
	}
	key.End()
	return kid
}

// client: go/libkb/kbsig.go:ToTrackingStatementPGPKeys
func readTrackedPGPKeys(s *kbsig.JSONSection) {
	elems := s.Array("pgp_keys")
	if len(elems) > trackPGPKeysMax {
		s.Fail("too many pgp_keys")
		return
	}
	for i := range elems {
		key := s.Element("pgp_keys", i, &elems[i])
		readTrackedKey(&key)
	}
}

// client: go/libkb/kbsig.go:ToTrackingStatementSeqTail
func readTail(s *kbsig.JSONSection) *TrackTail {
	if v := s.Value("seq_tail"); v != nil && v.Kind == kbsig.JSONNull {
		return nil
	}
	t := s.Object("seq_tail")
	out := &TrackTail{Seqno: kbsig.Seqno(t.Int("seqno", 1, seqnoMax))}
	out.Link = kbsig.Parsed(&t, "payload_hash", kbsig.ParseLinkID)
	out.SigID = kbsig.Parsed(&t, "sig_id", kbsig.ParseSigID)
	t.End()
	return out
}

// client: go/libkb/id_table.go:ParseUntrackChainLink
func (l *Link) readUntrack(body *kbsig.JSONSection) error {
	s := body.Object("untrack")
	basics := s.Object("basics")
	f := readFollowee(&s, &basics)
	basics.End()
	s.End()
	if err := s.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	l.Untrack = &f
	return l.checkFollowee(f)
}

func readFollowee(s, basics *kbsig.JSONSection) Followee {
	f := Followee{UID: kbsig.Parsed(s, "id", kbsig.ParseUID)}
	f.Username = kbsig.Parsed(basics, "username", parseNormalUsername)
	readEntropy(s)
	return f
}

func (l *Link) checkFollowee(f Followee) error {
	switch {
	case kbsig.UIDOf(f.Username) != f.UID:
		return refuse(KindTarget, "%s is not the id of %s", f.UID, f.Username)
	case f.UID == l.UID:
		return refuse(KindTarget, "%s and itself", f.Username)
	}
	return nil
}
