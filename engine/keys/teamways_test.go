package keys

import (
	"maps"

	"github.com/keystead/keystead/compat/kbsig"
)

func init() {
	rows = append(rows, wayRows...)
	maps.Copy(ranges, wayRanges)
}

var wayRows = []row{
	{"ImplicitName", two("0i"), func(p parts) []byte { return ImplicitName(p.h32) }, fieldsOf(hash32), nil},
	{"ImplicitTeam", two("0I"), func(p parts) []byte { return ImplicitTeam(p.id16) }, fieldsOf(id16), nil},
	{
		"InviteLead", two("0j"), func(p parts) []byte { return InviteLead(p.h32, p.id16, kbsig.InviteID(p.u)) },
		fieldsOf(hash32, id16, uid),
		func(k []byte, p parts) bool {
			h, t, i, ok := InviteLeadOf(k)
			return ok && h == p.h32 && t == p.id16 && i == kbsig.InviteID(p.u)
		},
	},
	{
		"Outsider", two("0q"), func(p parts) []byte { return Outsider(p.id16, p.u) }, fieldsOf(id16, uid),
		func(k []byte, p parts) bool { t, u, ok := OutsiderOf(k); return ok && t == p.id16 && u == p.u },
	},
	{
		"OutsiderTeam", two("0w"), func(p parts) []byte { return OutsiderTeam(p.u, p.id16) }, fieldsOf(uid, id16),
		func(k []byte, p parts) bool { u, t, ok := OutsiderTeamOf(k); return ok && t == p.id16 && u == p.u },
	},
	{
		"Acceptance", two("0a"), func(p parts) []byte { return Acceptance(p.id16, p.u, kbsig.InviteID(p.other)) },
		fieldsOf(id16, uid, other),
		func(k []byte, p parts) bool {
			t, u, i, ok := AcceptanceOf(k)
			return ok && t == p.id16 && u == p.u && i == kbsig.InviteID(p.other)
		},
	},
	{"TeamDoor", two("0d"), func(p parts) []byte { return TeamDoor(p.id16) }, fieldsOf(id16), nil},
	{
		"Chore", two("0J"), func(p parts) []byte { return Chore(p.id16, p.folder) },
		fieldsOf(id16, func(p parts) any { return []byte{p.folder} }),
		func(k []byte, p parts) bool { t, c, ok := ChoreOf(k); return ok && t == p.id16 && c == p.folder },
	},
}

var wayRanges = map[string]rangeOf{
	"InviteLeads":   {"InviteLead", 1, func(p parts) []byte { return InviteLeads(p.h32) }},
	"Outsiders":     {"Outsider", 1, func(p parts) []byte { return Outsiders(p.id16) }},
	"OutsiderTeams": {"OutsiderTeam", 1, func(p parts) []byte { return OutsiderTeams(p.u) }},
	"Acceptances":   {"Acceptance", 1, func(p parts) []byte { return Acceptances(p.id16) }},
	"AcceptancesBy": {"Acceptance", 2, func(p parts) []byte { return AcceptancesBy(p.id16, p.u) }},
	"Chores":        {"Chore", 1, func(p parts) []byte { return Chores(p.id16) }},
	"AllChores":     {"Chore", 0, func(parts) []byte { return AllChores() }},
}
