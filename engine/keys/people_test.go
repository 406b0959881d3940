package keys

import "strings"

// word is a name without the byte that no word holds.
func word(p parts) string { return strings.ReplaceAll(p.name, "\x00", "c") }

func init() {
	rows = append(rows, []row{
		{
			"Picture", 'i', func(p parts) []byte { return Picture(p.u, p.id16, uint16(p.folder)) },
			fieldsOf(uid, id16, func(p parts) any { return int64(p.folder) }),
			func(k []byte, p parts) bool {
				u, id, size, ok := PictureOf(k)
				return ok && u == p.u && id == p.id16 && size == uint16(p.folder)
			},
		},
		{"Home", 'u', func(p parts) []byte { return Home(p.u) }, fieldsOf(uid), nil},
		{"Block", 'B', func(p parts) []byte { return Block(p.u, p.other) }, fieldsOf(uid, other), nil},
		{"BotToken", 't', func(p parts) []byte { return BotToken(p.h32) }, fieldsOf(hash32), nil},
		{"Wallet", 'j', func(p parts) []byte { return Wallet(p.u) }, fieldsOf(uid), nil},
		{
			"Search", 'X', func(p parts) []byte { return Search("s", word(p), p.u) },
			fieldsOf(func(p parts) any { return word(p) }, uid),
			func(k []byte, p parts) bool {
				s, w, u, ok := SearchOf(k)
				return ok && s == "s" && w == word(p) && u == p.u
			},
		},
	}...)
	ranges["PictureSizes"] = struct {
		of     string
		fields int
		prefix func(p parts) []byte
	}{"Picture", 2, func(p parts) []byte { return PictureSizes(p.u, p.id16) }}
	ranges["Blocks"] = struct {
		of     string
		fields int
		prefix func(p parts) []byte
	}{"Block", 1, func(p parts) []byte { return Blocks(p.u) }}
	ranges["SearchExactly"] = struct {
		of     string
		fields int
		prefix func(p parts) []byte
	}{"Search", 1, func(p parts) []byte { return SearchExactly("s", word(p)) }}
	ranges["SearchFrom"] = struct {
		of     string
		fields int
		prefix func(p parts) []byte
	}{"Search", 0, func(parts) []byte { return SearchFrom("s", "") }}
}
