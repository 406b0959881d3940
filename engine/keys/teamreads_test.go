package keys

import "maps"

func init() {
	rows = append(rows, teamReadRows...)
	maps.Copy(ranges, teamReadRanges)
}

// namespace is one of a key-value store.
const namespace = "ns"

var teamReadRows = []row{
	{"TeamEK", two("0e"), func(p parts) []byte { return TeamEK(p.id16, int64(p.n)) }, fieldsOf(id16, seqno), nil},
	{
		"TeamEKBox", two("0E"), func(p parts) []byte { return TeamEKBox(p.id16, int64(p.n), p.u) },
		fieldsOf(id16, seqno, uid), nil,
	},
	{
		"BotKey", two("0y"), func(p parts) []byte { return BotKey(p.id16, p.u, 3, true, int64(p.n)) },
		fieldsOf(id16, uid, seqno),
		func(k []byte, p parts) bool { g, ok := BotKeyOf(k); return ok && g == int64(p.n) },
	},
	{"Pseudonym", two("0P"), func(p parts) []byte { return Pseudonym(p.h32) }, fieldsOf(hash32), nil},
	{
		"Entry", two("0K"), func(p parts) []byte { return Entry(p.id16, namespace, p.name) }, fieldsOf(id16, name),
		func(k []byte, p parts) bool {
			t, s, n, ok := EntryOf(k)
			return ok && t == p.id16 && s == namespace && n == p.name
		},
	},
	{"Shown", two("0S"), func(p parts) []byte { return Shown(p.id16) }, fieldsOf(id16), nil},
	{"ShownMember", two("0z"), func(p parts) []byte { return ShownMember(p.u, p.id16) }, fieldsOf(uid, id16), nil},
	{
		"PublicTeam", two("0A"), func(p parts) []byte { return PublicTeam(p.id16) }, fieldsOf(id16),
		func(k []byte, p parts) bool { t, ok := PublicTeamOf(k); return ok && t == p.id16 },
	},
	{"TeamOfTLF", two("0Z"), func(p parts) []byte { return TeamOfTLF(p.name) }, fieldsOf(name), nil},
}

var teamReadRanges = map[string]rangeOf{
	"TeamEKs":      {"TeamEK", 1, func(p parts) []byte { return TeamEKs(p.id16) }},
	"TeamEKBoxes":  {"TeamEKBox", 2, func(p parts) []byte { return TeamEKBoxes(p.id16, int64(p.n)) }},
	"BotKeys":      {"BotKey", 2, func(p parts) []byte { return BotKeys(p.id16, p.u, 3, true) }},
	"Entries":      {"Entry", 1, func(p parts) []byte { return Entries(p.id16) }},
	"EntriesIn":    {"Entry", 1, func(p parts) []byte { return EntriesIn(p.id16, namespace) }},
	"ShownMembers": {"ShownMember", 1, func(p parts) []byte { return ShownMembers(p.u) }},
	"PublicTeams":  {"PublicTeam", 0, func(parts) []byte { return PublicTeams() }},
}
