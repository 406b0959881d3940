package teamchain

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
)

// Limits of what one link may say.
const (
	// timeMax bounds Unix times, in seconds (year 9999).
	timeMax = 253402300799
	// seqnoMax bounds chain and root numbers.
	seqnoMax = 1 << 40
	// expireInMax bounds a link's own life, in seconds, which nobody acts on.
	expireInMax = 64 * 365 * 24 * 3600
	// entropyBytes hides withheld inner links from guessing.
	entropyBytes = 18
	// membersMax, invitesMax and botsMax bound lists of one link.
	membersMax = 5000
	invitesMax = 1000
	botsMax    = 500
	// inviteNameMax bounds whom an invitation is for, in bytes; that of an invite link
	// is a sealed key.
	inviteNameMax = 4096
	// botListMax bounds the triggers or conversations of one bot, botTextMax each one, in
	// bytes.
	botListMax = 200
	botTextMax = 512
	// ratchetsMax bounds what a link commits to of the hidden chain; clients write one.
	ratchetsMax = 4
)

const canonicalHost = "keybase.io"

// Parse reads an item of a request and checks everything that needs no chain: packet and
// signatures, agreement of outer and inner link, and the sections of the type.
func Parse(p Posted) (*Link, error) {
	packet, err := kbsig.DecodeArmored(p.Sig, packetBytesMax)
	if err != nil {
		return nil, Refuse(KindSignature, "sig: %w", err)
	}
	l, err := parseLink(packet, []byte(p.SigInner))
	if err != nil {
		return nil, err
	}
	switch {
	case p.TeamID != l.Team.String():
		return nil, Refuse(KindMismatch, "team_id is another than the link's")
	case p.SigningKID != "" && p.SigningKID != l.KID.String():
		return nil, Refuse(KindMismatch, "signing_kid is another than the link's")
	case p.Type != l.Type.TeamName():
		return nil, Refuse(KindMismatch, "type %q beside a link of type %s", p.Type, l.Type.TeamName())
	case p.SeqType != 0 && p.SeqType != l.SeqType:
		return nil, Refuse(KindMismatch, "seq_type %d beside a link of %d", p.SeqType, l.SeqType)
	case p.Version != 0 && p.Version != 2:
		return nil, Refuse(KindMismatch, "version %d beside a link of version 2", p.Version)
	}
	return l, nil
}

// packetBytesMax bounds a signature packet, in bytes; it holds an outer link only.
const packetBytesMax = 4096

func parseLink(packet, inner []byte) (*Link, error) {
	sig, err := kbsig.DecodeSignature(packet)
	if err != nil {
		return nil, Refuse(KindSignature, "%w", err)
	}
	if !sig.Hashed {
		return nil, Refuse(KindSignature, "packet without its hash")
	}
	if err := sig.Verify(); err != nil {
		return nil, Refuse(KindSignature, "%w", err)
	}
	outer, err := kbsig.DecodeTeamOuter(sig.Payload)
	if err != nil {
		return nil, Refuse(KindInput, "%w", err)
	}
	l := &Link{
		Seqno: outer.Seqno, Prev: outer.Prev, Type: outer.Type, SeqType: outer.SeqType,
		ID: kbsig.LinkIDOf(sig.Payload), SigID: sig.ID(), packet: sig.Packet, inner: inner,
	}
	if outer.Curr != sha256.Sum256(inner) {
		return nil, Refuse(KindMismatch, "outer link is about another inner link")
	}
	if outer.IgnoreIfUnsupported {
		return nil, Refuse(KindMismatch, "a link that clients may ignore")
	}
	if err := l.readInner(); err != nil {
		return nil, err
	}
	if l.KID != sig.KID {
		return nil, Refuse(KindWrongKey, "signed by %s, not by %s as the link says", sig.KID, l.KID)
	}
	return l, l.checkShape()
}

