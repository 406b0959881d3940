package keys

import (
	"bytes"
	"maps"
	"testing"

	"github.com/keystead/keystead/compat/kbsig"
)

func init() {
	rows = append(rows, hiddenRows...)
	maps.Copy(ranges, hiddenRanges)
}

var hiddenRows = []row{
	{
		"HiddenLink", two("0h"), func(p parts) []byte { return HiddenLink(kbsig.TeamID(p.id16), p.n) }, fieldsOf(id16, seqno),
		func(k []byte, p parts) bool {
			t, n, ok := HiddenLinkOf(k)
			return ok && t == kbsig.TeamID(p.id16) && n == p.n
		},
	},
	{
		"HiddenChain", two("0H"), func(p parts) []byte { return HiddenChain(kbsig.TeamID(p.id16)) }, fieldsOf(id16),
		func(k []byte, p parts) bool { t, ok := HiddenChainOf(k); return ok && t == kbsig.TeamID(p.id16) },
	},
	{
		"TeamRatchet", two("0f"), func(p parts) []byte { return TeamRatchet(kbsig.TeamID(p.id16), p.h32) }, fieldsOf(id16, hash32),
		func(k []byte, p parts) bool {
			t, h, ok := TeamRatchetOf(k)
			return ok && t == kbsig.TeamID(p.id16) && h == p.h32
		},
	},
	{
		"BlindLeaf", two("0B"), func(p parts) []byte { return BlindLeaf(p.id16, p.n) }, fieldsOf(id16, newest),
		func(k []byte, p parts) bool { id, n, ok := BlindLeafOf(k); return ok && id == p.id16 && n == p.n },
	},
	{
		"BlindPage", two("0D"), func(p parts) []byte { return BlindPage(30, p.id16, p.n) },
		fieldsOf(func(p parts) any { return p.id16[:15] }, newest),
		func(k []byte, p parts) bool {
			depth, id, n, ok := BlindPageOf(k)
			return ok && depth == 30 && [15]byte(id[:15]) == [15]byte(p.id16[:15]) && id[15] == 0 && n == p.n
		},
	},
	{
		"BlindRoot", two("0R"), func(p parts) []byte { return BlindRoot(p.n) }, fieldsOf(seqno),
		func(k []byte, p parts) bool { n, ok := BlindRootSeqno(k); return ok && n == p.n },
	},
}

var hiddenRanges = map[string]rangeOf{
	"HiddenLinks":       {"HiddenLink", 1, func(p parts) []byte { return HiddenLinks(kbsig.TeamID(p.id16)) }},
	"AllHiddenLinks":    {"HiddenLink", 0, func(parts) []byte { return AllHiddenLinks() }},
	"HiddenChains":      {"HiddenChain", 0, func(parts) []byte { return HiddenChains() }},
	"TeamRatchets":      {"TeamRatchet", 1, func(p parts) []byte { return TeamRatchets(kbsig.TeamID(p.id16)) }},
	"BlindLeaves":       {"BlindLeaf", 0, func(parts) []byte { return BlindLeaves() }},
	"BlindLeafVersions": {"BlindLeaf", 1, func(p parts) []byte { return BlindLeafVersions(p.id16) }},
	"BlindPages":        {"BlindPage", 0, func(parts) []byte { return BlindPages() }},
	"BlindPageVersions": {"BlindPage", 1, func(p parts) []byte { return BlindPageVersions(30, p.id16) }},
	"BlindRoots":        {"BlindRoot", 0, func(parts) []byte { return BlindRoots() }},
}

// Bytes that are no key of the hidden chains are refused, whatever they are.
func FuzzHiddenDecoders(f *testing.F) {
	for _, r := range hiddenRows {
		f.Add(r.key(parts{n: 1}))
	}
	f.Fuzz(func(t *testing.T, k []byte) {
		if team, n, ok := HiddenLinkOf(k); ok && !bytes.Equal(HiddenLink(team, n), k) {
			t.Error("accepted another hidden link key")
		}
		if id, n, ok := BlindLeafOf(k); ok && !bytes.Equal(BlindLeaf(id, n), k) {
			t.Error("accepted another blind leaf key")
		}
		if depth, id, n, ok := BlindPageOf(k); ok && !bytes.Equal(BlindPage(depth, id, n), k) {
			t.Error("accepted another blind page key")
		}
		if n, ok := BlindRootSeqno(k); ok && !bytes.Equal(BlindRoot(n), k) {
			t.Error("accepted another blind root key")
		}
	})
}
