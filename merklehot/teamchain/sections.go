package teamchain

import (
	"encoding/hex"
	"fmt"
	"regexp"

	"github.com/keystead/keystead/compat/kbsig"
)

// client: go/teams/chain_parse.go:SCTeamInvites
func (l *Link) readInvites(t *kbsig.JSONSection) {
	l.Invites = &InviteSection{}
	s := t.Object("invites")
	for _, role := range []Role{RoleOwner, RoleAdmin, RoleWriter, RoleReader} {
		if !s.Has(role.String()) {
			continue
		}
		for i, v := range s.Array(role.String()) {
			e := s.Element(role.String(), i, &v)
			l.Invites.Added = append(l.Invites.Added, readInvite(&e, role))
		}
	}
	if s.Has("cancel") {
		for _, v := range s.Array("cancel") {
			id, err := kbsig.ParseInviteID(v.Str)
			if err != nil || v.Kind != kbsig.JSONString {
				s.Fail("cancel: %w", kbsig.ErrBadID)
				return
			}
			l.Invites.Cancel = append(l.Invites.Cancel, id)
		}
	}
	s.End()
	if len(l.Invites.Added)+len(l.Invites.Cancel) > invitesMax {
		s.Fail("more than %d invitations", invitesMax)
	}
}

func readInvite(e *kbsig.JSONSection, role Role) Invite {
	i := Invite{Role: role, ID: kbsig.Parsed(e, "id", kbsig.ParseInviteID), Type: e.String("type"), Name: e.String("name")}
	if i.Type == "" || i.Name == "" || len(i.Type) > inviteNameMax || len(i.Name) > inviteNameMax {
		e.Fail("an invitation of nobody")
	}
	if e.Has("max_uses") {
		if i.MaxUses = e.Int("max_uses", -1, 1<<31); i.MaxUses == 0 {
			e.Fail("max_uses is 0")
		}
	}
	if e.Has("etime") {
		i.Etime = e.Int("etime", 1, 1<<53-1)
		if i.MaxUses == 0 {
			e.Fail("etime without max_uses")
		}
	}
	e.End()
	return i
}

func (l *Link) readCompleted(t *kbsig.JSONSection) {
	if v := t.Value("completed_invites"); v != nil {
		if v.Kind != kbsig.JSONObject {
			t.Fail("completed_invites is %s", v.Kind)
			return
		}
		for _, m := range v.Members {
			id, err := kbsig.ParseInviteID(m.Name)
			uv, err2 := kbsig.ParseUserVersion(m.Value.Str)
			if err != nil || err2 != nil || m.Value.Kind != kbsig.JSONString {
				t.Fail("completed_invites: %w", kbsig.ErrBadID)
				return
			}
			l.Completed = append(l.Completed, Completed{id, uv})
		}
	}
	if t.Has("used_invites") {
		for i, v := range t.Array("used_invites") {
			e := t.Element("used_invites", i, &v)
			l.Used = append(l.Used, Completed{kbsig.Parsed(&e, "id", kbsig.ParseInviteID), kbsig.Parsed(&e, "uv", kbsig.ParseUserVersion)})
			e.End()
		}
	}
}

// client: go/teams/chain.go:teamSigchainPlayer.parseTeamSettings
func (l *Link) readSettings(t *kbsig.JSONSection) {
	l.Settings = &Settings{}
	s := t.Object("settings")
	if s.Has("open") {
		o := s.Object("open")
		l.Settings.HasOpen = true
		v := o.Value("enabled")
		if v == nil || v.Kind != kbsig.JSONBool {
			o.Fail("enabled is not a boolean")
			return
		}
		l.Settings.Open = v.Bool
		if o.Has("options") != v.Bool {
			o.Fail("options of a team that is open: %v", v.Bool)
		} else if v.Bool {
			opt := o.Object("options")
			switch opt.String("join_as") {
			case "reader":
				l.Settings.JoinAs = RoleReader
			case "writer":
				l.Settings.JoinAs = RoleWriter
			default:
				opt.Fail("join_as is no role to join as")
			}
			opt.End()
		}
		o.End()
	}
	s.End()
}

