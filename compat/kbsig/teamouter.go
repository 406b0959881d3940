package kbsig

import "fmt"

// Link types of chains of teams. client: go/libkb/chain_link_v2.go:SigchainV2Type
const (
	LinkTeamRoot             LinkType = 33
	LinkTeamNewSubteam       LinkType = 34
	LinkTeamChangeMembership LinkType = 35
	LinkTeamRotateKey        LinkType = 36
	LinkTeamLeave            LinkType = 37
	LinkTeamSubteamHead      LinkType = 38
	LinkTeamRenameSubteam    LinkType = 39
	LinkTeamInvite           LinkType = 40
	LinkTeamRenameUpPointer  LinkType = 41
	LinkTeamDeleteRoot       LinkType = 42
	LinkTeamDeleteSubteam    LinkType = 43
	LinkTeamDeleteUpPointer  LinkType = 44
	LinkTeamSettings         LinkType = 46
	LinkTeamKBFS             LinkType = 47
	LinkTeamBotSettings      LinkType = 48
)

// teamLinkTypes pairs numbers with the body.type of the inner link, and says which ones
// clients let others than admins see as stubs.
// client: go/libkb/chain_link_v2.go:TeamAllowStubWithAdminFlag
var teamLinkTypes = []struct {
	number    LinkType
	name      string
	stubbable bool
}{
	{LinkTeamRoot, "team.root", false},
	{LinkTeamNewSubteam, "team.new_subteam", true},
	{LinkTeamChangeMembership, "team.change_membership", false},
	{LinkTeamRotateKey, "team.rotate_key", false},
	{LinkTeamLeave, "team.leave", false},
	{LinkTeamSubteamHead, "team.subteam_head", false},
	{LinkTeamRenameSubteam, "team.rename_subteam", true},
	{LinkTeamInvite, "team.invite", true},
	{LinkTeamRenameUpPointer, "team.rename_up_pointer", false},
	{LinkTeamDeleteRoot, "team.delete_root", false},
	{LinkTeamDeleteSubteam, "team.delete_subteam", true},
	{LinkTeamDeleteUpPointer, "team.delete_up_pointer", false},
	{LinkTeamSettings, "team.settings", true},
	{LinkTeamKBFS, "team.kbfs", true},
	{LinkTeamBotSettings, "team.bot_settings", true},
}

// TeamLinkTypeOf is the number for an inner body.type of a team; LinkNone if clients
// know no such link.
func TeamLinkTypeOf(name string) LinkType {
	for _, t := range teamLinkTypes {
		if t.name == name {
			return t.number
		}
	}
	return LinkNone
}

// TeamName is the inner body.type of a team's link; "none" for other numbers.
func (t LinkType) TeamName() string {
	for _, row := range teamLinkTypes {
		if row.number == t {
			return row.name
		}
	}
	return "none"
}

// TeamStubbable reports that clients who are no admins take the outer link alone.
func (t LinkType) TeamStubbable() bool {
	for _, row := range teamLinkTypes {
		if row.number == t {
			return row.stubbable
		}
	}
	return false
}

// TeamOuter is the signed part of a team's link.
// client: go/libkb/chain_link_v2.go:OuterLinkV2
type TeamOuter struct {
	Seqno               Seqno
	Prev                LinkID // zero: nil, for the first link
	Curr                LinkID // SHA-256 of the inner JSON
	Type                LinkType
	SeqType             int // SeqTypePublic or SeqTypeSemiprivate
	IgnoreIfUnsupported bool
}

// DecodeTeamOuter decodes an outer link of a team's visible chain: version 2, seven
// elements, one encoding.
func DecodeTeamOuter(raw []byte) (*TeamOuter, error) {
	if len(raw) > outerBytesMax {
		return nil, fmt.Errorf("outer link of %d bytes: %w", len(raw), ErrOuter)
	}
	r := &msgpackReader{buf: raw}
	o := &TeamOuter{}
	r.arrayOf(7, "outer link")
	version := r.uint(255, "version")
	o.Seqno = Seqno(r.uint(innerIntMax, "seqno"))
	o.Prev = readHashOrNil(r, "prev")
	copy(o.Curr[:], r.binOf(hashBytes, "curr"))
	o.Type = LinkType(r.uint(255, "type"))
	o.SeqType = int(r.uint(255, "seq_type"))
	o.IgnoreIfUnsupported = r.bool("ignore_if_unsupported")
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOuter, err)
	}
	if version != 2 || o.Seqno < 1 || o.SeqType != SeqTypePublic && o.SeqType != SeqTypeSemiprivate {
		return nil, fmt.Errorf("outer link of version %d, seq_type %d, seqno %d: %w", version, o.SeqType, o.Seqno, ErrOuter)
	}
	return o, nil
}