// readInner reads the JSON.
// client: go/teams/loader_types.go:ChainLinkUnpacked.AssertInnerOuterMatch
func (l *Link) readInner() error {
	doc, err := kbsig.ParseTeamJSON(l.inner)
	if err != nil {
		return Refuse(KindInput, "%w", err)
	}
	root := doc.Root()
	root.Const("tag", "signature")
	if n := root.Int("seqno", 1, seqnoMax); root.Err() == nil && kbsig.Seqno(n) != l.Seqno {
		root.Fail("seqno %d inside, %d outside", n, l.Seqno)
	}
	l.Ctime = root.Int("ctime", 1, timeMax)
	root.Int("expire_in", 1, expireInMax)
	l.readPrev(&root)
	if n := root.Int("seq_type", 1, seqTypeMax); root.Err() == nil && int(n) != l.SeqType {
		root.Fail("seq_type %d inside, %d outside", n, l.SeqType)
	}
	client := root.Object("client")
	client.String("name")
	client.String("version")
	body := root.Object("body")
	body.Int("version", 2, 2)
	if typ := body.String("type"); root.Err() == nil && (kbsig.TeamLinkTypeOf(typ) != l.Type || l.Type == kbsig.LinkNone) {
		return Refuse(KindInput, "type %q inside, %d outside", typ, l.Type)
	}
	key := body.Object("key")
	key.Const("host", canonicalHost)
	l.KID = kbsig.Parsed(&key, "kid", kbsig.ParseKID)
	l.Signer.UID = kbsig.Parsed(&key, "uid", kbsig.ParseUID)
	l.Username = kbsig.Parsed(&key, "username", kbsig.ParseUsername)
	if key.Has("eldest_kid") {
		kbsig.Parsed(&key, "eldest_kid", kbsig.ParseKID)
	}
	key.End()
	mr := body.Object("merkle_root")
	l.Root.Seqno = kbsig.Seqno(mr.Int("seqno", 1, seqnoMax))
	l.Root.Ctime = mr.Int("ctime", 1, timeMax)
	kbsig.Parsed(&mr, "hash", kbsig.ParseNodeHash)
	l.Root.HashMeta = kbsig.Parsed(&mr, "hash_meta", kbsig.ParseHashMeta)
	mr.End()
	team := body.Object("team")
	rev := l.readTeam(&team)
	team.End()
	body.End()
	root.End()
	if err := root.Err(); err != nil {
		return Refuse(KindInput, "%w", err)
	}
	if l.PTK != nil {
		return l.checkReverseSig(rev)
	}
	return nil
}

const seqTypeMax = 17

func (l *Link) readPrev(root *kbsig.JSONSection) {
	if l.Seqno == 1 {
		if v := root.Value("prev"); v == nil || v.Kind != kbsig.JSONNull {
			root.Fail("prev is not null")
		}
		if !l.Prev.IsZero() {
			root.Fail("a link before the first")
		}
		return
	}
	if p := kbsig.Parsed(root, "prev", kbsig.ParseLinkID); root.Err() == nil && (p != l.Prev || p.IsZero()) {
		root.Fail("prev %s inside, %s outside", p, l.Prev)
	}
}

// readTeam reads the team section and returns the reverse signature's place.
// client: go/teams/chain_parse.go:SCTeamSection
func (l *Link) readTeam(t *kbsig.JSONSection) (rev *kbsig.JSONValue) {
	l.Team = kbsig.Parsed(t, "id", kbsig.ParseTeamID)
	l.Implicit = t.True("is_implicit")
	if public := t.True("is_public"); public != l.Team.Public() {
		t.Fail("is_public is %v for %s", public, l.Team)
	}
	if t.Has("name") {
		n := kbsig.Parsed(t, "name", parseName)
		l.Name = &n
	}
	if t.Has("members") {
		l.readMembers(t)
	}
	if t.Has("parent") {
		p := t.Object("parent")
		l.Parent = readPlace(&p, "id")
	}
	if t.Has("subteam") {
		s := t.Object("subteam")
		l.Subteam = &SubteamSection{kbsig.Parsed(&s, "id", kbsig.ParseTeamID), kbsig.Parsed(&s, "name", parseName)}
		s.End()
	}
	if t.Has("per_team_key") {
		rev = l.readPTK(t)
	}
	if t.Has("admin") {
		a := t.Object("admin")
		l.Admin = readPlace(&a, "team_id")
	}
	if t.Has("invites") {
		l.readInvites(t)
	}
	l.readCompleted(t)
	if t.Has("entropy") {
		if b, err := base64.StdEncoding.DecodeString(t.String("entropy")); err != nil || len(b) != entropyBytes {
			t.Fail("entropy is not %d bytes", entropyBytes)
		}
	}
	if t.Has("settings") {
		l.readSettings(t)
	}
	if t.Has("kbfs") {
		l.readKBFS(t)
	}
	if t.Has("box_summary_hash") {
		h := kbsig.Parsed(t, "box_summary_hash", parseHash)
		l.BoxSummary = &h
	}
	if t.Has("ratchets") {
		l.readRatchets(t)
	}
	if t.Has("bot_settings") {
		l.readBots(t)
	}
	return rev
}

