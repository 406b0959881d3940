package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
)

// TeamLink is one link of a visible team chain that holds together by itself.
// Whether it may stand where it stands is decided by teamplay.go.
type TeamLink struct {
	Team    TeamID
	Seqno   Seqno
	ID      LinkID
	Prev    LinkID
	TypeNum int64
	Ignore  bool
	Stubbed bool // nothing below is known then

	SigID   SigIDBase
	Type    string
	Payload string
	Signer  KID
	By      UserVersion // uid as signed, eldest seqno as the server says
	Ctime   int64
	Merkle  rootRef
	body    object
	team    object // body.team
}

func (l *TeamLink) subject() string { return fmt.Sprintf("link %d of team %s", l.Seqno, l.Team) }

// teamEntry is a link as team/get delivers it.
// client: go/teams/chain_parse.go:SCChainLink
type teamEntry struct {
	Seqno   Seqno  `json:"seqno"`
	Sig     string `json:"sig"`
	Stub    string `json:"s2"`
	Payload string `json:"payload_json"`
	UID     string `json:"uid"`
	Eldest  Seqno  `json:"eldest_seqno"`
	Version int    `json:"version"`
}

// parseTeamEntry reads one element of team/get's chain.
// client: go/teams/loader_types.go:unpackChainLink
func parseTeamEntry(team TeamID, raw json.RawMessage) (*TeamLink, error) {
	subject := "chain of team " + team.String()
	var e teamEntry
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, violated(RuleLinkShape, subject, "%v", err)
	}
	l := &TeamLink{Team: team, Stubbed: e.Payload == ""}
	subject = fmt.Sprintf("link %d of team %s", e.Seqno, team)
	var outer []byte
	if l.Stubbed {
		b, err := unbase64(e.Stub)
		if err != nil {
			return nil, violated(RuleLinkShape, subject, "s2: %v", err)
		}
		outer = b
	} else {
		signer, payload, sigID, err := openArmored(e.Sig)
		if err != nil {
			return nil, violated(RuleLinkSig, subject, "%v", err)
		}
		outer, l.Signer, l.SigID = payload, signer, sigID
	}
	o, err := l.readOuter(subject, outer)
	if err != nil {
		return nil, err
	}
	if l.Seqno != e.Seqno || e.Version != 2 {
		return nil, violated(RuleLinkShape, subject, "seqno %d and version %d beside link %d", e.Seqno, e.Version, l.Seqno)
	}
	if l.Stubbed {
		if l.Seqno == 1 || !teamStubAllowed(l.TypeNum) {
			return nil, violated(RuleStub, subject, "type %d may not be stubbed", l.TypeNum)
		}
		return l, nil
	}
	inner := sha256.Sum256([]byte(e.Payload))
	if !bytes.Equal(o.Curr, inner[:]) {
		return nil, violated(RuleOuter, subject, "curr is not the hash of the inner link")
	}
	l.Payload = e.Payload
	if err := l.readInner(o); err != nil {
		return nil, under(RuleLinkJSON, subject, err)
	}
	l.By.Eldest = e.Eldest
	if e.UID != l.By.UID.String() {
		return nil, violated(RuleLinkOwner, subject, "delivered as %s's, signed as %s's", e.UID, l.By.UID)
	}
	return l, l.checkReverse(subject)
}

// readOuter takes what is signed apart. client: go/libkb/chain_link_v2.go:DecodeOuterLinkV2
func (l *TeamLink) readOuter(subject string, b []byte) (*Outer, error) {
	v, err := unpack(b)
	if err != nil {
		return nil, violated(RuleOuter, subject, "%v", err)
	}
	o, err := outerFrom(v)
	if err != nil {
		return nil, violated(RuleOuter, subject, "%v", err)
	}
	switch {
	case !bytes.Equal(o.Encode(), b):
		return nil, violated(RuleOuter, subject, "not canonical")
	case o.Version != 2 || o.SeqType != l.Team.seqType() || o.Curr == nil || o.Fields < 7:
		return nil, violated(RuleOuter, subject, "version %d, seq type %d, %d fields", o.Version, o.SeqType, o.Fields)
	}
	l.Seqno, l.ID, l.TypeNum, l.Ignore = Seqno(o.Seqno), linkIDOf(b), o.Type, o.Ignore
	copy(l.Prev[:], o.Prev)
	if l.Seqno < 1 || (l.Seqno == 1) != (o.Prev == nil) {
		return nil, violated(RulePrevLink, subject, "prev at seqno %d", l.Seqno)
	}
	return o, nil
}