var hexPattern = regexp.MustCompile(`^[0-9a-f]+$`)

// client: go/teams/chain_parse.go:SCTeamKBFS
func (l *Link) readKBFS(t *kbsig.JSONSection) {
	l.KBFS = &KBFS{}
	s := t.Object("kbfs")
	if s.Has("tlf") {
		tlf := s.Object("tlf")
		l.KBFS.TLF = kbsig.Parsed(&tlf, "id", parseTLFID)
		tlf.End()
	}
	if s.Has("legacy_tlf_upgrade") {
		u := s.Object("legacy_tlf_upgrade")
		k := &Keyset{AppType: int(u.Int("app_type", 1, kbsig.TeamApplications))}
		k.TeamGeneration = u.Int("team_generation", 1, kbsig.TeamGenerationMax)
		k.LegacyGeneration = u.Int("legacy_generation", 0, 1<<31)
		if k.Hash = u.String("encrypted_keyset_hash"); len(k.Hash) > 128 || !hexPattern.MatchString(k.Hash) {
			u.Fail("encrypted_keyset_hash is no hash")
		}
		u.End()
		l.KBFS.Keyset = k
	}
	s.End()
	if l.KBFS.TLF == "" && l.KBFS.Keyset == nil {
		s.Fail("it says nothing")
	}
}

// parseTLFID: 16 bytes, the last of which tells what kind of folder it is.
// client: go/protocol/keybase1/extras.go:TLFID.ToBytes
func parseTLFID(s string) (string, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 16 || !hexPattern.MatchString(s) {
		return "", fmt.Errorf("folder id: %w", kbsig.ErrBadID)
	}
	switch b[15] {
	case 0x16, 0x17, 0x26, 0x27, 0x29, 0x2a:
		return s, nil
	}
	return "", fmt.Errorf("folder id: %w", kbsig.ErrBadID)
}

func (l *Link) readRatchets(t *kbsig.JSONSection) {
	list := t.Array("ratchets")
	if len(list) == 0 || len(list) > ratchetsMax {
		t.Fail("%d ratchets", len(list))
		return
	}
	for _, v := range list {
		h, err := parseHash(v.Str)
		if err != nil || v.Kind != kbsig.JSONString {
			t.Fail("ratchets: %w", kbsig.ErrBadID)
			return
		}
		l.Ratchets = append(l.Ratchets, h)
	}
}

// client: go/teams/chain_parse.go:SCTeamBot
func (l *Link) readBots(t *kbsig.JSONSection) {
	l.HasBots = true
	list := t.Array("bot_settings")
	if len(list) > botsMax {
		t.Fail("%d bots", len(list))
		return
	}
	for i, v := range list {
		e := t.Element("bot_settings", i, &v)
		var b BotSettings
		bot := e.Object("bot")
		b.Bot.UID = kbsig.Parsed(&bot, "uid", kbsig.ParseUID)
		b.Bot.Eldest = kbsig.Seqno(bot.Int("eldest_seqno", 0, seqnoMax))
		bot.End()
		b.Cmds, b.Mentions = readBool(&e, "cmds"), readBool(&e, "mentions")
		b.Triggers, b.Convs = readTexts(&e, "triggers"), readTexts(&e, "convs")
		e.End()
		l.BotSettings = append(l.BotSettings, b)
	}
}

func readBool(s *kbsig.JSONSection, name string) bool {
	v := s.Value(name)
	if v == nil || v.Kind != kbsig.JSONBool {
		s.Fail("%s is not a boolean", name)
		return false
	}
	return v.Bool
}

// readTexts reads an optional list; nil if it is absent.
func readTexts(s *kbsig.JSONSection, name string) []string {
	if !s.Has(name) {
		return nil
	}
	out := []string{}
	for _, v := range s.Array(name) {
		if v.Kind != kbsig.JSONString || len(v.Str) > botTextMax || len(out) == botListMax {
			s.Fail("%s is too long, or no list of texts", name)
			return nil
		}
		out = append(out, v.Str)
	}
	return out
}