// parseName takes a name as clients sign it: in lower case, so that parent and child say
// it alike to whoever compares them as text.
func parseName(s string) (kbsig.TeamName, error) {
	n, err := kbsig.ParseTeamName(s)
	if err == nil && n.String() != s {
		err = fmt.Errorf("team name %.80q has capitals: %w", s, kbsig.ErrBadID)
	}
	return n, err
}

func readPlace(s *kbsig.JSONSection, id string) *Place {
	p := &Place{Team: kbsig.Parsed(s, id, kbsig.ParseTeamID)}
	p.Seqno = kbsig.Seqno(s.Int("seqno", 1, seqnoMax))
	p.SeqType = int(s.Int("seq_type", 1, seqTypeMax))
	s.End()
	return p
}

func parseHash(s string) (h [32]byte, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) || hex.EncodeToString(b) != s {
		return h, fmt.Errorf("hash: %w", kbsig.ErrBadID)
	}
	copy(h[:], b)
	return h, nil
}

func (l *Link) readMembers(t *kbsig.JSONSection) {
	l.HasMembers = true
	m := t.Object("members")
	seen := make(map[kbsig.UserVersion]bool)
	for _, role := range []Role{RoleOwner, RoleAdmin, RoleWriter, RoleReader, RoleBot, RoleRestrictedBot, RoleNone} {
		if !m.Has(role.String()) {
			continue
		}
		for _, v := range m.Array(role.String()) {
			if v.Kind != kbsig.JSONString {
				m.Fail("%s has a member that is no text", role)
				return
			}
			uv, err := kbsig.ParseUserVersion(v.Str)
			switch {
			case err != nil:
				m.Fail("%s: %w", role, err)
			case seen[uv]:
				m.Fail("%s is named twice", uv)
			case len(l.Members) == membersMax:
				m.Fail("more than %d members", membersMax)
			}
			seen[uv] = true
			l.Members = append(l.Members, Member{uv, role})
		}
	}
	m.End()
}

func (l *Link) readPTK(t *kbsig.JSONSection) *kbsig.JSONValue {
	s := t.Object("per_team_key")
	l.PTK = &PTK{Generation: s.Int("generation", 1, kbsig.TeamGenerationMax), Seqno: l.Seqno}
	l.PTK.Signing = kbsig.Parsed(&s, "signing_kid", kbsig.ParseKID)
	l.PTK.Encryption = kbsig.Parsed(&s, "encryption_kid", kbsig.ParseKID)
	rev := s.Value("reverse_sig")
	if rev == nil || rev.Kind != kbsig.JSONString {
		s.Fail("reverse_sig is not a string")
	}
	if s.Has("seed_check") {
		s.String("seed_check")
	}
	s.End()
	return rev
}

// checkReverseSig verifies that the new key signed the same JSON with null in place of
// its signature. client: go/teams/chain.go:teamSigchainPlayer.checkPerTeamKey
func (l *Link) checkReverseSig(rev *kbsig.JSONValue) error {
	if err := kbsig.CheckSigningKey(l.PTK.Signing); err != nil {
		return Refuse(KindInput, "per-team signing key: %w", err)
	}
	if err := kbsig.CheckEncryptionKey(l.PTK.Encryption); err != nil {
		return Refuse(KindInput, "per-team encryption key: %w", err)
	}
	want := make([]byte, 0, len(l.inner))
	want = append(want, l.inner[:rev.Off]...)
	want = append(want, "null"...)
	want = append(want, l.inner[rev.End:]...)
	sig, err := kbsig.OpenSignature(rev.Str)
	switch {
	case err != nil:
		return Refuse(KindSignature, "reverse signature: %w", err)
	case sig.KID != l.PTK.Signing:
		return Refuse(KindSignature, "reverse signature by %s, not by %s", sig.KID, l.PTK.Signing)
	case !bytes.Equal(sig.Payload, want):
		return Refuse(KindSignature, "reverse signature over another statement")
	}
	return nil
}