// readInner reads what every inner link of a team has and compares it with the outer
// link. client: go/teams/loader_types.go:AssertInnerOuterMatch
func (l *TeamLink) readInner(outer *Outer) error {
	o, err := parseObject([]byte(l.Payload))
	if err != nil {
		return err
	}
	l.body = o
	if tag, err := o.str("tag"); err != nil || tag != "signature" {
		return fmt.Errorf("tag %q", tag)
	}
	if n, err := o.int("body", "version"); err != nil || n != 2 {
		return fmt.Errorf("version %d", n)
	}
	if l.Type, err = o.str("body", "type"); err != nil {
		return err
	}
	if n, err := o.int("seqno"); err != nil || Seqno(n) != l.Seqno {
		return fmt.Errorf("seqno %d inside, %d outside", n, l.Seqno)
	}
	if n, err := o.int("seq_type"); err != nil || n != outer.SeqType {
		return fmt.Errorf("seq type %d inside, %d outside", n, outer.SeqType)
	}
	if o.has("ignore_if_unsupported") != outer.Ignore {
		return fmt.Errorf("ignore_if_unsupported %v outside", outer.Ignore)
	}
	switch prev, _ := o.at("prev"); {
	case l.Seqno == 1 && prev != nil, l.Seqno > 1 && prev != any(l.Prev.String()):
		return fmt.Errorf("prev %v inside, %s outside", prev, l.Prev)
	}
	if t, known := teamTypes[l.Type]; known && t.number != l.TypeNum || !known && !l.Ignore {
		return fmt.Errorf("type %s inside, %d outside", l.Type, l.TypeNum)
	}
	if l.Ctime, err = o.int("ctime"); err != nil || l.Ctime <= 0 {
		return fmt.Errorf("ctime %d: %v", l.Ctime, err)
	}
	if l.Merkle, err = parseRootRef(o, "body", "merkle_root"); err != nil {
		return err
	}
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
	if l.By.UID, err = ParseUID(uid); err != nil {
		return err
	}
	kid, err := key.kid("kid")
	if err != nil {
		return err
	}
	if kid != l.Signer {
		return violated(RuleLinkSig, l.subject(), "signed by %s, says it is by %s", l.Signer, kid)
	}
	return l.readTeam(o)
}

func (l *TeamLink) readTeam(o object) error {
	var err error
	if l.team, err = o.sub("body", "team"); err != nil {
		return err
	}
	id, err := l.team.str("id")
	if err != nil {
		return err
	}
	if id != l.Team.String() {
		return fmt.Errorf("it is of team %s", id)
	}
	if v, ok := l.team.at("is_public"); ok != l.Team.Public() || ok && v != any(true) {
		return fmt.Errorf("is_public %v for %s", v, id)
	}
	return nil
}

func (l *TeamLink) implicit() bool { v, _ := l.team.at("is_implicit"); return v == any(true) }

// checkReverse verifies that the new per-team key signed the same statement with its
// signature still null. client: go/teams/chain.go:checkPerTeamKey
func (l *TeamLink) checkReverse(subject string) error {
	if !l.team.has("per_team_key") {
		return nil
	}
	kid, err := l.team.kid("per_team_key", "signing_kid")
	if err != nil || !kid.IsSigning() {
		return violated(RuleReverseSig, subject, "signing_kid: %v", err)
	}
	armored, err := l.team.str("per_team_key", "reverse_sig")
	if err != nil {
		return violated(RuleReverseSig, subject, "%v", err)
	}
	signer, payload, _, err := openArmored(armored)
	if err != nil || signer != kid {
		return violated(RuleReverseSig, subject, "signed by %s, not by %s: %v", signer, kid, err)
	}
	signed, err1 := parseObject(payload)
	blank, err2 := parseObject([]byte(l.Payload))
	if err1 != nil || err2 != nil {
		return violated(RuleReverseSig, subject, "%v %v", err1, err2)
	}
	if err := blank.set(nil, "body", "team", "per_team_key", "reverse_sig"); err != nil {
		return violated(RuleReverseSig, subject, "%v", err)
	}
	got, err1 := canonical(signed)
	want, err2 := canonical(blank)
	if err1 != nil || err2 != nil || !bytes.Equal(got, want) {
		return violated(RuleReverseSig, subject, "signed another statement")
	}
	return nil
}
