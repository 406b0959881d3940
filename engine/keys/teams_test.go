package keys

import "maps"

func init() {
	rows = append(rows, teamRows...)
	maps.Copy(ranges, teamRanges)
}

var teamRows = []row{
	{
		"TeamLink", two("0c"), func(p parts) []byte { return TeamLink(p.id16, p.n) }, fieldsOf(id16, seqno),
		func(k []byte, p parts) bool { t, n, ok := TeamLinkOf(k); return ok && t == p.id16 && n == p.n },
	},
	{
		"TeamChain", two("0s"), func(p parts) []byte { return TeamChain(p.id16) }, fieldsOf(id16),
		func(k []byte, p parts) bool { t, ok := TeamChainOf(k); return ok && t == p.id16 },
	},
	{
		"TeamRow", two("0m"), func(p parts) []byte { return TeamRow(p.id16, []byte(p.name)) }, fieldsOf(id16, name),
		func(k []byte, p parts) bool {
			t, n, ok := TeamRowOf(k)
			return ok && t == p.id16 && string(n) == p.name
		},
	},
	{
		"Subteam", two("0n"), func(p parts) []byte { return Subteam(p.id16, p.name) }, fieldsOf(id16, name),
		func(k []byte, p parts) bool { t, n, ok := SubteamOf(k); return ok && t == p.id16 && n == p.name },
	},
	{
		"Membership", two("0t"), func(p parts) []byte { return Membership(p.u, p.id16) }, fieldsOf(uid, id16),
		func(k []byte, p parts) bool { u, t, ok := MembershipOf(k); return ok && u == p.u && t == p.id16 },
	},
	{"TeamBox", two("0b"), func(p parts) []byte { return TeamBox(p.id16, p.u) }, fieldsOf(id16, uid), nil},
	{
		"TeamPrev", two("0v"), func(p parts) []byte { return TeamPrev(p.id16, int64(p.n)) }, fieldsOf(id16, seqno),
		func(k []byte, p parts) bool { g, ok := TeamPrevOf(k); return ok && g == int64(p.n) },
	},
	{
		"TeamMasks", two("0k"), func(p parts) []byte { return TeamMasks(p.id16, int64(p.n)) }, fieldsOf(id16, seqno),
		func(k []byte, p parts) bool { g, ok := TeamMasksOf(k); return ok && g == int64(p.n) },
	},
	{"RoleMap", two("0r"), func(p parts) []byte { return RoleMap(p.u) }, fieldsOf(uid), nil},
	{
		"TeamLease", two("0l"), func(p parts) []byte { return TeamLease(p.u, p.id16) }, fieldsOf(uid, id16), nil,
	},
	{"TeamTLFKeys", two("0u"), func(p parts) []byte { return TeamTLFKeys(p.id16, p.n) }, fieldsOf(id16, seqno), nil},
	{"TeamFacts", two("0g"), func(p parts) []byte { return TeamFacts(p.id16) }, fieldsOf(id16), nil},
}

var teamRanges = map[string]rangeOf{
	"TeamLinks":      {"TeamLink", 1, func(p parts) []byte { return TeamLinks(p.id16) }},
	"TeamChains":     {"TeamChain", 0, func(parts) []byte { return TeamChains() }},
	"TeamRows":       {"TeamRow", 1, func(p parts) []byte { return TeamRows(p.id16, nil) }},
	"Subteams":       {"Subteam", 1, func(p parts) []byte { return Subteams(p.id16) }},
	"Memberships":    {"Membership", 1, func(p parts) []byte { return Memberships(p.u) }},
	"TeamBoxes":      {"TeamBox", 1, func(p parts) []byte { return TeamBoxes(p.id16) }},
	"TeamPrevs":      {"TeamPrev", 1, func(p parts) []byte { return TeamPrevs(p.id16) }},
	"AllTeamMasks":   {"TeamMasks", 1, func(p parts) []byte { return AllTeamMasks(p.id16) }},
	"TeamLeases":     {"TeamLease", 1, func(p parts) []byte { return TeamLeases(p.u) }},
	"AllTeamTLFKeys": {"TeamTLFKeys", 1, func(p parts) []byte { return AllTeamTLFKeys(p.id16) }},
}