// presence is whether a section stands in a link.
type presence uint8

const (
	absent presence = iota
	optional
	required
)

// rule is what a type of link is made of. client: go/teams/chain.go:LinkRules
type rule struct {
	name, members, parent, subteam, ptk, admin, invites, completed, settings, kbfs, summary, bots presence

	implicit, first bool
}

var rules = map[kbsig.LinkType]rule{
	kbsig.LinkTeamRoot: {
		name: required, members: required, ptk: required, summary: optional, invites: optional, settings: optional,
		implicit: true, first: true,
	},
	kbsig.LinkTeamChangeMembership: {
		members: required, ptk: optional, admin: optional, completed: optional, summary: optional, implicit: true,
	},
	kbsig.LinkTeamRotateKey:  {ptk: required, admin: optional, summary: optional, implicit: true},
	kbsig.LinkTeamLeave:      {},
	kbsig.LinkTeamNewSubteam: {subteam: required, admin: optional},
	kbsig.LinkTeamSubteamHead: {
		name: required, members: required, parent: required, ptk: required, admin: optional, settings: optional,
		summary: optional, first: true,
	},
	kbsig.LinkTeamRenameSubteam:   {subteam: required, admin: optional},
	kbsig.LinkTeamRenameUpPointer: {name: required, parent: required, admin: optional},
	kbsig.LinkTeamDeleteSubteam:   {subteam: required, admin: optional},
	kbsig.LinkTeamInvite:          {admin: optional, invites: required, implicit: true},
	kbsig.LinkTeamSettings:        {admin: optional, settings: required, ptk: optional, implicit: true},
	kbsig.LinkTeamKBFS:            {admin: optional, kbfs: required, implicit: true},
	kbsig.LinkTeamBotSettings:     {admin: optional, bots: required, implicit: true},
	// Readers stop at these two; what they are made of is what clients write.
	kbsig.LinkTeamDeleteRoot:      {admin: optional},
	kbsig.LinkTeamDeleteUpPointer: {name: required, parent: required, admin: optional},
}

// checkShape holds a link against the rule of its type.
func (l *Link) checkShape() error {
	r, ok := rules[l.Type]
	if !ok {
		return Refuse(KindInput, "link type %d is none of teams", l.Type)
	}
	for _, s := range []struct {
		what  string
		rule  presence
		there bool
	}{
		{"name", r.name, l.Name != nil},
		{"members", r.members, l.HasMembers},
		{"parent", r.parent, l.Parent != nil},
		{"subteam", r.subteam, l.Subteam != nil},
		{"per_team_key", r.ptk, l.PTK != nil},
		{"admin", r.admin, l.Admin != nil},
		{"invites", r.invites, l.Invites != nil},
		{"completed_invites", r.completed, len(l.Completed) > 0},
		{"used_invites", r.completed, len(l.Used) > 0},
		{"settings", r.settings, l.Settings != nil},
		{"kbfs", r.kbfs, l.KBFS != nil},
		{"box_summary_hash", r.summary, l.BoxSummary != nil},
		{"bot_settings", r.bots, l.HasBots},
	} {
		if s.there && s.rule == absent || !s.there && s.rule == required {
			return Refuse(KindSection, "%s in a link of type %s: %v", s.what, l.Type.TeamName(), s.there)
		}
	}
	seqType := kbsig.SeqTypeSemiprivate
	if l.Team.Public() {
		seqType = kbsig.SeqTypePublic
	}
	switch {
	case l.Implicit && !r.implicit:
		return Refuse(KindImplicit, "link of type %s in an implicit team", l.Type.TeamName())
	case r.first != (l.Seqno == 1):
		return Refuse(KindSection, "link of type %s at seqno %d", l.Type.TeamName(), l.Seqno)
	case l.Team.Public() && !l.Implicit:
		return Refuse(KindSection, "a public team that is not implicit")
	case l.SeqType != seqType:
		return Refuse(KindSection, "seq_type %d in a chain of team %s", l.SeqType, l.Team)
	}
	return nil
}
